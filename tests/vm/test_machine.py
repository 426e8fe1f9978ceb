"""The virtual machine itself: what it is made of."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from ansible_collections.mlrig.workstation.tests.hosts.vm.disks import data_files
from ansible_collections.mlrig.workstation.tests.hosts.vm.machine import Machine

MOUNTED = {
    "btrfs": {"/": ("btrfs", "/@"), "/home": ("btrfs", "/@home"), "/boot/efi": ("vfat", "/")},
    "ext4": {"/": ("ext4", "/"), "/boot/efi": ("vfat", "/")},
}
BY_ID = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_mlrig"


def test_file_systems(machine: Machine, shape: str) -> None:
    mounts = json.loads(machine.ssh("findmnt --real --list --json --output TARGET,FSTYPE,FSROOT"))["filesystems"]
    assert {row["target"]: (row["fstype"], row["fsroot"]) for row in mounts} == MOUNTED[shape]
    described = machine.ssh("findmnt --fstab --list --noheadings --output TARGET,FSTYPE,SOURCE").splitlines()
    assert {target: kind for target, kind, _source in map(str.split, described)} == {
        target: kind for target, (kind, _root) in MOUNTED[shape].items()
    }
    assert all(source.startswith("UUID=") for *_rest, source in map(str.split, described))


def test_firmware_and_boot_loader(machine: Machine) -> None:
    """GRUB gives the kernel its path; QEMU itself does not."""
    assert "BOOT_IMAGE=" in machine.ssh("test -d /sys/firmware/efi && cat /proc/cmdline")


def test_disks(machine: Machine) -> None:
    disks = json.loads(machine.ssh("lsblk --nodeps --json --output SERIAL,TRAN,TYPE"))["blockdevices"]
    assert sorted((disk["serial"], disk["tran"]) for disk in disks if disk["type"] == "disk") == [
        ("mlrig-blank", "nvme"),
        ("mlrig-data", "nvme"),
        ("mlrig-system", "nvme"),
    ]
    assert machine.ssh(f"sudo wipefs --output TYPE --noheadings {BY_ID}-blank") == ""
    assert machine.ssh(f"sudo wipefs --output TYPE --noheadings {BY_ID}-data-part1").split() == ["ext4"]


def test_data(machine: Machine) -> None:
    """The third disk carries files, and they are the same on every machine."""
    sums = machine.ssh(
        f"sudo mount --options ro {BY_ID}-data-part1 /mnt; cd /mnt; sha256sum */*; cd /; sudo umount /mnt"
    )
    found = {name: digest for digest, name in map(str.split, sums.splitlines())}
    assert found == {name: hashlib.sha256(content).hexdigest() for name, content in data_files().items()}


def test_package_archive(machine: Machine) -> None:
    assert "Get:" in machine.ssh("cd /tmp && apt-get download --print-uris hello >/dev/null && apt-get download hello")


def test_system_is_sound(machine: Machine) -> None:
    machine.ssh("systemctl is-system-running --wait")


def test_ansible(machine: Machine) -> None:
    command = ["ansible", "--inventory", machine.inventory, "all", "--become", "--module-name", "ansible.builtin.ping"]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert '"pong"' in done.stdout, done.stderr


def test_evidence(machine: Machine, tmp_path: Path) -> None:
    """What is kept when a test fails."""
    kept = machine.save_evidence(tmp_path / "failed")
    assert kept.endswith("serial.log, screen.png")
    assert "Welcome to" in (tmp_path / "failed/serial.log").read_text(errors="replace")
    assert (tmp_path / "failed/screen.png").read_bytes().startswith(b"\x89PNG")
