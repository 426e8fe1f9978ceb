# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mount_options on files: what goes in and what comes out, byte for byte; a second application changes nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._fstab import (
    escape,
    parse,
    unescape,
    with_row,
    without_rows,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._fstab_file import FstabFile
from ansible_collections.mlrig.workstation.plugins.module_utils._mount_options import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._mount_request import parse_mounts
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError, converge

from .conftest import Host

ALL = [{"path": "all", "options": "noatime,nodiratime"}]
ROOT = [{"path": "/", "options": "noatime"}]
DATA = [{"path": "/data", "options": "noatime,nodiratime"}]
NEW = "noatime,nodiratime"
UUID = "UUID=0a3407de-014b-458b-b5c1-848e92a327a3"

UBUNTU = """\
# /etc/fstab: static file system information.
#
# Use 'blkid' to print the universally unique identifier for a
# device; this may be used with UUID= as a more robust way to name devices
# that works even if disks are added and removed. See fstab(5).
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
# / was on /dev/ubuntu-vg/ubuntu-lv during curtin installation
/dev/disk/by-id/dm-uuid-LVM-x / ext4 %s 0 1
# /boot was on /dev/nvme0n1p2 during curtin installation
/dev/disk/by-uuid/7c8e /boot ext4 %s 0 1
/dev/disk/by-uuid/7C-8E /boot/efi vfat defaults 0 1
/swap.img\tnone\tswap\tsw\t0\t0
"""
DEBIAN = f"""\
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
{UUID} /               ext4    %s 0       1
# swap was on /dev/nvme0n1p3 during installation
UUID=99 none            swap    sw              0       0
/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0
"""
UBUNTU_BTRFS = f"""\
{UUID} /               btrfs   %s 0       1
{UUID} /home           btrfs   %s 0       2
{UUID} /.snapshots     btrfs   %s 0       2
UUID=7C-8E  /boot/efi       vfat    umask=0077      0       1
"""

