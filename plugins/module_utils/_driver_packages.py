# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages of NVIDIA's driver are installed, and whose they are: NVIDIA's, Canonical's, Debian's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ._apt import Runner
from ._dpkg import Package, Packages
from ._driver_origins import origin_of

_DRIVER = re.compile(r"nvidia|libcuda|libnvcuvid|libnvoptix|cuda-drivers")
_VERSION = re.compile(r"(?P<upstream>(?P<branch>[1-9]\d\d)\.\d+(\.\d+)*)-")
_SUFFIX = re.compile(r"-([1-9]\d\d)(?=[-:]|$)")  # libnvidia-compute-580:i386
_ONE_VERSION = re.compile(r"nvidia-firmware-[1-9]\d\d(-server)?-\d")
_PREBUILT = re.compile(r"linux-(?:modules|objects|signatures)-nvidia-(?P<branch>[1-9]\d\d)-")
# The packages whose presence tells which flavour of kernel modules there is.
_MODULES = re.compile(
    r"nvidia-dkms|nvidia-(open-)?kernel-(open-)?dkms|nvidia-kernel-source|linux-(modules|objects)-nvidia"
)
# Tools that have a version like a driver's, and work with every driver.
_INDEPENDENT = re.compile(
    r"nvidia-(settings|modprobe|persistenced|xconfig|prime|installer-cleanup|container|docker)|libnvidia-(egl|container)"
)
_CUDA_DRIVERS = re.compile(r"cuda-drivers(-\d+)?")
# What belongs to a data centre's switches, and must have the driver's version.
_COMPANIONS = re.compile(r"nvidia-(fabricmanager|imex)|libnvidia-nscq|libnvsdm|cuda-drivers-fabricmanager")
_PIN = "nvidia-driver-pinning-"
_SERVER = re.compile(r"-[1-9]\d\d-server(-|$)")


@dataclass(frozen=True)
class DriverPackage:
    """An installed package. version: the driver's; of prebuilt modules None. origin: as Installed.source."""

    name: str
    branch: str
    version: str | None
    origin: str

    @property
    def suffixed(self) -> bool:
        return bool(_SUFFIX.search(self.name))

    @property
    def is_one_version_only(self) -> bool:
        """Whether its name has a version, so that another one is another package, and this one is left behind."""
        return bool(_ONE_VERSION.match(self.name))


@dataclass(frozen=True)
class Installed:
    """The driver as packages, finished or not.

    pins: packages that hold a branch. companions: what is no part of the driver, but must have its version.
    cuda_drivers: metapackages that ask for a branch, of which metapackages of CUDA depend.
    """

    packages: tuple[DriverPackage, ...]
    modules: tuple[str, ...]
    pins: tuple[str, ...]
    companions: tuple[DriverPackage, ...]
    cuda_drivers: tuple[DriverPackage, ...]

    @property
    def branch(self) -> str | None:
        """None where there is none, or several after an upgrade that was cut off."""
        return _only(each.branch for each in self.packages)

    @property
    def version(self) -> str | None:
        return _only(self.versions)

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(sorted({each.version for each in self.packages if each.version and not each.is_one_version_only}))

    @property
    def is_torn(self) -> bool:
        """Whether an upgrade was cut off. In Debian's archive not all packages have the driver's version."""
        return self.source in ("nvidia", "ubuntu") and len(self.versions) > 1

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(sorted({each.origin for each in self.packages}))

    @property
    def source(self) -> str | None:
        """`nvidia`, `ubuntu`, `debian`, `ppa` (Ubuntu's graphics-drivers), or `mixed`."""
        return _only(self.origins) or ("mixed" if self.origins else None)

    @property
    def flavour(self) -> str | None:
        """Of the kernel modules; None where there are none, or both."""
        return _only("open" if "open" in name else "proprietary" for name in self.modules)

    @property
    def server_series(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.packages if _SERVER.search(each.name))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.packages)

    def as_dict(self) -> dict[str, Any]:
        return {
            "branch": self.branch,
            "version": self.version,
            "source": self.source,
            "flavour": self.flavour,
            "packages": [*self.names, *(each.name for each in self.cuda_drivers)],
            "pins": list(self.pins),
        }


def read_maintainers(run: Runner, packages: Packages) -> dict[str, str]:
    """Who made each package of the driver: some versions are of one form in two archives."""
    names = [name for name, each in packages.items() if each.present and is_driver(each)]
    if not names:
        return {}
    output = run("dpkg-query", "--show", "--showformat=${Package}\\t${Maintainer}\\n", *names)
    pairs = (line.partition("\t") for line in output.stdout.splitlines())
    return {name: maintainer for name, _tab, maintainer in pairs}


def find_installed(packages: Packages, maintainers: Mapping[str, str], distribution: str) -> Installed:
    present = {name: each for name, each in sorted(packages.items()) if each.present}
    found = [
        DriverPackage(name, *driver, _origin(each, maintainers.get(name, ""), distribution))
        for name, each in present.items()
        if (driver := _driver_version(each)) is not None
    ]
    companions = [each for each in found if _COMPANIONS.match(each.name)]
    cuda_drivers = [each for each in found if _CUDA_DRIVERS.fullmatch(each.name)]
    lockstep = [each for each in found if each not in companions and each not in cuda_drivers]
    return Installed(
        tuple(lockstep),
        tuple(each.name for each in lockstep if _MODULES.match(each.name)),
        pins_of(present),
        tuple(companions),
        tuple(cuda_drivers),
    )


def pins_of(packages: Packages) -> tuple[str, ...]:
    """The packages that hold a branch, there or gone with their configuration left, which still holds it."""
    return tuple(name for name, each in sorted(packages.items()) if is_pin(name) and each.status != "not-installed")


def is_driver(package: Package) -> bool:
    return _driver_version(package) is not None


def is_pin(name: str) -> bool:
    return name.startswith(_PIN)


def upstream_of(version: str) -> str | None:
    """NVIDIA's own version, `595.71.05`, of a package's."""
    found = _VERSION.match(version)
    return found and found["upstream"]


def branch_of_pin(name: str) -> str:
    return name.removeprefix(_PIN).partition(".")[0]


def _only(values: Iterable[str]) -> str | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _driver_version(package: Package) -> tuple[str, str | None] | None:
    """Branch and version of a package of the driver; None for all others."""
    if found := _PREBUILT.match(package.name):
        return found["branch"], None
    if not _DRIVER.search(package.name) or _INDEPENDENT.match(package.name) or package.name.startswith(_PIN):
        return None
    version = _VERSION.match(package.version)
    return version and (version["branch"], version["upstream"])


def _origin(package: Package, maintainer: str, distribution: str) -> str:
    return "ubuntu" if _PREBUILT.match(package.name) else origin_of(package.version, maintainer, distribution)
