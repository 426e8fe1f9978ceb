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


def names_to_ask(host: DriverHost, choice: Choice) -> tuple[str, ...]:
    """The packages whose candidates decide, and are not installed: what `kernel_packages` must be told of."""
    wanted = dict.fromkeys(_prebuilt(host, choice)) | _headers(host)
    return tuple(name for name, version in wanted.items() if not host.has(name, version))


def kernel_packages(host: DriverHost, choice: Choice, candidates: Mapping[str, str | None]) -> KernelPackages:
    """The packages for this host. Prebuilt ones are taken where every kind of kernel has them."""

    def is_there(name: str, version: str | None = None) -> bool:
        candidate = candidates.get(name)
        return host.has(name, version) or (candidate is not None and version in (None, candidate))

    metapackages = [_prebuilt_name(choice, kind) for kind in host.kernel_kinds]
    prebuilt = choice.source == "ubuntu" and bool(metapackages) and all(map(is_there, metapackages))
    # What is built here and may be loaded stays: a driver changes only when that is asked for.
    if prebuilt and host.has(choice.module) and (host.secure_boot.key == "enrolled" or not host.secure_boot.enforced):
        prebuilt = False
    wanted = dict.fromkeys(_prebuilt(host, choice)) if prebuilt else _headers(host)
    return KernelPackages({name: version for name, version in wanted.items() if is_there(name, version)}, prebuilt)


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