# For each: the mounts that are asked for, the file, and what becomes of it.
FILES: dict[str, tuple[list[dict[str, str]], str, str]] = {
    "Ubuntu Server": (
        ALL,
        UBUNTU % ("defaults", "defaults"),
        UBUNTU % (f"defaults,{NEW}", f"defaults,{NEW}"),
    ),
    "Debian": (ALL, DEBIAN % "errors=remount-ro", DEBIAN % f"errors=remount-ro,{NEW}"),
    "btrfs subvolumes": (
        ALL,
        UBUNTU_BTRFS % ("defaults,subvol=@", "defaults,subvol=@home,relatime", "subvolid=259,ro"),
        UBUNTU_BTRFS % (f"defaults,subvol=@,{NEW}", f"defaults,subvol=@home,{NEW}", f"subvolid=259,ro,{NEW}"),
    ),
    "as wanted": (ALL, DEBIAN % f"defaults,{NEW}", DEBIAN % f"defaults,{NEW}"),
    "as wanted, in another order": (
        ALL,
        f"{UUID} / ext4 nodiratime,defaults,noatime 0 1\n",
        f"{UUID} / ext4 nodiratime,defaults,noatime 0 1\n",
    ),
    "half of it is there": (ROOT, f"{UUID} / ext4 noatime 0 1\n", f"{UUID} / ext4 noatime 0 1\n"),
    "the other half is there": (ALL, f"{UUID} / ext4 noatime 0 1\n", f"{UUID} / ext4 noatime,nodiratime 0 1\n"),
    "empty": (ALL, "", ""),
    "comments only": (ALL, "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"),
    "blank lines and odd comments": (
        ROOT,
        f"\n   \n\t# a\n#/dev/a / ext4 relatime\n  {UUID} / xfs relatime 0 0\n\n",
        f"\n   \n\t# a\n#/dev/a / ext4 relatime\n  {UUID} / xfs noatime 0 0\n\n",
    ),
    "tabs": (ROOT, f"{UUID}\t/\text4\tdefaults\t0\t1\n", f"{UUID}\t/\text4\tdefaults,noatime\t0\t1\n"),
    "tabs and spaces at both ends": (
        ROOT,
        f" \t{UUID} \t / \t ext4  defaults\t \t0 1 \t\n",
        f" \t{UUID} \t / \t ext4  defaults,noatime\t \t0 1 \t\n",
    ),
    "no newline at the end": (ROOT, f"{UUID} / ext4 defaults 0 1", f"{UUID} / ext4 defaults,noatime 0 1"),
    "four fields": (ROOT, f"{UUID} / ext4 defaults\n", f"{UUID} / ext4 defaults,noatime\n"),
    "four fields, no newline": (ROOT, f"{UUID} / ext4 ro", f"{UUID} / ext4 ro,noatime"),
    "five fields": (ROOT, f"{UUID} / ext4 defaults 1\n", f"{UUID} / ext4 defaults,noatime 1\n"),
    "three fields": (ROOT, f"{UUID} / ext4\n", f"{UUID} / ext4 noatime\n"),
    "three fields, tabs, space at the end": (ROOT, f"{UUID}\t/\text4  \n", f"{UUID}\t/\text4\tnoatime  \n"),
    "a comment after six fields": (
        ROOT,
        f"{UUID} / ext4 defaults 0 1 # relatime was slow\n",
        f"{UUID} / ext4 defaults,noatime 0 1 # relatime was slow\n",
    ),
    "relatime gives way at the beginning": (
        ROOT,
        f"{UUID} / ext4 relatime,discard 0 1\n",
        f"{UUID} / ext4 discard,noatime 0 1\n",
    ),
    "strictatime gives way in the middle": (
        ROOT,
        f"{UUID} / ext4 rw,strictatime,discard 0 1\n",
        f"{UUID} / ext4 rw,discard,noatime 0 1\n",
    ),
    "relatime gives way to what is there": (
        ROOT,
        f"{UUID} / ext4 noatime,relatime 0 1\n",
        f"{UUID} / ext4 noatime 0 1\n",
    ),
    "atime and diratime give way": (
        ALL,
        f"{UUID} / ext4 atime,user_xattr,diratime 0 1\n",
        f"{UUID} / ext4 user_xattr,{NEW} 0 1\n",
    ),
    "lazytime and norelatime contradict nothing": (
        ROOT,
        f"{UUID} / ext4 lazytime,norelatime 0 1\n",
        f"{UUID} / ext4 lazytime,norelatime,noatime 0 1\n",
    ),
    "names that only look alike": (
        ROOT,
        f"{UUID} / ext4 x-relatime,comment=relatime,relatime2 0 1\n",
        f"{UUID} / ext4 x-relatime,comment=relatime,relatime2,noatime 0 1\n",
    ),
    "empty tokens stay": (ROOT, f"{UUID} / ext4 a,,b 0 1\n", f"{UUID} / ext4 a,,b,noatime 0 1\n"),
    "a comma at the end is used": (ROOT, f"{UUID} / ext4 defaults, 0 1\n", f"{UUID} / ext4 defaults,noatime 0 1\n"),
    "tokens written twice stay": (
        ROOT,
        f"{UUID} / ext4 rw,rw,noatime,noatime 0 1\n",
        f"{UUID} / ext4 rw,rw,noatime,noatime 0 1\n",
    ),
    "a value with commas in quotes": (
        ROOT,
        f'{UUID} / ext4 context="a:relatime,relatime,c",relatime 0 1\n',
        f'{UUID} / ext4 context="a:relatime,relatime,c",noatime 0 1\n',
    ),
    "an escaped path": (
        [{"path": "/my data/a\\b", "options": "noatime"}],
        "LABEL=d /my\\040data/a\\134b ext4 defaults 0 2\n",
        "LABEL=d /my\\040data/a\\134b ext4 defaults,noatime 0 2\n",
    ),
    "an escaped label and an escaped option": (
        DATA,
        "LABEL=my\\040disk /data xfs x-note=a\\040b 0 2\n",
        f"LABEL=my\\040disk /data xfs x-note=a\\040b,{NEW} 0 2\n",
    ),
    "a path in other letters": (
        [{"path": "/Bücher", "options": "noatime"}],
        "LABEL=b /B\\303\\274cher ext4 defaults 0 2\n",
        "LABEL=b /B\\303\\274cher ext4 defaults,noatime 0 2\n",
    ),
    "bytes of no encoding": (
        DATA,
        "# caf\udce9\nLABEL=\udcff /data ext4 defaults 0 2\n",
        f"# caf\udce9\nLABEL=\udcff /data ext4 defaults,{NEW} 0 2\n",
    ),
    "a slash at the end of a path": (
        DATA,
        "LABEL=d /data/ ext4 defaults 0 2\n",
        f"LABEL=d /data/ ext4 defaults,{NEW} 0 2\n",
    ),
    "every way to name a source": (
        ALL,
        (
            "LABEL=a /a ext4 x 0 2\nPARTUUID=b /b ext3 x 0 2\nPARTLABEL=c /c ext2 x 0 2\n/dev/mapper/d /d f2fs x 0 0\n"
            'UUID="e" /e xfs x 0 0\n/dev/disk/by-path/f /f btrfs x\n'
        ),
        (
            f"LABEL=a /a ext4 x,{NEW} 0 2\nPARTUUID=b /b ext3 x,{NEW} 0 2\nPARTLABEL=c /c ext2 x,{NEW} 0 2\n"
            f'/dev/mapper/d /d f2fs x,{NEW} 0 0\nUUID="e" /e xfs x,{NEW} 0 0\n/dev/disk/by-path/f /f btrfs x,{NEW}\n'
        ),
    ),
    "bind mounts are left alone by all": (
        ALL,
        "/data/home /home none bind 0 0\n/data/a /a ext4 rw,rbind 0 0\n/data/b /b auto bind,ro 0 0\n",
        "/data/home /home none bind 0 0\n/data/a /a ext4 rw,rbind 0 0\n/data/b /b auto bind,ro 0 0\n",
    ),
    "a bind mount that is named": (
        [{"path": "/home", "options": "nodev"}],
        "/data/home /home none bind 0 0\n",
        "/data/home /home none bind,nodev 0 0\n",
    ),
    "swap survives": (
        ALL,
        "/swap.img none swap sw 0 0\nUUID=9 swap swap defaults,pri=10 0 0\n/dev/zram0 none swap sw,pri=100 0 0\n",
        "/swap.img none swap sw 0 0\nUUID=9 swap swap defaults,pri=10 0 0\n/dev/zram0 none swap sw,pri=100 0 0\n",
    ),
    "the network survives": (
        ALL,
        (
            "nas:/export /nas nfs4 rw,_netdev,relatime 0 0\n//nas/a /a cifs credentials=/etc/c,uid=1000 0 0\n"
            "me@nas:/ /b fuse.sshfs noauto,x-systemd.automount 0 0\n"
        ),
        (
            "nas:/export /nas nfs4 rw,_netdev,relatime 0 0\n//nas/a /a cifs credentials=/etc/c,uid=1000 0 0\n"
            "me@nas:/ /b fuse.sshfs noauto,x-systemd.automount 0 0\n"
        ),
    ),
    "a network row that is named": (
        [{"path": "/nas", "options": "noatime"}],
        "nas:/export\t/nas\tnfs4\trw,_netdev,relatime\t0\t0\n",
        "nas:/export\t/nas\tnfs4\trw,_netdev,noatime\t0\t0\n",
    ),
    "memory and pseudo file systems survive": (
        ALL,
        "tmpfs /s tmpfs size=16G,mode=1777 0 0\nproc /proc proc hidepid=2 0 0\nnone /sys/kernel/debug debugfs 0 0\n",
        "tmpfs /s tmpfs size=16G,mode=1777 0 0\nproc /proc proc hidepid=2 0 0\nnone /sys/kernel/debug debugfs 0 0\n",
    ),
    "tmpfs that is named": (
        [{"path": "/s", "options": "size=32G,nodev"}],
        "tmpfs /s tmpfs size=16G,mode=1777 0 0\n",
        "tmpfs /s tmpfs mode=1777,size=32G,nodev 0 0\n",
    ),
    "duplicates survive, and all has them all": (
        ALL,
        "LABEL=a /data ext4 relatime 0 2\nLABEL=a /data ext4 relatime 0 2\n",
        f"LABEL=a /data ext4 {NEW} 0 2\nLABEL=a /data ext4 {NEW} 0 2\n",
    ),
    "one of two rows for a path": (
        [{"path": "/usb", "options": "noatime", "source": "LABEL=b"}],
        "LABEL=a /usb ext4 noauto 0 2\nLABEL=b /usb ext4 noauto 0 2\n",
        "LABEL=a /usb ext4 noauto 0 2\nLABEL=b /usb ext4 noauto,noatime 0 2\n",
    ),
    "one path against all": (
        [*ALL, {"path": "/mail", "options": "relatime,nodev"}],
        f"{UUID} / ext4 defaults 0 1\nLABEL=m /mail ext4 defaults 0 2\n",
        f"{UUID} / ext4 defaults,{NEW} 0 1\nLABEL=m /mail ext4 defaults,nodiratime,relatime,nodev 0 2\n",
    ),
    "the order in which they are asked for does not matter": (
        [{"path": "/mail", "options": "relatime"}, *ALL],
        "LABEL=m /mail ext4 defaults 0 2\n",
        "LABEL=m /mail ext4 defaults,nodiratime,relatime 0 2\n",
    ),
    "a value gives way to another": (
        [{"path": "/data", "options": "compress=zstd:1,commit=60"}],
        "LABEL=d /data btrfs compress-force=lzo,commit=5,ssd 0 0\n",
        "LABEL=d /data btrfs ssd,compress=zstd:1,commit=60 0 0\n",
    ),
    "a negation gives way, and its value": (
        [{"path": "/data", "options": "nodiscard,barrier,exec"}],
        "LABEL=d /data btrfs discard=async,nobarrier,noexec 0 0\n",
        "LABEL=d /data btrfs nodiscard,barrier,exec 0 0\n",
    ),
    "what may be said again is added": (
        [{"path": "/data", "options": "x-systemd.after=b.service,nofail"}],
        "LABEL=d /data ext4 x-systemd.after=a.service 0 0\n",
        "LABEL=d /data ext4 x-systemd.after=a.service,x-systemd.after=b.service,nofail 0 0\n",
    ),
    "ro gives way to rw": (
        [{"path": "/data", "options": "rw"}],
        "LABEL=d /data ext4 ro,noexec 0 0\n",
        "LABEL=d /data ext4 noexec,rw 0 0\n",
    ),
    "zfs and overlays survive": (
        ALL,
        "tank/data /data zfs defaults 0 0\noverlay /o overlay lowerdir=/a:/b,upperdir=/c,workdir=/d 0 0\n",
        "tank/data /data zfs defaults 0 0\noverlay /o overlay lowerdir=/a:/b,upperdir=/c,workdir=/d 0 0\n",
    ),
    "a Unix path with a double slash": (
        [{"path": "//data//a", "options": "noatime"}],
        "LABEL=d /data/a ext4 defaults 0 2\n",
        "LABEL=d /data/a ext4 defaults,noatime 0 2\n",
    ),
    "a carriage return in a comment stays": (
        ROOT,
        f"# from Windows\r\n{UUID} / ext4 defaults 0 1\n",
        f"# from Windows\r\n{UUID} / ext4 defaults,noatime 0 1\n",
    ),
}  # fmt: skip


