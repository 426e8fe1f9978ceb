# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated libnvidia-ml, as the real nvidia-ml-py sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pynvml
import pytest
from ansible_collections.mlrig.workstation.tests.simgpu.simgpu import PROFILES, Refused, read_profile
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import SimulatedMachine

MIB = 1 << 20
CLIENT = """
import sys, pynvml
pynvml.nvmlInit()
print("here", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedMachine:
    machine = SimulatedMachine(tmp_path, "rtx-3090", "gtx-1080-ti", "h100-80gb-hbm3")
    machine.use_here(monkeypatch)
    return machine


@pytest.fixture
def gpu(machine: SimulatedMachine) -> Iterator[Callable[[int], object]]:
    """Gives a handle of a GPU of the machine, by its number."""
    assert machine.read("driver/loaded") is not None
    pynvml.nvmlInit()
    yield pynvml.nvmlDeviceGetHandleByIndex
    pynvml.nvmlShutdown()


def error_of(function: Callable[..., object], *arguments: object) -> int:
    with pytest.raises(pynvml.NVMLError) as raised:
        function(*arguments)
    return raised.value.value


@pytest.mark.parametrize("file", sorted(PROFILES.glob("*.conf")), ids=lambda file: file.stem)
def test_card_is_what_its_profile_says(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = read_profile(file)
    SimulatedMachine(tmp_path, profile["name"]).use_here(monkeypatch)
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
    assert pynvml.nvmlDeviceGetName(gpu) == profile["name"]
    assert ".".join(map(str, pynvml.nvmlDeviceGetCudaComputeCapability(gpu))) == profile["compute_capability"]
    assert pynvml.nvmlDeviceGetMemoryInfo(gpu).total == int(profile["memory_total"]) * MIB
    assert pynvml.nvmlDeviceGetBAR1MemoryInfo(gpu).bar1Total == int(profile["bar1_total"]) * MIB
    limits = [int(profile[f"power_limit_{which}"]) for which in ("min", "default", "max")]
    assert limits == sorted(limits)
    assert pynvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu) == [limits[0], limits[2]]
    assert pynvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu) == limits[1]
    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) == pynvml.nvmlDeviceGetPowerManagementLimit(gpu) == limits[1]
    memory_clocks = pynvml.nvmlDeviceGetSupportedMemoryClocks(gpu)
    assert memory_clocks == sorted(memory_clocks, reverse=True)
    assert memory_clocks[0] == pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_MEM)
    for memory_clock in memory_clocks:
        clocks = pynvml.nvmlDeviceGetSupportedGraphicsClocks(gpu, memory_clock)
        assert clocks == sorted(clocks, reverse=True)
        assert clocks[0] <= pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_GRAPHICS)
    pynvml.nvmlShutdown()


@pytest.mark.usefixtures("gpu")
def test_driver() -> None:
    assert pynvml.nvmlSystemGetDriverVersion() == "595.71.05"
    assert pynvml.nvmlSystemGetNVMLVersion() == "13.595.71.05"
    assert pynvml.nvmlSystemGetCudaDriverVersion() == 13020
    assert pynvml.nvmlDeviceGetCount() == 3


def test_handles(gpu: Callable[[int], object]) -> None:
    pci = pynvml.nvmlDeviceGetPciInfo(gpu(1))
    assert (pci.busId, pci.busIdLegacy, pci.bus) == ("00000000:0A:00.0", "0000:0A:00.0", 10)
    assert pci.pciDeviceId == 0x1B0610DE
    for handle in (
        pynvml.nvmlDeviceGetHandleByUUID(pynvml.nvmlDeviceGetUUID(gpu(1))),
        pynvml.nvmlDeviceGetHandleByPciBusId("0000:0a:00.0"),
        pynvml.nvmlDeviceGetHandleByPciBusId(pci.busId),
    ):
        assert pynvml.nvmlDeviceGetIndex(handle) == 1
    assert error_of(gpu, 3) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert error_of(pynvml.nvmlDeviceGetHandleByUUID, "GPU-none") == pynvml.NVML_ERROR_NOT_FOUND


def test_what_only_some_cards_tell(gpu: Callable[[int], object]) -> None:
    assert pynvml.nvmlDeviceGetEccMode(gpu(2)) == [1, 1]
    assert pynvml.nvmlDeviceGetMigMode(gpu(2)) == [0, 0]
    assert pynvml.nvmlDeviceGetFieldValues(gpu(2), [pynvml.NVML_FI_DEV_MEMORY_TEMP])[0].value.uiVal == 38
    for getter in (pynvml.nvmlDeviceGetEccMode, pynvml.nvmlDeviceGetMigMode):
        assert error_of(getter, gpu(0)) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert error_of(pynvml.nvmlDeviceGetFanSpeed, gpu(2)) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert pynvml.nvmlDeviceGetFieldValues(gpu(0), [pynvml.NVML_FI_DEV_MEMORY_TEMP])[0].nvmlReturn == 3


def test_other_getters(gpu: Callable[[int], object]) -> None:
    assert pynvml.nvmlDeviceGetArchitecture(gpu(0)) == pynvml.NVML_DEVICE_ARCH_AMPERE
    assert pynvml.nvmlDeviceGetBrand(gpu(0)) == pynvml.NVML_BRAND_GEFORCE
    memory = pynvml.nvmlDeviceGetMemoryInfo(gpu(0), pynvml.nvmlMemory_v2)
    assert memory.total == memory.reserved + memory.used + memory.free
    assert pynvml.nvmlDeviceGetTemperature(gpu(0), pynvml.NVML_TEMPERATURE_GPU) == 37
    assert pynvml.nvmlDeviceGetTemperatureV(gpu(0), pynvml.NVML_TEMPERATURE_GPU) == 37
    assert pynvml.nvmlDeviceGetTemperatureThreshold(gpu(0), pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN) == 98
    assert pynvml.nvmlDeviceGetMarginTemperature(gpu(2)) == 56
    assert pynvml.nvmlDeviceGetFanSpeed_v2(gpu(0), 1) == 0
    assert error_of(pynvml.nvmlDeviceGetFanSpeed_v2, gpu(0), 2) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu(0)) == pynvml.nvmlClocksEventReasonGpuIdle
    assert pynvml.nvmlDeviceGetUtilizationRates(gpu(0)).gpu == 0
    assert pynvml.nvmlDeviceGetCurrPcieLinkWidth(gpu(0)) == pynvml.nvmlDeviceGetMaxPcieLinkWidth(gpu(0)) == 16
    assert pynvml.nvmlDeviceGetP2PStatus(gpu(0), gpu(1), pynvml.NVML_P2P_CAPS_INDEX_WRITE) == 1


def test_processes(machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    machine.simgpu("process", 0, 7, "/usr/lib/xorg/Xorg", "G", 100)
    machine.simgpu("process", 0, 8, "python train.py", "C", 2000)
    machine.simgpu("process", 0, 9, "blender", "C+G", 300)
    assert [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(gpu(0))] == [8, 9]
    assert [process.pid for process in pynvml.nvmlDeviceGetGraphicsRunningProcesses(gpu(0))] == [7, 9]
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(gpu(0))[0].usedGpuMemory == 2000 * MIB
    assert pynvml.nvmlDeviceGetComputeRunningProcesses(gpu(1)) == []
    assert pynvml.nvmlSystemGetProcessName(8) == "python train.py"
    assert error_of(pynvml.nvmlSystemGetProcessName, 10) == pynvml.NVML_ERROR_NOT_FOUND


def test_override(machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    machine.simgpu("set", 0, "temperature", 80)
    assert pynvml.nvmlDeviceGetTemperature(gpu(0), 0) == 80
    machine.simgpu("unset", 0, "temperature")
    assert pynvml.nvmlDeviceGetTemperature(gpu(0), 0) == 37
    machine.simgpu("set", 0, "ecc_mode", 0, "--hardware")
    machine.simgpu("set", 0, "ecc_mode_pending", 1, "--hardware")
    machine.simgpu("reload")
    assert pynvml.nvmlDeviceGetEccMode(gpu(0)) == [0, 1]
    machine.simgpu("unset", 0, "temperature", "--hardware")
    assert error_of(pynvml.nvmlDeviceGetTemperature, gpu(0), 0) == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_power_limit(machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    pynvml.nvmlDeviceSetPowerManagementLimit(gpu(0), 200_000)
    assert pynvml.nvmlDeviceGetPowerManagementLimit(gpu(0)) == 200_000
    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu(0)) == 200_000
    assert machine.read("live/0/power_limit") == "200000"
    for milliwatts in (99_999, 480_001):
        error = error_of(pynvml.nvmlDeviceSetPowerManagementLimit, gpu(0), milliwatts)
        assert error == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert pynvml.nvmlDeviceGetPowerManagementLimit(gpu(0)) == 200_000


def test_modes(gpu: Callable[[int], object]) -> None:
    pynvml.nvmlDeviceSetPersistenceMode(gpu(0), 1)
    assert pynvml.nvmlDeviceGetPersistenceMode(gpu(0)) == 1
    pynvml.nvmlDeviceSetComputeMode(gpu(0), pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS)
    assert pynvml.nvmlDeviceGetComputeMode(gpu(0)) == pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS
    assert pynvml.nvmlDeviceGetComputeMode(gpu(1)) == pynvml.NVML_COMPUTEMODE_DEFAULT
    assert error_of(pynvml.nvmlDeviceSetPersistenceMode, gpu(0), 2) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    assert error_of(pynvml.nvmlDeviceSetComputeMode, gpu(0), 4) == pynvml.NVML_ERROR_INVALID_ARGUMENT


def test_locked_clocks(machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    def clocks() -> tuple[int, int]:
        return tuple(pynvml.nvmlDeviceGetClockInfo(gpu(0), kind) for kind in (0, pynvml.NVML_CLOCK_MEM))

    pynvml.nvmlDeviceSetGpuLockedClocks(gpu(0), 1500, 1700)
    pynvml.nvmlDeviceSetMemoryLockedClocks(gpu(0), 5001, 20000)
    assert clocks() == (1500, 5001)
    assert machine.read("live/0/locked_graphics_clocks") == "1500 1700"
    assert machine.read("live/0/locked_memory_clocks") == "5001 20000"
    pynvml.nvmlDeviceSetMemoryLockedClocks(gpu(0), 20000, 20000)
    machine.simgpu("set", 0, "clock_graphics", 600)
    assert clocks() == (600, 9751), "one clock does not obey, the other has a highest value"
    machine.simgpu("unset", 0, "clock_graphics")
    assert error_of(pynvml.nvmlDeviceSetGpuLockedClocks, gpu(0), 1700, 1500) == pynvml.NVML_ERROR_INVALID_ARGUMENT
    pynvml.nvmlDeviceResetGpuLockedClocks(gpu(0))
    pynvml.nvmlDeviceResetMemoryLockedClocks(gpu(0))
    assert clocks() == (210, 405)
    assert machine.read("live/0/locked_memory_clocks") is None


@pytest.mark.parametrize("kind", ["Gpu", "Memory"])
def test_locked_clocks_need_a_newer_gpu(kind: str, gpu: Callable[[int], object]) -> None:
    lock = getattr(pynvml, f"nvmlDeviceSet{kind}LockedClocks")
    reset = getattr(pynvml, f"nvmlDeviceReset{kind}LockedClocks")
    assert error_of(lock, gpu(1), 1000, 1000) == pynvml.NVML_ERROR_NOT_SUPPORTED
    assert error_of(reset, gpu(1)) == pynvml.NVML_ERROR_NOT_SUPPORTED


@pytest.mark.parametrize("event", ["reload", "reboot"])
def test_reload_forgets_all_settings(event: str, machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    pynvml.nvmlDeviceSetPersistenceMode(gpu(0), 1)
    pynvml.nvmlDeviceSetComputeMode(gpu(0), 2)
    pynvml.nvmlDeviceSetPowerManagementLimit(gpu(0), 200_000)
    machine.simgpu(event)
    assert pynvml.nvmlDeviceGetPersistenceMode(gpu(0)) == 0
    assert pynvml.nvmlDeviceGetComputeMode(gpu(0)) == 0
    assert pynvml.nvmlDeviceGetPowerManagementLimit(gpu(0)) == 350_000


def test_last_client_takes_settings_along_without_persistence_mode(machine: SimulatedMachine) -> None:
    pynvml.nvmlInit()
    persistent, other = (pynvml.nvmlDeviceGetHandleByIndex(index) for index in (0, 2))
    pynvml.nvmlDeviceSetPersistenceMode(persistent, 1)
    for gpu in (persistent, other):
        pynvml.nvmlDeviceSetComputeMode(gpu, 2)
        pynvml.nvmlDeviceSetPowerManagementLimit(gpu, 250_000)
        pynvml.nvmlDeviceSetGpuLockedClocks(gpu, 1000, 1000)
    pynvml.nvmlShutdown()
    settings = ("power_limit", "compute_mode")
    kept = [[machine.read(f"live/{slot}/{setting}") for setting in settings] for slot in (0, 2)]
    assert kept == [["250000", "2"], [None, "2"]]
    assert machine.read("live/2/locked_graphics_clocks") is None


@pytest.mark.parametrize("ends", ["", "import os; os._exit(0)"], ids=["orderly", "killed"])
def test_settings_live_as_long_as_another_client(ends: str, machine: SimulatedMachine) -> None:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT + ends], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout
    client.stdout.readline()
    assert machine.nvidia_smi("-i", "0", "-pl", "200").returncode == 0
    assert machine.read("live/0/power_limit") == "200000"
    client.communicate()
    if ends:
        machine.nvidia_smi("-L")
    assert machine.read("live/0/power_limit") is None


def test_many_processes_at_once(machine: SimulatedMachine) -> None:
    machine.nvidia_smi("-pm", "1")
    program = """
import pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
for turn in range(200):
    pynvml.nvmlDeviceSetPowerManagementLimit(gpu, 200_000 + turn)
    assert pynvml.nvmlDeviceGetPowerManagementLimit(gpu) >= 200_000
"""
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _again in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert machine.read("live/0/power_limit") == "200199"
    assert [file.name for file in (machine.folder / "live" / "0").iterdir() if "." in file.name] == []


def test_driver_that_is_not_loaded(machine: SimulatedMachine) -> None:
    machine.simgpu("unload")
    assert error_of(pynvml.nvmlInit) == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert error_of(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNINITIALIZED
    machine.simgpu("machine")
    with pytest.raises(Refused, match="No such device"):
        machine.simgpu("load")


def test_driver_of_another_version_than_the_module(machine: SimulatedMachine) -> None:
    machine.simgpu("driver", "595.91.07", "--module", "595.71.05")
    assert error_of(pynvml.nvmlInit) == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    machine.simgpu("driver", "580.105.08", "--flavour", "proprietary")
    pynvml.nvmlInit()
    assert pynvml.nvmlSystemGetDriverVersion() == "580.105.08"
    assert pynvml.nvmlSystemGetCudaDriverVersion() == 13000
    pynvml.nvmlShutdown()


def test_function_that_fails(machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    machine.simgpu("fail", 0, "nvmlDeviceGetName", 999)
    assert error_of(pynvml.nvmlDeviceGetName, gpu(0)) == pynvml.NVML_ERROR_UNKNOWN
    assert pynvml.nvmlDeviceGetName(gpu(2)) == "NVIDIA H100 80GB HBM3"
    machine.simgpu("fail", "driver", "nvmlDeviceGetCount_v2", 999)
    assert error_of(pynvml.nvmlDeviceGetCount) == pynvml.NVML_ERROR_UNKNOWN
    machine.simgpu("heal")
    assert pynvml.nvmlDeviceGetName(gpu(0)) == "NVIDIA GeForce RTX 3090"
    assert pynvml.nvmlDeviceGetCount() == 3


def test_setting_that_is_ignored(machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    machine.simgpu("fail", 0, "nvmlDeviceSetPowerManagementLimit", "ignored")
    pynvml.nvmlDeviceSetPowerManagementLimit(gpu(0), 200_000)
    assert pynvml.nvmlDeviceGetPowerManagementLimit(gpu(0)) == 350_000


def test_gpu_that_is_lost(machine: SimulatedMachine, gpu: Callable[[int], object]) -> None:
    handle, uuid = gpu(0), pynvml.nvmlDeviceGetUUID(gpu(0))
    machine.simgpu("fail", 0, "all", 15)
    assert pynvml.nvmlDeviceGetCount() == 3
    assert error_of(gpu, 0) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert error_of(pynvml.nvmlDeviceGetHandleByUUID, uuid) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert error_of(pynvml.nvmlDeviceGetPersistenceMode, handle) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert error_of(pynvml.nvmlDeviceSetPersistenceMode, handle, 1) == pynvml.NVML_ERROR_GPU_IS_LOST
    assert pynvml.nvmlDeviceGetName(gpu(1)) == "NVIDIA GeForce GTX 1080 Ti"


def test_function_that_hangs(machine: SimulatedMachine) -> None:
    machine.simgpu("fail", 0, "nvmlDeviceGetName", "hang")
    process = subprocess.Popen(["nvidia-smi", "-L"], stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=1)
    process.kill()
    process.communicate()


def test_cards_keep_their_identity(machine: SimulatedMachine) -> None:
    def uuids() -> list[str | None]:
        return [machine.read(f"gpus/{slot}/uuid") for slot in range(4)]

    card, _second, h100, _fourth = uuids()
    machine.simgpu("machine", "none", "RTX-3090", "NVIDIA GeForce RTX 3090", "h100-80gb-hbm3")
    empty, moved, added, moved_too = uuids()
    assert (empty, moved, moved_too) == (None, card, h100)
    assert added not in {card, h100, None}
    machine.simgpu("machine", "none", "none", "rtx-3090")
    assert uuids() == [None, None, added, None], "the one in this slot stays"
    machine.simgpu("machine", "rtx-3090#5")
    assert uuids()[0] not in {card, added, None}
    with pytest.raises(Refused, match="two slots"):
        machine.simgpu("machine", "rtx-3090#5", "rtx-3090#5")
    with pytest.raises(Refused, match="no profile for the card 'voodoo2'"):
        machine.simgpu("machine", "voodoo2")
