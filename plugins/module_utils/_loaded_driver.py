# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's kernel module as it is loaded now, from what it says of itself in /proc."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ._files import read_if_there

# Without it no driver is loaded.
KERNEL_MODULE = "proc/driver/nvidia/version"
_VERSION = re.compile(r"^NVRM version:.*? (Open )?Kernel Module\b.*?  (\d+\.\d+(?:\.\d+)?)\s", re.MULTILINE)


@dataclass(frozen=True)
class LoadedDriver:
    """version: `595.71.05`. flavour: `open` or `proprietary`."""

    version: str
    flavour: str


def read_loaded_driver(root: Path) -> LoadedDriver | None:
    """None where none is loaded, or says what is not understood."""
    found = _VERSION.search(read_if_there(root / KERNEL_MODULE) or "")
    return found and LoadedDriver(found[2], "open" if found[1] else "proprietary")
