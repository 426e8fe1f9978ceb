# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages there, gone, or of a version: compared with dpkg, and brought about by one transaction of apt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ._apt import Change, Runner, read_candidates, run_unlocked
from ._apt_failure import update_lists
from ._apt_freeze import thawed
from ._apt_repair import plan_repair
from ._apt_request import Comparison, PackagesRequest, Wanted, compare
from ._apt_transaction import KEEP_CONFIGURATION, Transaction
from ._dpkg import read_packages
from ._guarded_packages import is_guarded
from ._settings import RequestError, Setting, Settings, SettingsError

_JOURNAL = "var/lib/dpkg/updates"
_DPKG = "dpkg"
_UNFINISHABLE = "apt cannot finish its installation; see the warnings"
_NO_CACHE = ("--option=Dir::Cache::pkgcache=", "--option=Dir::Cache::srcpkgcache=")


@dataclass
class PackagesPlan:
    """What differs, and what mends it. left: what an interrupted installation left of other packages."""

    request: PackagesRequest
    run: Runner
    root: Path
    comparison: Comparison
    settings: Settings = field(default_factory=Settings)
    left: list[Setting] = field(default_factory=list)

    def apply(self) -> None:
        fault = self._finish() if self.comparison.unfinished or was_interrupted(self.root) else None
        self._change()
        self._tell_versions()
        if fault is not None:
            self._tell_left(fault)

    def _change(self) -> None:
        install, remove = self.comparison.install, self.comparison.remove
        if not install and not remove:
            return
        if install and self.request.update_cache:
            self.settings.warnings += update_lists(self.run, self.root)
        unfinished = self.comparison.unfinished
        damaged = [each.name for each in install if each.name in unfinished and unfinished[each.name].must_be_unpacked]
        transaction = Transaction(self.request, self.run, self.root, install, remove, damaged, unfinished)
        with thawed(self.root, transaction.may_touch) as options:
            faults = _candidate_faults(install, read_candidates(self.run, [each.name for each in install], options))
            if faults:
                raise RequestError("; ".join(f"{name}: {fault}" for name, fault in faults.items()))
            changes = transaction.simulate(options)
        transaction.refuse_unasked(changes)
        try:
            transaction.execute(changes)
        except SettingsError as failure:
            # That of another package, such as a driver that cannot be built, does not count against what was asked for.
            if compare(self.request, read_packages(self.run)).differing:
                raise
            self.settings.warnings.append(str(failure))
        _record_more(self.settings, transaction, changes)

    def _tell_versions(self) -> None:
        """Of what is there now, by whatever step, and was not told apart from others that would have done, the version
        was wanted.
        """
        met = _compare(self.request, self.run).met
        for position, each in enumerate(self.settings.records):
            if each.action == "changed" and each.expected is not None and met.get(each.id) is not None:
                self.settings.records[position] = replace(each, expected=met[each.id])

    def _finish(self) -> str | None:
        """First, as apt refuses all other work until then. Returns why it cannot be done."""
        fault = None
        if was_interrupted(self.root):
            run_unlocked(self.run, "dpkg", "--configure", "--pending", *KEEP_CONFIGURATION)
        if self.left:
            try:
                plan_repair(self.request, self.run, self.root).execute(self.settings)
            except SettingsError as failure:
                fault = str(failure)
        self.comparison = _compare(self.request, self.run)
        return fault

    def _tell_left(self, fault: str) -> None:
        """What cannot be finished is not the concern of those who did not ask for it: it is skipped, and said."""
        asked = self.comparison.met.keys() | {each.name for each in self.comparison.differing}
        unfinished = {name for name, each in read_packages(self.run).items() if each.unfinished}
        if was_interrupted(self.root):
            unfinished.add(_DPKG)
        left = [each for each in self.settings.differing if each.id in unfinished - asked]
        # What was asked for may have needed the same, and then finished it.
        if left or not self.comparison.differing:
            self.settings.warnings.append(fault)
        for each in left:
            self.settings.amend(each, "skipped", _UNFINISHABLE)


