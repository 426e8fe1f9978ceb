# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two files from which the next boot sets kernel tunables: what they hold, and what they should hold.

Of several names for one attribute, such as a glob and a plain name, the most particular one decides it, because of the
order of the lines (see `_precedence`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ._boot_configuration import (
    BootConfiguration,
    is_glob,
    parse_sysctl,
    parse_tmpfiles,
    path_matches,
    read_sysctl,
    read_tmpfiles,
    render_sysctl,
    render_tmpfiles,
    sysctl_key,
    sysctl_path,
)
from ._files import read_if_there
from ._kernel_attributes import KernelAttributes
from ._tunable_request import Tunable

SYSCTL_FILE = "/etc/sysctl.d/99-mlrig.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/mlrig.conf"
_HEADER = "# Managed by mlrig.workstation (kernel_tunables): what is edited here is undone by its next run.\n"


def _precedence(name: str) -> tuple[bool, int, str]:
    """Sorts names so that the later wins: a glob, then a longer glob, as the more particular one, then a plain name."""
    return (False, len(name), name) if is_glob(name) else (True, 0, name)


@dataclass(frozen=True)
class OwnedFile:
    """One of the two files that belong to this module.

    parse: its values by key. render: the line for a key and its value. read_boot: what the next boot does with it and
    all files of its kind.
    """

    path: str
    parse: Callable[[str], dict[str, str]]
    render: Callable[[str, str], str]
    read_boot: Callable[[Path, Mapping[str, str | None]], BootConfiguration]


def _parse_sysctl(text: str) -> dict[str, str]:
    """Of repeated keys the last counts, and an exclusion is a key without a value."""
    values = {sysctl_key(sysctl_path(line.key)): line.value for line in parse_sysctl(text)}
    return {key: value for key, value in values.items() if value is not None}


def _parse_tmpfiles(text: str) -> dict[str, str]:
    """Of repeated paths the first counts."""
    values: dict[str, str] = {}
    for line in parse_tmpfiles(text):
        values.setdefault(line.path, line.value)
    return values


SYSCTL = OwnedFile(SYSCTL_FILE, _parse_sysctl, render_sysctl, read_sysctl)
TMPFILES = OwnedFile(TMPFILES_FILE, _parse_tmpfiles, render_tmpfiles, read_tmpfiles)


@dataclass(frozen=True)
class FileChange:
    """What an owned file holds, as text and as values by key, and what it should hold."""

    file: OwnedFile
    found_text: str | None
    found: Mapping[str, str]
    wanted: Mapping[str, str]

    @property
    def wanted_text(self) -> str | None:
        lines = [self.file.render(key, self.wanted[key]) for key in sorted(self.wanted, key=_precedence)]
        return _HEADER + "".join(lines) if lines else None

    def decides(self, name: str, path: str) -> bool:
        """Whether of all names in the file this one, a path or a glob, is the most particular for an existing path."""
        names = [key if key.startswith("/sys/") else sysctl_path(key) for key in self.wanted]
        matching = [each for each in names if path_matches(path, each)]
        return name == max(matching, key=_precedence, default=None)


def read_owned(
    file: OwnedFile, tunables: Iterable[Tunable], attributes: KernelAttributes, *, purge: bool
) -> FileChange:
    text = read_if_there(attributes.on_host(file.path))
    found = file.parse(text or "")
    named = {tunable.key for tunable in tunables}
    kept = {} if purge else {key: value for key, value in found.items() if key not in named}
    asked = {tunable.key: tunable.value for tunable in tunables if tunable.value is not None}
    return FileChange(file, text, found, {**kept, **asked})
