# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts about NVIDIA's driver and its GPUs: from NVML, or from nvidia-smi where NVML cannot be loaded.

Everything that may hang is done by a process that can be left behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ._gpu_facts_nvml import facts_from_nvml
from ._gpu_facts_shape import Facts, Refusal
from ._gpu_facts_smi import NvidiaSmi
from ._loaded_driver import read_loaded_driver
from ._nvml import (
    NO_HARDWARE,
    BindingMissingError,
    DriverUnavailableError,
    LibraryMissingError,
    VersionMismatchError,
    connect,
    explain,
    has_hardware,
)
from ._pci_address import xorg_bus_id
from ._watchdog import PATIENCE, call_guarded

_BOUND = "sys/bus/pci/drivers/nvidia"


def gather(root: Path = Path("/"), *, patience: float = PATIENCE) -> dict[str, Any]:
    """All facts. A host without GPUs, and a driver that cannot be asked, are facts as well.

    patience: how many seconds the driver may be silent. Raises SettingsError when that is over.
    """
    facts: Facts = {
        "available": False,
        "reason": None,
        "source": None,
        "driver_version": None,
        "kernel_module": _kernel_module(root),
        "versions_agree": None,
        "cuda_version": None,
        "gpus": [],
        "peer_to_peer": [],
    }
    source = "nvml"
    answer = call_guarded(_ask_nvml, patience=patience)
    nvidia_smi = shutil.which("nvidia-smi")
    if isinstance(answer, _NvmlMissing) and nvidia_smi:
        source = "nvidia-smi"
        answer = NvidiaSmi(nvidia_smi, patience).facts()
    if isinstance(answer, Refusal):
        reason = answer.reason if has_hardware(root) else NO_HARDWARE
        return {**facts, "reason": reason, "versions_agree": answer.versions_agree}
    facts = {**facts, **answer, "available": True, "source": source}
    _locate_silent(facts["gpus"], root)
    versions = (facts["driver_version"], facts["kernel_module"]["version"])
    return {**facts, "versions_agree": None if None in versions else versions[0] == versions[1]}


def _locate_silent(gpus: Sequence[Facts], root: Path) -> None:
    """Gives GPUs that do not answer their addresses: those that the kernel knows, in whose order NVML counts."""
    bound = sorted((device.name for device in (root / _BOUND).glob("*:*:*.*")), key=lambda name: (len(name), name))
    if len(bound) != len(gpus):
        return
    places = list(zip([gpu["pci"] for gpu in gpus], bound, strict=True))
    if all(pci["address"] in (None, address) for pci, address in places):
        for pci, address in places:
            pci.update(address=address, xorg_bus_id=xorg_bus_id(address))


class _NvmlMissing(Refusal):
    """It is NVML that is missing, not the driver."""


def _ask_nvml(doing: Callable[[str], None]) -> Facts | Refusal:
    doing("loading NVML")
    try:
        with connect() as nvml:
            try:
                return facts_from_nvml(nvml, doing)
            except nvml.NVMLError as error:
                return Refusal(f"the NVIDIA driver does not answer: {explain(error)}")
    except (BindingMissingError, LibraryMissingError) as missing:
        return _NvmlMissing(str(missing))
    except DriverUnavailableError as refusal:
        return Refusal(str(refusal), versions_agree=False if isinstance(refusal, VersionMismatchError) else None)


def _kernel_module(root: Path) -> Facts:
    """The loaded kernel module, which says of itself what it is."""
    loaded = read_loaded_driver(root)
    return asdict(loaded) if loaded else {"version": None, "flavour": None}
