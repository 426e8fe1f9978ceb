# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd will write to /proc/sys and /sys at the next boot, and which file decides it.

Follows sysctl.d(5) and tmpfiles.d(5): a file hides those of its name in folders of lower rank, all files are then
read in the order of their names. In sysctl.d the last assignment of a key wins, and an explicit key, or its exclusion,
beats every glob. In tmpfiles.d the first C(w) line of a path or glob counts, and those that count are written one after
the other. Not looked at: what tmpfiles.d(5) makes of specifiers, base64 and credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from ._files import read_if_there

_FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib")  # by rank
_GLOB = re.compile(r"[*?\[]")
_BLANKS = " \t\r"
_BRACES = re.compile(r"\{([^{}]*)\}")
# After the path: mode, user, group, age. An argument that is only a dash is none.
_TMPFILES_LINE = re.compile(
    r"""w(?P<modifiers>[+!=$-]*)\s+(?P<path>"[^"]*"|'[^']*'|\S+)(?:\s+\S+){4}\s+(?!-$)(?P<value>.+)"""
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3}|.?)")
_NAMED_ESCAPES = dict(zip("abfnrtvs\\\"'", "\a\b\f\n\r\t\v \\\"'", strict=True))


@dataclass(frozen=True)
class Assignment:
    """One line of one file: a path (or glob) below / and the value to write; None keeps globs from writing the key."""

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
        """The line that says what path will have after the next boot, if any does."""
        matching = (each for each in reversed(self.assignments) if path_matches(path, each.path))
        return next(matching, None)


def is_glob(path: str) -> bool:
    return bool(_GLOB.search(path))


def path_matches(path: str, pattern: str) -> bool:
    """As systemd matches: a wildcard does not cross a slash, and braces hold alternatives. A pattern matches itself."""
    if path == pattern:
        return True
    if braces := _BRACES.search(pattern):
        before, after = pattern[: braces.start()], pattern[braces.end() :]
        return any(path_matches(path, f"{before}{alternative}{after}") for alternative in braces[1].split(","))
    names, patterns = path.split("/"), pattern.replace("[^", "[!").split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def precedence(pattern: str) -> tuple[bool, int, str]:
    """Sorts names so that the later wins: a glob, then a longer glob, as the more particular one, then a plain name."""
    return (False, len(pattern), pattern) if is_glob(pattern) else (True, 0, pattern)


def sysctl_path(key: str) -> str:
    """The file of a sysctl key: the first separator decides whether dots or slashes separate (sysctl.d(5))."""
    first = re.search(r"[./]", key)
    if first and first[0] == ".":
        key = key.translate(str.maketrans("./", "/."))
    return str(PurePosixPath("/proc/sys", key.lstrip("/")))


def sysctl_key(path: str) -> str:
    """The one spelling of a sysctl key that we write: dots, or slashes where a name has a dot of its own."""
    key = path.removeprefix("/proc/sys/")
    return key if "." in key else key.replace("/", ".")


def parse_sysctl(text: str) -> Iterator[tuple[int, str, str | None]]:
    """Line number, key and value of each assignment of a sysctl.d file; value None for an exclusion (C(-key))."""
    for number, line in _lines(text):
        if not line or line[0] in "#;":
            continue
        key, equals, value = (part.strip(_BLANKS) for part in line.partition("="))
        name = key.removeprefix("-").lstrip(_BLANKS)  # of an assignment the dash means that a failure does not matter
        if equals:
            yield number, name, value
        elif key.startswith("-"):
            yield number, name, None


def parse_tmpfiles(text: str) -> Iterator[tuple[int, bool, str, str]]:
    """Line number, whether it appends (C(w+)), path and value of each line of a tmpfiles.d file that writes a value."""
    for number, line in _lines(text):
        match = _TMPFILES_LINE.fullmatch(line)
        if not match:
            continue
        try:
            value = _unescape(match["value"]).replace("%%", "%")
            path = _unescape(match["path"].strip("\"'")).replace("%%", "%")
        except ValueError:
            continue  # as systemd does
        yield number, "+" in match["modifiers"], str(PurePosixPath(path)), value


def render_tmpfiles(path: str, value: str) -> str:
    """The line that makes systemd-tmpfiles write exactly this value."""
    escaped = "\\x2d" if value == "-" else value.replace("\\", "\\\\").replace("%", "%%")
    return f"w {path} - - - - {escaped}\n"


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, without the white space around them; Python's own would end lines at more characters."""
    return enumerate((line.strip(_BLANKS) for line in text.split("\n")), start=1)


def _unescape(text: str) -> str:
    """C escapes resolved. Raises ValueError for a wrong one."""

    def character(escape: re.Match[str]) -> str:
        code = escape[1]
        if code in _NAMED_ESCAPES:
            return _NAMED_ESCAPES[code]
        return chr(int(code, 8) if len(code) == 3 and code.isdigit() else int(code[1:], 16))

    return _ESCAPE.sub(character, text)


def read_sysctl(root: Path, replacing: Mapping[str, str | None]) -> BootConfiguration:
    """What systemd-sysctl will do. replacing: texts to assume instead of those on disk, by path; None: no file."""
    table: dict[str, Assignment] = {}
    for file, text in _files(root, "sysctl.d", replacing):
        for line, key, value in parse_sysctl(text):
            path = sysctl_path(key)
            if path in table and table[path].value == value:
                continue  # it keeps its place among the globs
            table.pop(path, None)
            table[path] = Assignment(path, value, file, line)
    # Braces alone are no glob here, and name nothing.
    counting = [each for each in table.values() if is_glob(each.path) or "{" not in each.path]
    # Globs are written before plain keys. A glob that is itself excluded is only not written: it hides no other.
    return BootConfiguration(tuple(sorted(counting, key=lambda each: (not is_glob(each.path), each.value is not None))))


def read_tmpfiles(root: Path, replacing: Mapping[str, str | None]) -> BootConfiguration:
    """What systemd-tmpfiles will write. replacing: as for L(read_sysctl)."""
    kept: dict[str, list[tuple[bool, Assignment]]] = {}
    for file, text in _files(root, "tmpfiles.d", replacing):
        for line, appends, path, value in parse_tmpfiles(text):
            earlier = kept.setdefault(path, [])
            if all(value == other.value or (appends and other_appends) for other_appends, other in earlier):
                earlier.append((appends, Assignment(path, value, file, line)))
    return BootConfiguration(tuple(each for assignments in kept.values() for _appends, each in assignments))


def _files(
    root: Path, kind: Literal["sysctl.d", "tmpfiles.d"], replacing: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    """Path as seen on the host and text of each file that counts, in the order in which systemd reads them."""
    by_name: dict[str, str] = {}
    for folder in reversed(_FOLDERS):
        for found in (root / folder / kind).glob("[!.]*.conf"):
            by_name[found.name] = f"/{folder}/{kind}/{found.name}"
        for file, text in replacing.items():
            if Path(file).parent == Path("/", folder, kind) and text is not None:
                by_name[Path(file).name] = file
    for _name, file in sorted(by_name.items()):
        on_host = root / file.lstrip("/")
        # What is no file, such as a link to /dev/null, hides those of its name all the same.
        on_disk = read_if_there(on_host) if on_host.is_file() else None
        yield file, replacing.get(file, on_disk) or ""
