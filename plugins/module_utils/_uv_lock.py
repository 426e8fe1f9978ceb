# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a project's uv.lock, and how it becomes one that fits pyproject.toml."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from ._settings import SettingsError
from ._uv_command import Uv
from ._uv_failure import explain, refuse_ignored_settings

LOCK = "uv.lock"
IN_STEP = "in step with pyproject.toml"
_STALE = re.compile(r"The lockfile at `.*` needs to be updated")
_CORRUPT = re.compile(r"Failed to parse `.*uv\.lock`|failed to read from file `.*uv\.lock`: stream did not contain")


@dataclass(frozen=True)
class Lock:
    """fault: what uv says of one that is corrupt."""

    state: Literal["in step", "missing", "stale", "corrupt"]
    fault: str | None = None

    @property
    def actual(self) -> str | None:
        match self.state:
            case "in step":
                return IN_STEP
            case "stale":
                return "not in step with pyproject.toml"
            case "corrupt":
                return "corrupt"
        return None


def look_at_lock(uv: Uv, folder: Path, *, away: bool) -> Lock:
    """Compares without a change. away: as for `Uv.look`. Raises SettingsError for what no new lock would mend."""
    path = folder / LOCK
    if path.is_dir():
        raise SettingsError(f"{path} is in the way, as it is a folder: move it away")
    if not path.exists():
        return Lock("missing")
    output = uv.resolve("lock", "--check", away=away)
    refuse_ignored_settings(output)
    if not output.code:
        return Lock("in step")
    if _CORRUPT.search(output.stderr):
        return Lock("corrupt", explain(output.stderr))
    if _STALE.search(output.stderr):
        return Lock("stale")
    raise uv.failure(output)


def set_aside(uv: Uv, folder: Path) -> None:
    """A lock that cannot be read is kept beside the one that will be made."""
    kept = _name_for_corrupt(folder)
    (folder / LOCK).rename(kept)
    uv.warn(f"{LOCK} could not be read, and is now {kept.name}")


def make_lock(uv: Uv) -> None:
    """Versions of a lock that is there stay, as far as they fit."""
    output = uv.lock()
    refuse_ignored_settings(output)
    if output.code:
        raise uv.failure(output)


def _name_for_corrupt(folder: Path) -> Path:
    names = (folder / f"{LOCK}.corrupt{f'.{number}' if number > 1 else ''}" for number in count(1))
    return next(each for each in names if not os.path.lexists(each))
