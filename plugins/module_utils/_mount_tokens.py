# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a mount as text: split, compared, and edited so that all else stays as it was."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TOKEN = re.compile(r'(?:[^,"]|"[^"]*"?)*')  # a comma between double quotes is part of a value
# What the kernel and mount take as one choice, beyond NAME and noNAME.
_CONTRADICTIONS = {
    "noatime": {"atime", "relatime", "strictatime"},
    "atime": {"noatime"},
    "relatime": {"noatime", "strictatime", "norelatime"},
    "strictatime": {"noatime", "relatime", "nostrictatime"},
    "ro": {"rw"},
    "rw": {"ro"},
    "sync": {"async"},
    "async": {"sync"},
    "compress": {"compress-force"},
    "compress-force": {"compress"},
    "users": {"nouser", "user"},
    "user": {"nouser", "users"},
    "nouser": {"user", "users"},
}
# Each further one of these adds to those before.
_REPEATABLE = {
    "x-systemd.requires",
    "x-systemd.after",
    "x-systemd.before",
    "x-systemd.wanted-by",
    "x-systemd.required-by",
    "x-systemd.requires-mounts-for",
    "x-systemd.wants-mounts-for",
    "device",
    "lowerdir+",
}


def split(options: str) -> list[str]:
    """The tokens between commas, empty ones too."""
    tokens = []
    position = 0
    while position <= len(options):
        token = _TOKEN.match(options, position)
        end = token.end() if token else len(options)
        tokens.append(options[position:end])
        position = end + 1
    return tokens


def name(token: str) -> str:
    return token.partition("=")[0]


def contradicts(one: str, other: str) -> bool:
    """Whether of two different tokens only one can be meant."""
    mine, theirs = name(one), name(other)
    if mine == theirs:
        return mine not in _REPEATABLE
    return theirs in _CONTRADICTIONS.get(mine, set()) or mine == f"no{theirs}" or theirs == f"no{mine}"


def merge(options: str, wanted: Sequence[str]) -> str:
    """The options with what contradicts a wanted token taken out, and what is missing put at the end."""
    tokens = [
        token for token in split(options) if token in wanted or not any(contradicts(each, token) for each in wanted)
    ]
    missing = [token for token in wanted if token not in tokens]
    if missing and tokens and not tokens[-1]:
        tokens.pop()  # after a comma at the end
    return ",".join([*tokens, *missing])