def no_faults(*_command: str) -> Output:
    return Output(0)


def apply(host: Host, mounts: list[dict[str, str]], *, check_mode: bool = False) -> int:
    """Edit the file alone; gives the number of settings that were changed."""
    file = FstabFile(host.root, no_faults)
    settings = converge(lambda: make_plan(parse_mounts(mounts), file, no_faults, live=False), check_mode=check_mode)
    assert settings.failed == []
    return len(settings.differing)


def as_bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


@pytest.mark.parametrize(("mounts", "before", "after"), FILES.values(), ids=FILES)
def test_files(host: Host, mounts: list[dict[str, str]], before: str, after: str) -> None:
    file = host.write("/etc/fstab", as_bytes(before))
    changes = apply(host, mounts, check_mode=True)
    assert file.read_bytes() == as_bytes(before)
    assert apply(host, mounts) == changes
    assert file.read_bytes() == as_bytes(after)
    assert bool(changes) == (before != after)
    listing = {each.name for each in file.parent.iterdir()}
    assert listing == ({"fstab", "fstab.mlrig.save"} if changes else {"fstab"})

    untouched = file.stat()
    assert apply(host, mounts) == 0
    assert file.stat() == untouched


def test_there_are_enough_files() -> None:
    assert len({before for _mounts, before, _after in FILES.values()}) >= 40


