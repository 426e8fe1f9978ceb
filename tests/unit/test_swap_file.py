# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""swap_file with real files and this machine's mkswap; the kernel's swapping is a table, or real where root runs it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import run as run_command
from ansible_collections.mlrig.workstation.plugins.module_utils._fstab_file import FstabFile
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    Settings,
    SettingsError,
    converge,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._swap_file import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._swap_request import parse_size, parse_swap_file
from ansible_collections.mlrig.workstation.plugins.module_utils._swap_space import read_header

from .conftest import Host, Loop, full_disk, killed_at

if shutil.which("mkswap") is None:
    pytest.skip("mkswap is not on this machine", allow_module_level=True)

MIB = 1 << 20
PATH = "/swap/mlrig.swap"
FSTAB = "UUID=1 / ext4 defaults 0 1\n"
ROW = f"{PATH} none swap sw 0 0\n"
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
MOUNT = "27 1 259:1 / / rw,relatime - {} /dev/nvme0n1p2 rw\n"
MEMINFO = "MemTotal:       65536000 kB\nMemAvailable:   32768000 kB\n"


@dataclass
class Machine:
    """Swaps in a table only."""

    host: Host
    commands: list[str] = field(default_factory=list)
    used: int = 0
    swaps: bool = True

    def __call__(self, *command: str) -> Output:
        name, *arguments = command
        if name == "mkswap":
            return run_command(*command)
        self.commands.append(name)
        if not self.swaps:
            return Output(0)
        swaps = self.host.read("/proc/swaps")
        if name == "swapon":
            size = (read_header(self.host.path(arguments[-1])) or 0) // 1024 - 4
            priority = arguments[1] if arguments[0] == "--priority" else "-2"
            swaps += f"{arguments[-1]} file\t\t{size}\t\t{self.used}\t\t{priority}\n"
        elif name == "swapoff":
            swaps = "".join(line for line in swaps.splitlines(keepends=True) if arguments[-1] not in line)
        elif name == "btrfs":
            Path(arguments[-1]).mkdir()
        self.host.write("/proc/swaps", swaps)
        return Output(0)


@pytest.fixture
def machine(host: Host) -> Machine:
    host.write_all({
        "/etc/fstab": FSTAB, "/proc/swaps": SWAPS, "/proc/meminfo": MEMINFO,
        "/proc/self/mountinfo": MOUNT.format("ext4"),
    })  # fmt: skip
    return Machine(host)


def run(machine: Machine, size: str, *, priority: int | None = None, check_mode: bool = False) -> Settings:
    file = FstabFile(machine.host.root, machine)
    return converge(lambda: make_plan(parse_swap_file(PATH, size, priority), file), check_mode=check_mode)


def changed(settings: Settings) -> list[tuple[str, str, str | None, str | None]]:
    assert settings.failed == []
    return [(each.id, each.plane, each.actual, each.expected) for each in settings.differing]


def state(machine: Machine) -> tuple[int | None, str, bool]:
    """The size of the file, the rows, and whether it is on."""
    file = machine.host.path(PATH)
    size = file.stat().st_size if file.exists() else None
    assert size is None or read_header(file) == size
    assert size is None or file.stat().st_mode & 0o777 == 0o600
    assert size is None or {each.name for each in file.parent.iterdir()} == {file.name}
    return size, machine.host.read("/etc/fstab").removeprefix(FSTAB), PATH in machine.host.read("/proc/swaps")


def test_a_file_is_made_resized_and_removed(machine: Machine) -> None:
    assert changed(run(machine, "2M")) == [
        (PATH, "persisted", None, f"{2 * MIB} bytes"),
        (f"{PATH} in /etc/fstab", "persisted", None, "sw"),
        (PATH, "live", "off", "on"),
    ]
    assert state(machine) == (2 * MIB, ROW, True)
    for size, found, wanted in (("5M", 2, 5), ("1.5M", 5, 1.5)):
        inode = machine.host.path(PATH).stat().st_ino
        assert changed(run(machine, size)) == [
            (PATH, "persisted", f"{found * MIB} bytes", f"{int(wanted * MIB)} bytes")
        ]
        assert state(machine) == (wanted * MIB, ROW, True)
        assert machine.host.path(PATH).stat().st_ino == inode
        before = machine.host.texts()
        assert changed(run(machine, size)) == []
        assert machine.host.texts() == before
    assert [each[:2] for each in changed(run(machine, "0"))] == [
        (PATH, "persisted"), (f"{PATH} in /etc/fstab", "persisted"), (PATH, "live"),
    ]  # fmt: skip
    assert state(machine) == (None, "", False)
    assert changed(run(machine, "0")) == []


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_where_none_is_wanted_and_none_is_there_nothing_is_done(machine: Machine, *, check_mode: bool) -> None:
    before = machine.host.texts()
    assert changed(run(machine, "0", check_mode=check_mode)) == []
    assert machine.host.texts() == before


