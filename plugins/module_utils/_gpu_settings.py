# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be set on a GPU: for each setting what a wish means on a certain card, how it is read, how it is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ._gpu_request import Amount, Clocks, Wanted
from ._gpus import AMPERE, BLACKWELL, VOLTA, Gpu
from ._nvml import read
from ._settings import InputError

UNLOCKED = "unlocked"

_COMPUTE_MODES = {"default": 0, "exclusive_process": 3, "prohibited": 2}


class CannotHaveError(Exception):
    """This GPU cannot have a setting; the text says why."""


@dataclass(frozen=True)
class Target:
    """What a wish means on a certain GPU.

    text: as it is compared and reported. values: what NVML is told; nothing for a lock that is lifted.
    note: in what it is not as it was asked for. warning: what the user should know about it.
    """

    text: str
    values: tuple[int, ...]
    note: str | None = None
    warning: str | None = None


class GpuSetting(Protocol):
    """One kind of setting. All may raise NVMLError; where stands for the place in the user's list."""

    def target(self, nvml: Any, gpu: Gpu, wanted: Wanted, *, where: str, clamp: bool) -> Target:
        """Raises CannotHaveError, or InputError for what is beyond this board."""

    def read(self, nvml: Any, gpu: Gpu) -> str | None:
        """The value in force, as the text of a target; None where nobody can tell."""

    def apply(self, nvml: Any, gpu: Gpu, target: Target) -> None: ...


class PersistenceMode:
    def target(self, nvml: Any, gpu: Gpu, wanted: Wanted, *, where: str, clamp: bool) -> Target:
        del nvml, gpu, where, clamp
        return Target("enabled" if wanted else "disabled", (int(bool(wanted)),))

    def read(self, nvml: Any, gpu: Gpu) -> str | None:
        mode = read(nvml, "nvmlDeviceGetPersistenceMode", gpu.handle)
        if mode is None:
            raise CannotHaveError("it has no persistence mode")
        return "enabled" if mode else "disabled"

    def apply(self, nvml: Any, gpu: Gpu, target: Target) -> None:
        nvml.nvmlDeviceSetPersistenceMode(gpu.handle, *target.values)


class ComputeMode:
    def target(self, nvml: Any, gpu: Gpu, wanted: Wanted, *, where: str, clamp: bool) -> Target:
        del nvml, gpu, where, clamp
        mode = str(wanted or "default")  # None is the driver's own
        return Target(mode, (_COMPUTE_MODES[mode],))

    def read(self, nvml: Any, gpu: Gpu) -> str | None:
        mode = read(nvml, "nvmlDeviceGetComputeMode", gpu.handle)
        if mode is None:
            raise CannotHaveError("it has no compute mode")
        return next((name for name, number in _COMPUTE_MODES.items() if number == mode), f"mode {mode}")

    def apply(self, nvml: Any, gpu: Gpu, target: Target) -> None:
        nvml.nvmlDeviceSetComputeMode(gpu.handle, *target.values)


class PowerLimit:
    """NVML counts milliwatts. The range is the board's own: cards of one name differ."""

    def target(self, nvml: Any, gpu: Gpu, wanted: Wanted, *, where: str, clamp: bool) -> Target:
        default = read(nvml, "nvmlDeviceGetPowerManagementDefaultLimit", gpu.handle)
        limits = read(nvml, "nvmlDeviceGetPowerManagementLimitConstraints", gpu.handle)
        if default is None or limits is None:
            raise CannotHaveError("it does not let its power limit be set")
        if not isinstance(wanted, Amount):
            return Target(_watts(default), (default,))
        lowest, highest = limits
        asked = round(wanted.of(default) if wanted.is_percentage else wanted.number * 1000)
        if lowest <= asked <= highest:
            # A percentage gives whole watts; the ends of the range need not be whole.
            limit = min(max(round(asked, -3), lowest), highest) if wanted.is_percentage else asked
            return Target(_watts(limit), (limit,))
        beyond = f"{_watts(lowest)} to {_watts(highest)}, the range of {gpu}"
        if clamp:
            limit = lowest if asked < lowest else highest
            return Target(_watts(limit), (limit,), note=f"{_watts(asked)} is beyond {beyond}")
        raise InputError(where, f"must be within {beyond}", f"{wanted} ({_watts(asked)})")

    def read(self, nvml: Any, gpu: Gpu) -> str | None:
        limit = read(nvml, "nvmlDeviceGetPowerManagementLimit", gpu.handle)
        if limit is None:
            raise CannotHaveError("it does not tell its power limit")
        return _watts(limit)

    def apply(self, nvml: Any, gpu: Gpu, target: Target) -> None:
        nvml.nvmlDeviceSetPowerManagementLimit(gpu.handle, *target.values)


