# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of GPU settings as users write them, checked before a driver is asked or anything is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._pci_address import normalise_address
from ._settings import InputError

COMPUTE_MODES = ("default", "exclusive_process", "prohibited")

_UUID = re.compile(r"GPU(-[0-9a-f]+){5}", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_MATCH_RULE = "must be all, or have one or more of uuid, bus_id, index, name"
_POWER_RULE = 'must be watts such as 165, a percentage of the board\'s default such as "80%", or default'
_CLOCKS_RULE = 'must be [min, max], each in MHz or a percentage of the maximum such as "90%", or reset'


@dataclass(frozen=True)
class Amount:
    """A number in the unit of its setting, or a percentage."""

    number: float
    is_percentage: bool = False

    def of(self, whole: float) -> float:
        return whole * self.number / 100 if self.is_percentage else self.number

    def __str__(self) -> str:
        return f"{self.number:g}%" if self.is_percentage else f"{self.number:g}"


@dataclass(frozen=True)
class Clocks:
    """The range in which a clock is locked, in MHz."""

    lowest: Amount
    highest: Amount

    def __str__(self) -> str:
        return f"{self.lowest}-{self.highest}"


# What a setting is wanted to be: None is the driver's own default ("default", "reset").
Wanted: TypeAlias = "bool | str | Amount | Clocks | None"


@dataclass(frozen=True)
class GpuMatch:
    """Which GPUs an entry is for: those that fit everything given here."""

    uuid: str | None = None
    bus_id: str | None = None
    index: int | None = None
    name: re.Pattern[str] | None = None

    def __str__(self) -> str:
        given = {
            "uuid": self.uuid,
            "bus_id": self.bus_id,
            "index": self.index,
            "name": self.name and self.name.pattern,
        }
        return ", ".join(f"{key} {value}" for key, value in given.items() if value is not None) or "all"

    def fits(self, *, index: int, uuid: str | None, bus_id: str | None, name: str | None) -> bool:
        return (
            self.uuid in (None, uuid)
            and self.bus_id in (None, bus_id)
            and self.index in (None, index)
            and (self.name is None or (name is not None and self.name.search(name) is not None))
        )


@dataclass(frozen=True)
class GpuEntry:
    """Settings for some GPUs.

    where: the place in the user's list, for messages. settings: what is wanted, by the name of the setting, for those
    settings that the entry has. required: whether it is an error that no GPU fits.
    clamp: whether a power limit beyond the board's range is brought into it, instead of being an error.
    """

    where: str
    match: GpuMatch
    settings: Mapping[str, Wanted]
    required: bool = True
    clamp: bool = False


def parse_cards(cards: Sequence[Mapping[str, Any]], where: str = "cards") -> list[GpuEntry]:
    """Check a table of cards. It need not fit this host: no row must match, and boards of one name differ in range."""
    return [
        GpuEntry(here, parse_match(card.get("match"), f"{here}.match"), settings, required=False, clamp=True)
        for here, card, settings in _parse_rows(cards, where, frozenset({"match", "note"}))
    ]


def parse_entries(entries: Sequence[Mapping[str, Any]], where: str = "gpus") -> list[GpuEntry]:
    """Check a list of entries for the GPUs of this host. Raises InputError for the first wrong one."""
    return [
        GpuEntry(
            here,
            parse_match(entry.get("match"), f"{here}.match"),
            settings,
            required=_parse_boolean(entry.get("required", True), f"{here}.required"),
        )
        for here, entry, settings in _parse_rows(entries, where, frozenset({"match", "note", "required"}))
    ]


def _parse_rows(
    rows: object, where: str, keys: frozenset[str]
) -> Iterator[tuple[str, Mapping[str, Any], dict[str, Wanted]]]:
    """The place, the row and its settings. keys: what a row may have besides settings."""
    if isinstance(rows, str | Mapping) or not isinstance(rows, Sequence):
        raise InputError(where, "must be a list", rows)
    for position, row in enumerate(rows):
        here = f"{where}[{position}]"
        if not isinstance(row, Mapping):
            raise InputError(here, "must be a dictionary", row)
        given = {str(key): value for key, value in row.items() if value is not None}
        unknown = sorted(given.keys() - keys - _PARSERS.keys())
        if unknown:
            rule = f"must not have {unknown[0]}; it may have {', '.join([*sorted(keys), *_PARSERS])}"
            raise InputError(here, rule, dict(row))
        parsed = {name: parse(given[name], f"{here}.{name}") for name, parse in _PARSERS.items() if name in given}
        yield here, given, parsed


def parse_match(match: object, where: str) -> GpuMatch:
    if match == "all":
        return GpuMatch()
    if not isinstance(match, Mapping):
        raise InputError(where, _MATCH_RULE, match)
    given = {str(key): value for key, value in match.items() if value is not None}
    if not given:
        raise InputError(where, _MATCH_RULE, match)
    if unknown := sorted(given.keys() - _MATCH_PARSERS.keys()):
        raise InputError(where, f"must not have {unknown[0]}; it {_MATCH_RULE}", match)
    return GpuMatch(
        **{key: _MATCH_PARSERS[key](value, f"{where}.{key}") for key, value in given.items()}  # type: ignore[arg-type]
    )


def _parse_uuid(value: object, where: str) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise InputError(where, "must be a GPU's UUID as nvidia-smi -L prints it, GPU-...", value)
    return "GPU" + value[3:].lower()


def _parse_bus_id(value: object, where: str) -> str:
    try:
        return normalise_address(str(value))
    except ValueError:
        raise InputError(where, 'must be a PCI address in quotes such as "0000:0a:00.0"', value) from None


def _parse_index(value: object, where: str) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
        raise InputError(where, "must be a GPU's index: 0 or more", value)
    return int(str(value))


def _parse_name(value: object, where: str) -> re.Pattern[str]:
    if not isinstance(value, str) or not value:
        raise InputError(where, "must be a regular expression, to be found in the GPU's name", value)
    try:
        return re.compile(value, re.IGNORECASE)
    except re.error as error:
        raise InputError(where, f"must be a Python regular expression ({error})", value) from error


def _parse_boolean(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(where, "must be true or false", value)
    return value


def _parse_compute_mode(value: object, where: str) -> str | None:
    if value not in COMPUTE_MODES:
        raise InputError(where, f"must be one of {', '.join(COMPUTE_MODES)}", value)
    return None if value == "default" else str(value)


def _parse_power_limit(value: object, where: str) -> Amount | None:
    return None if value == "default" else _parse_amount(value, where, _POWER_RULE)


def _parse_clocks(value: object, where: str) -> Clocks | None:
    if value == "reset":
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise InputError(where, _CLOCKS_RULE, value)
    lowest, highest = (_parse_amount(each, where, _CLOCKS_RULE) for each in value)
    if any(each.is_percentage and each.number > 100 for each in (lowest, highest)):
        raise InputError(where, "must be at most 100 % of the maximum", value)
    if lowest.is_percentage == highest.is_percentage and lowest.number > highest.number:
        raise InputError(where, "must have its minimum first", value)
    return Clocks(lowest, highest)


def _parse_amount(value: object, where: str, rule: str) -> Amount:
    """A positive number, or a percentage; either may have become text on its way through templates."""
    text = "" if isinstance(value, bool) else str(value).strip()
    percentage = _PERCENT.fullmatch(text)
    number = percentage[1] if percentage else text
    if not re.fullmatch(r"\d+(\.\d+)?", number) or float(number) == 0:
        raise InputError(where, rule, value)
    return Amount(float(number), is_percentage=percentage is not None)


_MATCH_PARSERS = {"uuid": _parse_uuid, "bus_id": _parse_bus_id, "index": _parse_index, "name": _parse_name}
# In the order in which they are set: without persistence mode a driver may forget the others at once.
_PARSERS: Mapping[str, Callable[[object, str], Wanted]] = {
    "persistence_mode": _parse_boolean,
    "compute_mode": _parse_compute_mode,
    "power_limit": _parse_power_limit,
    "graphics_clocks": _parse_clocks,
    "memory_clocks": _parse_clocks,
}
SETTINGS = tuple(_PARSERS)
