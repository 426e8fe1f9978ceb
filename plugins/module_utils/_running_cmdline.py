# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line that the kernel runs with, compared with the one that the next boot will have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._cmdline_request import split_tokens, token_key
from ._files import read_if_there

# What 10_linux itself puts into the menu, and what becomes of its variable.
_OF_THE_MENU = ("root", "ro", "rw", "rootflags", "vt.handoff")
VT_HANDOFF = "$vt_handoff"
_NOT_COMPARED = re.compile(r"[\"'\\$]")  # GRUB resolves and writes anew what is quoted


@dataclass(frozen=True)
class RunningCmdline:
    """The words of /proc/cmdline. by_grub: what GRUB gave; None where another loader, or nobody, started the kernel."""

    words: tuple[str, ...]
    by_grub: tuple[str, ...] | None

    def last(self, key: str) -> str | None:
        """Of repeated tokens the one that counts for most settings."""
        return next((word for word in reversed(self.words) if token_key(word) == key), None)


def read_running(root: Path) -> RunningCmdline:
    words = split_tokens(read_if_there(root / "proc/cmdline") or "")
    start = next((number for number, word in enumerate(words) if word.startswith("BOOT_IMAGE=")), None)
    if start is None:
        return RunningCmdline(words, None)
    end = words.index("--") if "--" in words[start:] else len(words)
    return RunningCmdline(words, words[start + 1 : end])


def find_drift(
    running: RunningCmdline, configured: Sequence[str], of_the_menu: Iterable[str], ignored: Iterable[str]
) -> Mapping[str, tuple[str | None, str | None]]:
    """The keys whose tokens the next boot will change: what it will have, and what runs.

    of_the_menu: words that its entries have beyond their configuration. ignored: keys. Where GRUB did not start the
    kernel, or what it made of its words cannot be told, there are none.
    """
    own = {word for word in of_the_menu if word != VT_HANDOFF}
    if running.by_grub is None or any(map(_NOT_COMPARED.search, (*running.by_grub, *configured, *own))):
        return {}
    expected = _by_key(configured)
    actual = _by_key(word for word in running.by_grub if word in configured or word not in own)
    keys = [key for key in (expected | actual) if key not in (*ignored, *_OF_THE_MENU)]
    return {key: (expected.get(key), actual.get(key)) for key in keys if expected.get(key) != actual.get(key)}


def _by_key(words: Iterable[str]) -> dict[str, str]:
    """The different tokens of each key, in their order."""
    tokens: dict[str, list[str]] = {}
    for word in dict.fromkeys(words):
        tokens.setdefault(token_key(word), []).append(word)
    return {key: " ".join(each) for key, each in tokens.items()}
