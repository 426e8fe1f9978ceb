# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv projects: locked, in step with the lock, and whole; compared, and mended."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._apt import Runner
from ._settings import InputError, RequestError, Setting, Settings, SettingsError
from ._uv_command import Uv, environment_of
from ._uv_environment import ENVIRONMENT
from ._uv_environment import IN_STEP as ENVIRONMENT_IN_STEP
from ._uv_lock import IN_STEP as LOCK_IN_STEP
from ._uv_lock import LOCK
from ._uv_mend import mend
from ._uv_owner import Owner, locate, owners_runner, refuse_if_closed
from ._uv_request import UvProject
from ._uv_situation import PYPROJECT, Situation, look

_INSTALLED = "installed"
_BROKEN = "does not work"
_LOOKED_AT = "a project that can be looked at"
_MENDED = "a project that can be mended"
MakeRunner = Callable[[Owner, Path, Mapping[str, str]], Runner]


@dataclass
class ProjectPlan:
    """One project: what was found, the records of it, and how it is mended."""

    project: UvProject
    owner: Owner
    folder: Path
    uv: Uv
    damage: str
    settings: Settings
    situation: Situation = field(default_factory=Situation)
    records: list[Setting] = field(default_factory=list)

    def look(self) -> None:
        """Compare, and record. What cannot be told of one project keeps none of the others from being looked at."""
        try:
            self.situation = look(self.uv, self.owner, self.folder, self.damage)
            if self.situation.differs:
                locks = () if self.situation.lock.state == "in step" else (LOCK,)
                refuse_if_closed(self.owner, self.folder, ENVIRONMENT, *locks)
        except RequestError:
            raise
        except (SettingsError, OSError) as error:
            self._fail(str(error))
        else:
            self._record()

    def leave(self, reason: str) -> None:
        self._skip(ENVIRONMENT, ENVIRONMENT_IN_STEP, reason)

    def apply(self) -> None:
        if not any(each.action == "changed" for each in self.records):
            return
        try:
            changes = mend(self.uv, self.owner, self.folder, self.situation, self.damage)
        except (SettingsError, OSError) as error:
            self.settings.fail(str(self.folder), "persisted", _MENDED, None, str(error))
            for each in self.records:  # whether there is a lock now is read again
                if each.id.startswith(self._id(ENVIRONMENT)):
                    self.settings.amend(each, "skipped", f"see {self.folder}")
            return
        told = {each.id for each in self.records}
        for change in changes:  # those that could not be told before there was a lock
            if self._id(ENVIRONMENT, change.name) not in told:
                self._compare(self._id(ENVIRONMENT, change.name), change.after, change.before)

    def _id(self, *names: str) -> str:
        return "/".join((str(self.folder), *names))

    def _compare(self, setting_id: str, expected: str | None, actual: str | None, reason: str | None = None) -> None:
        self.records.append(self.settings.compare(setting_id, "persisted", expected, actual, reason=reason))

    def _fail(self, reason: str) -> None:
        self.settings.fail(str(self.folder), "persisted", _LOOKED_AT, None, reason)
        first_line = reason.partition("\n")[0]
        self._skip(LOCK, LOCK_IN_STEP, first_line)
        self._skip(ENVIRONMENT, ENVIRONMENT_IN_STEP, first_line)

    def _skip(self, name: str, expected: str, reason: str) -> None:
        self.settings.skip(self._id(name), "persisted", expected, None, reason)

    def _record(self) -> None:
        found = self.situation
        if found.writes_pyproject:
            self._compare(self._id(PYPROJECT), "written", None)
        if found.interpreter is None:
            self._compare(self._id(LOCK), LOCK_IN_STEP, found.lock.actual, found.lock.fault)
        else:
            self._skip(LOCK, LOCK_IN_STEP, str(found.untold))
        environment = found.environment
        self._compare(self._id(ENVIRONMENT), ENVIRONMENT_IN_STEP, environment.actual, found.untold)
        for change in environment.changes:
            self._compare(self._id(ENVIRONMENT, change.name), change.after, change.before)
        for package in found.damaged.values():
            self._compare(self._id(ENVIRONMENT, package.name), package.version, package.actual, package.summary)


@dataclass
class ProjectsPlan:
    """found: whether uv is installed, and works; None where it is not there."""

    program: str
    found: str | None
    settings: Settings = field(default_factory=Settings)
    plans: list[ProjectPlan] = field(default_factory=list)

    def apply(self) -> None:
        if self.found != _INSTALLED:
            raise SettingsError(f"{self.program} {self.found or 'is not there'}: install uv first")
        for plan in self.plans:
            plan.apply()


def make_plan(  # noqa: PLR0913 - the options of the module
    projects: Sequence[UvProject],
    program: str,
    damage: str,
    *,
    check_mode: bool,
    cache: str | None = None,
    make_runner: MakeRunner = owners_runner,
) -> ProjectsPlan:
    """Look at all of them, compare, and say what to do. Changes nothing.

    damage: what of installed files is compared, `sizes`, `hashes` or `none`.
    cache: the folder in which each owner has a cache; None for where uv has it.
    """
    plan = ProjectsPlan(program, _look_at_uv(program, make_runner))
    plan.settings.compare(program, "persisted", _INSTALLED, plan.found)
    places: dict[str, str] = {}
    for project in projects:
        owner, folder = locate(project.path, project.owner, project.where)
        place = os.path.realpath(folder)
        if place in places:
            raise InputError(f"{project.where}.path", f"must not repeat {places[place]}", project.path)
        places[place] = project.where
        environment = environment_of(project, cache and f"{cache}/{owner.name}/uv")
        uv = Uv(program, project, make_runner(owner, folder, environment), check_mode, plan.settings.warnings)
        plan.plans.append(ProjectPlan(project, owner, folder, uv, damage, plan.settings))
    for each in plan.plans:
        if plan.found == _INSTALLED:
            each.look()
        else:
            each.leave(f"it takes {program}, which {plan.found or 'is not there yet'}")
    return plan


def _look_at_uv(program: str, make_runner: MakeRunner) -> str | None:
    """It may be damaged, and then is mended before the projects are."""
    if not Path(program).exists():
        return None
    owner, _folder = locate("/", pwd.getpwuid(os.geteuid()).pw_name, "uv")
    try:
        works = make_runner(owner, Path("/"), {})(program, "--version").code == 0
    except SettingsError:
        works = False
    return _INSTALLED if works else _BROKEN
