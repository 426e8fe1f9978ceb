# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mount_options on a host: the file is replaced safely, and what is mounted is compared and remounted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import run as run_command
from ansible_collections.mlrig.workstation.plugins.module_utils._fstab_file import FstabFile
from ansible_collections.mlrig.workstation.plugins.module_utils._mount_options import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._mount_request import parse_mounts
from ansible_collections.mlrig.workstation.plugins.module_utils._mount_tokens import contradicts, name
from ansible_collections.mlrig.workstation.plugins.module_utils._mounts import read_mounts
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, SettingsError, converge

from .conftest import Host, Loop, full_disk, killed_at

FSTAB = "/etc/fstab"
MOUNTINFO = "/proc/self/mountinfo"
ALL = [{"path": "all", "options": "noatime,nodiratime"}]
TEXT = """\
UUID=1 / ext4 defaults 0 1
UUID=2 /home btrfs subvol=@home 0 0
UUID=2 /data btrfs subvol=@data 0 0
/data/a /bind none bind 0 0
"""
MOUNTED = """\
27 1 259:1 / / rw,relatime - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
28 27 0:40 /@home /home rw,nosuid,relatime shared:5 - btrfs /dev/nvme1n1 rw,ssd,subvol=/@home
29 27 0:40 /@data /data rw,relatime shared:6 - btrfs /dev/nvme1n1 rw,ssd,subvol=/@data
30 27 0:40 /@data/a /bind rw,relatime shared:7 - btrfs /dev/nvme1n1 rw,ssd,subvol=/@data
31 27 0:50 / /my\\040disk rw,relatime - ext4 /dev/sda1 rw
"""


@dataclass
class Kernel:
    """Answers as mount, findmnt and systemctl do. known: options of file systems that it shows once they are set.

    faults: what findmnt says, by a word of the text that it is asked about.
    """

    host: Host
    known: tuple[str, ...] = ("compress", "discard", "lazytime")
    taken: tuple[str, ...] = ("commit",)
    faults: dict[str, str] = field(default_factory=dict)
    commands: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, *command: str) -> Output:
        if command[0] == "findmnt":
            text = Path(command[-1]).read_text(encoding="utf-8")
            said = "".join(fault for word, fault in self.faults.items() if word in text)
            return Output(int(bool(said)), said)
        self.commands.append(command)
        return self.mount(command) if command[0] == "mount" else Output(0)

    def mount(self, command: tuple[str, ...]) -> Output:
        _mount, source, _o, options, path = command
        _remount, *tokens = options.split(",")
        lines = self.host.read(MOUNTINFO).splitlines()
        for position, line in enumerate(lines):
            fields = line.split(" ")
            if fields[4] != path.replace(" ", "\\040"):
                continue
            if tokens[0] == "bind":
                assert source == "--options-source=disable"
                fields[5] = ",".join(
                    each for each in tokens[1:] if each in ("rw", "ro", "relatime") or each[:2] == "no"
                )
            else:
                assert source == "--options-source=mtab"
                if any(name(each) not in (*self.known, *self.taken) for each in tokens):
                    return Output(32, "", f"mount: {path}: mount point not mounted or bad option.\n")
                kept = [each for each in fields[-1].split(",") if not any(contradicts(each, new) for new in tokens)]
                shown = [each for each in tokens if name(each) in self.known and each not in kept]
                fields[-1] = ",".join([*kept, *(f"{each}:3" if each == "compress=zstd" else each for each in shown)])
            lines[position] = " ".join(fields)
        self.host.write(MOUNTINFO, "\n".join(lines) + "\n")
        return Output(0)


@pytest.fixture
def rig(host: Host) -> Host:
    host.write_all({FSTAB: TEXT, MOUNTINFO: MOUNTED})
    return host


@pytest.fixture
def kernel(rig: Host) -> Kernel:
    return Kernel(rig)


def run(
    kernel: Kernel, mounts: list[dict[str, Any]], *, check_mode: bool = False, live: bool = True, file: str = FSTAB
) -> Settings:
    fstab = FstabFile(kernel.host.root, kernel, file)
    return converge(lambda: make_plan(parse_mounts(mounts), fstab, kernel, live=live), check_mode=check_mode)


