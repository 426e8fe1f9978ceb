"""site.yml on a machine with disks, a boot loader and a kernel of its own: first run, second run, drift, reboots."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.tests.hosts.playbook import Run, Site
from ansible_collections.mlrig.workstation.tests.hosts.vm.machine import Machine

TOKENS = ["amd_pstate=active", "pcie_aspm=off", "iommu=pt", "transparent_hugepage=always"]
MOUNTS = {
    "btrfs": {"/": "btrfs", "/home": "btrfs", "/data": "ext4", "/boot/efi": "vfat"},
    "ext4": {"/": "ext4", "/data": "ext4", "/boot/efi": "vfat"},
}
BY_ID = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_mlrig"
REBOOT = "Reboot, and wait for the host"
TASKS = {
    "mounts": "Keep the options of mounts, now and for every boot",
    "disks": "Set NVMe disks, now and whenever one comes",
    "swap": "Have the swap file",
    "tunables": "Set kernel tunables, now and for every boot",
    "cmdline": "Set the kernel command line of every boot",
}
DRIFT = [
    "echo mq-deadline >/sys/block/nvme0n1/queue/scheduler",
    "echo 128 >/sys/block/nvme1n1/queue/read_ahead_kb",
    "sysctl --quiet --write vm.swappiness=60",
    "sed -i /max_map_count/s/1048576/65530/ /etc/sysctl.d/99-mlrig.conf",
    "sed -i -E '/ +\\/ +/s/noatime,nodiratime/relatime/' /etc/fstab",
    "mount -o remount,relatime,diratime /data",
    "sed -i '/^GRUB_CMDLINE_LINUX_DEFAULT=/s/quiet/quiet iommu=soft/' /etc/default/grub",
    "rm /etc/default/grub.d/zz-mlrig.cfg",
    "swapoff /swap/mlrig.swap",
]


def rows(text: str) -> list[dict[str, Any]]:
    """The one list of what a program says in JSON."""
    ((_name, found),) = json.loads(text or '{"none": []}').items()
    return list(found)


def assert_as_wanted(machine: Machine, shape: str) -> None:
    """Everything that a reboot could lose."""
    command_line = machine.ssh("cat /proc/cmdline").split()
    assert [token for token in command_line if token in TOKENS] == TOKENS
    queues = machine.ssh("cd /sys/block; grep --with-filename . nvme*/queue/scheduler nvme*/queue/read_ahead_kb")
    for line in map(str.rstrip, queues.splitlines()):
        assert line.endswith(("read_ahead_kb:2048", "scheduler:[none] mq-deadline")), line
    assert len(queues.splitlines()) == 6
    mounts = rows(machine.ssh("findmnt --real --list --json --output TARGET,FSTYPE,OPTIONS"))
    assert {mount["target"]: mount["fstype"] for mount in mounts} == MOUNTS[shape]
    for mount in mounts:
        if mount["fstype"] != "vfat":
            assert {"noatime", "nodiratime"} <= {*mount["options"].split(",")}, mount
    assert machine.ssh("stat --format=%U /data").strip() == "rig"
    assert machine.ssh("sudo sysctl --values vm.swappiness vm.max_map_count").split() == ["10", "1048576"]
    assert machine.ssh("cat /sys/kernel/mm/transparent_hugepage/enabled").startswith("[always]")
    swap = machine.ssh("sudo swapon --show=NAME,SIZE --raw --noheadings")
    assert swap.split() == ["/swap/mlrig.swap", "256M"]
    machine.ssh("sudo findmnt --verify")


def snapshots(machine: Machine) -> list[dict[str, Any]]:
    return rows(machine.ssh("sudo snapper --jsonout list --columns number,type,description"))


def records(run: Run) -> dict[str, set[tuple[str, str]]]:
    """What the tasks of a run mended, as name and plane."""
    tasks = {name: run.results["vm"][task]["settings"] for name, task in TASKS.items()}
    return {
        name: {(record["id"], record["plane"]) for record in settings if record["action"] == "changed"}
        for name, settings in tasks.items()
    }


@pytest.fixture(scope="module")
def boots(machine: Machine) -> set[str | None]:
    """The boots that the tests have seen."""
    return {machine.boot_id()}


def test_first_run_with_a_reboot(machine: Machine, site: Site, shape: str, boots: set[str | None]) -> None:
    first = site.run()
    assert first.code == 0, first.errors
    assert REBOOT in first.changed("vm")
    assert machine.boot_id() not in boots
    boots.add(machine.boot_id())
    assert_as_wanted(machine, shape)


def test_snapshots(machine: Machine, shape: str) -> None:
    if shape != "btrfs":
        assert machine.ssh("ls --directory /.snapshots 2>/dev/null || true") == ""
        return
    before = snapshots(machine)
    machine.ssh("sudo apt-get --quiet=2 --yes reinstall tree")
    assert [row["type"] for row in snapshots(machine)[len(before) :]] == ["pre", "post"]
    machine.ssh("sudo mlrig snapshot 'before the long run'")
    assert snapshots(machine)[-1]["description"] == "before the long run"


def test_second_run_changes_nothing(site: Site) -> None:
    second = site.run()
    assert second.code == 0, second.errors
    assert second.changed("vm") == set()


def test_drift_is_mended_and_nothing_else(machine: Machine, site: Site, shape: str, boots: set[str | None]) -> None:
    machine.ssh("sudo sh -euc " + shlex.quote("; ".join(DRIFT)))
    mended = site.run()
    assert mended.code == 0, mended.errors
    assert mended.changed("vm") == {*TASKS.values(), REBOOT}
    assert records(mended) == {
        "disks": {("/sys/block/nvme0n1/queue/scheduler", "live"), ("/sys/block/nvme1n1/queue/read_ahead_kb", "live")},
        "tunables": {("vm.swappiness", "live"), ("vm.max_map_count", "persisted")},
        "mounts": {("/", "persisted"), ("/data", "live")},
        "cmdline": {
            *((token.partition("=")[0], "persisted") for token in TOKENS),
            ("/boot/grub/grub.cfg", "persisted"),
        },
        "swap": {("/swap/mlrig.swap", "live")},
    }
    (warning,) = mended.results["vm"][TASKS["cmdline"]]["warnings"]
    assert "/etc/default/grub line" in warning
    assert "iommu=soft" in warning

    assert machine.boot_id() not in boots
    assert_as_wanted(machine, shape)


def test_nothing_is_left_to_do_after_the_reboot(site: Site) -> None:
    """Of what a reboot changes, and of what had drifted; nothing else has changed in the run before."""
    last = site.run("--tags", "kernel_tuning,reboot,storage")
    assert last.code == 0, last.errors
    assert last.changed("vm") == set()


def test_a_disk_that_is_plugged_in_later(machine: Machine) -> None:
    machine.plug_in_disk("later")
    look = f"cd /sys/block/$(basename $(realpath {BY_ID}-later))/queue && cat scheduler read_ahead_kb"
    machine.ssh(f"timeout 60 sh -c 'until [ -e {BY_ID}-later ]; do sleep 0.2; done'; sudo udevadm settle")
    assert machine.ssh(look).split() == ["[none]", "mq-deadline", "2048"]
