# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of mounts as a user writes it, checked before anything is read or changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._fstab import Row
from ._mount_tokens import contradicts, name, split
from ._settings import InputError

ALL = "all"
# File systems of disks that training reads and writes; not the boot loader's vfat, the network's, or the memory's.
_DISK_TYPES = ("btrfs", "ext2", "ext3", "ext4", "f2fs", "xfs")
_BINDS = ("bind", "rbind")
_NOT_OF_A_ROW = {
    **dict.fromkeys(("remount", "move", *_BINDS), "says what to mount, not how"),
    **dict.fromkeys(("subvol", "subvolid"), "says what to mount, not how"),
}


@dataclass(frozen=True)
class MountWish:
    """Options that one mount should have, or ALL. where: the place in the user's list, for messages.

    source: which row, where several have the path; None for the only one. required: whether a path without is an error.
    """

    where: str
    path: str
    options: tuple[str, ...]
    source: str | None = None
    required: bool = True

    def fits(self, row: Row) -> bool:
        if self.path == ALL:
            return row.type in _DISK_TYPES and not any(token in _BINDS for token in split(row.options))
        return row.path == self.path and self.source in (None, row.source)


def parse_mounts(entries: Sequence[Mapping[str, Any]], where: str = "mounts") -> list[MountWish]:
    """Check and normalise a list of `{path, options, source, required}`. Raises InputError for the first wrong one."""
    wishes: list[MountWish] = []
    for position, entry in enumerate(entries):
        here = f"{where}[{position}]"
        source = entry.get("source")
        path, options = _parse_path(entry["path"], here), parse_options(entry["options"], here)
        wish = MountWish(here, path, options, source, entry.get("required") is not False)
        if wish.path == ALL and source is not None:
            raise InputError(f"{here}.source", f"must not be given together with path: {ALL}", source)
        for other in wishes:
            if (other.path, other.source) == (wish.path, wish.source):
                raise InputError(f"{here}.path", f"must not repeat {other.where}", entry["path"])
        wishes.append(wish)
    return wishes


def _parse_path(path: object, where: str) -> str:
    return ALL if path == ALL else parse_place(path, f"{where}.path", f"or {ALL}")


def parse_place(path: object, where: str, alternative: str = "") -> str:
    """A path on the host, in its one spelling."""
    text = str(path)
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable():
        raise InputError(where, f"must be an absolute path {alternative}".strip(), path)
    return os.path.normpath(text).replace("//", "/")


def parse_options(options: object, where: str) -> tuple[str, ...]:
    """The tokens of `a,b=c`. Raises InputError for what is none, or cannot be asked for."""
    here = f"{where}.options"
    tokens = split(str(options))
    for token in tokens:
        if not token or not token.isprintable() or any(letter in token for letter in " \t\\#") or token.count('"') % 2:
            raise InputError(here, "must be mount options separated by commas, without spaces", options)
        if name(token) in _NOT_OF_A_ROW:
            raise InputError(here, f"must not have {name(token)}, which {_NOT_OF_A_ROW[name(token)]}", options)
    for position, token in enumerate(tokens):
        for other in tokens[:position]:
            if other != token and contradicts(token, other):
                raise InputError(here, f"must not have {other} together with {token}", options)
    return tuple(dict.fromkeys(tokens))
