# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which uv and which of its tools a user asks for, checked before anything is read or changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ._settings import InputError
from ._uv_request import normalise, parse_environment

_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?")
# What the module itself says to uv.
_OURS = {
    **dict.fromkeys(("HOME", "LOGNAME", "USER"), "who runs this"),
    "UV_PYTHON": "the distribution, whose Python it is",
    **dict.fromkeys(("UV_TOOL_BIN_DIR", "UV_TOOL_DIR"), "where this module has the tools"),
}


@dataclass(frozen=True)
class Tool:
    name: str
    version: str


@dataclass(frozen=True)
class ToolsRequest:
    """uv: its version. hashes: of the wheels that may be it. index: of packages; None for the usual one.

    exclude_newer: what was uploaded later is not taken for the tools; None for no such date.
    """

    uv: str
    hashes: tuple[str, ...]
    tools: tuple[Tool, ...] = ()
    exclude_newer: str | None = None
    index: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def parse_tools(options: Mapping[str, Any]) -> ToolsRequest:
    """Raises InputError for the first wrong value. options: those of the module."""
    hashes = options["hashes"]
    if not hashes:
        raise InputError("hashes", "must name a wheel of uv", hashes)
    for position, each in enumerate(hashes):
        if not _HASH.fullmatch(each):
            raise InputError(f"hashes[{position}]", "must be sha256: and 64 digits of a hexadecimal number", each)
    until = options["exclude_newer"] or None
    if until is not None and not _is_date(until):
        raise InputError("exclude_newer", "must be a date, such as 2026-11-20", until)
    check_index(options["index"] or "", "index")
    environment = parse_tools_environment(options["environment"], "environment")
    return ToolsRequest(
        _parse_version(options["version"], "version"),
        tuple(hashes),
        tuple(parse_tool_list(options["tools"], "tools")),
        until,
        options["index"] or None,
        environment,
    )


def parse_tools_environment(variables: Mapping[str, Any], where: str) -> dict[str, str]:
    """Variables for uv and pip, of which none may be what the module itself says."""
    return parse_environment(variables, where, _OURS)


def check_index(address: str, where: str) -> None:
    """Empty is none."""
    if address and "://" not in address:
        raise InputError(where, "must be an address, such as https://mirror.example/simple", address)


def parse_tool_list(entries: Sequence[Mapping[str, Any]], where: str) -> list[Tool]:
    """Check and normalise the list."""
    tools: list[Tool] = []
    for position, entry in enumerate(entries):
        here = f"{where}[{position}]"
        if not _NAME.fullmatch(entry["name"]):
            raise InputError(f"{here}.name", "must be a name of letters, digits and . _ -", entry["name"])
        tool = Tool(normalise(entry["name"]), _parse_version(entry["version"], f"{here}.version"))
        if tool.name == "uv":
            raise InputError(f"{here}.name", "must not be uv, which is there without that", entry["name"])
        if tool.name in (each.name for each in tools):
            raise InputError(f"{here}.name", "must not be there twice", entry["name"])
        tools.append(tool)
    return tools


def _parse_version(version: str, where: str) -> str:
    if not _VERSION.fullmatch(version):
        raise InputError(where, "must be one exact version, such as 1.2.3", version)
    return version


def _is_date(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:
        return False
