# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of a training run: a process beside it, which sees to what the run itself cannot do.

mlrig becomes the command, so that signals, the terminal and the exit status are the command's own, and nothing of mlrig
has to outlive it. The guard keeps the machine awake, moves PyTorch's data loaders to their CPUs, and when the command
has ended, in whatever way, ends what that has left: workers without their parent keep a GPU's memory.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ._run_inhibitor import Inhibitor
from ._run_processes import PROC, find_processes

# PyTorch's name of the processes of a DataLoader, since 2.6 (_worker_loop in torch/utils/data/_utils/worker.py).
_LOADER = "pt_data_worker"
_LOADERS_PAUSE = 3.0
# What ends by itself, such as the reader of a pipe, has time to; then a signal, and its last means.
_STEPS = ((None, 2.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 2.0))
_PAUSE = 0.05


@dataclass(frozen=True)
class Guard:
    """unit, run_id: see `find_processes`. loaders: the CPUs of data loaders by those of the process that starts them.

    inhibitors: commands that keep the machine awake for as long as they can read; the first that can do it is taken.
    """

    unit: str | None
    run_id: str
    loaders: Mapping[frozenset[int], frozenset[int]] = field(default_factory=dict)
    inhibitors: Sequence[Sequence[str]] = ()

    def start(self) -> str | None:
        """Watches this process from now on, whatever it becomes. Returns what it could not do."""
        watched = os.pidfd_open(os.getpid())
        ours, guards = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            self._detach_and_exit(watched, guards)
        os.close(guards)
        os.close(watched)
        os.waitpid(child, 0)
        with os.fdopen(ours) as answer:
            return answer.read() or None

    def _detach_and_exit(self, watched: int, answer: int) -> None:
        """No child of the command, which may wait for all that it has; and of no terminal."""
        try:
            os.setsid()
            if os.fork() == 0:
                for name in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                    signal.signal(name, signal.SIG_IGN)  # systemd stops a scope by signals to all, and waits
                nowhere = os.open(os.devnull, os.O_RDWR)
                for descriptor in (0, 1, 2):
                    os.dup2(nowhere, descriptor)
                os.chdir("/")
                self._watch(watched, answer)
        except OSError as error:
            with suppress(OSError):
                os.write(answer, f"nothing watches over this run: {error}".encode())
        finally:
            os._exit(0)

    def _watch(self, watched: int, answer: int) -> None:
        inhibitor = Inhibitor(self.inhibitors)
        if inhibitor.problem is not None:
            os.write(answer, f"the machine may go to sleep meanwhile: {inhibitor.problem}".encode())
        os.close(answer)
        ended = select.poll()
        ended.register(watched, select.POLLIN)
        while not ended.poll(_LOADERS_PAUSE * 1000 if self.loaders else None):
            self._move_loaders()
        inhibitor.end()
        for kind, patience in _STEPS:
            if self._end(kind, patience):
                break

    def _move_loaders(self) -> None:
        for pid in find_processes(self.unit, self.run_id, _LOADER):
            with suppress(OSError):
                for thread in (int(folder.name) for folder in (PROC / str(pid) / "task").iterdir()):
                    cpus = self.loaders.get(frozenset(os.sched_getaffinity(thread)))
                    if cpus is not None:  # those that it has from its parent; a program may have set others
                        os.sched_setaffinity(thread, cpus)

    def _end(self, kind: signal.Signals | None, patience: float) -> bool:
        """Whether nothing of the run is left."""
        deadline = time.monotonic() + patience
        told: set[int] = set()
        while rest := set(find_processes(self.unit, self.run_id)) - {os.getpid()}:
            if time.monotonic() > deadline:
                return False
            for pid in rest - told if kind is not None else ():
                with suppress(OSError):
                    os.kill(pid, kind or 0)
            told |= rest
            time.sleep(_PAUSE)
        return True
