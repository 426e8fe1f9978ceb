# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVML, NVIDIA's library for reading and setting GPUs, through nvidia-ml-py (its module is called pynvml)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ._loaded_driver import KERNEL_MODULE
from ._settings import SettingsError

# Where the role program puts nvidia-ml-py.
LIBRARY = Path("/opt/mlrig/lib")
_SINCE_11_525 = "nvmlDeviceGetGpuFabricInfo"

NO_HARDWARE = "this host has no NVIDIA GPU"

_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"
# NVML's error numbers that say: this GPU, or this driver, does not have it.
_NOT_HAD = frozenset({3, 13})  # NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_FUNCTION_NOT_FOUND
_ADVICE = {
    4: "that needs root, and in a container CAP_SYS_ADMIN",
    8: "a power cable is missing",
    15: "reboot to recover it",
    16: "reset it or reboot",
    17: "the operating system blocks the driver, as a container does",
}


class DriverUnavailableError(SettingsError):
    """The driver cannot be asked at all; the text says why."""


class BindingMissingError(DriverUnavailableError):
    """There is no nvidia-ml-py, or one that is too old."""


class LibraryMissingError(DriverUnavailableError):
    """There is no libnvidia-ml.so.1."""


class VersionMismatchError(DriverUnavailableError):
    """The loaded kernel module and libnvidia-ml.so.1 are of different versions."""


@contextmanager
def connect() -> Iterator[Any]:
    """The module pynvml, initialised. Raises DriverUnavailableError; and SettingsError for an uncaught NVMLError."""
    nvml = _import_binding()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise _unavailable(nvml, error) from error
    try:
        yield nvml
    except nvml.NVMLError as error:
        raise SettingsError(f"the NVIDIA driver does not answer: {explain(error)}") from error
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _import_binding() -> Any:
    folder = str(LIBRARY)
    if LIBRARY.is_dir() and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        binding = importlib.import_module("pynvml")
    except ImportError:
        raise BindingMissingError("the Python package nvidia-ml-py is not installed") from None
    if not hasattr(binding, _SINCE_11_525):
        raise BindingMissingError("the Python package nvidia-ml-py is older than 11.525, and texts from it are bytes")
    return binding


def _unavailable(nvml: Any, error: Any) -> DriverUnavailableError:
    if error.value == nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return LibraryMissingError("the NVIDIA driver is not installed: there is no libnvidia-ml.so.1")
    if error.value == nvml.NVML_ERROR_DRIVER_NOT_LOADED:
        return DriverUnavailableError("the NVIDIA driver is not loaded")
    if error.value == nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return VersionMismatchError(
            "the loaded NVIDIA kernel module and the driver's libraries differ in version: reboot"
        )
    return DriverUnavailableError(f"the NVIDIA driver does not answer: {explain(error)}")


def explain(error: Any) -> str:
    """The cause that an NVMLError names, and what helps where that is known."""
    advice = _ADVICE.get(error.value)
    return f"{error} (NVML error {error.value})" + (f": {advice}" if advice else "")


def is_not_had(error: Any) -> bool:
    """Whether an NVMLError says that this GPU or driver does not have what was asked for."""
    return error.value in _NOT_HAD


def read(nvml: Any, getter: str, *arguments: Any) -> Any:
    """What a getter returns, None where this GPU or driver does not have it. Raises other NVMLErrors."""
    function: Callable[..., Any] | None = getattr(nvml, getter, None)  # an older nvidia-ml-py lacks some
    try:
        return function and function(*arguments)
    except nvml.NVMLError as error:
        if is_not_had(error):
            return None
        raise


def has_hardware(root: Path = Path("/")) -> bool:
    """Whether there is an NVIDIA GPU: a driver has been loaded for it, or the PCI bus has one."""
    if (root / KERNEL_MODULE).exists():
        return True
    for device in (root / "sys/bus/pci/devices").glob("*"):
        with suppress(OSError):
            is_display = (device / "class").read_text().startswith(_DISPLAY_CLASS)
            if is_display and (device / "vendor").read_text().strip() == _NVIDIA:
                return True
    return False
