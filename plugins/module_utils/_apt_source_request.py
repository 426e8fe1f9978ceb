# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user wants of an apt source, and the files that make it so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ._settings import InputError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_URI = re.compile(r"(https?|file)://?[^\s\[\]]+|file:/\S+")
_PROXY = re.compile(r'https?://[^\s"]+')
_WORD = re.compile(r"[^\s#]+")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}|[0-9A-F]{64}")
_ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_HEADER = "Managed by mlrig.workstation (apt_source): what is edited here is undone by its next run."


@dataclass(frozen=True)
class SourceRequest:
    """See the module apt_source for each. Files are named by their path below /."""

    name: str
    present: bool = True
    uris: tuple[str, ...] = ()
    suites: tuple[str, ...] = ("/",)
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    key: str | None = None
    key_url: str | None = None
    fingerprints: tuple[str, ...] = ()
    proxy: str | None = None
    takes_over: tuple[str, ...] = ()

    @property
    def source_file(self) -> str:
        return f"etc/apt/sources.list.d/mlrig-{self.name}.sources"

    @property
    def key_file(self) -> str:
        return f"etc/apt/keyrings/mlrig-{self.name}.gpg"

    @property
    def proxy_file(self) -> str:
        return f"etc/apt/apt.conf.d/52mlrig-{self.name}-proxy"

    @property
    def source_text(self) -> str | None:
        return self.render(f"/{self.key_file}") if self.present else None

    def render(self, signed_by: str) -> str:
        """The text of the source, with a key of this path."""
        fields = {
            "Types": ("deb",),
            "URIs": self.uris,
            "Suites": self.suites,
            "Components": self.components,
            "Architectures": self.architectures,
            "Signed-By": (signed_by,),
        }
        return f"# {_HEADER}\n" + "".join(f"{name}: {' '.join(words)}\n" for name, words in fields.items() if words)

    @property
    def proxy_names(self) -> tuple[str, ...]:
        """What apt calls the proxy of each host of this source."""
        places = dict.fromkeys((urlsplit(uri).scheme, urlsplit(uri).hostname) for uri in self.uris)
        return tuple(f"Acquire::{scheme}::Proxy::{host}" for scheme, host in places if host)

    @property
    def proxy_text(self) -> str | None:
        if self.proxy is None or not self.present or not self.proxy_names:
            return None
        return f"// {_HEADER}\n" + "".join(f'{name} "{self.proxy}";\n' for name in self.proxy_names)


def parse_request(options: Mapping[str, Any]) -> SourceRequest:
    """The options of the module. Raises InputError for the first that is wrong."""
    name, present = options["name"], options["state"] == "present"
    if not _NAME.fullmatch(name):
        raise InputError("name", "must be of lower-case letters, digits and dashes", name)
    if not present:
        return SourceRequest(name, present=False)
    suites = _words("suites", options["suites"], _WORD, "must be a suite")
    flat = [suite.endswith("/") for suite in suites]
    if not suites or any(flat) is bool(options["components"]) or any(flat) is not all(flat):
        raise InputError("suites", "must be paths that end with a slash, or suites with components", list(suites))
    fingerprints = parse_fingerprints(options["fingerprints"], "fingerprints")
    _check_key(options["key"], options["key_url"], fingerprints)
    proxy = options["proxy"]
    if proxy is not None:
        check_proxy(proxy, "proxy")
    uris = tuple(options["uris"])
    for number, uri in enumerate(uris):
        check_address(uri, f"uris[{number}]")
    if not uris:
        raise InputError("uris", "must not be empty", list(uris))
    return SourceRequest(
        name,
        present,
        uris,
        suites,
        _words("components", options["components"], _WORD, "must be a component"),
        _words("architectures", options["architectures"], _WORD, "must be an architecture"),
        options["key"],
        options["key_url"],
        fingerprints,
        proxy,
        _words("takes_over", options["takes_over"], re.compile(r"\S+"), "must be a glob of addresses"),
    )


def _check_key(key: str | None, key_url: str | None, fingerprints: Sequence[str]) -> None:
    if (key is None) is (key_url is None):
        raise InputError("key, key_url", "are two ways, and exactly one is needed", [key, key_url])
    if key is not None and not key.startswith("/") and _ARMOUR not in key:
        raise InputError("key", "must be the path of a file on the host, or an armoured key", key)
    if key_url is not None:
        check_address(key_url, "key_url")
        if not fingerprints:
            raise InputError("fingerprints", "is needed, because what key_url gives is not to be trusted without", [])


def check_address(value: str, where: str) -> None:
    """Raises InputError."""
    if not _URI.fullmatch(value):
        raise InputError(where, "must be an address of http, https or file", value)


def check_proxy(value: str, where: str) -> None:
    """Raises InputError."""
    if value != "DIRECT" and not _PROXY.fullmatch(value):
        raise InputError(where, "must be an address of http or https, or DIRECT", value)


def parse_fingerprints(values: Sequence[str], where: str) -> tuple[str, ...]:
    """As OpenPGP counts them, without spaces. Raises InputError."""
    plain = [each.replace(" ", "").replace(":", "").upper() for each in values]
    return _words(where, plain, _FINGERPRINT, "must be a whole fingerprint, 40 or 64 hexadecimal digits")


def _words(where: str, values: Sequence[str], rule: re.Pattern[str], text: str) -> tuple[str, ...]:
    for number, value in enumerate(values):
        if not rule.fullmatch(value):
            raise InputError(f"{where}[{number}]", text, value)
    return tuple(values)