def changed(settings: Settings) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.id, each.plane, each.actual, each.expected) for each in settings.differing]


def test_rows_and_mounts_are_changed_and_said(kernel: Kernel) -> None:
    assert changed(run(kernel, ALL)) == [
        ("/", "persisted", "defaults", "defaults,noatime,nodiratime"),
        ("/", "live", "relatime,diratime", "noatime,nodiratime"),
        ("/home", "persisted", "subvol=@home", "subvol=@home,noatime,nodiratime"),
        ("/home", "live", "relatime,diratime", "noatime,nodiratime"),
        ("/data", "persisted", "subvol=@data", "subvol=@data,noatime,nodiratime"),
        ("/data", "live", "relatime,diratime", "noatime,nodiratime"),
    ]
    mounted = kernel.host.read(MOUNTINFO).splitlines()
    assert mounted[1].startswith("28 27 0:40 /@home /home rw,nosuid,noatime,nodiratime shared:5 - btrfs")
    assert mounted[3] == MOUNTED.splitlines()[3]
    assert not run(kernel, ALL).differing


def test_check_mode_changes_nothing(kernel: Kernel) -> None:
    before = kernel.host.texts()
    assert changed(run(kernel, ALL, check_mode=True)) == changed(run(kernel, ALL, check_mode=True)) != []
    assert kernel.host.texts() == before
    assert kernel.commands == []


DRIFTS: dict[str, tuple[str, str, str, list[tuple[str, str]]]] = {
    "option taken out of the file": (FSTAB, "@home,noatime,nodiratime", "@home,nodiratime", [("/home", "persisted")]),
    "option contradicted": (FSTAB, "defaults,noatime", "defaults,relatime,noatime", [("/", "persisted")]),
    "live option": (MOUNTINFO, "/@data /data rw,noatime,", "/@data /data rw,relatime,", [("/data", "live")]),
    "mounted by hand": (MOUNTINFO, "/ / rw,noatime,nodiratime", "/ / rw,relatime", [("/", "live")]),
    "nodiratime is included in noatime": (MOUNTINFO, "/ / rw,noatime,nodiratime", "/ / rw,noatime", []),
    "other options are no drift": (MOUNTINFO, "/ / rw,noatime", "/ / rw,nodev,noexec,noatime", []),
}


def without_order(texts: dict[str, bytes]) -> dict[str, list[bytes]]:
    return {file: sorted(re.split(rb"[,\s]", text)) for file, text in texts.items()}


@pytest.mark.parametrize(("file", "old", "new", "drift"), DRIFTS.values(), ids=DRIFTS)
def test_exactly_what_drifted_is_mended(
    kernel: Kernel, file: str, old: str, new: str, drift: list[tuple[str, str]]
) -> None:
    run(kernel, ALL)
    right = kernel.host.texts()
    assert old in kernel.host.read(file)
    kernel.host.write(file, kernel.host.read(file).replace(old, new))
    if not drift:
        right = kernel.host.texts()
    assert [(each.id, each.plane) for each in run(kernel, ALL).differing] == drift
    assert without_order(kernel.host.texts()) == without_order(right)


