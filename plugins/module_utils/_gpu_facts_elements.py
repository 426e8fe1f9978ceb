# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading elements of nvidia-smi's XML: what the shape of facts in `_gpu_facts_xml` is made of.

NVIDIA promises nothing about it: every driver adds, drops and renames elements. Whatever is not exactly as expected is
None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

Read = Callable[[Element], Any]

LOST = ("GPU is lost", "GPU requires reset", "GPU requires restart")
UNKNOWN = "Unknown Error"
_DEPRECATED = "Requested functionality has been deprecated"
# What stands, in lower case and without brackets, where there is no value.
_NOT_TOLD = {
    text.lower()
    for text in (
        *("", "N/A", "None", "Unknown", "Not Available", "Not Found", "Not Supported", "Function Not Found"),
        *("Insufficient Permissions", _DEPRECATED, UNKNOWN, *LOST),
    )
}
_ON_OR_OFF = {"Enabled": True, "Disabled": False, "Yes": True, "No": False}


def find(element: Element, *paths: str) -> str | None:
    """The first of several elements that tells something: drivers give one thing different names."""
    texts = (element.findtext(path, "").strip() for path in paths)
    return next((told for told in texts if told.strip("[]").lower() not in _NOT_TOLD), None)


def text(*paths: str) -> Read:
    return lambda element: find(element, *paths)


def _number(pattern: str, unit: str, convert: Callable[[str], Any], paths: tuple[str, ...]) -> Read:
    """A number of one unit, which is what stands after it (or the x of 16x); of another unit it would mislead."""

    def read(element: Element) -> Any:
        match = re.fullmatch(rf"({pattern})\s*{re.escape(unit)}", find(element, *paths) or "", re.ASCII)
        return match and convert(match[1])

    return read


def whole(unit: str, *paths: str) -> Read:
    return _number(r"-?\d{1,18}", unit, int, paths)


def watts(*names: str) -> Read:
    groups = ("gpu_power_readings", "power_readings")
    return _number(r"-?\d{1,9}(?:\.\d+)?", "W", float, tuple(f"{group}/{name}" for group in groups for name in names))


def choice(words: Mapping[str, Any], *paths: str) -> Read:
    return lambda element: words.get(find(element, *paths) or "")


def on(*paths: str) -> Read:
    return choice(_ON_OR_OFF, *paths)
