# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with a driver so that its modules fit the kernels: headers to build with, or Ubuntu's prebuilt modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ._driver_branches import Choice
from ._driver_host import DriverHost


@dataclass(frozen=True)
class KernelPackages:
    """names: the packages to install in one transaction with the driver; those that apt has not are left out.

    prebuilt: they are modules that Canonical has built and signed. Named together with the driver, they take the
    place of the DKMS package.
    """

    names: tuple[str, ...]
    prebuilt: bool


def names_to_ask(host: DriverHost, choice: Choice) -> tuple[str, ...]:
    """The packages whose candidates decide, and are not installed: what `kernel_packages` must be told of."""
    names = [*_prebuilt(host, choice), *_headers(host)]
    return tuple(name for name in names if not host.has(name))


def kernel_packages(host: DriverHost, choice: Choice, candidates: Mapping[str, str | None]) -> KernelPackages:
    """The packages for this host. Prebuilt ones are taken where every kind of kernel has them."""

    def is_there(name: str) -> bool:
        return host.has(name) or candidates.get(name) is not None

    metapackages = [_prebuilt_name(choice, kind) for kind in host.kernel_kinds]
    prebuilt = choice.source == "ubuntu" and bool(metapackages) and all(map(is_there, metapackages))
    # What is built here and may be loaded stays: a driver changes only when that is asked for.
    if prebuilt and host.has(choice.module) and (host.secure_boot.key == "enrolled" or not host.secure_boot.enforced):
        prebuilt = False
    names = _prebuilt(host, choice) if prebuilt else _headers(host)
    return KernelPackages(tuple(filter(is_there, names)), prebuilt)


def _prebuilt(host: DriverHost, choice: Choice) -> list[str]:
    if choice.source != "ubuntu":
        return []
    return [_prebuilt_name(choice, kernel) for kernel in (*host.kernel_kinds, *host.kernels)]


def _prebuilt_name(choice: Choice, kernel: str) -> str:
    flavour = "-open" if choice.flavour == "open" else ""
    return f"linux-modules-nvidia-{choice.branch}{flavour}-{kernel}"


def _headers(host: DriverHost) -> list[str]:
    """By metapackage, so that the next kernel has them too, and by name for what the metapackages do not reach."""
    return [f"linux-headers-{each}" for each in (*host.kernel_kinds, *host.without_headers)]
