# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of simulated machines (tests/simgpu): NVML and nvidia-smi tell the same."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _gpu_facts, _nvml
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts import gather
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import HERE, SimulatedMachine

from .conftest import Host

PROFILES = sorted(file.stem for file in (HERE / "profiles").glob("*.conf"))


class FactsOfBothSources:
    """A host with simulated GPUs, of which NVML and nvidia-smi can be asked."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.monkeypatch = monkeypatch
        self.machine = SimulatedMachine(host.path("/simgpu"))

    def start(self, *cards: str) -> None:
        self.machine = SimulatedMachine(self.machine.folder, *cards)
        self.machine.use_here(self.monkeypatch)
        for slot in range(len(cards)):
            address = self.machine.read(f"gpus/{slot}/pci_address")
            if address is None:  # "none" is an empty slot
                continue
            self.host.link(f"/sys/bus/pci/drivers/nvidia/{address}", f"../../devices/{address}")
            self.host.write(f"/sys/bus/pci/devices/{address}/class", "0x030000\n")
            self.host.write(f"/sys/bus/pci/devices/{address}/vendor", "0x10de\n")

    def simgpu(self, *arguments: str | int) -> None:
        self.machine.simgpu(*arguments)

    def smi(self, *arguments: str) -> None:
        assert self.machine.nvidia_smi(*arguments).returncode == 0

    def from_nvml(self, patience: float = 25.0) -> dict[str, Any]:
        self.monkeypatch.setattr(_gpu_facts, "connect", _nvml.connect)
        return gather(self.host.root, patience=patience)

    def from_smi(self, patience: float = 25.0) -> dict[str, Any]:
        self.monkeypatch.setattr(_gpu_facts, "connect", Mock(side_effect=_nvml.BindingMissingError("no binding")))
        return gather(self.host.root, patience=patience)

    def facts(self) -> dict[str, Any]:
        """What both tell, which must be the same."""
        one, other = self.from_nvml(), self.from_smi()
        assert (one.pop("source"), other.pop("source")) == ("nvml", "nvidia-smi")
        assert flat(other) == flat(one)
        return one


def flat(facts: Any, path: str = "") -> dict[str, Any]:
    """The single values by their paths, so that a failing test shows those that differ."""
    if not facts or not isinstance(facts, (dict, list)):
        return {path: facts}
    items = facts.items() if isinstance(facts, dict) else enumerate(facts)
    return {inner: value for name, each in items for inner, value in flat(each, f"{path}/{name}").items()}


@pytest.fixture
def machine(host: Host, monkeypatch: pytest.MonkeyPatch) -> FactsOfBothSources:
    return FactsOfBothSources(host, monkeypatch)


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_card(machine: FactsOfBothSources, profile: str, count: int) -> None:
    machine.start(*[profile] * count)
    facts = machine.facts()
    gpus = facts["gpus"]
    assert facts["available"]
    assert [gpu["index"] for gpu in gpus] == list(range(count))
    assert len({gpu["uuid"] for gpu in gpus}) == count
    assert len(facts["peer_to_peer"]) == count * (count - 1) // 2
    assert all(gpu["error"] is None and gpu["memory_mib"]["total"] > 1000 for gpu in gpus)


def test_values(machine: FactsOfBothSources) -> None:
    machine.start("rtx-3090", "none", "rtx-4090")
    facts = machine.facts()
    assert facts["driver_version"] == "595.71.05"
    assert facts["cuda_version"] == "13.2"
    assert facts["peer_to_peer"] == [
        {"gpus": [0, 1], "read": "chipset_not_supported", "write": "chipset_not_supported"}
    ]
    first, second = facts["gpus"]
    assert (first["architecture"], second["architecture"]) == ("Ampere", "Ada Lovelace")
    assert first["compute_capability"] == "8.6"
    assert first["pci"]["address"] == "0000:01:00.0"
    assert second["pci"]["xorg_bus_id"] == "PCI:65:0:0"
    assert first["power_watts"]["max"] == 480.0
    assert first["throttle_reasons"] == ["gpu_idle"]
    assert first["clocks_mhz"]["supported"][-1]["graphics"][0] == 420
    assert first["resizable_bar"] is True


def test_processes(machine: FactsOfBothSources) -> None:
    machine.start("rtx-3090", "rtx-3090")
    machine.simgpu("process", 0, 900, "/usr/lib/xorg/Xorg", "G", 22)
    machine.simgpu("process", 0, 31, "python train.py --name '<a> & b'", "C", 1005)
    machine.simgpu("process", 0, 32, "blender", "C+G", 7)
    facts = machine.facts()
    assert [(each["pid"], each["type"], each["memory_mib"]) for each in facts["gpus"][0]["processes"]] == [
        (31, "compute", 1005),
        (32, "both", 7),
        (900, "graphics", 22),
    ]
    assert facts["gpus"][0]["processes"][0]["name"] == "python train.py --name '<a> & b'"
    assert facts["gpus"][1]["processes"] == []


def test_settings(machine: FactsOfBothSources) -> None:
    machine.start("rtx-3090", "h100-80gb-hbm3")
    machine.smi("-pm", "1")
    machine.smi("-lgc", "300,900")
    machine.smi("-lmc", "405,405")
    machine.smi("-pl", "250")
    machine.smi("-c", "EXCLUSIVE_PROCESS", "-i", "0")
    facts = machine.facts()
    first = facts["gpus"][0]
    assert (first["power_watts"]["limit"], first["power_watts"]["default"]) == (250.0, 350.0)
    assert (first["persistence_mode"], first["compute_mode"]) == (True, "exclusive_process")
    assert first["clocks_mhz"]["current"]["memory"] == 405


@pytest.mark.parametrize("error", [15, 999])
def test_a_gpu_that_does_not_answer(machine: FactsOfBothSources, error: int) -> None:
    machine.start("rtx-3090", "rtx-4090", "rtx-5090")
    machine.simgpu("fail", 1, "all", error)
    facts = machine.facts()
    assert [gpu["error"] is None for gpu in facts["gpus"]] == [True, False, True]
    lost = facts["gpus"][1]
    assert (lost["index"], lost["uuid"], lost["pci"]["address"]) == (1, None, "0000:0a:00.0")
    assert [pair["read"] for pair in facts["peer_to_peer"]] == [None, facts["peer_to_peer"][1]["read"], None]


@pytest.mark.parametrize("error", [3, 4, 999])
def test_getters_that_fail(machine: FactsOfBothSources, error: int) -> None:
    machine.start("rtx-3090")
    for getter in ("nvmlDeviceGetFanSpeed", "nvmlDeviceGetPersistenceMode", "nvmlDeviceGetComputeMode"):
        machine.simgpu("fail", 0, getter, error)
    (gpu,) = machine.facts()["gpus"]
    assert (gpu["fan_percent"], gpu["compute_mode"], gpu["error"]) == (None, None, None)


def test_versions_that_differ(machine: FactsOfBothSources) -> None:
    machine.start("rtx-3090")
    machine.simgpu("driver", "595.71.05", "--module", "580.105.08")
    machine.host.write(
        "/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.105.08  Tue Jun  6 2025\n"
    )
    for facts in (machine.from_nvml(), machine.from_smi()):
        assert (facts["available"], facts["versions_agree"], facts["gpus"]) == (False, False, [])
        assert facts["kernel_module"] == {"version": "580.105.08", "flavour": "proprietary"}
    assert "differ in version" in machine.from_nvml()["reason"]
    assert "version mismatch" in machine.from_smi()["reason"]


def test_a_driver_that_is_not_loaded(machine: FactsOfBothSources) -> None:
    machine.start("rtx-3090")
    machine.simgpu("unload")
    assert machine.from_nvml()["reason"] == "the NVIDIA driver is not loaded"
    assert "couldn't communicate with the NVIDIA driver" in machine.from_smi()["reason"]


def test_a_missing_library(machine: FactsOfBothSources, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.start("rtx-3090")
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert "couldn't find libnvidia-ml.so" in machine.from_smi()["reason"]


def test_a_driver_that_hangs(machine: FactsOfBothSources) -> None:
    machine.start("rtx-3090", "rtx-3090")
    machine.simgpu("fail", 1, "nvmlDeviceGetFanSpeed", "hang")
    with pytest.raises(SettingsError, match=r"did not answer within 0\.5 s, while"):
        machine.from_nvml(patience=0.5)
    with pytest.raises(SettingsError, match=r"did not answer within 0\.5 s, while running nvidia-smi"):
        machine.from_smi(patience=0.5)
