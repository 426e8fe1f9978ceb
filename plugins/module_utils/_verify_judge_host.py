# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging the driver and the GPUs as NVML tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._card_models import CardModel, find_model
from ._nvml import NO_HARDWARE
from ._verify_checks import Check, decide, fail, skip

_UNTOLD = "the driver does not tell"
_IDLE = "only a GPU at work shows it, and none was put to work"
# How far a card's memory may be from what it is sold with: the driver keeps some for itself.
_MEMORY = 0.05
_RESIZABLE_BAR_SINCE = (8, 6)
_OPEN_ONLY_SINCE = (10, 0)

# What makes a GPU slower than it should be. A power limit and locked clocks were wanted.
THROTTLED = {
    "hw_slowdown": "its hardware slows it down, as it is too hot or gets too little power",
    "hw_thermal_slowdown": "it is too hot, and its hardware slows it down: look at fans, dust and the way of the air",
    "sw_thermal_slowdown": "it is too hot, and the driver slows it down: look at fans, dust and the way of the air",
    "hw_power_brake_slowdown": "the power supply demands that it slows down: look at power supply and cables",
}


def version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))


def reaches(found: str, floors: Sequence[str]) -> bool:
    """Whether a driver is new enough. floors: one for each branch that got something; newer branches have it."""
    own = [floor for floor in floors if version(floor)[0] == version(found)[0]]
    return version(found) >= min(map(version, own), default=max(map(version, floors)))


def judge_driver(facts: Mapping[str, Any]) -> Iterator[Check]:
    module = facts["kernel_module"]
    if facts["available"]:
        yield Check("driver/answers", "passed", "an answer", f"{facts['driver_version']}, by {facts['source']}")
    elif facts["reason"] == NO_HARDWARE:
        for name in ("answers", "versions", "flavour"):
            yield skip(f"driver/{name}", NO_HARDWARE)
        return
    else:
        yield fail("driver/answers", "an answer", None, facts["reason"])
    if facts["versions_agree"] is None:
        yield skip("driver/versions", "the kernel module does not tell its version", actual=facts["libraries"])
    else:
        reason = (
            f"module mismatch: the loaded kernel module is {module['version'] or 'another'}, the driver's libraries are"
            f" {facts['libraries'] or 'others'}: the driver was changed while it was loaded, so reboot"
        )
        yield decide("driver/versions", facts["versions_agree"], facts["libraries"] or "?", module["version"], reason)
    needs_open = [gpu["name"] for gpu in facts["gpus"] if _is_since(gpu["compute_capability"], _OPEN_ONLY_SINCE)]
    expected = "open" if needs_open else "open or proprietary"
    if module["flavour"] is None:
        yield skip("driver/flavour", "the kernel module does not tell what it is", expected)
    else:
        reason = (
            f"{', '.join(needs_open)} works with the open kernel modules only: the role nvidia_driver installs them"
        )
        yield decide("driver/flavour", module["flavour"] in expected.split(), expected, module["flavour"], reason)


def judge_gpu(gpu: Mapping[str, Any], facts: Mapping[str, Any], cards: Sequence[CardModel]) -> Iterator[Check]:
    here = f"gpu/{gpu['index']}"
    if gpu["error"] is not None:
        yield fail(f"{here}/answers", "an answer", None, f"it does not answer: {gpu['error']}")
        return
    yield Check(f"{here}/answers", "passed", "an answer", gpu["name"])
    yield from _judge_model(here, gpu, facts["driver_version"], find_model(gpu["name"], cards))
    yield from _judge_link(here, gpu, facts["load"].get(gpu["uuid"], []))
    yield _judge_resizable_bar(f"{here}/resizable_bar", gpu)
    yield _judge_throttling(f"{here}/throttling", gpu, facts["load"].get(gpu["uuid"], []))
    yield _judge_persistence(f"{here}/persistence_mode", gpu["persistence_mode"])