def test_check_mode_writes_nothing(machine: Machine) -> None:
    before = machine.host.texts()
    assert len(changed(run(machine, "2M", check_mode=True))) == 3
    assert (machine.host.texts(), machine.commands) == (before, [])
    assert not machine.host.path(PATH).parent.exists()


def test_drift_is_mended_and_nothing_else(machine: Machine) -> None:
    run(machine, "2M", priority=10)
    assert state(machine)[1] == f"{PATH} none swap sw,pri=10 0 0\n"
    machine.commands.clear()
    machine("swapoff", PATH)
    assert changed(run(machine, "2M", priority=10)) == [(PATH, "live", "off", "on, priority 10")]
    machine("swapoff", PATH)
    machine("swapon", PATH)
    assert changed(run(machine, "2M", priority=10)) == [(PATH, "live", "on, priority -2", "on, priority 10")]
    machine.host.write("/etc/fstab", FSTAB)
    assert [each[:2] for each in changed(run(machine, "2M", priority=10))] == [(f"{PATH} in /etc/fstab", "persisted")]
    machine.host.write("/etc/fstab", FSTAB + f"{PATH}\tnone\tswap\tdefaults,pri=1,discard\t0\t0\n")
    assert [each[:2] for each in changed(run(machine, "2M", priority=10))] == [(f"{PATH} in /etc/fstab", "persisted")]
    assert state(machine)[1] == f"{PATH}\tnone\tswap\tdefaults,discard,pri=10\t0\t0\n"


def test_swap_of_others_survives(machine: Machine) -> None:
    other = "/swap.img none swap sw 0 0\n"
    machine.host.write("/etc/fstab", FSTAB + other)
    machine.host.write("/proc/swaps", f"{SWAPS}/swap.img file 8388604 0 -2\n")
    run(machine, "2M")
    assert state(machine) == (2 * MIB, other + ROW, True)
    run(machine, "0")
    assert state(machine) == (None, other, False)
    assert "/swap.img" in machine.host.read("/proc/swaps")


@pytest.mark.parametrize("size", ["2M", "0"])
@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_a_file_that_is_no_swap_is_never_touched(machine: Machine, size: str, *, check_mode: bool) -> None:
    machine.host.write(PATH, b"precious" * 1000)
    before = machine.host.texts()
    with pytest.raises(SettingsError, match="path must be free or a swap file, and another file is there"):
        run(machine, size, check_mode=check_mode)
    assert (machine.host.texts(), machine.commands) == (before, [])


def test_what_is_no_file_is_never_touched(machine: Machine) -> None:
    machine.host.link(PATH, "/elsewhere")
    with pytest.raises(SettingsError, match="path must be a file, and is something else"):
        run(machine, "2M")
    assert machine.host.path(PATH).is_symlink()


REFUSALS: dict[str, tuple[dict[str, str], str, str]] = {
    "another file system": ({"/proc/self/mountinfo": MOUNT.format("zfs")}, "2M",
                            "path must be on one of: btrfs, ext4, xfs, and / is zfs"),
    "too large": ({}, "9999T", "size must leave 256 MiB of the "),
    "its disk is not mounted": ({"/etc/fstab": f"{FSTAB}LABEL=s /swap ext4 nofail 0 2\n"}, "2M",
                                "/swap/mlrig.swap cannot be looked at: /swap, where it is to be, is not mounted"),
    "a folder of others, on btrfs": ({"/proc/self/mountinfo": MOUNT.format("btrfs"), "/swap/a": ""}, "2M",
                                     "path must be in a folder of its own on btrfs"),
    "an fstab with a syntax error": ({"/etc/fstab": "broken\n"}, "2M", "/etc/fstab line 1 must have a source"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "size", "message"), REFUSALS.values(), ids=REFUSALS)
def test_what_does_not_fit_is_refused(machine: Machine, files: dict[str, str], size: str, message: str) -> None:
    machine.host.write_all(files)
    before = machine.host.texts()
    with pytest.raises(SettingsError) as refusal:
        run(machine, size)
    assert message in str(refusal.value)
    assert (machine.host.texts(), machine.commands) == (before, [])


@pytest.mark.parametrize("size", ["5M", "0"])
def test_what_memory_cannot_take_is_not_switched_off(machine: Machine, size: str) -> None:
    machine.used = 1024
    run(machine, "2M")
    machine.host.write("/proc/meminfo", "MemAvailable: 100 kB\n")
    before = machine.host.texts()
    with pytest.raises(SettingsError, match="cannot be switched off, as 1 MiB more memory must be free"):
        run(machine, size)
    assert machine.host.texts() == before
    machine.host.write("/proc/swaps", machine.host.read("/proc/swaps") + "/dev/zram0 partition 4096 0 100\n")
    assert changed(run(machine, size))


