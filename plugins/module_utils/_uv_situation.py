# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found of one project: its pyproject.toml, its lock, its environment, and damage to that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ._settings import SettingsError
from ._uv_command import Uv
from ._uv_damage import Installed, find_damage
from ._uv_environment import ENVIRONMENT, Environment, find_fault, look_at_environment
from ._uv_environment import IN_STEP as ENVIRONMENT_IN_STEP
from ._uv_failure import InterpreterBrokenError, InterpreterMissingError
from ._uv_lock import LOCK, Lock, look_at_lock
from ._uv_owner import Owner, acting_as

PYPROJECT = "pyproject.toml"


@dataclass
class Situation:
    """interpreter: which Python is to be downloaded first. untold: why more cannot be told yet."""

    writes_pyproject: bool = False
    interpreter: str | None = None
    lock: Lock = field(default_factory=lambda: Lock("missing"))
    environment: Environment = field(default_factory=lambda: Environment(None))
    damaged: Mapping[str, Installed] = field(default_factory=dict)
    untold: str | None = None

    @property
    def differs(self) -> bool:
        return self.lock.state != "in step" or self.environment.actual != ENVIRONMENT_IN_STEP or bool(self.damaged)


def look(uv: Uv, owner: Owner, folder: Path, damage: str) -> Situation:
    """Reads as the owner. Raises SettingsError for what cannot be mended, or not be told."""
    with acting_as(owner):
        there = (folder / PYPROJECT).is_file()
        fault = find_fault(folder / ENVIRONMENT)
    if not there:
        if os.path.lexists(folder / PYPROJECT):
            raise SettingsError(f"{folder / PYPROJECT} is in the way, as it is no file: move it away")
        if uv.project.pyproject is None:
            raise SettingsError(f"{folder} has no {PYPROJECT}, and there is no text for one")
        lock = Lock("stale" if (folder / LOCK).exists() else "missing")
        environment = _describe_untold(folder, fault)
        untold = f"more can be told when {PYPROJECT} is there"
        return Situation(writes_pyproject=True, lock=lock, environment=environment, untold=untold)
    try:
        lock, environment = _look(uv, folder, fault)
    except InterpreterBrokenError as error:
        # uv names it by where its folder is, without links.
        if fault is not None or not Path(error.interpreter).is_relative_to(folder.resolve() / ENVIRONMENT):
            raise
        lock, environment = _look(uv, folder, "with an interpreter that does not work")
    except InterpreterMissingError as error:
        if not uv.downloads_interpreters:
            raise
        untold = f"more can be told when Python {error.wanted} is there"
        return Situation(interpreter=error.wanted, environment=_describe_untold(folder, fault), untold=untold)
    situation = Situation(lock=lock, environment=environment)
    if environment.is_kept:
        changing = {change.name for change in environment.changes}
        found = look_for_damage(owner, folder, damage)
        situation.damaged = {name: each for name, each in found.items() if name not in changing}
    return situation


def look_for_damage(owner: Owner, folder: Path, damage: str) -> dict[str, Installed]:
    """The damaged packages. damage: what of their files is compared, `sizes`, `hashes` or `none`."""
    if damage == "none":
        return {}
    with acting_as(owner):
        return find_damage(folder / ENVIRONMENT, hashes=damage == "hashes")


def _describe_untold(folder: Path, fault: str | None) -> Environment:
    """Of one that uv cannot judge yet."""
    there = "not judged yet" if (folder / ENVIRONMENT).is_dir() else None
    return Environment(fault or there, must_be_cleared=fault is not None)


def _look(uv: Uv, folder: Path, fault: str | None) -> tuple[Lock, Environment]:
    lock = look_at_lock(uv, folder, away=fault is not None)
    return lock, look_at_environment(uv, folder, lock, fault)
