# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""data_disks on disks made of files, with this machine's wipefs and mkfs: what is blank, and what is never touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import run as run_command
from ansible_collections.mlrig.workstation.plugins.module_utils._data_disk_request import parse_data_disks
from ansible_collections.mlrig.workstation.plugins.module_utils._data_disks import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._disk_format import NOTE
from ansible_collections.mlrig.workstation.plugins.module_utils._fstab_file import FstabFile
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, SettingsError, converge

from .conftest import Host, Loop, killed_at

for program in ("wipefs", "mkfs.ext4"):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine", allow_module_level=True)

MIB = 1 << 20
SIZE = 16 * MIB
ID = "nvme-Samsung_SSD_990_PRO_4TB_S7KG"
UUID = "5b34f4ab-88a6-5a52-a8e9-3b4d2b1b3a1e"
DISK: dict[str, Any] = {"id": ID, "path": "/data"}
FSTAB = "UUID=1 / ext4 defaults 0 1\n"
ROOT = "27 1 259:1 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n"


@dataclass
class Machine:
    """Mounts in a table only; all else that is run is real. crash: what happens instead of the end of mkfs."""

    host: Host
    commands: list[str] = field(default_factory=list)
    crash: Callable[[], object] | None = None

    def __call__(self, *command: str) -> Output:
        if command[0] in ("wipefs", "mkfs.ext4"):
            output = run_command(*command)
            if command[0] != "wipefs":
                self.commands.append(command[0])
                if self.crash:
                    self.crash()
            return output
        if command[0] == "mount":
            source = self.host.path("/dev/nvme1n1")
            mounts = self.host.read("/proc/self/mountinfo")
            line = f"30 27 259:5 / {command[-1]} rw - ext4 /dev/{source.name} rw\n"
            self.host.write("/proc/self/mountinfo", f"{mounts}{line}")
        self.commands.append(command[0])
        return Output(0)

    @property
    def image(self) -> Path:
        return self.host.path("/dev/nvme1n1")


@pytest.fixture
def machine(host: Host) -> Machine:
    """A host with a disk for its system, and one that is blank."""
    host.write_all({"/etc/fstab": FSTAB, "/proc/self/mountinfo": ROOT})
    host.link(f"/dev/disk/by-id/{ID}", "../../nvme1n1")
    host.link("/dev/disk/by-id/nvme-System", "../../nvme0n1")
    host.link("/dev/disk/by-id/nvme-System-part1", "../../nvme0n1p1")
    for disk in ("nvme0n1", "nvme1n1"):
        host.write(f"/sys/class/block/{disk}/size", f"{SIZE // 512}\n")
        host.path(f"/sys/class/block/{disk}/holders").mkdir()
        host.write(f"/dev/{disk}", b"")
        os.truncate(host.path(f"/dev/{disk}"), SIZE)
    return Machine(host)


def run(machine: Machine, *disks: dict[str, Any], check_mode: bool = False) -> Settings:
    file = FstabFile(machine.host.root, machine)
    return converge(lambda: make_plan(parse_data_disks(disks or [DISK]), file), check_mode=check_mode)


def changed(settings: Settings) -> list[tuple[str, str, str | None, str | None]]:
    assert settings.failed == []
    return [(each.id, each.plane, each.actual, each.expected) for each in settings.differing]


def signature(machine: Machine) -> dict[str, Any]:
    (found,) = json.loads(run_command("wipefs", "--no-act", "--json", str(machine.image)).stdout)["signatures"]
    return dict(found)


def test_a_blank_disk_is_formatted_mounted_and_owned(machine: Machine) -> None:
    disk = {**DISK, "owner": str(os.getuid()), "group": str(os.getgid()), "mode": "0750"}
    first = run(machine, disk)
    uuid = signature(machine)["uuid"]
    owner = f"owner {os.getuid()}, group {os.getgid()}, mode 0750"
    assert changed(first) == [
        (ID, "persisted", "blank", f"ext4 with UUID {uuid}"),
        ("/data", "persisted", None, "defaults,noatime,nodiratime,nofail"),
        ("/data", "live", "not mounted", "mounted"),
        ("/data owner", "persisted", None, owner),
    ]
    assert machine.host.read("/etc/fstab") == (
        f"{FSTAB}UUID={uuid} /data ext4 defaults,noatime,nodiratime,nofail 0 2\n"
    )
    assert machine.host.path("/data").stat().st_mode & 0o7777 == 0o750
    assert not machine.host.path(NOTE).exists()
    assert machine.commands == ["mkfs.ext4", "findmnt", "findmnt", "mount"]
    before = machine.host.texts()
    assert changed(run(machine, disk)) == []
    assert machine.host.texts() == before


