# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of apt sources, of both kinds: which repositories they name, and their text without one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from ._files import read_if_there

_MAIN = "etc/apt/sources.list"
_FOLDER = "etc/apt/sources.list.d"
_LINE = re.compile(r"\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(?P<uri>[^\s#\[]\S*)\s+(?P<suite>[^\s#]+)")
_FIELD = re.compile(r"(?P<name>[^\s#:][^\s:]*):(?P<value>.*)")

Matches = Callable[[str], bool]


@dataclass(frozen=True)
class Taken:
    """A file that names a repository. rows: what it says of it. rest: its text without that; None: nothing."""

    file: Path
    rows: tuple[str, ...]
    rest: str | None


def location(uri: str, suite: str) -> str:
    """One spelling for the place of a repository: neither http or https nor a slash at the end tell two apart, and the
    path of a flat one may be written in its suite.
    """
    parts = urlsplit(uri)
    path = f"{parts.path}/{suite}" if suite.endswith("/") else parts.path
    scheme = "http" if parts.scheme.lower() == "https" else parts.scheme.lower()
    names = [name for name in path.split("/") if name not in {"", "."}]
    return f"{scheme}://{parts.netloc.lower()}/{'/'.join(names)}"


def matcher(patterns: Sequence[str], suites: Sequence[str]) -> Matches:
    """Whether a location is one of those that globs of URIs, with these suites, mean."""
    places = {location(pattern, suite) for pattern in patterns for suite in suites}
    return lambda place: any(fnmatchcase(place, each) for each in places)


def find(root: Path, matches: Matches, own: Path) -> Iterator[Taken]:
    """Every file that apt reads, but the own one, in which a matching repository is active."""
    for file, parts in _read(root):
        rows: list[str] = []
        kept: list[str] = []
        for part in parts:
            taken = [each for each in part.addresses if any(map(matches, each.places))]
            rows += [each.row for each in taken]
            if not taken:
                kept.append(part.text)
            elif rest := [each.uri for each in part.addresses if each not in taken]:
                kept.append(_with_uris(part.text, rest))
        if rows and file != own:
            rest_of_file = "".join(kept)
            yield Taken(file, tuple(rows), rest_of_file if _says_something(rest_of_file) else None)


def active(root: Path) -> Iterator[tuple[Path, str]]:
    """The location of every repository that apt uses, with the file that names it."""
    for file, parts in _read(root):
        places = (place for part in parts for address in part.addresses for place in address.places)
        yield from ((file, place) for place in dict.fromkeys(places))


@dataclass(frozen=True)
class _Address:
    """places: one for each suite. row: how messages show it."""

    uri: str
    places: tuple[str, ...]
    row: str


@dataclass(frozen=True)
class _Part:
    """A line, or a stanza, or what separates them: all parts of a file together are its text."""

    text: str
    addresses: tuple[_Address, ...] = ()


def _read(root: Path) -> Iterator[tuple[Path, Sequence[_Part]]]:
    """The files that apt reads."""
    folder = root / _FOLDER
    files = sorted(each for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []
    for file in (root / _MAIN, *files):
        if file.suffix in {".list", ".sources"}:
            text = read_if_there(file)
            if text is not None:
                yield file, [*(_stanzas if file.suffix == ".sources" else _lines)(text)]


def _says_something(text: str) -> bool:
    """A comment alone is nothing to keep a file for; a source that is disabled by one is."""
    lines = (line.strip() for line in text.splitlines())
    return any(line and (not line.startswith("#") or _LINE.match(line.lstrip("# "))) for line in lines)


def _lines(text: str) -> Iterator[_Part]:
    for line in text.splitlines(keepends=True):
        found = _LINE.match(line)
        yield _Part(line, (_address(found["uri"], [found["suite"]], line.strip()),) if found else ())


def _stanzas(text: str) -> Iterator[_Part]:
    # The separators stay with the text: what is not taken is given back to the byte.
    for part in re.split(r"(\n(?:[ \t]*\n)+)", text):
        fields = _fields(part)
        uris, suites = fields.get("uris", "").split(), fields.get("suites", "/").split()
        if fields.get("enabled", "yes").strip().lower() in {"no", "false", "without", "off", "disable"}:
            uris = []
        yield _Part(part, tuple(_address(uri, suites, f"URIs: {uri}") for uri in uris))


def _address(uri: str, suites: Sequence[str], row: str) -> _Address:
    return _Address(uri, tuple(location(uri, suite) for suite in suites), row)


def _fields(stanza: str) -> dict[str, str]:
    """The values by field in lower case; a line that begins with a blank continues the one before."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.split("\n"):
        if line.startswith("#"):
            continue
        if found := _FIELD.match(line):
            name = found["name"].lower()
            fields[name] = found["value"]
        elif name and line[:1] in {" ", "\t"}:
            fields[name] += f" {line}"
    return fields


def _with_uris(stanza: str, uris: list[str]) -> str:
    lines: list[str] = []
    skipping = False
    for line in stanza.split("\n"):
        if skipping and line[:1] in {" ", "\t"}:
            continue
        found = _FIELD.match(line)
        skipping = found is not None and found["name"].lower() == "uris"
        lines.append(f"URIs: {' '.join(uris)}" if skipping else line)
    return "\n".join(lines)
