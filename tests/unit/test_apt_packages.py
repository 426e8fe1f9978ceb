# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages: what is compared, what is refused before it is done, and what an interrupted run left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_freeze import FREEZE_FILE, parse, render
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_packages import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_request import parse_request
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    RequestError,
    Setting,
    Settings,
    SettingsError,
    converge,
)

from .apt_host import DEFAULTS, FakeApt
from .conftest import Host

NVIDIA = {"name": "*nvidia*", "version": "590.*", "instead_of": "[0-9][0-9][0-9].*"}
JOURNAL = "/var/lib/dpkg/updates/0001"
DKMS = """\
Error! Bad return status for module build on kernel: 7.0.0-29-generic (x86_64)
Consult /var/lib/dkms/nvidia/590.48.01/build/make.log for more information.
dpkg: error processing package nvidia-dkms-open (--configure):
 installed nvidia-dkms-open package post-installation script subprocess returned error exit status 10
Errors were encountered while processing:
 nvidia-dkms-open
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""


def told(settings: Settings) -> dict[str, tuple[str | None, str | None, str]]:
    return {each.id: (each.expected, each.actual, each.action) for each in settings.records}


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"packages": ["Htop"]}, r"packages\[0\]"),
        ({"packages": ["htop", "a b"]}, r"packages\[1\]"),
        ({"packages": ["nvidia-*"]}, r"packages\[0\]"),
        ({"packages": [7]}, r"packages\[0\]"),
        ({"packages": [{"name": "a", "versoin": "1"}]}, r"packages\[0\]"),
        ({"packages": [{"version": "1"}]}, r"packages\[0\]"),
        ({"packages": [{"name": "a", "version": 590}]}, r"packages\[0\].version"),
        ({"packages": [{"name": "*a*", "version": "1"}]}, r"packages\[0\].name"),
        ({"packages": [{"name": "*a*", "instead_of": "1"}]}, r"packages\[0\].instead_of"),
        ({"packages": [{"name": "a", "allow": "linux-"}]}, r"packages\[0\].allow"),
        ({"packages": [{"name": "a", "at_least": 1.18}]}, r"packages\[0\].at_least"),
        ({"packages": [{"name": "a", "at_least": ">=1"}]}, r"packages\[0\].at_least"),
        ({"packages": [{"name": "a", "unless": "b"}]}, r"packages\[0\].unless"),
        ({"packages": [{"name": "a", "unless": ["b", "c*"]}]}, r"packages\[0\].unless\[1\]"),
        ({"packages": ["a", {"name": "a", "version": "1*"}]}, r"packages\[1\]"),
        ({"packages": ["a"], "absent": ["a"]}, r"absent\[0\]"),
        ({"absent": ["a;b"]}, r"absent\[0\]"),
        ({"allow": ["("]}, r"allow\[0\]"),
    ],
)
def test_wrong_input_is_refused(options: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError, match=f"^{where} "):
        parse_request(DEFAULTS | options)


def test_where_all_is_as_wanted_only_dpkg_is_read(host: Host) -> None:
    apt = FakeApt(host, {"htop": "3", "nvidia-open": "590.48.01-1"})
    settings = apt.packages(
        packages=["htop", "htop", {"name": "nvidia-open", "version": "590.*"}], absent=["nano", "x*"]
    )
    assert {each.action for each in settings.records} == {"none"}
    assert len(apt.commands) == 1


def test_what_is_missing_is_installed(host: Host) -> None:
    apt = FakeApt(host, {"htop": "3"}, {"vim": "9"}, "Inst vim (9 Debian [amd64])\nInst vim-data (9 Debian [all])\n")
    settings = apt.packages(packages=["htop", "vim"])
    assert told(settings) == {"htop": ("3", "3", "none"), "vim": ("9", None, "changed")}
    assert apt.changing() == ["apt-get update", "apt-get --no-remove install vim"]
    assert not apt.packages(packages=["htop", "vim"]).differing


def test_the_cache_can_be_left_alone(host: Host) -> None:
    apt = FakeApt(host, {}, {"vim": "9"}, "Inst vim (9 Debian [amd64])\n")
    apt.packages(packages=["vim"], update_cache=False)
    assert apt.changing() == ["apt-get --no-remove install vim"]


def test_what_did_not_come_has_failed(host: Host) -> None:
    apt = FakeApt(host, {}, {"vim": "9"})
    assert [each.id for each in apt.packages(packages=["vim"]).failed] == ["vim"]


def test_a_branch_moves_together_and_takes_the_old_one_away(host: Host) -> None:
    apt = FakeApt(
        host,
        {
            "nvidia-open": "595.91.07-1",
            "libnvidia-compute": "595.91.07-1",
            "nvidia-container-toolkit": "1.17.8-1",
            "nvidia-driver-pinning-590": "590-1",
            "nvidia-driver-580-open": "580.105.08-1",
        },
        dict.fromkeys(("nvidia-open", "libnvidia-compute"), "590.48.01-1"),
        "Remv nvidia-driver-580-open [580.105.08-1]\n"
        "Inst libnvidia-compute [595.91.07-1] (590.48.01-1 N [amd64])\n"
        "Inst nvidia-open [595.91.07-1] (590.48.01-1 N [amd64])\n",
    )
    options = {
        "packages": [{"name": "nvidia-open", "version": "590.*"}, NVIDIA],
        "absent": ["*nvidia*-580*"],
        "downgrade": True,
    }
    moved = ("590.48.01-1", "595.91.07-1", "changed")
    assert told(apt.packages(**options)) == {
        "nvidia-open": moved,
        "libnvidia-compute": moved,
        "nvidia-driver-580-open": (None, "580.105.08-1", "changed"),
    }
    assert apt.changing()[-1] == (
        "apt-get --allow-downgrades install nvidia-open libnvidia-compute nvidia-driver-580-open-"
    )
    before = len(apt.commands)
    assert not apt.packages(**options).differing
    assert len(apt.commands) == before + 1


def test_another_candidate_is_refused_before_anything_changes(host: Host) -> None:
    apt = FakeApt(host, {}, {"nvidia-open": "615.71.05-1"})
    with pytest.raises(RequestError, match=r"nvidia-open: apt would take 615.71.05-1, wanted is 590.\*.*preferences"):
        apt.packages(packages=[{"name": "nvidia-open", "version": "590.*"}])
    assert apt.changing() == ["apt-get update"]


def test_an_unknown_package_is_refused(host: Host) -> None:
    with pytest.raises(RequestError, match="nosuch: apt knows no such package"):
        FakeApt(host).packages(packages=["nosuch"])


UPGRADE = "Inst libnvidia-compute [590.48.01-1] (615.71.05-1 N [amd64])\nInst nvtop (3 D [amd64])\n"


@pytest.mark.parametrize(
    ("simulation", "options", "refusal"),
    [
        (UPGRADE, {}, "libnvidia-compute would go from 590.48.01-1 to 615.71.05-1"),
        (UPGRADE, {"allow": ["linux-"]}, "libnvidia-compute would go"),
        (UPGRADE, {"remove": True}, "libnvidia-compute would go"),
        (UPGRADE, {"allow": ["libnvidia-"]}, None),
        ("Inst linux-image-7.0.0-29-generic (7.0 U [amd64])\nInst nvtop (3 D [amd64])\n", {}, "would be installed"),
        ("Remv libnvidia-compute [590.48.01-1]\nInst nvtop (3 D [amd64])\n", {"remove": True}, "would be removed"),
        ("Remv mc [4]\nInst nvtop (3 D [amd64])\n", {}, r"mc would be removed \(4\).*name them in absent"),
        ("Remv mc [4]\nInst nvtop (3 D [amd64])\n", {"remove": True}, None),
        ("Remv mc [4]\nInst nvtop (3 D [amd64])\n", {"absent": ["mc"]}, None),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_more_than_was_asked_for_is_refused(
    host: Host,
    simulation: str,
    options: dict[str, Any],
    refusal: str | None,
    check_mode: bool,  # noqa: FBT001
) -> None:
    apt = FakeApt(host, {"libnvidia-compute": "590.48.01-1", "mc": "4"}, {"nvtop": "3"}, simulation)
    if refusal is None:
        assert not apt.packages(packages=["nvtop"], check_mode=check_mode, **options).failed
        return
    with pytest.raises(RequestError, match=refusal):
        apt.packages(packages=["nvtop"], check_mode=check_mode, **options)
    assert "nvtop" not in apt.installed


def test_what_a_package_may_bring_counts_only_where_it_changes_itself(host: Host) -> None:
    kernel = {"name": "linux-generic", "allow": ["linux-"]}
    brings = "Inst linux-image-7.0 (7 U [amd64])\n"
    apt = FakeApt(host, {"linux-generic": "6"}, {"vim": "9"}, f"{brings}Inst vim (9 D [amd64])\n")
    with pytest.raises(RequestError, match=r"linux-image-7\.0 would be installed"):
        apt.packages(packages=[kernel, "vim"])
    apt = FakeApt(host, {"vim": "9"}, {"linux-generic": "7"}, f"{brings}Inst linux-generic (7 U [amd64])\n")
    assert told(apt.packages(packages=[kernel, "vim"]))["linux-image-7.0"] == ("7", None, "changed")


def test_a_virtual_package_is_satisfied_by_any_that_provides_it(host: Host) -> None:
    apt = FakeApt(host, {"chrony": "4"}, {"time-daemon": None}, provides={"chrony": "time-daemon"})
    assert told(apt.packages(packages=["time-daemon"])) == {
        "time-daemon": ("provided by chrony", "provided by chrony", "none")
    }
    apt = FakeApt(host, {"old": "4"}, {"nvidia-kernel-common": "590"}, provides={"old": "nvidia-kernel-common"})
    assert apt.packages(check_mode=True, packages=["nvidia-kernel-common"], allow=["nvidia-"]).differing


TOOLKIT = {"name": "toolkit", "at_least": "1.18.2"}


@pytest.mark.parametrize("installed", ["1.18.2-1", "1.18.10-1", "1:0.1-1"])
def test_a_version_that_is_new_enough_stays(host: Host, installed: str) -> None:
    apt = FakeApt(host, {"toolkit": installed}, {"toolkit": "9-1"})
    assert told(apt.packages(packages=[TOOLKIT])) == {"toolkit": (installed, installed, "none")}


@pytest.mark.parametrize("installed", [{}, {"toolkit": "1.18.2~rc.1-1"}, {"toolkit": "1.9-1"}])
def test_an_older_version_is_upgraded(host: Host, installed: dict[str, str]) -> None:
    simulation = "Inst toolkit [1.9-1] (1.19.0-1 NVIDIA [amd64])\n"
    apt = FakeApt(host, dict(installed), {"toolkit": "1.19.0-1"}, simulation)
    found = installed.get("toolkit")
    assert told(apt.packages(check_mode=True, packages=[TOOLKIT])) == {"toolkit": ("1.18.2 or newer", found, "changed")}
    assert told(apt.packages(packages=[TOOLKIT])) == {"toolkit": ("1.19.0-1", found, "changed")}
    assert not apt.packages(packages=[TOOLKIT]).differing


def test_a_candidate_that_is_too_old_is_refused_before_anything_changes(host: Host) -> None:
    apt = FakeApt(host, {}, {"toolkit": "1.17.8-1"})
    with pytest.raises(RequestError, match=r"^toolkit: apt would take 1.17.8-1, wanted is 1.18.2 or newer; "):
        apt.packages(packages=[TOOLKIT])
    assert apt.changing() == ["apt-get update"]


def test_a_package_is_not_asked_for_beside_its_rival(host: Host) -> None:
    wanted = {"name": "docker.io", "unless": ["docker-ee", "docker-ce"]}
    apt = FakeApt(host, {"docker-ce": "5:29"}, {"docker.io": "28"}, "Inst docker.io (28 Debian [amd64])\n")
    assert told(apt.packages(packages=[wanted]))["docker.io"] == ("docker-ce instead", "docker-ce instead", "none")
    assert not any("docker.io" in command for command in apt.commands)
    apt.installed["docker-ce"] = "5:29/config-files"
    assert told(apt.packages(packages=[wanted]))["docker.io"] == ("28", None, "changed")


def test_configuration_counts_only_for_a_purge(host: Host) -> None:
    apt = FakeApt(host, {"mc": "4/config-files"}, {}, "Purg mc [4]\n")
    assert not apt.packages(absent=["mc"]).differing
    assert told(apt.packages(absent=["mc"], purge=True)) == {"mc": (None, "config-files", "changed")}
    assert apt.changing() == ["apt-get --purge install mc-"]


def test_check_mode_writes_nothing_and_updates_nothing(host: Host) -> None:
    def simulate(command: tuple[str, ...]) -> str:
        assert "--option=Dir::Cache::pkgcache=" in command  # which apt would write
        return "Inst vim (9 D [amd64])\nRemv nvidia-x [1]\n"

    apt = FakeApt(host, {"mc": "4"}, {"vim": "9"}, simulate)
    settings = apt.packages(check_mode=True, packages=["vim"], allow=["nvidia-"])
    assert told(settings) == {"vim": ("installed", None, "changed"), "nvidia-x": (None, "1", "changed")}
    assert apt.changing() == []


@pytest.mark.parametrize(
    ("candidates", "reason"),
    [
        ({}, "as things are, apt knows no such package"),
        ({"nvidia-open": "615.1-1"}, r"as things are, apt would take 615.1-1, wanted is 590.*"),
    ],
)
def test_check_mode_says_what_cannot_be_told_yet(host: Host, candidates: dict[str, str | None], reason: str) -> None:
    apt = FakeApt(host, {}, candidates)
    (record,) = apt.packages(check_mode=True, packages=[{"name": "nvidia-open", "version": "590.*"}]).differing
    assert record.reason is not None
    assert record.reason.startswith(reason)


def test_an_interrupted_dpkg_is_finished_first(host: Host) -> None:
    journal = host.write(JOURNAL, "")
    apt = FakeApt(host, {"htop": "3"})
    assert told(apt.packages(check_mode=True, packages=["htop"]))["dpkg"] == ("installed", "interrupted", "changed")
    assert apt.changing() == []
    apt.packages(packages=["htop"])
    assert apt.changing()[0] == "dpkg --configure --pending --force-confdef --force-confold"
    journal.unlink()
    assert not apt.packages(packages=["htop"]).differing


def test_a_package_that_the_repair_brings_has_its_version(host: Host) -> None:
    """The power was cut while dpkg unpacked what is asked for."""
    journal = host.write(JOURNAL, "")

    def finish(command: tuple[str, ...]) -> str:
        journal.unlink(missing_ok=True)
        return "Inst tree [2.2-1] (2.2-1 Debian:13 [amd64])\n" if "tree=2.2-1" in command else ""

    apt = FakeApt(host, {"tree": "2.2-1/half-installed"}, {"tree": "2.2-1"}, finish)
    assert told(apt.packages(packages=["tree"]))["tree"] == ("2.2-1", "half-installed", "changed")


def test_what_must_be_unpacked_again_is_at_its_own_version(host: Host) -> None:
    def repair(command: tuple[str, ...]) -> str:
        return "Inst nvidia-open [590-1] (590-1 N [amd64])\n" if "nvidia-open=590-1" in command else ""

    apt = FakeApt(host, {"nvidia-open": "590-1/half-installed"}, simulation=repair)
    assert told(apt.packages(packages=[]))["nvidia-open"] == ("installed", "half-installed", "changed")
    assert apt.changing() == ["apt-get --no-remove --reinstall install nvidia-open=590-1"]


def test_another_package_that_cannot_be_finished_is_skipped_and_told(host: Host) -> None:
    host.write("/var/lib/dkms/nvidia/590.48.01/build/make.log", "CC a.o\n/b/nv-pci.c:237: error: too few arguments\n")
    failure = Output(100, DKMS)
    apt = FakeApt(host, {"nvidia-dkms-open": "590/half-configured"}, answers={"apt-get --no-remove": [failure]})
    settings = apt.packages(packages=[])
    assert told(settings)["nvidia-dkms-open"] == ("installed", "half-configured", "skipped")
    assert not settings.failed
    for part in (
        "could not be built for kernel 7.0.0-29-generic",
        "log: /var/lib/dkms/nvidia/590.48.01/build/make.log: /b/nv-pci.c:237: error: too few arguments",
        "E: Sub-process",
    ):
        assert part in settings.warnings[0]


def test_nothing_is_removed_to_finish_an_installation(host: Host) -> None:
    apt = FakeApt(host, {"a": "1/unpacked"}, simulation="Remv nvidia-open [590-1]\n")
    settings = apt.packages(packages=[])
    assert "nvidia-open would be removed" in settings.warnings[0]
    assert apt.changing() == []


HALF = "Inst nvidia-open [590-1] (590-1 N [amd64])\n"
NEWER = "Inst nvidia-open [590-1] (595-1 N [amd64])\n"
UNASKED = f"{HALF}Inst nvidia-dkms-open (590-1 N [amd64])\n"
LIBRARY = f"{HALF}Inst libfoo (2 D [amd64])\nInst bar [1] (2 D [amd64])\n"
BROUGHT = {"libfoo": ("2", None, "changed"), "bar": ("2", "1", "changed")}
LEFT = ("installed", "half-installed", "changed")
SKIPPED = ("installed", "half-installed", "skipped")


@pytest.mark.parametrize(
    ("simulation", "options", "records"),
    [
        (HALF, {}, {"nvidia-open": LEFT}),
        (NEWER, {}, {"nvidia-open": SKIPPED}),
        (NEWER, {"allow": ["nvidia-"]}, {"nvidia-open": ("595-1", "half-installed", "changed")}),
        (UNASKED, {}, {"nvidia-open": SKIPPED}),
        (UNASKED, {"allow": ["nvidia-"]}, {"nvidia-open": LEFT, "nvidia-dkms-open": ("590-1", None, "changed")}),
        (LIBRARY, {}, {"nvidia-open": LEFT, "libfoo": ("2", None, "changed"), "bar": ("2", "1", "changed")}),
        (
            LIBRARY,
            {"packages": ["bar"]},
            {"nvidia-open": LEFT, "libfoo": ("2", None, "changed"), "bar": ("2", "1", "changed")},
        ),
        (f"{HALF}Remv bar [1]\n", {}, {"nvidia-open": SKIPPED}),
        (f"{HALF}Remv bar [1]\n", {"remove": True}, {"nvidia-open": LEFT, "bar": (None, "1", "changed")}),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_to_finish_is_no_leave_to_change_kernel_or_driver(
    host: Host,
    simulation: str,
    options: dict[str, Any],
    records: dict[str, tuple[str | None, str | None, str]],
    check_mode: bool,  # noqa: FBT001
) -> None:
    before = {"nvidia-open": "590-1/half-installed", "bar": "1"}
    apt = FakeApt(host, dict(before), simulation=simulation)
    settings = apt.packages(check_mode=check_mode, **options)
    assert told(settings) == records
    is_refused = SKIPPED in records.values()
    assert [warning.partition(",")[0] for warning in settings.warnings] == ["refused"] * is_refused
    assert (apt.installed == before) is (check_mode or is_refused)
    assert not settings.failed


def test_a_repair_that_fails_halfway_records_what_it_did(host: Host) -> None:
    apt = FakeApt(host, {"a": "1/unpacked"}, simulation="".join(f"Inst {name} (2 D [all])\n" for name in "bcd"))

    def fail(*command: str) -> Output:
        if command[:2] == ("apt-get", "--no-remove"):
            apt.installed |= {"b": "2/half-configured", "c": "2"}
            return Output(100, DKMS)
        return apt(*command)

    settings = converge(lambda: make_plan(parse_request(DEFAULTS), fail, host.root, check_mode=False), check_mode=False)
    assert told(settings) == {
        "a": ("installed", "unpacked", "skipped"),
        "b": ("2", None, "skipped"),
        "c": ("2", None, "changed"),
    }


def test_what_was_asked_for_may_finish_what_the_repair_may_not(host: Host) -> None:
    def simulate(command: tuple[str, ...]) -> str:
        kernel = "Inst linux-image-7.0 (7 U [amd64])\n"
        meta = "Inst linux-modules-7.0 [7] (7 U [amd64])\nInst linux-generic (7 U [amd64])\n"
        return kernel + (meta if "linux-generic" in command else "")

    apt = FakeApt(host, {"linux-modules-7.0": "7/unpacked"}, {"linux-generic": "7"}, simulate)
    settings = apt.packages(packages=[{"name": "linux-generic", "allow": ["linux-image-"]}])
    assert told(settings) == {
        "linux-generic": ("7", None, "changed"),
        "linux-modules-7.0": ("installed", "unpacked", "changed"),
        "linux-image-7.0": ("7", None, "changed"),
    }
    assert settings.warnings == []


def test_a_failure_counts_where_it_concerns_what_was_asked_for(host: Host) -> None:
    apt = FakeApt(host, {}, {"vim": "9"}, "Inst vim (9 D [amd64])\n", answers={"apt-get --no-rem": [Output(100, DKMS)]})
    with pytest.raises(SettingsError, match=r"apt failed \(vim\):\nthe driver's module could not be built"):
        apt.packages(packages=["vim"])


def test_an_update_that_fails_is_a_warning(host: Host) -> None:
    fault = Output(100, "", "E: The repository 'http://x Release' does not have a Release file.\n")
    apt = FakeApt(host, {}, {"vim": "9"}, "Inst vim (9 D [amd64])\n", answers={"apt-get update": [fault]})
    settings = apt.packages(packages=["vim"])
    assert "does not have a Release file" in settings.warnings[0]
    assert settings.records == [Setting("vim", "persisted", "9", None, "changed")]


def test_what_was_frozen_is_set_free_for_the_transaction_alone(host: Host) -> None:
    kept = {"linux-image-6.17": "6.17"}
    file = host.write(FREEZE_FILE, render(kept | {"nvidia-open": "595.1-1"}) or "")
    seen: list[dict[str, str]] = []

    def simulate(command: tuple[str, ...]) -> str:
        parts = [word.rpartition("=")[2] for word in command if "PreferencesParts" in word]
        if "--simulate" in command:
            seen.append(parse((Path(parts[0]) / file.name).read_text() if parts else ""))
        else:
            seen.append(parse(file.read_text()))
        return "Inst nvidia-open [595.1-1] (590.1-1 N [amd64])\n"

    apt = FakeApt(host, kept | {"nvidia-open": "595.1-1"}, {"nvidia-open": "590.1-1"}, simulate)
    apt.packages(packages=[{"name": "nvidia-open", "version": "590.*"}], downgrade=True)
    assert seen == [kept, kept]
    assert parse(file.read_text()) == kept | {"nvidia-open": "590.1-1"}


def test_what_the_freeze_stops_says_so(host: Host) -> None:
    host.write(FREEZE_FILE, render({"libnvidia-compute": "590-1"}) or "")
    held = Output(
        100, "The following packages have unmet dependencies:\n nvtop : Depends: libnvidia-compute (>= 600)\n"
    )
    apt = FakeApt(host, {"libnvidia-compute": "590-1"}, {"nvtop": "3"}, answers={"apt-get --simulate": [held]})
    with pytest.raises(SettingsError, match=f"Depends: libnvidia-compute.*\n.*frozen by {FREEZE_FILE}"):
        apt.packages(packages=["nvtop"])
    assert parse(host.read(FREEZE_FILE)) == {"libnvidia-compute": "590-1"}
