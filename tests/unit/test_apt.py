# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How apt and dpkg are called, and what of their output is understood."""

from __future__ import annotations

import re
import tempfile

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import (
    Change,
    Output,
    parse_candidates,
    parse_simulation,
    run,
    run_unlocked,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._dpkg import Package, read_packages
from ansible_collections.mlrig.workstation.plugins.module_utils._guarded_packages import (
    PATTERNS,
    is_guarded,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

from .apt_host import FakeApt
from .conftest import Host, full_disk

SIMULATION = """\
Reading package lists...
The following packages will be DOWNGRADED:
  libnvidia-compute nvidia-open
Remv nvidia-driver-pinning-595 [595-1]
Purg oldtool [1:2.0-1+b2]
Inst libnvidia-compute [595.91.07-1ubuntu1] (590.48.01-1ubuntu1 NVIDIA CUDA:localhost [amd64])
Inst linux-image-generic-hwe-24.04 [6.17.0-35.35~24.04.1] (7.0.0-29.29~24.04.1 Ubuntu:noble-updates [amd64]) []
Inst libc6:i386 (2.41-12+deb13u4 Debian:13.5/stable [i386])
Conf libnvidia-compute (590.48.01-1ubuntu1 NVIDIA CUDA:localhost [amd64])
"""


def test_a_simulation_is_read_line_by_line() -> None:
    assert parse_simulation(SIMULATION) == (
        Change("nvidia-driver-pinning-595", "595-1", None, "remove"),
        Change("oldtool", "1:2.0-1+b2", None, "remove"),
        Change("libnvidia-compute", "595.91.07-1ubuntu1", "590.48.01-1ubuntu1", "change"),
        Change("linux-image-generic-hwe-24.04", "6.17.0-35.35~24.04.1", "7.0.0-29.29~24.04.1", "change"),
        Change("libc6:i386", None, "2.41-12+deb13u4", "install"),
    )


def test_changes_say_what_they_are() -> None:
    assert [str(change) for change in parse_simulation(SIMULATION)[1:5:2]] == [
        "oldtool would be removed (1:2.0-1+b2)",
        "linux-image-generic-hwe-24.04 would go from 6.17.0-35.35~24.04.1 to 7.0.0-29.29~24.04.1",
    ]


def test_a_full_disk_is_told_where_no_command_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)  # it would be remembered
    with full_disk(), pytest.raises(SettingsError, match=r"^no command can be run: .*: is the disk full\?$"):
        run("true")


def test_candidates_are_told_from_none_and_from_unknown() -> None:
    policy = """\
nvidia-open:
  Installed: 590.48.01-1ubuntu1
  Candidate: 595.91.07-1ubuntu1
  Version table:
     595.91.07-1ubuntu1 1000
       1000 file:/r  Packages
 *** 590.48.01-1ubuntu1 100
mail-transport-agent:
  Installed: (none)
  Candidate: (none)
  Version table:
"""
    assert parse_candidates(policy) == {"nvidia-open": "595.91.07-1ubuntu1", "mail-transport-agent": None}


def test_commands_speak_english_and_ask_nobody() -> None:
    output = run("sh", "-c", 'echo "$LC_ALL $DEBIAN_FRONTEND $NEEDRESTART_SUSPEND"; cat; echo wrong >&2; exit 3')
    assert output == Output(3, "C.UTF-8 noninteractive 1\n", "wrong\n")


def test_a_daemon_that_stays_keeps_nobody_waiting() -> None:
    assert run("sh", "-c", "sleep 60 & echo $!").code == 0


def test_a_host_without_dpkg_is_told() -> None:
    with pytest.raises(SettingsError, match="no-such-dpkg is not on this host"):
        run("no-such-dpkg")


@pytest.mark.parametrize(
    "locked",
    [
        "dpkg: error: dpkg frontend lock was locked by another process with pid 2443",
        "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 2443 (apt-get)",
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
    ],
)
def test_another_apt_is_waited_for(host: Host, locked: str) -> None:
    apt = FakeApt(host, answers={"apt-get update": [Output(100, "", locked), Output(100, "", locked)]})
    assert run_unlocked(apt, "apt-get", "update", pause=0).code == 0
    assert len(apt.commands) == 3


def test_waiting_ends(host: Host) -> None:
    locked = Output(100, "", "E: Could not get lock /var/lib/apt/lists/lock.")
    apt = FakeApt(host, answers={"apt-get update": [locked] * 9})
    assert run_unlocked(apt, "apt-get", "update", patience=0, pause=0) == locked
    assert len(apt.commands) == 1


def test_other_failures_are_not_repeated(host: Host) -> None:
    apt = FakeApt(host, answers={"apt-get update": [Output(100, "", "E: no such host")]})
    assert run_unlocked(apt, "apt-get", "update", pause=0).code == 100


def test_dpkg_is_read_in_one_call() -> None:
    text = (
        "dpkg\tamd64\t1.22\tinstall\tok\tinstalled\t\n"
        "adduser\tall\t3.152\tinstall\tok\tinstalled\t\n"
        "libc6\ti386\t2.41\thold\tok\tinstalled\tlibc6-x (= 2.41), glibc\n"
        "gone\tamd64\t1\tdeinstall\tok\tconfig-files\t\n"
        "never\t\t\tunknown\tok\tnot-installed\t\n"
        "broken\tamd64\t2\tinstall\treinstreq\thalf-installed\t\n"
    )
    packages = read_packages(lambda *_command: Output(0, text))
    assert packages["libc6:i386"] == Package("libc6", "i386", "2.41", "hold", "installed", ("libc6-x", "glibc"))
    assert packages["libc6:i386"].held
    assert {name for name, each in packages.items() if each.installed} == {"dpkg", "adduser", "libc6:i386"}
    assert {name for name, each in packages.items() if each.unfinished} == {"broken"}
    assert {name for name, each in packages.items() if not each.present} == {"gone", "never"}


@pytest.mark.parametrize(
    ("status", "reinstall", "must_be_unpacked"),
    [
        ("unpacked", False, False),
        ("half-configured", False, False),
        ("triggers-awaited", False, False),
        ("triggers-pending", False, False),
        ("half-installed", False, True),
        ("half-configured", True, True),
        ("installed", True, True),
    ],
)
def test_what_is_not_finished(status: str, reinstall: bool, must_be_unpacked: bool) -> None:  # noqa: FBT001
    package = Package("a", "all", "1", "install", status, reinstall=reinstall)
    assert package.unfinished
    assert not package.installed
    assert package.must_be_unpacked is must_be_unpacked


@pytest.mark.parametrize("output", [Output(2, "", "dpkg-query: error: no database"), Output(0, "one field\n")])
def test_dpkg_that_fails_is_told(output: Output) -> None:
    with pytest.raises(SettingsError, match="dpkg-query"):
        read_packages(lambda *_command: output)


@pytest.mark.parametrize(
    ("name", "guarded"),
    [
        ("linux-generic-hwe-24.04", True),
        ("linux-image-amd64", True),
        ("linux-headers-6.12.94+deb13-amd64", True),
        ("linux-modules-nvidia-595-open-generic-hwe-24.04", True),
        ("nvidia-driver-580-open", True),
        ("nvidia-open", True),
        ("nvidia-driver-pinning-590", True),
        ("libnvidia-compute:i386", True),
        ("libcuda1", True),
        ("xserver-xorg-video-nvidia-580", True),
        ("dkms", True),
        ("dkms-extra", False),
        ("nvidia-container-toolkit", False),
        ("libnvidia-container1", False),
        ("linux-libc-dev", False),
        ("linux-base", False),
        ("linux-firmware", False),
        ("openssl", False),
        ("nvtop", False),
    ],
)
def test_kernel_and_driver_are_guarded(name: str, guarded: bool) -> None:  # noqa: FBT001
    assert is_guarded(name) is guarded
    # as unattended-upgrades does
    assert any(re.match(pattern, name.partition(":")[0]) for pattern in PATTERNS) is guarded