def test_check_mode_writes_nothing(machine: Machine) -> None:
    before = machine.host.texts()
    assert len(changed(run(machine, check_mode=True))) == 3
    assert (machine.host.texts(), machine.commands) == (before, [])
    assert not machine.host.path("/data").exists()


def test_the_uuid_follows_from_the_id(machine: Machine) -> None:
    (disk,) = parse_data_disks([DISK])
    (other,) = parse_data_disks([{**DISK, "id": f"{ID}_1"}])
    run(machine)
    assert signature(machine)["uuid"] == disk.uuid != other.uuid


def put(position: int, data: bytes) -> Callable[[Path], object]:
    def write(image: Path) -> None:
        with image.open("r+b") as stream:
            stream.seek(position)
            stream.write(data)

    return write


def make(*command: str) -> Callable[[Path], object]:
    return lambda image: subprocess.run([*command, image], check=True, capture_output=True)


# What a disk can hold, how it comes there, and what the refusal says.
CONTENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "ext4 of somebody": (make("mkfs.ext4", "-q", "-U", UUID, "-L", "photos"),
                         f"has ext4 (UUID {UUID}, label photos). To use it as it is, add uuid: {UUID}"),
    "another file system": (make("mkfs.ext2", "-q"), "has ext2 (UUID"),
    "swap": (make("mkswap"), "has swap (UUID"),
    "partition table, MBR": (put(446, b"\x80\0\2\0\x83\0\x09\0\1\0\0\0\x09" + bytes(51) + b"\x55\xaa"),
                             "has dos"),
    "LUKS": (put(0, b"LUKS\xba\xbe\x00\x02" + bytes(500)), "has crypto_LUKS"),
    "LVM": (put(512, b"LABELONE" + bytes(16) + b"LVM2 001"), "at its beginning or end"),
    "GPT, broken": (put(512, b"EFI PART"), "at its beginning or end"),
    "GPT, only the copy at the end": (put(SIZE - 512, b"EFI PART"), "at its beginning or end"),
    "RAID": (put(4096, b"\xfc\x4e\x2b\xa9\x01"), "at its beginning or end"),
    "ISO image": (put(0x8000, b"\x01CD001\x01"), "has iso9660"),
    "XFS, broken": (put(0, b"XFSB"), "at its beginning or end"),
    "btrfs": (put(0x10040, b"_BHRfS_M"), ""),
    "ZFS": (put(0x20000, b"\x0c\xb1\xba\x00"), "at its beginning or end"),
    "raw data at the beginning": (put(MIB - 1, b"x"), "at its beginning or end"),
    "raw data at the end": (put(SIZE - MIB, b"x"), "at its beginning or end"),
    "erased to ones": (put(0, b"\xff" * MIB), "at its beginning or end"),
}  # fmt: skip


