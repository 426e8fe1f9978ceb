# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of cards, and which row is whose."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._card_models import CARDS, find_model

PROFILES = Path(__file__).parents[1] / "simgpu/profiles"
FACTS = Path(__file__).parents[3] / "shared/facts/ml.md"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("GeForce RTX 3090", "RTX 3090"),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4060", None),
        ("NVIDIA GeForce RTX 4060 Ti", "RTX 4060 Ti"),
        ("NVIDIA GeForce RTX 5060 Ti", "RTX 5060 Ti"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GH200", None),
        ("NVIDIA H100 80GB HBM3", "H100 80GB HBM3"),
        ("NVIDIA H100 PCIe", None),
        ("", None),
        (None, None),
    ],
)
def test_which_row_is_whose(name: str | None, found: str | None) -> None:
    model = find_model(name)
    assert (model and model.name) == found


def test_no_card_is_in_the_table_twice() -> None:
    assert len({card.name for card in CARDS}) == len(CARDS)


@pytest.mark.parametrize("profile", sorted(PROFILES.glob("*.conf")), ids=lambda path: path.stem)
def test_simulated_cards_are_as_in_the_table(profile: Path) -> None:
    """Their values come from elsewhere: from documents of real ones."""
    values = dict(line.split(" ", 1) for line in profile.read_text().splitlines() if not line.startswith("#"))
    model = find_model(values["name"])
    if model is None:
        assert values["name"] in {"NVIDIA GeForce RTX 3060", "NVIDIA GeForce GTX 1080 Ti"}
        return
    assert model.capability == values["compute_capability"]
    assert any(abs(int(values["memory_total"]) / 1024 / size - 1) < 0.05 for size in model.memory_gib)
    if "power_limit_default" in values:
        assert model.board_watts == int(values["power_limit_default"]) / 1000


def test_figures_are_those_of_the_facts() -> None:
    if not FACTS.exists():
        pytest.skip(f"{FACTS} is not here")
    rows = [line.strip("|").split("|") for line in FACTS.read_text().splitlines() if line.startswith("| RTX ")]
    assert len(rows) == 5
    for name, memory, bandwidth, watts, tflops, *_more in ([cell.strip() for cell in row] for row in rows):
        model = find_model(name.removesuffix(" 16G"))
        assert model is not None
        assert int(memory) in model.memory_gib
        assert (model.gb_per_s, model.board_watts, model.bf16_tflops) == (
            float(bandwidth),
            int(watts),
            float(tflops),
        )
