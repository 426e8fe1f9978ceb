# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of others that an apt source takes over: backed up, diverted if a package brought them, and given back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ._apt import Output, Runner
from ._apt_lists import Taken
from ._dpkg import read_packages
from ._files import read_if_there, replace
from ._settings import SettingsError

_DIVERSION = re.compile(r"local diversion of (?P<file>.+) to (?P<target>.+)")


def take(taken: Taken, name: str, run: Runner, root: Path) -> None:
    """Take a file over for the source of this name. Stopped anywhere, the next run ends with the same.

    What a package brought is diverted, so that no new version of it brings the source back.
    """
    file = taken.file
    mode = file.stat().st_mode & 0o777  # an address may hold a password
    backup = _back_up(file, name, mode)
    on_host = f"/{file.relative_to(root)}"
    if _owners(run, on_host) and _divert(run, "--truename", on_host).stdout.strip() == on_host:
        _divert(run, "--local", "--no-rename", "--divert", f"/{backup.relative_to(root)}", "--add", on_host)
    replace(file, taken.rest, mode)


def _back_up(file: Path, name: str, mode: int) -> Path:
    """The backup with the text of a file; no other is overwritten. apt passes its ending over without a word."""
    text = read_if_there(file)
    for number in count(1):
        backup = file.with_name(f"{file.name}.mlrig-{name}{f'.{number}' if number > 1 else ''}.save")
        found = read_if_there(backup)
        if found is None:
            replace(backup, text, mode)
        if found in {None, text}:
            break
    return backup


@dataclass(frozen=True)
class Diversion:
    """A file that was diverted to its backup. owner: the package that brought it, None where that is gone."""

    file: str
    backup: str
    owner: str | None
    blocked: bool

    @property
    def reason(self) -> str:
        if self.blocked:
            return (
                f"not given back to {self.owner}: someone wrote another file of that name; the backup is {self.backup}"
            )
        return f"given back to {self.owner}" if self.owner else "the package that brought it is gone"


def find_diversions(name: str, run: Runner, root: Path) -> Iterator[Diversion]:
    """What the source of this name took over from packages."""
    for line in _divert(run, "--list").stdout.splitlines():
        found = _DIVERSION.fullmatch(line)
        if found and re.fullmatch(rf"\.mlrig-{name}(\.\d+)?\.save", found["target"].removeprefix(found["file"])):
            texts = [read_if_there(root / found[each].lstrip("/")) for each in ("file", "target")]
            owner = next(iter(_owners(run, found["file"])), None)
            yield Diversion(
                found["file"], found["target"], owner, owner is not None and None not in texts and texts[0] != texts[1]
            )


def give_back(diversion: Diversion, run: Runner, root: Path) -> None:
    """Let a package have its file again; without one, the backup stays what it is."""
    wanted = diversion.owner is not None and not (root / diversion.file.lstrip("/")).exists()
    rename = "--rename" if wanted else "--no-rename"
    _divert(run, "--local", rename, "--divert", diversion.backup, "--remove", diversion.file)


def _owners(run: Runner, file: str) -> list[str]:
    """The packages that brought a file, and are still there."""
    lines = run("dpkg-query", "--search", file).stdout.splitlines()
    names = [
        name for line in lines if line.endswith(f": {file}") for name in line.removesuffix(f": {file}").split(", ")
    ]
    packages = read_packages(run) if names else {}
    return [name for name in names if name in packages and packages[name].present]


def _divert(run: Runner, *arguments: str) -> Output:
    output = run("dpkg-divert", *arguments)
    if output.code:
        raise SettingsError(f"dpkg-divert failed on {arguments[-1]}: {output.text.strip()}")
    return output
