# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging torch as its project has it: whether it fits the driver and the cards, and computes right on them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._nvml import NO_HARDWARE
from ._verify_checks import Check, decide, fail, skip
from ._verify_gpus import training_gpus, why_left_alone
from ._verify_judge_host import reaches, version

# The first driver for each major version of CUDA: docs.nvidia.com/deploy/cuda-compatibility.
_DRIVERS = {12: "525.60.13", 13: "580"}
_FLAG = re.compile(r"sm_(\d+)(\d)([af]?)")
# Both add up in 32 bits, in another order.
_OFF = 5e-3
# Of what the driver counts: torch has what the context of CUDA leaves.
_MEMORY = 0.9


def judge_torch(found: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Check]:
    """What concerns all GPUs."""
    torch = found["torch"]
    if "error" in torch:
        yield fail("torch/import", "torch", None, torch["error"])
        return
    yield Check("torch/import", "passed", "torch", f"{torch['version']}, Python {found['python']}")
    if facts["reason"] == NO_HARDWARE:
        built = " ".join(torch["architectures"]) or "for the CPU only"
        yield skip("torch/build", NO_HARDWARE, actual=built)
        return
    if torch["cuda"] is None:
        reason = f"wrong wheel for the card: torch {torch['version']} is built without CUDA"
        yield fail("torch/build", "CUDA", torch["version"], reason)
        return
    yield Check("torch/build", "passed", "CUDA", f"CUDA {torch['cuda']}")
    yield _judge_driver(torch, facts)
    expected = len(training_gpus(facts))
    if expected or facts["available"]:
        reason = f"torch finds {torch['devices']} of {expected} GPUs: {torch['reason'] or 'it does not say why'}"
        yield decide("torch/devices", torch["devices"] == expected, str(expected), str(torch["devices"]), reason)


def _judge_driver(torch: Mapping[str, Any], facts: Mapping[str, Any]) -> Check:
    driver = facts["driver_version"] or facts["kernel_module"]["version"]
    floor = _DRIVERS.get(version(torch["cuda"])[0])
    if driver is None:
        return skip("torch/driver", "no driver tells its version", floor and f"{floor} or newer")
    if floor is None:
        return skip("torch/driver", f"no driver is known for CUDA {torch['cuda']}", actual=driver)
    reason = (
        f"the driver is older than the wheel needs: torch {torch['version']} is built for CUDA {torch['cuda']}, which"
        f" takes {floor}; bring a newer driver (role nvidia_driver), or lock torch for an older CUDA"
    )
    return decide("torch/driver", reaches(driver, [floor]), f"{floor} or newer", driver, reason)


def judge_device(gpu: Mapping[str, Any], found: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Check]:
    """What concerns one GPU of the facts."""
    here = f"torch/{gpu['index']}"
    why = why_left_alone(gpu, facts["gpus"])
    device = find_device(gpu, found, facts)
    if why is not None:
        yield skip(f"{here}/kernel", why)
    elif device is None:
        yield skip(f"{here}/kernel", "torch does not find it")
    else:
        yield _judge_architecture(f"{here}/architecture", gpu, device, found["torch"])
        if "total_memory" in device and gpu["memory_mib"]["total"]:
            yield _judge_memory(f"{here}/total_memory", device["total_memory"] / 2**20, gpu["memory_mib"]["total"])
        yield _judge_kernel(f"{here}/kernel", device["kernel"])


def find_device(gpu: Mapping[str, Any], found: Mapping[str, Any], facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What torch says of a GPU: it has them in the order in which they were given to it."""
    devices: Sequence[Mapping[str, Any]] = found["gpus"]
    given = training_gpus(facts)
    position = given.index(gpu["uuid"]) if gpu["uuid"] in given else len(devices)
    return devices[position] if len(devices) == len(given) and position < len(devices) else None


def runs_on(flags: Sequence[str], capability: str) -> bool:
    """Whether a build has code for a device: of its major version, and no later than it."""
    major, minor = version(capability)
    for found in filter(None, map(_FLAG.fullmatch, flags)):
        same = int(found[1]) == major
        # Code with the letter a is for one capability alone.
        if same and (int(found[2]) == minor if found[3] == "a" else int(found[2]) <= minor):
            return True
    return False


def _judge_architecture(
    check: str, gpu: Mapping[str, Any], device: Mapping[str, Any], torch: Mapping[str, Any]
) -> Check:
    # An old driver does not tell, and CUDA does.
    capability, flags = gpu["compute_capability"] or device.get("capability"), torch["architectures"]
    if capability is None:
        return skip(check, "neither driver nor torch tells its capability", actual=" ".join(flags))
    major, minor = version(capability)
    reason = (
        f"wrong wheel for the card: torch {torch['version']} has no code for the {gpu['name']} ({capability}); lock one"
        f" that lists sm_{major}0 to sm_{major}{minor}"
    )
    expected = f"sm_{major}x, x up to {minor}"
    return decide(check, runs_on(flags, capability), expected, " ".join(flags) or "none", reason)


def _judge_memory(check: str, found: float, mib: int) -> Check:
    reason = "torch finds less memory than the driver: is the GPU divided, or another one meant?"
    return decide(check, _MEMORY * mib <= found <= mib + 1, f"about {mib} MiB", f"{found:.0f} MiB", reason)


def _judge_kernel(check: str, kernel: Mapping[str, Any]) -> Check:
    expected = "the CPU's result"
    if "error" in kernel:
        return fail(check, expected, None, f"the kernel did not run: {kernel['error']}")
    off = kernel["off"]
    if off is None:
        return fail(check, expected, "no finite number", "the GPU computes wrong: its memory or its chip is defective")
    reason = "the GPU computes wrong: undo overclocking; else its memory or its chip is defective"
    return decide(check, off <= _OFF, expected, f"{off:.1e} off it", reason)
