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
_SYSFS_BOOLEANS = {"Y": "1", "y": "1", "N": "0", "n": "0"}  # module parameters take all of these and answer Y and N
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*|0[xX][0-9A-Fa-f]+)", re.ASCII)  # Python's own would take 1_000 too


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
        # Two stars are one to systemd, and to Python all folders below.
        found = self.root.glob(re.sub(r"\*+", "*", pattern.lstrip("/")))
        return sorted(f"/{path.relative_to(self.root)}" for path in found if path.is_file())

    def explain_missing(self, path: str) -> str:
        """The rule that a name breaks whose path holds no value, with the nearest name that exists."""
        file = self.on_host(path)
        if file.exists():
            return f"must name a single setting, and {path} is a folder of them"
        missing = next(part for part in (*reversed(file.parents), file) if not part.exists())
        close = get_close_matches(missing.name, [entry.name for entry in missing.parent.glob("*")], n=1)
        hint = f"did you mean {close[0]}?" if close else "a module that provides it may not be loaded"
        return f"must name something that the running kernel has, and there is no {path} ({hint})"

    def read(self, path: str) -> str:
        """The value, white space folded; of a choice such as `always [madvise] never` the chosen word."""
        try:
            text = " ".join(self.on_host(path).read_text(encoding="utf-8", errors="replace").split())
        except OSError as error:
            denied = isinstance(error, PermissionError) and os.geteuid() != 0
            cause = "that needs root" if denied else error.strerror
            raise SettingsError(f"{path} cannot be read, so its state cannot be kept: {cause}") from error
        chosen = _CHOSEN.search(text) if path.startswith("/sys/") else None
        return chosen[1] if chosen else text

    def read_only_reason(self, path: str) -> str | None:
        """Why this host cannot write an attribute that it has; None when it may be tried.

        Raises SettingsError where not the host is the obstacle, but the kernel or this user.
        """
        file = self.on_host(path)
        if os.statvfs(file).f_flag & os.ST_RDONLY:
            return f"{path} is on a read-only mount, as in a container"
        if not file.stat().st_mode & 0o222:
            raise SettingsError(f"{path} is offered by the kernel for reading only")
        if os.access(file, os.W_OK):
            return None
        if os.geteuid() != 0:
            raise SettingsError(f"{path} cannot be written: that needs root")
        return f"{path} may not be written by this container's root"

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


def _canonical(path: str, value: str) -> list[str | int]:
    words = value.split()
    if path.startswith("/sys/"):
        words = [_SYSFS_BOOLEANS.get(word, word) for word in words]
    return [int(word, 0) if _NUMBER.fullmatch(word) else word for word in words]
