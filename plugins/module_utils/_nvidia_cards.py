# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's cards as the PCI bus names them: known before any driver is there.

A card that is unplugged (an external one) or switched off by its firmware is not on the bus, and so not found.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ._files import read_if_there

# Oldest first. `older` is before Kepler; `newer` is what this collection does not know yet.
GENERATIONS = (
    "older",
    "kepler",
    "maxwell",
    "pascal",
    "volta",
    "turing",
    "ampere",
    "ada",
    "hopper",
    "blackwell",
    "newer",
)
# Those that have the processor (GSP) which the open kernel modules need.
OPEN_CAPABLE = frozenset(GENERATIONS[GENERATIONS.index("turing") :])

# The first device id of each block, up to the next one. NVIDIA gives ids to chips in blocks, and new products get ids
# inside the block of their chip: so a gap belongs to the block before it, and a product that is newer than this table
# is recognised all the same.
# Sources: pci.ids of 2026-08-22 (chip of each id; pciutils/pciids), and the list of supported cards in the README of
# open-gpu-kernel-modules 595.45.04 (each of its 289 ids is Turing or newer here).
_BLOCKS = (
    (0x0000, "older"),
    (0x0FA0, "kepler"),  # GK107, GK110, GK210
    (0x1040, "older"),  # GF119, GF117
    (0x1180, "kepler"),  # GK104, GK106
    (0x1200, "older"),  # GF114, GF116
    (0x1280, "kepler"),  # GK208
    (0x1340, "maxwell"),  # GM108, GM107, GM204, GM206
    (0x1580, "pascal"),  # GP100
    (0x1600, "maxwell"),  # GM204
    (0x1700, "pascal"),  # GP100
    (0x1740, "maxwell"),  # GM108, GM107, GM200
    (0x1B00, "pascal"),  # GP102, GP104, GP106, GP107, GP108
    (0x1D80, "volta"),  # GV100
    (0x1E00, "turing"),  # TU102, TU104, TU106, TU117
    (0x2080, "ampere"),  # GA100
    (0x2180, "turing"),  # TU116
    (0x2200, "ampere"),  # GA102
    (0x2300, "hopper"),  # GH100, with Grace too
    (0x2400, "ampere"),  # GA103, GA104, GA106, GA107
    (0x2600, "ada"),  # AD102 to AD107
    (0x2900, "blackwell"),  # GB100, GB102, GB202 to GB207, GB10
    (0x3000, "newer"),  # GR100, GR102: Rubin
    (0x3180, "blackwell"),  # GB110 (B300), GB112, GB120
    (0x3400, "newer"),
)
_FIRSTS = [first for first, _generation in _BLOCKS]

_VENDOR = "0x10de"
# What NVIDIA's driver takes: VGA and 3D controllers, with any programming interface.
_CLASSES = ("0x0300", "0x0302")
# The kernel's own, which keep NVIDIA's from a card until the next boot.
_RIVALS = ("nouveau", "novacore", "nova_core")
# Drivers that hold a card for virtual machines: those of VFIO are several (vfio-pci, nvgrace_gpu_vfio_pci).
_HANDED_OVER = ("vfio", "pci-stub", "pciback")


@dataclass(frozen=True)
class Card:
    """One display controller of NVIDIA's.

    address: as sysfs writes it, `0000:01:00.0`.
    device: its device id, four hexadecimal digits in lower case, `2b85`.
    generation: one of GENERATIONS.
    driver: the kernel's name of the driver bound now (`nvidia`, `nouveau`, `vfio-pci`...) or None.
    """

    address: str
    device: str
    generation: str
    driver: str | None

    @property
    def passed_through(self) -> bool:
        """Whether a driver holds it that hands it to a virtual machine: this host's NVIDIA driver has no say in it."""
        return any(name in (self.driver or "") for name in _HANDED_OVER)

    @property
    def held_by_rival(self) -> bool:
        """Whether the kernel's own driver holds it: nouveau, or Nova, which calls itself NovaCore."""
        return (self.driver or "").lower() in _RIVALS

    def as_dict(self) -> dict[str, Any]:
        """`{address, device, generation, driver, passed_through}`."""
        return asdict(self) | {"passed_through": self.passed_through}


def find_cards(root: Path) -> tuple[Card, ...]:
    """All cards, also those passed through, in the order of their addresses. Empty where there is no PCI bus."""
    devices = sorted((root / "sys/bus/pci/devices").glob("*:*:*.*"), key=lambda path: (len(path.name), path.name))
    return tuple(_card(device) for device in devices if _is_card(device))


def generation_of(device: int) -> str:
    """The generation of a device id."""
    return _BLOCKS[bisect_right(_FIRSTS, device) - 1][1]


def generations_to_serve(cards: Iterable[Card]) -> tuple[str, ...]:
    """The generations that the driver must support, each once, oldest first: what `choose` takes."""
    found = {card.generation for card in cards if not card.passed_through}
    return tuple(generation for generation in GENERATIONS if generation in found)


def _is_card(device: Path) -> bool:
    # A virtual function is a slice for a virtual machine, of a card that is listed itself.
    return (
        _read(device / "vendor") == _VENDOR
        and _read(device / "class").startswith(_CLASSES)
        and not (device / "physfn").is_symlink()
    )


def _card(device: Path) -> Card:
    number = int(_read(device / "device"), 16)
    link = device / "driver"
    driver = link.readlink().name if link.is_symlink() else None
    return Card(device.name, f"{number:04x}", generation_of(number), driver)


def _read(attribute: Path) -> str:
    return (read_if_there(attribute) or "").strip().lower()
