# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging a fine-tuning in 4 bits: packages that import, weights in 4 bits, and a loss that falls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import mean
from typing import Any

from ._verify_checks import Check, decide, fail, skip
from ._verify_gpus import training_gpus
from ._verify_measure_training import LINEARS, STEPS

# The mean of the last three losses in parts of that of the first three.
LOSS_GATE = 0.7


def judge_training(found: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Check]:
    broken = []
    for name, package in found["packages"].items():
        check = f"training/{name}"
        if "error" in package:
            broken.append(name)
            yield fail(check, "an import", None, package["error"])
        else:
            yield Check(check, "passed", "an import", package["version"])
    training = found["training"]
    if training is None:
        yield skip("training/steps", f"it takes {', '.join(broken)}", f"{STEPS} steps")
    elif "error" in training:
        yield fail("training/steps", f"{STEPS} steps", None, f"the fine-tuning did not run: {training['error']}")
    else:
        yield from _judge_steps(training)
    yield _judge_unsloth(found["unsloth"], on_gpu=bool(training_gpus(facts)))


def _judge_steps(training: Mapping[str, Any]) -> Iterator[Check]:
    losses = training["losses"]
    actual = f"{len(losses)} steps in {training['seconds']:g} s on {training['device']}"
    yield decide("training/steps", len(losses) == STEPS, f"{STEPS} steps", actual, "it ended before its last step")
    count = training["layers_in_4_bits"]
    reason = f"bitsandbytes {'quantized nothing' if count == 0 else 'did not quantize all layers'}: is it too old?"
    yield decide("training/layers_in_4_bits", count == LINEARS, str(LINEARS), str(count), reason)
    expected = f"the last below {LOSS_GATE} of the first"
    if None in losses:
        step = losses.index(None) + 1
        yield fail(
            "training/loss", expected, f"no finite number at step {step}", "the loss is not a number (NaN) any more"
        )
    elif len(losses) < 6:
        yield skip("training/loss", "there are too few steps", expected)
    else:
        first, last = mean(losses[:3]), mean(losses[-3:])
        reason = "the loss does not fall: kernels, optimizer or packages do not work together"
        yield decide("training/loss", last < LOSS_GATE * first, expected, f"{first:.3f} to {last:.3f}", reason)


def _judge_unsloth(unsloth: Mapping[str, Any], *, on_gpu: bool) -> Check:
    check = "training/unsloth"
    if unsloth.get("version", "") is None:
        return skip(check, "it is not installed")
    if not on_gpu:
        return skip(check, "it takes a GPU", actual=unsloth.get("version"))
    if "error" in unsloth:
        return fail(check, "an import", unsloth.get("version"), unsloth["error"])
    return Check(check, "passed", "an import", unsloth["version"])
