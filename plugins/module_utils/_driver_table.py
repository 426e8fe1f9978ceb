# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of NVIDIA's driver branches, the role's variable `nvidia_driver_branches`: read and checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ._kernel_version import Version, is_within, numbers
from ._nvidia_cards import GENERATIONS
from ._settings import InputError

VARIABLE = "nvidia_driver_branches"
KINDS = ("lts", "production", "new_feature", "unknown")
SOURCES = ("nvidia", "ubuntu", "debian")
FLAVOURS = ("open", "proprietary")
PROFILES = ("full", "compute")
PROGRAMS = ("nvidia-smi", "nvidia-persistenced")

_BRANCH = re.compile(r"[1-9]\d\d")
_KERNEL = re.compile(r"\d+\.\d+(\.\d+)?")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True)
class Packages:
    """The names of one flavour of one branch in one source.

    profiles: the packages to install, by profile.
    module: the package with the kernel modules.
    candidate: the package whose candidate version tells which branch apt would install.
    programs: where it is not sure that these packages bring a program, those that may, the likeliest first.
    """

    profiles: Mapping[str, tuple[str, ...]]
    module: str
    candidate: str
    programs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Offer:
    """What one source has of one branch, for one distribution.

    pin: the package that holds the branch, where there is one. flavours: the packages of each.
    leads_to: the branch that is installed instead, where the names of this one are only transitional.
    """

    pin: str | None
    flavours: Mapping[str, Packages]
    leads_to: str | None = None


@dataclass(frozen=True)
class Branch:
    """One row.

    listed: whether NVIDIA still lists it. kernel_max counts to its own depth: 7.0 includes every 7.0.x; None: no limit
    is known. generations: by flavour. offers: by source and distribution.
    """

    branch: str
    kind: str
    end_of_life: date | None
    listed: bool
    kernel_min: str
    kernel_max: str | None
    generations: Mapping[str, frozenset[str]]
    offers: Mapping[tuple[str, str], Offer]
    note: str

    def is_living(self, today: date) -> bool:
        """Whether NVIDIA still mends it, as far as the table knows."""
        return self.listed and (self.end_of_life is None or today <= self.end_of_life)

    def supports_kernel(self, kernel: Version) -> bool:
        return is_within(kernel, self.kernel_min, self.kernel_max)

    @property
    def kernels(self) -> str:
        return f"{self.kernel_min} to {self.kernel_max}" if self.kernel_max else f"{self.kernel_min} and newer"


def parse_table(rows: Any, where: str = VARIABLE) -> tuple[Branch, ...]:
    """The rows in the order of their branches. Raises InputError, which names the row and the key."""
    if not isinstance(rows, list) or not rows:
        raise InputError(where, "must be a list of branches", rows)
    table = [_row(row, f"{where}[{position}]") for position, row in enumerate(rows)]
    names = [branch.branch for branch in table]
    for position, branch in enumerate(table):
        if names.index(branch.branch) != position:
            raise InputError(f"{where}[{position}]", "must not repeat a branch", branch.branch)
        for offer in branch.offers.values():
            if offer.leads_to is not None and offer.leads_to not in names:
                raise InputError(f"{where}[{position}].sources", "must lead to a branch of this table", offer.leads_to)
    return tuple(sorted(table, key=lambda branch: branch.branch))


def _row(row: Any, where: str) -> Branch:
    keys = {"branch", "kind", "end_of_life", "kernels", "generations", "sources"}
    row = _dictionary(row, where, keys, {"listed", "note"})
    branch = _text(row["branch"], f"{where}.branch", _BRANCH, 'must be three digits, such as "595"')
    where = f"{where} ({branch})"
    kernels = _dictionary(row["kernels"], f"{where}.kernels", {"min", "max"})
    lowest = _kernel(kernels["min"], f"{where}.kernels.min")
    highest = None if kernels["max"] is None else _kernel(kernels["max"], f"{where}.kernels.max")
    if highest is not None and numbers(highest) < numbers(lowest)[: len(numbers(highest))]:
        raise InputError(f"{where}.kernels.max", f"must not be below min, {lowest}", highest)
    listed = row.get("listed", True)
    if not isinstance(listed, bool):
        raise InputError(f"{where}.listed", "must be true or false", listed)
    return Branch(
        branch=branch,
        kind=_choice(row["kind"], f"{where}.kind", KINDS),
        end_of_life=_date(row["end_of_life"], f"{where}.end_of_life"),
        listed=listed,
        kernel_min=lowest,
        kernel_max=highest,
        generations=_generations(row["generations"], f"{where}.generations"),
        offers=_offers(row["sources"], branch, f"{where}.sources"),
        note=str(row.get("note") or ""),
    )


