# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a host's driver, next to what is there: what the rules are asked about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from ._driver_branches import Choice, Refusal, Request
from ._driver_host import DriverHost
from ._kernel_packages import KernelPackages

State = Literal["present", "absent"]


@dataclass(frozen=True)
class Situation:
    """host and request, and what follows from them.

    choice, refusal: the answer of the table of branches: one of them, or for `absent` none.
    remove: packages that must go so that the choice can come. candidates: what apt would take, of what it was asked.
    lists_known: whether apt has ever been told what there is.
    change: whether what is installed is not what is wanted. version: the glob that the driver's version must match.
    """

    host: DriverHost
    request: Request
    state: State
    choice: Choice | None
    refusal: Refusal | None
    kernel_packages: KernelPackages
    remove: tuple[str, ...]
    candidates: Mapping[str, str | None]
    lists_known: bool
    change: bool
    version: str = ""


@dataclass(frozen=True)
class Finding:
    """A refusal: why, and a command or a setting that a person can use as it is."""

    rule: str
    message: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return {"rule": self.rule, "message": self.message, "remedy": self.remedy}


def listed(names: Collection[str], most: int = 6) -> str:
    """Names in a sentence, which may be many."""
    shown = list(names)[:most]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def purge(names: Collection[str]) -> str:
    """The command that removes packages; all by name, because a glob would take more."""
    return f"sudo apt-get purge {' '.join(names)}"
