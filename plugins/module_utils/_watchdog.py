# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that may never return: a driver that hangs keeps its caller in uninterruptible sleep, which no signal ends.

So the work is done by a child process, which the caller can leave behind.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn, TypeVar

from ._settings import RequestError, SettingsError

Result = TypeVar("Result")
Doing = Callable[[str], None]

PATIENCE = 25.0


def call_guarded(work: Callable[[Doing], Result], *, patience: float = PATIENCE) -> Result:
    """What work returns, which must be picklable, from a child process.

    work is handed a function, which it calls with the name of each step that may hang ("reading GPU 0").
    Raises SettingsError that names the step which made no progress for so many seconds, or in which the child died.
    What work raises is raised here as RequestError or SettingsError if it was one of these or an OSError, else as
    RuntimeError.
    """
    ours, childs = Pipe(duplex=False)
    sys.stdout.flush()  # or the child would have it to say too
    pid = os.fork()
    if pid == 0:
        ours.close()
        _work_and_exit(work, childs)
    childs.close()
    step = "starting"
    try:
        while ours.poll(patience):
            kind, value = ours.recv()
            if kind == "result":
                return value  # type: ignore[no-any-return] # what work returned, through a pipe that knows no types
            if kind == "request":
                raise RequestError(value)
            if kind == "error":
                raise SettingsError(value)
            if kind == "defect":
                raise RuntimeError(value)
            step = value
    except EOFError:
        raise SettingsError(f"the process that asked the NVIDIA driver died while {step}") from None
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        _reap(pid)
    raise SettingsError(f"the NVIDIA driver did not answer within {patience:g} s, while {step}")


def _reap(pid: int) -> None:
    """A killed child ends at once; one in uninterruptible sleep cannot be waited for, and is left to init."""
    for _again in range(100):
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return
        time.sleep(0.01)


def _work_and_exit(work: Callable[[Doing], Any], channel: Connection) -> NoReturn:
    try:
        # A child that is left behind must not hold the SSH session, which waits for the ends of these to close.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        channel.send(_answer(work, channel))
    except BrokenPipeError:
        pass  # nobody is left to be told
    except BaseException:  # noqa: BLE001 - the caller gets the whole of it
        with suppress(OSError):
            channel.send(("defect", traceback.format_exc()))
    finally:
        os._exit(0)


def _answer(work: Callable[[Doing], Any], channel: Connection) -> tuple[str, Any]:
    try:
        return "result", work(lambda step: channel.send(("doing", step)))
    except RequestError as error:
        return "request", str(error)
    except (SettingsError, OSError) as error:
        return "error", str(error)
