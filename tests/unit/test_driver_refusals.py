# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a host's driver from being changed: each rule, what it says, and the way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_host import FileSystem
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_refusals import RULES

from .driver_host import GTX_1080, HWE, PLENTY, DriverHost, refused

Options = dict[str, Any]
UBUNTU: Options = {"source": "ubuntu"}
ABSENT: Options = {"state": "absent"}
BUILD_LOG = "/var/lib/dkms/nvidia/595.71.05/build/make.log"
FAILED_BUILD = """\
DKMS make.log for nvidia-595.71.05 for kernel 7.0.0-29-generic (x86_64)
nv-pci.c:237:20: error: too few arguments to function 'pci_resize_resource'
"""


@pytest.fixture
def ubuntu(tmp_path: Path) -> DriverHost:
    return DriverHost(tmp_path)


class Case(NamedTuple):
    """A host that is refused: how it became so, and what it is told."""

    rule: str
    prepare: Callable[[DriverHost], object]
    message: str
    remedy: str
    options: Options = {}  # noqa: RUF012 - never changed
    distribution: str = "Ubuntu 24.04"


def _runfile(host: DriverHost) -> None:
    host.write("/usr/bin/nvidia-uninstall", "")
    host.write("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05", "")


def _runfile_without_uninstaller(host: DriverHost) -> None:
    host.write("/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", "")


def _mixed(host: DriverHost) -> None:
    host.install("libnvidia-compute-595", "595.91.07-0ubuntu0.24.04.1")
    host.install("nvidia-open", "595.71.05-1ubuntu1")


def _ppa(host: DriverHost) -> None:
    host.install("nvidia-driver-595-open", "595.71.05-0ubuntu0~gpu24.04.1")


def _server(host: DriverHost) -> None:
    host.install("nvidia-headless-580-server-open", "580.105.08-0ubuntu0.24.04.1")


def _cuda(host: DriverHost) -> None:
    host.install_all(("cuda-drivers",), "615.71.05-1ubuntu1")
    host.install_all(("cuda-13-0", "cuda-runtime-13-0", "cuda-toolkit-13-0", "cuda-toolkit-13-0-config-common"), "13.0")


def _half_installed(host: DriverHost) -> None:
    host.install("libnvidia-compute", "595.71.05-1ubuntu1", status="half-installed", flag="reinstreq")


def _half_configured(host: DriverHost) -> None:
    host.install("postgresql-16", "16.4-1", status="half-configured")


def _not_built(host: DriverHost) -> None:
    host.install_driver("nvidia")
    host.install("nvidia-dkms-open", "595.71.05-1ubuntu1", status="half-configured")
    host.install("linux-headers-7.0.0-29-generic", "1", status="half-configured")
    host.write(BUILD_LOG, FAILED_BUILD)


def _held(host: DriverHost) -> None:
    host.install_driver("nvidia", "580", want="hold")


def _no_kernel(host: DriverHost) -> None:
    host.path("/boot/vmlinuz-7.0.0-29-generic").unlink()


def _no_headers(host: DriverHost) -> None:
    host.add_kernel("7.0.0-30-generic", headers=False)


def _own_kernel(host: DriverHost) -> None:
    host.add_kernel("7.0.9-mine", headers=False)
    del host.packages["linux-image-7.0.9-mine"]


def _space(**free: int) -> Callable[[DriverHost], None]:
    def prepare(host: DriverHost) -> None:
        for number, (name, value) in enumerate(free.items()):
            host.file_systems[f"/{name}"] = FileSystem(10 + number, value, read_only=False)

    return prepare


def _read_only(host: DriverHost) -> None:
    host.file_systems["/usr"] = replace(PLENTY, read_only=True)


def _boot_unmounted(host: DriverHost) -> None:
    host.write("/etc/fstab", "UUID=1 / ext4 defaults 0 1\nUUID=2 /boot ext4 defaults 0 2\n")
    host.write("/proc/self/mounts", "/dev/sda2 / ext4 rw 0 0\n")


def _foreign_list(host: DriverHost) -> None:
    uri = "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2204/x86_64/"
    host.write("/etc/apt/sources.list.d/cuda.list", f"deb [signed-by=/x.gpg] {uri} /\n")


def _foreign_stanza(host: DriverHost) -> None:
    uri = "https://mirror.example/compute/cuda/repos/debian12/x86_64"
    host.write("/etc/apt/sources.list.d/cuda.sources", f"Types: deb\nURIs: {uri}\nSuites: /\n")


def _secure(state: str = "", certificate: str = "/var/lib/shim-signed/mok/MOK.der") -> Callable[[DriverHost], None]:
    return lambda host: host.secure_boot(state=state, certificate=certificate)


