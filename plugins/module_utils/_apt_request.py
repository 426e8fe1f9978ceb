# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user wants of packages, and how that compares with those that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from ._debian_version import is_at_least
from ._dpkg import Package, Packages
from ._settings import InputError

_GLOB = re.compile(r"[*?\[]")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9-]+)?")
_VERSION = re.compile(r"([0-9]+:)?[0-9][0-9A-Za-z.+~-]*")
_NAME_GLOB = re.compile(r"[a-z0-9+.:*?\[\]!-]+")


@dataclass(frozen=True)
class Wanted:
    """One package, or with a glob as its name every installed one that matches.

    version: a glob, or None for any. at_least: the lowest version that will do. instead_of: only what is installed at a
    version that matches is meant, and nothing is installed that is not there. unless: the package is not wanted where
    one of these is there. allow: what else of kernel and driver may change, where this package itself does.
    """

    name: str
    version: str | None = None
    instead_of: str | None = None
    allow: tuple[re.Pattern[str], ...] = ()
    at_least: str | None = None
    unless: tuple[str, ...] = ()

    @property
    def is_glob(self) -> bool:
        return bool(_GLOB.search(self.name))

    @property
    def demand(self) -> str | None:
        """What its version must be, as text; None where any will do."""
        demands = (self.version, self.at_least and f"{self.at_least} or newer")
        return ", ".join(filter(None, demands)) or None

    def accepts(self, version: str | None) -> bool:
        return (
            version is not None
            and (self.version is None or fnmatchcase(version, self.version))
            and (self.at_least is None or is_at_least(version, self.at_least))
        )


@dataclass(frozen=True)
class PackagesRequest:
    """See the module apt_packages for each."""

    packages: tuple[Wanted, ...] = ()
    absent: tuple[str, ...] = ()
    allow: tuple[re.Pattern[str], ...] = ()
    purge: bool = False
    update_cache: bool = True
    downgrade: bool = False
    remove: bool = False


def parse_request(options: Mapping[str, Any]) -> PackagesRequest:
    """The options of the module. Raises InputError for the first that is wrong."""
    packages: dict[str, Wanted] = {}
    for number, item in enumerate(options["packages"]):
        where = f"packages[{number}]"
        wanted = _parse_wanted(where, item)
        if packages.setdefault(wanted.name, wanted) != wanted:
            raise InputError(where, "must not ask of a package what another item does not", item)
    absent = tuple(_parse_name(f"absent[{number}]", name, glob=True) for number, name in enumerate(options["absent"]))
    for number, name in enumerate(absent):
        if name in packages:
            raise InputError(f"absent[{number}]", "must not name what packages names", name)
    return PackagesRequest(
        tuple(packages.values()),
        absent,
        _parse_patterns("allow", options["allow"]),
        *(options[name] for name in ("purge", "update_cache", "downgrade", "remove")),
    )


def _parse_wanted(where: str, item: object) -> Wanted:
    if isinstance(item, str):
        return Wanted(_parse_name(f"{where}", item, glob=False))
    known = {"name", "version", "at_least", "instead_of", "unless", "allow"}
    if not isinstance(item, dict) or "name" not in item or not item.keys() <= known:
        raise InputError(
            where, f"must be a name, or a dictionary of name and {', '.join(sorted(known - {'name'}))}", item
        )
    globs = []
    for key in ("version", "instead_of"):
        glob = item.get(key)
        if glob is not None and (not isinstance(glob, str) or not glob or " " in glob):
            raise InputError(f"{where}.{key}", "must be a glob of versions, as text", glob)
        globs.append(glob)
    if globs[1] is not None and globs[0] is None:
        raise InputError(f"{where}.instead_of", "needs a version that is to be there instead", globs[1])
    at_least = item.get("at_least")
    if at_least is not None and not (isinstance(at_least, str) and _VERSION.fullmatch(at_least)):
        raise InputError(f"{where}.at_least", "must be a version, as text", at_least)
    unless = item.get("unless", [])
    if not isinstance(unless, list):
        raise InputError(f"{where}.unless", "must be a list of packages' names", unless)
    return Wanted(
        _parse_name(f"{where}.name", item["name"], glob=globs[1] is not None),
        version=globs[0],
        instead_of=globs[1],
        allow=_parse_patterns(f"{where}.allow", item.get("allow", [])),
        at_least=at_least,
        unless=tuple(_parse_name(f"{where}.unless[{number}]", name, glob=False) for number, name in enumerate(unless)),
    )