def make_plan(request: PackagesRequest, run: Runner, root: Path, *, check_mode: bool) -> PackagesPlan:
    """Compare with dpkg alone; where something differs in check mode, try what apt would do. Changes nothing."""
    plan = PackagesPlan(request, run, root, _compare(request, run))
    comparison, settings = plan.comparison, plan.settings
    rehearsal = _rehearse(plan) if check_mode and comparison.differing else _Rehearsal()
    for name, state in comparison.met.items():
        settings.compare(name, "persisted", state, state)
    for each in comparison.differing:
        settings.compare(each.name, "persisted", each.expected, each.actual, reason=rehearsal.reasons.get(each.name))
    if rehearsal.transaction is not None:
        _record_more(settings, rehearsal.transaction, rehearsal.changes)
    asked = {each.name for each in comparison.differing}
    left = {name: each.status for name, each in comparison.unfinished.items() if name not in asked}
    if was_interrupted(root):
        left[_DPKG] = "interrupted"
    plan.left = [settings.compare(name, "persisted", "installed", status) for name, status in left.items()]
    # What apt would do after dpkg has finished its own part, apt cannot tell before.
    if check_mode and plan.left and not was_interrupted(root):
        _rehearse_repair(plan)
    return plan


def was_interrupted(root: Path) -> bool:
    """Whether dpkg was stopped in the middle of a write; until it is finished, apt refuses to work."""
    journal = root / _JOURNAL
    return journal.is_dir() and any(each.name.isdigit() for each in journal.iterdir())


def _compare(request: PackagesRequest, run: Runner) -> Comparison:
    """As `compare`; a name that only other packages provide counts as there, where one that provides it is."""
    packages = read_packages(run)
    comparison = compare(request, packages)
    providers = {name: each.name for each in packages.values() if each.installed for name in each.provides}
    virtual = [each for each in comparison.differing if each.is_missing and each.name in providers]
    candidates = read_candidates(run, [each.name for each in virtual])
    for each in virtual:
        if candidates.get(each.name) is None:
            comparison.differing.remove(each)
            comparison.met[each.name] = f"provided by {providers[each.name]}"
    return comparison


def _candidate_faults(install: Sequence[Wanted], candidates: Mapping[str, str | None]) -> dict[str, str]:
    """Says of packages why apt cannot install them, or would take another version than is wanted."""
    faults = {}
    for each in install:
        candidate = candidates.get(each.name)
        if each.name not in candidates:
            faults[each.name] = "apt knows no such package; look at the sources in /etc/apt/sources.list.d"
        elif each.demand is not None and not each.accepts(candidate):
            faults[each.name] = (
                f"apt would take {candidate or 'none'}, wanted is {each.demand}; "
                "look at the sources in /etc/apt/sources.list.d and the preferences in /etc/apt/preferences.d"
            )
    return faults


@dataclass
class _Rehearsal:
    """What apt would do, or for packages why that cannot be told yet."""

    transaction: Transaction | None = None
    changes: tuple[Change, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)


def _rehearse(plan: PackagesPlan) -> _Rehearsal:
    """Raises what the real run would raise, as far as it can be told without new package lists and without what other
    tasks of the same run would change before this one.
    """
    install, remove = plan.comparison.install, plan.comparison.remove
    if plan.comparison.unfinished or was_interrupted(plan.root):
        reason = "not tried: an installation was interrupted, and would be finished first"
        return _Rehearsal(reasons={each.name: reason for each in plan.comparison.differing})
    transaction = Transaction(plan.request, plan.run, plan.root, install, remove)
    with thawed(plan.root, transaction.may_touch) as past_freeze:
        options = (*past_freeze, *_NO_CACHE)
        faults = _candidate_faults(install, read_candidates(plan.run, [each.name for each in install], options))
        if faults:
            return _Rehearsal(reasons={name: f"as things are, {fault}" for name, fault in faults.items()})
        changes = transaction.simulate(options)
    transaction.refuse_unasked(changes)
    return _Rehearsal(transaction, changes)


def _rehearse_repair(plan: PackagesPlan) -> None:
    try:
        repair = plan_repair(plan.request, plan.run, plan.root, _NO_CACHE)
    except SettingsError as failure:
        plan.settings.warnings.append(str(failure))
        for each in plan.left:
            plan.settings.amend(each, "skipped", _UNFINISHABLE)
    else:
        repair.transaction.record(plan.settings, repair.changes)


def _record_more(settings: Settings, transaction: Transaction, changes: Sequence[Change]) -> None:
    """Record what else changes of kernel and driver, and what is removed."""
    transaction.record(settings, [each for each in changes if is_guarded(each.name) or each.after is None])