def _prime(host: DriverHost) -> None:
    host.write("/lib/modprobe.d/blacklist-nvidia.conf", "# by prime-select\nblacklist nvidia\nalias nvidia off\n")


def _blacklist(host: DriverHost) -> None:
    host.write("/etc/modprobe.d/local.conf", "install nvidia /bin/false\n")


def _blacklist_at_boot(host: DriverHost) -> None:
    host.write("/proc/cmdline", "BOOT_IMAGE=/vmlinuz ro module_blacklist=nouveau,nvidia quiet\n")


REFUSALS = [
    Case("runfile", _runfile, "a driver 580.95.05 from a .run file", "sudo /usr/bin/nvidia-uninstall --silent;"),
    Case(
        "runfile",
        _runfile_without_uninstaller,
        "libcuda.so.580.95.05 is of no package",
        "sudo sh NVIDIA-Linux-x86_64-580.95.05.run --uninstall --silent;",
    ),
    Case("runfile", _runfile, "580.95.05", "nvidia-uninstall", ABSENT),
    Case("mixed_sources", _mixed, "nvidia: nvidia-open; ubuntu: libnv", "sudo apt-get purge libnvidia-compute-595;"),
    Case("mixed_sources", _mixed, "are mixed", "sudo apt-get purge nvidia-open;", {**UBUNTU, "branch": "595"}),
    Case(
        "other_source",
        lambda host: host.install_driver("ubuntu"),
        "driver 595.91.07 is installed from the source ubuntu, and nvidia_driver_source is 'nvidia'",
        'or keep it: nvidia_driver_source: "ubuntu"',
    ),
    Case(
        "other_source",
        lambda host: host.install_driver("debian"),
        "driver 550.163.01 is installed from the source debian",
        "sudo apt-get purge libnvidia-ml1 nvidia-driver nvidia-open-kernel-dkms nvidia-smi;",
        distribution="Debian 13",
    ),
    Case("other_source", _ppa, "from the source ppa", "add-apt-repository --yes --remove ppa:graphics-drivers/ppa"),
    Case("server_series", _server, "Canonical's server series", "apt-get purge nvidia-headless-580-server", UBUNTU),
    Case(
        "cuda_drivers",
        _cuda,
        "cuda-13-0, cuda-runtime-13-0, cuda-drivers ask for the driver 615, not 595",
        "sudo apt-mark manual cuda-toolkit-13-0; sudo apt-get remove cuda-13-0 cuda-runtime-13-0 cuda-drivers;",
    ),
    Case("cuda_drivers", _cuda, "ask for the driver 615, and shall go", "sudo apt-get remove cuda-13-0", ABSENT),
    Case(
        "not_obtainable",
        _half_installed,
        "half-installed, and no apt source has it: libnvidia-compute",
        "sudo dpkg --remove --force-remove-reinstreq libnvidia-compute; sudo apt-get --fix-broken install",
    ),
    Case("not_configured", _half_configured, "could not configure postgresql-16", "sudo dpkg --configure --pending"),
    Case(
        "module_not_built",
        _not_built,
        "cannot be built for kernel 7.0.0-29-generic: nv-pci.c:237:20: error: too few arguments",
        "sudo apt-get purge linux-image-7.0.0-29-generic",
    ),
    Case(
        "held", _held, "on hold, and in the way: libnvidia-compute-580, ", "sudo apt-mark unhold libnvidia-compute-580"
    ),
    Case("held", _held, "on hold", "sudo apt-mark unhold", ABSENT),
    Case(
        "dkms_leftover",
        lambda host: host.path("/var/lib/dkms/nvidia/535.183.01").mkdir(parents=True),
        "DKMS has nvidia/535.183.01",
        "sudo dkms remove nvidia/535.183.01 --all;",
    ),
    Case(
        "foreign_repository",
        _foreign_list,
        "/etc/apt/sources.list.d/cuda.list names NVIDIA's repository of another distribution, ubuntu2204",
        "sudo sed --in-place '\\|/cuda/repos/ubuntu2204/|s/^/# /' /etc/apt/sources.list.d/cuda.list; sudo apt-get",
    ),
    Case(
        "foreign_repository",
        _foreign_stanza,
        "debian12",
        "sudo mv /etc/apt/sources.list.d/cuda.sources /etc/apt/sources.list.d/cuda.sources.disabled; ",
    ),
    Case(
        "no_candidate",
        lambda _: None,
        "apt has no nvidia-driver-595-open",
        "sudo add-apt-repository --yes restricted; ",
        UBUNTU,
    ),
    Case(
        "no_candidate",
        lambda host: host.path("/sys/bus/pci/devices/0000:01:00.0/device").write_text("0x2684"),
        "apt has no nvidia-open-kernel-dkms",
        "add contrib, non-free",
        {"source": "debian", "branch": "550"},
        "Debian 13",
    ),
    Case("no_kernel", _no_kernel, "no kernel is installed", "sudo apt-get install linux-generic-hwe-24.04"),
    Case("no_headers", _no_headers, "for the newest kernel, 7.0.0-30-generic", f"linux-headers-{HWE}; sudo reboot"),
    Case("no_headers", _own_kernel, "7.0.9-mine", "/lib/modules/7.0.9-mine/build"),
    Case("boot_unmounted", _boot_unmounted, "/boot is in /etc/fstab and not mounted", "sudo mount /boot"),
    Case("key_missing", _secure(), "there is no such key yet", "sudo update-secureboot-policy --new-key; sudo mokutil"),
    Case("key_missing", _secure(), "no such key", "sudo dkms generate_mok;", distribution="Debian 13"),
    Case("key_not_enrolled", _secure("made"), "firmware does not know it", "mokutil --import /var/lib/shim-signed/mok"),
    Case("key_not_enrolled", _secure("made"), "Secure Boot is on", 'nvidia_driver_source: "ubuntu"'),
    Case(
        "key_not_enrolled",
        _secure("made", "/var/lib/dkms/mok.pub"),
        "(/var/lib/dkms/mok.pub)",
        "sudo mokutil --import /var/lib/dkms/mok.pub",
        distribution="Debian 13",
    ),
    Case("key_requested", _secure("requested"), "waits for a person at the console", "choose Enroll MOK"),
    Case("blacklisted", _prime, "/lib/modprobe.d/blacklist-nvidia.conf line 2", "sudo prime-select nvidia; or"),
    Case("blacklisted", _blacklist, "/etc/modprobe.d/local.conf line 1", "sudo update-initramfs -u -k all"),
    Case("blacklisted", _blacklist_at_boot, "module_blacklist=nouveau,nvidia", "sudo update-grub"),
    Case("read_only", _read_only, "read-only: /usr", "sudo mount -o remount,rw /usr"),
    Case("space", _space(usr=1100), "1100 MiB are free for /usr, ", "sudo apt-get clean"),
    Case("space", _space(var=900), "900 MiB are free for /var, ", "sudo du -xh --max-depth=2 /var"),
    Case("boot_space", _space(boot=90), "90 MiB are free on /boot", "sudo apt-get autoremove --purge"),
    Case("branch", lambda _: None, "does not build for 7.0", 'nvidia_driver_branch: "595"', {"branch": "590"}),
    Case("branch", lambda host: host.add_card("02", GTX_1080), "no one driver serves both", "vfio-pci"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.rule)
def test_refusal(tmp_path: Path, case: Case) -> None:
    host = DriverHost(tmp_path, case.distribution)
    if case.rule != "no_candidate" and case.options.get("source", "nvidia") != "nvidia":
        host.candidates["nvidia-driver-595-open"] = "595.91.07-0ubuntu0.24.04.1"
    case.prepare(host)
    plan = host.plan(**case.options)
    assert plan["change"]
    found = {each["rule"]: each for each in plan["refusals"]}
    assert list(found) == [case.rule]
    assert case.message in found[case.rule]["message"]
    assert case.remedy in found[case.rule]["remedy"]


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in REFUSALS} == set(RULES)


