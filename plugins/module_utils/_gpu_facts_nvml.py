# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts about GPUs from NVML.

What one GPU or driver does not have is None; a GPU that does not answer keeps no other from being read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._gpu_facts_getters import GpuAnswers, Read, as_bool, ask, first, mib, nth, tell, watts
from ._gpu_facts_shape import COMPUTE_MODES, PEER_TO_PEER, Facts, add_conclusions, pairs, pci_address, read_all

_ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada Lovelace",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
_THROTTLE_REASONS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clocks_setting",
}
_CLOCKS = {"graphics": 0, "sm": 1, "memory": 2, "video": 3}
_PROCESSES = {
    "nvmlDeviceGetComputeRunningProcesses_v3": "compute",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": "compute",
    "nvmlDeviceGetGraphicsRunningProcesses_v3": "graphics",
}
# nvidia-ml-py writes NVML_P2P_CAPS_INDEX_READ with a comma, as a tuple.
_P2P_READ, _P2P_WRITE = 0, 1


def _memory(part: str) -> Read:
    def read(gpu: GpuAnswers) -> int | None:
        # what the older way calls used includes what is reserved
        memory = gpu.ask("nvmlDeviceGetMemoryInfo", gpu.nvml.nvmlMemory_v2) or gpu.ask("nvmlDeviceGetMemoryInfo")
        size = getattr(memory, part, None)
        return None if size is None else mib(size)

    return read


def _memory_temperature(gpu: GpuAnswers) -> int | None:
    values = gpu.ask("nvmlDeviceGetFieldValues", (gpu.nvml.NVML_FI_DEV_MEMORY_TEMP,))
    if values is None or values[0].nvmlReturn != gpu.nvml.NVML_SUCCESS:
        return None
    return int(values[0].value.uiVal)


def _reasons(mask: int) -> list[str]:
    bits = [1 << position for position in range(mask.bit_length()) if mask & (1 << position)]
    return sorted(_THROTTLE_REASONS.get(bit, f"unknown_{bit:#x}") for bit in bits)


def _supported_clocks(gpu: GpuAnswers) -> list[Facts] | None:
    memory_clocks = gpu.ask("nvmlDeviceGetSupportedMemoryClocks")
    if memory_clocks is None:
        return None
    return [
        {"memory": clock, "graphics": gpu.ask("nvmlDeviceGetSupportedGraphicsClocks", clock)} for clock in memory_clocks
    ]


def _processes(gpu: GpuAnswers) -> list[Facts] | None:
    """By process id. None if no list of them can be read."""
    lists = [(kind, gpu.ask(getter)) for getter, kind in _PROCESSES.items()]
    found: dict[int, Facts] = {}
    for kind, processes in lists:
        for process in processes or ():
            memory = None if process.usedGpuMemory is None else mib(process.usedGpuMemory)
            name = gpu.process_name(process.pid)
            facts = found.setdefault(
                process.pid, {"pid": process.pid, "name": name, "type": kind, "memory_mib": memory}
            )
            if facts["type"] != kind:
                facts["type"] = "both"
    if all(processes is None for _kind, processes in lists):
        return None
    return [found[pid] for pid in sorted(found)]


