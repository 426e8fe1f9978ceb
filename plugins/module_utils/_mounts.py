# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is mounted now, as the kernel tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ._files import read_if_there
from ._fstab import unescape
from ._mount_tokens import split


@dataclass(frozen=True)
class Mount:
    """One mount. device: the kernel's number of the file system, which all mounts of one share.

    flags: the options of this mount. file_system_options: those that all mounts of the file system share.
    """

    device: str
    path: str
    type: str
    source: str
    flags: tuple[str, ...]
    file_system_options: tuple[str, ...]


def read_mounts(root: Path) -> Mapping[str, Mount]:
    """By path; where one mount covers another, the one that is seen."""
    lines = (read_if_there(root / "proc/self/mountinfo") or "").splitlines()
    mounts = (_parse(line) for line in lines)
    return {mount.path: mount for mount in mounts}


def innermost(mounts: Mapping[str, Mount], path: str) -> Mount | None:
    """The mount that a path is on."""
    parents = {path, *(str(each) for each in Path(path).parents)}
    fitting = [mount for name, mount in mounts.items() if name in parents]
    return max(fitting, key=lambda mount: len(mount.path)) if fitting else None


def _parse(line: str) -> Mount:
    mine, _dash, shared = line.partition(" - ")
    _number, _parent, device, _root, path, flags, *_propagation = mine.split(" ")
    kind, source, options = shared.split(" ", 2)
    return Mount(device, unescape(path), kind, unescape(source), tuple(split(flags)), tuple(split(options)))
