# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""L3 domains of processors as /sys shows them, and the seats of processes in them."""

from __future__ import annotations

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._cpu_topology import (
    Domain,
    count_cores,
    format_cpus,
    parse_cpus,
    read_device_node,
    read_domains,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._run_cpus import Seat, parse_ccd, place
from ansible_collections.mlrig.workstation.plugins.module_utils._run_locks import Holds
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError

from .conftest import Host
from .cpu_host import (
    CORE_I9,
    CORE_ULTRA,
    OTHER_INDEX,
    RYZEN_7,
    RYZEN_9,
    THREADRIPPER,
    WITH_ONE_OFFLINE,
    WITHOUT_L3,
    Processor,
)

# The CPUs, cores and node of each domain. Allowed: what sched_getaffinity says.
DOMAINS = {
    "two CCDs": (RYZEN_9, "0-31", [("0-7,16-23", 8, None), ("8-15,24-31", 8, None)]),
    "one CCD": (RYZEN_7, "0-15", [("0-15", 8, None)]),
    "P and E cores": (CORE_I9, "0-31", [("0-31", 24, None)]),
    "cores outside the L3": (CORE_ULTRA, "0-15", [("0-13", 14, None)]),
    "four domains, two nodes": (
        THREADRIPPER,
        "0-63",
        [("0-7,32-39", 8, 0), ("8-15,40-47", 8, 0), ("16-23,48-55", 8, 1), ("24-31,56-63", 8, 1)],
    ),
    "one offline": (WITH_ONE_OFFLINE, "0-8,10-31", [("0-7,16-23", 8, None), ("8,10-15,24-31", 8, None)]),
    "a container with some": (RYZEN_9, "4-5,20-21,8", [("4-5,20-21", 2, None), ("8", 1, None)]),
    "a container in one domain": (RYZEN_9, "8-11", [("8-11", 4, None)]),
    "another index": (OTHER_INDEX, "0-3", [("0-1", 2, None), ("2-3", 2, None)]),
    "no L3": (WITHOUT_L3, "0-3", []),
}


@pytest.mark.parametrize(("processor", "allowed", "expected"), DOMAINS.values(), ids=DOMAINS)
def test_domains(host: Host, processor: Processor, allowed: str, expected: list[tuple[str, int, int | None]]) -> None:
    processor.write(host)
    found = read_domains(host.root, parse_cpus(allowed))
    assert [(str(domain), domain.cores, domain.node) for domain in found] == expected
    assert len({domain.file for domain in found}) == len(found)
    assert all(domain.file.is_file() for domain in found)


def test_two_programs_with_other_cpus_mean_the_same_file(host: Host) -> None:
    RYZEN_9.write(host)
    [one], [other] = (read_domains(host.root, cpus) for cpus in ({9}, {26, 27}))
    assert one.file == other.file


@pytest.mark.parametrize("text", ["", "0", "0-7,16-23", "3,5,7-8"])
def test_lists_of_cpus(text: str) -> None:
    assert format_cpus(parse_cpus(text)) == text


def test_cores(host: Host) -> None:
    CORE_I9.write(host)
    assert count_cores(host.root, range(32)) == 24
    assert count_cores(host.root, {0, 1, 16}) == 2


@pytest.mark.parametrize(("text", "node"), [("1\n", 1), ("0\n", 0), ("-1\n", None), (None, None)])
def test_node_of_a_device(host: Host, text: str | None, node: int | None) -> None:
    if text is not None:
        host.write("/sys/bus/pci/devices/0000:01:00.0/numa_node", text)
    assert read_device_node(host.root, "0000:01:00.0") == node


def domains_of(host: Host, processor: Processor) -> tuple[Domain, ...]:
    processor.write(host)
    return read_domains(host.root, range(64))


def numbers(domains: tuple[Domain, ...], seats: tuple[Seat, ...]) -> list[tuple[int, int | None]]:
    return [(domains.index(seat.domain), domains.index(seat.loaders) if seat.loaders else None) for seat in seats]


# The nodes of the GPUs of all processes, --ccd, the domains that other runs hold; the domain of each process and of its
# data loaders.
SEATS = {
    "one of two": (RYZEN_9, [None], "auto", [], [(0, 1)]),
    "the other is held": (RYZEN_9, [None], "auto", [0], [(1, None)]),
    "both are held": (RYZEN_9, [None], "auto", [0, 1], [(0, None)]),
    "two processes": (RYZEN_9, [None, None], "auto", [], [(0, None), (1, None)]),
    "three processes": (RYZEN_9, [None] * 3, "auto", [], [(0, None), (1, None), (0, None)]),
    "named": (RYZEN_9, [None], "1", [], [(1, 0)]),
    "named, and held": (RYZEN_9, [None], "1", [1], [(1, 0)]),
    "named for two": (RYZEN_9, [None, None], "1", [], [(1, 0), (1, 0)]),
    "not wanted": (RYZEN_9, [None], "none", [], []),
    "one domain": (RYZEN_7, [None, None], "auto", [], []),
    "one domain, named": (RYZEN_7, [None], "0", [], [(0, None)]),
    "no L3": (WITHOUT_L3, [None], "auto", [], []),
    "near the GPU": (THREADRIPPER, [1], "auto", [], [(2, 3)]),
    "near the GPU, one held": (THREADRIPPER, [1], "auto", [2], [(3, 0)]),
    "near the GPU, all held": (THREADRIPPER, [1], "auto", [2, 3], [(2, 0)]),
    "two on two nodes": (THREADRIPPER, [1, 0], "auto", [], [(2, 3), (0, 1)]),
    "two on a node": (THREADRIPPER, [0, 0], "auto", [], [(0, 2), (1, 3)]),
    "a node that no domain has": (THREADRIPPER, [7], "auto", [], [(0, 1)]),
    "firmware that does not tell": (THREADRIPPER, [None, None], "auto", [], [(0, 2), (1, 3)]),
}


@pytest.mark.parametrize(("processor", "nodes", "ccd", "held", "expected"), SEATS.values(), ids=SEATS)
@pytest.mark.parametrize("dry_run", [False, True])
def test_seats(
    host: Host,
    *,
    dry_run: bool,
    processor: Processor,
    nodes: list[int | None],
    ccd: str,
    held: list[int],
    expected: list[tuple[int, int | None]],
) -> None:
    domains = domains_of(host, processor)
    others, mine, next_run = Holds(), Holds(dry_run=dry_run), Holds()
    assert all(others.take(domains[number].file) for number in held)
    assert numbers(domains, place(domains, nodes, parse_ccd(ccd), mine)) == expected
    taken = {number for number, _loaders in expected} - set(held)
    assert [next_run.take(domains[number].file) for number in sorted(taken)] == [dry_run] * len(taken)
    for holds in (others, mine, next_run):
        holds.release()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2", "--ccd must be one of the L3 domains of this host (0: CPUs 0-7,16-23; 1: CPUs 8-15,24-31); got: 2"),
        ("first", "--ccd must be auto, none, or the number of an L3 domain, from 0; got: 'first'"),
        ("-1", "--ccd must be auto, none, or the number of an L3 domain, from 0; got: '-1'"),
    ],
)
def test_wrong_domains(host: Host, text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        place(domains_of(host, RYZEN_9), [None], parse_ccd(text), Holds())
    assert str(raised.value) == message