# What is mounted, what is wanted, and with which options it is remounted.
REMOUNTS: dict[str, tuple[str, str, str, list[str]]] = {
    "noatime": ("ext4", "rw,relatime - rw", "noatime", ["remount,bind,rw,suid,dev,exec,diratime,noatime"]),
    "kept flags": (
        "ext4", "rw,nosuid,nodev,relatime - rw", "noexec,noatime",
        ["remount,bind,rw,nosuid,nodev,diratime,noexec,noatime"],
    ),
    "relatime": ("ext4", "ro,noatime - rw", "relatime", ["remount,bind,ro,suid,dev,exec,diratime,relatime"]),
    "strictatime": ("ext4", "rw,noatime - rw", "strictatime", ["remount,bind,rw,suid,dev,exec,diratime,strictatime"]),
    "strictatime is there": ("ext4", "rw - rw", "strictatime", []),
    "atime": ("ext4", "rw,noatime - rw", "atime", ["remount,bind,rw,suid,dev,exec,diratime,relatime"]),
    "atime is there": ("ext4", "rw,relatime - rw", "atime", []),
    "exec": ("ext4", "rw,noexec,relatime - rw", "exec", ["remount,bind,rw,suid,dev,diratime,relatime,exec"]),
    "what only mount knows": ("ext4", "rw,relatime - rw", "nofail,x-systemd.automount,_netdev,defaults,noauto", []),
    "discard of ext4": ("ext4", "rw,relatime - rw", "discard", ["remount,discard"]),
    "discard of ext4 is there": ("ext4", "rw,relatime - rw,discard", "discard", []),
    "discard of btrfs is there": ("btrfs", "rw,relatime - rw,discard=async", "discard", []),
    "no discard": ("ext4", "rw,relatime - rw,discard", "nodiscard", ["remount,nodiscard"]),
    "no discard is there": ("ext4", "rw,relatime - rw", "nodiscard", []),
    "compression": ("btrfs", "rw,relatime - rw", "compress=zstd", ["remount,compress=zstd"]),
    "compression is there": ("btrfs", "rw,relatime - rw,compress=zstd:3", "compress=zstd", []),
    "another level": ("btrfs", "rw,relatime - rw,compress=zstd:3", "compress=zstd:1", ["remount,compress=zstd:1"]),
    "both kinds": (
        "btrfs", "rw,relatime - rw", "compress=lzo,noatime",
        ["remount,bind,rw,suid,dev,exec,diratime,noatime", "remount,compress=lzo"],
    ),
    "read-only": ("ext4", "rw,relatime - rw", "ro", ["remount,ro"]),
    "writable": ("ext4", "rw,relatime - ro", "rw", ["remount,rw"]),
    "what is not shown is tried": ("ext4", "rw,relatime - rw", "commit=60", ["remount,commit=60"]),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "mounted", "options", "remounts"), REMOUNTS.values(), ids=REMOUNTS)
def test_remounts(host: Host, kind: str, mounted: str, options: str, remounts: list[str]) -> None:
    flags, shared = mounted.split(" - ")
    host.write(MOUNTINFO, f"30 27 8:1 / /my\\040disk {flags} shared:1 - {kind} /dev/sda {shared}\n")
    host.write(FSTAB, f"LABEL=d /my\\040disk {kind} user_xattr 0 0\n")
    kernel = Kernel(host, known=("compress", "discard", "nodiscard", "ro", "rw"))
    settings = run(kernel, [{"path": "/my disk", "options": options}], check_mode=True)
    commands = make_plan(
        parse_mounts([{"path": "/my disk", "options": options}]), FstabFile(host.root, kernel), kernel, live=True
    ).edits[0].commands  # fmt: skip
    assert [command[-2] for command in commands] == remounts
    assert all(command[-1] == "/my disk" for command in commands)
    live = [each for each in settings.differing if each.plane == "live"]
    assert bool(live) == (bool(remounts) and "commit" not in options)


def test_what_the_kernel_refuses_is_not_persisted_and_keeps_no_other_back(kernel: Kernel) -> None:
    settings = run(kernel, [*ALL, {"path": "/data", "options": "noatim"}])
    assert [(each.id, each.plane) for each in settings.failed] == [("/data", "persisted"), ("/data", "live")]
    assert "the kernel refuses 'remount,noatim', so nothing is persisted: mount: /data" in (
        settings.failed[0].reason or ""
    )
    assert "@data 0" in kernel.host.read(FSTAB)
    assert "@home,noatime,nodiratime 0" in kernel.host.read(FSTAB)


def test_what_the_kernel_does_not_show_is_tried_once_and_said(kernel: Kernel) -> None:
    mounts = [{"path": "/", "options": "commit=60"}]
    records = run(kernel, mounts).records
    assert [(each.id, each.action) for each in records] == [("/", "changed"), ("/ commit=60", "skipped")]
    kernel.commands.clear()
    assert not run(kernel, mounts).differing
    assert kernel.commands == []


def test_what_does_not_take_is_an_error(kernel: Kernel) -> None:
    kernel.known, kernel.taken = (), ("discard",)
    (failed,) = run(kernel, [{"path": "/", "options": "discard"}]).failed
    assert (failed.plane, failed.reason) == ("live", "did not take: set to 'discard', reads 'nodiscard'")


