# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One apt source with a key of its own, which takes over what other files say of the same repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ._apt import Runner, run_unlocked
from ._apt_failure import explain
from ._apt_lists import Taken, find, matcher
from ._apt_source_key import describe, expected_key, fetch_key, read_key
from ._apt_source_request import SourceRequest
from ._apt_takeover import Diversion, find_diversions, give_back, take
from ._files import read_if_there, refuse_if_unwritable
from ._files import replace as replace_text
from ._settings import Setting, Settings, SettingsError

_DRAFT = "run/mlrig/apt-source.sources"
_DRAFT_KEY = "run/mlrig/apt-source.gpg"


@dataclass
class SourcePlan:
    """source, proxy: whether that file differs. old_proxy: its text. taken: what leaves other files. diversions: what
    is given back.
    """

    request: SourceRequest
    run: Runner
    root: Path
    settings: Settings = field(default_factory=Settings)
    source: bool = False
    proxy: bool = False
    old_proxy: str | None = None
    key: Setting | None = None
    taken: Sequence[Taken] = ()
    diversions: Sequence[Diversion] = ()

    def apply(self) -> None:
        """That the source works is seen before anything of it is in place. What is no good leaves the host as it was.

        What others say goes before the own source comes, and the other way round: apt stops where two name different
        keys.
        """
        request, root = self.request, self.root
        if not request.present:
            for name in (request.source_file, request.proxy_file, request.key_file):
                replace_text(root / name, None)
            for diversion in self.diversions:
                give_back(diversion, self.run, root)
            return
        key = None if self.key is None else fetch_key(request, self.run, root)
        if self.source or self.proxy or key is not None:
            self._try(key)
        if key is not None:
            replace_text(root / request.key_file, key.decode(errors="surrogateescape"))
            self._tell_key(key)
        if self.proxy:
            replace_text(root / request.proxy_file, request.proxy_text)
        for taken in self.taken:
            take(taken, request.name, self.run, root)
        replace_text(root / request.source_file, request.source_text)

    def _tell_key(self, key: bytes) -> None:
        """Which of the accepted ones it is."""
        records = self.settings.records
        for position, each in enumerate(records):
            if each is self.key:
                records[position] = replace(each, expected=describe(key))

    def _try(self, key: bytes | None) -> None:
        """Raises SettingsError where apt cannot use the source with this key, or with that which is in place."""
        draft, draft_key = self.root / _DRAFT, self.root / _DRAFT_KEY
        try:
            if key is not None:
                replace_text(draft_key, key.decode(errors="surrogateescape"))
            replace_text(draft, self.request.render(f"/{self.request.key_file}" if key is None else str(draft_key)))
            output = run_unlocked(
                self.run,
                "apt-get",
                "update",
                f"--option=Dir::Etc::sourcelist={draft}",
                "--option=Dir::Etc::sourceparts=/dev/null",
                "--option=APT::Get::List-Cleanup=false",  # the lists of all other sources stay
                "--option=APT::Update::Error-Mode=any",
                *self._proxy_options(),
            )
        finally:
            draft.unlink(missing_ok=True)
            draft_key.unlink(missing_ok=True)
        if output.code:
            uris = ", ".join(self.request.uris)
            raise SettingsError(f"apt cannot use {uris}; this host is as it was:\n{explain(output.text, self.root)}")

    def _proxy_options(self) -> Iterator[str]:
        """The proxy as it is going to be, and not as the file says that is still in place."""
        for name in self.request.proxy_names:
            if self.request.proxy is not None or f"{name} " in (self.old_proxy or ""):
                yield f"--option={name}={self.request.proxy or ''}"


def make_plan(request: SourceRequest, run: Runner, root: Path) -> SourcePlan:
    """Compare files with what is wanted. Changes nothing, and downloads nothing."""
    plan = SourcePlan(request, run, root)
    compare = plan.settings.compare
    found_key = read_key(root / request.key_file)
    actual = None if found_key is None else describe(found_key)
    setting = compare(f"/{request.key_file}", "persisted", expected_key(request, root, found_key), actual)
    plan.key = setting if setting.action == "changed" else None
    plan.old_proxy = read_if_there(root / request.proxy_file)
    plan.proxy = compare(f"/{request.proxy_file}", "persisted", request.proxy_text, plan.old_proxy).action == "changed"
    found = read_if_there(root / request.source_file)
    plan.source = compare(f"/{request.source_file}", "persisted", request.source_text, found).action == "changed"
    if request.present:
        matches = matcher((*request.uris, *request.takes_over), request.suites)
        plan.taken = tuple(find(root, matches, root / request.source_file))
        for taken in plan.taken:
            name = f"/{taken.file.relative_to(root)}"
            compare(name, "persisted", None, "; ".join(taken.rows), reason=f"taken over by /{request.source_file}")
    else:
        plan.diversions = _compare_diversions(plan)
    if plan.settings.differing:
        refuse_if_unwritable(root / request.source_file)
    return plan


def _compare_diversions(plan: SourcePlan) -> list[Diversion]:
    """Those that can go."""
    found = list(find_diversions(plan.request.name, plan.run, plan.root))
    for each in found:
        record = plan.settings.skip if each.blocked else plan.settings.compare
        record(each.file, "persisted", None, f"diverted to {each.backup}", reason=each.reason)
    return [each for each in found if not each.blocked]
