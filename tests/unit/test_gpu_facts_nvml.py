# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts from NVML: what GPUs and drivers may answer, made up; a simulated driver is in test_gpu_facts_simulated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts_nvml import facts_from_nvml

MIB = 2**20
LOST = pynvml.NVML_ERROR_GPU_IS_LOST


def memory(**sizes: int) -> SimpleNamespace:
    return SimpleNamespace(**{part: size * MIB for part, size in sizes.items()})


def process(pid: int, memory: int | None = MIB) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)


class Nvml:
    """pynvml with GPUs that answer from dictionaries: by getter, or by getter and first argument.

    An answer that is an exception is raised. What is not there is not supported.
    """

    def __init__(self, *gpus: dict[Any, Any], system: dict[Any, Any] | None = None) -> None:
        self.gpus = gpus
        self.system = system or {}
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvmlDevice"):
            return partial(self.ask_gpu, name)
        if name.startswith("nvmlSystem"):
            return partial(self.answer, self.system, name)
        return getattr(pynvml, name)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's name
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - NVML's name
        handle: int = self.answer({"handle": index, **self.gpus[index]}, "handle")
        return handle

    def ask_gpu(self, name: str, handle: int, *arguments: Any) -> Any:
        self.asked.append(name)
        return self.answer(self.gpus[handle], name, *arguments)

    def answer(self, answers: dict[Any, Any], name: str, *arguments: Any) -> Any:
        answer = answers.get((name, *arguments), answers.get(name, error(pynvml.NVML_ERROR_NOT_SUPPORTED)))
        if isinstance(answer, Exception):
            raise answer
        return answer


def error(number: int) -> Exception:
    raised: Exception = pynvml.NVMLError(number)
    return raised


def read(*gpus: dict[Any, Any], system: dict[Any, Any] | None = None) -> Any:
    return facts_from_nvml(Nvml(*gpus, system=system), lambda _: None)


def leaves(facts: Any) -> list[Any]:
    return [leaf for inner in facts.values() for leaf in leaves(inner)] if isinstance(facts, dict) else [facts]


def test_a_gpu_that_tells_nothing() -> None:
    (gpu,) = read({})["gpus"]
    assert gpu.pop("index") == 0
    assert set(leaves(gpu)) == {None}


@pytest.mark.parametrize("number", sorted(set(pynvml.NVMLError._errcode_to_string) - {15, 16}))
def test_every_error_of_a_getter_is_null(number: int) -> None:
    (gpu,) = read({"nvmlDeviceGetName": error(number), "nvmlDeviceGetUUID": "GPU-1"})["gpus"]
    assert (gpu["name"], gpu["uuid"], gpu["error"]) == (None, "GPU-1", None)


def test_a_binding_older_than_a_getter() -> None:
    missing = AttributeError("module 'pynvml' has no attribute")
    (gpu,) = read({"nvmlDeviceGetTemperatureV": missing, ("nvmlDeviceGetTemperature", 0): 40})["gpus"]
    assert gpu["temperatures_celsius"]["gpu"] == 40


@pytest.mark.parametrize("number", [15, 16, 999])
def test_a_gpu_without_a_handle_keeps_no_other_from_being_read(number: int) -> None:
    facts = read({"nvmlDeviceGetUUID": "GPU-0"}, {"handle": error(number)}, {"nvmlDeviceGetUUID": "GPU-2"})
    assert [gpu["error"] for gpu in facts["gpus"]] == [None, str(error(number)), None]
    assert [gpu["uuid"] for gpu in facts["gpus"]] == ["GPU-0", None, "GPU-2"]
    assert [pair["gpus"] for pair in facts["peer_to_peer"]] == [[0, 1], [0, 2], [1, 2]]


def test_nobody_is_asked_about_access_to_a_gpu_without_a_handle() -> None:
    nvml = Nvml({"nvmlDeviceGetP2PStatus": 0}, {"handle": error(LOST)})
    facts = facts_from_nvml(nvml, lambda _: None)
    assert facts["peer_to_peer"] == [{"gpus": [0, 1], "read": None, "write": None}]
    assert "nvmlDeviceGetP2PStatus" not in nvml.asked


