# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GRUB's menu, grub.cfg, gives to the kernels, and whether it is made from the configuration as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._changes import find_changes
from ._cmdline_request import split_tokens
from ._files import read_if_there
from ._next_kernel import Entry, parse_menu
from ._settings import Settings

UP_TO_DATE = "up to date"
# Of the entries that 10_linux makes: not those of the recovery mode, or of another init.
_NORMAL = re.compile(r"gnulinux-(?:simple-.*|.*-advanced-.*)")


@dataclass(frozen=True)
class GrubMenu:
    """arguments: the words that each normal entry gives to its kernel. changed: the newest change of what it is made of
    that came after it. interrupted: whether its last making did not end.
    """

    there: bool
    arguments: tuple[tuple[str, ...], ...]
    changed: str | None
    interrupted: bool

    def state(self, words: Sequence[str]) -> str | None:
        """`up to date` for a configuration that asks for these words, or what is wrong with it; None for no menu."""
        if not self.there:
            return None
        if self.interrupted:
            return "left by an update that did not end"
        if not self.arguments:
            return "without an entry for a kernel"
        missing = [word for word in words if not all(word in each for each in self.arguments)]
        if missing:
            return f"without {' '.join(missing)}"
        if not all(_in_order(each, words) for each in self.arguments):
            return "with another order of words"
        return f"older than {self.changed}" if self.changed else UP_TO_DATE


def read_menu(root: Path, menu: str, configuration: str, settings: Settings) -> GrubMenu:
    """configuration: the folder of drop-ins, beside which lies the file that is read before them."""
    file = root / menu.lstrip("/")
    text = read_if_there(file)
    if text is None:
        return GrubMenu(there=False, arguments=(), changed=None, interrupted=False)
    folder = Path(configuration.lstrip("/"))
    made = file.stat().st_mtime_ns
    changes = find_changes(root, (str(folder.with_name("grub")), str(folder)), settings)
    newer = [path for changed, path in changes if changed > made]
    return GrubMenu(
        there=True,
        arguments=tuple(_arguments(parse_menu(text)[0])),
        changed=newer[-1] if newer else None,
        interrupted=file.with_name(f"{file.name}.new").exists(),  # grub-mkconfig's draft, removed when it is done
    )


def _arguments(entries: Sequence[Entry]) -> Iterator[tuple[str, ...]]:
    for entry in entries:
        if _NORMAL.fullmatch(entry.id or ""):
            yield from map(split_tokens, entry.arguments)
        yield from _arguments(entry.entries)


def _in_order(arguments: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the words stand there in their order; others may be between them."""
    rest = iter(arguments)
    return all(word in rest for word in words)
