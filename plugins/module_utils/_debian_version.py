# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of two versions of a package dpkg calls the newer one: deb-version(7)."""

from __future__ import annotations

import re

_PARTS = re.compile(r"([^0-9]*)([0-9]*)")
_Ranks = list[tuple[tuple[int, ...], int]]
_END = (0,)  # of a text: after a tilde, before all else


def is_at_least(version: str, lowest: str) -> bool:
    """Whether a version is this one or a newer one. Where `lowest` has no revision, any revision of it will do."""
    return _key(version) >= _key(lowest)


def _key(version: str) -> tuple[int, _Ranks, _Ranks]:
    epoch, colon, rest = version.rpartition(":")
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"  # none is as good as this
    return int(epoch) if colon else 0, _ranks(upstream), _ranks(revision)


def _ranks(text: str) -> _Ranks:
    """Letters and numbers in turn, so that lists compare as dpkg does; a missing number counts as 0."""
    return [(tuple(map(_rank, letters)) + _END, int(number or 0)) for letters, number in _PARTS.findall(text)]


def _rank(letter: str) -> int:
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256
