# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the engine of GPU settings: the module nvidia_gpu and the program mlrig are its two doors."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from ._files import make_folder
from ._gpu_plan import GpuPlan, GpuRequest, describe, make_plan
from ._gpus import Gpu
from ._nvml import NO_HARDWARE, BindingMissingError, DriverUnavailableError, connect, has_hardware
from ._settings import Settings, SettingsError, converge
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
    driver or another run that hangs and, unless in check mode, for a GPU without nvidia-ml-py. Settings tell what a GPU
    refuses.
    """
    with _alone(root, patience, check_mode=check_mode) as lock:

        def work(doing: Doing) -> GpuRun:
            if lock is not None:
                lock.close()  # a child that is left behind must not hold it
            return _run(request, doing, check_mode=check_mode, root=root)

        return call_guarded(work, patience=patience)


def _run(request: GpuRequest, doing: Doing, *, check_mode: bool, root: Path) -> GpuRun:
    doing("loading NVML")
    try:
        with connect() as nvml:
            return _converge(nvml, request, doing, check_mode=check_mode, root=root)
    except DriverUnavailableError as error:
        if not has_hardware(root):
            return GpuRun(_skip_all(replace(request, strict=False), NO_HARDWARE), unavailable=NO_HARDWARE)
        if isinstance(error, BindingMissingError):
            if not check_mode:
                raise
            request = replace(request, strict=False)  # an earlier task of a real run brings it
        settings = _skip_all(request, str(error))
        settings.warnings.append(f"no GPU was set: {error}")
        return GpuRun(settings, unavailable=str(error))


def _converge(nvml: Any, request: GpuRequest, doing: Doing, *, check_mode: bool, root: Path) -> GpuRun:
    plans: list[GpuPlan] = []

    def plan() -> GpuPlan:
        plans.append(make_plan(nvml, request, root, doing, earlier=plans[0] if plans else None))
        return plans[-1]

    settings = converge(plan, check_mode=check_mode)
    # Handles mean nothing in another process.
    return GpuRun(settings, tuple(replace(gpu, handle=None) for gpu in plans[0].gpus))


@contextmanager
def _alone(root: Path, patience: float, *, check_mode: bool) -> Iterator[IO[str] | None]:
    """Two runs at once, as at boot, would each overwrite what the other recorded."""
    if check_mode or os.geteuid() != 0:
        yield None
        return
    make_folder((root / _LOCK).parent)
    with (root / _LOCK).open("w") as lock:
        _wait_for(lock, patience)
        yield lock


def _wait_for(lock: IO[str], patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"another run of mlrig has been setting GPUs for {patience:.0f} s (it holds /{_LOCK})"
                ) from None
            time.sleep(0.05)
        else:
            return


def _skip_all(request: GpuRequest, reason: str) -> Settings:
    settings = Settings()
    record = settings.fail if request.strict else settings.skip
    for entry in request.entries:
        for name, wanted in entry.settings.items():
            why = f"cannot set {name} ({entry.match}): {reason}"
            record(f"{entry.where}/{name}", "live", describe(wanted), None, why)
    return settings