@dataclass(frozen=True)
class LockedClocks:
    """One kind of clock, which NVML locks but does not tell so.

    oldest: the first architecture that can lock it. clock: NVML's number for it. lock, unlock: NVML's functions.
    """

    oldest: int
    oldest_name: str
    clock: int
    lock: str
    unlock: str

    def target(self, nvml: Any, gpu: Gpu, wanted: Wanted, *, where: str, clamp: bool) -> Target:
        del clamp  # clocks always become ones that the card supports
        if gpu.is_older_than(self.oldest):
            raise CannotHaveError(f"its architecture cannot lock this clock: that takes {self.oldest_name} or newer")
        if not isinstance(wanted, Clocks):
            return Target(UNLOCKED, ())
        highest = read(nvml, "nvmlDeviceGetMaxClockInfo", gpu.handle, self.clock)
        supported = self._supported(nvml, gpu)
        ends = []
        notes = []
        for amount in (wanted.lowest, wanted.highest):
            if amount.is_percentage and highest is None:
                raise CannotHaveError(f"it does not tell the maximum of which {amount} is wanted")
            asked = round(amount.of(highest))
            end = min(supported, key=lambda clock, asked=asked: (abs(clock - asked), clock), default=asked)  # type: ignore[misc]
            ends.append(end)
            if end != asked:
                notes.append(f"{asked} MHz is not a clock of this card, {end} MHz is the nearest")
        if ends[0] > ends[1]:
            raise InputError(
                where, f"must have its minimum first; on {gpu} it is {ends[0]} to {ends[1]} MHz", str(wanted)
            )
        return Target(f"{ends[0]}-{ends[1]} MHz", tuple(ends), "; ".join(notes) or None, self._warning(gpu))

    def _supported(self, nvml: Any, gpu: Gpu) -> list[int]:
        """Nothing where the card does not tell: then the driver itself takes the nearest clock."""
        try:
            memory: list[int] = read(nvml, "nvmlDeviceGetSupportedMemoryClocks", gpu.handle) or []
            if self.clock == _MEMORY or not memory:
                return memory
            return read(nvml, "nvmlDeviceGetSupportedGraphicsClocks", gpu.handle, max(memory)) or []
        except nvml.NVMLError:
            return []

    def _warning(self, gpu: Gpu) -> str | None:
        if self.clock != _MEMORY or gpu.architecture != BLACKWELL:
            return None
        return "a memory lock has cost up to 32 % of the speed of Blackwell cards (open-gpu-kernel-modules#1266)"

    def read(self, nvml: Any, gpu: Gpu) -> str | None:
        del nvml, gpu
        return None

    def apply(self, nvml: Any, gpu: Gpu, target: Target) -> None:
        getattr(nvml, self.lock if target.values else self.unlock)(gpu.handle, *target.values)


def _watts(milliwatts: float) -> str:
    return f"{milliwatts / 1000:g} W"


_GRAPHICS, _MEMORY = 0, 2

# In the order in which they are set: without persistence mode a driver may forget the others at once.
GPU_SETTINGS: Mapping[str, GpuSetting] = {
    "persistence_mode": PersistenceMode(),
    "compute_mode": ComputeMode(),
    "power_limit": PowerLimit(),
    "graphics_clocks": LockedClocks(
        VOLTA, "Volta", _GRAPHICS, "nvmlDeviceSetGpuLockedClocks", "nvmlDeviceResetGpuLockedClocks"
    ),
    "memory_clocks": LockedClocks(
        AMPERE, "Ampere", _MEMORY, "nvmlDeviceSetMemoryLockedClocks", "nvmlDeviceResetMemoryLockedClocks"
    ),
}
