# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's lists of apt sources, of both kinds: what they say of a repository, and their text without that."""

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
    folder = root / _FOLDER
    files = sorted(each for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []
    for file in (root / _MAIN, *files):
        if file == own or file.suffix not in {".list", ".sources"}:
            continue
        text = read_if_there(file)
        if text is not None:
            rows, rest = (_without_stanzas if file.suffix == ".sources" else _without_lines)(text, matches)
            if rows:
                yield Taken(file, tuple(rows), rest if _says_something(rest) else None)


def _says_something(text: str) -> bool:
    """A comment alone is nothing to keep a file for; a source that is disabled by one is."""
    lines = (line.strip() for line in text.splitlines())
    return any(line and (not line.startswith("#") or _LINE.match(line.lstrip("# "))) for line in lines)


def _without_lines(text: str, matches: Matches) -> tuple[list[str], str]:
    rows: list[str] = []
    kept: list[str] = []
    for line in text.splitlines(keepends=True):
        found = _LINE.match(line)
        if found and matches(location(found["uri"], found["suite"])):
            rows.append(line.strip())
        else:
            kept.append(line)
    return rows, "".join(kept)


def _without_stanzas(text: str, matches: Matches) -> tuple[list[str], str]:
    rows: list[str] = []
    kept: list[str] = []
    # The separators stay with the text: what is not taken is given back to the byte.
    for part in re.split(r"(\n(?:[ \t]*\n)+)", text):
        fields = _fields(part)
        uris, suites = fields.get("uris", "").split(), fields.get("suites", "/").split()
        taken = [uri for uri in uris if any(matches(location(uri, suite)) for suite in suites)]
        if not taken or fields.get("enabled", "yes").strip().lower() in {"no", "false", "without", "off", "disable"}:
            kept.append(part)
            continue
        rows += [f"URIs: {uri}" for uri in taken]
        if rest := [uri for uri in uris if uri not in taken]:
            kept.append(_with_uris(part, rest))
    return rows, "".join(kept)


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
