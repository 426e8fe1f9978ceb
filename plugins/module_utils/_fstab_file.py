# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/fstab on a host: read, proved before it is replaced, and replaced whole."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ._apt import Runner
from ._files import read_if_there, refuse_if_unwritable, replace_keeping_first
from ._fstab import Row, parse
from ._settings import SettingsError

FSTAB = "/etc/fstab"
_SEVERE = re.compile(r"\s+\[E\] (.*)")
_UNREADABLE = "parse error at"


@dataclass(frozen=True)
class FstabFile:
    """root: where the host's / is. name: the file, seen from there."""

    root: Path
    run: Runner
    name: str = FSTAB

    @property
    def path(self) -> Path:
        """What is replaced: where a link leads to, so that the link stays."""
        return Path(os.path.realpath(self.root / self.name.lstrip("/")))

    def read(self) -> str:
        return read_if_there(self.path) or ""

    def rows(self, text: str | None = None) -> tuple[Row, ...]:
        return parse(self.read() if text is None else text, self.name)

    def prove(self, text: str) -> list[str]:
        """See that the file may become this text: this user may write it, and findmnt finds no fault that is new.

        Returns the faults that it has already, and keeps. Raises SettingsError.
        """
        refuse_if_unwritable(self.path)
        parse(text, self.name)
        before = list(self._faults(self.read()))
        new = [fault for fault in self._faults(text) if fault not in before or _UNREADABLE in fault]
        if new:
            raise SettingsError(f"{self.name} is as it was; findmnt --verify would say of it: {'; '.join(new)}")
        return [f"{self.name} has a fault that was there before: {fault}" for fault in before]

    def _faults(self, text: str) -> Iterator[str]:
        with _in_memory(text) as file:
            output = self.run("findmnt", "--verify", "--tab-file", file)
        target = ""
        for line in output.stdout.splitlines():
            if found := _SEVERE.fullmatch(line):
                yield f"{target}: {found[1]}"
            elif not line.startswith(" "):
                target = line
        for line in output.stderr.splitlines():
            if _UNREADABLE in line:
                yield line.removeprefix("findmnt: ").replace(file, self.name)

    def write(self, text: str) -> None:
        """Replace the file; what it was before the first time stays beside it."""
        replace_keeping_first(self.path, text)
        if (self.root / "run/systemd/system").is_dir():
            self.run("systemctl", "daemon-reload")  # it has made units of the rows, and unmounts by them too


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A file that is on no disk: a full one keeps nothing from being checked, and check mode writes none."""
    descriptor = os.memfd_create("fstab")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(text.encode(errors="surrogateescape"))
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)
