# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which branch of NVIDIA's driver: branch, kernel and GPU as one question, answered from a table.

Nothing of the host is read here. In short:

    table = parse_table(options["branches"])  # of _driver_table
    request = parse_request(options)
    answer = choose(table, request, distribution=..., kernels=[...], generations=generations_to_serve(cards), today=...)
    if isinstance(answer, Refusal): ...str(answer)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from ._driver_fit import Host, Request, flavour_for, obstacles, rows_asked_for
from ._driver_table import FLAVOURS, PROFILES, SOURCES, Branch
from ._driver_ways_out import Refusal, refuse
from ._kernel_version import kernel_version
from ._settings import InputError

__all__ = ["Choice", "Refusal", "Request", "choose", "parse_request"]

_BRANCH = re.compile(r"(>=)?\s*([1-9]\d\d)")
_SOON = timedelta(days=60)


@dataclass(frozen=True)
class Choice:
    """The branch that answers, and the names of its packages.

    pin: the package that holds the branch; installed in a transaction of its own, before the others. None: has none.
    driver: the packages to install.
    candidate: the package whose candidate version is asserted once the pin is there, and version, the glob that it has
    to match (`595.*`; no version of these packages has an epoch).
    module: the package that brings the kernel modules; it is among `driver`, or pulled in by it.
    programs: where it is not sure that these packages bring a program, those that may, the likeliest first.
    """

    branch: str
    source: str
    flavour: str
    profile: str
    pin: str | None
    driver: tuple[str, ...]
    candidate: str
    version: str
    module: str
    programs: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """What a user is told; programs have become packages of the plan."""
        told = asdict(self) | {"driver": list(self.driver), "warnings": list(self.warnings)}
        del told["programs"]
        return told


def parse_request(options: Mapping[str, Any], prefix: str = "nvidia_driver_") -> Request:
    """From `branch`, `source`, `flavour`, `profile`. Raises InputError, naming the variable (prefix + option)."""
    branch, at_least = parse_branch(options["branch"], f"{prefix}branch")
    chosen = {"source": SOURCES, "flavour": ("auto", *FLAVOURS), "profile": PROFILES}
    for option, choices in chosen.items():
        if options[option] not in choices:
            raise InputError(f"{prefix}{option}", f"must be one of {', '.join(choices)}", options[option])
    return Request(branch, at_least, *(options[option] for option in chosen))


def parse_branch(value: Any, where: str) -> tuple[str, bool]:
    """The branch, and whether newer ones will do. Raises InputError."""
    found = _BRANCH.fullmatch(str(value).strip())
    if found is None:
        rule = 'must be a branch such as "595", or ">=590" for the oldest living one from there on'
        raise InputError(where, rule, value)
    return found[2], found[1] is not None


def choose(  # noqa: PLR0913 - branch, kernel and GPU are one question
    table: Sequence[Branch],
    request: Request,
    *,
    distribution: str,
    kernels: Collection[str],
    generations: Collection[str],
    today: date,
    installed: str | None = None,
) -> Choice | Refusal:
    """The branch to install.

    distribution: `Ubuntu 24.04` or `Debian 13` (os-release's NAME without `GNU/Linux`, and VERSION_ID).
    kernels: every installed kernel, as `uname -r` writes it.
    installed: the branch that is installed from this source: where `>=N` allows it and it fits, it is kept, even beyond
    its end of life (a warning says so), because a driver changes only when that is asked for. None: choose afresh.
    """
    host = Host(distribution, tuple(kernels), tuple(generations))
    rows = rows_asked_for(table, request, today)
    if request.at_least:
        kept = [row for row in table if request.branch <= row.branch == installed]
        rows = [*kept, *rows]
    for row in rows:
        if not obstacles(row, request, host):
            return _choice(row, request, host, today)
    return refuse(table, request, host, today)


def _choice(row: Branch, request: Request, host: Host, today: date) -> Choice:
    flavour = flavour_for(request, host)
    offer = row.offers[request.source, host.distribution]
    packages = offer.flavours[flavour]
    return Choice(
        branch=row.branch,
        source=request.source,
        flavour=flavour,
        profile=request.profile,
        pin=offer.pin,
        driver=packages.profiles[request.profile],
        candidate=packages.candidate,
        version=f"{row.branch}.*",
        module=packages.module,
        programs=packages.programs,
        warnings=tuple(_warnings(row, host, today)),
    )


def _warnings(row: Branch, host: Host, today: date) -> Iterator[str]:
    if not row.listed:
        yield f"NVIDIA does not list driver branch {row.branch} any more: it gets no more fixes"
    elif not row.is_living(today):
        yield f"driver branch {row.branch} reached its end of life on {row.end_of_life}: it gets no more fixes"
    elif row.end_of_life is not None and row.end_of_life - today < _SOON:
        yield f"driver branch {row.branch} reaches its end of life on {row.end_of_life}"
    if row.kind == "unknown":
        yield f"of driver branch {row.branch} little is known: {row.note or 'its kind is not'}"
    if "newer" in host.generations:
        yield f"a card is newer than this collection: whether driver branch {row.branch} supports it is not known"
    for kernel in host.kernels:
        if kernel_version(kernel) is None:
            yield f"whether driver branch {row.branch} builds for kernel {kernel} is not known: no version in its name"
