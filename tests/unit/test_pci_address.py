# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI addresses in all their spellings."""

from __future__ import annotations

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._pci_address import normalise_address, xorg_bus_id


@pytest.mark.parametrize(
    ("spelling", "address"),
    [
        ("0000:0a:00.0", "0000:0a:00.0"),
        ("00000000:0A:00.0", "0000:0a:00.0"),
        ("0A:00.0", "0000:0a:00.0"),
        (" 0a:00.0\n", "0000:0a:00.0"),
        ("0001:c1:1f.7", "0001:c1:1f.7"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("10000:E1:00.0", "10000:e1:00.0"),
    ],
)
def test_spellings(spelling: str, address: str) -> None:
    assert normalise_address(spelling) == address
    assert normalise_address(address) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "PCI:10:0:0",
        "0a:00",
        "a:00.0",
        "00a:00.0",
        "000:0a:00.0",
        "000000000:0a:00.0",
        "0g:00.0",
        "0a:20.0",
        "0a:00.8",
        "0a:00.0.0",
        "0a 00.0",
        "0a:00.0\n0b:00.0",
        ":0a:00.0",
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a PCI address: "):
        normalise_address(text)


@pytest.mark.parametrize(
    ("address", "bus_id"),
    [
        ("0000:0a:00.0", "PCI:10:0:0"),
        ("0000:c1:1f.7", "PCI:193:31:7"),
        ("0001:0a:00.0", "PCI:10@1:0:0"),
        ("10000:01:00.0", "PCI:1@65536:0:0"),
    ],
)
def test_xorg_counts_in_decimals(address: str, bus_id: str) -> None:
    assert xorg_bus_id(address) == bus_id
