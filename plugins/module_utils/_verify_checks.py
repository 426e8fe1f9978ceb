# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `mlrig verify` found out about one thing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """id: begins with its group, as in `gpu/0/pcie_width`. expected, actual: texts; None where there is none.

    reason: why it failed, and what helps; or why it was skipped.
    """

    id: str
    status: Status
    expected: str | None = None
    actual: str | None = None
    reason: str | None = None

    @property
    def group(self) -> str:
        return self.id.partition("/")[0]

    def as_dict(self) -> dict[str, str | None]:
        return asdict(self)


def decide(check_id: str, fine: bool, expected: str, actual: str | None, reason: str) -> Check:  # noqa: FBT001 - a verdict
    """reason: is only said where it is not fine."""
    return Check(check_id, "passed" if fine else "failed", expected, actual, None if fine else reason)


def fail(check_id: str, expected: str, actual: str | None, reason: str) -> Check:
    return Check(check_id, "failed", expected, actual, reason)


def skip(check_id: str, reason: str, expected: str | None = None, actual: str | None = None) -> Check:
    return Check(check_id, "skipped", expected, actual, reason)
