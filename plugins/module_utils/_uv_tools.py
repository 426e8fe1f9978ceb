# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv itself, in an environment of its own, and programs that it installs as its tools; compared, and mended."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ._apt import Runner
from ._files import make_folder, refuse_if_unwritable
from ._pip_install import make_environment, pip_install
from ._settings import Setting, Settings, SettingsError
from ._tool_links import ToolLinks
from ._uv_failure import explain, lacks_network
from ._uv_owner import Owner, locate, owners_runner
from ._uv_request import normalise
from ._uv_tool_environment import Found, find_fault_of_python, find_missing_dependencies, is_environment, look_into
from ._uv_tools_places import Places
from ._uv_tools_request import Tool, ToolsRequest

_FOR_ALL_USERS = 0o022


@dataclass(frozen=True)
class _Task:
    """What is to be done for one tool. installs: whether more than its links is to be made."""

    tool: Tool
    setting: Setting
    installs: bool


@dataclass
class ToolsPlan:
    """uv, the link to it, and each tool: the records, and what is to be done."""

    request: ToolsRequest
    places: Places
    run: Runner
    settings: Settings = field(default_factory=Settings)
    installs_uv: bool = False
    clears_uv: bool = False
    links_uv: bool = False
    tasks: list[_Task] = field(default_factory=list)
    removals: dict[str, Setting] = field(default_factory=dict)

    @property
    def links(self) -> ToolLinks:
        return ToolLinks(self.places.tools, self.places.programs)

    def look(self) -> None:
        """Compare, and record. Changes nothing. Raises SettingsError for what is in the way."""
        self._look_at_uv()
        unwanted = self._list_unwanted()
        for tool in self.request.tools:
            self._look_at_tool(tool, unwanted)
        for name in unwanted:
            folder = self.places.tools / name
            found = look_into(folder, name)
            self.removals[name] = self._compare(folder, None, replace(found, actual=found.actual or "links only"))
        if self.settings.differing:
            for folder in (self.places.uv, self.places.tools, self.places.programs):
                refuse_if_unwritable(folder / "any")

    def apply(self) -> None:
        before = os.umask(_FOR_ALL_USERS)
        try:
            if self.installs_uv:
                self._install_uv()
            if self.links_uv:
                make_folder(self.places.programs)
                self.places.link.symlink_to(self.places.program)
            for name, setting in self.removals.items():
                self._attempt(setting, partial(self._remove, name))
            for task in self.tasks:
                self._attempt(task.setting, partial(self._mend, task))
        finally:
            os.umask(before)

    def _look_at_uv(self) -> None:
        uv, link, program = self.places.uv, self.places.link, str(self.places.program)
        found = look_into(uv, "uv")
        self.installs_uv = self._compare(uv, self.request.uv, found).action != "none"
        # pip can go from a sound version to another, so that one is there when the index is not.
        self.clears_uv = found.reason is not None or not found.commands or find_fault_of_python(uv) is not None
        actual = str(link.readlink()) if link.is_symlink() else None
        if os.path.lexists(link) and actual != program:
            reason = f"{link} is another program; that of this collection is {program}"
            self.settings.skip(str(link), "persisted", program, actual or "another program", reason)
        else:
            self.links_uv = self._compare(link, program, Found(actual)).action != "none"

    def _list_unwanted(self) -> list[str]:
        """Tools that nobody asks for any more, and those of which only links are left."""
        tools = self.places.tools
        there = [each.name for each in tools.iterdir() if is_environment(each)] if tools.is_dir() else []
        names = {each for each in (*there, *self.links.read().values()) if each == normalise(each)}
        return sorted(names - {tool.name for tool in self.request.tools})

    def _look_at_tool(self, tool: Tool, unwanted: list[str]) -> None:
        folder = self.places.tools / tool.name
        found = look_into(folder, tool.name)
        # Before it is installed, one may guess that its command is called as it is.
        other = self.links.find_other(tool.name, found.commands or (tool.name,), unwanted)
        if other is not None:
            self.settings.skip(str(folder), "persisted", tool.version, found.actual, _describe_other(other, tool))
            return
        installs = found.actual != tool.version
        if not installs:
            fault = self._find_fault(folder)
            installs = fault is not None
            fault = fault or self.links.find_fault(tool.name, found.commands)
            if fault is not None:
                found = replace(found, actual=f"{found.actual}, not whole", reason=fault)
        setting = self._compare(folder, tool.version, found)
        if setting.action != "none":
            self.tasks.append(_Task(tool, setting, installs))

    def _find_fault(self, folder: Path) -> str | None:
        """In what other packages do for it. uv can be asked when it is whole."""
        fault = find_fault_of_python(folder)
        if fault is not None or self.installs_uv:
            return fault
        return find_missing_dependencies(folder, str(self.places.program), self.run)

    def _compare(self, place: Path, expected: str | None, found: Found) -> Setting:
        return self.settings.compare(str(place), "persisted", expected, found.actual, reason=found.reason)

    def _install_uv(self) -> None:
        uv, request = self.places.uv, self.request
        if self.clears_uv:
            make_environment(self.run, self.places.python, uv)
        pip_install(self.run, uv, f"uv=={request.uv}", request.hashes, request.index)

    def _attempt(self, setting: Setting, act: Callable[[], None]) -> None:
        """One tool keeps no other from being mended."""
        try:
            act()
        except SettingsError as error:
            self.settings.amend(setting, "failed", str(error))

    def _mend(self, task: _Task) -> None:
        tool, folder = task.tool, self.places.tools / task.tool.name
        if task.installs:
            # --force makes the environment anew, once all versions are found: one without pyvenv.cfg would else lead
            # uv into the system. Without the cache, as installed files would be hard links, and share its damage.
            until = () if self.request.exclude_newer is None else (f"--exclude-newer={self.request.exclude_newer}",)
            options = ("--force", "--no-cache", f"--python={self.places.python}", *until)
            self._uv("install", *options, f"{tool.name}=={tool.version}")
        commands = look_into(folder, tool.name).commands
        other = self.links.find_other(tool.name, commands)
        if other is None:
            self.links.make(tool.name, commands)
        else:
            self.settings.amend(task.setting, "skipped", _describe_other(other, tool))

    def _remove(self, name: str) -> None:
        """A killed run leaves one without the other, and either is found. No user meets a link that leads nowhere."""
        self.links.make(name, ())
        if (self.places.tools / name).is_dir():
            self._uv("uninstall", name)

    def _uv(self, *arguments: str) -> None:
        output = self.run(str(self.places.program), "tool", *arguments)
        if output.code:
            cause = "the index cannot be reached: " if lacks_network(output) else ""
            raise SettingsError(cause + explain(output.stderr))


def _describe_other(other: Path, tool: Tool) -> str:
    return f"{other} is another program: remove it, or leave {tool.name} out"


def make_plan(
    request: ToolsRequest,
    places: Places,
    make_runner: Callable[[Owner, Path, Mapping[str, str]], Runner] = owners_runner,
) -> ToolsPlan:
    """Look at all, compare, and say what to do. Changes nothing."""
    index = {} if request.index is None else {"UV_DEFAULT_INDEX": request.index}
    owner, _folder = locate(str(places.uv), pwd.getpwuid(os.geteuid()).pw_name, "uv")
    environment = {**request.environment, **index, **places.variables}
    plan = ToolsPlan(request, places, make_runner(owner, Path("/"), environment))
    plan.look()
    return plan
