# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging the speed of a GPU: against what its card should reach, and from run to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from ._card_models import CardModel, find_model
from ._verify_checks import Check, decide, fail, skip
from ._verify_gpus import why_left_alone
from ._verify_judge_host import THROTTLED
from ._verify_judge_torch import find_device

# What a healthy card reaches of its table's row.
PRODUCT_GATE = 0.70
COPY_GATE = 0.75
# Between the fastest and the slowest run, with clocks locked: our choice, several times what an idle machine shows.
SPREAD_GATE = 0.05


def judge_speed(
    gpu: Mapping[str, Any], found: Mapping[str, Any], facts: Mapping[str, Any], cards: Sequence[CardModel]
) -> Iterator[Check]:
    here = f"speed/{gpu['index']}"
    device = find_device(gpu, found, facts)
    why = why_left_alone(gpu, facts["gpus"]) or ("torch does not find it" if device is None else None)
    if device is None or why is not None:
        yield skip(f"{here}/product", why or "")
        return
    speed = device.get("speed", {"error": "no kernel runs on it"})
    if "error" in speed:
        yield fail(f"{here}/product", "a product of 8192 x 8192 matrices", None, f"it did not run: {speed['error']}")
        return
    model = find_model(gpu["name"], cards)
    slow = f"slower than a healthy card: {'; '.join(_why_slow(gpu, facts, model))}"
    for name, key, unit, gate, figure in (
        ("product", "product_tflops", "TFLOP/s in bf16", PRODUCT_GATE, model.bf16_tflops if model else None),
        ("copy", "copy_gb_per_s", "GB/s", COPY_GATE, model.gb_per_s if model else None),
    ):
        reached = median(speed[key])
        actual = f"{reached:.1f} {unit}"
        if figure is None:
            yield skip(f"{here}/{name}", f"the table of cards has no {gpu['name']}", actual=actual)
        else:
            actual = f"{actual} ({reached / figure:.0%})"
            expected = f"{gate:.0%} of {figure:g} or more"
            yield decide(f"{here}/{name}", reached >= gate * figure, expected, actual, slow)
        yield _judge_spread(f"{here}/{name}_spread", speed[key], facts["locks"].get(gpu["uuid"]), slow)


def _judge_spread(check: str, runs: Sequence[float], locked: str | None, slow: str) -> Check:
    spread = (max(runs) - min(runs)) / median(runs)
    actual = f"{spread:.1%} of {len(runs)} runs"
    expected = f"{SPREAD_GATE:.0%} or less"
    if locked is None:
        return skip(check, "its clocks are not locked, so runs may differ", expected, actual)
    reason = f"runs differ although clocks are locked ({locked}); {slow.partition(': ')[2]}"
    return decide(check, spread <= SPREAD_GATE, expected, actual, reason)


def _why_slow(gpu: Mapping[str, Any], facts: Mapping[str, Any], model: CardModel | None) -> Iterator[str]:
    load = facts["load"].get(gpu["uuid"], [])
    throttled = {reason for each in load for reason in each["throttle_reasons"] or ()}
    told = [THROTTLED[reason] for reason in sorted(throttled & THROTTLED.keys())]
    limit = gpu["power_watts"]["limit"]
    if model and limit and limit < model.board_watts:
        told.append(f"its power limit is {limit:g} of {model.board_watts} W")
    if locked := facts["locks"].get(gpu["uuid"]):
        told.append(f"its clocks are locked ({locked})")
    if gpu["ecc"]["current"]:
        told.append("ECC is on, which costs bandwidth on some cards")
    yield from told or ["the driver names no cause: look for other programs, heat of the memory, and the power cables"]
