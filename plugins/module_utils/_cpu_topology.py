# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The L3 domains of a host's CPUs (on AMD's a CCD, or a half of one): cores that share a last level of cache."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ._files import read_if_there

_CPUS = "sys/devices/system/cpu"
_LEVEL = "3"


@dataclass(frozen=True)
class Domain:
    """cpus: those that we may use. cores: how many these are. node: of NUMA. file: in /sys, of this domain alone."""

    cpus: frozenset[int]
    cores: int
    node: int | None
    file: Path

    def __str__(self) -> str:
        return format_cpus(self.cpus)


def read_domains(root: Path, allowed: Iterable[int]) -> tuple[Domain, ...]:
    """Those with CPUs that we may use, in the order of their first CPU; none where the kernel tells no L3 cache.

    A CPU that is offline has no cache folder, and one without L3 (an LP E-core of Intel's) is in no domain.
    """
    found: dict[frozenset[int], Path] = {}
    for cpu in sorted(allowed):
        for index in sorted((root / _CPUS / f"cpu{cpu}/cache").glob("index*")):
            if _read(index / "level") == _LEVEL:
                found.setdefault(parse_cpus(_read(index / "shared_cpu_list")), index)
    mine = frozenset(allowed)
    return tuple(_domain(root, cpus, mine, index.name) for cpus, index in found.items())


def _domain(root: Path, cpus: frozenset[int], allowed: frozenset[int], index: str) -> Domain:
    usable, first = cpus & allowed, min(cpus)
    # Of its first CPU, whichever we may use: two programs with different CPUs of one domain must mean the same file.
    file = root / _CPUS / f"cpu{first}/cache/{index}/shared_cpu_list"
    return Domain(usable, count_cores(root, usable), _node(root, first), file)


def count_cores(root: Path, cpus: Iterable[int]) -> int:
    """Threads of one core count once."""
    return len({_read(root / _CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus})


def parse_cpus(text: str) -> frozenset[int]:
    """Of the kernel's list, such as `0-7,16-23`."""
    ranges = [part.partition("-") for part in text.split(",") if part]
    return frozenset(cpu for low, _dash, high in ranges for cpu in range(int(low), int(high or low) + 1))


def format_cpus(cpus: Iterable[int]) -> str:
    """As the kernel writes it; no CPU at all is an empty text."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _node(root: Path, cpu: int) -> int | None:
    names = [path.name for path in (root / _CPUS / f"cpu{cpu}").glob("node*")]
    found = [re.fullmatch(r"node(\d+)", name) for name in names]
    return next((int(each[1]) for each in found if each), None)


def read_device_node(root: Path, address: str) -> int | None:
    """The NUMA node that a PCI device is near to, where its firmware tells."""
    text = _read(root / "sys/bus/pci/devices" / address / "numa_node")
    return int(text) if text.isdecimal() else None  # -1: it does not tell


def _read(file: Path) -> str:
    return (read_if_there(file) or "").strip()
