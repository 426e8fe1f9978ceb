# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages are kernel or driver: they change together, and only when that was asked for."""

from __future__ import annotations

import re

# Matched from the start, as unattended-upgrades does: names with a branch (nvidia-driver-580-open) and without
# (nvidia-open, from branch 590 on). The container toolkit and the repository's keys are no part of the driver, and get
# their updates.
PATTERNS = (
    "linux-(image|headers|modules|objects|signatures|generic|hwe|oem|lowlatency|signed|tools|cloud-tools|kbuild)",
    "nvidia-(?!container|docker)",
    "libnvidia-(?!container)",
    "libcuda",
    "libnvcuvid",
    "libnvoptix",
    "libxnvctrl",
    "cuda-(?!keyring)",
    "xserver-xorg-video-nvidia",
    "firmware-nvidia",
    "dkms$",
)
_GUARDED = re.compile("|".join(PATTERNS))


def is_guarded(name: str) -> bool:
    """Whether a package, `name` or `name:architecture`, is kernel or driver."""
    return bool(_GUARDED.match(name.partition(":")[0]))
