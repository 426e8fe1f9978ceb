# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv itself, in an environment of its own, and programs that it installs as its tools; compared, and mended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ._apt import Output, Runner
from ._files import make_folder, refuse_if_unwritable, replace
from ._settings import RequestError, Settings, SettingsError
from ._uv_failure import explain, failure
from ._uv_owner import Owner, locate, owners_runner
from ._uv_tool_environment import Found, find_fault_of_python, find_missing_dependencies, is_in_the_way, look_into
from ._uv_tools_request import Tool, ToolsRequest

# The distribution's: what an environment is made with must stay when projects come and go.
PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Places:
    """uv: its environment. tools: the folder with an environment for each. programs: where users find commands."""

    uv: Path = Path("/opt/mlrig/uv")
    tools: Path = Path("/opt/mlrig/tools")
    programs: Path = Path("/usr/local/bin")

    @property
    def program(self) -> Path:
        return self.uv / "bin" / "uv"

    @property
    def link(self) -> Path:
        return self.programs / "uv"


@dataclass
class ToolsPlan:
    """uv, the link to it, and each tool: the records, and what is to be done."""

    request: ToolsRequest
    places: Places
    run: Runner
    settings: Settings = field(default_factory=Settings)
    installs_uv: bool = False
    links_uv: bool = False
    installs: list[Tool] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Compare, and record. Changes nothing. Raises SettingsError for what is in the way."""
        self._look_at_uv()
        for tool in self.request.tools:
            self._look_at_tool(tool)
        wanted = {tool.name for tool in self.request.tools}
        there = self.places.tools.iterdir() if self.places.tools.is_dir() else ()
        for folder in sorted(there):
            if folder.is_dir() and folder.name not in wanted:
                self._compare(folder, None, look_into(folder, folder.name))
                self.removes.append(folder.name)
        if self.settings.differing:
            refuse_if_unwritable(self.places.program)

    def apply(self) -> None:
        if self.installs_uv:
            self._install_uv()
        if self.links_uv:
            make_folder(self.places.programs)
            self.places.link.unlink(missing_ok=True)
            self.places.link.symlink_to(self.places.program)
        for tool in self.installs:
            for link in self._list_links(tool.name):  # those without a tool would be in uv's way
                link.unlink()
            self._uv("install", "--reinstall", *self._options(), f"{tool.name}=={tool.version}")
        for name in self.removes:
            self._uv("uninstall", name)

    def _look_at_uv(self) -> None:
        uv, link = self.places.uv, self.places.link
        if is_in_the_way(uv):
            raise RequestError(f"{uv} is in the way, as it is no environment of uv: move it away")
        self.installs_uv = self._compare(uv, self.request.uv, look_into(uv, "uv"))
        actual = str(link.readlink()) if link.is_symlink() else None
        if actual is None and link.exists():
            reason = f"{link} is another program; that of this collection is {self.places.program}"
            self.settings.skip(str(link), "persisted", str(self.places.program), "another program", reason)
        else:
            self.links_uv = self._compare(link, str(self.places.program), Found(actual))

    def _look_at_tool(self, tool: Tool) -> None:
        folder = self.places.tools / tool.name
        found, ours = look_into(folder, tool.name), self._list_links(tool.name)
        for command in {tool.name, *found.commands}:
            link = self.places.programs / command
            if os.path.lexists(link) and link not in ours:
                reason = f"{link} is another program: remove it, or leave {tool.name} out"
                self.settings.skip(str(folder), "persisted", tool.version, found.actual, reason)
                return
        if found.actual == tool.version:
            found = self._look_closer(folder, found)
        if self._compare(folder, tool.version, found):
            self.installs.append(tool)

    def _look_closer(self, folder: Path, found: Found) -> Found:
        """At what other packages and links do for it."""
        fault = find_fault_of_python(folder)
        if fault is None:
            gone = [each for each in found.commands if not (self.places.programs / each).exists()]
            fault = f"{self.places.programs / gone[0]} is gone" if gone else None
        if fault is None and not self.installs_uv:
            fault = find_missing_dependencies(folder, str(self.places.program), self.run)
        return found if fault is None else Found(f"{found.actual}, not whole", fault)

    def _list_links(self, tool: str) -> list[Path]:
        folder, programs = self.places.tools / tool, self.places.programs
        links = [each for each in programs.iterdir() if each.is_symlink()] if programs.is_dir() else []
        return [each for each in links if each.readlink().is_relative_to(folder)]

    def _compare(self, place: Path, expected: str | None, found: Found) -> bool:
        """Whether it differs."""
        actual = found.actual
        return self.settings.compare(str(place), "persisted", expected, actual, reason=found.reason).action != "none"

    def _install_uv(self) -> None:
        """Cleared first, so that what a killed run left is of no concern. pip refuses what has another hash."""
        uv, request = self.places.uv, self.request
        make_folder(uv.parent)
        _succeed(self.run(PYTHON, "-m", "venv", "--clear", str(uv)), "cannot make an environment (python3-venv)")
        requirements = uv / "requirements.txt"
        replace(requirements, " ".join([f"uv=={request.uv}", *(f"--hash={each}" for each in request.hashes)]) + "\n")
        pip = (str(uv / "bin" / "python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
        exact = (
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--no-cache-dir",
            f"--requirement={requirements}",
        )
        index = () if request.index is None else (f"--index-url={request.index}",)
        _succeed(self.run(*pip, *exact, *index), "pip cannot install uv")

    def _uv(self, *arguments: str) -> None:
        output = self.run(str(self.places.program), "tool", *arguments)
        if output.code:
            raise failure(output, lambda: ())

    def _options(self) -> tuple[str, ...]:
        until = () if self.request.exclude_newer is None else (f"--exclude-newer={self.request.exclude_newer}",)
        # Without the cache, of which installed files would be hard links, and damage to one damage to the other.
        return ("--no-cache", f"--python={PYTHON}", *until)


def _succeed(output: Output, meaning: str) -> None:
    if output.code:
        raise SettingsError(f"{meaning}: {explain(output.text)}")


def make_plan(
    request: ToolsRequest,
    places: Places,
    make_runner: Callable[[Owner, Path, Mapping[str, str]], Runner] = owners_runner,
) -> ToolsPlan:
    """Look at all, compare, and say what to do. Changes nothing."""
    index = {} if request.index is None else {"UV_DEFAULT_INDEX": request.index}
    ours = {
        "UV_TOOL_DIR": str(places.tools),
        "UV_TOOL_BIN_DIR": str(places.programs),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
    }
    owner, _folder = locate(str(places.uv), None, "uv")
    plan = ToolsPlan(request, places, make_runner(owner, Path("/"), {**index, **(request.environment or {}), **ours}))
    plan.look()
    return plan
