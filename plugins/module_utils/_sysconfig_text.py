# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the form KEY="value", as snapper reads them; every other byte of a file stays as it is."""

from __future__ import annotations

import re

# A line that is not of this form is nothing to snapper, such as one with a blank beside the equals sign.
_LINE = re.compile(
    r"(?P<indent>[ \t]*)(?P<key>[0-9A-Z_]+)="
    r"(?:\"(?P<double>[^\"\n]*)\"|'(?P<single>[^'\n]*)'|(?P<bare>[^ \t\n]*))"
    r"(?P<rest>[ \t]*(?:#[^\n]*)?)",
)


def read_values(text: str, key: str) -> tuple[str, ...]:
    """Each value that the key is given; of repeated lines some readers take the first, and some the last."""
    values = (_value(found) for line in text.split("\n") if (found := _match(line, key)))
    return tuple(dict.fromkeys(values))


def read_value(text: str, key: str) -> str | None:
    """What differs in repeated lines is told in full."""
    values = read_values(text, key)
    return " and also ".join(values) if values else None


def set_value(text: str, key: str, value: str) -> str:
    """Every line of the key has the value afterwards; where there is none, one is added at the end."""
    lines = text.split("\n")
    places = [(position, found) for position, line in enumerate(lines) if (found := _match(line, key))]
    for position, found in places:
        if _value(found) != value:
            lines[position] = f'{found["indent"]}{key}="{value}"{found["rest"]}'
    if not places:
        lines[-1:] = [*(lines[-1:] if lines[-1] else []), f'{key}="{value}"', ""]
    return "\n".join(lines)


def _match(line: str, key: str) -> re.Match[str] | None:
    found = _LINE.fullmatch(line)
    return found if found is not None and found["key"] == key else None


def _value(found: re.Match[str]) -> str:
    return next(found[form] for form in ("double", "single", "bare") if found[form] is not None)
