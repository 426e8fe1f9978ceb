# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A swap file as a user asks for it, checked before anything is read or changed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._mount_request import parse_place
from ._settings import InputError

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([MGT])(?:iB|B)?")
_UNITS = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_HIGHEST_PRIORITY = 32767


@dataclass(frozen=True)
class SwapFile:
    """size: in bytes; 0 where there should be none. priority: None leaves it to the kernel."""

    path: str
    size: int
    priority: int | None = None


def parse_swap_file(path: object, size: object, priority: int | None) -> SwapFile:
    check_priority(priority, "priority")
    return SwapFile(parse_swap_path(path, "path"), parse_size(size, "size"), priority)


def check_priority(priority: int | None, where: str) -> None:
    if priority is not None and not 0 <= priority <= _HIGHEST_PRIORITY:
        raise InputError(where, f"must be a number from 0 to {_HIGHEST_PRIORITY}", priority)


def parse_swap_path(path: object, where: str) -> str:
    place = parse_place(path, where)
    if place == "/" or place.startswith(("/dev/", "/proc/", "/sys/", "/run/", "/boot/")):
        raise InputError(where, "must be a file on a disk of the system", path)
    return place


def parse_size(size: object, where: str) -> int:
    """Bytes, of whole pages. 0 means no swap file."""
    if str(size) == "0" and not isinstance(size, bool):
        return 0
    found = _SIZE.fullmatch(str(size))
    parsed = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if parsed < _UNITS["M"]:
        raise InputError(where, "must be 0, or a size with its unit, such as 512M or 16G", size)
    return parsed - parsed % 4096
