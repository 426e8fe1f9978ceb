# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPUs of a host as NVML lists them, and which of them an entry of a request is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._gpu_request import GpuMatch
from ._nvml import explain, read
from ._pci_address import normalise_address

# NVML's numbers of architectures, which rise from one to the next; one that it does not know has the highest.
VOLTA, AMPERE, BLACKWELL = 5, 7, 10


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML finds it. error: why it does not answer; then all that is not known is None."""

    index: int
    handle: Any = None
    uuid: str | None = None
    name: str | None = None
    address: str | None = None
    architecture: int | None = None
    error: str | None = None

    @property
    def id(self) -> str:
        return self.uuid or f"GPU {self.index}"

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})" if self.name else f"GPU {self.index}"

    def is_older_than(self, architecture: int) -> bool:
        return self.architecture is not None and self.architecture < architecture

    def fits(self, match: GpuMatch) -> bool:
        """Whether an entry is for this GPU, or may be for one that does not tell its name."""
        if self.error is not None:
            return match.uuid is None and match.bus_id is None and match.index in (None, self.index)
        return match.fits(index=self.index, uuid=self.uuid, bus_id=self.address, name=self.name)


def find_gpus(nvml: Any, doing: Callable[[str], None]) -> list[Gpu]:
    """All GPUs of the host, also those that do not answer. doing: is told each step that may take its time, or hang."""
    doing("counting GPUs")
    return [_find_gpu(nvml, index, doing) for index in range(nvml.nvmlDeviceGetCount())]


def _find_gpu(nvml: Any, index: int, doing: Callable[[str], None]) -> Gpu:
    doing(f"looking for GPU {index}")  # initialises it, where persistence mode is off
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        return Gpu(
            index,
            handle,
            nvml.nvmlDeviceGetUUID(handle),
            nvml.nvmlDeviceGetName(handle),
            normalise_address(nvml.nvmlDeviceGetPciInfo(handle).busId),
            read(nvml, "nvmlDeviceGetArchitecture", handle),
        )
    except nvml.NVMLError as error:
        return Gpu(index, error=explain(error))
