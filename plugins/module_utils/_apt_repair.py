# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt does to finish an interrupted installation: tried before it is done, stopped if it is more, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._apt import Change, Runner
from ._apt_freeze import thawed
from ._apt_request import PackagesRequest
from ._apt_transaction import Transaction
from ._dpkg import Packages, read_packages
from ._settings import Settings


@dataclass(frozen=True)
class Repair:
    """A transaction that asks for nothing, and what apt would do for it beyond configuring what is unpacked."""

    transaction: Transaction
    changes: tuple[Change, ...]

    def execute(self, settings: Settings) -> None:
        """Do it, and record what came of it, even where apt fails half-way."""
        try:
            self.transaction.execute(self.changes)
        finally:
            packages = read_packages(self.transaction.run)
            self.transaction.record(settings, [each for each in self.changes if _is_done(each, packages)])


def plan_repair(request: PackagesRequest, run: Runner, root: Path, options: Sequence[str] = ()) -> Repair:
    """Raises SettingsError where apt cannot finish it, or would do more of kernel or driver than to finish it."""
    unfinished = {name: each for name, each in read_packages(run).items() if each.unfinished}
    # No other version: this is not the run to change it.
    damaged = [f"{name}={each.version}" for name, each in unfinished.items() if each.must_be_unpacked and each.version]
    transaction = Transaction(request, run, root, unpack_again=damaged, unfinished=unfinished)
    with thawed(root, transaction.may_touch) as past_freeze:
        changes = transaction.simulate((*options, *past_freeze))
    transaction.refuse_unasked(changes)
    return Repair(transaction, changes)


def _is_done(change: Change, packages: Packages) -> bool:
    found = packages.get(change.name)
    version = found.version if found is not None and found.present else None
    return version == change.after
