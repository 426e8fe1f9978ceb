# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with a driver so that its modules fit the kernels: headers to build with, or Ubuntu's prebuilt modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ._driver_archive import Archive
from ._driver_branches import Choice
from ._driver_host import DriverHost

_ABI = re.compile(r"\d+\.\d+\.\d+-\d+")
# What headers need is no kernel; prebuilt modules belong to one that is there.
_WITH_HEADERS = r"linux-(?!image|modules|objects|signatures|generic)"
_WITH_PREBUILT = "linux-(modules|objects|signatures)-nvidia-"


@dataclass(frozen=True)
class KernelPackages:
    """versions: the packages to install in one transaction with the driver, each with the version that it must have,
    or None for any; those that apt has not are left out.

    prebuilt: they are modules that Canonical has built and signed. Named together with the driver, they take the
    place of the DKMS package.
    """

    versions: Mapping[str, str | None]
    prebuilt: bool

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.versions)

    @property
    def allow(self) -> str:
        """What of the kernel may come with them."""
        return _WITH_PREBUILT if self.prebuilt else _WITH_HEADERS


def names_to_ask(host: DriverHost, choice: Choice) -> tuple[str, ...]:
    """The packages whose candidates decide, and are not installed: what `kernel_packages` must be told of."""
    wanted = dict.fromkeys(_prebuilt(host, choice)) | _headers(host)
    return tuple(name for name, version in wanted.items() if not host.has(name, version))


def kernel_packages(
    host: DriverHost, choice: Choice, candidates: Mapping[str, str | None], archive: Archive
) -> KernelPackages:
    """The packages for this host. Prebuilt ones are taken where the newest kernel has them."""
    # What is built here and may be loaded stays: a driver changes only when that is asked for.
    built_here = host.has(choice.module) and (host.secure_boot.key == "enrolled" or not host.secure_boot.enforced)
    if host.kernels and not built_here:
        prebuilt = _find_prebuilt(host, choice, candidates, archive)
        if prebuilt:
            return KernelPackages(dict.fromkeys(prebuilt), prebuilt=True)
    headers = {
        name: version
        for name, version in _headers(host).items()
        if host.has(name, version) or (candidates.get(name) is not None and version in (None, candidates[name]))
    }
    return KernelPackages(headers, prebuilt=False)


def _find_prebuilt(
    host: DriverHost, choice: Choice, candidates: Mapping[str, str | None], archive: Archive
) -> list[str]:
    """Those of the newest kernel, and of older ones where they fit: each is made for some versions of the driver.

    The metapackage is taken at the newest kernel only: a newer one would bring its kernel, and nothing else of it.
    """
    newest = _prebuilt_name(choice, host.kernels[-1])
    if choice.source != "ubuntu" or not (host.has(newest) or candidates.get(newest)):
        return []
    metapackages = (
        name
        for kind in host.kernel_kinds
        if host.has(name := _prebuilt_name(choice, kind))
        or (candidates.get(name) and _abi(candidates[name]) == _abi(host.packages[f"linux-image-{kind}"].version))
    )
    names = [*metapackages, newest]
    for kernel in host.kernels[:-1]:
        name = _prebuilt_name(choice, kernel)
        if host.has(name) or (candidates.get(name) and archive.can_install([*choice.driver, newest, name])):
            names.append(name)
    return names


def _abi(version: str | None) -> str | None:
    """What a kernel's modules depend on: 7.0.0-29 of 7.0.0-29.29~24.04.1."""
    found = _ABI.match(version or "")
    return found and found[0]


def _prebuilt(host: DriverHost, choice: Choice) -> list[str]:
    if choice.source != "ubuntu":
        return []
    return [_prebuilt_name(choice, kernel) for kernel in (*host.kernel_kinds, *host.kernels)]


def _prebuilt_name(choice: Choice, kernel: str) -> str:
    flavour = "-open" if choice.flavour == "open" else ""
    return f"linux-modules-nvidia-{choice.branch}{flavour}-{kernel}"


def _headers(host: DriverHost) -> dict[str, str | None]:
    """By metapackage, so that the next kernel has them too, and by name for what the metapackages do not reach.

    A metapackage must have the version of the kernel's own: a newer one brings headers of a kernel that is not there,
    and DKMS would build for it.
    """
    with_kernel: dict[str, str | None] = {
        f"linux-headers-{kind}": host.packages[f"linux-image-{kind}"].version for kind in host.kernel_kinds
    }
    return with_kernel | {f"linux-headers-{kernel}": None for kernel in host.without_headers}
