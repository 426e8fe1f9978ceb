# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd scope for a training run, in which it is found, stopped and accounted for, and a line in the journal."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ._apt import Runner
from ._run_processes import PREFIX, describe, name_user
from ._settings import RequestError, SettingsError

_BOOTED = "run/systemd/system"
_JOURNAL = "run/systemd/journal/socket"
_LINGER = "var/lib/systemd/linger"
_USER_BUS = "run/user/{}/bus"
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_PATIENCE = 5.0
_PAUSE = 0.01
# A command may be megabytes: more than an argument of a program, or a message to the journal, can be.
_DESCRIPTION_LENGTH = 200
_FIELD_LENGTH = 16384


def has_systemd(root: Path) -> bool:
    return (root / _BOOTED).is_dir()


def unit_of(name: str) -> str:
    return f"{PREFIX}{name}.scope"


def enter_scope(name: str, description: str, run: Runner, root: Path = Path("/")) -> None:
    """Moves this process into a scope: of the system for root, else of the user's own manager.

    systemd-run would do the same and then start the command itself; so what fails is known before anything starts.
    Raises RequestError for a name that another run has, and SettingsError where there can be no scope.
    """
    unit = unit_of(name)
    properties = (
        ("Description", "s", _shorten(description, _DESCRIPTION_LENGTH)),
        ("PIDs", "au", "1", str(os.getpid())),
        ("CollectMode", "s", "inactive-or-failed"),
        ("CPUAccounting", "b", "true"),
        ("MemoryAccounting", "b", "true"),
        ("IOAccounting", "b", "true"),
    )
    said = run(
        "busctl",
        _bus(root),
        "call",
        *_MANAGER,
        "StartTransientUnit",
        "ssa(sv)a(sa(sv))",
        unit,
        "fail",
        str(len(properties)),
        *(word for each in properties for word in each),
        "0",
    )
    if "already loaded" in said.text:
        raise RequestError(f"--name: a run of the name {name} is going on, in {unit}")
    if said.code:
        raise SettingsError(f"systemd makes no scope: {said.text.strip()}")
    _wait_for(unit)


def _bus(root: Path) -> str:
    """A user's by its place: cron, sudo and su leave out of the environment where it is, or have another user's."""
    user = os.geteuid()
    if user == 0:
        return "--system"
    bus = root / _USER_BUS.format(user)
    if not bus.exists():
        why = "the user's manager runs in a session or by loginctl enable-linger, and has it with dbus-user-session"
        raise SettingsError(f"there is no {bus}: {why}, from its next start on")
    return f"--address=unix:path={bus}"


def _wait_for(unit: str) -> None:
    """systemd answers before it has moved the process."""
    deadline = time.monotonic() + _PATIENCE
    while (me := describe(os.getpid())) is None or me.unit != unit:
        if time.monotonic() > deadline:
            raise SettingsError(f"systemd has not made {unit} within {_PATIENCE:g} s")
        time.sleep(_PAUSE)


def ends_with_session(root: Path) -> bool:
    """Whether the scope ends with the user's last session, and the run with it."""
    user = os.geteuid()
    return user != 0 and not (root / _LINGER / name_user(user)).exists()


def write_journal(root: Path, message: str, fields: Mapping[str, str]) -> None:
    """Straight into the journal's socket (systemd.io/JOURNAL_NATIVE_PROTOCOL); without one nothing is written."""
    entry = {"MESSAGE": message, "PRIORITY": "6", "SYSLOG_IDENTIFIER": "mlrig", **fields}
    lines = [f"{name}={_shorten(value, _FIELD_LENGTH)}\n" for name, value in entry.items()]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto("".join(lines).encode(), str(root / _JOURNAL))


def _shorten(text: str, length: int) -> str:
    """One line of valid UTF-8: systemd writes it into a file of lines, and D-Bus takes nothing else."""
    line = " ".join(text.splitlines()).encode(errors="replace").decode()
    return line if len(line) <= length else f"{line[: length - 3]}..."