SKIPS: dict[str, tuple[dict[str, str], list[dict[str, Any]], tuple[str, str, str]]] = {
    "in a container": ({"/run/systemd/container": "lxc"}, ALL,
                       ("/", "live", "this is a container (lxc), whose mounts are its manager's")),
    "not mounted": ({MOUNTINFO: MOUNTED.replace(" /home ", " /elsewhere ")}, ALL,
                    ("/home", "live", "it is not mounted now")),
    "automount": ({MOUNTINFO: MOUNTED.replace("btrfs /dev/nvme1n1 rw,ssd,subvol=/@home", "autofs systemd-1 rw")}, ALL,
                  ("/home", "live", "it is not mounted now")),
    "not required": ({}, [*ALL, {"path": "/gone", "options": "noatime", "required": False}],
                     ("/gone", "persisted", "it has no row in /etc/fstab")),
    "without a row": ({}, [{"path": "/my disk", "options": "noatime"}],
                      ("/my disk", "persisted",
                       "it is mounted without a row in /etc/fstab, so what mounts it says with which options")),
}  # fmt: skip


@pytest.mark.parametrize(("files", "mounts", "skip"), SKIPS.values(), ids=SKIPS)
def test_skips(kernel: Kernel, files: dict[str, str], mounts: list[dict[str, Any]], skip: tuple[str, str, str]) -> None:
    kernel.host.write_all(files)
    skipped = [(each.id, each.plane, each.reason) for each in run(kernel, mounts).records if each.action == "skipped"]
    assert skip in skipped
    assert not run(kernel, mounts).differing


REFUSALS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no absolute path": ([{"path": "home", "options": "ro"}], "mounts[0].path must be an absolute path or all"),
    "path upwards": ([{"path": "/a/../b", "options": "ro"}], "mounts[0].path must be an absolute path"),
    "no options": ([{"path": "/", "options": ""}], "mounts[0].options must be mount options separated by commas"),
    "a space": ([{"path": "/", "options": "noatime, ro"}], "without spaces; got: 'noatime, ro'"),
    "a line": ([{"path": "/", "options": "noatime\nro"}], "mounts[0].options must be mount options"),
    "a comment": ([{"path": "/", "options": "#noatime"}], "mounts[0].options must be mount options"),
    "an open quote": ([{"path": "/", "options": 'context="a'}], "mounts[0].options must be mount options"),
    "contradiction": ([{"path": "/", "options": "noatime,relatime"}], "must not have noatime together with relatime"),
    "remount": ([{"path": "/", "options": "remount,ro"}], "must not have remount, which says what to mount, not how"),
    "another subvolume": ([{"path": "/", "options": "subvol=@b"}], "must not have subvol, which says what to mount"),
    "twice": ([*ALL, *ALL], "mounts[1].path must not repeat mounts[0]; got: 'all'"),
    "twice in other letters": (
        [{"path": "/a", "options": "ro"}, {"path": "/a/", "options": "rw"}], "mounts[1].path must not repeat mounts[0]",
    ),
    "a source of all": ([{**ALL[0], "source": "UUID=1"}], "mounts[0].source must not be given together with path: all"),
    "unknown path": (
        [{"path": "/hoem", "options": "ro"}], "must have a row in /etc/fstab (did you mean /home?); got: '/hoem'",
    ),
    "unknown source": (
        [{"path": "/home", "options": "ro", "source": "UUID=9"}], "must have a row of UUID=9 in /etc/fstab",
    ),
    "two rows": (
        [{"path": "/twice", "options": "ro"}],
        "must name one row, and /etc/fstab has it in lines 5, 6 (add source: UUID=5, for example); got: '/twice'",
    ),
    "one file system, two wishes": (
        [{"path": "/home", "options": "compress=lzo"}, {"path": "/data", "options": "compress=zstd"}],
        "/home and /data are mounts of one file system, which cannot have both 'compress=lzo' and 'compress=zstd'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("mounts", "message"), REFUSALS.values(), ids=REFUSALS)
def test_wrong_requests_are_refused(kernel: Kernel, mounts: list[dict[str, Any]], message: str) -> None:
    kernel.host.write(FSTAB, f"{TEXT}UUID=5 /twice ext4 noauto 0 0\nUUID=6 /twice ext4 noauto 0 0\n")
    before = kernel.host.texts()
    with pytest.raises(SettingsError) as refusal:
        run(kernel, mounts)
    assert message in str(refusal.value)
    assert (kernel.host.texts(), kernel.commands) == (before, [])


OLD_FAULT = "/old\n   [E] unreachable on boot required source: UUID=9\n"


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_a_file_with_a_new_fault_is_never_written(kernel: Kernel, *, check_mode: bool) -> None:
    kernel.faults = {"nodiratime": "/\n   [E] it will not boot\n", "UUID": OLD_FAULT}
    before = kernel.host.texts()
    with pytest.raises(SettingsError) as refusal:
        run(kernel, ALL, check_mode=check_mode)
    assert str(refusal.value) == "/etc/fstab is as it was; findmnt --verify would say of it: /: it will not boot"
    assert (kernel.host.texts(), kernel.commands) == (before, [])


def test_a_fault_that_was_there_is_said(kernel: Kernel) -> None:
    kernel.faults = {"UUID": OLD_FAULT}
    settings = run(kernel, ALL)
    assert settings.warnings == [
        "/etc/fstab has a fault that was there before: /old: unreachable on boot required source: UUID=9"
    ]
    assert settings.failed == []


def test_the_first_version_stays_beside_the_file(kernel: Kernel) -> None:
    run(kernel, ALL)
    run(kernel, [{"path": "/", "options": "nodev"}])
    assert kernel.host.read(f"{FSTAB}.mlrig.save") == TEXT


def test_mode_owner_and_links_stay(kernel: Kernel) -> None:
    file = kernel.host.path(FSTAB)
    real = kernel.host.path("/etc/real")
    file.rename(real)
    file.symlink_to("real")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 5678)
    before = real.stat()
    run(kernel, ALL)
    after = real.stat()
    assert file.readlink() == Path("real")
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_systemd_is_told_once(kernel: Kernel) -> None:
    kernel.host.path("/run/systemd/system").mkdir(parents=True)
    run(kernel, ALL, live=False)
    run(kernel, ALL, live=False)
    assert kernel.commands == [("systemctl", "daemon-reload")]


