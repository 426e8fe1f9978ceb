# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the facts about a GPU have in common, whether NVML or nvidia-smi tells them.

The shape of a GPU's facts is a nested dictionary: in `_gpu_facts_nvml` and `_gpu_facts_xml` its leaves are the
functions that read them. What the facts mean is documented once, in RETURN of the module `nvidia_gpu_facts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

from ._pci_address import normalise_address, xorg_bus_id

Facts = dict[str, Any]
Source = TypeVar("Source")

# By NVML's number. NVML and nvidia-smi differ only in the case of the first letters.
COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")

# By NVML's number, with what `nvidia-smi topo` says instead.
PEER_TO_PEER = {
    "ok": "OK",
    "chipset_not_supported": "CNS",
    "gpu_not_supported": "GNS",
    "topology_not_supported": "TNS",
    "disabled_by_regkey": "DR",
    "not_supported": "NS",
    "unknown": "U",
}


@dataclass(frozen=True)
class Refusal:
    """Why the driver cannot be asked, and what that says about its versions."""

    reason: str
    versions_agree: bool | None = None


def read_all(shape: Mapping[str, Any], source: Source) -> Facts:
    """A shape with every function replaced by what it reads from the source."""
    return {
        name: read_all(inner, source) if isinstance(inner, Mapping) else inner(source) for name, inner in shape.items()
    }


def pci_address(text: str) -> str | None:
    try:
        return normalise_address(text)
    except ValueError:
        return None


def add_conclusions(gpu: Facts) -> Facts:
    """Adds what follows from what was read."""
    address = gpu["pci"]["address"]
    gpu["pci"]["xorg_bus_id"] = address and xorg_bus_id(address)
    window, memory = gpu["bar1_mib"]["total"], gpu["memory_mib"]["total"]
    gpu["resizable_bar"] = None if window is None or memory is None else window >= memory
    return gpu


def pairs(count: int, read: Callable[[int, int], str | None], write: Callable[[int, int], str | None]) -> list[Facts]:
    """Peer to peer access between all GPUs; read and write tell it for two of them."""
    return [
        {"gpus": [one, other], "read": read(one, other), "write": write(one, other)}
        for one, other in combinations(range(count), 2)
    ]
