# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is using this host's GPUs now: graphical sessions, and processes that have a GPU open. Asked without a driver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ._files import read_if_there

_GRAPHICAL = ("x11", "wayland", "mir")
_OWN = ("nvidia-persiste", "nvidia-powerd", "dcgm-exporter", "nv-hostengine")  # the kernel cuts names at 15


@dataclass(frozen=True)
class Process:
    """A process that has a GPU open; name as the kernel has it."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


def graphical_sessions(root: Path) -> tuple[str, ...]:
    """The users who are logged in graphically, as logind's files say."""
    files = sorted((root / "run/systemd/sessions").glob("*"))
    # beside each there is a pipe, which must not be read
    sessions = [_assignments(read_if_there(file) or "") for file in files if file.is_file()]
    users = {
        each.get("USER", each.get("UID", "?"))
        for each in sessions
        if each.get("TYPE") in _GRAPHICAL
        and each.get("CLASS", "user").startswith("user")
        and each.get("STATE") != "closing"
    }
    return tuple(sorted(users))


def gpu_processes(root: Path) -> tuple[Process, ...]:
    """All but the driver's own services, in the order of their numbers."""
    return tuple(sorted(_gpu_processes(root), key=lambda each: each.pid))


def _gpu_processes(root: Path) -> Iterator[Process]:
    for folder in (root / "proc").glob("[0-9]*"):
        if _has_gpu(folder / "fd"):
            name = _name(folder)
            if name not in _OWN:
                yield Process(int(folder.name), name)


def _has_gpu(descriptors: Path) -> bool:
    try:
        return any(_target(each).startswith("/dev/nvidia") for each in os.scandir(descriptors))
    except OSError:  # it has ended, or is another user's
        return False


def _target(entry: os.DirEntry[str]) -> str:
    try:
        return os.readlink(entry.path)  # noqa: PTH115 - the entry of a large folder
    except OSError:
        return ""


def _name(folder: Path) -> str:
    try:
        return (folder / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _sign, value in pairs}
