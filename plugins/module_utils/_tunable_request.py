# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of tunables as a user writes it, checked before anything is read or changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ._boot_configuration import sysctl_key, sysctl_path
from ._settings import InputError

_SYSCTL_KEY = re.compile(r"[A-Za-z0-9_*?\[][A-Za-z0-9_.:@*?\[\]+/!-]*")
_SYSFS_PATH = re.compile(r"/sys(/[A-Za-z0-9_.:@,+=~*?\[\]!-]+)+")
_SERVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]*\.service")
_BOOLEAN_RULE = (
    "must not be a YAML boolean (yes, no, on, off, true, false), because the kernel takes numbers and words: "
    'write 1 or 0, or the word in quotes, such as "on"'
)


@dataclass(frozen=True)
class Condition:
    """That an attribute, or one of those that a glob matches, has a value."""

    path: str
    value: str


@dataclass(frozen=True)
class Tunable:
    """One setting of the kernel.

    where: the place in the user's list, for messages. name: as the user wrote it.
    key: the sysctl key (its one spelling, `_boot_configuration.sysctl_key`), or the path below /sys.
    path: the file, or glob, that holds the live value. value: as text; None removes what was persisted.
    required: whether a kernel without it is an error. condition: what must hold here, or it is left alone.
    rivals: services that set it too, and what to do about each.
    """

    where: str
    name: str
    key: str
    path: str
    value: str | None
    required: bool = True
    condition: Condition | None = None
    rivals: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_sysctl(self) -> bool:
        return self.path.startswith("/proc/sys/")


def parse_tunables(entries: Sequence[Mapping[str, Any]], where: str = "tunables") -> list[Tunable]:
    """Check and normalise a list of `{name, value, state, required}`. Raises InputError for the first wrong one."""
    seen: dict[str, str] = {}
    tunables = []
    for position, entry in enumerate(entries):
        tunable = _parse_tunable(entry, f"{where}[{position}]")
        if tunable.path in seen:
            raise InputError(f"{tunable.where}.name", f"must not repeat {seen[tunable.path]}", tunable.name)
        seen[tunable.path] = tunable.where
        tunables.append(tunable)
    return tunables


def parse_values(values: Mapping[str, Any], where: str) -> None:
    """Check a mapping of names to values, as role variables hold it. Raises InputError for the first wrong one.

    Only one spelling of a name is taken, so that an entry of one mapping replaces that of another.
    """
    for name, value in values.items():
        here = f"{where}[{name!r}]"
        key, _path = _parse_name(str(name), here)
        if key != str(name):
            raise InputError(here, f"must be spelled {key}", name)
        if value is not None:
            _parse_value(value, here)


def _parse_tunable(entry: Mapping[str, Any], where: str) -> Tunable:
    name = str(entry["name"]).strip()
    key, path = _parse_name(name, f"{where}.name")
    absent = entry.get("state", "present") == "absent"
    if absent and entry.get("value") is not None:
        raise InputError(f"{where}.value", "must not be given together with state: absent", entry["value"])
    value = None if absent else _parse_value(entry.get("value"), f"{where}.value")
    condition = entry.get("condition")
    rivals = dict(entry.get("rivals") or {})
    for unit in rivals:
        if not _SERVICE.fullmatch(str(unit)):
            raise InputError(f"{where}.rivals", "must be names of services, such as tuned.service", unit)
    return Tunable(
        where,
        name,
        key,
        path,
        value,
        bool(entry.get("required", True)),
        condition and _parse_condition(condition, f"{where}.condition"),
        rivals,
    )


def _parse_condition(condition: Mapping[str, Any], where: str) -> Condition:
    _key, path = _parse_name(str(condition["name"]).strip(), f"{where}.name")
    return Condition(path, _parse_value(condition.get("value"), f"{where}.value"))


def _parse_name(name: str, where: str) -> tuple[str, str]:
    plain = ".." not in name and "//" not in name and not name.endswith((".", "/"))
    if plain and _SYSFS_PATH.fullmatch(name):
        path = str(PurePosixPath(name))
        return path, path
    key = name.removeprefix("/proc/sys/")
    if plain and _SYSCTL_KEY.fullmatch(key):
        path = sysctl_path(key)
        return sysctl_key(path), path
    raise InputError(where, "must be a sysctl key such as vm.swappiness, or a path below /sys", name)


def _parse_value(value: object, where: str) -> str:
    if isinstance(value, bool) or value in ("True", "False"):
        raise InputError(where, _BOOLEAN_RULE, value)
    if value is None:
        raise InputError(where, "is missing (state: absent removes a tunable)", value)
    if not isinstance(value, str | int):
        raise InputError(where, "must be a whole number or text", value)
    lines = str(value).strip().splitlines()
    text = " ".join(" ".join(lines).split())
    if len(lines) != 1 or not text.isprintable():
        raise InputError(where, "must be one line of printable text", value)
    return text
