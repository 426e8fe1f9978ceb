# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of /etc/fstab: its rows, and edits of single fields, so that all else stays as it was, byte for byte."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ._settings import SettingsError

_FIELD = re.compile(r"[^ \t]+")
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")
_UNSAFE = re.compile(r"[ \t\n\\]")


@dataclass(frozen=True)
class Row:
    """One row. line: counted from 1. source, path, type: without escapes. options: as they are written; may be empty.

    start, end: where the options stand in the text, or would begin.
    """

    line: int
    source: str
    path: str
    type: str
    options: str
    start: int
    end: int

    @property
    def is_swap(self) -> bool:
        return self.type == "swap"


def parse(text: str, file: str) -> tuple[Row, ...]:
    """Raises SettingsError, with file and line, for a row that mount would not understand."""
    rows = []
    position = 0
    for number, line in enumerate(text.split("\n"), start=1):
        fields = list(_FIELD.finditer(line))
        if fields and not fields[0][0].startswith("#"):
            _check([field[0] for field in fields], line, f"{file} line {number}")
            source, path, kind = (unescape(field[0]) for field in fields[:3])
            start, end = fields[3].span() if len(fields) > 3 else (fields[2].end(), fields[2].end())
            options = line[start:end]
            rows.append(Row(number, source, _plain(path), kind, options, position + start, position + end))
        position += len(line) + 1
    return tuple(rows)


def _check(fields: list[str], line: str, where: str) -> None:
    if "\r" in line:
        raise SettingsError(f"{where} has a carriage return, which would be a part of its last field: {line!r}")
    if len(fields) < 3:
        raise SettingsError(f"{where} must have a source, a path and a type at least: {line!r}")
    for field in fields[4:6]:
        if not (field.isascii() and field.isdigit()):
            raise SettingsError(f"{where} must have numbers after its options: {line!r}")


def _plain(path: str) -> str:
    return os.path.normpath(path) if path.startswith("/") else path


def unescape(field: str) -> str:
    """A field, or one of the kernel's tables of mounts, with the characters that its octal numbers stand for."""
    data = field.encode(errors="surrogateescape")
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), data).decode(errors="surrogateescape")


def escape(field: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\{ord(found[0]):03o}", field)


def with_options(text: str, edits: Mapping[Row, str]) -> str:
    """The text with other options in some of its rows."""
    for row in sorted(edits, key=lambda row: row.start, reverse=True):
        gap = "" if row.options else _gap(text, row)
        text = text[: row.start] + gap + edits[row] + text[row.end :]
    return text


def _gap(text: str, row: Row) -> str:
    """What separates the last two fields of a row that has no options."""
    line = text[: row.end].rpartition("\n")[2]
    return re.split(r"[^ \t]+", line)[-2]


def with_row(text: str, fields: Iterable[str]) -> str:
    """The text with one more row at its end."""
    end = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{end}{' '.join(map(escape, fields))}\n"


def without_rows(text: str, rows: Iterable[Row]) -> str:
    gone = {row.line for row in rows}
    return "\n".join(line for number, line in enumerate(text.split("\n"), start=1) if number not in gone)
