# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of a training run: found before anything starts, and through torchrun for several processes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._run_environment import LOADERS, SEAT
from ._settings import InputError, SettingsError

# As env, nohup and timeout say it: what is wrong is not the command's own.
NOT_STARTED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127

_PYTHON = re.compile(r"python(\d+(\.\d+)?t?)?")
# Python's options that take a value, or end them with what is run, after others that may stand together with them.
_OPTION = re.compile(r"-[bBdEiIOPqRsSuvx]*([mcWX])(.*)", re.DOTALL)
# What starts the processes itself.
_LAUNCHERS = ("torch.distributed.", "accelerate.", "deepspeed.", "torchrun.")
# torchrun has no say about CPUs before 2.9, and asks NUMA nodes then, of which a desktop board has one.
_TAKE_SEAT = (
    f'eval "cpus=\\${SEAT}_$LOCAL_RANK {LOADERS}=\\${LOADERS}_$LOCAL_RANK"; '
    f'if [ -n "${LOADERS}" ]; then export {LOADERS}; fi; exec taskset --cpu-list "$cpus" "$@"'
)


class RunError(SettingsError):
    """Why nothing was started. status: that of mlrig."""

    def __init__(self, message: str, status: int = NOT_STARTED) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Machines:
    """torchrun's own arguments, of several machines."""

    nnodes: str | None = None
    node_rank: str | None = None
    endpoint: str | None = None

    def check(self) -> None:
        """Raises InputError."""
        if self.nnodes is None and (self.node_rank or self.endpoint):
            raise InputError("--node-rank, --rdzv-endpoint", "must have --nnodes with them", None)
        if self.nnodes is not None and self.endpoint is None:
            raise InputError(
                "--nnodes", "must have --rdzv-endpoint HOST:PORT with it, of the first machine", self.nnodes
            )


def complete(command: Sequence[str], path: str) -> tuple[str, ...]:
    """With the interpreter that `train.py` and `-m package` leave out, and with the file that is run.

    Raises RunError for what is not there, or is no program.
    """
    if not command:
        raise RunError("there is no COMMAND to run: mlrig run [options] -- COMMAND")
    first = command[0]
    found = shutil.which(first, path=path)
    is_script = first.endswith(".py") and Path(first).is_file() and (found is None or not os.access(first, os.X_OK))
    if first == "-m" or is_script:
        python = shutil.which("python", path=path) or shutil.which("python3", path=path)
        if python is None:
            raise RunError(f"{first} takes python, which is not on PATH", NOT_FOUND)
        return (python, *command)
    if found is not None:
        return (found, *command[1:])
    if os.path.lexists(first) and "/" in first:
        raise RunError(f"{first} is not executable", NOT_EXECUTABLE)
    raise RunError(f"{first}: no such command", NOT_FOUND)


def is_python_program(command: Sequence[str]) -> bool:
    """Whether it is a script or a module of Python, which torchrun can start, and does not start processes itself."""
    if not _PYTHON.fullmatch(Path(command[0]).name):
        return command[0].endswith(".py")
    words = iter(command[1:])
    for word in words:
        option = _OPTION.fullmatch(word)
        if option is not None and option[1] == "m":
            return not f"{option[2] or next(words, '')}.".startswith((".", *_LAUNCHERS))
        if word == "--check-hash-based-pycs" or (option is not None and option[1] in "WX" and not option[2]):
            next(words, None)
        elif option is not None and option[1] == "c":
            return False
        elif not word.startswith("-"):
            return not f"{Path(word).name}.".startswith(_LAUNCHERS)
    return False


def through_torchrun(
    command: Sequence[str], processes: int, machines: Machines, path: str, *, seated: bool
) -> tuple[str, ...]:
    """A process for each GPU. seated: each has CPUs of its own, see `add_seats`. Raises RunError without torchrun."""
    beside = Path(command[0]).with_name("torchrun")
    torchrun = str(beside) if os.access(beside, os.X_OK) else shutil.which("torchrun", path=path)
    if torchrun is None:
        raise RunError(
            f"several processes take torchrun, which is neither {beside} nor on PATH: is PyTorch installed there? "
            "--no-torchrun starts a single process"
        )
    seat = ("/bin/sh", "-c", _TAKE_SEAT, "mlrig") if seated else ()
    # Not torchrun's own way to start Python: the command's interpreter and its options are as they were given.
    return (torchrun, *_rendezvous(machines), f"--nproc-per-node={processes}", "--no-python", *seat, *command)


def _rendezvous(machines: Machines) -> tuple[str, ...]:
    if machines.nnodes is None:
        return ("--standalone",)
    where = (f"--nnodes={machines.nnodes}", f"--rdzv-endpoint={machines.endpoint}")
    if machines.node_rank is not None:
        return (*where, f"--node-rank={machines.node_rank}")
    # Without ranks the machines agree on them, which torchrun's default (static) does not do.
    return (*where, "--rdzv-backend=c10d", "--rdzv-id=mlrig")
