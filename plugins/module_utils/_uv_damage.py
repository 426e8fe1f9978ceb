# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage to installed packages: what lies in an environment, compared with what was installed, by each RECORD."""

from __future__ import annotations

import csv
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path

from ._uv_request import normalise

SITE_PACKAGES = "lib/python3.*/site-packages"
_DIST_INFO = re.compile(r"(?P<name>[^~-][^-]*)-(?P<version>[^-]+)\.dist-info")
_TOLD = 3

# What one RECORD says of a file: its hash and its size, as they stand there.
_Claim = tuple[str, str]


@dataclass
class Installed:
    """A package by its folder of metadata. faults: what is not as it was installed."""

    name: str
    version: str
    faults: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        more = f" and {len(self.faults) - _TOLD} more" if len(self.faults) > _TOLD else ""
        return f"{', '.join(self.faults[:_TOLD])}{more}"

    @property
    def actual(self) -> str:
        return f"{self.version}, with damage to {len(self.faults)} file{'s' if len(self.faults) > 1 else ''}"


def find_damage(environment: Path, *, hashes: bool) -> dict[str, Installed]:
    """The packages of which files are gone or have another size or, when asked for, another hash.

    A file that several packages brought is right when it is as one of them had it: the last one wrote over it.
    """
    damaged: dict[str, Installed] = {}
    for site in sorted(environment.glob(SITE_PACKAGES)):
        claims: dict[str, dict[_Claim, None]] = {}
        claimed_by: list[tuple[Installed, list[str]]] = []
        for package, folder in list_installed(site):
            claimed_by.append((package, _read_record(package, folder, claims)))
        wrong = _compare(f"{site}/", claims, hashes=hashes)
        for package, paths in claimed_by:
            if wrong:
                package.faults += [wrong[path] for path in paths if path in wrong]
            if package.faults:
                damaged[package.name] = package
    return damaged


def list_installed(site: Path) -> Iterator[tuple[Installed, Path]]:
    """The packages of a folder site-packages, each with its folder of metadata; none is looked into."""
    with os.scandir(site) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            found = _DIST_INFO.fullmatch(entry.name)
            if found is not None:
                yield Installed(normalise(found["name"]), found["version"]), Path(entry.path)


def _read_record(package: Installed, folder: Path, claims: dict[str, dict[_Claim, None]]) -> list[str]:
    """The files that a package brought."""
    try:
        text = (folder / "RECORD").read_text(encoding="utf-8")
    except FileNotFoundError:
        package.faults.append(f"{folder.name}/RECORD is gone")
        return []
    except (OSError, UnicodeDecodeError):
        text = "?"
    paths = []
    for line in text.removesuffix("\n").split("\n") if text else ():
        # Thirty thousand lines; few have a comma in a name, which takes quotes.
        row = next(csv.reader([line])) if '"' in line else line.rsplit(",", 2)
        if len(row) != 3:
            package.faults.append(f"{folder.name}/RECORD cannot be read")
            break
        path, digest, size = row
        if not (path.endswith(".pyc") and "__pycache__/" in path):  # Python writes its cache anew
            paths.append(path)
            claims.setdefault(path, {})[digest, size] = None
    if not paths or not text.endswith("\n"):
        package.faults.append(f"{folder.name}/RECORD is {'cut off' if paths else 'empty'}")
    return paths


def _compare(site: str, claims: dict[str, dict[_Claim, None]], *, hashes: bool) -> dict[str, str]:
    """What is wrong with which file."""
    wrong = {}
    for path, claimed in claims.items():
        full = path if path.startswith("/") else site + path
        try:
            size = str(os.stat(full).st_size)  # noqa: PTH116 - a Path for each of 30,000 files doubles the time
        except OSError as error:
            wrong[path] = f"{path} is gone" if isinstance(error, FileNotFoundError) else f"{path}: {error.strerror}"
            continue
        fitting = [digest for digest, wanted in claimed if wanted in ("", size)]
        if not fitting:
            wanted = " or ".join(size for _digest, size in claimed)
            wrong[path] = f"{path} has {size} bytes instead of {wanted}"
        elif hashes and (fault := _compare_content(full, fitting)):
            wrong[path] = f"{path}{fault}"
    return wrong


def _compare_content(path: str, fitting: Sequence[str]) -> str | None:
    """What is wrong with a file. fitting: digests, of which it should have one."""
    try:
        return None if any(_has_digest(path, digest) for digest in fitting) else " has another content"
    except OSError as error:  # such as of a disk with bad sectors
        return f": {error.strerror}"


def _has_digest(path: str, wanted: str) -> bool:
    """Of an algorithm that this Python does not know, nothing can be said."""
    if not wanted:
        return True
    algorithm, _equals, value = wanted.partition("=")
    try:
        with Path(path).open("rb") as stream:
            digest = file_digest(stream, algorithm).digest()
    except ValueError:
        return True
    return urlsafe_b64encode(digest).rstrip(b"=").decode() == value.rstrip("=")
