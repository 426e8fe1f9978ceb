# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a package of NVIDIA's driver is: NVIDIA's, Canonical's, Debian's, or of Ubuntu's graphics-drivers."""

from __future__ import annotations

import re

# From the version alone, where that is enough.
_ORIGINS_BY_VERSION = (
    (re.compile(r"~gpu\d"), "ppa"),
    (re.compile(r"-\d+ubuntu[\d.]*\d\d\.\d\d\.\d+"), "ubuntu"),  # 580.105.08-0ubuntu0.24.04.1
    (re.compile(r"-[1-9]\d*ubuntu\d+$"), "nvidia"),  # 595.71.05-1ubuntu1
    (re.compile(r"deb\d+u\d|~bpo\d"), "debian"),
)
_ORIGINS_BY_MAINTAINER = (("cudatools@nvidia.com", "nvidia"), ("pkg-nvidia-devel@", "debian"), ("ubuntu.com", "ubuntu"))


def origin_of(version: str, maintainer: str, distribution: str) -> str:
    """`nvidia`, `ubuntu`, `debian` or `ppa`."""
    for pattern, origin in _ORIGINS_BY_VERSION:
        if pattern.search(version):
            return origin
    for part, origin in _ORIGINS_BY_MAINTAINER:
        if part in maintainer:
            return origin
    # Both archives have versions of this form, and nothing else tells: those of NVIDIA that are known end so.
    first = version.endswith("-0ubuntu1" if distribution.startswith("Ubuntu") else "-1")
    return "nvidia" if first else distribution.partition(" ")[0].lower()
