# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._nvme_queues import (
    RULE_FILE,
    check_read_ahead,
    make_plan,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError, Settings, converge

from .conftest import Host

WANTED = {"scheduler": "none", "read_ahead_kb": "2048"}
RULE = (
    'ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", KERNEL=="nvme*", '
    'ATTR{queue/scheduler}="none", ATTR{queue/read_ahead_kb}="2048"'
)


@pytest.fixture
def rig(host: Host) -> Host:
    """Two NVMe disks, one path to a disk with several, and a disk of another kind."""
    for disk in ("nvme0n1", "nvme1n1", "nvme2c0n1", "sda"):
        host.write(f"/sys/block/{disk}/queue/scheduler", "[mq-deadline] none\n")
        host.write(f"/sys/block/{disk}/queue/read_ahead_kb", "128\n")
    return host


def run(rig: Host, wanted: dict[str, str], *, check_mode: bool = False) -> Settings:
    return converge(lambda: make_plan(wanted, rig.attributes), check_mode=check_mode)


def changed(settings: Settings) -> list[tuple[str, str | None, str | None]]:
    assert settings.failed == []
    return [(each.id, each.actual, each.expected) for each in settings.differing if each.plane == "live"]


def queue(disk: str, name: str) -> str:
    return f"/sys/block/{disk}/queue/{name}"


def test_every_nvme_disk_is_set_and_the_rule_written(rig: Host) -> None:
    before = rig.texts()
    assert changed(run(rig, WANTED, check_mode=True)) == changed(run(rig, WANTED, check_mode=True))
    assert rig.texts() == before
    assert changed(run(rig, WANTED)) == [
        (queue("nvme0n1", "scheduler"), "mq-deadline", "none"),
        (queue("nvme1n1", "scheduler"), "mq-deadline", "none"),
        (queue("nvme0n1", "read_ahead_kb"), "128", "2048"),
        (queue("nvme1n1", "read_ahead_kb"), "128", "2048"),
    ]
    header, rule = rig.read(RULE_FILE).splitlines()
    assert header.startswith("# Managed by mlrig.workstation (nvme_queues)")
    assert rule == RULE
    assert rig.read(queue("sda", "read_ahead_kb")) == rig.read(queue("nvme2c0n1", "read_ahead_kb")) == "128\n"
    assert not run(rig, WANTED).differing


DRIFTS = {
    "scheduler": (queue("nvme1n1", "scheduler"), "none [mq-deadline]\n"),
    "read-ahead": (queue("nvme0n1", "read_ahead_kb"), "128\n"),
    "rule edited": (RULE_FILE, "# mine\n"),
}


@pytest.mark.parametrize(("file", "content"), DRIFTS.values(), ids=DRIFTS)
def test_exactly_what_drifted_is_mended(rig: Host, file: str, content: str) -> None:
    run(rig, WANTED)
    before = rig.texts()
    rig.write(file, content)
    assert [each.id for each in run(rig, WANTED).differing] == [file]
    assert rig.texts() == before


def test_what_is_not_asked_for_is_left_alone(rig: Host) -> None:
    assert [each[0] for each in changed(run(rig, {"scheduler": "none"}))] == [
        queue("nvme0n1", "scheduler"), queue("nvme1n1", "scheduler"),
    ]  # fmt: skip
    assert "read_ahead" not in rig.read(RULE_FILE)
    run(rig, {})
    assert not rig.path(RULE_FILE).exists()
    assert not run(rig, {}).differing


@pytest.mark.parametrize("size", [-1, 1048577])
def test_wrong_sizes_are_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"here must be a number of KB from 0 to 1048576; got: {size}"):
        check_read_ahead(size, "here")


def test_without_nvme_the_rule_waits(host: Host) -> None:
    settings = run(host, WANTED)
    assert host.path(RULE_FILE).exists()
    assert {(each.action, each.reason) for each in settings.records if each.plane == "live"} == {
        ("skipped", "this host has no /sys/block/nvme*/queue/scheduler"),
        ("skipped", "this host has no /sys/block/nvme*/queue/read_ahead_kb"),
    }


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm is not on this machine")
def test_udev_can_read_the_rule(rig: Host) -> None:
    run(rig, WANTED)
    done = subprocess.run(["udevadm", "verify", rig.path(RULE_FILE)], capture_output=True, text=True, check=False)
    if "Unknown command verb" in done.stderr:
        pytest.skip("this udevadm is too old to verify")
    assert done.returncode == 0, done.stderr
