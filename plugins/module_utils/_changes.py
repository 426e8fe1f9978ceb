# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a configuration changed, to tell whether what is made from it is up to date.

A change is dated by ctime: dpkg gives files the times that they have in the package, and of links only the link is new.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ._links import link_chain
from ._settings import Settings


def find_changes(root: Path, places: Iterable[str], settings: Settings) -> list[tuple[int, str]]:
    """When each part of the configuration changed, and its path; the newest last. What is of the future is warned of.

    places: files and folders, relative to the root.
    """
    changes = sorted((path.lstat().st_ctime_ns, f"/{path.relative_to(root)}") for path in _parts(root, places))
    now = time.time_ns()
    for changed, path in changes:
        if changed > now:  # nothing made now would be newer
            settings.warnings.append(f"{path} was changed in the future and is not looked at: was the clock wrong?")
    return [each for each in changes if each[0] <= now]


def _parts(root: Path, places: Iterable[str]) -> Iterator[Path]:
    """Folders, which tell of what was removed; files; and all that links lead to, such as Debian's alternatives."""
    for place in places:
        top = root / place
        for path in [top, *top.rglob("*")]:
            yield from (each for each in link_chain(root, path) if each.is_symlink() or each.exists())
