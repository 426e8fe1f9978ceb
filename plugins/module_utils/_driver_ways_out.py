# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said where no branch of NVIDIA's driver fits: the question, why the answer is no, and the ways out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from ._driver_fit import (
    Host,
    Request,
    card_obstacles,
    flavour_for,
    kernel_obstacles,
    obstacles,
    rows_asked_for,
    source_obstacles,
)
from ._driver_table import FLAVOURS, SOURCES, VARIABLE, Branch

_OTHER_BRANCHES = 3  # how many are named
_PREFIX = "nvidia_driver_"


@dataclass(frozen=True)
class Refusal:
    """Why no branch answers. `str()` is the whole text."""

    question: str
    reasons: tuple[str, ...]
    ways_out: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.question}: {'; '.join(self.reasons)}. Ways out: {'; or '.join(self.ways_out)}."


def refuse(table: Sequence[Branch], request: Request, host: Host, today: date) -> Refusal:
    """The refusal of a request that no row fits."""
    asked = f">={request.branch}" if request.at_least else request.branch
    question = (
        f"no driver fits: {_PREFIX}branch {asked!r}, {_PREFIX}source {request.source!r}, "
        f"{_PREFIX}flavour {request.flavour!r}, on {host.distribution} with the kernels "
        f"{', '.join(host.kernels) or 'none'} and the GPU generations {', '.join(host.generations) or 'none'}"
    )
    reasons = list(_unserved(table, host)) or list(_reasons(table, request, host, today))
    ways_out = [
        *_other_kernels(table, request, host, today),
        *_other_settings(table, request, host, today),
        *_other_cards(table, request, host, today),
        f"a row of {VARIABLE} that says more, if NVIDIA's release notes do",
        "nouveau: leave out the role nvidia_driver",
    ]
    return Refusal(question, tuple(reasons), tuple(ways_out))


def _reasons(table: Sequence[Branch], request: Request, host: Host, today: date) -> Iterator[str]:
    rows = rows_asked_for(table, request, today)
    if not any((request.source, host.distribution) in row.offers for row in table):
        yield f"the source {request.source} has nothing for {host.distribution}"
        return
    for row in rows:
        found = obstacles(row, request, host)
        yield from found[:1] if request.at_least else found  # of many branches one reason each is enough
    if not request.at_least:
        if not rows:
            yield f"{VARIABLE} has no {request.branch}, only {', '.join(row.branch for row in table)}"
        return
    passed_over = [row for row in table if row.branch >= request.branch and row not in rows]
    for row in passed_over:
        ended = f"reached its end of life on {row.end_of_life}" if row.listed else "is not listed any more by NVIDIA"
        yield f"{row.branch} {ended}"
    if not rows and not passed_over:
        yield f"{VARIABLE} ends with {table[-1].branch}"


def _unserved(table: Sequence[Branch], host: Host) -> Iterator[str]:
    """Where it is the cards alone: what no driver of the table serves, or not together."""
    without = {each: [one for one in host.generations if not _is_served(table, one, each)] for each in FLAVOURS}
    by_none = [one for one in without["open"] if one in without["proprietary"]]
    if by_none:
        yield f"no driver of {VARIABLE} serves {', '.join(by_none)}"
    elif all(without.values()):
        yield (
            f"no one driver serves both {', '.join(without['open'])} and {', '.join(without['proprietary'])}: "
            "the former have proprietary kernel modules only, the latter open ones only"
        )


def _is_served(table: Sequence[Branch], generation: str, flavour: str) -> bool:
    return (generation == "newer" and flavour == "open") or any(generation in row.generations[flavour] for row in table)


def _other_kernels(table: Sequence[Branch], request: Request, host: Host, today: date) -> Iterator[str]:
    for row in rows_asked_for(table, request, today):
        others = [*source_obstacles(row, request, host), *card_obstacles(row, request, host)]
        if not others and any(kernel_obstacles(row, host)):
            yield (
                f"only kernels {row.kernels} for {row.branch} (every installed kernel counts, "
                "because each may be booted: remove the others)"
            )


def _other_settings(table: Sequence[Branch], request: Request, host: Host, today: date) -> Iterator[str]:
    """Branches that would do: the known ones first, and those for which few variables have to be set."""
    if "newer" in host.generations and request.at_least:
        yield f"{_PREFIX}branch set to a branch whose list of supported cards, in NVIDIA's release notes, has this card"
        return
    fitting = []
    for row in table:
        requests = [
            replace(request, branch=row.branch, at_least=False, source=source, flavour=flavour)
            for source in SOURCES
            for flavour in dict.fromkeys([request.flavour, "auto"])
        ]
        fits = [each for each in requests if not obstacles(row, each, host)]
        if fits:
            best = min(fits, key=lambda each: len(_differing(each, request)))
            differing = _differing(best, request)
            rank = (row.kind == "unknown", len(differing), row.branch < request.branch, row.branch)
            fitting.append((not row.is_living(today), *rank, differing))
    living = [each for each in fitting if not each[0]] or fitting
    for *_rank, differing in sorted(living)[:_OTHER_BRANCHES]:
        yield " and ".join(f'{_PREFIX}{option}: "{value}"' for option, value in differing)


def _differing(other: Request, request: Request) -> list[tuple[str, str]]:
    """The variables to set, and their values."""
    same_branch = other.branch == request.branch and not request.at_least
    values = [("source", other.source), ("flavour", other.flavour)]
    changed = [(option, value) for option, value in values if value != getattr(request, option)]
    return changed if same_branch else [("branch", other.branch), *changed]


def _other_cards(table: Sequence[Branch], request: Request, host: Host, today: date) -> Iterator[str]:
    """Generations without which the request could be met."""
    for generation in host.generations:
        others = tuple(each for each in host.generations if each != generation)
        rest = replace(host, generations=others)
        rows = [row for row in rows_asked_for(table, request, today) if not obstacles(row, request, rest)]
        if others and rows:
            yield (
                f"do without the {generation} card (give it to virtual machines, bound to vfio-pci, or take it out), "
                f"then {rows[0].branch} with {flavour_for(request, rest)} kernel modules fits"
            )
