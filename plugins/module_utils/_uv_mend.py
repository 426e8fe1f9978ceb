# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one project is mended: the text first, then the lock, the environment, and what is damaged in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ._files import replace
from ._uv_command import Uv, read_answer
from ._uv_environment import Change, clear_environment, read_changes
from ._uv_lock import make_lock, set_aside
from ._uv_owner import Owner, acting_as
from ._uv_situation import PYPROJECT, Situation, look_for_damage


def mend(uv: Uv, owner: Owner, folder: Path, found: Situation, damage: str) -> list[Change]:
    """Returns what uv changed in the environment. What a run that is killed leaves undone, the next one does."""
    if found.writes_pyproject:
        with acting_as(owner):
            replace(folder / PYPROJECT, uv.project.pyproject)
    if found.interpreter is not None:
        uv.succeed("python", "install", "--no-bin", found.interpreter)  # none in the PATH of its owner
    if found.lock.state == "corrupt":
        with acting_as(owner):
            set_aside(uv, folder)
    if found.environment.must_be_cleared:  # even a lock is made with its interpreter
        clear_environment(uv, owner, folder)
    if found.lock.state != "in step":
        make_lock(uv)
    changes = _sync(uv, list(found.damaged))
    # Files of an environment are often hard links into the cache, which is then damaged, too: what the index has is
    # asked for, and as a last resort the cache is made to forget.
    for empties_cache in (False, True):
        damaged = list(look_for_damage(owner, folder, damage))
        if not damaged:
            break
        if empties_cache:
            # Without --force it waits for each `uv run`, such as a training of days. Installed files stay in any case.
            uv.succeed("cache", "clean", "--force", *damaged)
        _sync(uv, damaged, offline_first=False)
    return changes


def _sync(uv: Uv, reinstall: Sequence[str], *, offline_first: bool = True) -> list[Change]:
    output = uv.sync(*(f"--reinstall-package={name}" for name in reinstall), offline_first=offline_first)
    answer = read_answer(output)
    if output.code or answer is None:
        raise uv.failure(output)
    return read_changes(answer["changes"])
