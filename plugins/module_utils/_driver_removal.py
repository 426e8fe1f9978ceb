# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages of NVIDIA's driver must go: for another choice of driver, or all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._dpkg import Packages
from ._driver_branches import Choice
from ._driver_packages import Installed, is_driver, is_pin

# The metapackages that depend on the modules of one flavour. On Debian nvidia-driver has none.
_FLAVOURED = re.compile(r"nvidia-open(-\d+)?|nvidia-(driver|headless|headless-no-dkms)(-\d+)?(-open)?")
# What only displays need, and a driver for computing alone shall not have. On Debian nvidia-driver is that, too.
_DISPLAY = re.compile(r"(nvidia-open|nvidia-driver|xserver-xorg-video-nvidia)(-\d+)?(-open)?")
# Tools that are of no use without a driver. What is called nvidia-container belongs to the container toolkit.
_HELPERS = re.compile(
    r"nvidia-(settings|modprobe|persistenced|xconfig|prime|installer-cleanup|alternative|support|legacy-check)"
    r"|glx-alternative-nvidia|libnvidia-egl-.*"
)


def names_to_remove(installed: Installed, choice: Choice, distribution: str, *, prebuilt: bool) -> Iterator[str]:
    """What must go for this choice, because no package of the choice takes its place under the same name."""
    suffixed = choice.branch in choice.candidate
    for each in installed.packages:
        other_branch = each.branch != choice.branch and (suffixed or each.suffixed)
        flavoured = each.name in installed.modules or (
            _FLAVOURED.fullmatch(each.name) and (each.name, distribution[:6]) != ("nvidia-driver", "Debian")
        )
        other_flavour = flavoured and ("open" in each.name) != (choice.flavour == "open")
        # modprobe takes what DKMS has built before what was prebuilt
        hiding = prebuilt and each.name == choice.module
        display = choice.profile == "compute" and each.name not in choice.driver and _DISPLAY.fullmatch(each.name)
        if other_branch or other_flavour or hiding or display:
            yield each.name


def names_of_all(packages: Packages) -> tuple[str, ...]:
    """The driver, what serves only it, and what holds it: what is there, and what has left its configuration."""
    return tuple(
        name
        for name, each in sorted(packages.items())
        if each.status != "not-installed" and (is_driver(each) or _HELPERS.fullmatch(each.name) or is_pin(name))
    )
