# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a folder is a subvolume of btrfs, of which snapshots can be taken, and what stands against it."""

from __future__ import annotations

from pathlib import Path

from ._containers import container_kind
from ._mounts import innermost, read_mounts
from ._swap_space import read_active

_ROOT_INODE = 256  # that of every subvolume's topmost folder, and of no other folder


def find_obstacle(root: Path, subvolume: str) -> str | None:
    """Why no snapshot of this folder can be taken on this host, and what it would take."""
    container = container_kind(root)
    if container is not None:
        return f"this is a container ({container}): snapshots of it are taken on its machine"
    file_system = find_file_system(root, subvolume)
    if file_system != "btrfs":
        return (
            f"{subvolume} is on {file_system or 'an unknown file system'}, and snapshots take btrfs, which is chosen "
            "when the system is installed"
        )
    if not is_subvolume(root / subvolume.lstrip("/")):
        return f"{subvolume} is a folder within a subvolume of btrfs, and snapshots are taken of whole subvolumes"
    swap_file = _find_swap_file(root, subvolume)
    if swap_file is not None:
        return (
            f"{swap_file} is in use, and btrfs takes no snapshot of a subvolume with an active swap file: swap it off, "
            "and make one in a subvolume of its own"
        )
    return None


def find_file_system(root: Path, path: str) -> str | None:
    """The type of the file system that holds a path: of the innermost mount, and of several in one place the last."""
    mount = innermost(read_mounts(root), path)
    return mount.type if mount else None


def _find_swap_file(root: Path, subvolume: str) -> str | None:
    """An active one in this very subvolume, and not in one below it."""
    device = (root / subvolume.lstrip("/")).stat().st_dev  # each subvolume has its own
    for name in read_active(root):
        path = root / name.lstrip("/")
        if path.is_file() and path.stat().st_dev == device:
            return name
    return None


def is_subvolume(folder: Path) -> bool:
    """Of a folder on btrfs."""
    return folder.is_dir() and not folder.is_symlink() and folder.stat().st_ino == _ROOT_INODE