def _parse_name(where: str, name: object, *, glob: bool) -> str:
    if isinstance(name, str) and (_NAME.fullmatch(name) or (glob and _NAME_GLOB.fullmatch(name))):
        return name
    raise InputError(where, f"must be a package's name{' or a glob of names' if glob else ''}", name)


def _parse_patterns(where: str, patterns: object) -> tuple[re.Pattern[str], ...]:
    if not isinstance(patterns, list):
        raise InputError(where, "must be a list of regular expressions", patterns)
    compiled = []
    for number, pattern in enumerate(patterns):
        try:
            compiled.append(re.compile(pattern))
        except (TypeError, re.error) as error:
            raise InputError(f"{where}[{number}]", f"must be a regular expression ({error})", pattern) from error
    return tuple(compiled)


@dataclass(frozen=True)
class Difference:
    """A package that is not as wanted. found: None where dpkg does not know it; wanted: None where it is to go."""

    name: str
    found: Package | None
    wanted: Wanted | None

    @property
    def expected(self) -> str | None:
        return None if self.wanted is None else self.wanted.demand or "installed"

    @property
    def actual(self) -> str | None:
        """The version, or what else dpkg says; a package that is wanted is not there with its configuration alone."""
        if self.found is None or (self.wanted is not None and not self.found.present):
            return None
        return self.found.version if self.found.installed else self.found.status

    @property
    def is_missing(self) -> bool:
        return self.wanted is not None and self.wanted.demand is None and self.actual is None


@dataclass
class Comparison:
    """met: packages that are as wanted, with their versions; None for those that are gone. unfinished: what an
    interrupted installation left, whether anyone asked for it or not.
    """

    met: dict[str, str | None] = field(default_factory=dict)
    differing: list[Difference] = field(default_factory=list)
    unfinished: dict[str, Package] = field(default_factory=dict)

    @property
    def install(self) -> list[Wanted]:
        """What is to be installed or to change its version; a glob has become names."""
        return [replace(each.wanted, name=each.name, instead_of=None) for each in self.differing if each.wanted]

    @property
    def remove(self) -> list[str]:
        return [each.name for each in self.differing if each.wanted is None]


def compare(request: PackagesRequest, packages: Packages) -> Comparison:
    comparison = Comparison()
    named = {each.name for each in request.packages}
    going = {name for name in packages if name not in named and any(fnmatchcase(name, each) for each in request.absent)}
    for wanted in request.packages:
        rival = next((name for name in wanted.unless if name in packages and packages[name].present), None)
        if rival is not None:
            comparison.met[wanted.name] = f"{rival} instead"
            continue
        for name in _names(wanted, packages, named | going):
            found = packages.get(name)
            if found is not None and found.installed and wanted.accepts(found.version):
                comparison.met[name] = found.version
            else:
                comparison.differing.append(Difference(name, found, wanted))
    for name in (name for name in request.absent if name not in packages and not _GLOB.search(name)):
        comparison.met[name] = None
    for name in sorted(going):
        if packages[name].present or (request.purge and packages[name].status == "config-files"):
            comparison.differing.append(Difference(name, packages[name], None))
        else:
            comparison.met[name] = None
    comparison.unfinished = {name: each for name, each in packages.items() if each.unfinished}
    return comparison


def _names(wanted: Wanted, packages: Packages, spoken_for: set[str]) -> Iterator[str]:
    """The packages that one item means. spoken_for: those that other items name, which a glob leaves to them."""
    if wanted.instead_of is None:
        yield wanted.name
        return
    for name in sorted(packages):
        if not fnmatchcase(name, wanted.name) or (wanted.is_glob and name in spoken_for):
            continue
        if packages[name].present and fnmatchcase(packages[name].version, wanted.instead_of):
            yield name
