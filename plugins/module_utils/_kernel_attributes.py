# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files below /proc/sys and /sys: what exists, what it says, and whether it can be written here."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ._boot_configuration import is_glob
from ._settings import SettingsError

_CHOSEN = re.compile(r"\[([^\]\s]+)\]")
_SYSFS_BOOLEANS = {"Y": "1", "N": "0"}  # module parameters take 1 and 0 and answer Y and N


@dataclass(frozen=True)
class KernelAttributes:
    """The running kernel's attributes. root: where the host's / is (another folder in tests)."""

    root: Path = Path("/")

    def on_host(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def find(self, pattern: str) -> list[str]:
        """The existing paths that match a path or a glob, sorted."""
        if not is_glob(pattern):
            return [pattern] if self.on_host(pattern).is_file() else []
        found = self.root.glob(pattern.lstrip("/"))
        return sorted(f"/{path.relative_to(self.root)}" for path in found if path.is_file())

    def explain_missing(self, path: str) -> str:
        """The rule that a name breaks whose path does not exist, with the nearest name that does."""
        folder = self.on_host(path).parent
        siblings = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        close = get_close_matches(Path(path).name, siblings, n=1)
        hint = f"did you mean {close[0]}?" if close else "a module that provides it may not be loaded"
        return f"must name something that the running kernel has, and there is no {path} ({hint})"

    def read(self, path: str) -> str:
        """The value, white space folded; of a choice such as C(always [madvise] never) the chosen word."""
        try:
            text = " ".join(self.on_host(path).read_text(encoding="utf-8", errors="replace").split())
        except OSError as error:
            raise SettingsError(f"{path} cannot be read, so its state cannot be kept: {error.strerror}") from error
        chosen = _CHOSEN.search(text) if path.startswith("/sys/") else None
        return chosen[1] if chosen else text

    def read_only_reason(self, path: str) -> str | None:
        """Why this host cannot write an attribute that it has; None when it may be tried.

        Raises SettingsError where not the host but the kernel itself offers it for reading only.
        """
        file = self.on_host(path)
        if os.statvfs(file).f_flag & os.ST_RDONLY:
            return f"{path} is on a read-only mount, as in a container"
        if not file.stat().st_mode & 0o222:
            raise SettingsError(f"{path} is offered by the kernel for reading only")
        if os.geteuid() == 0 and not os.access(file, os.W_OK):
            return f"{path} may not be written by this container's root"
        return None

    def write(self, path: str, value: str) -> None:
        """Raises SettingsError with the kernel's own reason when it refuses the value."""
        try:
            # Unbuffered and in one write: the kernel takes each write as a whole value.
            with self.on_host(path).open("wb", buffering=0) as attribute:
                attribute.write(f"{value}\n".encode())
        except OSError as error:
            raise SettingsError(f"{path}: the kernel refuses {value!r}: {error.strerror}") from error


def same_value(path: str, one: str, other: str) -> bool:
    """Whether two texts are one value to the kernel: white space folded, numbers by value."""
    return _canonical(path, one) == _canonical(path, other)


def _canonical(path: str, value: str) -> str | int:
    folded = " ".join(value.split())
    if path.startswith("/sys/"):
        folded = _SYSFS_BOOLEANS.get(folded, folded)
    try:
        return int(folded, 0)
    except ValueError:
        return folded
