# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else brings a driver, or keeps one away: a .run file, other repositories, leftovers of DKMS, a blacklist."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ._apt import Runner
from ._apt_lists import active as find_active
from ._files import read_if_there

_UNINSTALLERS = ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")
_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
_LIBRARY = re.compile(r"lib(?:nvidia-ml|cuda)\.so\.(\d{3}\.[\d.]+)")
_MODPROBE_FOLDERS = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
# CUDA needs both.
_NEEDED = r"nvidia(?:[-_]uvm)?"
_NEVER = re.compile(
    rf"\s*(?:blacklist\s+{_NEEDED}|install\s+{_NEEDED}\s+\S*/(?:true|false)|alias\s+{_NEEDED}\s+off)\s*(?:#.*)?"
)
_NEVER_AT_BOOT = ("module_blacklist", "modprobe.blacklist", "rd.driver.blacklist")
_REPOSITORIES = {
    "nvidia": re.compile(r"/compute/cuda/repos/(?P<distribution>[a-z0-9]+)/"),
    "local": re.compile(r"^file:.*/(?:nvidia-driver-local-repo|cuda-repo)-"),
    "ppa": re.compile(r"/graphics-drivers/ppa/"),
}


@dataclass(frozen=True)
class RunfileDriver:
    """A driver from a .run file. evidence: a file that no package owns. uninstaller: None where it is gone."""

    version: str | None
    evidence: str
    uninstaller: str | None


@dataclass(frozen=True)
class Repository:
    """An active apt source of drivers: `nvidia`, `local` or `ppa`. distribution: in NVIDIA's spelling, `ubuntu2404`."""

    kind: str
    file: str
    distribution: str | None = None


def find_runfile_driver(root: Path, run: Runner) -> RunfileDriver | None:
    libraries = [
        f"{folder}/{file.name}"
        for folder in _LIBRARY_FOLDERS
        for file in sorted((root / folder.lstrip("/")).glob("lib*.so.*"))
        if _LIBRARY.fullmatch(file.name)
    ]
    uninstallers = [path for path in _UNINSTALLERS if (root / path.lstrip("/")).exists()]
    unowned = _without_package(run, [*uninstallers, *libraries])
    if not unowned:
        return None
    found = next(filter(None, (_LIBRARY.fullmatch(Path(path).name) for path in unowned)), None)
    logged = (read_if_there(root / "var/lib/nvidia/log") or "").partition("\n")[0].strip()
    version = found[1] if found else logged if re.fullmatch(r"[\d.]+", logged) else None
    return RunfileDriver(version, unowned[0], next((path for path in unowned if path in uninstallers), None))


def _without_package(run: Runner, paths: Collection[str]) -> list[str]:
    if not paths:
        return []
    # A package may have the file under its name before /usr was merged.
    unmerged = [path.removeprefix("/usr") for path in paths if path.startswith("/usr/lib")]
    owned = {line.rpartition(": ")[2] for line in run("dpkg-query", "--search", *paths, *unmerged).stdout.splitlines()}
    return [path for path in paths if not owned & {path, path.removeprefix("/usr")}]


def find_repositories(root: Path) -> tuple[Repository, ...]:
    """The active sources of drivers beyond the distribution's archive."""
    found = {
        Repository(kind, f"/{file.relative_to(root)}", match.groupdict().get("distribution")): None
        for kind, pattern in _REPOSITORIES.items()
        for file, place in find_active(root)
        if (match := pattern.search(place))
    }
    return tuple(found)


def find_blacklist(root: Path) -> str | None:
    """Where it is said that a module is never loaded without which CUDA does nothing, if anywhere."""
    for token in (read_if_there(root / "proc/cmdline") or "").split():
        name, _sign, modules = token.partition("=")
        if name in _NEVER_AT_BOOT and any(re.fullmatch(_NEEDED, each) for each in modules.split(",")):
            return f"{token} on the kernel command line"
    seen = set()
    for folder in _MODPROBE_FOLDERS:
        for file in sorted((root / folder.lstrip("/") / "modprobe.d").glob("*.conf")):
            if file.name in seen:
                continue  # hidden by the one of its name in a folder of higher rank
            seen.add(file.name)
            for number, line in enumerate((read_if_there(file) or "").splitlines(), 1):
                if _NEVER.fullmatch(line):
                    return f"{folder}/modprobe.d/{file.name} line {number}, {line.strip()!r}"
    return None


def find_dkms_leftovers(root: Path, versions: Collection[str]) -> tuple[str, ...]:
    """Modules that DKMS still has, `nvidia/580.105.08`, of versions that no package has."""
    folders = sorted((root / "var/lib/dkms").glob("nvidia*/*"))
    return tuple(
        f"{folder.parent.name}/{folder.name}"
        for folder in folders
        # nvidia-fs and others have versions of their own
        if folder.is_dir() and re.fullmatch(r"\d{3}\.[\d.]+", folder.name) and folder.name not in versions
    )
