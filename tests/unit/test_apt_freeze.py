# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The freeze: what it holds, and how it is written."""

from __future__ import annotations

from ansible_collections.mlrig.workstation.plugins.module_utils._apt_freeze import FREEZE_FILE, make_plan, parse, render
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, converge

from .apt_host import FakeApt
from .conftest import Host

INSTALLED = {
    "nvidia-open": "590.48.01-1ubuntu1",
    "libnvidia-compute": "590.48.01-1ubuntu1",
    "libnvidia-compute:i386": "590.48.01-1ubuntu1",
    "nvidia-dkms-open": "590.48.01-1ubuntu1/half-configured",
    "linux-generic-hwe-24.04": "6.17.0-35.35~24.04.1",
    "linux-image-6.8.0-88-generic": "6.8.0-88.89/config-files",
    "nvidia-container-toolkit": "1.17.8-1",
}
TEXT = """\
# Managed by mlrig.workstation (apt_freeze): what is edited here is undone by its next run.
# Kernel and driver stay at these versions until a run changes them.

Package: libnvidia-compute libnvidia-compute:i386 nvidia-dkms-open nvidia-open
Pin: version 590.48.01-1ubuntu1
Pin-Priority: 1001

Package: linux-generic-hwe-24.04
Pin: version 6.17.0-35.35~24.04.1
Pin-Priority: 1001
"""


def freeze(host: Host, installed: dict[str, str], *, present: bool = True, check_mode: bool = False) -> Settings:
    apt = FakeApt(host, installed)
    return converge(lambda: make_plan(apt, host.root, present=present), check_mode=check_mode)


def test_all_of_kernel_and_driver_is_held_once(host: Host) -> None:
    assert len(freeze(host, INSTALLED).differing) == 5
    assert host.read(FREEZE_FILE) == TEXT
    before = host.texts()
    assert not freeze(host, INSTALLED).differing
    assert host.texts() == before


def test_the_file_sorts_before_others() -> None:
    names = ["00mlrig-freeze", "50unattended", "cuda-repository-pin-600", "nvidia-driver-pin", "99x", "0-other"]
    assert sorted(names)[1] == FREEZE_FILE.rpartition("/")[2]


def test_check_mode_writes_nothing(host: Host) -> None:
    assert freeze(host, INSTALLED, check_mode=True).differing
    assert host.texts() == {}


def test_only_what_moved_is_told(host: Host) -> None:
    freeze(host, INSTALLED)
    moved = INSTALLED | {"nvidia-open": "595.71.05-1ubuntu1"}
    (record,) = freeze(host, moved).differing
    assert (record.id, record.expected, record.actual) == ("nvidia-open", "595.71.05-1ubuntu1", "590.48.01-1ubuntu1")


def test_what_is_gone_is_no_longer_held(host: Host) -> None:
    freeze(host, INSTALLED)
    (record,) = freeze(host, {name: INSTALLED[name] for name in INSTALLED if name != "nvidia-open"}).differing
    assert (record.id, record.expected) == ("nvidia-open", None)


def test_an_edited_file_is_written_anew(host: Host) -> None:
    freeze(host, INSTALLED)
    host.write(FREEZE_FILE, TEXT + "\nPackage: *\nPin: release o=x\nPin-Priority: 2000\n")
    (record,) = freeze(host, INSTALLED).differing
    assert record.id == FREEZE_FILE
    assert host.read(FREEZE_FILE) == TEXT


def test_nothing_to_hold_needs_no_file(host: Host) -> None:
    assert freeze(host, {"dpkg": "1"}).records == []
    assert host.texts() == {}


def test_it_can_be_lifted(host: Host) -> None:
    freeze(host, INSTALLED)
    assert all(each.expected is None for each in freeze(host, INSTALLED, present=False).differing)
    assert host.texts() == {}
    assert not freeze(host, INSTALLED, present=False).differing


def test_what_is_rendered_is_parsed() -> None:
    versions = {"a": "1", "b": "1", "c:i386": "1:2~3+b1"}
    assert parse(render(versions) or "") == versions
    assert render({}) is None
