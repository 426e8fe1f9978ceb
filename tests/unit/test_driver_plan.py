# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is told before its driver changes: the plan, and the warnings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_freeze import read_freeze, write_freeze
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_archive import Archive
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_plan import Answers, make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError
from ansible_collections.mlrig.workstation.plugins.modules import nvidia_driver_plan

from .driver_host import GTX_1080, HWE, NVIDIA_580, NVIDIA_595, PLENTY, TABLE, TODAY, UBUNTU_595, DriverHost, refused

Options = dict[str, Any]
UBUNTU: Options = {"source": "ubuntu"}
ABSENT: Options = {"state": "absent"}
PREBUILT = (f"linux-modules-nvidia-595-open-{HWE}", "linux-modules-nvidia-595-open-7.0.0-29-generic")

FITTING = {PREBUILT[0]: "7.0.0-29.29~24.04.1+1", PREBUILT[1]: "1", "nvidia-driver-595-open": "1"}


@pytest.fixture
def ubuntu(tmp_path: Path) -> DriverHost:
    return DriverHost(tmp_path)


def test_a_bare_host(ubuntu: DriverHost) -> None:
    plan = ubuntu.plan()
    assert plan["applies"]
    assert plan["reason"] is None
    assert (plan["refusals"], plan["warnings"]) == ([], [])
    assert plan["change"]
    assert plan["choice"]["driver"] == ["nvidia-open"]
    assert plan["choice"]["pin"] == "nvidia-driver-pinning-595"
    assert plan["kernel_packages"] == [f"linux-headers-{HWE}"]
    assert not plan["prebuilt"]
    assert plan["kernels"] == ["7.0.0-29-generic"]
    assert plan["installed"] == {
        "branch": None,
        "version": None,
        "source": None,
        "flavour": None,
        "packages": [],
        "pins": [],
    }


