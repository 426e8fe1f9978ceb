"""The power is cut in the middle of a run: the machine boots, and the next run brings it to the end.

It is cut while a program waits for a file that it wants to open, so at the same point every time. Files named
.NAME.mlrig are drafts, which get their names when they are whole.
"""

from __future__ import annotations

import select
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.mlrig.workstation.tests.hosts.playbook import Site
from ansible_collections.mlrig.workstation.tests.hosts.vm.machine import Machine
from ansible_collections.mlrig.workstation.tests.hosts.vm.qemu import say

from .conftest import Uncaptured

TRIPWIRE = Path(__file__).with_name("tripwire.py")


@dataclass(frozen=True)
class Point:
    """file: on whose opening the power is cut. afterwards: what succeeds on the machine after the next run."""

    file: str
    tag: str
    afterwards: str
    before: str = "true"
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"cut at {self.file}"


FSTAB = Point(
    "/etc/.fstab.mlrig",
    "storage",
    # The blank disk has been formatted, and has no row yet.
    "[ $(grep -c ' /data ext4 ' /etc/fstab) = 1 ] && mountpoint --quiet /data && findmnt --verify",
)
SWAP = Point(
    "/usr/sbin/mkswap",
    "storage",
    "[ $(swapon --show=SIZE --noheadings) = 256M ]",
    # The file is longer, and its header knows nothing of it.
    before="swapon --show=NAME --noheadings | grep /swap/mlrig.swap",
    arguments=("--extra-vars", "storage_swap_file_size=384M"),
)
DROP_IN = Point(
    "/etc/default/grub.d/.zz-mlrig.cfg.mlrig",
    "kernel_tuning",
    "grep iommu=pt /boot/grub/grub.cfg && ! ls /etc/default/grub.d/.zz-mlrig.cfg.mlrig",
)
MENU = Point(
    "/boot/grub/grub.cfg.new",
    "kernel_tuning",
    # The drop-in is there, and the menu without it.
    "grep iommu=pt /boot/grub/grub.cfg",
)
PACKAGE = Point(
    # It is unpacked, and its files have not their names yet.
    "/var/lib/dpkg/info/tree.list-new",
    "base",
    "dpkg --audit && tree --version",
    before="apt-get --quiet=2 --yes purge tree",
)
# The command line comes last: a machine that has booted with it would need no reboot by test_site's first run.
POINTS = {"btrfs": [PACKAGE, DROP_IN], "ext4": [FSTAB, SWAP, MENU]}


def cut_power_at(point: Point, machine: Machine, site: Site) -> None:
    """Start a run, and cut the power when it stands at this point."""
    with (
        TRIPWIRE.open() as program,
        subprocess.Popen(
            machine.ssh_command(f"sudo python3 - {point.file}"), stdin=program, stdout=subprocess.PIPE, text=True
        ) as tripwire,
    ):
        said = tripwire.stdout
        assert said
        assert said.readline() == "armed\n"

        def reached() -> bool:
            readable, *_rest = select.select([said], [], [], 0.1)
            if readable:
                assert said.readline() == "reached\n"
                machine.ssh("echo here >unwritten")
                machine.cut_power()
            return bool(readable)

        assert site.kill_when(reached, "--tags", point.tag, *point.arguments), f"no run opens {point.file}"
        tripwire.kill()


def test_the_next_run_goes_on(machine: Machine, site: Site, shape: str, uncaptured: Uncaptured) -> None:
    for point in POINTS[shape]:
        machine.ssh(f"sudo sh -euc {shlex.quote(point.before)}")
        cut_power_at(point, machine, site)
        with uncaptured():
            say(f"{shape}: {point.name}; SSH answers after {machine.start():.0f} s")
        assert machine.ssh("cat unwritten 2>/dev/null || true") == "", "that was no power cut"
        machine.ssh("systemctl is-system-running --wait")
        run = site.run("--tags", point.tag)
        assert run.code == 0, f"{point.name}: {run.errors}"
        machine.ssh(f"sudo sh -euc {shlex.quote(point.afterwards)}")
