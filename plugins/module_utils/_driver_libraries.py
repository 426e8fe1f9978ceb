# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of the driver's libraries, which its kernel modules must have too.

By the names of their files: nvidia-smi would ask the kernel module, and NVML fails just when the versions differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ._links import link_chain

_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib")
_NAMES = ("libnvidia-ml.so.1", "libcuda.so.1")
_VERSION = re.compile(r"\.so\.(\d+\.\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Libraries:
    """The versions by library. Where they differ, an installation or a removal has stopped half way."""

    versions: dict[str, str]

    @property
    def version(self) -> str | None:
        """The version of all of them; None where there is none, or more than one."""
        found = set(self.versions.values())
        return found.pop() if len(found) == 1 else None

    @property
    def problem(self) -> str | None:
        if len(set(self.versions.values())) < 2:
            return None
        each = ", ".join(f"{path} is {version}" for path, version in self.versions.items())
        return f"the driver's libraries are of different versions: {each}"


def find_libraries(root: Path) -> Libraries:
    """The libraries that programs load; a file whose name has no version is not among them."""
    versions: dict[str, str] = {}
    for name in _NAMES:
        for folder in _FOLDERS:
            last = link_chain(root, root / folder / name)[-1]
            found = _VERSION.search(last.name)
            if found and last.exists():
                versions[f"/{folder}/{name}"] = found[1]
    return Libraries(versions)