def test_a_full_disk_loses_nothing(kernel: Kernel) -> None:
    plan = make_plan(parse_mounts(ALL), FstabFile(kernel.host.root, kernel), kernel, live=False)
    with full_disk(), pytest.raises(SettingsError) as refusal:
        plan.apply()
    assert str(refusal.value) == f"cannot write {kernel.host.path(FSTAB)}.mlrig.save: File too large"
    assert kernel.host.read(FSTAB) == TEXT
    assert not run(kernel, ALL, live=False).failed
    assert not run(kernel, ALL, live=False).differing


def test_without_rights_nothing_is_done(open_host: Host, as_nobody: Callable[[Callable[[], object]], str]) -> None:
    open_host.write_all({FSTAB: TEXT, MOUNTINFO: MOUNTED})
    open_host.path(FSTAB).parent.chmod(0o555)
    kernel = Kernel(open_host)
    assert as_nobody(lambda: run(kernel, ALL)) == f"cannot write {open_host.path(FSTAB)}: that needs root"
    assert open_host.read(FSTAB) == TEXT


def test_killed_at_any_step_the_file_is_whole_and_the_next_run_converges(kernel: Kernel) -> None:
    wanted = TEXT.replace("defaults", "defaults,noatime,nodiratime").replace(
        " 0 0\nUUID", ",noatime,nodiratime 0 0\nUUID"
    )
    wanted = wanted.replace("@data 0", "@data,noatime,nodiratime 0")
    steps = 0
    while killed_at(steps + 1, lambda: run(kernel, ALL)):
        steps += 1
        found = kernel.host.read(FSTAB)
        assert found in (TEXT, wanted)
        backup = kernel.host.path(f"{FSTAB}.mlrig.save")
        assert not backup.exists() or backup.read_text(encoding="utf-8") == TEXT
        run(kernel, ALL)
        assert kernel.host.read(FSTAB) == wanted
        assert backup.read_text(encoding="utf-8") == TEXT
        assert {each.name for each in backup.parent.iterdir()} == {"fstab", "fstab.mlrig.save"}
        kernel.host.write_all({FSTAB: TEXT, MOUNTINFO: MOUNTED})
        backup.unlink()
    assert steps >= 6


