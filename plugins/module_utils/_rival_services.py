# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that set what we set: of each setting there must be one owner."""

from __future__ import annotations

from collections.abc import Sequence

from ._apt import Runner
from ._settings import RequestError, SettingsError
from ._tunable_request import Tunable

_AT_WORK = ("active", "activating", "reloading")


def refuse_rivals(tunables: Sequence[Tunable], run: Runner) -> None:
    """Raises RequestError, naming all, where a service that sets one of the tunables too runs, or starts at boot."""
    wanted = [tunable for tunable in tunables if tunable.value is not None]
    units = list(dict.fromkeys(unit for tunable in wanted for unit in tunable.rivals))
    at_work = _find_at_work(units, run) if units else {}
    refusals = []
    for unit, state in at_work.items():
        rivalled = [tunable for tunable in wanted if unit in tunable.rivals]
        names = ", ".join(tunable.name for tunable in rivalled)
        refusals.append(f"{unit} is {state}, and sets {names} too. {rivalled[0].rivals[unit]}".rstrip())
    if refusals:
        raise RequestError("; ".join(refusals))


def _find_at_work(units: Sequence[str], run: Runner) -> dict[str, str]:
    """Those that are active or enabled, and which of both."""
    shown = run("systemctl", "show", "--property=ActiveState,UnitFileState", *units)
    blocks = shown.stdout.strip().split("\n\n")
    if shown.code or len(blocks) != len(units):
        raise SettingsError(f"systemctl does not tell whether {', '.join(units)} run: {shown.text.strip()}")
    found = {}
    # One block for each unit, in their order, also for those that are not there.
    for unit, block in zip(units, blocks, strict=True):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        if properties.get("ActiveState") in _AT_WORK:
            found[unit] = "active"
        elif properties.get("UnitFileState", "").startswith("enabled"):
            found[unit] = "enabled"
    return found