def _judge_model(here: str, gpu: Mapping[str, Any], driver: str | None, model: CardModel | None) -> Iterator[Check]:
    found, mib = gpu["compute_capability"], gpu["memory_mib"]["total"]
    memory = f"{mib / 1024:.1f} GiB" if mib else None
    if model is None:
        for name, actual in (("capability", found), ("memory", memory)):
            yield skip(f"{here}/{name}", f"the table of cards has no {gpu['name']}", actual=actual)
        return
    if found is None:
        yield skip(f"{here}/capability", _UNTOLD, model.capability)
    else:
        reason = f"the {model.name} has {model.capability}: driver, name or card is not what it seems"
        yield decide(f"{here}/capability", found == model.capability, model.capability, found, reason)
    sizes = f"{' or '.join(map(str, model.memory_gib))} GiB"
    if mib is None:
        yield skip(f"{here}/memory", _UNTOLD, sizes)
    else:
        fits = any(abs(mib / 1024 / size - 1) <= _MEMORY for size in model.memory_gib)
        yield decide(f"{here}/memory", fits, sizes, memory, f"the {model.name} is sold with {sizes}")
    if model.driver and driver:
        floors = " or ".join(model.driver)
        reason = f"the driver is older than the {model.name} needs: the role nvidia_driver brings a newer one"
        yield decide(f"{here}/driver", reaches(driver, model.driver), f"{floors} or newer", driver, reason)


def _judge_link(here: str, gpu: Mapping[str, Any], load: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    width = max((each["pci"]["width"]["current"] or 0 for each in (gpu, *load)), default=0)
    most = gpu["pci"]["width"]["max"]
    if not width or not most:
        yield skip(f"{here}/pcie_width", _UNTOLD)
    else:
        reason = (
            f"x{width} where x{most} is possible: seat the card again, look for a riser cable, for another card or M.2"
            " disk that shares its lanes, and for the slot's setting in the firmware"
        )
        yield decide(f"{here}/pcie_width", width >= most, f"x{most}", f"x{width}", reason)
    generation = max((each["pci"]["generation"]["current"] or 0 for each in load), default=0)
    fastest = gpu["pci"]["generation"]["max"]
    if not generation or not fastest:
        idle = gpu["pci"]["generation"]["current"]
        yield skip(f"{here}/pcie_generation", _IDLE, fastest and str(fastest), idle and f"{idle}, idle")
    else:
        reason = f"at work it stays at {generation}: look for a riser cable, and the slot's setting in the firmware"
        yield decide(f"{here}/pcie_generation", generation >= fastest, str(fastest), str(generation), reason)


def _judge_resizable_bar(check: str, gpu: Mapping[str, Any]) -> Check:
    window, memory = gpu["bar1_mib"]["total"], gpu["memory_mib"]["total"]
    if gpu["resizable_bar"] is None:
        return skip(check, _UNTOLD)
    if not gpu["resizable_bar"] and not _is_since(gpu["compute_capability"], _RESIZABLE_BAR_SINCE):
        return skip(check, "cards of its generation do not have it", actual=f"{window} MiB")
    reason = (
        f"Resizable BAR is off: the CPU reaches {window} MiB of {memory} MiB at a time; switch on Above 4G Decoding and"
        " Resizable BAR in the firmware, and CSM off"
    )
    return decide(check, gpu["resizable_bar"], f"{memory} MiB or more", f"{window} MiB", reason)


def _judge_throttling(check: str, gpu: Mapping[str, Any], load: Sequence[Mapping[str, Any]]) -> Check:
    told = [each["throttle_reasons"] for each in (gpu, *load) if each["throttle_reasons"] is not None]
    if not told:
        return skip(check, _UNTOLD)
    found = sorted({reason for reasons in told for reason in reasons} - ({"gpu_idle"} if load else set()))
    why = [THROTTLED[reason] for reason in found if reason in THROTTLED]
    expected, actual = "none by heat or power supply", ", ".join(found) or "none"
    if "gpu_idle" in found and not why:
        return skip(check, _IDLE, expected, actual)
    return decide(check, not why, expected, actual, "; ".join(why))


def _judge_persistence(check: str, found: bool | None) -> Check:  # noqa: FBT001 - as NVML has it
    if found is None:
        return skip(check, _UNTOLD, "enabled")
    reason = "without it the driver forgets all settings when the last program closes the GPU: run mlrig gpu apply"
    return decide(check, found, "enabled", "enabled" if found else "disabled", reason)


def _is_since(capability: str | None, first: tuple[int, int]) -> bool:
    return capability is not None and version(capability) >= first
