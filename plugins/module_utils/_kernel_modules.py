# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver's modules of every installed kernel: what modprobe would load, and what is wrong with it.

`modinfo -k KERNEL nvidia` cannot be asked: Debian's own packages name the files nvidia-current-open.ko, and tell
modprobe so by `install` lines, which modinfo does not follow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._apt import Runner
from ._files import read_if_there
from ._next_kernel import by_version

DRIVER_MODULES = ("nvidia", "nvidia_modeset", "nvidia_drm", "nvidia_uvm")
_OPEN_LICENSE = "Dual MIT/GPL"
_FILE = re.compile(r"(?P<stem>nvidia[\w-]*)\.ko(?:\.(?:gz|xz|zst))?")
_FIELD = re.compile(r"(?P<name>\w+): +(?P<value>.*)")
_INSTALL = re.compile(r"install (?P<module>\S+) (?P<command>.+)")
_ALIASED_OFF = re.compile(r"alias (?P<module>\S+) off")
_IGNORING_INSTALL = re.compile(r"\bmodprobe\b[^;&|]*?\s(?:-i|--ignore-install)\s+(?P<module>[\w-]+)")
_NOTHING = re.compile(r"(?:/usr)?(?:/bin/)?(?:true|false|:)\b.*")


@dataclass(frozen=True)
class Kernel:
    """A kernel of which something is there. missing: what of it is not, so that it cannot be booted."""

    release: str
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.missing


@dataclass(frozen=True)
class ModuleFile:
    """A module's file. readable: modinfo understood it. indexed: depmod has listed it, or modprobe does not find it."""

    file: str
    empty: bool
    indexed: bool
    readable: bool
    fields: Mapping[str, str]

    @property
    def stem(self) -> str:
        return _name_of(Path(self.file).name)

    @property
    def name(self) -> str:
        """What it is called once it is loaded."""
        return self.fields.get("name", self.stem)

    @property
    def version(self) -> str | None:
        return self.fields.get("version")

    @property
    def flavour(self) -> str | None:
        licence = self.fields.get("license")
        return licence and ("open" if licence == _OPEN_LICENSE else "proprietary")

    @property
    def signer(self) -> str | None:
        return self.fields.get("signer")

    @property
    def built_for(self) -> str | None:
        """The kernel that it can be loaded into."""
        return self.fields.get("vermagic", "").partition(" ")[0] or None


def find_kernels(root: Path) -> tuple[Kernel, ...]:
    """Oldest first. What is left of a removed kernel, such as its DKMS modules, is among them, as not complete."""
    folders = {each.name for each in (root / "lib/modules").glob("[0-9]*") if each.is_dir()}
    images = {each.name.removeprefix("vmlinuz-") for each in (root / "boot").glob("vmlinuz-[0-9]*")}
    return tuple(
        Kernel(
            release,
            tuple(
                what
                for what, found in ((f"/boot/vmlinuz-{release}", images), (f"/lib/modules/{release}", folders))
                if release not in found
            ),
        )
        for release in sorted(folders | images, key=by_version)
    )


def has_headers(root: Path, release: str) -> bool:
    """Whether modules can be built for a kernel: the link is not enough, its target must be there."""
    return (root / "lib/modules" / release / "build/Makefile").exists()


def find_modules(root: Path, kernels: Sequence[Kernel], run: Runner) -> dict[str, tuple[ModuleFile, ...]]:
    """Every file of the driver's, by kernel, with what modinfo says: one call for all of them."""
    found = {kernel.release: list(_files(root / "lib/modules" / kernel.release)) for kernel in kernels}
    full = [str(path) for paths in found.values() for path in paths if _size(path)]
    records = parse_modinfo(run("modinfo", *full).stdout) if full else {}
    modules: dict[str, tuple[ModuleFile, ...]] = {}
    for release, paths in found.items():
        folder = root / "lib/modules" / release
        indexed = _indexed(folder)
        every = (
            ModuleFile(
                file=f"/lib/modules/{release}/{path.relative_to(folder)}",
                empty=str(path) not in full,
                indexed=str(path.relative_to(folder)) in indexed,
                readable=len(fields := records.get(str(path), {})) > 1,
                fields=fields,
            )
            for path in paths
        )
        # The kernel has modules of its own with such names, nvidia-wmi-ec-backlight and nvidiafb.
        modules[release] = tuple(each for each in every if not each.readable or each.name in DRIVER_MODULES)
    return modules


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names) if _FILE.fullmatch(name))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # a link that leads nowhere


def _indexed(folder: Path) -> frozenset[str]:
    """The files in the index of depmod, which of two of one name takes only that which goes first."""
    lines = (read_if_there(folder / "modules.dep") or "").splitlines()
    return frozenset(line.partition(":")[0] for line in lines)


def parse_modinfo(text: str) -> dict[str, dict[str, str]]:
    """The first value of each field, by file. Of a file that modinfo cannot read only `filename` is said."""
    records: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for found in filter(None, map(_FIELD.fullmatch, text.splitlines())):
        if found["name"] == "filename":
            fields = records.setdefault(found["value"], {})
        fields.setdefault(found["name"], found["value"].strip())
    return records


@dataclass(frozen=True)
class Loading:
    """What modprobe's configuration makes of the names of modules.

    files: the module whose file it loads instead, by name. off: what it runs instead of loading anything, by name.
    """

    files: Mapping[str, str]
    off: Mapping[str, str]


def parse_modprobe(text: str) -> Loading:
    """From `modprobe --showconfig`."""
    files: dict[str, str] = {}
    off: dict[str, str] = {}
    for line in text.splitlines():
        if found := _ALIASED_OFF.fullmatch(line):
            off[_normal(found["module"])] = "off"
        elif found := _INSTALL.fullmatch(line):
            module, command = _normal(found["module"]), found["command"].strip()
            if loaded := _IGNORING_INSTALL.search(command):
                files[module] = _normal(loaded["module"])
            elif _NOTHING.fullmatch(command):
                off[module] = command
    return Loading(files, off)


def loaded_file(name: str, files: Sequence[ModuleFile], loading: Loading) -> ModuleFile | None:
    """The file that modprobe takes for a module of the driver; one that depmod has not listed only for want of it."""
    wanted = loading.files.get(name, name)
    candidates = [each for each in files if each.stem == wanted]
    return next((each for each in candidates if each.indexed), next(iter(candidates), None))


def _name_of(file: str) -> str:
    return _normal(file.partition(".ko")[0])


def _normal(name: str) -> str:
    """To the kernel a dash and an underscore are one."""
    return name.replace("-", "_")