def test_what_was_cut_off_is_finished_and_no_refusal(ubuntu: DriverHost) -> None:
    ubuntu.write("/var/lib/dpkg/updates/0001", "")
    ubuntu.install("initramfs-tools", "0.142", status="half-configured")
    ubuntu.install("nvidia-dkms-open", "595.71.05-1ubuntu1", status="half-configured")
    ubuntu.install("libnvidia-compute", "595.71.05-1ubuntu1", status="half-installed", flag="reinstreq")
    ubuntu.candidates["libnvidia-compute"] = "595.71.05-1ubuntu1"
    ubuntu.file_systems["/usr"] = FileSystem(2, 600, read_only=False)
    plan = ubuntu.plan()
    assert refused(plan) == []
    assert plan["change"]
    assert "cut off (initramfs-tools, nvidia-dkms-open, libnvidia-compute): it is finished first" in plan["warnings"][0]


def test_a_build_that_failed_is_no_refusal_of_another_branch(ubuntu: DriverHost) -> None:
    _not_built(ubuntu)
    assert refused(ubuntu.plan(branch="615")) == []


def test_of_kernels_nothing_is_claimed_where_no_branch_fits(ubuntu: DriverHost) -> None:
    _no_headers(ubuntu)
    ubuntu.secure_boot()
    assert refused(ubuntu.plan(branch="590")) == ["branch", "key_missing"]
    assert refused(ubuntu.plan(branch="590", source="ubuntu")) == ["branch"]


