# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a run: those in its scope and, as there may be none, those that have its id in their environment."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PREFIX = "mlrig-run-"
# In the environment of a run: its id, and before it those of the runs that it is a part of.
ID = "MLRIG_RUN_ID"
# A process that has ended, and whose parent has not asked yet how.
_ENDED = ("Z", "X")


@dataclass(frozen=True)
class RunProcess:
    """unit: the scope of a run that it is in."""

    pid: int
    user: str
    name: str
    unit: str | None

    def __str__(self) -> str:
        return f"{self.unit or self.name} (process {self.pid}, user {self.user})"


def describe(pid: int) -> RunProcess | None:
    """None where there is none of this number, or it has ended."""
    folder = PROC / str(pid)
    try:
        if not _is_running(folder):
            return None
        unit = _unit(folder)
        name = _name(folder)
        user = name_user(folder.stat().st_uid)
    except OSError:
        return None
    return RunProcess(pid, user, name, unit)


def name_user(number: int) -> str:
    """The number itself for one that has no name."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def find_processes(unit: str | None, run_id: str, name: str | None = None) -> Iterator[int]:
    """unit: their scope. run_id: of the run that they are of, or a part of. name: only those of this name."""
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if name not in (None, _name(folder)) or not _is_running(folder):
                continue
            if (unit is not None and _unit(folder) == unit) or run_id in read_ids(int(folder.name)):
                yield int(folder.name)


def _is_running(folder: Path) -> bool:
    # 1234 (any name) S ...
    return (folder / "stat").read_text(errors="replace").rpartition(") ")[2][:1] not in _ENDED


def _name(folder: Path) -> str:
    return (folder / "comm").read_text(errors="replace").strip()


def _unit(folder: Path) -> str | None:
    """A line for each hierarchy of cgroups, of which one or two are systemd's: `0::/system.slice/some.scope`."""
    leaves = [line.rpartition("/")[2] for line in (folder / "cgroup").read_text().splitlines()]
    return next((leaf for leaf in leaves if leaf.startswith(PREFIX)), None)


def read_ids(pid: int) -> list[str]:
    """Of the run that a process is of, and of those that this is a part of. Raises OSError."""
    lines = (PROC / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
    return next((line.removeprefix(f"{ID}=").split("/") for line in lines if line.startswith(f"{ID}=")), [])