_SHAPE = {
    "uuid": tell("nvmlDeviceGetUUID"),
    "name": tell("nvmlDeviceGetName"),
    "architecture": tell("nvmlDeviceGetArchitecture", as_=_ARCHITECTURES.get),
    "compute_capability": tell("nvmlDeviceGetCudaComputeCapability", as_=lambda answer: "{}.{}".format(*answer)),
    "pci": {
        "address": tell("nvmlDeviceGetPciInfo_v3", as_=lambda info: pci_address(info.busId)),
        "generation": {
            "current": tell("nvmlDeviceGetCurrPcieLinkGeneration"),
            "max": tell("nvmlDeviceGetMaxPcieLinkGeneration"),
        },
        "width": {
            "current": tell("nvmlDeviceGetCurrPcieLinkWidth"),
            "max": tell("nvmlDeviceGetMaxPcieLinkWidth"),
        },
        "replay_counter": tell("nvmlDeviceGetPcieReplayCounter"),
    },
    "memory_mib": {part: _memory(part) for part in ("total", "reserved", "used", "free")},
    "bar1_mib": {
        "total": tell("nvmlDeviceGetBAR1MemoryInfo", as_=lambda info: mib(info.bar1Total)),
        "used": tell("nvmlDeviceGetBAR1MemoryInfo", as_=lambda info: mib(info.bar1Used)),
        "free": tell("nvmlDeviceGetBAR1MemoryInfo", as_=lambda info: mib(info.bar1Free)),
    },
    "processes": _processes,
    "persistence_mode": tell("nvmlDeviceGetPersistenceMode", as_=as_bool),
    "power_watts": {
        "limit": tell("nvmlDeviceGetPowerManagementLimit", as_=watts),
        "enforced": tell("nvmlDeviceGetEnforcedPowerLimit", as_=watts),
        "default": tell("nvmlDeviceGetPowerManagementDefaultLimit", as_=watts),
        "min": nth("nvmlDeviceGetPowerManagementLimitConstraints", 0, as_=watts),
        "max": nth("nvmlDeviceGetPowerManagementLimitConstraints", 1, as_=watts),
        "draw": tell("nvmlDeviceGetPowerUsage", as_=watts),
    },
    "clocks_mhz": {
        "current": {name: tell("nvmlDeviceGetClockInfo", number) for name, number in _CLOCKS.items()},
        "max": {name: tell("nvmlDeviceGetMaxClockInfo", number) for name, number in _CLOCKS.items()},
        "supported": _supported_clocks,
    },
    "performance_state": tell("nvmlDeviceGetPerformanceState", as_=lambda state: f"P{state}" if state < 16 else None),
    "temperatures_celsius": {
        "gpu": first(tell("nvmlDeviceGetTemperatureV", 0), tell("nvmlDeviceGetTemperature", 0)),
        "memory": _memory_temperature,
        "shutdown": tell("nvmlDeviceGetTemperatureThreshold", 0),
        "slowdown": tell("nvmlDeviceGetTemperatureThreshold", 1),
        "max_operating": tell("nvmlDeviceGetTemperatureThreshold", 3),
    },
    "fan_percent": tell("nvmlDeviceGetFanSpeed"),
    "throttle_reasons": first(
        tell("nvmlDeviceGetCurrentClocksEventReasons", as_=_reasons),
        tell("nvmlDeviceGetCurrentClocksThrottleReasons", as_=_reasons),
    ),
    "ecc": {
        "current": nth("nvmlDeviceGetEccMode", 0, as_=as_bool),
        "pending": nth("nvmlDeviceGetEccMode", 1, as_=as_bool),
    },
    "mig": {
        "current": nth("nvmlDeviceGetMigMode", 0, as_=as_bool),
        "pending": nth("nvmlDeviceGetMigMode", 1, as_=as_bool),
    },
    "compute_mode": tell("nvmlDeviceGetComputeMode", as_=dict(enumerate(COMPUTE_MODES)).get),
    "display": {
        "attached": tell("nvmlDeviceGetDisplayMode", as_=as_bool),
        "active": tell("nvmlDeviceGetDisplayActive", as_=as_bool),
    },
}


def facts_from_nvml(nvml: Any, doing: Callable[[str], None]) -> Facts:
    """What an initialised NVML tells about the driver and every GPU. Raises NVMLError if it cannot count them.

    doing: is told which step comes next, because each may hang.
    """
    doing("reading the driver's version")
    facts: Facts = {
        "driver_version": ask(nvml, "nvmlSystemGetDriverVersion"),
        "cuda_version": _cuda_version(ask(nvml, "nvmlSystemGetCudaDriverVersion")),
    }
    gpus = []
    facts["gpus"] = []
    for index in range(nvml.nvmlDeviceGetCount()):
        doing(f"reading GPU {index}")
        gpu = GpuAnswers(nvml, index)
        gpus.append(gpu)
        read = add_conclusions(read_all(_SHAPE, gpu))
        facts["gpus"].append({"index": index, "error": gpu.error, **read})
    doing("reading peer to peer access")
    facts["peer_to_peer"] = pairs(len(gpus), _peer_to_peer(gpus, _P2P_READ), _peer_to_peer(gpus, _P2P_WRITE))
    return facts


def _peer_to_peer(gpus: Sequence[GpuAnswers], direction: int) -> Callable[[int, int], str | None]:
    words = dict(enumerate(PEER_TO_PEER))
    return lambda one, other: words.get(gpus[one].peer_to_peer(gpus[other], direction))


def _cuda_version(number: int | None) -> str | None:
    """13.1 of 13010."""
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"