@pytest.mark.parametrize(("fill", "message"), CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_a_disk_that_carries_anything_is_never_written_to(
    machine: Machine, fill: Callable[[Path], object], message: str, *, check_mode: bool
) -> None:
    fill(machine.image)
    before = machine.host.texts()
    with pytest.raises(SettingsError) as refusal:
        run(machine, check_mode=check_mode)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith("disks[0].id must be blank to be formatted, ")
    assert f"wipefs --all /dev/disk/by-id/{ID}" in str(refusal.value)
    assert (machine.host.texts(), machine.commands) == (before, [])


USES: dict[str, tuple[dict[str, str], str]] = {
    "partitions": ({"/sys/class/block/nvme1n1/nvme1n1p1/partition": "1\n"}, "it has partitions: nvme1n1p1"),
    "RAID, LVM or crypt": ({"/sys/class/block/nvme1n1/holders/dm-0": ""}, "it is a part of dm-0"),
    "read-only": ({"/sys/class/block/nvme1n1/ro": "1\n"}, "it is read-only"),
    "another row": ({"/etc/fstab": f"/dev/disk/by-id/{ID} none swap sw 0 0\n"}, "line 1 of fstab has it as /dev/disk/"),
    "a row by its short name": ({"/etc/fstab": "/dev/nvme1n1 /old ext4 x 0 0\n"}, "line 1 of fstab has it as /dev/n"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message"), USES.values(), ids=USES)
def test_a_disk_that_is_used_is_never_written_to(machine: Machine, files: dict[str, str], message: str) -> None:
    machine.host.write_all(files)
    before = machine.host.texts()
    with pytest.raises(SettingsError) as refusal:
        run(machine)
    assert f"must be blank to be formatted, but {message}" in str(refusal.value)
    assert (machine.host.texts(), machine.commands) == (before, [])


PLACES: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "a folder with something in it": ({"/data/a": ""}, DISK, "disks[0].path must be empty, because"),
    "a file": ({"/data": ""}, DISK, "disks[0].path must be a folder, and is none"),
    "another mount": ({"/proc/self/mountinfo": f"{ROOT}30 27 8:1 / /data rw - ext4 /dev/sdz rw\n"}, DISK,
                      "disks[0].path must be free, but /dev/sdz is mounted there"),
    "another row": ({"/etc/fstab": f"{FSTAB}LABEL=old /data xfs noauto 0 0\n"}, DISK,
                    "disks[0].path must be free, but line 2 of /etc/fstab mounts LABEL=old there"),
    "two rows": ({"/etc/fstab": "LABEL=a /data xfs noauto 0 0\nLABEL=b /data xfs noauto 0 0\n"}, DISK,
                 "disks[0].path must have one row, and /etc/fstab has lines 1, 2"),
    "no such disk": ({}, {**DISK, "id": "nvme-None"},
                     f"disks[0].id must be a disk of this host (/dev/disk/by-id/ has: {ID}, nvme-System); got"),
    "no such user": ({}, {**DISK, "owner": "nobody-at-all"}, "disks[0].owner must be known on this host"),
    "no file system": ({}, {**DISK, "uuid": UUID}, "disks[0].uuid must be on the disk, which has no file system"),
    "an fstab with a syntax error": ({"/etc/fstab": "broken\n"}, DISK, "/etc/fstab line 1 must have a source"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "disk", "message"), PLACES.values(), ids=PLACES)
def test_what_does_not_fit_the_host_is_refused(
    machine: Machine, files: dict[str, str], disk: dict[str, Any], message: str
) -> None:
    machine.host.write_all(files)
    before = machine.host.texts()
    with pytest.raises(SettingsError) as refusal:
        run(machine, disk)
    assert message in str(refusal.value)
    assert (machine.host.texts(), machine.commands) == (before, [])


REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "a name that changes": ({"id": "/dev/sda"}, "disks[0].id must be a name in /dev/disk/by-id/"),
    "another folder": ({"id": "../by-uuid/1"}, "disks[0].id must be a name in /dev/disk/by-id/"),
    "no absolute path": ({"path": "data"}, "disks[0].path must be an absolute path"),
    "the system's root": ({"path": "/"}, "disks[0].path must not be a folder of the system"),
    "a folder of the system": ({"path": "/usr/"}, "disks[0].path must not be a folder of the system"),
    "a file system without a row here": ({"filesystem": "zfs"}, "disks[0].filesystem must be one of: btrfs, ext4, xfs"),
    "options": ({"options": "noatime, ro"}, "disks[0].options must be mount options separated by commas"),
    "a number as mode": ({"mode": 750}, 'disks[0].mode must be an octal number in quotes, such as "0755"; got: 750'),
    "an owner with a space": ({"owner": "a b"}, "disks[0].owner must be a name or a number"),
    "no UUID": ({"uuid": "abc"}, "disks[0].uuid must be the UUID of a file system; got: 'abc'"),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), REQUESTS.values(), ids=REQUESTS)
