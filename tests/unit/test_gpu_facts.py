# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of whole hosts: with and without GPUs, NVML, nvidia-smi, and a driver that answers."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _gpu_facts
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts import gather
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts_smi import peer_to_peer_table
from ansible_collections.mlrig.workstation.plugins.module_utils._nvml import (
    BindingMissingError,
    DriverUnavailableError,
    LibraryMissingError,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

from .conftest import Host

GPU = "/sys/bus/pci/devices/0000:0a:00.0"
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.71.05  Release Build  (dvs-builder@U22)  Tue Jan 6\n"
)
PROPRIETARY = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54  Tue Jun  6 22:20:39 UTC 2023\n"
GCC = "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n"
ONE_GPU = (
    "<nvidia_smi_log><driver_version>595.71.05</driver_version><gpu id='00000000:0A:00.0'><uuid>GPU-1</uuid></gpu>"
    "</nvidia_smi_log>"
)
TWO_GPUS = ONE_GPU.replace("</gpu>", "</gpu><gpu id='00000000:0B:00.0'><uuid>GPU-2</uuid></gpu>")
TOPOLOGY = """ \t\x1b[4mGPU0\tGPU1\x1b[0m\t
 GPU0\tX\tCNS\t
 GPU1\tOK\tX\t

Legend:

  X    = Self
  OK   = Status Ok
"""


@pytest.fixture
def rig(host: Host) -> Host:
    """A host with a GPU and the open kernel module."""
    host.write_all(
        {f"{GPU}/class": "0x030000\n", f"{GPU}/vendor": "0x10de\n", "/proc/driver/nvidia/version": OPEN + GCC}
    )
    return host


@pytest.fixture
def let_nvml_refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    def let_refuse(refusal: Exception) -> None:
        monkeypatch.setattr(_gpu_facts, "connect", Mock(side_effect=refusal))

    return let_refuse


@pytest.fixture
def _without_nvml(let_nvml_refuse: Callable[[Exception], None]) -> None:
    let_nvml_refuse(BindingMissingError("the Python package nvidia-ml-py is not installed"))


