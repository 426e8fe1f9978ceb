# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a folder is a subvolume of btrfs, of which snapshots can be taken, and what stands against it."""

from __future__ import annotations

import re
from pathlib import Path

from ._container import find_container
from ._files import read_if_there

_ROOT_INODE = 256  # that of every subvolume's topmost folder, and of no other folder
_OCTAL = re.compile(r"\\([0-7]{3})")


def find_obstacle(root: Path, subvolume: str) -> str | None:
    """Why no snapshot of this folder can be taken on this host, and what it would take."""
    container = find_container(root)
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
    return None


def find_file_system(root: Path, path: str) -> str | None:
    """The type of the file system that holds a path: of the innermost mount, and of several in one place the last."""
    innermost, found = "", None
    for line in (read_if_there(root / "proc/self/mountinfo") or "").splitlines():
        fields, _dash, source = line.partition(" - ")
        place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields.split()[4])
        if f"{path}/".startswith(f"{place.rstrip('/')}/") and len(place) >= len(innermost):
            innermost, found = place, source.split()[0]
    return found


def is_subvolume(folder: Path) -> bool:
    """Of a folder on btrfs."""
    return folder.is_dir() and not folder.is_symlink() and folder.stat().st_ino == _ROOT_INODE
