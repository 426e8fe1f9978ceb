# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of a shell script, and which of them are run in any case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ._shell_words import ShellError, Word, read_words

_OPENING = ("if", "while", "until", "for", "case", "{")
_CLOSING = ("fi", "done", "esac", "}")
_INNER = ("then", "else", "elif", "do", "!")
_JOINING = ("&&", "||", "|")


@dataclass(frozen=True)
class Command:
    """plain: run in any case, and by the shell itself: under no condition, in no loop, pipe or subshell."""

    words: tuple[Word, ...]
    plain: bool


def read_commands(text: str) -> Iterator[Command]:
    """The simple commands of a script, in their order. Raises ShellError for what cannot be read."""
    depth = parentheses = 0
    joined = False  # to the command before by one of _JOINING
    words: list[Word] = []
    for item in (*read_words(text), "\n"):
        if isinstance(item, Word):
            words.append(item)
            continue
        while words and words[0].raw in (*_OPENING, *_CLOSING, *_INNER):
            keyword = words.pop(0)
            depth += (keyword.raw in _OPENING) - (keyword.raw in _CLOSING)
            if depth < 0:
                raise ShellError(keyword.line, f"has a {keyword.raw} without its beginning")
        if words:
            plain = depth == parentheses == 0 and not joined and item not in (*_JOINING, "&")
            yield Command(tuple(words), plain)
        if words or item != "\n":  # a line may end after an operator
            joined = item in _JOINING
        words = []
        parentheses = max(0, parentheses + (item == "(") - (item == ")"))  # in case, one has no beginning
    if depth or parentheses:
        raise ShellError(text.count("\n") + 1, "is the end of the file, within a block")
