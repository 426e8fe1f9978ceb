# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a shell script, read and never run: which text is certain, and which only running it would tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = "0123456789@*#?$!-"  # the names of parameters that are no variables
_OPERATORS = ("&&", "||", ";;", "\n", ";", "&", "|", "(", ")")
_ENDS = " \t\n;&|()<>"


class ShellError(Exception):
    """What cannot be read: the line, and what is wrong with it."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


@dataclass(frozen=True)
class Part:
    """Of a word: text, the name of a variable whose value stands here, or what only running it would tell."""

    kind: Literal["text", "variable", "unknown"]
    text: str
    line: int


@dataclass(frozen=True)
class Word:
    """raw: as it is written. parts: without quotes and escapes."""

    raw: str
    line: int
    parts: tuple[Part, ...]


def read_words(text: str) -> Iterator[Word | str]:
    """Words, and the operators between them as texts; a redirection is a word. Raises ShellError."""
    return _Reader(text).tokens()


class _Reader:
    """A place in a script, and what may stand there."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1

    def tokens(self) -> Iterator[Word | str]:
        while (character := self._next()) != "":
            if character in " \t" or self._sees("\\\n"):
                self._take(1 if character in " \t" else 2)
            elif character == "#":
                self._take(len(self._text[self._at :].partition("\n")[0]))
            elif self._sees("<<"):
                raise ShellError(self._line, "has a here-document")
            elif character in "<>":
                raw = self._take()
                yield Word(raw + (self._take() if self._next() in (">", "&") else ""), self._line, ())
            elif operator := next(filter(self._sees, _OPERATORS), None):
                yield self._take(len(operator))
            else:
                yield self._word()

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _sees(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _take(self, count: int = 1) -> str:
        taken = self._text[self._at : self._at + count]
        self._at += count
        self._line += taken.count("\n")
        return taken

    def _word(self) -> Word:
        start, line = self._at, self._line
        parts: list[Part] = []
        while (character := self._next()) != "" and character not in _ENDS:
            if character == '"':
                parts += self._double_quoted()
            elif character == "'":
                opened = self._line
                self._take()
                parts += self._text_until("'", opened)
            elif character == "\\":
                parts += self._escaped(everything=True)
            else:
                parts.append(self._plain())
        return Word(self._text[start : self._at], line, _merged(parts))

    def _double_quoted(self) -> Iterator[Part]:
        opened = self._line
        self._take()
        while not self._sees('"'):
            if self._next() == "":
                raise ShellError(opened, 'has a " without its end')
            if self._next() == "\\":
                yield from self._escaped(everything=False)
            else:
                yield self._plain()
        self._take()

    def _text_until(self, end: str, opened: int) -> Iterator[Part]:
        while not self._sees(end):
            if self._next() == "":
                raise ShellError(opened, f"has a {end} without its end")
            line = self._line
            yield Part("text", self._take(), line)
        self._take()

    def _escaped(self, *, everything: bool) -> Iterator[Part]:
        """In double quotes a backslash stands for itself before most characters."""
        line = self._line
        both = self._take(2)
        if both == "\\\n":
            return
        escapes = everything or both[1:] in tuple('$`"\\')
        yield Part("text", both[1:] if escapes else both, line)

    def _plain(self) -> Part:
        line = self._line
        if self._sees("`"):
            return Part("unknown", self._enclosed("`", "`"), line)
        if self._sees("$("):
            return Part("unknown", self._take() + self._enclosed("(", ")"), line)
        if self._sees("${"):
            raw = self._take() + self._enclosed("{", "}")
            plain = _NAME.fullmatch(raw[2:-1])
            return Part("variable", raw[2:-1], line) if plain else Part("unknown", raw, line)
        if self._sees("$") and (name := _NAME.match(self._text, self._at + 1)):
            self._take(1 + len(name[0]))
            return Part("variable", name[0], line)
        if self._sees("$") and self._text[self._at + 1 : self._at + 2] in tuple(_SPECIAL):
            return Part("unknown", self._take(2), line)
        return Part("text", self._take(), line)

    def _enclosed(self, begin: str, end: str) -> str:
        """What is between brackets, or backquotes, with them. Brackets in quotes are none."""
        start, opened = self._at, self._line
        self._take()
        depth = 1
        while depth:
            character = self._take()
            if character == "":
                raise ShellError(opened, f"has a {begin} without its end")
            if character == "\\":
                self._take()
            elif character == end:
                depth -= 1
            elif character == begin:
                depth += 1
            elif character in "'\"" and begin != "`":
                while self._next() not in (character, ""):
                    self._take(2 if character == '"' and self._next() == "\\" else 1)
                self._take()
        return self._text[start : self._at]


def _merged(parts: list[Part]) -> tuple[Part, ...]:
    """Texts of one line that follow each other, as one."""
    merged: list[Part] = []
    for part in parts:
        before = merged[-1] if merged else None
        if before and before.kind == part.kind == "text" and before.line == part.line:
            merged[-1] = Part("text", before.text + part.text, part.line)
        else:
            merged.append(part)
    return tuple(merged)
