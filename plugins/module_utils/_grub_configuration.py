# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel command line that GRUB's configuration asks for, and which line of which file each word comes from.

grub-mkconfig runs /etc/default/grub and /etc/default/grub.d/*.cfg as shell scripts. They are read here, not run: what
is run may do anything, also in check mode, and does not say where a word comes from. Plain assignments are followed;
what only running the scripts could tell, and matters, is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ._files import read_if_there
from ._links import link_chain
from ._settings import SettingsError
from ._shell_commands import Command, read_commands
from ._shell_words import Part, ShellError, Word

# In the order in which 10_linux puts them into the menu; entries of the recovery mode have only the first.
_VARIABLES = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
_TARGET = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<sign>\+?=|$)")
_OPAQUE = (".", "source", "eval", "exec", "exit", "return", "read")
_WORD = re.compile(r"[^ \t]+")


@dataclass(frozen=True)
class ConfiguredWord:
    """A word of the kernel command line, and where it comes from."""

    text: str
    file: str
    line: int

    @property
    def origin(self) -> str:
        return f"{self.file} line {self.line}"


@dataclass(frozen=True)
class GrubConfiguration:
    """words: of normal entries, in their order. assigned: where GRUB_CMDLINE_LINUX_DEFAULT was assigned last."""

    words: tuple[ConfiguredWord, ...]
    assigned: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words)


@dataclass(frozen=True)
class _Piece:
    """Of a variable's value. problem: why it is not known."""

    text: str
    file: str
    line: int
    problem: str | None = None


def read_grub(root: Path, drop_in: str, text: str | None) -> GrubConfiguration:
    """What the next menu will have when the drop-in, a path on the host, holds this text, or is not there.

    Beside the folder of the drop-in lies the file that is read before it.
    """
    return read_scripts(_scripts(root, drop_in, text))


def read_scripts(scripts: Iterable[tuple[str, str]]) -> GrubConfiguration:
    """The same of scripts: their names and texts, in their order."""
    variables = _Variables()
    for file, text in scripts:
        try:
            for command in read_commands(text):
                variables.follow(command, file)
        except ShellError as error:
            raise _refusal(file, error.line, str(error)) from error
    words = [word for name in _VARIABLES for word in variables.words(name)]
    return GrubConfiguration(tuple(words), variables.assigned.get(_VARIABLES[1]))


def _scripts(root: Path, drop_in: str, text: str | None) -> Iterator[tuple[str, str]]:
    folder = Path(drop_in).parent
    found = {path.name for path in (root / folder.relative_to("/")).glob("[!.]*.cfg")} - {Path(drop_in).name}
    if text is not None:
        found.add(Path(drop_in).name)
    # As the shell that runs grub-mkconfig sorts, whatever the language.
    for file in (folder.parent / "grub", *(folder / name for name in sorted(found, key=os.fsencode))):
        if str(file) == drop_in:
            yield drop_in, text or ""
        else:
            yield str(file), read_if_there(link_chain(root, root / file.relative_to("/"))[-1]) or ""


def _refusal(file: str, line: int, problem: str) -> SettingsError:
    return SettingsError(
        f"{file} line {line} {problem}: the kernel command line can only be kept where plain assignments make it,"
        ' such as GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT quiet"'
    )


@dataclass
class _Variables:
    """What the scripts have assigned so far. assigned: where each variable got its value."""

    values: dict[str, tuple[_Piece, ...]] = field(default_factory=dict)
    assigned: dict[str, str] = field(default_factory=dict)

    def follow(self, command: Command, file: str) -> None:
        first = command.words[0]
        if first.raw in _OPAQUE:
            raise _refusal(file, first.line, f"has the command {first.raw!r}, after which anything may be otherwise")
        words = command.words[1:] if first.raw in ("export", "readonly") else command.words
        targets = [(word, _TARGET.match(word.raw)) for word in words]
        signs = [target["sign"] if target else None for _word, target in targets]
        plain = all(sign == "=" or (sign == "" and words is not command.words) for sign in signs)
        for word, target in targets:
            if target is None or (plain and not target["sign"]):
                continue
            name = target["name"]
            self.assigned[name] = f"{file} line {word.line}"
            if first.raw == "unset" and command.plain:
                self.values[name] = ()
            elif plain and command.plain:
                self.values[name] = tuple(self._resolve(word, len(target[0]), file))
            else:
                problem = _problem(name, target["sign"], plain=plain)
                self.values[name] = (_Piece("", file, word.line, problem),)

    def _resolve(self, word: Word, skipped: int, file: str) -> Iterator[_Piece]:
        first, *rest = word.parts
        for part in (Part(first.kind, first.text[skipped:], first.line), *rest):
            if part.kind == "text":
                yield _Piece(part.text, file, part.line)
            elif part.kind == "unknown":
                yield _Piece("", file, part.line, f"has {part.text}")
            elif part.text in self.values:
                yield from self.values[part.text]
            elif part.text not in _VARIABLES:
                yield _Piece("", file, part.line, f"has ${part.text}, which these files do not set")

    def words(self, name: str) -> Iterator[ConfiguredWord]:
        pieces = self.values.get(name, ())
        for piece in pieces:
            if piece.problem is not None:
                raise _refusal(piece.file, piece.line, piece.problem)
            if "\n" in piece.text or "\r" in piece.text:
                raise _refusal(piece.file, piece.line, f"puts the end of a line into {name}")
        whole = "".join(piece.text for piece in pieces)
        for found in _WORD.finditer(whole):
            position = found.start()
            for piece in pieces:
                if position < len(piece.text):
                    yield ConfiguredWord(found[0], piece.file, piece.line)
                    break
                position -= len(piece.text)


def _problem(name: str, sign: str, *, plain: bool) -> str:
    if plain:
        return f"sets {name} under a condition, or in another shell"
    if sign == "+=":
        return f"has {name}+=, which sh, by which GRUB reads it, does not know"
    return f"has {name} in a command: are quotes missing, or are there blanks around the sign?"