def test_a_second_run_changes_nothing_and_asks_apt_nothing(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    plan = ubuntu.plan()
    assert (plan["change"], plan["refusals"], plan["warnings"]) == (False, [], [])
    assert plan["installed"]["branch"] == "595"
    assert plan["installed"]["flavour"] == "open"
    assert plan["remove"] == plan["remove_pins"] == []
    assert not ubuntu.asked_apt()


def test_what_would_keep_from_a_change_keeps_from_none_where_there_is_none(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.file_systems = dict.fromkeys(ubuntu.file_systems, replace(PLENTY, free=10))
    ubuntu.secure_boot()
    ubuntu.install("nvidia-dkms-open", "595.71.05-1ubuntu1", want="hold")
    assert refused(ubuntu.plan()) == []


@pytest.mark.parametrize(
    ("missing", "changes"),
    [
        ("nvidia-open", True),
        ("nvidia-driver-pinning-595", True),
        (f"linux-headers-{HWE}", True),
        ("nvidia-kernel-common", False),  # apt sees to what others depend on
    ],
)
def test_what_is_missing_is_a_change(ubuntu: DriverHost, missing: str, *, changes: bool) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.candidates[missing] = ubuntu.packages.pop(missing)[2]
    assert ubuntu.plan()["change"] is changes


def test_an_unfinished_driver_is_a_change(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.install("libnvidia-compute", "595.71.05-1ubuntu1", status="unpacked")
    assert ubuntu.plan()["change"]


@pytest.mark.parametrize(
    ("installed", "options", "remove", "remove_pins"),
    [
        ("580", {"branch": "595"}, list(NVIDIA_580), ["nvidia-driver-pinning-580"]),
        ("595", {"branch": "580"}, sorted(NVIDIA_595), ["nvidia-driver-pinning-595"]),
        ("595", {"branch": "615"}, [], ["nvidia-driver-pinning-595"]),
        ("615", {"branch": "595"}, [], ["nvidia-driver-pinning-615"]),
        (
            "595",
            {"branch": "595", "flavour": "proprietary"},
            ["nvidia-dkms-open", "nvidia-driver-open", "nvidia-open"],
            [],
        ),
    ],
)
def test_another_branch_is_one_run(
    ubuntu: DriverHost, installed: str, options: Options, remove: list[str], remove_pins: list[str]
) -> None:
    ubuntu.path("/sys/bus/pci/devices/0000:01:00.0/device").write_text("0x2684")  # Ada: has both flavours
    ubuntu.install_driver("nvidia", installed)
    plan = ubuntu.plan(**options)
    assert plan["change"]
    assert refused(plan) == []
    assert plan["remove"] == remove
    assert plan["remove_pins"] == remove_pins


def test_what_a_pin_has_left_goes_too(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.install("nvidia-driver-pinning-580", "580-1", status="config-files")
    plan = ubuntu.plan()
    assert (plan["change"], plan["remove_pins"]) == (False, ["nvidia-driver-pinning-580"])


def test_an_installed_branch_is_kept_until_an_upgrade_is_asked_for(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia", "615")
    ubuntu.candidates["nvidia-driver-open"] = "595.91.07-1ubuntu1"
    assert ubuntu.plan()["choice"]["branch"] == "615"
    assert not ubuntu.plan()["change"]
    plan = ubuntu.plan(upgrade=True)
    assert plan["choice"]["branch"] == "595"
    assert plan["change"]


@pytest.mark.parametrize(("candidate", "changes"), [("595.91.07-1ubuntu1", True), ("595.71.05-1ubuntu1", False)])
def test_a_newer_version_is_a_change_only_where_asked_for(ubuntu: DriverHost, candidate: str, *, changes: bool) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.candidates["nvidia-driver-open"] = candidate
    assert not ubuntu.plan()["change"]
    assert ubuntu.plan(upgrade=True)["change"] is changes


def test_after_ubuntu_drivers_install(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("ubuntu")
    ubuntu.install(PREBUILT[1], "7.0.0-29.29~24.04.1")
    del ubuntu.packages[f"linux-headers-{HWE}"]
    plan = ubuntu.plan(**UBUNTU)
    assert (plan["change"], plan["refusals"], plan["prebuilt"]) == (False, [], True)
    assert plan["installed"]["source"] == "ubuntu"
    assert plan["installed"]["version"] == "595.91.07"
    assert plan["installed"]["flavour"] == "open"
    assert refused(ubuntu.plan()) == ["other_source"]


def test_prebuilt_modules_need_no_key_and_no_headers(ubuntu: DriverHost) -> None:
    ubuntu.secure_boot()
    ubuntu.candidates = dict(FITTING)
    ubuntu.packages = {name: each for name, each in ubuntu.packages.items() if not name.startswith("linux-headers")}
    plan = ubuntu.plan(**UBUNTU)
    assert refused(plan) == []
    assert plan["kernel_packages"] == list(PREBUILT)
    assert plan["prebuilt"]


def test_prebuilt_modules_come_with_no_other_kernel(ubuntu: DriverHost) -> None:
    """The metapackage of a newer kernel would bring that kernel, and nothing else of it."""
    newer = "linux-modules-nvidia-595-open-7.0.0-34-generic"
    ubuntu.candidates = {**FITTING, PREBUILT[0]: "7.0.0-34.34~24.04.1+1", newer: "1"}
    plan = ubuntu.plan(**UBUNTU)
    assert plan["kernel_packages"] == [PREBUILT[1]]
    assert plan["packages"][1:] == [{"name": PREBUILT[1], "allow": ["linux-(modules|objects|signatures)-nvidia-"]}]


def test_a_metapackage_that_apt_does_not_know_is_not_asked_for(ubuntu: DriverHost) -> None:
    """Although the version of the kernel's own tells no ABI either."""
    ubuntu.install(f"linux-image-{HWE}", "7.0.0.29.29")
    ubuntu.candidates = {name: version for name, version in FITTING.items() if name != PREBUILT[0]}
    assert ubuntu.plan(**UBUNTU)["kernel_packages"] == [PREBUILT[1]]


@pytest.mark.parametrize("fits", [True, False])
def test_an_older_kernel_has_prebuilt_modules_where_they_fit_the_driver(ubuntu: DriverHost, *, fits: bool) -> None:
    ubuntu.add_kernel("7.0.0-28-generic")
    older = "linux-modules-nvidia-595-open-7.0.0-28-generic"
    ubuntu.candidates = {**FITTING, older: "1"}
    ubuntu.unfit = set() if fits else {older}
    plan = ubuntu.plan(**UBUNTU)
    assert plan["kernel_packages"] == [*PREBUILT, *([older] if fits else [])]
    assert any("no modules can be had for 7.0.0-28-generic" in each for each in plan["warnings"]) is not fits


def test_firmware_that_an_upgrade_left_behind_is_no_half_upgrade(ubuntu: DriverHost) -> None:
    """Its name has its version, so that it is replaced by another package."""
    ubuntu.install_driver("ubuntu")
    ubuntu.install(PREBUILT[1], "7.0.0-29.29~24.04.1")
    ubuntu.install("nvidia-firmware-595-595.71.05", "595.71.05-0ubuntu0.24.04.1")
    ubuntu.install("nvidia-firmware-595-595.91.07", "595.91.07-0ubuntu0.24.04.1")
    ubuntu.candidates = {"nvidia-driver-595-open": "595.99.01-0ubuntu0.24.04.1"}
    assert not ubuntu.plan(**UBUNTU)["change"]


def test_firmware_has_no_other_version(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia", "580")
    ubuntu.install("nvidia-firmware-580-580.105.08", "580.105.08-0ubuntu1")
    ubuntu.candidates = {"nvidia-driver-580-open": "580.126.09-0ubuntu1"}
    wanted = ubuntu.plan(branch="580", upgrade=True)["packages"]
    assert {each["name"] for each in wanted if each["name"].startswith("nvidia")} == set(NVIDIA_580) - {
        "libnvidia-compute-580"
    }


def test_libraries_of_another_architecture_go_with_their_branch(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia", "580")
    ubuntu.packages["libnvidia-compute-580:i386"] = (
        "libnvidia-compute-580",
        "i386",
        "580.105.08-0ubuntu1",
        "install",
        "ok",
        "installed",
        "",
    )
    assert "libnvidia-compute-580:i386" in ubuntu.plan(branch="595")["remove"]


def test_prebuilt_modules_replace_those_that_secure_boot_refuses(ubuntu: DriverHost) -> None:
    ubuntu.candidates = dict(FITTING)
    ubuntu.install_all((*UBUNTU_595, "nvidia-dkms-595-open"), "595.91.07-0ubuntu0.24.04.1")
    assert not ubuntu.plan(**UBUNTU)["change"]
    ubuntu.secure_boot()
    plan = ubuntu.plan(**UBUNTU)
    assert (plan["prebuilt"], plan["remove"], refused(plan)) == (True, ["nvidia-dkms-595-open"], [])
    ubuntu.secure_boot(state="enrolled")
    assert not ubuntu.plan(**UBUNTU)["change"]


@pytest.mark.parametrize(
    ("metapackage", "headers"),
    [
        ("linux-image-virtual", "linux-headers-virtual"),
        ("linux-image-aws", "linux-headers-aws"),
        ("linux-image-extra-virtual", None),
        ("linux-image-unsigned-7.0.0-29-generic", None),
        ("linux-image-generic-dbg", None),
    ],
)
def test_headers_of_each_kind_of_kernel(ubuntu: DriverHost, metapackage: str, headers: str | None) -> None:
    ubuntu.install(metapackage, "1")
    for name in ("virtual", "aws", "extra-virtual", "generic-dbg"):
        ubuntu.candidates[f"linux-headers-{name}"] = "1"
    assert set(ubuntu.plan()["kernel_packages"]) - {f"linux-headers-{HWE}"} == ({headers} if headers else set())


def test_headers_for_kernels_that_metapackages_do_not_reach(ubuntu: DriverHost) -> None:
    ubuntu.add_kernel("6.17.0-35-generic", headers=False)
    assert ubuntu.plan()["kernel_packages"] == [f"linux-headers-{HWE}"]
    ubuntu.candidates["linux-headers-6.17.0-35-generic"] = "1"
    plan = ubuntu.plan()
    assert plan["kernel_packages"] == [f"linux-headers-{HWE}", "linux-headers-6.17.0-35-generic"]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda host: host.path("/sys/bus/pci/devices/0000:01:00.0/vendor").write_text("0x1002"), "no NVIDIA card"),
        (lambda host: host.add_card("01", "0x2b85", "vfio-pci"), "kept for virtual machines"),
        (lambda host: host.write("/proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2"), "WSL"),
    ],
    ids=["no card", "passed through", "wsl"],
)
def test_where_it_does_not_apply(ubuntu: DriverHost, prepare: Callable[[DriverHost], object], reason: str) -> None:
    prepare(ubuntu)
    plan = ubuntu.plan()
    assert not plan["applies"]
    assert reason in plan["reason"]
    assert (plan["change"], plan["choice"], plan["refusals"]) == (False, None, [])


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("/run/systemd/container", "lxc\n", "lxc"),
        ("/proc/1/environ", "A=1\0container=podman\0", "podman"),
        ("/.dockerenv", "", "docker"),
        ("/run/.containerenv", "", "podman"),
    ],
)
def test_a_container_is_one_unless_it_has_kernels(ubuntu: DriverHost, file: str, content: str, kind: str) -> None:
    ubuntu.write(file, content)
    assert ubuntu.plan()["applies"]
    ubuntu.path("/boot/vmlinuz-7.0.0-29-generic").unlink()
    assert f"container ({kind})" in ubuntu.plan()["reason"]


def test_absent(ubuntu: DriverHost) -> None:
    assert (ubuntu.plan(**ABSENT)["applies"], ubuntu.plan(**ABSENT)["change"]) == (True, False)
    ubuntu.install_driver("nvidia")
    ubuntu.install("cuda-drivers", "595.71.05-1ubuntu1")
    for name in ("nvidia-settings", "nvidia-persistenced", "nvidia-container-toolkit", "nvidia-cuda-toolkit", "dkms"):
        ubuntu.install(name, "1.0-1")
    for name, version in (("nvidia-kernel-common-580", "580.105.08-0ubuntu1"), ("nvidia-driver-pinning-580", "580-1")):
        ubuntu.install(name, version, status="config-files")
    plan = ubuntu.plan(**ABSENT)
    assert plan["change"]
    assert plan["choice"] is None
    assert plan["remove"] == sorted(
        [
            *NVIDIA_595,
            "cuda-drivers",
            "nvidia-driver-pinning-580",
            "nvidia-driver-pinning-595",
            "nvidia-kernel-common-580",
            "nvidia-persistenced",
            "nvidia-settings",
        ]
    )
    assert plan["remove_pins"] == []
    assert refused(plan) == []


def test_lists_are_updated_where_the_answer_depends_on_them(ubuntu: DriverHost) -> None:
    ubuntu.path("/var/lib/apt/lists/archive_Packages").unlink()
    ubuntu.add_kernel("7.0.0-30-generic", headers=False)
    ubuntu.published = {"linux-headers-7.0.0-30-generic": "1"}
    assert ubuntu.plan()["kernel_packages"] == [f"linux-headers-{HWE}"]
    assert ubuntu.plan(update_cache=True)["kernel_packages"] == [f"linux-headers-{HWE}", *ubuntu.published]
    assert ubuntu.calls.count(("apt-get", "update")) == 1


def test_lists_are_left_alone_where_nothing_is_missing(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.plan(update_cache=True)
    assert ("apt-get", "update") not in ubuntu.calls


@pytest.mark.parametrize(
    ("image", "candidate", "wanted"),
    [
        ("7.0.0-29.29~24.04.1", "7.0.0-29.29~24.04.1", True),
        # It would bring headers of a kernel that is not there, and DKMS would build for it.
        ("7.0.0-28.28~24.04.1", "7.0.0-29.29~24.04.1", False),
    ],
)
def test_headers_come_at_the_version_of_the_kernel(
    ubuntu: DriverHost, image: str, candidate: str, *, wanted: bool
) -> None:
    ubuntu.install(f"linux-image-{HWE}", image)
    del ubuntu.packages[f"linux-headers-{HWE}"]
    ubuntu.candidates[f"linux-headers-{HWE}"] = candidate
    plan = ubuntu.plan()
    allow = "linux-(?!image|modules|objects|signatures|generic)"
    headers = {"name": f"linux-headers-{HWE}", "version": image, "allow": [allow]}
    assert plan["packages"][1:] == ([headers] if wanted else [])


@pytest.mark.parametrize(
    ("options", "chosen"),
    [({}, "595"), ({"branch": "590"}, None), ({"branch": "580"}, "580")],
)
def test_a_kernel_that_is_to_come_counts(ubuntu: DriverHost, options: Options, chosen: str | None) -> None:
    """Before another role brings it, and the driver that is chosen now could not be built for it."""
    ubuntu.path("/boot/vmlinuz-7.0.0-29-generic").unlink()
    ubuntu.add_kernel("6.8.0-100-generic")
    ubuntu.candidates["linux-generic-hwe-24.04"] = "7.0.0-29.29~24.04.1"
    assert ubuntu.plan(**options)["choice"] is not None
    plan = ubuntu.plan(kernels_to_come=["linux-generic-hwe-24.04"], **options)
    assert (plan["choice"] and plan["choice"]["branch"]) == chosen
    if chosen is None:
        [refusal] = plan["refusals"]
        assert "not for 7.0.0-29.29~24.04.1 (of linux-generic-hwe-24.04)" in refusal["message"]


def test_an_upgrade_that_was_cut_off_goes_on(ubuntu: DriverHost) -> None:
    """Packages of two versions of one branch do not fit together, though each is of the branch."""
    ubuntu.install_driver("nvidia")
    ubuntu.install("libnvidia-compute", "595.91.07-1ubuntu1")
    ubuntu.candidates["nvidia-driver-open"] = "595.91.07-1ubuntu1"
    plan = ubuntu.plan()
    assert plan["change"]
    versions = {each["name"]: each.get("version") for each in plan["packages"]}
    assert versions["nvidia-open"] == versions["nvidia-dkms-open"] == "595.91.07-*"


def test_an_upgrade_looks_past_the_freeze(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.write("/etc/apt/preferences.d/nvidia-driver-pin", "Package: *nvidia*\n")
    write_freeze(ubuntu.root, {"nvidia-driver-open": "595.71.05-1ubuntu1"})
    ubuntu.candidates["nvidia-driver-open"] = "595.91.07-1ubuntu1"
    plan = ubuntu.plan(upgrade=True)
    assert {"name": "nvidia-open", "version": "595.91.07-*"} in plan["packages"]
    [asked] = [command for command in ubuntu.calls if command[0] == "apt-cache"]
    assert asked[1].startswith("--option=Dir::Etc::PreferencesParts=")
    assert read_freeze(ubuntu.root) == {"nvidia-driver-open": "595.71.05-1ubuntu1"}


@pytest.mark.parametrize(
    ("known", "wanted"),
    [
        ({"nvidia-smi", "nvidia-utils", "nvidia-persistenced"}, ["nvidia-smi", "nvidia-persistenced"]),
        ({"nvidia-utils", "nvidia-compute-utils"}, ["nvidia-utils", "nvidia-compute-utils"]),
        (set(), []),
    ],
)
def test_programs_by_whichever_package_has_them(ubuntu: DriverHost, known: set[str], wanted: list[str]) -> None:
    ubuntu.candidates = dict.fromkeys(known, "1")
    plan = ubuntu.plan(profile="compute")
    assert plan["choice"]["driver"] == ["libnvidia-compute", "nvidia-dkms-open", *wanted]
    assert [each for each in plan["packages"] if each["name"] in wanted] == [{"name": name} for name in wanted]


def test_computing_alone_needs_no_display(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.install("xserver-xorg-video-nvidia", "595.71.05-1ubuntu1")
    plan = ubuntu.plan(profile="compute")
    assert plan["remove"] == ["nvidia-driver-open", "nvidia-open", "xserver-xorg-video-nvidia"]
    for name in plan["remove"]:
        del ubuntu.packages[name]
    assert not ubuntu.plan(profile="compute")["change"]
    assert ubuntu.plan()["change"]


def test_absent_where_the_card_is_gone(ubuntu: DriverHost) -> None:
    ubuntu.path("/sys/bus/pci/devices/0000:01:00.0/vendor").write_text("0x1002")
    ubuntu.install_driver("nvidia")
    assert ubuntu.plan(**ABSENT)["change"]


def _session(host: DriverHost, **fields: str) -> None:
    values = {"USER": "ada", "TYPE": "x11", "CLASS": "user", "STATE": "active"} | fields
    host.write("/run/systemd/sessions/2", "".join(f"{name}={value}\n" for name, value in values.items()))


def _process(host: DriverHost, name: str = "python3", device: str = "/dev/nvidia0") -> None:
    host.write("/proc/4711/comm", f"{name}\n")
    host.link("/proc/4711/fd/7", device)


@pytest.mark.parametrize(
    ("prepare", "warning"),
    [
        (_session, "ada is in a graphical session"),
        (_process, "in use by python3 (4711): the loaded driver stays"),
        (
            lambda host: host.write(
                "/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Thu\n"
            ),
            "the module nvidia 580.95.05 is loaded",
        ),
        (
            lambda host: host.add_card("01", "0x2b85", "nouveau"),
            "the kernel's own driver holds 0000:01:00.0 (nouveau) until the next boot",
        ),
        (lambda host: host.add_card("01", "0x2b85", "NovaCore"), "holds 0000:01:00.0 (NovaCore) until the next boot"),
        (lambda host: host.add_card("02", GTX_1080, "vfio-pci"), "not counted: 0000:02:00.0 (vfio-pci)"),
        (lambda host: host.install("bash", "1", status="unpacked"), "by an earlier installation: bash"),
        (lambda host: host.add_kernel("6.17.0-35-generic", headers=False), "purge linux-image-6.17.0-35-generic"),
        (
            lambda host: host.write("/proc/sys/kernel/osrelease", "6.8.0-1-generic"),
            "running kernel, 6.8.0-1-generic, is",
        ),
        (lambda host: host.packages.pop(f"linux-image-{HWE}"), "install linux-generic-hwe-24.04"),
        (
            lambda host: host.install("nvidia-fabricmanager-580", "580.95.05-1"),
            "must have the driver's own version (595",
        ),
        (
            lambda host: host.write("/etc/apt/sources.list.d/a.list", "deb file:///var/nvidia-driver-local-repo-x /"),
            "/etc/apt/sources.list.d/a.list names another source",
        ),
        (
            lambda host: host.write(
                "/etc/apt/sources.list.d/b.list", "deb https://x/graphics-drivers/ppa/ubuntu noble main"
            ),
            "/etc/apt/sources.list.d/b.list names another source",
        ),
        (
            lambda host: host.install("nvidia-driver-pinning-590", "590-1"),
            "nvidia-driver-pinning-590 holds the driver at 590",
        ),
    ],
)
def test_warning(ubuntu: DriverHost, prepare: Callable[[DriverHost], object], warning: str) -> None:
    prepare(ubuntu)
    plan = ubuntu.plan()
    assert refused(plan) == []
    [found] = plan["warnings"]
    assert warning in found


@pytest.mark.parametrize(
    "prepare",
    [
        lambda host: _session(host, TYPE="tty"),
        lambda host: _session(host, CLASS="greeter"),
        lambda host: _session(host, STATE="closing"),
        lambda host: _process(host, "nvidia-persiste"),
        lambda host: _process(host, device="/dev/dri/card0"),
        lambda host: (
            host.path("/run/systemd/sessions").mkdir(parents=True)
            or os.mkfifo(host.path("/run/systemd/sessions/2.ref"))
        ),
    ],
)
def test_no_warning(ubuntu: DriverHost, prepare: Callable[[DriverHost], object]) -> None:
    prepare(ubuntu)
    assert ubuntu.plan()["warnings"] == []


def test_an_installed_driver_whose_key_is_not_enrolled(ubuntu: DriverHost) -> None:
    ubuntu.install_driver("nvidia")
    ubuntu.secure_boot(state="made")
    plan = ubuntu.plan()
    assert (plan["change"], plan["refusals"]) == (False, [])
    assert "is not enrolled" in plan["warnings"][0]


def test_an_old_branch_is_warned_of(ubuntu: DriverHost) -> None:
    ubuntu.path("/sys/bus/pci/devices/0000:01:00.0/device").write_text("0x2684")
    assert "615" in ubuntu.plan(branch="615")["warnings"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"branch": "newest"}, "nvidia_driver_branch must be"), ({"branches": []}, "nvidia_driver_branches must be")],
)
def test_wrong_options_are_refused_before_the_host_is_looked_at(tmp_path: Path, options: Options, message: str) -> None:
    wanted = {"branch": "595", "source": "nvidia", "flavour": "auto", "profile": "full", "branches": TABLE}
    answers = Answers(wanted | {"state": "present", "upgrade": False} | options, TODAY)
    with pytest.raises(InputError, match=message):
        make_plan(tmp_path, Archive(_nothing_runs, tmp_path), answers)


def _nothing_runs(*command: str) -> Any:
    raise AssertionError(command)


def _types(contains: dict[str, Any]) -> dict[str, Any]:
    return {name: _types(each["contains"]) if "contains" in each else each["type"] for name, each in contains.items()}


def _shape(value: Any, documented: Any) -> Any:
    match value:
        case dict():
            return {name: _shape(each, documented.get(name)) for name, each in value.items()}
        case [dict(), *_]:
            return {name: _shape(each, documented.get(name)) for item in value for name, each in item.items()}
        case [] | None:
            return documented
    return type(value).__name__


def test_the_documentation_names_all_that_is_returned(ubuntu: DriverHost) -> None:
    documented = _types(yaml.safe_load(nvidia_driver_plan.RETURN))
    ubuntu.install_driver("nvidia", "580", want="hold")
    plans = [ubuntu.plan(branch="595"), ubuntu.plan(**ABSENT)]
    ubuntu.write("/proc/sys/kernel/osrelease", "microsoft")
    for plan in [*plans, ubuntu.plan()]:
        assert _shape(plan, documented) == documented
    assert plans[0]["refusals"]
    assert plans[0]["choice"]


def test_samples_are_of_their_types() -> None:
    def check(contains: dict[str, Any]) -> None:
        for name, value in contains.items():
            if "contains" in value:
                check(value["contains"])
            else:
                assert (name, type(value["sample"]).__name__) == (name, value["type"])

    check(yaml.safe_load(nvidia_driver_plan.RETURN))


def test_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, Any]] = []
    warned: list[str] = []

    class Module:
        params: Options = {"update_cache": True}  # noqa: RUF012 - an AnsibleModule has it
        check_mode = True

        def __init__(self, **_: Any) -> None: ...

        def warn(self, warning: str) -> None:
            warned.append(warning)

        def fail_json(self, **answer: Any) -> None:
            answers.append({"failed": True, **answer})

        def exit_json(self, **answer: Any) -> None:
            answers.append(answer)

    def wrong(*_: Any) -> None:
        raise InputError("nvidia_driver_branch", "must be", "x")

    monkeypatch.setattr(nvidia_driver_plan, "AnsibleModule", Module)
    monkeypatch.setattr(nvidia_driver_plan, "make_plan", lambda *_: {"change": True, "warnings": ["w"]})
    nvidia_driver_plan.main()
    monkeypatch.setattr(nvidia_driver_plan, "make_plan", wrong)
    nvidia_driver_plan.main()
    assert answers == [
        {"changed": False, "change": True},
        {"failed": True, "msg": "nvidia_driver_branch must be; got: 'x'"},
    ]
    assert warned == ["w"]
