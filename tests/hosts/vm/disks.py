"""Makes the disks of a virtual machine: `disks.py ROOTFS SHAPE KEY FOLDER`, as root or in a user namespace of its own.

ROOTFS is the archive of a root file system, SHAPE the type that its file system is to have, and KEY what may log in.
FOLDER gets the disks `system.raw` and `data.raw`, and for the first boot, before there is a boot loader, the kernel,
its initramfs and its command line.

File systems are made as files and copied to their place: neither loop devices with partitions nor a kernel that knows
the file systems is needed. The programs are the root file system's own, as the machine's may be too old.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
ESP_MIB = 256
SYSTEM_MIB = 12 * 1024
DATA_MIB = 1024

FSTAB = """\
# /etc/fstab: static file system information.
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
"""


@dataclass(frozen=True)
class Partition:
    type: str
    content: Path


@dataclass(frozen=True)
class Rootfs:
    """The unpacked root file system."""

    path: Path

    def run(self, program: str, *arguments: str | Path, stdin: str | None = None) -> None:
        """Run a program of the root file system on files of the machine."""
        usr = self.path / "usr"
        loader: list[str | Path] = [usr / "lib64/ld-linux-x86-64.so.2", "--library-path", usr / "lib/x86_64-linux-gnu"]
        command = [*loader, usr / "sbin" / program, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"disks: {program} failed: {done.stderr}")

    def write(self, name: str, content: str) -> None:
        (self.path / name).write_text(content)


def data_files() -> dict[str, bytes]:
    """What the data disk carries: the same files every time."""
    source = random.Random(0)  # noqa: S311 - it has to be predictable
    return {f"run-{number}/checkpoint.bin": source.randbytes(number * MIB) for number in (1, 2, 4)}


def unpack(archive: Path, to: Path) -> Rootfs:
    to.mkdir()
    # Device nodes come with the kernel, and not everyone may make them.
    options = ("--numeric-owner", "--exclude=./dev/*")
    subprocess.run(["tar", "--extract", *options, "--file", archive, "--directory", to], check=True)
    return Rootfs(to)


def empty_file(path: Path, mib: int) -> Path:
    with path.open("wb") as file:
        file.truncate(mib * MIB)
    return path


def copy_into(disk: Path, start: int, content: Path) -> None:
    """Copy a file to a place on a disk, but not its holes, which are most of it."""
    with content.open("rb") as source, disk.open("r+b") as target:
        end = 0
        while True:
            try:
                begin = os.lseek(source.fileno(), end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # there is no more data
                    return
                raise
            end = os.lseek(source.fileno(), begin, os.SEEK_HOLE)
            while begin < end:
                begin += os.copy_file_range(source.fileno(), target.fileno(), end - begin, begin, start + begin)


def make_disk(rootfs: Rootfs, path: Path, partitions: list[Partition]) -> None:
    """Put a partition table on a disk that has just the room for these partitions, and their content."""
    sizes = [partition.content.stat().st_size // MIB for partition in partitions]
    # One MiB before the first, and one after the last for the table's copy.
    empty_file(path, sum(sizes) + 2)
    table, start = ["label: gpt"], 1
    for partition, size in zip(partitions, sizes, strict=True):
        table.append(f"start={start}MiB, size={size}MiB, type={partition.type}")
        copy_into(path, start * MIB, partition.content)
        start += size
    rootfs.run("sfdisk", "--quiet", "--no-tell-kernel", path, stdin="\n".join(table))


def make_data_disk(rootfs: Rootfs, work: Path, disk: Path) -> None:
    for name, content in data_files().items():
        file = work / "files" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
    filesystem = empty_file(work / "data", DATA_MIB)
    rootfs.run("mkfs.ext4", "-q", "-L", "data", "-d", work / "files", filesystem)
    make_disk(rootfs, disk, [Partition("linux", filesystem)])


def set_up(rootfs: Rootfs, shape: str, key: Path) -> None:
    """Give the machine its name, and let the key in."""
    rootfs.write("etc/hostname", f"vm-{shape}\n")
    rootfs.write("etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 vm-{shape}\n")
    (rootfs.path / "boot/efi").mkdir()
    home = rootfs.path / "home/rig"
    allowed = home / ".ssh/authorized_keys"
    allowed.parent.mkdir(mode=0o700)
    shutil.copyfile(key, allowed)
    for path in (allowed.parent, allowed):
        os.chown(path, home.stat().st_uid, home.stat().st_gid)


def make_btrfs(rootfs: Rootfs, work: Path, identity: str, filesystem: Path) -> None:
    """A root file system in the subvolumes @ and @home."""
    top = work / "top"
    (top / "@home").mkdir(parents=True)
    (rootfs.path / "home/rig").rename(top / "@home/rig")
    rootfs.path.rename(top / "@")
    subvolumes = ["--subvol", "rw:@", "--subvol", "rw:@home"]
    Rootfs(top / "@").run("mkfs.btrfs", "--quiet", "--uuid", identity, "--rootdir", top, *subvolumes, filesystem)
    (top / "@").rename(rootfs.path)


def make_system_disk(rootfs: Rootfs, shape: str, work: Path, disk: Path) -> str:
    """Make the disk, and return the kernel's command line."""
    identity, volume = str(uuid.uuid4()), uuid.uuid4().hex[:8].upper()
    esp, system = empty_file(work / "esp", ESP_MIB), empty_file(work / "system", SYSTEM_MIB)
    rootfs.run("mkfs.vfat", "-F", "32", "-i", volume, esp)
    boot_row = f"UUID={volume[:4]}-{volume[4:]}  /boot/efi       vfat    umask=0077      0       1\n"
    if shape == "btrfs":
        root_row = f"UUID={identity} /               btrfs   defaults,subvol=@ 0       0\n"
        home_row = f"UUID={identity} /home           btrfs   defaults,subvol=@home 0       0\n"
        rootfs.write("etc/fstab", FSTAB + root_row + boot_row + home_row)
        make_btrfs(rootfs, work, identity, system)
    else:
        root_row = f"UUID={identity} /               ext4    errors=remount-ro 0       1\n"
        rootfs.write("etc/fstab", FSTAB + root_row + boot_row)
        rootfs.run("mkfs.ext4", "-q", "-U", identity, "-d", rootfs.path, system)
    make_disk(rootfs, disk, [Partition("uefi", esp), Partition("linux", system)])
    return f"root=UUID={identity}{' rootflags=subvol=@' if shape == 'btrfs' else ''} console=ttyS0"


def main() -> None:
    archive, shape, key, folder = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = Path(temporary)
        rootfs = unpack(archive, work / "root")
        set_up(rootfs, shape, key)
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile(rootfs.path / name, folder / name)
        make_data_disk(rootfs, work, folder / "data.raw")
        (folder / "cmdline").write_text(make_system_disk(rootfs, shape, work, folder / "system.raw"))


if __name__ == "__main__":
    main()
