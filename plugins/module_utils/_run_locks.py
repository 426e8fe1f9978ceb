# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run at a time may have, a GPU or an L3 domain: a lock on a file of /sys that is of it alone.

Everyone may open these files, root and users alike, none must be made, and nothing is left: the kernel drops a lock
with the last process that has inherited it. Who took it, /proc/locks tells.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ._run_processes import PROC, RunProcess, describe, read_ids

# What an ended run leaves is ended within this time, see _run_guard.
_PATIENCE = 20.0
_PAUSE = 0.05


class Holds:
    """What this run holds. dry_run: nothing is held, only what others hold is seen.

    within: the ids of the runs that this one is a part of; what they hold, it has.
    """

    def __init__(self, *, dry_run: bool = False, within: Sequence[str] = ()) -> None:
        self._dry_run = dry_run
        self._within = frozenset(within)
        self._descriptors: list[int] = []

    def take(self, file: Path) -> bool:
        """Whether this run has it now; commands inherit that. An ended run's is waited for, until its last has gone.

        Raises OSError where there is no such file.
        """
        deadline = time.monotonic() + _PATIENCE
        while not self._try(file):
            if self._dry_run or find_holder(file) is not None or time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True

    def release(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _try(self, file: Path) -> bool:
        if self._is_of_outer(file):
            return True
        if self._dry_run:
            return not is_held(file)
        descriptor = os.open(file, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        fcntl.fcntl(descriptor, fcntl.F_SETFD, 0)  # not closed by exec
        self._descriptors.append(descriptor)
        return True

    def _is_of_outer(self, file: Path) -> bool:
        for pid in _takers(file) if self._within else ():
            with suppress(OSError):  # it has ended, or is another user's
                if not self._within.isdisjoint(read_ids(pid)):
                    return True
        return False


def is_held(file: Path) -> bool:
    return bool(_takers(file))


def find_holder(file: Path) -> RunProcess | None:
    """None where nobody holds it, or where who took it has ended, and only what it left still holds it."""
    return next((found for pid in _takers(file) if (found := describe(pid)) is not None), None)


def _takers(file: Path) -> list[int]:
    """The processes that took its locks; 0 for one that has ended or is of another container."""
    status = file.stat()
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    # 2: FLOCK  ADVISORY  WRITE 4333 00:16:6826 0 EOF
    lines = [line.split() for line in (PROC / "locks").read_text().splitlines()]
    return [int(words[4]) for words in lines if words[1] == "FLOCK" and words[5] == wanted]
