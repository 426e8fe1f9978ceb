# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a branch of NVIDIA's driver fits: its source, the kernels of the host, and its cards."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

from ._driver_table import FLAVOURS, Branch
from ._kernel_version import kernel_version
from ._nvidia_cards import OPEN_CAPABLE


@dataclass(frozen=True)
class Request:
    """What the user asks for: `>=590` is at_least and "590"; `590` is exactly that.

    source: one of SOURCES. flavour: one of FLAVOURS, or auto. profile: one of PROFILES.
    """

    branch: str
    at_least: bool
    source: str
    flavour: str
    profile: str


@dataclass(frozen=True)
class Host:
    """What a branch has to fit: `Ubuntu 24.04`, the names of the kernels, the generations of the cards."""

    distribution: str
    kernels: tuple[str, ...]
    generations: tuple[str, ...]


def rows_asked_for(table: Collection[Branch], request: Request, today: date) -> list[Branch]:
    """The rows that the request allows, the oldest first, whether they fit or not."""
    if request.at_least:
        return [row for row in table if row.branch >= request.branch and row.is_living(today)]
    return [row for row in table if row.branch == request.branch]


def flavour_for(request: Request, host: Host) -> str:
    """The flavour asked for; auto: open for Turing and newer, proprietary where there is an older card."""
    if request.flavour != "auto":
        return request.flavour
    return "open" if OPEN_CAPABLE.issuperset(host.generations) else "proprietary"


def obstacles(row: Branch, request: Request, host: Host) -> list[str]:
    """Why a branch does not fit; empty where it does. What is hardest to change comes first."""
    return [*card_obstacles(row, request, host), *source_obstacles(row, request, host), *kernel_obstacles(row, host)]


def source_obstacles(row: Branch, request: Request, host: Host) -> Iterator[str]:
    offer = row.offers.get((request.source, host.distribution))
    flavour = flavour_for(request, host)
    if offer is None:
        yield f"the source {request.source} has no {row.branch} for {host.distribution}"
    elif offer.leads_to is not None:
        yield f"in the source {request.source}, {row.branch} is only a transitional name for {offer.leads_to}"
    elif flavour not in offer.flavours:
        yield f"the source {request.source} has no {flavour} kernel modules of {row.branch}"


def kernel_obstacles(row: Branch, host: Host) -> Iterator[str]:
    versions = {name: kernel_version(name) for name in host.kernels}
    unfit = [name for name, version in versions.items() if version is not None and not row.supports_kernel(version)]
    if unfit:
        note = f": {row.note}" if row.note else ""
        yield f"{row.branch} builds for kernels {row.kernels}, not for {', '.join(unfit)}{note}"


def card_obstacles(row: Branch, request: Request, host: Host) -> Iterator[str]:
    flavour = flavour_for(request, host)
    for generation in host.generations:
        if generation in row.generations[flavour]:
            continue
        if generation == "newer" and flavour == "open":
            # Who names a branch may know more than the table does.
            if request.at_least:
                yield f"whether {row.branch} supports a card that is newer than this collection is not known"
        elif other := [each for each in FLAVOURS if generation in row.generations[each]]:
            yield f"the {flavour} kernel modules of {row.branch} do not support {generation}, the {other[0]} ones do"
        else:
            yield f"{row.branch} does not support {generation}"
