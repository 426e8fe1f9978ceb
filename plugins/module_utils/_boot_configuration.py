# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd will write to /proc/sys and /sys at the next boot, and which file decides it.

Follows sysctl.d(5) and tmpfiles.d(5): a file hides those of its name in folders of lower rank, all files are then
read in the order of their names. In sysctl.d the last assignment of a key wins, and an explicit key, or its exclusion,
beats every glob. In tmpfiles.d the first `w` line of a path or glob counts, and those that count are written one after
the other. Not looked at: what tmpfiles.d(5) makes of specifiers, base64 and credentials.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from ._files import read_if_there

_FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib")  # by rank
_GLOB = re.compile(r"[*?\[]")
_BLANKS = " \t\r"
_BRACES = re.compile(r"\{([^{}]*)\}")
_TMPFILES_LINE = re.compile(
    r"""
    w (?P<modifiers> [+!=$-]*) \s+
    (?P<path> "[^"]*" | '[^']*' | \S+)
    (?: \s+ \S+){4} \s+  # mode, user, group, age
    (?!-$)(?P<value> .+)  # only a dash is no value
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3}|.?)")
_NAMED_ESCAPES = dict(zip("abfnrtvs\\\"'", "\a\b\f\n\r\t\v \\\"'", strict=True))


class SysctlLine(NamedTuple):
    """A line of a sysctl.d file: a key and its value, None for an exclusion (`-key`)."""

    number: int
    key: str
    value: str | None


class TmpfilesLine(NamedTuple):
    """A line of a tmpfiles.d file that writes a value, or adds it to what another line writes (`w+`)."""

    number: int
    appends: bool
    path: str
    value: str


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


def parse_sysctl(text: str) -> Iterator[SysctlLine]:
    """The assignments and exclusions of a sysctl.d file."""
    for number, line in _lines(text):
        if not line or line[0] in "#;":
            continue
        key, equals, value = (part.strip(_BLANKS) for part in line.partition("="))
        name = key.removeprefix("-").lstrip(_BLANKS)  # of an assignment the dash means that a failure does not matter
        if equals:
            yield SysctlLine(number, name, value)
        elif key.startswith("-"):
            yield SysctlLine(number, name, None)


def parse_tmpfiles(text: str) -> Iterator[TmpfilesLine]:
    """The lines of a tmpfiles.d file that write a value."""
    for number, line in _lines(text):
        match = _TMPFILES_LINE.fullmatch(line)
        if not match:
            continue
        try:
            value = _unescape(match["value"]).replace("%%", "%")
            path = _unescape(match["path"].strip("\"'")).replace("%%", "%")
        except ValueError:
            continue  # as systemd does
        yield TmpfilesLine(number, "+" in match["modifiers"], str(PurePosixPath(path)), value)


def render_sysctl(key: str, value: str) -> str:
    """The line that makes systemd-sysctl write this value."""
    return f"{key} = {value}\n"


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
    last: dict[str, Assignment] = {}
    for file, text in _files(root, "sysctl.d", replacing):
        for line in parse_sysctl(text):
            path = sysctl_path(line.key)
            if path in last and last[path].value == line.value:
                continue  # it keeps its place among the globs
            last.pop(path, None)
            last[path] = Assignment(path, line.value, file, line.number)
    # Globs are written before plain keys. A glob that is itself excluded is only not written: it hides no other, and so
    # comes first. Braces alone are no glob here, and name nothing.
    globs = [each for each in last.values() if is_glob(each.path)]
    excluded = [each for each in globs if each.value is None]
    written = [each for each in globs if each.value is not None]
    plain = [each for each in last.values() if not is_glob(each.path) and "{" not in each.path]
    return BootConfiguration((*excluded, *written, *plain))


def read_tmpfiles(root: Path, replacing: Mapping[str, str | None]) -> BootConfiguration:
    """What systemd-tmpfiles will write. replacing: as for `read_sysctl`."""
    kept: dict[str, list[tuple[TmpfilesLine, Assignment]]] = {}
    for file, text in _files(root, "tmpfiles.d", replacing):
        for line in parse_tmpfiles(text):
            same_path = kept.setdefault(line.path, [])
            # The first line of a path counts; another one only beside it, where both append or say the same.
            if all(line.value == other.value or (line.appends and other.appends) for other, _assignment in same_path):
                same_path.append((line, Assignment(line.path, line.value, file, line.number)))
    # What belongs to one path is written together, at the place of its first line.
    return BootConfiguration(tuple(assignment for lines in kept.values() for _line, assignment in lines))


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