@pytest.fixture
def install_smi(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an nvidia-smi, as a shell script, on PATH."""

    def install(script: str) -> None:
        program = host.write("/usr/bin/nvidia-smi", f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return install


def prints(**answers: str) -> str:
    """A script that answers by the letters of its first argument."""
    cases = "".join(f"{argument}) cat <<'END'\n{text}\nEND\n;;\n" for argument, text in answers.items())
    return f'case $(echo "$1" | tr -cd a-z) in\n{cases}*) echo "no such option"; exit 2;; esac'


def test_a_host_without_gpus(host: Host, let_nvml_refuse: Callable[[Exception], None]) -> None:
    let_nvml_refuse(DriverUnavailableError("not loaded"))
    host.write_all({f"{GPU}/class": "0x040300\n", f"{GPU}/vendor": "0x10de\n"})
    host.write_all({"/sys/bus/pci/devices/1/class": "0x030000\n", "/sys/bus/pci/devices/1/vendor": "0x1002\n"})
    assert gather(host.root) == {
        "available": False,
        "reason": "this host has no NVIDIA GPU",
        "source": None,
        "driver_version": None,
        "kernel_module": {"version": None, "flavour": None},
        "versions_agree": None,
        "cuda_version": None,
        "gpus": [],
        "peer_to_peer": [],
    }


def test_a_host_that_hides_its_bus(host: Host, let_nvml_refuse: Callable[[Exception], None]) -> None:
    let_nvml_refuse(DriverUnavailableError("blocked"))
    host.write("/proc/driver/nvidia/version", OPEN + GCC)
    assert gather(host.root)["reason"] == "blocked"


@pytest.mark.parametrize(
    ("text", "version", "flavour"),
    [
        (OPEN + GCC, "595.71.05", "open"),
        (GCC + PROPRIETARY, "535.54", "proprietary"),
        ("NVRM version: something else\n" + GCC, None, None),
        ("\udcff", None, None),
        (GCC, None, None),
    ],
)
@pytest.mark.usefixtures("_without_nvml")
def test_the_kernel_module_without_the_driver(
    rig: Host, monkeypatch: pytest.MonkeyPatch, text: str, version: str, flavour: str
) -> None:
    rig.write("/proc/driver/nvidia/version", text.encode(errors="surrogateescape"))
    monkeypatch.setenv("PATH", str(rig.root))
    facts = gather(rig.root)
    assert facts["kernel_module"] == {"version": version, "flavour": flavour}
    assert (facts["available"], facts["source"]) == (False, None)
    assert facts["reason"] == "the Python package nvidia-ml-py is not installed"


@pytest.mark.parametrize(
    ("refusal", "source"),
    [
        (BindingMissingError("no binding"), "nvidia-smi"),
        (LibraryMissingError("no library"), "nvidia-smi"),
        (DriverUnavailableError("not loaded"), None),
    ],
)
def test_nvidia_smi_is_asked_only_where_nvml_is_missing(
    rig: Host,
    install_smi: Callable[[str], None],
    let_nvml_refuse: Callable[[Exception], None],
    refusal: Exception,
    source: str | None,
) -> None:
    let_nvml_refuse(refusal)
    install_smi(prints(q=ONE_GPU))
    facts = gather(rig.root)
    assert (facts["source"], facts["available"]) == (source, source is not None)
    assert facts["reason"] == (None if source else "not loaded")


@pytest.mark.usefixtures("_without_nvml")
def test_facts_from_nvidia_smi(rig: Host, install_smi: Callable[[str], None]) -> None:
    install_smi(prints(q=TWO_GPUS, querygpuuuidcomputecap="GPU-2, 12.0\nGPU-1, 8.6", topo=TOPOLOGY))
    facts = gather(rig.root)
    assert [gpu["compute_capability"] for gpu in facts["gpus"]] == ["8.6", "12.0"]
    assert facts["peer_to_peer"] == [
        {"gpus": [0, 1], "read": "chipset_not_supported", "write": "chipset_not_supported"}
    ]
    assert (facts["driver_version"], facts["versions_agree"]) == ("595.71.05", True)


@pytest.mark.usefixtures("_without_nvml")
def test_what_only_a_newer_nvidia_smi_tells(rig: Host, install_smi: Callable[[str], None]) -> None:
    install_smi(prints(q=TWO_GPUS))
    rig.write("/proc/driver/nvidia/version", PROPRIETARY)
    facts = gather(rig.root)
    assert [gpu["compute_capability"] for gpu in facts["gpus"]] == [None, None]
    assert facts["peer_to_peer"] == [{"gpus": [0, 1], "read": None, "write": None}]
    assert facts["versions_agree"] is False


@pytest.mark.parametrize(
    ("script", "reason", "versions_agree"),
    [
        ("echo; echo No devices; echo were found; exit 6", "(exit status 6) says: No devices were found", None),
        ("exit 0", "(exit status 0) says: nothing", None),
        (
            "echo 'Failed to initialize NVML: Driver/library version mismatch' >&2; exit 18",
            "(exit status 18) says: Failed to initialize NVML: Driver/library version mismatch",
            False,
        ),
    ],
)
@pytest.mark.usefixtures("_without_nvml")
def test_an_nvidia_smi_without_a_driver(
    rig: Host,
    install_smi: Callable[[str], None],
    script: str,
    reason: str,
    versions_agree: object,
) -> None:
    install_smi(script)
    facts = gather(rig.root)
    assert (facts["available"], facts["reason"]) == (False, f"nvidia-smi -q -x {reason}")
    assert facts["versions_agree"] is versions_agree
    assert facts["kernel_module"]["version"] == "595.71.05"


@pytest.mark.usefixtures("_without_nvml")
def test_an_nvidia_smi_that_warns(rig: Host, install_smi: Callable[[str], None]) -> None:
    install_smi(prints(q=ONE_GPU) + "; printf 'WARNING: infoROM is corrupted: \\377'; exit 14")
    assert gather(rig.root)["gpus"][0]["uuid"] == "GPU-1"


@pytest.mark.usefixtures("_without_nvml")
def test_an_nvidia_smi_that_breaks_off(rig: Host, install_smi: Callable[[str], None]) -> None:
    install_smi(prints(q=ONE_GPU[:50]))
    with pytest.raises(SettingsError, match=r"^nvidia-smi -q -x must print a whole <nvidia_smi_log>\.\.\."):
        gather(rig.root)


@pytest.mark.parametrize("hanging", ["-q", "topo"])
@pytest.mark.usefixtures("_without_nvml")
def test_an_nvidia_smi_that_hangs(rig: Host, install_smi: Callable[[str], None], hanging: str) -> None:
    install_smi(f'[ "$1" = {hanging} ] && exec sleep 600\n{prints(q=TWO_GPUS)}')
    with pytest.raises(
        SettingsError, match=r"^the NVIDIA driver did not answer within 0\.5 s, while running nvidia-smi"
    ):
        gather(rig.root, patience=0.5)


def test_an_nvml_that_hangs(rig: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect() -> None:
        time.sleep(600)

    monkeypatch.setattr(_gpu_facts, "connect", connect)
    with pytest.raises(SettingsError, match=r"^the NVIDIA driver did not answer within 0\.5 s, while loading NVML"):
        gather(rig.root, patience=0.5)


LOST = "Unable to determine the device handle for GPU{}: GPU is lost.  Reboot the system to recover this GPU"


@pytest.mark.usefixtures("_without_nvml")
@pytest.mark.parametrize("spelling", ["1: 0000:0B:00.0", "0000:0B:00.0", " 0000:0B:00.0"])
def test_a_gpu_that_nvidia_smi_leaves_out(rig: Host, install_smi: Callable[[str], None], spelling: str) -> None:
    document = TWO_GPUS.replace("0000:0B", "0000:0C")
    install_smi(f"echo '{LOST.format(spelling)}' >&2\n{prints(q=document)}")
    gpus = gather(rig.root)["gpus"]
    assert [gpu["index"] for gpu in gpus] == [0, 1, 2]
    assert [gpu["uuid"] for gpu in gpus] == ["GPU-1", None, "GPU-2"]
    assert [gpu["error"] for gpu in gpus] == [None, "GPU is lost", None]
    assert [gpu["pci"]["xorg_bus_id"] for gpu in gpus] == ["PCI:10:0:0", "PCI:11:0:0", "PCI:12:0:0"]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (["0000:0a:00.0", "0000:0b:00.0", "10000:01:00.0"], ["0000:0a:00.0", "0000:0b:00.0", "10000:01:00.0"]),
        (["0000:0b:00.0", "0000:0a:00.0"], [None, "0000:0b:00.0", None]),
        (["0000:0a:00.0", "0000:0c:00.0", "10000:01:00.0"], [None, "0000:0b:00.0", None]),
        ([], [None, "0000:0b:00.0", None]),
    ],
)
def test_where_a_gpu_is_that_does_not_answer(rig: Host, bound: list[str], expected: list[str | None]) -> None:
    for address in bound:
        rig.link(f"/sys/bus/pci/drivers/nvidia/{address}", "../../../devices")
    rig.write("/sys/bus/pci/drivers/nvidia/bind", "")
    gpus = [{"pci": {"address": address, "xorg_bus_id": None}} for address in (None, "0000:0b:00.0", None)]
    _gpu_facts._locate_silent(gpus, rig.root)
    assert [gpu["pci"]["address"] for gpu in gpus] == expected
    assert gpus[2]["pci"]["xorg_bus_id"] == ("PCI:1@65536:0:0" if expected[2] else None)


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (TOPOLOGY, {(0, 0): None, (0, 1): "chipset_not_supported", (1, 0): "ok", (1, 1): None}),
        ("", {}),
        ("GPU0\n", {}),
        ("GPUs are busy\nGPU is lost\n", {}),
        (" GPU0 GPU1\n GPU0 X DR\n GPU1", {(0, 0): None, (0, 1): "disabled_by_regkey"}),
    ],
)
def test_the_matrix_of_peer_to_peer_access(text: str, table: dict[tuple[int, int], str]) -> None:
    assert peer_to_peer_table(text) == table


@pytest.mark.usefixtures("_without_nvml")
def test_an_nvidia_smi_that_hangs_is_killed(
    rig: Host, install_smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    install_smi("exec sleep 600")
    with pytest.raises(SettingsError):
        gather(rig.root, patience=0.5)
    assert [process.wait() for process in started] == [-signal.SIGKILL]
