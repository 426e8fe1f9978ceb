# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links by which users find the commands of uv's tools, in a folder where programs of others are, too."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ._files import make_folder


@dataclass(frozen=True)
class ToolLinks:
    """tools: the folder with an environment for each. programs: where the links are."""

    tools: Path
    programs: Path

    def read(self) -> dict[str, str]:
        """Of which tool each command is. A link of another name than its command is not ours."""
        owners = {}
        for link in sorted(self.programs.iterdir()) if self.programs.is_dir() else ():
            if link.is_symlink():
                command = link.readlink()
                environment = command.parent.parent
                if command == self.tools / environment.name / "bin" / link.name:
                    owners[link.name] = environment.name
        return owners

    def find_other(self, tool: str, commands: Collection[str], leaving: Collection[str] = ()) -> Path | None:
        """What has the name of a command, and is of another tool, or not ours. leaving: tools that will be removed."""
        owners = self.read()
        places = [self.programs / each for each in commands if owners.get(each) not in (tool, *leaving)]
        return next((each for each in places if os.path.lexists(each)), None)

    def find_fault(self, tool: str, commands: Collection[str]) -> str | None:
        there = self._list(tool)
        wrong = [f"{self.programs / each} is gone" for each in commands if each not in there]
        wrong += [f"{self.programs / each} leads nowhere" for each in there if each not in commands]
        return "; ".join(wrong) or None

    def make(self, tool: str, commands: Collection[str]) -> None:
        """Exactly these. Raises FileExistsError for what came in the way meanwhile."""
        there = self._list(tool)
        for each in there:
            if each not in commands:
                (self.programs / each).unlink()
        make_folder(self.programs)
        for each in commands:
            if each not in there:
                (self.programs / each).symlink_to(self.tools / tool / "bin" / each)

    def _list(self, tool: str) -> list[str]:
        return [name for name, owner in self.read().items() if owner == tool]
