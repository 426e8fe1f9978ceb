# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key of an apt source: where it comes from, and whether it is one of those that are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ._apt import Runner
from ._apt_source_request import SourceRequest
from ._files import read_if_there
from ._key_download import download, find_proxies
from ._openpgp import KeyFormatError, read_keys, unarmour
from ._settings import RequestError


def fetch_key(request: SourceRequest, run: Runner, root: Path) -> bytes:
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


def expected_key(request: SourceRequest, root: Path, found: bytes | None) -> str | None:
    """The fingerprints that the key on the host should have, told without a download."""
    if not request.present:
        return None
    given = _given_key(request, root)
    if given is not None and _key_fault(given, request.fingerprints) is None:
        same = found is not None and found == unarmour(given)
        return describe(given) if same or found is None else f"{describe(given)}, as given"
    if request.key_url is not None and found is not None and _key_fault(found, request.fingerprints) is None:
        return describe(found)
    return " or ".join(request.fingerprints) or "a key"


def _given_key(request: SourceRequest, root: Path) -> bytes | None:
    if request.key is None:
        return None
    return read_key(root / request.key.lstrip("/")) if _is_place(request.key) else request.key.encode()


def _is_place(key: str) -> bool:
    return "\n" not in key


def read_key(file: Path) -> bytes | None:
    text = read_if_there(file)
    return None if text is None else text.encode(errors="surrogateescape")


def describe(key: bytes) -> str:
    try:
        return " ".join(each.fingerprint for each in read_keys(key))
    except KeyFormatError as error:
        return f"no key: {error}"
