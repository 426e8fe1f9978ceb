# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One package in a Python environment of its own, which pip installs from a wheel with a known hash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ._apt import Output, Runner
from ._files import make_folder, replace
from ._settings import SettingsError
from ._uv_failure import explain

# What pip and venv say, and what that means. The first that is found counts.
_CAUSES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"ensurepip is not\s+available|No module named (?:venv|ensurepip)"), "python3-venv is not installed"),
    (re.compile(r"DO NOT MATCH THE HASHES"), "no wheel that the index serves has one of the hashes"),
    (re.compile(r"No space left on device|Disk quota exceeded"), "the disk is full, or a quota is used up"),
    (re.compile(r"connection broken by|Max retries exceeded"), "the index cannot be reached"),
    (re.compile(r"No matching distribution"), "the index has no such version for this host, or cannot be reached"),
)
_TOLD = re.compile(r"^ERROR: .*(?:\n +.*)*|^WARNING: Retrying .*", re.MULTILINE)


def make_environment(run: Runner, python: Path, environment: Path) -> None:
    """A new one; what is there is lost."""
    make_folder(environment.parent)
    _succeed(run(str(python), "-m", "venv", "--clear", str(environment)), "cannot make an environment")


def pip_install(run: Runner, environment: Path, requirement: str, hashes: Sequence[str], index: str | None) -> None:
    """Into an environment; another version that is there stays until the wheel is there. pip refuses other hashes."""
    requirements = environment / "requirements.txt"  # on a command line pip takes no hashes
    replace(requirements, " ".join([requirement, *(f"--hash={each}" for each in hashes)]) + "\n")
    pip = (str(environment / "bin" / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
    exact = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir")
    others = () if index is None else (f"--index-url={index}",)
    output = run(*pip, *exact, f"--requirement={requirements}", *others)
    _succeed(output, f"pip cannot install {requirement}")


def _succeed(output: Output, fault: str) -> None:
    if output.code:
        meaning = next((f"{meaning}: " for pattern, meaning in _CAUSES if pattern.search(output.text)), "")
        told = "\n".join(_TOLD.findall(output.stderr)) or output.text
        raise SettingsError(f"{fault}: {meaning}{explain(told)}")
