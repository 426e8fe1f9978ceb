# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPUs as torch sees them: a kernel that must compute right, a copy, and a product of matrices."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

# What stands before a GPU's number while it works hard enough for its clocks and its link to be looked at.
LOAD = "the speed of GPU "

_SIZE = 8192
_REPEATS = 7
# Clocks take their time to rise, and heat to build up.
_WARM_UP = 2.0
_COPY = 1 << 30  # larger than any cache
_LEAST_COPY = 256 << 20

Attempt = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]


def telling_line(text: str) -> str | None:
    """The line of an error that says what it is: the last one; but CUDA's are followed by advice for programmers."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "CUDA error: " in line), lines[-1] if lines else None)


def read_devices(torch: Any, apart: Attempt, gpus: Sequence[str], *, speed: bool) -> list[dict[str, Any]]:
    """For each of these UUIDs. apart: attempts something in a process of its own, which sees that GPU only."""
    found = []
    for index, uuid in enumerate(gpus):
        gpu = apart(f"asking for GPU {index}", partial(_on, uuid, _properties, torch))
        gpu["kernel"] = apart(f"a kernel on GPU {index}", partial(_on, uuid, _kernel, torch))
        if speed and "error" not in gpu["kernel"]:
            gpu["speed"] = apart(f"{LOAD}{index}", partial(_on, uuid, _speed, torch))
        found.append(gpu)
    return found


def _on(uuid: str, work: Callable[[Any], dict[str, Any]], torch: Any) -> dict[str, Any]:
    os.environ["CUDA_VISIBLE_DEVICES"] = uuid
    return work(torch)


def _properties(torch: Any) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "total_memory": properties.total_memory,
    }


def _kernel(torch: Any) -> dict[str, Any]:
    """How far a product and a sum of the GPU are from those of the CPU, in parts of the largest value."""
    generator = torch.Generator().manual_seed(7)
    left, right = (torch.randn(256, 256, generator=generator) for _side in range(2))
    expected = torch.relu(left @ right) + 1
    computed = (torch.relu(left.to("cuda") @ right.to("cuda")) + 1).cpu()
    off = ((computed - expected).abs().max() / expected.abs().max()).item()
    return {"off": off if math.isfinite(off) else None}


def _speed(torch: Any) -> dict[str, Any]:
    return {"product_tflops": _product(torch), "copy_gb_per_s": _copy(torch)}


def _product(torch: Any) -> list[float]:
    left, right = (torch.randn(_SIZE, _SIZE, device="cuda", dtype=torch.bfloat16) for _side in range(2))
    out = torch.empty_like(left)
    return [2 * _SIZE**3 / seconds / 1e12 for seconds in _time(torch, lambda: torch.mm(left, right, out=out))]


def _copy(torch: Any) -> list[float]:
    """Bytes read and bytes written."""
    free, _total = torch.cuda.mem_get_info()
    size = min(_COPY, max(free // 4, _LEAST_COPY))
    source = torch.ones(size, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return [2 * size / seconds / 1e9 for seconds in _time(torch, lambda: target.copy_(source))]


def _time(torch: Any, work: Callable[[], object]) -> list[float]:
    """Seconds of one piece of work, from several runs of many."""
    deadline, done = time.monotonic() + _WARM_UP, 0
    while time.monotonic() < deadline:
        work()
        torch.cuda.synchronize()
        done += 1
    count = max(3, round(done / _WARM_UP / 2))  # half a second
    times = []
    for _repeat in range(_REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _side in range(2))
        start.record()
        for _each in range(count):
            work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / count)
    return times
