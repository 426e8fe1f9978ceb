# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI addresses: NVIDIA, the kernel, lspci and Xorg each spell them in another way."""

from __future__ import annotations

import re

_SPELLING = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE)


def normalise_address(text: str) -> str:
    """The kernel's spelling, such as `0000:0a:00.0`, of `00000000:0A:00.0` or `0a:00.0`. Raises ValueError."""
    match = _SPELLING.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a PCI address: {text!r}")
    domain, bus, device, function = match.groups(default="0")
    return f"{int(domain, 16):04x}:{bus}:{device}.{function}".lower()


def xorg_bus_id(address: str) -> str:
    """What Xorg calls a normalised address: decimal, and with the domain where it is not 0; `PCI:10:0:0`."""
    domain, bus, rest = address.split(":")
    device, function = rest.split(".")
    at_domain = f"@{int(domain, 16)}" if int(domain, 16) else ""
    return f"PCI:{int(bus, 16)}{at_domain}:{int(device, 16)}:{function}"
