# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an argument specification cannot express about a role's variable. Each rule raises InputError."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._settings import InputError
from ._tunable_request import parse_values

_TRANSPARENT_HUGEPAGE = "/sys/kernel/mm/transparent_hugepage/enabled"
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?")  # name, architecture, version


def _check_packages(packages: Sequence[str], where: str) -> None:
    for position, package in enumerate(packages):
        if not _PACKAGE.fullmatch(str(package)):
            raise InputError(f"{where}[{position}]", "must be the name of a package", package)


def _check_patterns(patterns: Sequence[str], where: str) -> None:
    """Each is written between double quotes into a file of apt, which could read none of its files with a wrong one."""
    for position, pattern in enumerate(patterns):
        here = f"{where}[{position}]"
        if not str(pattern).isprintable() or '"' in str(pattern):
            raise InputError(here, "must be printable text without double quotes", pattern)
        try:
            re.compile(str(pattern))
        except re.error as error:
            raise InputError(here, f"must be a Python regular expression ({error})", pattern) from error


def _check_sysfs(values: Mapping[str, Any], where: str) -> None:
    parse_values(values, where)
    if _TRANSPARENT_HUGEPAGE in values:
        rule = "has a variable of its own, kernel_tuning_transparent_hugepage"
        raise InputError(f"{where}[{_TRANSPARENT_HUGEPAGE!r}]", rule, values[_TRANSPARENT_HUGEPAGE])


RULES: Mapping[str, Callable[[Any, str], None]] = {
    "base_packages": _check_packages,
    "base_packages_defaults": _check_packages,
    "base_unattended_upgrades_blacklist": _check_patterns,
    "kernel_tuning_sysctl": parse_values,
    "kernel_tuning_sysctl_defaults": parse_values,
    "kernel_tuning_sysfs": _check_sysfs,
}
