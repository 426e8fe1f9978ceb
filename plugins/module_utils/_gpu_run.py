# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the engine of GPU settings: the module nvidia_gpu and the program mlrig are its two doors."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ._files import make_folder
from ._gpu_plan import GpuPlan, GpuRequest, describe, make_plan
from ._gpus import Gpu
from ._nvml import NO_HARDWARE, BindingMissingError, DriverUnavailableError, connect, has_hardware
from ._settings import Settings, converge
from ._watchdog import PATIENCE, Doing, call_guarded

_LOCK = "run/mlrig/gpu.lock"


@dataclass(frozen=True)
class GpuRun:
    """What was found and done. unavailable: why no GPU could be asked; then all settings are skipped."""

    settings: Settings
    gpus: tuple[Gpu, ...] = ()
    unavailable: str | None = None


def run(request: GpuRequest, *, check_mode: bool, root: Path = Path("/"), patience: float = PATIENCE) -> GpuRun:
    """Bring the GPUs to what is wanted, or in check mode only compare.

    Raises RequestError for a request that does not fit this host, before anything is changed; SettingsError for a
    driver that hangs and, unless in check mode, for a GPU without nvidia-ml-py. Settings tell what a GPU refuses.
    """
    return call_guarded(lambda doing: _run(request, doing, check_mode=check_mode, root=root), patience=patience)


def _run(request: GpuRequest, doing: Doing, *, check_mode: bool, root: Path) -> GpuRun:
    doing("starting")
    try:
        with connect() as nvml, _alone(root, doing, check_mode=check_mode):
            return _converge(nvml, request, doing, check_mode=check_mode, root=root)
    except DriverUnavailableError as error:
        if not has_hardware(root):
            return GpuRun(_skip_all(replace(request, strict=False), NO_HARDWARE), unavailable=NO_HARDWARE)
        if isinstance(error, BindingMissingError) and not check_mode:
            raise
        settings = _skip_all(request, str(error))
        settings.warnings.append(f"no GPU was set: {error}")
        return GpuRun(settings, unavailable=str(error))


def _converge(nvml: Any, request: GpuRequest, doing: Doing, *, check_mode: bool, root: Path) -> GpuRun:
    plans: list[GpuPlan] = []

    def plan() -> GpuPlan:
        plans.append(make_plan(nvml, request, root, doing, just_set=bool(plans)))
        return plans[-1]

    settings = converge(plan, check_mode=check_mode)
    # Handles mean nothing in another process.
    return GpuRun(settings, tuple(replace(gpu, handle=None) for gpu in plans[0].gpus))


@contextmanager
def _alone(root: Path, doing: Doing, *, check_mode: bool) -> Iterator[None]:
    """Two runs at once, as at boot, would each overwrite what the other recorded."""
    lock = root / _LOCK
    if check_mode or os.geteuid() != 0:
        yield
        return
    make_folder(lock.parent)
    with lock.open("w") as stream:
        doing("waiting for another run of mlrig, which is setting GPUs")
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _skip_all(request: GpuRequest, reason: str) -> Settings:
    settings = Settings()
    record = settings.fail if request.strict else settings.skip
    for entry in request.entries:
        for name, wanted in entry.settings.items():
            record(
                f"{entry.where}/{name}", "live", describe(wanted), None, f"cannot set {name} ({entry.match}): {reason}"
            )
    return settings
