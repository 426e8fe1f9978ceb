# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks of snapper's configurations, checked before anything is read or changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from ._settings import InputError

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_RANGE = re.compile(r"([0-9]+)-([0-9]+)")


@dataclass(frozen=True)
class _Kind:
    """Of value. rule: what a user reads about one that does not match."""

    pattern: re.Pattern[str]
    rule: str


_SWITCH = _Kind(re.compile("yes|no"), "must be yes or no")
_SECONDS = _Kind(re.compile("[0-9]+"), "must be a number of seconds")
_COUNT = _Kind(re.compile("[0-9]+(-[0-9]+)?"), "must be a number of snapshots, or a range such as 4-20")
_SPACE = _Kind(
    re.compile(r"0(\.[0-9]+)?|1(\.0+)?|[0-9]+(\.[0-9]+)? ?[KMGT]i?B"),
    "must be a fraction of the file system between 0 and 1, or a size such as 50 GiB",
)
_NAMES = _Kind(re.compile("[A-Za-z0-9_.@$ -]*"), "must be names with a blank between them")
_KINDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("NUMBER_CLEANUP", "TIMELINE_CREATE", "TIMELINE_CLEANUP", "EMPTY_PRE_POST_CLEANUP"), _SWITCH),
    **dict.fromkeys(("BACKGROUND_COMPARISON", "SYNC_ACL"), _SWITCH),
    **dict.fromkeys(("NUMBER_MIN_AGE", "TIMELINE_MIN_AGE", "EMPTY_PRE_POST_MIN_AGE"), _SECONDS),
    **dict.fromkeys(("NUMBER_LIMIT", "NUMBER_LIMIT_IMPORTANT"), _COUNT),
    **{f"TIMELINE_LIMIT_{unit}": _COUNT for unit in ("HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY")},
    **dict.fromkeys(("FREE_LIMIT", "SPACE_LIMIT"), _SPACE),
    **dict.fromkeys(("ALLOW_USERS", "ALLOW_GROUPS"), _NAMES),
    "QGROUP": _Kind(re.compile("([0-9]+/[0-9]+)?"), "must be a quota group of btrfs such as 1/0, or empty"),
}


@dataclass(frozen=True)
class SnapperConfig:
    """One configuration of snapper. where: the place in the user's list, for messages."""

    where: str
    name: str
    subvolume: str
    settings: Mapping[str, str]

    @property
    def file(self) -> str:
        return f"/etc/snapper/configs/{self.name}"

    @property
    def snapshots(self) -> str:
        return f"{self.subvolume.rstrip('/')}/.snapshots"


def parse_configs(entries: Sequence[Mapping[str, Any]], where: str = "configs") -> tuple[SnapperConfig, ...]:
    """Check and normalise a list of `{name, subvolume, settings}`. Raises InputError for the first wrong one."""
    seen: dict[str, str] = {}
    configs = []
    for position, entry in enumerate(entries):
        here = f"{where}[{position}]"
        name, subvolume = str(entry["name"]), str(entry["subvolume"])
        if not _NAME.fullmatch(name):
            raise InputError(f"{here}.name", "must be one word of letters, digits and _ . -", name)
        if not subvolume.startswith("/") or str(PurePosixPath(subvolume)) != subvolume or ".." in subvolume:
            raise InputError(f"{here}.subvolume", "must be an absolute path without a slash at its end", subvolume)
        for field, value in (("name", name), ("subvolume", subvolume)):
            if f"{field} {value}" in seen:
                raise InputError(f"{here}.{field}", f"must not repeat {seen[f'{field} {value}']}", value)
            seen[f"{field} {value}"] = f"{here}.{field}"
        settings = parse_settings(entry.get("settings") or {}, f"{here}.settings")
        configs.append(SnapperConfig(here, name, subvolume, settings))
    return tuple(configs)


def parse_settings(values: Mapping[str, Any], where: str) -> dict[str, str]:
    """Check keys of snapper's configuration and their values; null leaves a key alone."""
    parsed = {}
    for key, value in values.items():
        here = f"{where}[{key!r}]"
        kind = _KINDS.get(str(key))
        if kind is None:
            near = get_close_matches(str(key).upper(), _KINDS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InputError(here, f"must be a key of snapper-configs(5) that may be set here{hint}", key)
        if value is None:
            continue
        # snapper's own words are YAML's booleans.
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        if not kind.pattern.fullmatch(text):
            raise InputError(here, kind.rule, value)
        limits = _RANGE.fullmatch(text)
        if limits is not None and int(limits[1]) > int(limits[2]):
            raise InputError(here, "must begin with the smaller number", value)
        parsed[str(key)] = text
    return parsed
