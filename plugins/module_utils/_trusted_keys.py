# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose signatures the running kernel takes: distribution's keys, and those enrolled in firmware and shim."""

from __future__ import annotations

import re
from pathlib import Path

from ._files import read_if_there
from ._settings import SettingsError

_KEYS = "proc/keys"
_KEY = re.compile(r" asymmetri (?P<owner>.+): [0-9a-f]+: X509\.")


def read_key_owners(root: Path) -> frozenset[str] | None:
    """The owners of the keys; None where the kernel does not tell this user."""
    try:
        text = read_if_there(root / _KEYS)
    except SettingsError:
        return None
    return frozenset(found["owner"] for found in _KEY.finditer(text or "")) or None


def is_trusted(signer: str, owners: frozenset[str] | None) -> bool:
    """Whether a signer, as modinfo names it, is among the owners; the kernel puts an organisation before the name."""
    return owners is None or any(owner == signer or owner.endswith(f": {signer}") for owner in owners)
