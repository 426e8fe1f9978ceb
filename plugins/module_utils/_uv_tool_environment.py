# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An environment that is there for the commands of one package: what is in it, and whether it is whole."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from ._apt import Runner
from ._files import read_if_there
from ._settings import RequestError
from ._uv_damage import SITE_PACKAGES, find_damage, list_installed
from ._uv_environment import find_fault
from ._uv_failure import explain

# Any of these makes a folder an environment.
_MARKS = ("pyvenv.cfg", "uv-receipt.toml")
# What is in one that was half made, or half removed, when its maker was killed.
_OF_HALF_A_ONE = {".gitignore", ".lock", "CACHEDIR.TAG", "bin", "include", "lib", "lib64", "requirements.txt", "share"}
_COMMAND = re.compile(r"^\.\./\.\./\.\./bin/([^/,\"]+),", re.MULTILINE)
_VERSION_OF_PYTHON = re.compile(r"python3\.[0-9]+")
_INCOMPATIBLE = re.compile(r"^The package .*", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """actual: the version of its package, or what is wrong; None where there is no environment. reason: why."""

    actual: str | None
    reason: str | None = None
    commands: tuple[str, ...] = ()


def look_into(environment: Path, package: str) -> Found:
    """Reads files only. Raises RequestError for what is no environment, and so would lose what is in it."""
    if not os.path.lexists(environment):
        return Found(None)
    if not is_environment(environment):
        raise RequestError(f"{environment} is in the way, as it is no Python environment: move it away")
    metadata = {
        each.name: (each, folder) for site in environment.glob(SITE_PACKAGES) for each, folder in list_installed(site)
    }
    if package not in metadata:
        return Found(f"without {package}")
    installed, folder = metadata[package]
    found = Found(installed.version, commands=tuple(_COMMAND.findall(read_if_there(folder / "RECORD") or "")))
    damaged = find_damage(environment, hashes=False)
    if damaged:
        reason = "; ".join(each.summary for each in damaged.values())
        return replace(found, actual=f"{installed.version}, with damage", reason=reason)
    return found


def is_environment(folder: Path) -> bool:
    """Whether it is one, be it half made."""
    if not folder.is_dir():
        return False
    names = {each.name for each in folder.iterdir()}
    return any(each in names for each in _MARKS) or names <= _OF_HALF_A_ONE


def find_fault_of_python(environment: Path) -> str | None:
    """Why its commands do not start, such as after an upgrade of the distribution.

    To be asked before its Python is run: without pyvenv.cfg that takes itself for the system's.
    """
    python = environment / "bin" / "python"
    if not os.access(python, os.X_OK):
        return "its Python is gone"
    name = python.resolve().name
    if _VERSION_OF_PYTHON.fullmatch(name) and not (environment / "lib" / name).is_dir():
        return f"its Python is {name} now"
    return find_fault(environment)


def find_missing_dependencies(environment: Path, uv: str, run: Runner) -> str | None:
    output = run(uv, "pip", "check", "--no-cache", "--python", str(environment))
    return ("; ".join(_INCOMPATIBLE.findall(output.stderr)) or explain(output.stderr)) if output.code else None