def test_several_obstacles_are_told_at_once(ubuntu: DriverHost) -> None:
    for prepare in (_runfile, _held, _prime, _secure(), _read_only):
        prepare(ubuntu)
    assert refused(ubuntu.plan(branch="595")) == ["runfile", "held", "key_missing", "blacklisted", "read_only"]


@pytest.mark.parametrize(
    "prepare",
    [
        _secure("enrolled"),
        lambda host: host.write("/etc/apt/sources.list.d/cuda.list.disabled", "deb https://a/compute/cuda/repos/x/ /"),
        lambda host: host.write("/etc/apt/sources.list.d/cuda.list", "# deb https://a/compute/cuda/repos/x/ /"),
        lambda host: host.write(
            "/etc/apt/sources.list.d/cuda.list", "deb https://a/compute/cuda/repos/ubuntu2404/x86_64/ /"
        ),
        lambda host: host.write("/etc/modprobe.d/a.conf", "blacklist nvidiafb\n#blacklist nvidia\nblacklist nouveau"),
        lambda host: host.write("/etc/modprobe.d/a.conf", "install nvidia modprobe -i nvidia-current $CMDLINE_OPTS"),
        lambda host: host.install("nvidia-cuda-toolkit", "12.0.140~12.0.1-4build4"),
        lambda host: host.install("nvidia-container-toolkit", "1.18.0-1", want="hold"),
        lambda host: host.install_all(("cuda-toolkit-13-0", "cuda-cudart-13-0"), "13.0.96-1"),
        lambda host: host.install("nvidia-settings", "510.47.03-0ubuntu4"),
        lambda host: host.path("/var/lib/dkms/nvidia-fs/2.26.6").mkdir(parents=True),
        lambda host: host.path("/var/lib/dkms/nvidia/kernel-7.0.0-29-generic-x86_64").mkdir(parents=True),
        lambda host: host.install("cuda-drivers", "595.71.05-1ubuntu1"),
        lambda host: host.install("postgresql-16", "16.4-1", status="unpacked"),
        lambda host: host.install("nvidia-driver-580", "580.105.08-0ubuntu1", status="config-files"),
        _space(boot=101),
        _space(usr=1200, var=1200),
    ],
)
def test_what_is_in_nobodys_way(ubuntu: DriverHost, prepare: Callable[[DriverHost], object]) -> None:
    prepare(ubuntu)
    assert refused(ubuntu.plan()) == []


@pytest.mark.parametrize("free", [2399, 2400])
def test_one_file_system_holds_all(ubuntu: DriverHost, free: int) -> None:
    ubuntu.file_systems = dict.fromkeys(ubuntu.file_systems, FileSystem(1, free, read_only=False))
    assert refused(ubuntu.plan()) == (["space"] if free < 2400 else [])


def test_a_large_initramfs_takes_more_of_boot(ubuntu: DriverHost) -> None:
    _space(boot=150)(ubuntu)
    assert refused(ubuntu.plan()) == []
    with ubuntu.path("/boot/initrd.img-7.0.0-29-generic").open("wb") as file:
        file.truncate(60 << 20)
    assert refused(ubuntu.plan()) == ["boot_space"]


def test_nothing_is_claimed_of_what_apt_was_not_told(ubuntu: DriverHost) -> None:
    """A fresh cloud image has no lists: what apt does not know may exist."""
    ubuntu.path("/var/lib/apt/lists/archive_Packages").unlink()
    ubuntu.add_kernel("7.0.0-30-generic", headers=False)
    ubuntu.install("bash", "5.2-1", status="half-installed", flag="reinstreq")
    assert refused(ubuntu.plan()) == []
    assert refused(ubuntu.plan(**UBUNTU)) == []
    ubuntu.secure_boot()
    assert refused(ubuntu.plan(**UBUNTU)) == []  # Canonical may have signed modules
    assert refused(ubuntu.plan()) == ["key_missing"]


@pytest.mark.parametrize(
    "log",
    [
        FAILED_BUILD.replace("7.0.0-29-generic", "7.0.0-31-generic"),  # which is gone
        FAILED_BUILD.replace("nv-pci.c:237:20: error: too few arguments", "sh: 1: gcc: command not found"),
    ],
    ids=["kernel", "compiler"],
)
def test_a_build_whose_cause_is_mended_is_tried_again(ubuntu: DriverHost, log: str) -> None:
    _not_built(ubuntu)
    ubuntu.write(BUILD_LOG, log)
    assert refused(ubuntu.plan()) == []


def test_signed_modules_that_canonical_has_not(ubuntu: DriverHost) -> None:
    ubuntu.candidates["nvidia-driver-595-open"] = "1"
    ubuntu.secure_boot()
    [refusal] = ubuntu.plan(**UBUNTU)["refusals"]
    assert f"no signed modules of this branch for every kind of kernel here ({HWE})" in refusal["remedy"]
