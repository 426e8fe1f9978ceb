# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A healthy host, as `mlrig verify` reads and measures it; each test changes one thing."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ansible_collections.mlrig.workstation.plugins.module_utils._verify_checks import Check
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_judge import judge

NO_GPU = "this host has no NVIDIA GPU"
FLAGS = "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120"  # torch 2.10.0+cu128

GPU: dict[str, Any] = {
    "index": 0,
    "uuid": "GPU-0",
    "name": "NVIDIA GeForce RTX 3090",
    "error": None,
    "compute_capability": "8.6",
    "pci": {"generation": {"current": 1, "max": 4}, "width": {"current": 16, "max": 16}},
    "memory_mib": {"total": 24576},
    "bar1_mib": {"total": 32768},
    "resizable_bar": True,
    "processes": [],
    "persistence_mode": True,
    "power_watts": {"limit": 350.0},
    "throttle_reasons": ["gpu_idle"],
    "ecc": {"current": None},
    "mig": {"current": None},
    "display": {"attached": False, "active": False},
}
AT_WORK = {"pci/generation/current": 4, "throttle_reasons": ["sw_power_cap"]}
DEVICE: dict[str, Any] = {
    "name": "NVIDIA GeForce RTX 3090",
    "capability": "8.6",
    "total_memory": 25_300_000_000,
    "kernel": {"off": 2e-7},
    "speed": {"product_tflops": [62.0, 62.1, 62.2], "copy_gb_per_s": [850.0, 851.0, 852.0]},
}


def changed(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with other values, by their paths: `pci/width/current`."""
    copy = deepcopy(dict(document))
    for path, value in changes.items():
        *folders, name = path.split("/")
        inner: Any = copy
        for folder in folders:
            inner = inner[int(folder) if folder.isdecimal() else folder]
        inner[name] = value
    return copy


def facts(*gpus: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Of a host with these GPUs, which have been at work; one RTX 3090 where none is given."""
    found = [dict(gpu) for gpu in gpus or (GPU,)]
    return {
        "available": True,
        "reason": None,
        "source": "nvml",
        "driver_version": "595.71.05",
        "libraries": "595.71.05",
        "kernel_module": {"version": "595.71.05", "flavour": "open"},
        "versions_agree": True,
        "gpus": found,
        "locks": {},
        "load": {gpu["uuid"]: [changed(gpu, AT_WORK)] for gpu in found},
        **changes,
    }


def bare(reason: str = NO_GPU, **changes: Any) -> dict[str, Any]:
    """Facts without a driver that answers."""
    nothing = {"available": False, "source": None, "driver_version": None, "libraries": None, "versions_agree": None}
    return {**facts(), **nothing, "kernel_module": dict.fromkeys(("version", "flavour")), "gpus": [], "load": {}} | {
        "reason": reason,
        **changes,
    }


def measurements(*devices: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    found = [dict(device) for device in devices]
    packages = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets")
    document = {
        "parts": ["torch", "speed", "training"],
        "python": "3.12.3",
        "torch": {
            "version": "2.10.0+cu128",
            "cuda": "12.8",
            "architectures": FLAGS.split(),
            "devices": len(found),
            "reason": None,
        },
        "gpus": found,
        "packages": {name: {"version": "1.0"} for name in packages},
        "training": {
            "device": "cuda:0",
            "layers_in_4_bits": 14,
            "losses": [5.2 - 0.1 * step for step in range(20)],
            "seconds": 9.5,
        },
        "unsloth": {"version": "2026.10.7"},
    }
    document["training"]["losses"][-3:] = [3.3, 3.2, 3.1]
    return changed(document, changes or {})


def checks(found: Mapping[str, Any] | None, about: Mapping[str, Any]) -> dict[str, Check]:
    """By id."""
    return {check.id: check for check in judge(found, about)}


def troubles(found: Mapping[str, Any] | None, about: Mapping[str, Any]) -> dict[str, str | None]:
    """The reasons of what failed."""
    return {name: check.reason for name, check in checks(found, about).items() if check.status == "failed"}
