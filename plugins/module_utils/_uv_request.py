# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of uv projects as a user writes it, checked before anything is read or changed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ._mount_request import parse_place
from ._settings import InputError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_.-]*\$?", re.ASCII)
_PYTHON = re.compile(r"3\.[0-9]+(\.[0-9]+)?|/[^\n\0]+")
_SHOWN = 80  # letters of a long text
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What the module itself says to uv, or what would lead uv to another project or environment.
_OURS = {
    **dict.fromkeys(("HOME", "LOGNAME", "USER"), "owner"),
    "UV_PYTHON": "python",
    **dict.fromkeys(("UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_WORKING_DIR", "VIRTUAL_ENV"), "path"),
    **dict.fromkeys(("UV_NO_DEFAULT_GROUPS", "UV_NO_DEV", "UV_NO_GROUP"), "groups"),
    **dict.fromkeys(("UV_FROZEN", "UV_LOCKED", "UV_NO_SYNC"), "damage"),
}


@dataclass(frozen=True)
class UvProject:
    """One project. where: the place in the user's list, for messages. path: absolute, or below ~, the owner's home.

    owner: None for whose folder it is. pyproject: the text for where there is none. environment: variables for uv.
    """

    where: str
    path: str
    owner: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    python: str | None = None
    pyproject: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def parse_projects(
    entries: Sequence[Mapping[str, Any]], environment: Mapping[str, Any], where: str = "projects"
) -> list[UvProject]:
    """Check and normalise the list. environment: that of all. Raises InputError for the first wrong one."""
    for_all = parse_environment(environment, "environment")
    projects: list[UvProject] = []
    for position, entry in enumerate(entries):
        project = _parse_project(entry, for_all, f"{where}[{position}]")
        for other in projects:
            if (other.path, other.owner) == (project.path, project.owner):
                raise InputError(f"{project.where}.path", f"must not repeat {other.where}", entry["path"])
        projects.append(project)
    return projects


def _parse_project(entry: Mapping[str, Any], for_all: Mapping[str, str], where: str) -> UvProject:
    owner = entry.get("owner")
    if owner is not None and not _USER.fullmatch(str(owner)):
        raise InputError(f"{where}.owner", "must be the name of a user", owner)
    return UvProject(
        where,
        _parse_path(entry["path"], owner, f"{where}.path"),
        owner,
        _parse_names(entry.get("extras"), f"{where}.extras"),
        _parse_names(entry.get("groups"), f"{where}.groups"),
        parse_python(entry.get("python"), f"{where}.python"),
        _parse_pyproject(entry.get("pyproject"), f"{where}.pyproject"),
        {**for_all, **parse_environment(entry.get("environment") or {}, f"{where}.environment")},
    )


def _parse_path(path: object, owner: str | None, where: str) -> str:
    below_home = str(path).removeprefix("~")
    if below_home != path:
        if owner is None:
            raise InputError(where, "must not be below ~ without an owner, whose home that is", path)
        if not below_home.startswith("/"):
            raise InputError(where, "must begin with ~/ or /; whose home it is, is for owner to say", path)
    place = parse_place(below_home, where)
    if place == "/":
        raise InputError(where, "must be a folder of its own, as all in it belongs to the project", path)
    return place if below_home == path else f"~{place}"


def _parse_names(names: object, where: str) -> tuple[str, ...]:
    """Of extras or groups; however they are written, uv knows them in small letters and with hyphens."""
    if names is None:
        return ()
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise InputError(where, "must be a list of names", names)
    for position, name in enumerate(names):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(f"{where}[{position}]", "must be a name of letters, digits and . _ -", name)
    return tuple(dict.fromkeys(normalise(name) for name in names))


def normalise(name: str) -> str:
    """The one way to write the name of a package, an extra or a group."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_python(python: object, where: str) -> str | None:
    """A version or an interpreter; None stays None."""
    if python is None:
        return None
    if not isinstance(python, str) or not _PYTHON.fullmatch(python):
        raise InputError(where, 'must be a version in quotes, such as "3.12", or the path of an interpreter', python)
    return python


def _parse_pyproject(text: object, where: str) -> str | None:
    if text is None:
        return None
    try:
        document = tomllib.loads(str(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(where, f"must be TOML ({error})", str(text)[:_SHOWN]) from error
    project = document.get("project")
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise InputError(where, "must have a table [project] with a name", str(text)[:_SHOWN])
    return str(text)


def parse_environment(
    variables: Mapping[str, Any], where: str, ours: Mapping[str, str] = MappingProxyType(_OURS)
) -> dict[str, str]:
    """Variables for uv. ours: what the module itself says, each with what it says that from."""
    parsed = {}
    for name, value in variables.items():
        here = f"{where}[{name!r}]"
        if not _VARIABLE.fullmatch(str(name)):
            raise InputError(here, "must be the name of a variable, of letters, digits and _", name)
        if name in ours:
            raise InputError(here, f"must not be set, as it follows from {ours[name]}", value)
        if isinstance(value, bool) or not isinstance(value, str | int) or "\0" in str(value) or "\n" in str(value):
            raise InputError(here, "must be text of one line, in quotes", value)
        parsed[str(name)] = str(value)
    return parsed
