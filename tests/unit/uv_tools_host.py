# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv_tools is tested on: a host in a temporary folder, with a venv, a pip and a uv that make files only."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output, Runner
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, converge
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_owner import Owner
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_tools import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_tools_places import Places
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_tools_request import parse_tools

from .uv_host import install

HASH = "sha256:" + "a" * 64
# The commands of a version of a tool.
COMMANDS = {
    "monitor==1.0": ("monitor", "old"),
    "monitor==2.0": ("monitor", "new"),
    "rival==1.0": ("monitor",),
    "second==1.0": ("second",),
}


def options_of(*tools: str, **options: Any) -> dict[str, Any]:
    """What a user says to the module. tools: each as name==version."""
    entries = [dict(zip(("name", "version"), each.split("=="), strict=True)) for each in tools]
    others = {"version": "0.13.8", "hashes": [HASH], "exclude_newer": None, "index": None, "environment": {}}
    return {**others, "tools": entries, **options}


def places_in(root: Path, python: Path) -> Places:
    return Places(root / "uv", root / "tools", root / "tools-bin", root / "programs", python)


@dataclass
class ToolsHost:
    """answers: what a command says instead of acting, by how it begins. environment: what it was run with."""

    root: Path
    answers: dict[str, Output] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for version in ("3.11", "3.12"):
            (self.root / f"python{version}").touch(mode=0o755)
        self.set_python("3.11")

    @property
    def places(self) -> Places:
        return places_in(self.root, self.root / "python3")

    def set_python(self, version: str) -> None:
        (self.root / "python3").unlink(missing_ok=True)
        (self.root / "python3").symlink_to(self.root / f"python{version}")

    def converge(self, *tools: str, check_mode: bool = False, **options: Any) -> Settings:
        request = parse_tools(options_of(*tools, **options))
        return converge(lambda: make_plan(request, self.places, self.runner), check_mode=check_mode)

    def runner(self, _owner: Owner, _folder: Path, environment: Mapping[str, str]) -> Runner:
        self.environment = environment
        return self.run

    def run(self, *command: str) -> Output:
        call = " ".join(command).replace(f"{self.root}/", "")
        self.calls.append(call)
        for begin, answer in self.answers.items():
            if call.startswith(begin):
                return answer
        package = command[-1]
        match call.split()[:3]:
            case ["python3", "-m", "venv"]:
                self.make_environment(self.places.uv)
            case ["uv/bin/python", "-m", "pip"]:
                wanted = (self.places.uv / "requirements.txt").read_text().split()[0]
                self.install(self.places.uv, "uv", wanted.removeprefix("uv=="), ("uv",))
            case ["uv/bin/uv", "tool", "install"]:
                name, version = package.split("==")
                folder = self.places.tools / name
                self.make_environment(folder)
                (folder / "uv-receipt.toml").touch()
                self.install(folder, name, version, COMMANDS[package])
                install(folder, "beta", "1.0", {"beta.py": "x = 1\n"})
            case ["uv/bin/uv", "tool", "uninstall"]:
                shutil.rmtree(self.places.tools / package)
            case ["uv/bin/uv", "pip", "check"]:
                if not any(Path(package).glob("lib/*/site-packages/beta-*")):
                    return Output(
                        1, "", "Found 1 incompatibility\nThe package `monitor` requires `beta`, but it's not\n"
                    )
            case _:
                raise AssertionError(call)
        return Output(0)

    def make_environment(self, folder: Path) -> None:
        if folder.is_dir():
            shutil.rmtree(folder)
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/python").symlink_to(self.places.python)
        (folder / "lib" / self.places.python.resolve().name / "site-packages").mkdir(parents=True)
        (folder / "pyvenv.cfg").write_text(f"home = {self.root}\n")

    def install(self, folder: Path, name: str, version: str, commands: tuple[str, ...]) -> None:
        for old in folder.glob(f"lib/*/site-packages/{name}-*"):
            shutil.rmtree(old)
        install(
            folder, name, version, {f"{name}.py": "x = 1\n", **{f"../../../bin/{each}": "y\n" for each in commands}}
        )
