# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of kernels, as upstream counts them: what a distribution adds to the name says nothing of interfaces."""

from __future__ import annotations

import re

Version = tuple[int, ...]

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def kernel_version(name: str) -> Version | None:
    """The numbers that a kernel's name begins with: (6, 12, 107) of `6.12.107+deb13-amd64`; None where it has none."""
    found = _VERSION.match(name)
    return found and tuple(int(number) for number in found.groups(default="0"))


def is_within(kernel: Version, lowest: str, highest: str | None) -> bool:
    """Whether a kernel is in a range. Its ends count to their own depth: 7.0 includes every 7.0.x."""
    return _to_depth(kernel, lowest) >= numbers(lowest) and (
        highest is None or _to_depth(kernel, highest) <= numbers(highest)
    )


def numbers(version: str) -> Version:
    """The numbers of a version that is nothing but numbers: (7, 1) of `7.1`."""
    return tuple(int(number) for number in version.split("."))


def _to_depth(kernel: Version, version: str) -> Version:
    return kernel[: len(numbers(version))]
