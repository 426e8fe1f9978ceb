# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbolic links, followed within a root folder: Debian's alternatives are chains of absolute ones."""

from __future__ import annotations

import os
from pathlib import Path

_LONGEST = 40  # as the kernel


def link_chain(root: Path, path: Path) -> tuple[Path, ...]:
    """The path and all that it leads to, the last one being no link; it may not exist."""
    chain = [path]
    while chain[-1].is_symlink() and len(chain) <= _LONGEST:
        target = chain[-1].readlink()
        # An absolute target replaces what it is joined to, and would leave the root.
        start = root if target.is_absolute() else chain[-1].parent
        chain.append(Path(os.path.normpath(start / str(target).lstrip("/"))))
    return tuple(chain)
