# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where uv and its tools are on a host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """uv: its environment. tools: the folder with an environment for each. programs: where users find commands.

    uv_links: where uv makes links itself; it overwrites and removes what others have of the same name.
    python: the distribution's, as what an environment is made with must stay when projects come and go.
    """

    uv: Path = Path("/opt/mlrig/uv")
    tools: Path = Path("/opt/mlrig/tools")
    uv_links: Path = Path("/opt/mlrig/tools-bin")
    programs: Path = Path("/usr/local/bin")
    python: Path = Path("/usr/bin/python3")

    @property
    def program(self) -> Path:
        return self.uv / "bin" / "uv"

    @property
    def link(self) -> Path:
        return self.programs / "uv"

    @property
    def variables(self) -> dict[str, str]:
        """What uv is told of them; and that neither a Python nor settings of others are wanted."""
        return {
            "UV_TOOL_DIR": str(self.tools),
            "UV_TOOL_BIN_DIR": str(self.uv_links),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
        }
