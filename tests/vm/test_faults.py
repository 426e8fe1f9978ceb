"""What a machine cannot do, and what a user asked for by mistake: a clear error, and nothing is lost or changed.

Each module is asked to do its work on a machine that no run has touched, so that there is something to write.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import testinfra
from ansible_collections.mlrig.workstation.tests.hosts.vm.machine import Machine
from testinfra.host import Host

DISK = "nvme-QEMU_NVMe_Ctrl_mlrig"
REQUESTS: dict[str, dict[str, Any]] = {
    "data_disks": {"disks": [{"id": f"{DISK}-blank", "path": "/data"}]},
    "kernel_cmdline": {"tokens": ["iommu=pt"]},
    "kernel_tunables": {"tunables": [{"name": "vm.swappiness", "value": "10"}]},
    "mount_options": {"mounts": [{"path": "/", "options": "noatime"}]},
    "nvme_queues": {"scheduler": "none", "read_ahead_kb": 2048},
    "swap_file": {"path": "/swap/mlrig.swap", "size": "64M"},
}
# What none of them may change, and a fault may lose.
FILES = "/boot/grub/grub.cfg /etc/default /etc/fstab* /etc/sysctl.d /etc/tmpfiles.d /etc/udev"
FILL = """
free=$(stat --file-system --format=%f /) size=$(stat --file-system --format=%S /) end=0
while [ "$free" -gt 0 ]; do
    if fallocate --offset "$end" --length $((free * size)) /filler 2>/dev/null; then end=$((end + free * size))
    else free=$((free / 2)); fi
done
"""


@pytest.fixture(scope="module")
def host(machine: Machine) -> Host:
    return testinfra.get_host("ansible://vm", ansible_inventory=str(machine.inventory))


def refusal(host: Host, module: str, **options: Any) -> str:
    """What a module says when it is asked to work, and does not."""
    result = host.ansible(f"mlrig.workstation.{module}", json.dumps(options), check=False, become=True)
    assert "settings" not in result, result
    return str(result["msg"])


@contextmanager
def nothing_lost(machine: Machine) -> Generator[None]:
    picture = f"sudo sh -c 'find {FILES} -type f | sort | xargs sha256sum; blkid; cat /proc/swaps'"
    before = machine.ssh(picture)
    yield
    assert machine.ssh(picture) == before


@contextmanager
def fault(machine: Machine, make: str, mend: str) -> Generator[None]:
    """Something that is wrong on the machine until the end of the test."""
    machine.ssh(f"sudo sh -ec {shlex.quote(make)}")
    try:
        with nothing_lost(machine):
            yield
    finally:
        machine.ssh(f"sudo sh -ec {shlex.quote(mend)}")


def test_a_disk_that_is_not_blank_is_refused(machine: Machine, host: Host) -> None:
    for disk, *parts in (
        (f"{DISK}-data", "must be blank", "has gpt"),
        (f"{DISK}-data-part1", "must be blank", "ext4", "To use it as it is, add uuid: "),
        (f"{DISK}-system", "must be blank"),
        (f"{DISK}-no-such-disk", "must be a disk of this host", f"{DISK}-blank"),
    ):
        with nothing_lost(machine):
            said = refusal(host, "data_disks", disks=[{"id": disk, "path": "/data"}])
        assert all(part in said for part in ["disks[0].id", "got: ", *parts]), said


def test_a_syntax_error_in_fstab(machine: Machine, host: Host) -> None:
    make, mend = "cp --preserve /etc/fstab /root; echo UUID=1 /broken >>/etc/fstab", "mv /root/fstab /etc/fstab"
    with fault(machine, make, mend):
        for module in ("data_disks", "mount_options", "swap_file"):
            said = refusal(host, module, **REQUESTS[module])
            assert re.search("/etc/fstab line [0-9]+ must have a source, a path and a type at least", said), said


def test_a_read_only_root(machine: Machine, host: Host) -> None:
    # No other program has a file open to write.
    make = "systemctl stop unattended-upgrades; journalctl --relinquish-var; mount -o remount,ro /"
    mend = "mount -o remount,rw /; journalctl --flush; systemctl start unattended-upgrades"
    with fault(machine, make, mend):
        for module, options in REQUESTS.items():
            said = refusal(host, module, **options)
            assert "read-only" in said.lower(), said


def test_a_full_root(machine: Machine, shape: str, host: Host) -> None:
    if shape == "btrfs":
        pytest.skip("btrfs keeps small files with its metadata, for which there is room on a full disk")
    with fault(machine, FILL, "rm /filler"):
        for module, options in REQUESTS.items():
            said = refusal(host, module, **options)
            assert re.search("No space left on device|has less than|must leave", said), said
