# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NVIDIA's cards are and should reach, by the names that the driver gives them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CardModel:
    """name: what the driver's name ends with. capability: the version of its features, for CUDA.

    memory_gib: the sizes that it is sold with. gb_per_s: of its memory. board_watts: the default power limit.
    bf16_tflops: dense, with sums in 32 bits; vendors' headlines are sparse or with sums in 16, two to four times more.
    driver: the first version that knows it, one for each branch that got it; empty where every living one does.
    source: of the numbers.
    """

    name: str
    capability: str
    memory_gib: tuple[int, ...]
    gb_per_s: float
    board_watts: int
    bf16_tflops: float
    source: str
    driver: tuple[str, ...] = ()


_GEFORCE = "NVIDIA's specification of the card; SMs x boost clock x 512 operations"
_HOPPER = "NVIDIA's data sheet, half of its figure with sparsity"

CARDS = (
    CardModel("RTX 3090", "8.6", (24,), 936, 350, 71.2, _GEFORCE),
    CardModel("RTX 4060 Ti", "8.9", (8, 16), 288, 165, 44.1, _GEFORCE),
    CardModel("RTX 4090", "8.9", (24,), 1008, 450, 165.2, _GEFORCE),
    CardModel("RTX 5060 Ti", "12.0", (8, 16), 448, 180, 47.4, _GEFORCE, ("570.123.10", "575.51.02")),
    CardModel("RTX 5090", "12.0", (32,), 1792, 575, 209.5, _GEFORCE, ("570.86.16",)),
    CardModel("H100 80GB HBM3", "9.0", (80,), 3350, 700, 989.4, _HOPPER),
    CardModel("H200", "9.0", (141,), 4800, 700, 989.4, _HOPPER),
)


def find_model(name: str | None, cards: Sequence[CardModel] = CARDS) -> CardModel | None:
    """None for a card that the table does not have, such as the laptop's of the same name."""
    return next((card for card in cards if re.search(rf"(^|\s){re.escape(card.name)}$", name or "")), None)
