# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap as it is: what a file's header says, which files the kernel swaps to, and whether memory could do without."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ._files import read_if_there
from ._fstab import unescape

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAGIC = b"SWAPSPACE2"
_INFO = 1024  # where the header's numbers begin: its version, and the number of the last page
_AVAILABLE = re.compile(r"^MemAvailable: +([0-9]+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class ActiveSwap:
    """What the kernel swaps to; sizes in KiB."""

    size: int
    used: int
    priority: int


def read_header(path: Path) -> int | None:
    """The size in bytes that mkswap wrote into a file; None where it wrote nothing."""
    with path.open("rb") as file:
        page = file.read(_PAGE)
    if len(page) < _PAGE or not page.endswith(_MAGIC):
        return None
    version, last = struct.unpack_from("=II", page, _INFO)
    return (int(last) + 1) * _PAGE if version == 1 else None


def read_active(root: Path) -> Mapping[str, ActiveSwap]:
    """By path."""
    lines = (read_if_there(root / "proc/swaps") or "").splitlines()[1:]
    rows = (line.split() for line in lines)
    return {unescape(row[0]): ActiveSwap(*(int(each) for each in row[2:5])) for row in rows}


def missing_memory(root: Path, path: str) -> int:
    """How many KiB are in a swap for which there is no other place; below 0 where there is enough."""
    active = read_active(root)
    found = _AVAILABLE.search(read_if_there(root / "proc/meminfo") or "")
    elsewhere = sum(each.size - each.used for name, each in active.items() if name != path)
    return active[path].used - elsewhere - (int(found[1]) if found else 0)
