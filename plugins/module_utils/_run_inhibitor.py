# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping a machine from sleep and idle actions while a process of ours lives."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Sequence
from contextlib import suppress

_PATIENCE = 5.0
# Says that it runs, and then reads until our end is closed, as it is when we are killed.
_UNTIL_CLOSED = ("sh", "-c", "echo awake; exec cat >/dev/null")


def inhibiting(why: str, *before: str) -> tuple[str, ...]:
    """The command, for an `Inhibitor`. before: what gives it the right, such as sudo."""
    options = ("--what=sleep:idle", "--who=mlrig", f"--why={why}", "--mode=block")
    return (*before, "systemd-inhibit", *options, *_UNTIL_CLOSED)


class Inhibitor:
    """Holds as soon as it is made, by the first of several commands that can. problem: why none can."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self.problem: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        for command in commands:
            if self._start(command):
                break

    def _start(self, command: Sequence[str]) -> bool:
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            self.problem = f"{command[0]}: {error.strerror}"
            return False
        said = process.stdout
        if said is not None and select.select([said], [], [], _PATIENCE)[0] and said.readline():
            self._process, self.problem = process, None
            return True
        process.kill()
        complaint = process.communicate()[1].decode(errors="replace").strip()
        self.problem = self.problem or complaint.rpartition("\n")[2] or f"{command[0]} does not answer"
        return False

    def end(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
