# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is before its driver changes: all that the rules of `_driver_refusals` ask, read in one go."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ._apt import Runner
from ._apt_packages import was_interrupted
from ._containers import container_kind
from ._dkms_status import FailedBuild, find_failed_builds
from ._dpkg import Package, Packages, read_packages
from ._driver_packages import Installed, find_installed, read_maintainers
from ._driver_table import PROGRAMS
from ._files import read_if_there
from ._foreign_drivers import (
    Repository,
    RunfileDriver,
    find_blacklist,
    find_dkms_leftovers,
    find_repositories,
    find_runfile_driver,
)
from ._host_use import Process, gpu_processes, graphical_sessions
from ._kernel_modules import find_kernels, has_headers
from ._loaded_driver import LoadedDriver, read_loaded_driver
from ._nvidia_cards import Card, find_cards
from ._secure_boot import SecureBoot, read_secure_boot

_METAPACKAGE = re.compile(r"linux-image-(?P<kind>(?!unsigned-|extra-)[a-z][a-z0-9.-]*(?<!-dbg))")
_MIB = 1 << 20


@dataclass(frozen=True)
class FileSystem:
    """Where something of the driver goes: what is free there for root's use, in MiB."""

    device: int
    free: int
    read_only: bool


@dataclass(frozen=True)
class DriverHost:
    """A host, without a change.

    container: its kind, where it is one that has no kernel of its own. wsl: Windows has the driver.
    kernels: those that can be booted, the oldest first. without_headers: those of them that nothing can be built for.
    kernel_kinds: `generic-hwe-24.04`, `amd64`: what follows linux-image- in the names of installed metapackages.
    interrupted: dpkg was stopped in the middle; what it left is finished before anything else.
    file_systems: of /, /usr, /var and /boot. largest_initramfs: in MiB.
    boot_unmounted: fstab has a /boot that is not mounted, so that kernels are written beside those that are booted.
    programs: those of the driver that are there, `nvidia-smi`.
    """

    distribution: str
    container: str | None
    wsl: bool
    cards: tuple[Card, ...]
    kernels: tuple[str, ...]
    running: str
    without_headers: tuple[str, ...]
    kernel_kinds: tuple[str, ...]
    packages: Packages
    installed: Installed
    loaded: LoadedDriver | None
    secure_boot: SecureBoot
    runfile: RunfileDriver | None
    repositories: tuple[Repository, ...]
    dkms_leftovers: tuple[str, ...]
    failed_builds: tuple[FailedBuild, ...]
    blacklist: str | None
    sessions: tuple[str, ...]
    processes: tuple[Process, ...]
    interrupted: bool
    file_systems: Mapping[str, FileSystem]
    largest_initramfs: int
    boot_unmounted: bool
    programs: frozenset[str]

    @property
    def held(self) -> tuple[str, ...]:
        return tuple(name for name, each in self.packages.items() if each.held and each.present)

    @property
    def unfinished(self) -> tuple[Package, ...]:
        return tuple(each for each in self.packages.values() if each.unfinished or each.reinstall)

    def has(self, name: str, version: str | None = None) -> bool:
        """Whether a package is installed, of a version where that matters."""
        package = self.packages.get(name)
        return package is not None and package.installed and version in (None, package.version)


def read_host(root: Path, run: Runner, measure: Callable[[Path], FileSystem] | None = None) -> DriverHost:
    """measure: tells of a file system; given in tests."""
    distribution = read_distribution(root)
    packages = read_packages(run)
    installed = find_installed(packages, read_maintainers(run, packages), distribution)
    kernels = tuple(each.release for each in find_kernels(root) if each.complete)
    versions = [each.version for each in installed.packages if each.version]
    running = _read(root, "proc/sys/kernel/osrelease")
    metapackages = (_METAPACKAGE.fullmatch(name) for name, each in packages.items() if each.installed)
    return DriverHost(
        distribution=distribution,
        container=None if kernels else container_kind(root),
        wsl="microsoft" in running.lower(),
        cards=find_cards(root),
        kernels=kernels,
        running=running,
        without_headers=tuple(each for each in kernels if not _can_be_built_for(root, each, packages)),
        kernel_kinds=tuple(sorted(found["kind"] for found in metapackages if found)),
        packages=packages,
        installed=installed,
        loaded=read_loaded_driver(root),
        secure_boot=read_secure_boot(root, distribution),
        runfile=find_runfile_driver(root, run),
        repositories=find_repositories(root),
        dkms_leftovers=find_dkms_leftovers(root, versions),
        failed_builds=find_failed_builds(root),
        blacklist=find_blacklist(root),
        sessions=graphical_sessions(root),
        processes=gpu_processes(root),
        interrupted=was_interrupted(root),
        file_systems={name: (measure or _measure)(root / name.lstrip("/")) for name in ("/", "/usr", "/var", "/boot")},
        largest_initramfs=max((_size(file) for file in (root / "boot").glob("initrd.img-*")), default=0),
        boot_unmounted=_is_unmounted(root, "/boot"),
        programs=frozenset(name for name in PROGRAMS if (root / "usr/bin" / name).exists()),
    )


def read_distribution(root: Path) -> str:
    """`Ubuntu 24.04` or `Debian 13`, as the table of branches has it."""
    text = _read(root, "etc/os-release") or _read(root, "usr/lib/os-release")
    pairs = (line.partition("=") for line in text.splitlines())
    fields = {name.strip(): value.strip().strip("\"'") for name, _sign, value in pairs}
    return f"{fields.get('NAME', '?').removesuffix(' GNU/Linux')} {fields.get('VERSION_ID', '')}".strip()


def _can_be_built_for(root: Path, kernel: str, packages: Packages) -> bool:
    headers = packages.get(f"linux-headers-{kernel}")
    return has_headers(root, kernel) or (headers is not None and headers.present)


def _measure(path: Path) -> FileSystem:
    existing = next(each for each in (path, *path.parents) if each.exists())
    space = os.statvfs(existing)
    return FileSystem(
        existing.stat().st_dev, space.f_bavail * space.f_frsize // _MIB, bool(space.f_flag & os.ST_RDONLY)
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size // _MIB
    except OSError:
        return 0


def _is_unmounted(root: Path, place: str) -> bool:
    wanted = [line.split() for line in _read(root, "etc/fstab").splitlines() if not line.lstrip().startswith("#")]
    mounts = [line.split() for line in _read(root, "proc/self/mounts").splitlines()]
    is_wanted = any(len(each) > 3 and each[1] == place and "noauto" not in each[3].split(",") for each in wanted)
    return is_wanted and not any(len(each) > 1 and each[1] == place for each in mounts)


def _read(root: Path, name: str) -> str:
    return (read_if_there(root / name) or "").strip()