def test_wrong_requests_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_data_disks([{**DISK, **wrong}])
    assert message in str(refusal.value)


@pytest.mark.parametrize("what", ["id", "path"])
def test_one_disk_and_one_place_each(what: str) -> None:
    other = {"id": "nvme-Other", "path": "/other", what: DISK[what]}
    with pytest.raises(SettingsError) as refusal:
        parse_data_disks([DISK, other])
    assert str(refusal.value) == f"disks[1].{what} must not repeat disks[0]; got: {DISK[what]!r}"


def test_when_one_disk_is_refused_none_is_touched(machine: Machine) -> None:
    make("mkfs.ext4", "-q")(machine.host.path("/dev/nvme0n1"))
    before = machine.host.texts()
    with pytest.raises(SettingsError, match=r"^disks\[1\]\.id must be blank"):
        run(machine, DISK, {"id": "nvme-System", "path": "/more"})
    assert (machine.host.texts(), machine.commands) == (before, [])


ADOPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "its UUID is named": ("", {**DISK, "uuid": UUID.upper()}),
    "a row mounts it there": (f"UUID={UUID} /data ext4 commit=60 0 2\n", DISK),
}


@pytest.mark.parametrize(("row", "disk"), ADOPTIONS.values(), ids=ADOPTIONS)
def test_a_file_system_that_is_meant_is_mounted_as_it_is(machine: Machine, row: str, disk: dict[str, Any]) -> None:
    make("mkfs.ext4", "-q", "-U", UUID)(machine.image)
    machine.host.write("/etc/fstab", FSTAB + row)
    before = machine.image.read_bytes()
    run(machine, disk)
    assert machine.image.read_bytes() == before
    assert "mount" in machine.commands
    assert f"UUID={UUID} /data ext4 " in machine.host.read("/etc/fstab")
    assert row.count("commit=60") == machine.host.read("/etc/fstab").count("commit=60")
    assert changed(run(machine, disk)) == []


def test_another_file_system_than_named_is_refused(machine: Machine) -> None:
    make("mkfs.ext4", "-q")(machine.image)
    with pytest.raises(SettingsError, match=r"disks\[0\]\.id must be blank to be formatted, and has ext4"):
        run(machine, {**DISK, "uuid": UUID})


def test_a_system_installed_anew_knows_its_disks(machine: Machine) -> None:
    run(machine)
    before = machine.image.read_bytes()
    machine.host.write_all({"/etc/fstab": FSTAB, "/proc/self/mountinfo": ROOT})
    assert [each[:2] for each in changed(run(machine))] == [("/data", "persisted"), ("/data", "live")]
    assert machine.image.read_bytes() == before


def test_killed_at_any_step_the_next_run_finishes(machine: Machine) -> None:
    """As many runs as there are steps: each is killed at another one, and the next does the rest."""
    steps = 0
    while killed_at(steps + 1, lambda: run(machine)):
        steps += 1
        run(machine)
        assert changed(run(machine)) == []
        assert not machine.host.path(NOTE).exists()
        machine.host.write_all({"/etc/fstab": FSTAB, "/proc/self/mountinfo": ROOT})
        machine.image.write_bytes(b"")
        os.truncate(machine.image, SIZE)
        shutil.rmtree(machine.host.path("/data"))
    assert steps > 15


def test_killed_while_mkfs_writes_the_next_run_begins_anew(machine: Machine) -> None:
    def power_cut() -> None:
        put(1024, bytes(1024))(machine.image)  # the superblock is what is written last
        raise KeyboardInterrupt

    machine.crash = power_cut
    with suppress(KeyboardInterrupt):
        run(machine)
    assert any(machine.image.read_bytes())
    machine.crash = None
    assert changed(run(machine, check_mode=True))[0][2] == "unfinished ext4"
    run(machine)
    assert signature(machine)["type"] == "ext4"
    assert changed(run(machine)) == []


