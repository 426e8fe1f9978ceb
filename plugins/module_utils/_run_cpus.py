# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which CPUs a training run computes, and on which its data loaders: each in an L3 domain of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ._cpu_topology import Domain
from ._run_locks import Holds, is_held
from ._settings import InputError

_WHERE = "--ccd"
# How a domain is chosen for which no number is given.
CcdChoice = Literal["auto", "none"]


@dataclass(frozen=True)
class Seat:
    """Of one process. loaders: the domain of its data loaders, None where no domain is left for them."""

    domain: Domain
    loaders: Domain | None


def parse_ccd(text: str) -> int | CcdChoice:
    """Raises InputError."""
    if text in ("auto", "none"):
        return "auto" if text == "auto" else "none"
    if not text.isdecimal():
        raise InputError(_WHERE, "must be auto, none, or the number of an L3 domain, from 0", text)
    return int(text)


def place(
    domains: Sequence[Domain], nodes: Sequence[int | None], wish: int | CcdChoice, holds: Holds
) -> tuple[Seat, ...]:
    """A seat for each process; none where there is nothing to choose. nodes: of NUMA, of the GPU of each process."""
    if isinstance(wish, int):
        if wish >= len(domains):
            there = "; ".join(f"{number}: CPUs {domain}" for number, domain in enumerate(domains)) or "none"
            raise InputError(_WHERE, f"must be one of the L3 domains of this host ({there})", wish)
        named = domains[wish]
        holds.take(named.file)  # whoever else has it: it was asked for
        return tuple(_add_loaders(domains, [named] * len(nodes)))
    if wish == "none" or len(domains) < 2:
        return ()
    chosen: list[Domain] = []
    for node in nodes:
        chosen.append(_choose(domains, node, chosen, holds))
    return tuple(_add_loaders(domains, chosen))


def merge(seats: Sequence[Seat]) -> Seat:
    """For a single process that computes on several GPUs."""
    loaders = [seat.loaders for seat in seats if seat.loaders]
    return Seat(_join([seat.domain for seat in seats]), _join(loaders) if loaders else None)


def _join(domains: Sequence[Domain]) -> Domain:
    different = list(dict.fromkeys(domains))
    cpus = frozenset[int]().union(*(domain.cpus for domain in different))
    return replace(different[0], cpus=cpus, cores=sum(domain.cores for domain in different))


def _choose(domains: Sequence[Domain], node: int | None, mine: Sequence[Domain], holds: Holds) -> Domain:
    """Near the GPU before all; then one that no other process computes on, of this run or of another."""
    near = [domain for domain in domains if node in (None, domain.node)] or list(domains)
    by_use = sorted(near, key=mine.count)
    return next((domain for domain in by_use if domain in mine or holds.take(domain.file)), by_use[0])


def _add_loaders(domains: Sequence[Domain], chosen: Sequence[Domain]) -> list[Seat]:
    spare = [domain for domain in domains if domain not in chosen and not is_held(domain.file)]
    seats: list[Seat] = []
    for domain in chosen:
        used = [seat.loaders for seat in seats]
        by_use = sorted(spare, key=lambda each: (each.node != domain.node, used.count(each)))
        seats.append(Seat(domain, by_use[0] if by_use else None))
    return seats