def test_a_disk_that_fills_up_meanwhile_keeps_the_old_file_in_use(machine: Machine) -> None:
    run(machine, "2M")
    plan = make_plan(parse_swap_file(PATH, "5M", None), FstabFile(machine.host.root, machine))
    with full_disk(), pytest.raises(SettingsError, match=rf"{PATH} cannot have {5 * MIB} bytes: File too large"):
        plan._remake(was_active=False)
    assert state(machine) == (2 * MIB, ROW, True)
    machine.commands.clear()
    machine.swaps = False
    with full_disk(), pytest.raises(SettingsError, match="File too large"):
        plan._remake(was_active=True)
    assert machine.commands == ["swapon"]


def test_on_btrfs_it_has_a_subvolume_of_its_own(machine: Machine) -> None:
    machine.host.write("/proc/self/mountinfo", MOUNT.format("btrfs"))
    run(machine, "2M")
    assert machine.commands[:2] == ["btrfs", "chattr"]
    machine.commands.clear()
    run(machine, "5M")
    assert machine.commands == ["swapoff", "swapon"]


@pytest.mark.parametrize(("before", "after"), [("0", "2M"), ("2M", "5M"), ("5M", "2M"), ("2M", "0")])
def test_killed_at_any_step_the_next_run_finishes(machine: Machine, before: str, after: str) -> None:
    run(machine, before)
    steps = 0
    while killed_at(steps + 1, lambda: run(machine, after)):
        steps += 1
        run(machine, after)
        assert state(machine)[0] == (int(after.removesuffix("M")) * MIB or None)
        assert changed(run(machine, after)) == []
        run(machine, before)
    assert steps >= 8


def test_killed_while_mkswap_writes_the_next_run_finishes(machine: Machine) -> None:
    """Its file had a row before, and so is known without its header."""
    run(machine, "2M")
    with machine.host.path(PATH).open("r+b") as file:
        file.seek(4086)
        file.write(bytes(10))
    assert changed(run(machine, "2M"))[0][2] == "no swap file"
    assert state(machine) == (2 * MIB, ROW, True)


def test_in_a_container_all_is_skipped(machine: Machine) -> None:
    machine.host.write("/run/systemd/container", "docker")
    (record,) = run(machine, "2M").records
    assert (record.action, record.reason) == ("skipped", "this is a container (docker), whose swap is its host's")
    assert not machine.host.path(PATH).exists()


SIZES = {"0": 0, "1M": MIB, "512M": 512 * MIB, "16G": 16 << 30, "1.5G": 3 << 29, "2T": 2 << 40, "8 GiB": 8 << 30,
         "3.3M": 3457024}  # fmt: skip


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "size") == size


@pytest.mark.parametrize("size", ["16", 16, "", "G", "-1G", "0.5M", "1K", True, False, None, "1GB2", "1e3M"])
def test_wrong_sizes(size: object) -> None:
    with pytest.raises(InputError, match=r"size must be 0, or a size with its unit, such as 512M or 16G; got: "):
        parse_size(size, "size")


@pytest.mark.parametrize(
    ("path", "priority", "message"),
    [
        ("swap", None, "path must be an absolute path"),
        ("/", None, "path must be a file on a disk of the system"),
        ("/dev/sda", None, "path must be a file on a disk of the system"),
        (PATH, -1, "priority must be a number from 0 to 32767"),
    ],
)
def test_wrong_requests(path: str, priority: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_swap_file(path, "1G", priority)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_on_a_real_kernel(loop: Loop, filesystem: str) -> None:
    if shutil.which(f"mkfs.{filesystem}") is None:
        pytest.skip(f"mkfs.{filesystem} is not on this machine")
    place = loop.host.root / "place"
    place.mkdir()
    subprocess.run([f"mkfs.{filesystem}", "-q", loop.device], check=True, capture_output=True)
    subprocess.run(["mount", loop.device, place], check=True)
    path = place / "swap/file"

    def converged(size: str) -> list[str]:
        wanted = parse_swap_file(str(path), size, 5)
        file = FstabFile(loop.host.root, run_command)
        return [each[1] for each in changed(converge(lambda: make_plan(wanted, file), check_mode=False))]

    try:
        assert converged("20M") == ["persisted", "persisted", "live"]
        assert converged("20M") == []
        assert converged("50M") == ["persisted"]
        assert converged("30M") == ["persisted"]
        (row,) = (line.split() for line in Path("/proc/swaps").read_text().splitlines() if str(path) in line)
        assert row[2:] == [str(30 * 1024 - 4), "0", "5"]
        subprocess.run(["swapoff", path], check=True)
        assert converged("30M") == ["live"]
        if filesystem == "btrfs":
            subprocess.run(["btrfs", "subvolume", "snapshot", place, place / "snapshot"], check=True)
        with pytest.raises(SettingsError, match=r"size must leave 256 MiB of the [0-9]+ MiB that are free on "):
            converged("400M")
        assert converged("0") == ["persisted", "persisted", "live"]
        assert not path.exists()
    finally:
        subprocess.run(["swapoff", path], check=False, capture_output=True)
        subprocess.run(["umount", place], check=True)
    assert list(place.iterdir()) == []
