# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPUs as /sys shows them, of the kinds that rigs have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.mlrig.workstation.plugins.module_utils._cpu_topology import parse_cpus

from .conftest import Host

CPUS = "/sys/devices/system/cpu"


@dataclass(frozen=True)
class Processor:
    """l3: the CPUs of each cache. cores: of more than one thread. nodes: of NUMA. without: CPUs that have no L3.

    index: what the kernel calls the folder of that cache.
    """

    l3: Sequence[str]
    cores: Sequence[str] = ()
    nodes: Mapping[int, str] = field(default_factory=dict)
    without: str = ""
    index: str = "index3"

    def write(self, host: Host) -> None:
        for shared in self.l3:
            for cpu in parse_cpus(shared):
                self._write_cpu(host, cpu)
                cache = f"{CPUS}/cpu{cpu}/cache/{self.index}"
                host.write_all({f"{cache}/level": "3\n", f"{cache}/shared_cpu_list": f"{shared}\n"})
        for cpu in parse_cpus(self.without):
            self._write_cpu(host, cpu)

    def _write_cpu(self, host: Host, cpu: int) -> None:
        siblings = next((each for each in self.cores if cpu in parse_cpus(each)), str(cpu))
        folder = f"{CPUS}/cpu{cpu}"
        host.write_all(
            {
                f"{folder}/topology/thread_siblings_list": f"{siblings}\n",
                f"{folder}/cache/index0/level": "1\n",
                f"{folder}/cache/index0/shared_cpu_list": f"{siblings}\n",
                f"{folder}/cache/index1/level": "2\n",
                f"{folder}/cache/index1/shared_cpu_list": f"{siblings}\n",
            }
        )
        for node, cpus in self.nodes.items():
            if cpu in parse_cpus(cpus):
                host.path(f"{folder}/node{node}").mkdir()


def threads(count: int) -> list[str]:
    """So many cores of two threads, numbered as on AMD's: all first threads, then all second ones."""
    return [f"{core},{core + count}" for core in range(count)]


RYZEN_9 = Processor(["0-7,16-23", "8-15,24-31"], threads(16))
RYZEN_7 = Processor(["0-15"], threads(8))
# Eight cores of two threads, side by side, and sixteen of one.
CORE_I9 = Processor(["0-31"], [f"{cpu}-{cpu + 1}" for cpu in range(0, 16, 2)])
CORE_ULTRA = Processor(["0-13"], without="14-15")
THREADRIPPER = Processor(
    ["0-7,32-39", "8-15,40-47", "16-23,48-55", "24-31,56-63"],
    threads(32),
    {0: "0-15,32-47", 1: "16-31,48-63"},
)
# CPU 9 is switched off, so its sibling has its core for itself.
WITH_ONE_OFFLINE = Processor(["0-7,16-23", "8,10-15,24-31"], threads(16))
WITHOUT_L3 = Processor([], without="0-3")
# A kernel that counts no instruction cache.
OTHER_INDEX = Processor(["0-1", "2-3"], index="index2")
TWO = Processor(["0", "1"])
