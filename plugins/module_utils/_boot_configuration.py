# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd will write to /proc/sys and /sys at the next boot, and which file decides it.

Follows sysctl.d(5) and tmpfiles.d(5): a file hides those of its name in folders of lower rank, all files are then
read in the order of their names. In sysctl.d the last assignment of a key wins, and an explicit key beats every glob.
In tmpfiles.d the first C(w) line of a path wins, and globs are written after plain paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from ._files import read_if_there

_FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib")  # by rank
_GLOB = re.compile(r"[*?\[]")
_TMPFILES_LINE = re.compile(
    r"""(?P<type>w\S*)\s+(?P<path>"[^"]*"|\S+)(?:\s+\S+){4}\s+(?P<value>.+)""",
)


@dataclass(frozen=True)
class Assignment:
    """One line of one file: a path (or glob) below / and the value to write; None excludes the key from globs."""

    path: str
    value: str | None
    file: str
    line: int

    @property
    def origin(self) -> str:
        return f"{self.file} line {self.line}"


@dataclass(frozen=True)
class BootConfiguration:
    """The assignments of a host in the order in which systemd applies them; for each path the last one counts."""

    assignments: tuple[Assignment, ...]

    def deciding(self, path: str) -> Assignment | None:
        """The assignment that path will have after the next boot, if any file makes one."""
        for assignment in reversed(self.assignments):
            if path_matches(path, assignment.path):
                return assignment if assignment.value is not None else None
        return None


def is_glob(path: str) -> bool:
    return bool(_GLOB.search(path))


def path_matches(path: str, pattern: str) -> bool:
    """As glob(7): a wildcard does not cross a slash. A pattern matches itself."""
    names, patterns = path.split("/"), pattern.split("/")
    return path == pattern or (len(names) == len(patterns) and all(map(fnmatchcase, names, patterns)))


def sysctl_path(key: str) -> str:
    """The file of a sysctl key: the first separator decides whether dots or slashes separate (sysctl.d(5))."""
    first = re.search(r"[./]", key)
    if first and first[0] == ".":
        key = key.translate(str.maketrans("./", "/."))
    return f"/proc/sys/{key.strip('/')}"


def sysctl_key(path: str) -> str:
    """The one spelling of a sysctl key that we write: dots, or slashes where a name has a dot of its own."""
    key = path.removeprefix("/proc/sys/")
    return key if "." in key else key.replace("/", ".")


def parse_sysctl(text: str) -> Iterator[tuple[int, str, str | None]]:
    """Line number, key and value of each assignment of a sysctl.d file; value None for an exclusion (C(-key))."""
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line[0] in "#;":
            continue
        key, equals, value = line.partition("=")
        if equals:
            yield number, key.strip().removeprefix("-"), value.strip()
        elif key.startswith("-"):
            yield number, key.removeprefix("-"), None


def parse_tmpfiles(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Line number, type, path and value of each line of a tmpfiles.d file that writes a value into an existing file."""
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        match = _TMPFILES_LINE.fullmatch(line)
        if match:
            value = re.sub(r"\\(.)", r"\1", match["value"].replace("%%", "%"))
            yield number, match["type"], match["path"].strip('"'), value


def read_sysctl(root: Path, replacing: Mapping[str, str | None]) -> BootConfiguration:
    """What systemd-sysctl will do. replacing: texts to assume instead of those on disk, by path; None: no file."""
    table: dict[str, Assignment] = {}
    for file, text in _files(root, "sysctl.d", replacing):
        for line, key, value in parse_sysctl(text):
            path = sysctl_path(key)
            table.pop(path, None)
            table[path] = Assignment(path, value, file, line)
    return BootConfiguration(tuple(sorted(table.values(), key=lambda assignment: not is_glob(assignment.path))))


def read_tmpfiles(root: Path, replacing: Mapping[str, str | None]) -> BootConfiguration:
    """What systemd-tmpfiles will write. replacing: as for L(read_sysctl)."""
    kept: list[Assignment] = []
    for file, text in _files(root, "tmpfiles.d", replacing):
        for line, kind, path, value in parse_tmpfiles(text):
            if "+" in kind or all(assignment.path != path for assignment in kept):
                kept.append(Assignment(path, value, file, line))
    return BootConfiguration(tuple(sorted(kept, key=lambda assignment: is_glob(assignment.path))))


def _files(
    root: Path, kind: Literal["sysctl.d", "tmpfiles.d"], replacing: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    """Path as seen on the host and text of each file that counts, in the order in which systemd reads them."""
    by_name: dict[str, str] = {}
    for folder in reversed(_FOLDERS):
        for found in (root / folder / kind).glob("*.conf"):
            by_name[found.name] = f"/{folder}/{kind}/{found.name}"
    for planned in replacing:
        if Path(planned).parent.name == kind:
            by_name[Path(planned).name] = planned
    for _name, file in sorted(by_name.items()):
        text = replacing[file] if file in replacing else read_if_there(root / file.lstrip("/"))
        if text is not None:
            yield file, text