def _generations(generations: Any, where: str) -> dict[str, frozenset[str]]:
    generations = _dictionary(generations, where, (), FLAVOURS)
    return {
        flavour: frozenset(
            _choice(each, f"{where}.{flavour}", GENERATIONS)
            for each in _list(generations.get(flavour, []), f"{where}.{flavour}")
        )
        for flavour in FLAVOURS
    }


def _offers(sources: Any, branch: str, where: str) -> dict[tuple[str, str], Offer]:
    sources = _dictionary(sources, where, (), SOURCES)
    return {
        (source, distribution): _offer(offer, branch, f"{where}.{source}.{distribution}")
        for source, distributions in sources.items()
        for distribution, offer in _dictionary(distributions, f"{where}.{source}", (), None).items()
    }


def _offer(offer: Any, branch: str, where: str) -> Offer:
    offer = _dictionary(offer, where, (), {"pin", "leads_to", *FLAVOURS})
    if "leads_to" in offer:
        leads_to = _text(offer["leads_to"], f"{where}.leads_to", _BRANCH, "must be a branch")
        _dictionary(offer, where, {"leads_to"})
        return Offer(None, {}, leads_to)
    pin = offer.get("pin")
    flavours = {
        flavour: _packages(offer[flavour], branch, f"{where}.{flavour}") for flavour in FLAVOURS if flavour in offer
    }
    if not flavours:
        raise InputError(where, "must have the packages of a flavour, open or proprietary, or leads_to", offer)
    return Offer(None if pin is None else _package(pin, branch, f"{where}.pin"), flavours)


def _packages(packages: Any, branch: str, where: str) -> Packages:
    packages = _dictionary(packages, where, {"full", "compute", "module", "candidate"}, {"programs"})
    programs = _dictionary(packages.get("programs", {}), f"{where}.programs", (), PROGRAMS)
    return Packages(
        profiles={profile: _names(packages[profile], branch, f"{where}.{profile}") for profile in PROFILES},
        module=_package(packages["module"], branch, f"{where}.module"),
        candidate=_package(packages["candidate"], branch, f"{where}.candidate"),
        programs={name: _names(each, branch, f"{where}.programs.{name}") for name, each in programs.items()},
    )


def _names(names: Any, branch: str, where: str) -> tuple[str, ...]:
    if not _list(names, where):
        raise InputError(where, "must name a package", names)
    return tuple(_package(name, branch, where) for name in names)


def _kernel(value: Any, where: str) -> str:
    return _text(value, where, _KERNEL, 'must be a version in quotes, such as "6.10" (without them YAML reads 6.1)')


def _package(name: Any, branch: str, where: str) -> str:
    if isinstance(name, str):
        name = name.replace("{branch}", branch)
    return _text(name, where, _PACKAGE, "must be the name of a package, where {branch} stands for the branch")


def _date(value: Any, where: str) -> date | None:
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise InputError(where, "must be a date such as 2027-03-31, or null where none is known", value) from None


def _text(value: Any, where: str, pattern: re.Pattern[str], rule: str) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    raise InputError(where, rule, value)


def _choice(value: Any, where: str, choices: Collection[str]) -> str:
    if isinstance(value, str) and value in choices:
        return value
    raise InputError(where, f"must be one of {', '.join(choices)}", value)


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise InputError(where, "must be a list", value)


def _dictionary(
    value: Any, where: str, required: Collection[str], optional: Collection[str] | None = ()
) -> Mapping[str, Any]:
    """optional: None allows any key."""
    if not isinstance(value, dict):
        raise InputError(where, "must be a dictionary", value)
    if missing := sorted(set(required) - set(value)):
        raise InputError(where, f"must have {', '.join(missing)}", value)
    if optional is not None and (unknown := sorted(map(str, set(value) - set(required) - set(optional)))):
        raise InputError(where, f"must not have {', '.join(unknown)}", value)
    return value
