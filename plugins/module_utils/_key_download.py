# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads of keys: small, within a time, through the proxy that apt would use."""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener, getproxies

from ._apt import Runner
from ._settings import SettingsError

_LIMIT = 1 << 20
_TIMEOUT = 30.0
_DIRECT = "DIRECT"
_APT_PROXY = re.compile(r'Acquire::(https?)::Proxy(?:::(\S+))? "([^"]*)";')


def find_proxies(url: str, proxy: str | None, run: Runner) -> dict[str, str]:
    """The proxy for each scheme: the one that was asked for, else that of the environment, else that of apt."""
    if proxy is not None:
        return {} if proxy == _DIRECT else {"http": proxy, "https": proxy}
    return getproxies() or parse_apt_proxies(run("apt-config", "dump").stdout, urlsplit(url).hostname or "")


def parse_apt_proxies(dump: str, host: str) -> dict[str, str]:
    """What `apt-config dump` tells: a proxy for this host counts more than one for all."""
    found = _APT_PROXY.findall(dump)
    for_all = {scheme: proxy for scheme, named, proxy in found if not named}
    for_host = {scheme: proxy for scheme, named, proxy in found if named == host}
    return {scheme: proxy for scheme, proxy in (for_all | for_host).items() if proxy not in {_DIRECT, ""}}


def download(url: str, proxies: Mapping[str, str], timeout: float = _TIMEOUT) -> bytes:
    """Raises SettingsError, which names the address and the cause."""
    try:
        with build_opener(ProxyHandler(dict(proxies))).open(url, timeout=timeout) as answer:
            data: bytes = answer.read(_LIMIT + 1)
    except (OSError, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        through = f" through {', '.join(sorted(set(proxies.values())))}" if proxies and "file:" not in url else ""
        raise SettingsError(f"cannot download the key {url}{through}: {cause}") from error
    if len(data) > _LIMIT:
        raise SettingsError(f"cannot download the key {url}: it has more than {_LIMIT} bytes")
    return data
