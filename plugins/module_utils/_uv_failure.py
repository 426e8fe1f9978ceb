# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why uv failed, in a few lines, each kind of cause with a message of its own."""

from __future__ import annotations

import re
from collections.abc import Callable

from ._apt import Output
from ._settings import SettingsError

_LINES = 10
_LETTERS = 200
_NETWORK = re.compile(
    r"error sending request|Request failed after|dns error|tcp connect error|[Nn]etwork connectivity is disabled"
    r"|because the network was disabled|operation timed out|HTTP status server error"
)
_NO_INTERPRETER = re.compile(r"No interpreter found (?:for|at path) (?:Python )?`?(.+?)`?(?: in .*)?$", re.MULTILINE)
_BROKEN_INTERPRETER = re.compile(r"(?:Querying Python at|Failed to inspect Python interpreter).*`(.+?)`")
_NOISE = re.compile(r"\s*(?:\d+ )?(?:\|.*)?|hint: .*|Using C.*|Resolved \d.*")
_SETTINGS = "during settings discovery"

# What uv says, and what that means. The first that is found counts.
_CAUSES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"os error (?:28|122)\)"), "the disk is full, or a quota is used up"),
    (_NETWORK, "the index cannot be reached, and the cache does not suffice"),
    (re.compile(r"os error (?:13|1|30)\)"), "it cannot be written or read by its owner"),
    (re.compile(r"Failed to parse: .*pyproject\.toml"), "pyproject.toml is broken"),
    (re.compile(_SETTINGS), "uv cannot read its settings, and would go on without them"),
    (re.compile(r"uses an unsupported schema version"), "uv.lock was written by another version of uv"),
    (re.compile(r"incompatible with the project's Python requirement"), "that Python is not for this project"),
    (re.compile(r"^error: (?:Extra|Group) `", re.MULTILINE), "pyproject.toml has no such thing"),
    (re.compile(r"Hash mismatch"), "what the index serves is not what uv.lock names"),
    (re.compile(r"is missing an upload date"), "the index tells no dates of uploads, which exclude-newer takes"),
    (re.compile(r"No solution found"), "no set of versions satisfies pyproject.toml"),
    (re.compile(r"Failed to build|build backend"), "a package could not be built"),
)


class InterpreterMissingError(SettingsError):
    """wanted: the Python that uv wanted, and did not find."""

    def __init__(self, wanted: str, there: str) -> None:
        super().__init__(f"there is no interpreter for it: wanted is Python {wanted}, this host has {there}")
        self.wanted = wanted


class InterpreterBrokenError(SettingsError):
    """interpreter: the one that uv found, and could not use."""

    def __init__(self, interpreter: str, said: str) -> None:
        super().__init__(f"the interpreter does not work: {said}")
        self.interpreter = interpreter


def lacks_network(output: Output) -> bool:
    return bool(output.code and _NETWORK.search(output.stderr))


def refuse_ignored_settings(output: Output) -> None:
    """uv goes on without the settings that it could not read, and so with another index than was wanted."""
    if _SETTINGS in output.stderr:
        raise failure(output, lambda: ())


def failure(output: Output, list_interpreters: Callable[[], tuple[str, ...]]) -> SettingsError:
    """What to raise. list_interpreters: which Pythons there are, asked where it was a Python that was missing."""
    if missing := _NO_INTERPRETER.search(output.stderr):
        return InterpreterMissingError(missing[1], ", ".join(list_interpreters()) or "none")
    if broken := _BROKEN_INTERPRETER.search(output.stderr):
        return InterpreterBrokenError(broken[1], explain(output.stderr))
    meaning = next((meaning for pattern, meaning in _CAUSES if pattern.search(output.stderr)), "uv failed")
    return SettingsError(f"{meaning}: {explain(output.stderr)}")


def explain(text: str) -> str:
    """The lines of uv's output that tell why it failed, without the pictures of where."""
    lines = [_shorten(line.rstrip()) for line in text.splitlines() if not _NOISE.fullmatch(line)]
    begins = ("error: ", "warning: ")
    first = next((number for begin in begins for number, line in enumerate(lines) if line.startswith(begin)), 0)
    told = lines[first:]
    if len(told) > _LINES:
        told = [*told[: _LINES // 2], "...", *told[-_LINES // 2 :]]
    return "\n".join(told).removeprefix("error: ").removeprefix("warning: ") or "it said nothing"


def _shorten(line: str) -> str:
    return line if len(line) <= _LETTERS else f"{line[:_LETTERS]}..."