def test_what_came_onto_the_disk_after_a_killed_run_stays(machine: Machine) -> None:
    def power_cut() -> None:
        raise KeyboardInterrupt

    machine.crash = power_cut
    with suppress(KeyboardInterrupt):
        run(machine)
    make("mkfs.ext4", "-q", "-F")(machine.image)
    before = machine.image.read_bytes()
    with pytest.raises(SettingsError, match="must be blank to be formatted, and has ext4"):
        run(machine)
    assert machine.image.read_bytes() == before


def test_a_note_of_another_disk_excuses_nothing(machine: Machine) -> None:
    """A larger disk has taken the name."""
    (disk,) = parse_data_disks([DISK])
    note = {ID: {"filesystem": "ext4", "uuid": disk.uuid, "size": SIZE // 2}}
    machine.host.write(f"/{NOTE}", json.dumps(note))
    put(0, b"data")(machine.image)
    with pytest.raises(SettingsError, match="something else at its beginning or end"):
        run(machine)


def test_mkfs_that_fails_is_told_and_leaves_no_row(machine: Machine) -> None:
    os.truncate(machine.image, 4096)
    with pytest.raises(SettingsError, match=rf"/dev/disk/by-id/{ID}: mkfs\.ext4 failed: "):
        run(machine)
    assert machine.host.read("/etc/fstab") == FSTAB


@pytest.mark.parametrize(
    ("old", "new", "drift"),
    [
        (",nofail", "", ("/data", "persisted")),
        ("noatime,", "relatime,", ("/data", "persisted")),
    ],
)
def test_drift_of_the_row_is_mended(machine: Machine, old: str, new: str, drift: tuple[str, str]) -> None:
    run(machine)
    machine.host.write("/etc/fstab", machine.host.read("/etc/fstab").replace(old, new))
    assert [each[:2] for each in changed(run(machine))] == [drift]
    assert machine.commands.count("mkfs.ext4") == 1


def test_without_rights_nothing_is_formatted(
    machine: Machine, open_host: Host, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    """No disk gets a file system that no row could name."""
    shutil.copytree(machine.host.root, open_host.root, symlinks=True, dirs_exist_ok=True)
    open_host.root.chmod(0o755)
    open_host.path("/etc").chmod(0o555)
    before = open_host.texts()
    other = Machine(open_host)
    message = as_nobody(lambda: run(other))
    assert message == f"cannot write {open_host.path('/etc/fstab')}: that needs root"
    assert open_host.texts() == before


def test_in_a_container_all_is_skipped(machine: Machine) -> None:
    machine.host.write("/run/systemd/container", "docker")
    before = machine.host.texts()
    (record,) = run(machine).records
    assert (record.action, record.reason) == (
        "skipped", "this is a container (docker), whose disks are its manager's",
    )  # fmt: skip
    assert machine.host.texts() == before


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_on_a_real_kernel(loop: Loop, filesystem: str) -> None:
    loop.host.link(f"/dev/disk/by-id/{ID}", f"../../{Path(loop.device).name}")
    if shutil.which(f"mkfs.{filesystem}") is None:
        pytest.skip(f"mkfs.{filesystem} is not on this machine")
    place = loop.host.root / "place"
    disk = {"id": ID, "path": str(place), "filesystem": filesystem, "owner": "1234", "mode": "0750"}

    def converged() -> list[str]:
        file = FstabFile(loop.host.root, run_command)
        settings = converge(lambda: make_plan(parse_data_disks([disk]), file), check_mode=False)
        return [each[1] for each in changed(settings)]

    try:
        assert converged() == ["persisted", "persisted", "live", "persisted"]
        assert converged() == []
        assert place.is_mount()
        assert (place.stat().st_uid, place.stat().st_mode & 0o7777) == (1234, 0o750)
        (place / "data").write_text("precious")
        subprocess.run(["umount", place], check=True)
        assert converged() == ["live"]
        assert (place / "data").read_text() == "precious"
        loop.host.write("/etc/fstab", "")
        with pytest.raises(SettingsError, match=r"^disks\[0\]\.id must be a disk of this host"):
            converge(
                lambda: make_plan(
                    parse_data_disks([{**disk, "id": f"{ID}-2"}]), FstabFile(loop.host.root, run_command)
                ),
                check_mode=False,
            )
    finally:
        subprocess.run(["umount", place], check=False)
