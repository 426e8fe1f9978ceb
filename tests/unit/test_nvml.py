# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching NVML, and what is told when it cannot be reached."""

from __future__ import annotations

import sys
from pathlib import Path

import pynvml
import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _nvml
from ansible_collections.mlrig.workstation.plugins.module_utils._nvml import (
    BindingMissingError,
    DriverUnavailableError,
    LibraryMissingError,
    connect,
    explain,
    has_hardware,
    is_not_had,
    read,
)
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import SimulatedMachine

from .conftest import Host

DEVICE = "/sys/bus/pci/devices/0000:01:00.0"

NOT_PERMITTED = "Insufficient Permissions (NVML error 4): that needs root, and in a container CAP_SYS_ADMIN"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedMachine:
    machine = SimulatedMachine(tmp_path, "rtx-3090")
    machine.use_here(monkeypatch)
    return machine


def test_a_binding_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pynvml.py").write_text("")
    monkeypatch.setattr(_nvml, "LIBRARY", tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "pynvml")
    with pytest.raises(BindingMissingError, match=r"^the Python package nvidia-ml-py is older than 11\.525"), connect():
        pass


@pytest.mark.usefixtures("machine")
def test_a_connection_is_initialised_and_ended() -> None:
    with connect() as nvml:
        assert nvml.nvmlDeviceGetCount() == 1
    with pytest.raises(pynvml.NVMLError) as raised:
        pynvml.nvmlDeviceGetCount()
    assert raised.value.value == pynvml.NVML_ERROR_UNINITIALIZED


@pytest.mark.usefixtures("machine")
def test_a_connection_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), connect():
        raise ZeroDivisionError
    with pytest.raises(pynvml.NVMLError):
        pynvml.nvmlDeviceGetCount()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (9, "the NVIDIA driver is not loaded"),
        (12, "the NVIDIA driver is not installed: there is no libnvidia-ml.so.1"),
        (18, "the loaded NVIDIA kernel module and the driver's libraries differ in version: reboot"),
        (
            4,
            f"the NVIDIA driver does not answer: {NOT_PERMITTED}",
        ),
        (999, "the NVIDIA driver does not answer: Unknown Error (NVML error 999)"),
    ],
)
def test_why_there_is_no_connection(machine: SimulatedMachine, error: int, message: str) -> None:
    machine.simgpu("fail", "driver", "nvmlInitWithFlags", error)
    with pytest.raises(DriverUnavailableError) as raised, connect():
        pass
    assert str(raised.value) == message
    assert isinstance(raised.value, LibraryMissingError) is (error == 12)


def test_a_driver_that_is_not_loaded(machine: SimulatedMachine) -> None:
    machine.simgpu("unload")
    with pytest.raises(DriverUnavailableError, match="not loaded"), connect():
        pass


def test_versions_that_differ(machine: SimulatedMachine) -> None:
    machine.simgpu("driver", "595.71.05", "--module", "580.105.08")
    with pytest.raises(DriverUnavailableError, match="differ in version: reboot"), connect():
        pass


def test_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_library(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", open_library)
    with pytest.raises(LibraryMissingError, match=r"not installed: there is no libnvidia-ml\.so\.1"), connect():
        pass


def test_a_missing_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(BindingMissingError, match="the Python package nvidia-ml-py is not installed"), connect():
        pass


def test_the_program_s_binding_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pynvml.py").write_text("""
class NVMLError(Exception):
    pass
nvmlInit = nvmlShutdown = nvmlDeviceGetGpuFabricInfo = lambda: None
""")
    monkeypatch.setattr(_nvml, "LIBRARY", tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "pynvml")
    for _again in range(2):
        with connect() as nvml:
            assert nvml.__file__ == str(tmp_path / "pynvml.py")
    assert sys.path.count(str(tmp_path)) == 1


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (3, "Not Supported (NVML error 3)"),
        (4, NOT_PERMITTED),
        (8, "Insufficient External Power (NVML error 8): a power cable is missing"),
        (15, "GPU is lost (NVML error 15): reboot to recover it"),
        (16, "(NVML error 16): reset it or reboot"),
        (17, "(NVML error 17): the operating system blocks the driver, as a container does"),
        (999, "Unknown Error (NVML error 999)"),
    ],
)
def test_causes(number: int, cause: str) -> None:
    said = explain(pynvml.NVMLError(number))
    assert said.endswith(cause)
    assert len(said.partition(" (NVML")[0]) > 5


@pytest.mark.parametrize(("number", "not_had"), [(3, True), (13, True), (2, False), (4, False), (15, False)])
def test_what_a_gpu_does_not_have(machine: SimulatedMachine, number: int, *, not_had: bool) -> None:
    assert is_not_had(pynvml.NVMLError(number)) is not_had
    machine.simgpu("fail", 0, "nvmlDeviceGetPersistenceMode", number)
    with connect() as nvml:
        gpu = nvml.nvmlDeviceGetHandleByIndex(0)
        if not_had:
            assert read(nvml, "nvmlDeviceGetPersistenceMode", gpu) is None
        else:
            with pytest.raises(pynvml.NVMLError):
                read(nvml, "nvmlDeviceGetPersistenceMode", gpu)
        assert read(nvml, "nvmlDeviceGetMaxClockInfo", gpu, 0) == 2100


@pytest.mark.parametrize(
    ("files", "there"),
    [
        ({}, False),
        ({"class": "0x030000\n", "vendor": "0x10de\n"}, True),
        ({"class": "0x030200\n", "vendor": "0x10de\n"}, True),
        ({"class": "0x040300\n", "vendor": "0x10de\n"}, False),
        ({"class": "0x030000\n", "vendor": "0x1002\n"}, False),
        ({"class": "0x030000\n"}, False),
        ({"vendor": "0x10de\n"}, False),
    ],
    ids=["nothing", "gpu", "gpu without display", "its sound", "other maker", "no vendor", "no class"],
)
def test_hardware(host: Host, files: dict[str, str], *, there: bool) -> None:
    host.write_all({"/sys/bus/pci/devices/0000:00:00.0/class": "0x060000\n"})
    host.write_all({f"{DEVICE}/{name}": text for name, text in files.items()})
    assert has_hardware(host.root) is there


def test_no_pci_bus(host: Host) -> None:
    assert has_hardware(host.root) is False
