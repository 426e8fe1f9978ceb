# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a swap file is to be: what is there already, and whether there is room for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ._fstab import Row
from ._mounts import Mount, innermost, read_mounts
from ._settings import RequestError, SettingsError
from ._swap_request import SwapFile
from ._swap_space import read_header

_FILE_SYSTEMS = ("btrfs", "ext4", "xfs")
_MIB = 1 << 20
_KEPT_FREE = 256 * _MIB  # a system without any free space does not work, and cannot be mended from afar


def draft_of(path: Path) -> Path:
    """Where a new file is made."""
    return path.with_name(f".{path.name}.mlrig")


def describe(size: int) -> str:
    return f"{size} bytes"


def look(path: Path, wanted: SwapFile, *, declared: bool) -> str | None:
    """What is there. declared: whether a row says that it is swap, so that nothing else can be in it."""
    if not path.exists() and not path.is_symlink():
        return None
    if path.is_symlink() or not path.is_file():
        raise RequestError(f"path must be a file, and is something else; got: {wanted.path!r}")
    header, size = read_header(path), path.stat().st_size
    if header is None and not declared:
        raise RequestError(f"path must be free or a swap file, and another file is there; got: {wanted.path!r}")
    if header is None:
        return "no swap file"
    return describe(size) if header == size else f"{describe(size)}, {describe(header)} of them in use"


def find_mount(path: str, root: Path, rows: Sequence[Row]) -> Mount:
    """The mount that a path is on. Raises SettingsError where another one should be there."""
    parents = {path, *(str(each) for each in Path(path).parents)}
    mounts = read_mounts(root)
    for row in rows:
        if row.path in parents and row.path not in mounts:
            raise SettingsError(f"{path} cannot be looked at: {row.path}, where it is to be, is not mounted")
    mount = innermost(mounts, path)
    if mount is None:
        raise SettingsError(f"{path}: the kernel does not tell what is mounted there")
    return mount


def refuse_misfit(wanted: SwapFile, path: Path, mount: Mount) -> None:
    """Raises RequestError where a file of this size cannot be made, or not swapped to."""
    if mount.type not in _FILE_SYSTEMS:
        kinds = ", ".join(_FILE_SYSTEMS)
        raise RequestError(f"path must be on one of: {kinds}, and {mount.path} is {mount.type}; got: {wanted.path!r}")
    folder = next(each for each in path.parents if each.is_dir())
    space = os.statvfs(folder)
    if space.f_flag & os.ST_RDONLY:
        raise SettingsError(f"{wanted.path} cannot be written: its file system is read-only")
    free = space.f_bavail * space.f_frsize
    has = path.stat().st_blocks * 512 if path.exists() else 0
    if wanted.size > has and wanted.size - has > free - _KEPT_FREE:
        rule = f"must leave {_KEPT_FREE // _MIB} MiB of the {free // _MIB} MiB that are free on {mount.path}"
        raise RequestError(f"size {rule}, beside the {has // _MIB} MiB that the file has; got: {wanted.size} bytes")
    others = [each for each in path.parent.glob("*") if each != draft_of(path)] if path.parent.is_dir() else []
    if mount.type == "btrfs" and not path.exists() and others:
        rule = "must be in a folder of its own on btrfs, as no snapshot can be made of a subvolume that has a swap file"
        raise RequestError(f"path {rule}; got: {wanted.path!r}")