def test_a_read_only_root_is_told(host: Host, mounted: Path) -> None:
    etc = host.link("/etc", str(mounted)).resolve()
    (etc / "fstab").write_text(TEXT, encoding="utf-8")
    host.write(MOUNTINFO, MOUNTED)
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    kernel = Kernel(host)
    with pytest.raises(SettingsError) as refusal:
        run(kernel, ALL)
    assert str(refusal.value) == f"cannot write {etc}/fstab: its file system is read-only"
    assert (kernel.host.read(FSTAB), kernel.host.read(MOUNTINFO), kernel.commands) == (TEXT, MOUNTED, [])


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of this machine's own kernel."""
    path = tmp_path / "m"
    path.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid", "none", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_this_kernel_and_this_findmnt(host: Host, mounted: Path) -> None:
    """What is wanted is set in a real kernel, and a drift by hand is mended."""
    host.link("/proc", "/proc")
    host.write(FSTAB, f"none {mounted} tmpfs nosuid 0 0\n")
    wishes = parse_mounts([{"path": str(mounted), "options": "noatime,nodiratime,noexec"}])

    def converged() -> list[str]:
        file = FstabFile(host.root, run_command)
        settings = converge(lambda: make_plan(wishes, file, run_command, live=True), check_mode=False)
        assert [each for each in settings.records if each.action not in ("changed", "none")] == []
        return [each.plane for each in settings.differing]

    assert converged() == ["persisted", "live"]
    assert converged() == []
    subprocess.run(["mount", "-o", "remount,bind,relatime,exec", mounted], check=True)
    assert converged() == ["live"]
    lines = Path(MOUNTINFO).read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if f" {mounted} " in line)
    assert " rw,nosuid,noexec,noatime,nodiratime " in line


# A file system, what is asked for at one of its two mounts, and what the kernel shows then: there, and for both.
REAL: dict[str, tuple[str, str, str, str]] = {
    "ext4": ("ext4", "noatime,nodev,discard,commit=60", "rw,nodev,noatime", "commit=60"),
    "btrfs": ("btrfs", "noatime,nodiratime,compress=zstd:1", "rw,noatime,nodiratime", "compress=zstd:1"),
    "xfs": ("xfs", "strictatime,noexec", "rw,noexec", ""),
}


@pytest.mark.parametrize(("kind", "options", "flags", "shared"), REAL.values(), ids=REAL)
def test_on_real_file_systems(loop: Loop, kind: str, options: str, flags: str, shared: str) -> None:
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not on this machine")
    subprocess.run([f"mkfs.{kind}", "-q", loop.device], check=True, capture_output=True)
    one, other = loop.host.root / "one", loop.host.root / "other"
    for place in (one, other):
        place.mkdir()
        subprocess.run(["mount", loop.device, place], check=True)
    loop.host.write(FSTAB, f"{loop.device} {one} {kind} defaults 0 0\n{loop.device} {other} {kind} defaults 0 0\n")
    file = FstabFile(loop.host.root, run_command)

    def converged(wanted: str) -> Settings:
        wishes = parse_mounts([{"path": str(one), "options": wanted}])
        return converge(lambda: make_plan(wishes, file, run_command, live=True), check_mode=False)

    try:
        first = converged(options)
        assert first.failed == []
        assert [each.plane for each in first.differing] == ["persisted", "live"]
        mounts = read_mounts(loop.host.root)
        assert ",".join(mounts[str(one)].flags) == flags
        assert mounts[str(other)].flags == ("rw", "relatime")
        assert shared in ",".join(mounts[str(other)].file_system_options)
        assert converged(options).differing == []
        before = loop.host.read(FSTAB)
        (refused, *_rest) = converged("noatim").failed
        assert "the kernel refuses" in (refused.reason or "")
        assert loop.host.read(FSTAB) == before
    finally:
        for place in (one, other):
            subprocess.run(["umount", place], check=True)
