# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging what `mlrig verify` has read and measured. Nothing of the host is read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._card_models import CARDS, CardModel
from ._verify_checks import Check, skip
from ._verify_judge_host import judge_driver, judge_gpu
from ._verify_judge_speed import judge_speed
from ._verify_judge_torch import judge_device, judge_torch
from ._verify_judge_training import judge_training


def judge(found: Mapping[str, Any] | None, facts: Mapping[str, Any], cards: Sequence[CardModel] = CARDS) -> list[Check]:
    """found: what `_verify_measure` printed, None where nothing was measured. facts: those of `_verify_gpus`."""
    return [*_judge(found, facts, cards)]


def _judge(found: Mapping[str, Any] | None, facts: Mapping[str, Any], cards: Sequence[CardModel]) -> Iterator[Check]:
    yield from judge_driver(facts)
    for gpu in facts["gpus"]:
        yield from judge_gpu(gpu, facts, cards)
    if found is None:
        return
    yield from judge_torch(found, facts)
    if not facts["gpus"]:
        skipped = {"torch": ("kernel",), "speed": ("product", "copy")}
        for part, names in skipped.items():
            yield from (skip(f"{part}/{name}", facts["reason"]) for name in names if part in found["parts"])
    for gpu in facts["gpus"]:
        if "torch" in found["parts"]:
            yield from judge_device(gpu, found, facts)
        if "speed" in found["parts"]:
            yield from judge_speed(gpu, found, facts, cards)
    if "training" in found["parts"]:
        yield from judge_training(found, facts)
