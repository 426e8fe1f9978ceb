# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a host's driver is not changed, as a table of rules: asked before the first change, all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from . import _driver_rules_machine as machine
from . import _driver_rules_packages as packages
from ._driver_situation import Finding, Situation

# present: also where all is as wanted. change, removal: only where something would be done.
When = Literal["present", "change", "removal"]
Rule = Callable[[Situation], Iterator[tuple[str, str]]]

RULES: dict[str, tuple[frozenset[When], Rule]] = {
    "branch": (frozenset({"present"}), machine.no_branch),
    "runfile": (frozenset({"present", "removal"}), packages.runfile),
    "mixed_sources": (frozenset({"present"}), packages.mixed_sources),
    "other_source": (frozenset({"present"}), packages.other_source),
    "server_series": (frozenset({"present"}), packages.server_series),
    "cuda_drivers": (frozenset({"change", "removal"}), packages.cuda_drivers),
    "not_obtainable": (frozenset({"change", "removal"}), packages.not_obtainable),
    "not_configured": (frozenset({"change", "removal"}), packages.not_configured),
    "module_not_built": (frozenset({"present"}), packages.module_not_built),
    "held": (frozenset({"change", "removal"}), packages.held),
    "dkms_leftover": (frozenset({"present"}), packages.dkms_leftover),
    "foreign_repository": (frozenset({"change"}), packages.foreign_repository),
    "no_candidate": (frozenset({"change"}), packages.no_candidate),
    "no_kernel": (frozenset({"change"}), machine.no_kernel),
    "no_headers": (frozenset({"change"}), machine.no_headers),
    "key_missing": (frozenset({"change"}), machine.key_missing),
    "key_not_enrolled": (frozenset({"change"}), machine.key_not_enrolled),
    "key_requested": (frozenset({"change"}), machine.key_requested),
    "blacklisted": (frozenset({"present"}), machine.blacklisted),
    "boot_unmounted": (frozenset({"change", "removal"}), machine.boot_unmounted),
    "read_only": (frozenset({"change", "removal"}), machine.read_only),
    "space": (frozenset({"change"}), machine.too_little_space),
    "boot_space": (frozenset({"change"}), machine.too_little_boot_space),
}


def refusals(situation: Situation) -> list[Finding]:
    """All that is in the way, in the order in which it is best mended."""
    stage: set[When] = {"present"} if situation.state == "present" else set()
    if situation.change:
        stage.add("change" if situation.state == "present" else "removal")
    return [
        Finding(name, message, remedy)
        for name, (when, rule) in RULES.items()
        if when & stage
        for message, remedy in rule(situation)
    ]
