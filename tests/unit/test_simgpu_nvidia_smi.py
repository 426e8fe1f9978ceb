# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated nvidia-smi: what it says, and what it ends with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import SimulatedMachine, build

from .conftest import Host

FIRST, SECOND = "00000000:01:00.0", "00000000:0A:00.0"
ALL_DONE = "All done.\n"
GOES_ON = "Treating as warning and moving on.\n"
STOPS = "Terminating early due to previous errors.\n"


@pytest.fixture
def machine(tmp_path: Path) -> SimulatedMachine:
    machine = SimulatedMachine(tmp_path, "rtx-3090", "gtx-1080-ti")
    machine.nvidia_smi("-pm", "1")
    return machine


def document(machine: SimulatedMachine, *arguments: str) -> ET.Element:
    answer = machine.nvidia_smi("-q", "-x", *arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    return ET.fromstring(answer.stdout)  # noqa: S314


def said(machine: SimulatedMachine, *arguments: str) -> tuple[int, str]:
    answer = machine.nvidia_smi(*arguments)
    return answer.returncode, answer.stdout


@pytest.mark.parametrize("count", [1, 2, 8])
def test_document(count: int, tmp_path: Path) -> None:
    machine = SimulatedMachine(tmp_path, *(["rtx-3090", "h100-80gb-hbm3"] * 4)[:count])
    machine.simgpu("process", 0, 8, "a <b> & c", "C", 2000)
    log = document(machine)
    assert log.findtext("driver_version") == "595.71.05"
    assert log.findtext("cuda_version") == "13.2"
    assert log.findtext("attached_gpus") == str(count)
    gpus = log.findall("gpu")
    assert len({gpu.findtext("uuid") for gpu in gpus}) == count
    expected = {
        "product_name": "NVIDIA GeForce RTX 3090",
        "product_architecture": "Ampere",
        "display_mode": "Requested functionality has been deprecated",
        "mig_mode/current_mig": "N/A",
        "pci/pci_bus_id": FIRST,
        "pci/pci_device_id": "220410DE",
        "pci/pci_gpu_link_info/link_widths/current_link_width": "16x",
        "pci/replay_counter": "0",
        "clocks_event_reasons/clocks_event_reason_gpu_idle": "Active",
        "clocks_event_reasons/clocks_event_reason_hw_slowdown": "Not Active",
        "fb_memory_usage/total": "24576 MiB",
        "compute_mode": "Default",
        "temperature/gpu_temp_max_threshold": "98 C",
        "temperature/memory_temp": "N/A",
        "gpu_power_readings/current_power_limit": "350.00 W",
        "gpu_power_readings/max_power_limit": "480.00 W",
        "max_clocks/mem_clock": "9751 MHz",
        "processes/process_info/process_name": "a <b> & c",
        "processes/process_info/used_memory": "2000 MiB",
        "temperature/gpu_temp_max_tlimit_threshold": None,
    }
    assert {path: gpus[0].findtext(path) for path in expected} == expected
    supported = gpus[0].findall("supported_clocks/supported_mem_clock")
    assert [clock.findtext("value") for clock in supported] == [f"{mhz} MHz" for mhz in (9751, 9501, 5001, 810, 405)]
    assert len(supported[-1].findall("supported_graphics_clock")) == 15
    if count > 1:
        assert gpus[1].findtext("temperature/gpu_temp_max_tlimit_threshold") == "-8 C"
        assert gpus[1].findtext("ecc_mode/current_ecc") == "Enabled"


def test_document_with_failures(machine: SimulatedMachine) -> None:
    machine.simgpu("fail", 0, "nvmlDeviceGetTemperature", 999)
    machine.simgpu("fail", 1, "nvmlDeviceGetFanSpeed", 15)
    first, second = document(machine).findall("gpu")
    assert first.findtext("temperature/gpu_temp") == "Unknown Error"
    assert second.findtext("fan_speed") == "GPU is lost"


def test_query(machine: SimulatedMachine) -> None:
    machine.simgpu("fail", 1, "nvmlDeviceGetTemperature", 999)
    fields = "index,pci.bus_id,power.limit,clocks.max.mem,ecc.mode.current,temperature.gpu,persistence_mode,compute_cap"
    assert said(machine, f"--query-gpu={fields}", "--format=csv") == (
        0,
        (
            "index, pci.bus_id, power.limit [W], clocks.max.mem [MHz], ecc.mode.current, temperature.gpu, "
            "persistence_mode, compute_cap\n"
            f"0, {FIRST}, 350.00 W, 9751 MHz, [N/A], 37, Enabled, 8.6\n"
            f"1, {SECOND}, 250.00 W, 5505 MHz, [N/A], [Unknown Error], Enabled, 6.1\n"
        ),
    )
    one = said(machine, "-i", "1", "--query-gpu=name,power.limit", "--format=csv,noheader,nounits")
    assert one == (0, "NVIDIA GeForce GTX 1080 Ti, 250.00\n")
    assert said(machine, "--query-gpu=index,speed", "--format=csv") == (
        2,
        'Field "speed" is not a valid field to query.\n\n',
    )


def test_lists(machine: SimulatedMachine) -> None:
    names = ["NVIDIA GeForce RTX 3090", "NVIDIA GeForce GTX 1080 Ti"]
    lines = [f"GPU {slot}: {name} (UUID: {machine.read(f'gpus/{slot}/uuid')})\n" for slot, name in enumerate(names)]
    assert said(machine, "-L") == (0, "".join(lines))
    for gpu in ("1", machine.read("gpus/1/uuid"), SECOND, "0000:0a:00.0"):
        assert said(machine, "-L", "-i", str(gpu)) == (0, lines[1])
    assert said(machine, "-L", "-i", "7") == (6, "No devices were found\n")


def test_table(machine: SimulatedMachine) -> None:
    machine.simgpu("process", 1, 8, "python", "C", 2000)
    status, text = said(machine)
    assert status == 0
    assert {len(line) for line in text.splitlines()[1:] if line} == {91}
    assert "NVIDIA GeForce GTX 1080 Ti" in text
    assert "2000MiB" in text


def test_versions_say_that_they_are_simulated(machine: SimulatedMachine) -> None:
    for option in ("--version", "--help"):
        assert "simulated" in machine.nvidia_smi(option).stdout.casefold()


@pytest.mark.parametrize(("card", "status"), [("rtx-3090", "CNS"), ("h100-80gb-hbm3", "OK")])
def test_peers(card: str, status: str, tmp_path: Path) -> None:
    machine = SimulatedMachine(tmp_path, card, card)
    code, text = said(machine, "topo", "-p2p", "r")
    assert code == 0
    assert [line.split() for line in text.splitlines()[:3]] == [
        ["GPU0", "GPU1"],
        ["GPU0", "X", status],
        ["GPU1", status, "X"],
    ]
    assert f"  {status:4} = " in text
    machine.simgpu("set", 0, "p2p_1", "GNS")
    assert "GNS" in said(machine, "topo", "-p2p", "w")[1].splitlines()[1]


def test_setting_one_gpu(machine: SimulatedMachine) -> None:
    for arguments, text in {
        ("-pl", "200"): f"Power limit for GPU {FIRST} was set to 200.00 W from 350.00 W.\n",
        ("--power-limit=210",): f"Power limit for GPU {FIRST} was set to 210.00 W from 200.00 W.\n",
        ("-lgc", "1500"): f'GPU clocks set to "(gpuClkMin 1500, gpuClkMax 1500)" for GPU {FIRST}\n',
        ("-lmc", "810,5001"): f'Memory clocks set to "(memClkMin 810, memClkMax 5001)" for GPU {FIRST}\n',
        ("-rmc",): "",
        ("-c", "EXCLUSIVE_PROCESS"): f"Set compute mode to EXCLUSIVE_PROCESS for GPU {FIRST}.\n",
        ("-c", "3"): f"Compute mode is already set to EXCLUSIVE_PROCESS for GPU {FIRST}.\n",
        ("-pm", "1"): f"Persistence mode is already Enabled for GPU {FIRST}.\n",
    }.items():
        assert said(machine, "-i", "0", *arguments) == (0, text + ALL_DONE)
    live = ("power_limit", "locked_graphics_clocks", "locked_memory_clocks", "compute_mode")
    assert [machine.read(f"live/0/{setting}") for setting in live] == ["210000", "1500 1500", None, "3"]
    assert said(machine, "-i", "0", "-pm", "0") == (0, f"Disabled persistence mode for GPU {FIRST}.\n{ALL_DONE}")
    assert machine.read("live/0/power_limit") is None, "nvidia-smi was the last client"
    assert "Warning: persistence mode is disabled on device" in said(machine, "-i", "0", "-pl", "200")[1]


def test_setting_what_is_not_supported(machine: SimulatedMachine) -> None:
    assert said(machine, "-lgc", "1000,1000") == (
        0,
        (
            f'GPU clocks set to "(gpuClkMin 1000, gpuClkMax 1000)" for GPU {FIRST}\n'
            f"Setting locked GPU clocks is not supported for GPU {SECOND}.\n{GOES_ON}{ALL_DONE}"
        ),
    )
    assert said(machine, "-i", "1", "-lmc", "810") == (
        0,
        f"Setting locked Memory clocks is not supported for GPU {SECOND}.\n{GOES_ON}{ALL_DONE}",
    )
    machine.simgpu("unset", 1, "power_limit_max", "--hardware")
    assert said(machine, "-i", "1", "-pl", "200") == (
        0,
        f"Changing power management limit is not supported for GPU: {SECOND}.\n{GOES_ON}{ALL_DONE}",
    )


def test_setting_what_is_wrong(machine: SimulatedMachine) -> None:
    assert said(machine, "-pl", "99") == (
        2,
        (
            "Provided power limit 99.00 W is not a valid power limit which should be between 100.00 W and 480.00 W "
            f"for GPU {FIRST}\n{STOPS}"
        ),
    )
    for wrong in (["-pl", "much"], ["-pm", "2"], ["-c", "9"], ["-lgc", "a,b"], ["-q"], ["--nonsense"]):
        assert machine.nvidia_smi(*wrong).returncode == 2
    assert machine.read("live/0/power_limit") is None


def test_setting_without_permission(open_host: Host) -> None:
    machine = SimulatedMachine(open_host.root / "state", "rtx-3090")
    for file in ("libnvidia-ml.so.1", "nvidia-smi"):
        shutil.copy(build() / file, open_host.root)

    def as_nobody(*arguments: str) -> tuple[int, str]:
        environment = {"SIMGPU": str(machine.folder), "LD_LIBRARY_PATH": str(open_host.root)}
        answer = subprocess.run(
            [open_host.path("nvidia-smi"), *arguments],
            user="nobody" if os.geteuid() == 0 else None,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        return answer.returncode, answer.stdout

    assert as_nobody("--query-gpu=power.limit", "--format=csv,noheader") == (0, "350.00 W\n")
    assert as_nobody("-lgc", "1000") == (
        4,
        f"The current user does not have permission to change clocks for GPU {FIRST}.\n{STOPS}",
    )
    assert as_nobody("-pm", "1") == (
        4,
        f"Unable to set persistence mode for GPU {FIRST}: Insufficient Permissions\n{STOPS}",
    )
    for setting in (["-pl", "200"], ["-lmc", "810"], ["-rgc"], ["-rmc"], ["-c", "3"]):
        assert as_nobody(*setting)[0] == 4


def test_setting_that_fails(machine: SimulatedMachine) -> None:
    machine.simgpu("fail", 0, "nvmlDeviceSetGpuLockedClocks", 999)
    assert said(machine, "-lgc", "1000") == (
        255,
        f"Unable to set locked GPU clocks for GPU {FIRST}: Unknown Error\n{STOPS}",
    )


def test_gpu_that_is_lost(machine: SimulatedMachine) -> None:
    machine.simgpu("fail", 0, "all", 15)
    everything, it = machine.nvidia_smi("-L"), machine.nvidia_smi("-L", "-i", "0")
    lost = "GPU is lost.  Reboot the system to recover this GPU\n"
    assert everything.stderr == f"Unable to determine the device handle for GPU0: 0000:01:00.0: {lost}"
    assert (everything.returncode, everything.stdout.count("UUID")) == (0, 1)
    assert (it.returncode, it.stdout, it.stderr) == (
        15,
        "",
        f"Unable to determine the device handle for GPU0: 0000:01:00.0: {lost}",
    )
    machine.simgpu("fail", 1, "all", 15)
    assert said(machine) == (6, "No devices were found\n")


def test_driver_that_does_not_answer(machine: SimulatedMachine) -> None:
    machine.simgpu("unload")
    assert said(machine) == (
        9,
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
            "NVIDIA driver is installed and running.\n\n"
        ),
    )
    machine.simgpu("load")
    machine.simgpu("fail", "driver", "nvmlInitWithFlags", 999)
    assert said(machine) == (255, "Failed to initialize NVML: Unknown Error\n")
    machine.simgpu("heal")
    machine.simgpu("driver", "595.91.07", "--module", "595.71.05")
    assert said(machine) == (
        18,
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 595.91\n",
    )


def test_library_that_is_missing(machine: SimulatedMachine) -> None:
    answer = machine.nvidia_smi("-L", LD_LIBRARY_PATH="")
    assert answer.returncode == 12
    assert answer.stdout.startswith("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.")
