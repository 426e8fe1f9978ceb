# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A JSON object as text: single values of it are set, and every other byte stays as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._settings import RequestError

KeyPath = Sequence[str]

_DECODER = json.JSONDecoder()
_WHITE = re.compile(r"[ \t\r\n]*")
_FIRST_INDENT = re.compile(r"\{[ \t\r]*\n([ \t]+)")
_INDENT = "    "


@dataclass(frozen=True)
class _Margin:
    """What lines begin with, and how often."""

    indent: str
    depth: int

    def render(self, value: object) -> str:
        shown = json.dumps(value, ensure_ascii=False, indent=self.indent)
        return shown.replace("\n", "\n" + self.indent * self.depth)


@dataclass(frozen=True)
class _Member:
    """One member of an object: where its key begins, and from where to where its value goes."""

    key: str
    start: int
    value: Any
    begin: int
    end: int


def parse_object(text: str, where: str) -> dict[str, Any]:
    """What a text says; one without anything is an empty object. Raises RequestError naming line and column."""
    try:
        found = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise RequestError(f"{where} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    if not isinstance(found, dict):
        raise RequestError(f"{where} must hold a JSON object; got: {canonical(found)}")
    return found


def canonical(value: object) -> str:
    """The same text for values that mean the same. Raises ValueError or TypeError for what JSON cannot hold."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def read_value(document: Mapping[str, Any], path: KeyPath, where: str) -> Any:
    """The value at a path; None where there is none. Raises RequestError where something on the way is no object."""
    found: Any = document
    for depth, key in enumerate(path):
        if not isinstance(found, dict):
            raise RequestError(f"{where}: {'.'.join(path[:depth])} must be an object; got: {canonical(found)}")
        if key not in found:
            return None
        found = found[key]
    return found


def set_value(text: str, path: KeyPath, value: object) -> str:
    """The text with a value at a path that `read_value` can follow; what is missing on the way is added at the end."""
    text = text if text.strip() else "{}\n"
    indent = found[1] if (found := _FIRST_INDENT.search(text)) else _INDENT
    begin = _skip(text, 0)
    for depth, key in enumerate(path):
        members = list(_members(text, begin))
        # Of a key that is there twice, readers take the last.
        member = next((each for each in reversed(members) if each.key == key), None)
        if member is None:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            return _add(text, begin, members, {key: value}, _Margin(indent, depth))
        if depth == len(path) - 1:
            return text[: member.begin] + _Margin(indent, depth + 1).render(value) + text[member.end :]
        begin = member.begin
    raise ValueError("a path must name something")


def _members(text: str, begin: int) -> Iterator[_Member]:
    """Those of the object that begins here; the text as a whole is known to be JSON."""
    place = _skip(text, begin + 1)
    while text[place] != "}":
        key, end = _DECODER.raw_decode(text, place)
        value_begin = _skip(text, _skip(text, end) + 1)
        value, value_end = _DECODER.raw_decode(text, value_begin)
        yield _Member(key, place, value, value_begin, value_end)
        place = _skip(text, value_end)
        if text[place] == ",":
            place = _skip(text, place + 1)


def _add(text: str, begin: int, members: Sequence[_Member], addition: Mapping[str, object], margin: _Margin) -> str:
    """A member at the end of the object that begins here, laid out as those before it."""
    gap = text[begin + 1 : members[0].start] if members else "\n"
    if "\n" not in gap:
        shown = json.dumps(addition, ensure_ascii=False)[1:-1]
        return text[: members[-1].end] + f",{gap or ' '}{shown}" + text[members[-1].end :]
    lines = margin.render(addition)[1:-1]
    if members:
        return text[: members[-1].end] + f",{gap}{lines.strip()}" + text[members[-1].end :]
    return text[: begin + 1] + lines + text[text.index("}", begin) :]


def _skip(text: str, place: int) -> int:
    found = _WHITE.match(text, place)
    return found.end() if found else place
