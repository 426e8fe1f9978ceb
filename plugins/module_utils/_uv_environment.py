# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project's virtual environment: whether it is one, and how its packages compare with the lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._files import read_if_there
from ._settings import RequestError, SettingsError
from ._uv_command import AS_JSON, Uv, read_answer
from ._uv_damage import SITE_PACKAGES
from ._uv_failure import refuse_ignored_settings
from ._uv_lock import LOCK, Lock
from ._uv_owner import Owner, acting_as

ENVIRONMENT = ".venv"
IN_STEP = f"in step with {LOCK}"
_CONFIGURATION = "pyvenv.cfg"
_BEGUN = {"CACHEDIR.TAG", ".gitignore", "bin"}  # what uv makes of one before its interpreter
_OTHERS = f"not in step with {LOCK}"


@dataclass(frozen=True)
class Change:
    """One package that differs from the lock. before, after: None where it is not there."""

    name: str
    before: str | None
    after: str | None


@dataclass
class Environment:
    """actual: None where there is none. must_be_cleared: uv could not mend it, or would take another one for it."""

    actual: str | None
    must_be_cleared: bool = False
    changes: list[Change] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        """Whether its packages stay, but for those that change."""
        return self.actual in (IN_STEP, _OTHERS)


def find_fault(environment: Path) -> str | None:
    """Why uv must not be led to an environment; None where there is none, or uv can judge it.

    Without pyvenv.cfg its interpreter tells uv that it is the system's, and uv would install into the system.
    Raises SettingsError for what is no environment at all.
    """
    if not environment.is_dir():
        if os.path.lexists(environment):
            raise SettingsError(f"{environment} is in the way, as it is no folder: move it away")
        return None
    if "home" in _read_configuration(environment) or not any(environment.iterdir()):
        return None
    is_one = any(environment.glob(SITE_PACKAGES)) or os.path.lexists(environment / "bin" / "python")
    if is_one or _is_begun(environment) or (environment / _CONFIGURATION).is_file():
        return f"without its {_CONFIGURATION}"
    raise SettingsError(f"{environment} is in the way, as it is no Python environment: move it away")


def look_at_environment(uv: Uv, folder: Path, lock: Lock, fault: str | None) -> Environment:
    """Compares with the lock or, where there is none that fits, with the one that uv would make. Changes nothing."""
    environment = folder / ENVIRONMENT
    if lock.state == "corrupt":
        there = environment.is_dir() and fault is None
        return Environment(f"with {LOCK} corrupt, of unknown state" if there else fault, fault is not None)
    away = fault is not None
    if lock.state == "in step":
        output = uv.look("sync", "--frozen", "--check", *uv.selection, *AS_JSON, away=away)
    else:
        output = uv.resolve("sync", "--dry-run", *uv.selection, *AS_JSON, away=away)
    refuse_ignored_settings(output)
    answer = read_answer(output)
    if answer is None:
        raise uv.failure(output)
    _refuse_member(answer, folder)
    found = answer["environment"]["path"]
    if not away and not _is_same(found, environment):
        return look_at_environment(uv, folder, lock, f"taken by uv for {found}")
    changes = read_changes(answer["changes"])
    if away:
        return Environment(fault, must_be_cleared=True, changes=changes)
    match answer["action"]:
        case "create":
            return Environment(None, changes=changes)
        case "replace":
            return Environment(_describe(environment, answer["environment"]), changes=changes)
    return Environment(_OTHERS if changes else IN_STEP, changes=changes)


def clear_environment(uv: Uv, owner: Owner, folder: Path) -> None:
    """An empty one in place of one that uv cannot mend. What uv remembers of its interpreter may be wrong, too."""
    cache = Path(uv("cache", "dir").stdout.strip())
    with acting_as(owner):
        for remembered in cache.glob("interpreter-v*") if cache.is_absolute() else ():
            shutil.rmtree(remembered, ignore_errors=True)
        (folder / ENVIRONMENT / _CONFIGURATION).touch()  # uv clears nothing that has none
    uv.succeed("venv", "--clear", ENVIRONMENT)


def read_changes(entries: Iterable[Mapping[str, Any]]) -> list[Change]:
    """From what uv says; a package that changes its version is there twice, and several times where it was."""
    before: dict[str, list[str]] = {}
    after: dict[str, str] = {}
    for entry in entries:
        name, version = entry["name"], entry.get("version") or "of its source"
        if entry["action"] in ("uninstalled", "reinstalled"):
            before.setdefault(name, []).append(version)
        if entry["action"] in ("installed", "reinstalled"):
            after[name] = version
    names = dict.fromkeys(entry["name"] for entry in entries)
    return [Change(name, " and ".join(before[name]) if name in before else None, after.get(name)) for name in names]


def _is_begun(environment: Path) -> bool:
    """Whether uv was killed before its interpreter was there; nothing in it can be of anybody else."""
    names = {each.name for each in environment.iterdir()}
    return names <= _BEGUN and ("bin" not in names or not any((environment / "bin").iterdir()))


def _refuse_member(answer: Mapping[str, Any], folder: Path) -> None:
    workspace = answer["workspace"]
    if workspace is not None and not _is_same(workspace, folder):
        raise RequestError(f"{folder} is a member of the workspace {workspace}, which has the lock: name that one")


def _is_same(path: str, other: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _describe(environment: Path, wanted: Mapping[str, Any]) -> str:
    if not (environment / "bin" / "python").exists():
        return "without its interpreter"
    version = _read_configuration(environment).get("version_info", "unknown")
    return f"of Python {version}, where {wanted['python']['version']} is wanted"


def _read_configuration(environment: Path) -> dict[str, str]:
    lines = (read_if_there(environment / _CONFIGURATION) or "").splitlines()
    return {name.strip(): value.strip() for name, _equals, value in (line.partition("=") for line in lines)}
