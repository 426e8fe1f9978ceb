"""Makes the images of the virtual machine, each once until its recipe changes: `image("btrfs")`.

A root file system with all packages is made by mmdebstrap and put on disks, natively, which is ten times faster than
under emulation. Only the boot loader is installed by the system itself, as the disks are no devices before it runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from ..images import HERE as HOSTS
from ..images import recipe
from . import qemu
from .machine import KEY, Machine
from .qemu import CACHE, Kernel, alone, say

SHAPES = ("btrfs", "ext4")
ROOTFS_RECIPE = ("debian-rootfs", "prefetch.yml", "vm/customize", "vm/packages.yml", "vm/root")
# A machine that has no package lists would have to load them first.
ROOTFS_OPTION = "--skip=cleanup/apt/lists"
# The firmware finds a boot loader at this place without being told.
INSTALL_BOOT_LOADER = (
    "sudo grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram && sudo update-grub"
)
# Not root's own rights, but what a root file system needs: all user ids, and root's among them.
AS_ROOT = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "--"]


def version(*content: bytes) -> str:
    return hashlib.sha256(b"".join(content)).hexdigest()[:12]


def make_key() -> None:
    """The key of this checkout, which the containers use, too."""
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mlrig test hosts", "-f", KEY], check=True)


def packages() -> list[str]:
    own = yaml.safe_load((HOSTS / "vm/packages.yml").read_text())
    shared = yaml.safe_load((HOSTS / "prefetch.yml").read_text())
    return [*(name for name in shared["all"] if name not in own["left_out"]), *own["system"], *own["roles"]]


def rootfs_version() -> str:
    return version(recipe(ROOTFS_RECIPE), ROOTFS_OPTION.encode())


def image_version() -> str:
    own = (recipe(["vm/disks.py"]), INSTALL_BOOT_LOADER.encode(), Path(f"{KEY}.pub").read_bytes())
    return version(rootfs_version().encode(), *own)


def rootfs() -> Path:
    """The archive of the root file system, which all shapes share."""
    archive = CACHE / f"rootfs-{rootfs_version()}.tar"
    if not archive.exists():
        say(f"making a Debian 13 with {len(packages())} packages and what they need, with mmdebstrap")
        for old in CACHE.glob("rootfs-*.tar*"):
            old.unlink()
        options = (f"--include={','.join(packages())}", f"--customize-hook={HOSTS / 'vm/customize'}", ROOTFS_OPTION)
        unfinished = archive.with_suffix(".tar.unfinished")
        with unfinished.open("wb") as output, (CACHE / "rootfs.log").open("wb") as log:
            command: list[str | Path] = [HOSTS / "debian-rootfs", CACHE / "debian-rootfs", *options]
            done = subprocess.run(command, stdout=output, stderr=log, check=False)
        if done.returncode:
            raise SystemExit(f"{(CACHE / 'rootfs.log').read_text()[-4000:]}\nvm: mmdebstrap failed")
        unfinished.rename(archive)
    return archive


def in_use() -> set[Path]:
    return {link.resolve() for link in CACHE.glob("machines/*/image")}


def forget_older(shape: str, image: Path) -> None:
    for old in set(CACHE.glob(f"images/{shape}-*")) - {image} - in_use():
        shutil.rmtree(old)


def install_boot_loader(folder: Path) -> None:
    """Boot the kernel without a boot loader, and have the system install one."""
    machine = Machine(folder / "machine")
    machine.create(folder)
    try:
        machine.start(Kernel(folder, (folder / "cmdline").read_text()))
        machine.ssh(INSTALL_BOOT_LOADER)
        machine.shut_down()
    finally:
        machine.cut_power()
    subprocess.run(["qemu-img", "commit", "-q", machine.folder / "system.qcow2"], check=True)
    machine.remove()


def make(shape: str, archive: Path, folder: Path) -> None:
    started = time.monotonic()
    say(f"putting it on the disks of the shape {shape}")
    unfinished = folder.with_suffix(".unfinished")
    Machine(unfinished / "machine").remove()
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    arguments = (archive, shape, f"{KEY}.pub", unfinished)
    subprocess.run([*AS_ROOT, sys.executable, HOSTS / "vm/disks.py", *arguments], check=True)
    say(f"booting it once, by {qemu.accelerator(unfinished)}, to install GRUB")
    install_boot_loader(unfinished)
    unfinished.rename(folder)
    say(f"the image {folder.name} is ready after {time.monotonic() - started:.0f} s")


def image(shape: str) -> Path:
    """The folder of an image; it is made if it is not there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with alone("lock"):
        qemu.require()
        make_key()
        folder = CACHE / "images" / f"{shape}-{image_version()}"
        archive = None if folder.exists() else rootfs()
    # One process installs GRUB, under emulation, while another does on another shape.
    with alone(f"{shape}.lock"):
        if archive and not folder.exists():
            make(shape, archive, folder)
            forget_older(shape, folder)
    return folder