def test_a_gpu_that_is_lost_on_the_way_is_asked_nothing_more() -> None:
    nvml = Nvml({"nvmlDeviceGetUUID": "GPU-0", "nvmlDeviceGetPciInfo_v3": error(LOST), "nvmlDeviceGetFanSpeed": 1})
    (gpu,) = facts_from_nvml(nvml, lambda _: None)["gpus"]
    assert (gpu["uuid"], gpu["error"], gpu["fan_percent"]) == ("GPU-0", "GPU is lost", None)
    assert nvml.asked[-1] == "nvmlDeviceGetPciInfo_v3"


def test_it_says_what_comes_next() -> None:
    steps: list[str] = []
    facts_from_nvml(Nvml({}, {}), steps.append)
    assert steps == [
        "reading the driver's version",
        "reading GPU 0",
        "reading GPU 1",
        "reading peer to peer access",
    ]


def test_a_driver_that_cannot_count_its_gpus() -> None:
    nvml = Nvml()
    nvml.nvmlDeviceGetCount = lambda: nvml.answer({}, "count")  # type: ignore[method-assign]
    with pytest.raises(pynvml.NVMLError):
        facts_from_nvml(nvml, lambda _: None)


def test_versions() -> None:
    facts = read(system={"nvmlSystemGetDriverVersion": "595.71.05", "nvmlSystemGetCudaDriverVersion": 13010})
    assert (facts["driver_version"], facts["cuda_version"], facts["gpus"]) == ("595.71.05", "13.1", [])
    assert read()["cuda_version"] is None


@pytest.mark.parametrize(
    ("getter", "answer", "fact", "expected"),
    [
        ("nvmlDeviceGetArchitecture", 8, lambda gpu: gpu["architecture"], "Ada Lovelace"),
        ("nvmlDeviceGetArchitecture", 0xFFFFFFFF, lambda gpu: gpu["architecture"], None),
        ("nvmlDeviceGetCudaComputeCapability", (12, 0), lambda gpu: gpu["compute_capability"], "12.0"),
        ("nvmlDeviceGetPciInfo_v3", SimpleNamespace(busId="?"), lambda gpu: gpu["pci"]["address"], None),
        ("nvmlDeviceGetPerformanceState", 15, lambda gpu: gpu["performance_state"], "P15"),
        ("nvmlDeviceGetPerformanceState", 32, lambda gpu: gpu["performance_state"], None),
        ("nvmlDeviceGetPersistenceMode", 1, lambda gpu: gpu["persistence_mode"], True),
        ("nvmlDeviceGetPersistenceMode", 0, lambda gpu: gpu["persistence_mode"], False),
        ("nvmlDeviceGetPersistenceMode", 7, lambda gpu: gpu["persistence_mode"], None),
        ("nvmlDeviceGetComputeMode", 3, lambda gpu: gpu["compute_mode"], "exclusive_process"),
        ("nvmlDeviceGetComputeMode", 9, lambda gpu: gpu["compute_mode"], None),
        ("nvmlDeviceGetFanSpeed", 0, lambda gpu: gpu["fan_percent"], 0),
        ("nvmlDeviceGetEccMode", [1, 0], lambda gpu: gpu["ecc"], {"current": True, "pending": False}),
        ("nvmlDeviceGetMigMode", [0, 1], lambda gpu: gpu["mig"], {"current": False, "pending": True}),
        ("nvmlDeviceGetPowerUsage", 27236, lambda gpu: gpu["power_watts"]["draw"], 27.24),
        ("nvmlDeviceGetPowerManagementLimit", 350000, lambda gpu: gpu["power_watts"]["limit"], 350.0),
        ("nvmlDeviceGetEnforcedPowerLimit", 350000, lambda gpu: gpu["power_watts"]["enforced"], 350.0),
        (
            "nvmlDeviceGetPowerManagementLimitConstraints",
            [100000, 480000],
            lambda gpu: (gpu["power_watts"]["min"], gpu["power_watts"]["max"]),
            (100.0, 480.0),
        ),
        ("nvmlDeviceGetCurrentClocksEventReasons", 0, lambda gpu: gpu["throttle_reasons"], []),
        (
            "nvmlDeviceGetCurrentClocksThrottleReasons",
            0x80000000000001A4,
            lambda gpu: gpu["throttle_reasons"],
            [
                "display_clocks_setting",
                "hw_power_brake_slowdown",
                "sw_power_cap",
                "sw_thermal_slowdown",
                "unknown_0x8000000000000000",
            ],
        ),
    ],
)
def test_values(getter: str, answer: Any, fact: Callable[[Any], Any], expected: Any) -> None:
    assert fact(read({getter: answer})["gpus"][0]) == expected