@pytest.mark.skipif(shutil.which("findmnt") is None, reason="findmnt is not on this machine")
@pytest.mark.parametrize("text", [after for _mounts, _before, after in FILES.values()], ids=FILES)
def test_mount_can_read_them(tmp_path: Path, text: str) -> None:
    """What these tables hold is what findmnt takes for an fstab, too."""
    file = tmp_path / "fstab"
    file.write_bytes(as_bytes(text))
    done = subprocess.run(["findmnt", "--verify", "--tab-file", file], capture_output=True, check=False)
    assert b"parse error at" not in done.stderr
    rows = [line for line in done.stdout.splitlines() if line and not line.startswith(b" ")]
    assert len(rows) <= len(parse(text, "fstab")) + 1


BAD_FILES = {
    "one field": (f"{UUID}\n", "line 1 must have a source, a path and a type at least"),
    "two fields": (f"# a\n{UUID} /\n", "line 2 must have a source, a path and a type at least"),
    "a comment after four fields": (f"{UUID} / ext4 defaults # a\n", "line 1 must have numbers after its options"),
    "a comment after five fields": (f"{UUID} / ext4 defaults 0 # a\n", "line 1 must have numbers after its options"),
    "a space in the options": (f"{UUID} / ext4 defaults, discard 0 1\n", "line 1 must have numbers after its options"),
    "an unescaped space in a path": ("LABEL=a /my data ext4 defaults 0 1\n", "must have numbers after its options"),
    "carriage returns": (f"{UUID} / ext4 defaults 0 1\r\n", "line 1 has a carriage return"),
    "a negative number": (f"{UUID} / ext4 defaults 0 -1\n", "line 1 must have numbers after its options"),
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_a_file_with_a_syntax_error_is_left_alone(host: Host, text: str, message: str, *, check_mode: bool) -> None:
    host.write("/etc/fstab", text)
    before = host.texts()
    with pytest.raises(SettingsError) as refusal:
        apply(host, ALL, check_mode=check_mode)
    assert "/etc/fstab" in str(refusal.value)
    assert message in str(refusal.value)
    assert host.texts() == before


ESCAPES = {"/my data": "/my\\040data", "a\tb\\c\nd": "a\\011b\\134c\\012d", "ü": "ü", "/plain": "/plain"}


@pytest.mark.parametrize(("plain", "written"), ESCAPES.items())
def test_escapes(plain: str, written: str) -> None:
    assert escape(plain) == written
    assert unescape(written) == plain


@pytest.mark.parametrize("text", ["", "# a\n", "LABEL=a /a ext4 x 0 2\n", "LABEL=a /a ext4 x 0 2", "\n\n"])
def test_a_row_comes_and_goes(text: str) -> None:
    longer = with_row(text, ("UUID=1", "/my data", "ext4", "nofail", "0", "2"))
    assert longer.endswith("UUID=1 /my\\040data ext4 nofail 0 2\n")
    (row,) = (row for row in parse(longer, "fstab") if row.path == "/my data")
    shorter = without_rows(longer, [row])
    assert shorter == (text if text.endswith("\n") or not text else f"{text}\n")
