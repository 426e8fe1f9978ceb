# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An environment that is there for the commands of one package: what is in it, and whether it is whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass, replace
from pathlib import Path

from ._apt import Runner
from ._files import read_if_there
from ._uv_damage import SITE_PACKAGES, find_damage, list_installed

# What `python3 -m venv` has made before it is killed.
_BEGUN = {".gitignore", "bin", "include", "lib", "lib64"}
_VERSION_OF_PYTHON = re.compile(r"python3\.[0-9]+")
_INCOMPATIBLE = re.compile(r"^The package .*", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """actual: the version of its package, or what is wrong; None where there is no environment. reason: why."""

    actual: str | None
    reason: str | None = None
    commands: tuple[str, ...] = ()


def look_into(environment: Path, package: str) -> Found:
    """Reads files only."""
    if not environment.is_dir():
        return Found(None)
    metadata = {
        each.name: (each, folder) for site in environment.glob(SITE_PACKAGES) for each, folder in list_installed(site)
    }
    if package not in metadata:
        return Found(f"without {package}")
    installed, folder = metadata[package]
    found = Found(installed.version, commands=tuple(_list_commands(folder)))
    damaged = find_damage(environment, hashes=False)
    if damaged:
        reason = "; ".join(each.summary for each in damaged.values())
        return replace(found, actual=f"{installed.version}, with damage", reason=reason)
    return found


def find_fault_of_python(environment: Path) -> str | None:
    """Why its commands do not start, such as after an upgrade of the distribution."""
    python = environment / "bin" / "python"
    if not os.access(python, os.X_OK):
        return "its Python is gone"
    name = python.resolve().name
    if _VERSION_OF_PYTHON.fullmatch(name) and not (environment / "lib" / name).is_dir():
        return f"its Python is {name} now"
    return None


def find_missing_dependencies(environment: Path, uv: str, run: Runner) -> str | None:
    output = run(uv, "pip", "check", "--no-cache", "--python", str(environment))
    return "; ".join(_INCOMPATIBLE.findall(output.stderr)) if output.code else None


def is_in_the_way(folder: Path) -> bool:
    """Whether it is no environment, and would lose what is in it."""
    if not folder.is_dir():
        return os.path.lexists(folder)
    return not (folder / "pyvenv.cfg").is_file() and not {each.name for each in folder.iterdir()} <= _BEGUN


def _list_commands(metadata: Path) -> Iterator[str]:
    text = read_if_there(metadata / "entry_points.txt")
    if text is not None:
        points = ConfigParser(delimiters=("=",), interpolation=None)
        points.optionxform = str  # type: ignore[assignment,method-assign] # names of commands keep their capitals
        points.read_string(text)
        if points.has_section("console_scripts"):
            yield from points.options("console_scripts")
