# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transaction of apt: tried before it is done, and stopped if it would touch more than was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ._apt import LOCK_TIMEOUT, Change, Output, Runner, parse_simulation
from ._apt_failure import explain
from ._apt_freeze import FREEZE_FILE, frozen_versions, read_freeze, write_freeze
from ._apt_request import PackagesRequest, Wanted
from ._dpkg import Packages, read_packages
from ._guarded_packages import is_guarded
from ._settings import RequestError, Settings, SettingsError

KEEP_CONFIGURATION = ("--force-confdef", "--force-confold")


@dataclass
class Transaction:
    """What is to be installed, and the names of what is to be removed; with neither, apt finishes what it had begun.

    unpack_again: names, with or without `=version`, of packages that apt must unpack even where their version stays.
    unfinished: what an interrupted installation left; to finish that, each at its version, needs no asking.
    """

    request: PackagesRequest
    run: Runner
    root: Path
    install: Sequence[Wanted] = ()
    remove: Sequence[str] = ()
    unpack_again: Sequence[str] = ()
    unfinished: Packages = field(default_factory=dict)

    @property
    def asked(self) -> frozenset[str]:
        return frozenset(each.name for each in self.install) | frozenset(self.remove)

    def may_touch(self, name: str) -> bool:
        patterns = [*self.request.allow, *(pattern for each in self.install for pattern in each.allow)]
        return name in self.asked or any(pattern.match(name) for pattern in patterns)

    def finishes(self, change: Change) -> bool:
        """Whether this only unpacks what an interrupted installation left, at the version that it left it at."""
        return change.name in self.unfinished and change.after == self.unfinished[change.name].version

    def simulate(self, options: Sequence[str]) -> tuple[Change, ...]:
        """What apt would do. Raises SettingsError where it cannot."""
        output = self.run("apt-get", "--simulate", *options, *self._arguments())
        if output.code:
            raise self._failure("apt cannot do this", output)
        return parse_simulation(output.stdout)

    def refuse_unasked(self, changes: Sequence[Change]) -> None:
        """Raises RequestError for a transaction that would touch more than was asked for."""
        unasked = [each for each in changes if not self.may_touch(each.name) and not self.finishes(each)]
        guarded = [str(each) for each in unasked if is_guarded(each.name)]
        if guarded:
            raise RequestError(
                f"refused, because packages of kernel or driver would change unasked: {'; '.join(guarded)}. "
                f"Asked for: {self._summary()}. To have it so, name them in packages, or let allow match them"
            )
        removed = [str(each) for each in unasked if each.after is None]
        if removed and not self.request.remove:
            raise RequestError(
                f"refused, because packages would be removed unasked: {'; '.join(removed)}. "
                f"Asked for: {self._summary()}. To have it so, name them in absent, or set remove"
            )

    def execute(self, changes: Sequence[Change]) -> None:
        """Do it. What was frozen and may change is set free before, and frozen again after, whatever happens.

        A run that is killed in between leaves less frozen than there was, never packages frozen at what they no longer
        are: apt would then want them back.
        """
        frozen = read_freeze(self.root)
        if frozen is not None:
            write_freeze(self.root, self._kept(frozen))
        try:
            guard = () if any(each.after is None for each in changes) else ("--no-remove",)
            output = self.run("apt-get", *guard, *self._arguments())
        finally:
            if frozen is not None:
                write_freeze(self.root, frozen_versions(read_packages(self.run)))
        if output.code:
            raise self._failure("apt failed", output)

    def record(self, settings: Settings, changes: Sequence[Change]) -> None:
        """Record what was not asked for. Of what is recorded already, such as what was left unfinished, only another
        version is news.
        """
        positions = {each.id: position for position, each in enumerate(settings.records)}
        for each in changes:
            position = positions.get(each.name)
            if position is None:
                settings.compare(each.name, "persisted", each.after, each.before)
            elif each.name not in self.asked and each.after != each.before and not self.finishes(each):
                settings.records[position] = replace(settings.records[position], expected=each.after, action="changed")

    def _kept(self, frozen: Mapping[str, str]) -> dict[str, str]:
        return {name: version for name, version in frozen.items() if not self.may_touch(name)}

    def _arguments(self) -> Iterator[str]:
        yield from ("--yes", "--quiet", "--fix-broken", "--option=Dpkg::Use-Pty=0")
        yield f"--option=DPkg::Lock::Timeout={LOCK_TIMEOUT}"
        yield from (f"--option=Dpkg::Options::={option}" for option in KEEP_CONFIGURATION)
        if self.request.downgrade:
            yield "--allow-downgrades"
        if self.request.purge:
            yield "--purge"
        if self.unpack_again:
            yield "--reinstall"
        yield "install"
        yield from dict.fromkeys((*(each.name for each in self.install), *self.unpack_again))
        yield from (f"{name}-" for name in self.remove)

    def _summary(self) -> str:
        asked = [*(each.name for each in self.install), *(f"no {name}" for name in self.remove)]
        return ", ".join(asked) or "to finish an interrupted installation"

    def _failure(self, what: str, output: Output) -> SettingsError:
        held = "unmet dependencies" in output.text or "held broken packages" in output.text
        hint = f"\n(kernel and driver are frozen by {FREEZE_FILE})" if held and read_freeze(self.root) else ""
        return SettingsError(f"{what} ({self._summary()}):\n{explain(output.text, self.root)}{hint}")
