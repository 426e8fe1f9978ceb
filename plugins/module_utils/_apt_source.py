# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One apt source with a key of its own, which takes over what other files say of the same repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ._apt import Runner, run_unlocked
from ._apt_failure import explain
from ._apt_lists import Taken, find, matcher
from ._apt_source_request import SourceRequest
from ._files import read_if_there, refuse_if_unwritable
from ._files import replace as replace_text
from ._key_download import download, find_proxies
from ._openpgp import KeyFormatError, read_keys, unarmour
from ._settings import RequestError, Setting, Settings, SettingsError

# One of the endings that apt passes over without a word.
BACKUP_SUFFIX = ".mlrig.save"
_DRAFT = "run/mlrig/apt-source.sources"


@dataclass
class SourcePlan:
    """source, proxy: whether that file differs. taken: what leaves other files."""

    request: SourceRequest
    run: Runner
    root: Path
    settings: Settings = field(default_factory=Settings)
    source: bool = False
    proxy: bool = False
    key: Setting | None = None
    taken: Sequence[Taken] = ()

    def apply(self) -> None:
        """What others say goes before the own source comes: apt stops where two name different keys.

        That the source works is seen before it is in place. What is no good leaves the sources as they were.
        """
        request, root = self.request, self.root
        if not request.present:
            for name in (request.source_file, request.proxy_file, request.key_file):
                replace_text(root / name, None)
            return
        if self.key is not None:
            key = _fetch_key(request, self.run, root)
            replace_text(root / request.key_file, key.decode(errors="surrogateescape"))
            self._tell_key(key)
        if self.proxy:
            replace_text(root / request.proxy_file, request.proxy_text)
        if self.source or self.key is not None:
            self._try(request.source_text or "")
        for taken in self.taken:
            self._take(taken)
        replace_text(root / request.source_file, request.source_text)

    def _tell_key(self, key: bytes) -> None:
        """Which of the accepted ones it is."""
        records = self.settings.records
        for position, each in enumerate(records):
            if each is self.key:
                records[position] = replace(each, expected=_describe(key))

    def _try(self, source: str) -> None:
        draft = self.root / _DRAFT
        replace_text(draft, source)
        try:
            output = run_unlocked(
                self.run,
                "apt-get",
                "update",
                f"--option=Dir::Etc::sourcelist={draft}",
                "--option=Dir::Etc::sourceparts=/dev/null",
                "--option=APT::Get::List-Cleanup=false",  # the lists of all other sources stay
                "--option=APT::Update::Error-Mode=any",
            )
        finally:
            draft.unlink()
        if output.code:
            uris = ", ".join(self.request.uris)
            raise SettingsError(
                f"apt cannot use {uris}; its sources are as they were:\n{explain(output.text, self.root)}"
            )

    def _take(self, taken: Taken) -> None:
        """What a package brought is diverted, so that no new version of it brings the source back."""
        backup = taken.file.with_name(taken.file.name + BACKUP_SUFFIX)
        on_host = f"/{taken.file.relative_to(self.root)}"
        if self.run("dpkg-query", "--search", on_host).code == 0:
            command = ("dpkg-divert", "--local", "--rename", "--divert", on_host + BACKUP_SUFFIX, "--add", on_host)
            output = self.run(*command)
            if output.code:
                raise SettingsError(f"cannot take over {on_host}: {output.text.strip()}")
        elif not backup.exists():
            replace_text(backup, read_if_there(taken.file))
        replace_text(taken.file, taken.rest)


def make_plan(request: SourceRequest, run: Runner, root: Path) -> SourcePlan:
    """Compare files with what is wanted. Changes nothing, and downloads nothing."""
    plan = SourcePlan(request, run, root)
    compare = plan.settings.compare
    found_key = _read_key(root / request.key_file)
    actual = None if found_key is None else _describe(found_key)
    setting = compare(f"/{request.key_file}", "persisted", _expected_key(request, root, found_key), actual)
    plan.key = setting if setting.action == "changed" else None
    found = read_if_there(root / request.proxy_file)
    plan.proxy = compare(f"/{request.proxy_file}", "persisted", request.proxy_text, found).action == "changed"
    found = read_if_there(root / request.source_file)
    plan.source = compare(f"/{request.source_file}", "persisted", request.source_text, found).action == "changed"
    if request.present:
        matches = matcher((*request.uris, *request.takes_over), request.suites)
        plan.taken = tuple(find(root, matches, root / request.source_file))
    for taken in plan.taken:
        name = f"/{taken.file.relative_to(root)}"
        compare(name, "persisted", None, "; ".join(taken.rows), reason=f"taken over by /{request.source_file}")
    if plan.settings.differing:
        refuse_if_unwritable(root / request.source_file)
    return plan


def _fetch_key(request: SourceRequest, run: Runner, root: Path) -> bytes:
    """The packets of the key. Raises RequestError for keys that are not those that were asked for."""
    data, origin = _given_key(request, root), request.key or ""
    if data is None and request.key_url is not None:
        origin = request.key_url
        data = download(origin, find_proxies(origin, request.proxy, run))
    if data is None:
        raise RequestError(f"key: there is no file {request.key} on this host")
    fault = _key_fault(data, request.fingerprints)
    if fault:
        raise RequestError(f"{origin if _is_place(origin) else 'key'}: {fault}")
    return unarmour(data)


def _key_fault(data: bytes, accepted: Sequence[str]) -> str | None:
    """Why keys are not those that are accepted. Every one must be: apt would trust each of them."""
    try:
        keys = read_keys(data)
    except KeyFormatError as error:
        return f"this is no public key of OpenPGP: {error}"
    wrong = [key for key in keys if accepted and key.fingerprint not in accepted]
    for key in wrong:
        if set(key.subkeys) & set(accepted):
            return f"accepted is a subkey; name its primary key, {key.fingerprint}"
    if wrong:
        found = ", ".join(key.fingerprint for key in wrong)
        return f"wrong key: its fingerprint is {found}, accepted is {' or '.join(accepted)}"
    return None


def _expected_key(request: SourceRequest, root: Path, found: bytes | None) -> str | None:
    """The fingerprints that the key on the host should have, told without a download."""
    if not request.present:
        return None
    given = _given_key(request, root)
    if given is not None and _key_fault(given, request.fingerprints) is None:
        same = found is not None and found == unarmour(given)
        return _describe(given) if same or found is None else f"{_describe(given)}, as given"
    if request.key_url is not None and found is not None and _key_fault(found, request.fingerprints) is None:
        return _describe(found)
    return " or ".join(request.fingerprints) or "a key"


def _given_key(request: SourceRequest, root: Path) -> bytes | None:
    if request.key is None:
        return None
    return _read_key(root / request.key.lstrip("/")) if _is_place(request.key) else request.key.encode()


def _is_place(key: str) -> bool:
    return "\n" not in key


def _read_key(file: Path) -> bytes | None:
    text = read_if_there(file)
    return None if text is None else text.encode(errors="surrogateescape")


def _describe(key: bytes) -> str:
    try:
        return " ".join(each.fingerprint for each in read_keys(key))
    except KeyFormatError as error:
        return f"no key: {error}"