def test_the_older_memory_getter_counts_what_is_reserved_as_used() -> None:
    getter = "nvmlDeviceGetMemoryInfo"
    old = {getter: memory(total=100, used=30, free=70), (getter, pynvml.nvmlMemory_v2): error(13)}
    new = {getter: memory(), (getter, pynvml.nvmlMemory_v2): memory(total=100, reserved=20, used=10, free=70)}
    before, after = (gpu["memory_mib"] for gpu in read(old, new)["gpus"])
    assert before == {"total": 100, "reserved": None, "used": 30, "free": 70}
    assert after == {"total": 100, "reserved": 20, "used": 10, "free": 70}


@pytest.mark.parametrize(("window", "expected"), [(256, False), (1023, False), (1024, True), (2048, True)])
def test_resizable_bar(window: int, expected: bool) -> None:  # noqa: FBT001 - pytest's way
    bar1 = SimpleNamespace(bar1Total=window * MIB, bar1Used=1, bar1Free=0)
    (gpu,) = read({"nvmlDeviceGetMemoryInfo": memory(total=1024), "nvmlDeviceGetBAR1MemoryInfo": bar1})["gpus"]
    assert gpu["resizable_bar"] is expected
    assert gpu["bar1_mib"] == {"total": window, "used": 1, "free": 0}


def test_processes_of_all_kinds() -> None:
    compute, mps, graphics = (
        f"nvmlDeviceGet{kind}RunningProcesses_v3" for kind in ("Compute", "MPSCompute", "Graphics")
    )
    names: dict[Any, Any] = {("nvmlSystemGetProcessName", 1): "one"}
    names[("nvmlSystemGetProcessName", 2)] = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    (gpu,) = read(
        {compute: [process(7), process(2, None)], mps: [process(7)], graphics: [process(1), process(2, None)]},
        system=names,
    )["gpus"]
    assert gpu["processes"] == [
        {"pid": 1, "name": "one", "type": "graphics", "memory_mib": 1},
        {"pid": 2, "name": None, "type": "both", "memory_mib": None},
        {"pid": 7, "name": None, "type": "compute", "memory_mib": 1},
    ]
    assert read({compute: []})["gpus"][0]["processes"] == []


@pytest.mark.parametrize(("status", "expected"), [(0, 38), (3, None)])
def test_the_temperature_of_the_memory_has_an_error_of_its_own(status: int, expected: int | None) -> None:
    value = SimpleNamespace(nvmlReturn=status, value=SimpleNamespace(uiVal=38))
    (gpu,) = read({("nvmlDeviceGetFieldValues", (pynvml.NVML_FI_DEV_MEMORY_TEMP,)): [value]})["gpus"]
    assert gpu["temperatures_celsius"]["memory"] == expected


def test_supported_clocks() -> None:
    (gpu,) = read(
        {
            "nvmlDeviceGetSupportedMemoryClocks": [9751, 405],
            ("nvmlDeviceGetSupportedGraphicsClocks", 405): [420, 405],
        }
    )["gpus"]
    assert gpu["clocks_mhz"]["supported"] == [
        {"memory": 9751, "graphics": None},
        {"memory": 405, "graphics": [420, 405]},
    ]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (0, "ok"),
        (1, "chipset_not_supported"),
        (2, "gpu_not_supported"),
        (3, "topology_not_supported"),
        (4, "disabled_by_regkey"),
        (5, "not_supported"),
        (6, "unknown"),
        (7, None),
    ],
)
def test_peer_to_peer(status: int, word: str | None) -> None:
    getter = "nvmlDeviceGetP2PStatus"
    first = {(getter, 1, 0): 0, (getter, 1, 1): status}
    assert read(first, {})["peer_to_peer"] == [{"gpus": [0, 1], "read": "ok", "write": word}]
