# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg knows of the packages of a host, in one call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ._apt import Runner
from ._settings import SettingsError

_FIELDS = (
    "Package",
    "Architecture",
    "Version",
    "db:Status-Want",
    "db:Status-Eflag",
    "db:Status-Status",
    "Provides",
)
_FORMAT = "\\t".join(f"${{{name}}}" for name in _FIELDS) + "\\n"
_GONE = ("not-installed", "config-files")
_RELATION = re.compile(r"\s*\([^)]*\)")


@dataclass(frozen=True)
class Package:
    """One package that dpkg knows.

    want: `install`, `hold`, `deinstall`, `purge` or `unknown`. status: `installed`, `config-files`, `not-installed`, or
    where an interrupted or failed installation left it (see `unfinished`). reinstall: dpkg says that it must be
    unpacked again. provides: names of virtual packages.
    """

    name: str
    architecture: str
    version: str
    want: str
    status: str
    provides: tuple[str, ...] = ()
    reinstall: bool = False

    @property
    def installed(self) -> bool:
        return self.status == "installed" and not self.reinstall

    @property
    def held(self) -> bool:
        return self.want == "hold"

    @property
    def present(self) -> bool:
        """Whether it has files on the host, finished or not; its configuration alone does not count."""
        return self.status not in _GONE

    @property
    def unfinished(self) -> bool:
        """Whether it is neither there nor gone: unpacked, half-installed, half-configured, or waiting for triggers."""
        return self.present and not self.installed

    @property
    def must_be_unpacked(self) -> bool:
        """Whether its files are not all there, so that it cannot be configured as it is."""
        return self.reinstall or self.status == "half-installed"


Packages = Mapping[str, Package]


def read_packages(run: Runner) -> dict[str, Package]:
    """The packages by the name that apt uses: `name`, or `name:architecture` for a foreign architecture."""
    output = run("dpkg-query", "--show", f"--showformat={_FORMAT}")
    if output.code:
        raise SettingsError(f"dpkg-query failed: {output.stderr.strip() or output.code}")
    packages = [_parse(line) for line in output.stdout.splitlines() if line]
    native = {each.architecture for each in packages if each.name == "dpkg" and each.installed} | {"all", ""}
    return {each.name if each.architecture in native else f"{each.name}:{each.architecture}": each for each in packages}


def _parse(line: str) -> Package:
    fields = line.split("\t")
    if len(fields) != len(_FIELDS):
        raise SettingsError(f"dpkg-query said what is not understood: {line!r}")
    name, architecture, version, want, flag, status, provides = fields
    names = tuple(_RELATION.sub("", each).strip() for each in provides.split(",") if each.strip())
    return Package(name, architecture, version, want, status, names, reinstall=flag == "reinstreq")
