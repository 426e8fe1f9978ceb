# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's apt and dpkg as a runner: what is installed, what apt could take, and every command that was run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output, parse_simulation
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_packages import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_request import parse_request
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, converge

from .conftest import Host

_DPKG = "dpkg\tamd64\t1.22\tinstall\tok\tinstalled\t\n"
DEFAULTS: dict[str, Any] = {
    "packages": [],
    "absent": [],
    "allow": [],
    "update_cache": True,
    "downgrade": False,
    "remove": False,
    "purge": False,
}


@dataclass
class FakeApt:
    """installed: versions by name; after a slash, another status than `installed`. candidates: what apt would take.

    simulation: what apt-get --simulate says, and then does. owners: the package that brought a file. diversions: where
    each file went. answers: what else commands say, by their beginning.
    """

    host: Host
    installed: dict[str, str] = field(default_factory=dict)
    candidates: dict[str, str | None] = field(default_factory=dict)
    simulation: str | Callable[[tuple[str, ...]], str] = ""
    provides: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    diversions: dict[str, str] = field(default_factory=dict)
    answers: dict[str, list[Output]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def __call__(self, *command: str) -> Output:
        said = " ".join(word for word in command if not word.startswith(("--option", "--yes", "--quiet", "--fix")))
        self.commands.append(said)
        for beginning, outputs in self.answers.items():
            if said.startswith(beginning) and outputs:
                return outputs.pop(0)
        match command[:2]:
            case ("dpkg-query", "--show"):
                return Output(0, _DPKG + "".join(map(self._line, self.installed)))
            case ("dpkg-query" | "dpkg-divert", *_rest):
                return self._search(command[2]) if command[0] == "dpkg-query" else self._divert(command)
            case ("apt-cache", *_rest):
                names = command[command.index("policy") + 1 :]
                return Output(0, "".join(map(self._policy, names)))
            case ("apt-get", "--simulate"):
                return Output(0, self._simulate(command))
            case ("apt-get", *_rest) if "install" in command:
                for change in parse_simulation(self._simulate(command)):
                    if change.after is None:
                        del self.installed[change.name]
                    else:
                        self.installed[change.name] = change.after
        return Output(0)

    def _search(self, file: str) -> Output:
        lines = [f"diversion by local {way}: {file}\n" for way in ("from", "to") if file in self.diversions]
        lines += [f"{self.owners[file]}: {file}\n"] if file in self.owners else []
        return Output(0, "".join(lines)) if lines else Output(1)

    def _divert(self, command: tuple[str, ...]) -> Output:
        file = command[-1]
        match command[-2]:
            case "--add":
                self.diversions[file] = command[command.index("--divert") + 1]
            case "--remove":
                here, backup = self.host.path(file), self.host.path(self.diversions[file])
                if "--rename" in command and backup.exists():
                    if here.exists():
                        return Output(2, "", "dpkg-divert: error: rename involves overwriting\n")
                    backup.rename(here)
                del self.diversions[file]
            case "--truename":
                return Output(0, self.diversions.get(file, file) + "\n")
            case _:
                return Output(
                    0, "".join(f"local diversion of {name} to {to}\n" for name, to in self.diversions.items())
                )
        return Output(0)

    def _simulate(self, command: tuple[str, ...]) -> str:
        return self.simulation if isinstance(self.simulation, str) else self.simulation(command)

    def _line(self, name: str) -> str:
        version, _slash, status = self.installed[name].partition("/")
        name, _colon, architecture = name.partition(":")
        status = status or "installed"
        flag = "reinstreq" if status == "half-installed" else "ok"
        provides = self.provides.get(name, "")
        return "\t".join((name, architecture or "amd64", version, "install", flag, status, provides)) + "\n"

    def _policy(self, name: str) -> str:
        if name not in self.candidates:
            return ""
        return f"{name}:\n  Installed: (none)\n  Candidate: {self.candidates[name] or '(none)'}\n  Version table:\n"

    def changing(self) -> list[str]:
        """The commands that change something."""
        reading = (
            "dpkg-query",
            "dpkg-divert --list",
            "dpkg-divert --truename",
            "apt-cache",
            "apt-get --simulate",
            "apt-config",
        )
        return [command for command in self.commands if not command.startswith(reading)]

    def packages(self, *, check_mode: bool = False, **options: Any) -> Settings:
        request = parse_request(DEFAULTS | options)
        return converge(lambda: make_plan(request, self, self.host.root, check_mode=check_mode), check_mode=check_mode)
