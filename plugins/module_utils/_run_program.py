# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mlrig run`: what should happen before every training run, in one word. Then mlrig becomes the command."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shlex
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from ._apt import run as run_command
from ._run_command import NOT_EXECUTABLE, NOT_FOUND, RunError
from ._run_guard import Guard
from ._run_inhibitor import inhibiting
from ._run_locks import Holds
from ._run_plan import RunPlan, make_plan
from ._run_processes import ID, describe
from ._run_scope import ends_with_session, enter_scope, has_systemd, unit_of, write_journal
from ._run_settings import AS_ROOT, check_settings, snapshot
from ._settings import RequestError, SettingsError

_START = 128  # bytes of a file, in which a program for a machine has a zero


def run(options: argparse.Namespace) -> int:
    """Does not return where the command was started. Raises RunError where it was not."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ctrl-C means the command, also while it is prepared
    try:
        plan = make_plan(options, Holds(dry_run=options.dry_run, within=_outer_ids()), os.environ)
        if options.dry_run:
            return _describe(plan, options)
        _start(plan, options)
    except RunError:
        raise
    except (SettingsError, OSError) as error:
        raise RunError(str(error)) from error


def _describe(plan: RunPlan, options: argparse.Namespace) -> int:
    notes = [*plan.notes, *_check_settings(plan, options.root, dry_run=True)]
    unit = _outer_unit() or (unit_of(plan.name) if has_systemd(options.root) else None)
    if options.json:
        document = {**plan.as_dict(), "unit": unit, "snapshot": options.snapshot, "notes": notes}
        sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
        return 0
    lines = [str(plan), *(f"note: {note}" for note in notes)]
    lines += [f"unit: {unit or 'none, as this host does not run systemd'}"]
    lines += [f"snapshot: {options.snapshot}"] if options.snapshot is not None else []
    lines += [f"environment: {name}={value}" for name, value in plan.environment.items()]
    lines += [f"command: {shlex.join(plan.command)}"]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _check_settings(plan: RunPlan, root: Path, *, dry_run: bool) -> list[str]:
    return check_settings(root, run_command, dry_run=dry_run) if plan.gpus else []


def _start(plan: RunPlan, options: argparse.Namespace) -> NoReturn:
    root: Path = options.root
    for note in plan.notes:
        _say(note)
    outer = _outer_unit()
    unit = outer or _enter_scope(plan, root)  # the name may be taken: so before anything is changed
    if options.snapshot is not None:
        _say(f"snapshot {snapshot(options.snapshot, root, run_command)}: {options.snapshot}")
    for note in _check_settings(plan, root, dry_run=False):
        _say(note)
    run_id = str(uuid.uuid4())
    # The outer run's scope is not for the guard of a part of it to empty, and it keeps the machine awake already.
    guard = Guard(None, run_id, plan.loaders) if outer else Guard(unit, run_id, plan.loaders, _inhibitors(plan, root))
    problem = guard.start()
    if problem is not None:
        _say(problem)
    said = f"{plan}; {unit or 'no scope'}"
    _say(said)
    write_journal(root, f"{said}; {shlex.join(plan.command)}", _fields(plan, unit))
    os.sched_setaffinity(0, plan.cpus)
    ids = "/".join([*_outer_ids(), run_id])
    _become(plan, {**os.environ, **plan.environment, "MLRIG_RUN": plan.name, ID: ids})


def _outer_ids() -> list[str]:
    """Of the runs that this one is a part of, the first one first."""
    return [each for each in os.environ.get(ID, "").split("/") if each]


def _outer_unit() -> str | None:
    """The scope of the run that this one is a part of; what sudo starts is none, and its scope not the user's."""
    me = describe(os.getpid()) if _outer_ids() else None
    return me.unit if me is not None else None


def _enter_scope(plan: RunPlan, root: Path) -> str | None:
    """The scope, or None: a run without one is better than none."""
    if not has_systemd(root):
        _say("this host does not run systemd: the run has no scope, and nothing keeps the machine from sleep")
        return None
    try:
        enter_scope(plan.name, f"Training run: {shlex.join(plan.command)}", run_command, root)
    except RequestError:
        raise
    except SettingsError as error:
        _say(f"the run has no scope of its own: {error}")
        return None
    if ends_with_session(root):
        _say("the run ends with your last session on this machine; loginctl enable-linger lets it go on")
    return unit_of(plan.name)


def _inhibitors(plan: RunPlan, root: Path) -> list[tuple[str, ...]]:
    if not has_systemd(root):
        return []
    why = f"training run {plan.name}"
    # logind lets the user at the machine, and asks others, such as those who come by SSH, for a password.
    return [inhibiting(why), *([] if os.geteuid() == 0 else [inhibiting(why, *AS_ROOT)])]


def _fields(plan: RunPlan, unit: str | None) -> dict[str, str]:
    fields = {name: value for name, value in plan.environment.items() if name.startswith(("CUDA_", "NCCL_", "OMP_"))}
    return {"MLRIG_RUN": plan.name, "MLRIG_UNIT": unit or "", "MLRIG_COMMAND": shlex.join(plan.command), **fields}


def _become(plan: RunPlan, environment: Mapping[str, str]) -> NoReturn:
    # Python ignores them, and a command would inherit that.
    for name in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(name, signal.SIG_DFL)
    program = plan.command[0]
    try:
        _exec(plan.command, environment)
    except FileNotFoundError as error:
        raise RunError(f"{program}: the interpreter that its first line names does not exist", NOT_FOUND) from error
    except OSError as error:
        if error.errno == errno.ENOEXEC and b"\0" not in Path(program).read_bytes()[:_START]:
            _exec(("/bin/sh", *plan.command), environment)  # as shells do with a script that has no such line
        raise RunError(f"{program}: {error.strerror}", NOT_EXECUTABLE) from error


def _exec(words: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    os.execve(words[0], words, environment)  # noqa: S606 - what the user asked for


def _say(line: str) -> None:
    sys.stderr.write(f"mlrig: {line}\n")
    sys.stderr.flush()
