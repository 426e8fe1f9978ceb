# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking NVML about one GPU: what the shape of facts in `_gpu_facts_nvml` is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class GpuAnswers:
    """Asks one GPU, each question once; after it was lost, not at all."""

    nvml: Any
    index: int
    error: str | None = None
    handle: Any = None
    answers: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self.handle = self.nvml.nvmlDeviceGetHandleByIndex(self.index)
        except self.nvml.NVMLError as error:
            self.error = str(error)

    def ask(self, getter: str, *arguments: Any) -> Any:
        question = (getter, *arguments)
        if question not in self.answers:
            self.answers[question] = None if self.error else self._call(getter, self.handle, *arguments)
        return self.answers[question]

    def process_name(self, pid: int) -> Any:
        return self._call("nvmlSystemGetProcessName", pid)

    def peer_to_peer(self, other: GpuAnswers, direction: int) -> Any:
        unasked = self.error or other.error
        return None if unasked else self._call("nvmlDeviceGetP2PStatus", self.handle, other.handle, direction)

    def _call(self, getter: str, *arguments: Any) -> Any:
        try:
            return ask(self.nvml, getter, *arguments)
        except self.nvml.NVMLError as error:
            self.error = str(error)
            return None


def ask(nvml: Any, getter: str, *arguments: Any) -> Any:
    """What a getter returns, None where it does not tell. Raises NVMLError when the GPU is lost."""
    try:
        return getattr(nvml, getter)(*arguments)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
            raise
    except (AttributeError, UnicodeDecodeError):
        pass  # nvidia-ml-py is older than the getter; the name of a process is not UTF-8
    return None


Read = Callable[[GpuAnswers], Any]


def _same(answer: Any) -> Any:
    return answer


def as_bool(answer: int) -> bool | None:
    return {0: False, 1: True}.get(answer)


def mib(answer: int) -> int:
    """Rounded up, as nvidia-smi has done since 570."""
    return -(-answer // 2**20)


def watts(answer: int) -> float:
    return round(answer / 1000, 2)


def tell(getter: str, *arguments: Any, as_: Callable[[Any], Any] = _same) -> Read:
    def read(gpu: GpuAnswers) -> Any:
        answer = gpu.ask(getter, *arguments)
        return None if answer is None else as_(answer)

    return read


def nth(getter: str, number: int, as_: Callable[[Any], Any]) -> Read:
    """One of several values that a getter returns."""
    return tell(getter, as_=lambda answer: as_(answer[number]))


def first(*reads: Read) -> Read:
    """The newest of several ways that this driver has."""

    def read(gpu: GpuAnswers) -> Any:
        return next((value for each in reads if (value := each(gpu)) is not None), None)

    return read
