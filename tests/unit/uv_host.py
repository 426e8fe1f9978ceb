# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv projects are tested on: a uv that gives recorded answers, and wheels and environments made here."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output, Runner
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, converge
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_owner import Owner
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_project import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_request import parse_projects

PYPROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["alpha"]\n'
ME = pwd.getpwuid(os.geteuid()).pw_name
Key = tuple[str, ...]


def record_line(name: str, content: bytes) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


def contents_of(name: str, version: str, files: Mapping[str, str], requires: Sequence[str] = ()) -> dict[str, bytes]:
    """All that is in a wheel, or lies in an environment when that is installed."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    texts = {
        **files,
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents = {path: text.encode() for path, text in texts.items()}
    record = "".join(record_line(path, content) for path, content in contents.items())
    return {**contents, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str], requires: Sequence[str] = ()) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in contents_of(name, version, files, requires).items():
            wheel.writestr(path, content)


def install(environment: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """Returns its folder of metadata."""
    site = next(environment.glob("lib/python3.*/site-packages"), environment / "lib/python3.11/site-packages")
    for path, content in contents_of(name, version, files).items():
        file = site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return site / f"{name}-{version}.dist-info"


def listing(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything in a folder, to tell whether anything changed."""
    return {
        str(path): (status.st_mode, status.st_mtime_ns, str(path.readlink()) if path.is_symlink() else "")
        for path in sorted(folder.rglob("*"))
        for status in [path.lstat()]
    }


def converge_real(
    uv: str, entries: Sequence[Mapping[str, Any]], environment: Mapping[str, str], **options: Any
) -> Settings:
    """With the real uv."""
    check_mode, damage = options.get("check_mode", False), options.get("damage", "sizes")
    projects = parse_projects(entries, environment)
    return converge(lambda: make_plan(projects, uv, damage, check_mode=check_mode), check_mode=check_mode)


def differing(settings: Settings) -> list[tuple[str, str | None, str | None]]:
    return [(each.id, each.expected, each.actual) for each in settings.differing]


@dataclass
class FakeUv:
    """A project and a uv that knows no more than its answers. calls: what it was asked.

    answers: by how a call begins, of several that fit the longest; a call ends with an end of line. acts: what is done
    before an answer, in the same way. version: whether it works at all, which is asked first and is in no calls.
    """

    folder: Path
    answers: dict[str, Output] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    acts: dict[str, Any] = field(default_factory=dict)
    version: Output = field(default_factory=lambda: Output(0, "uv 0.13.8\n"))

    @property
    def program(self) -> str:
        return str(self.folder.parent / "uv")

    def __post_init__(self) -> None:
        Path(self.program).touch()
        self.answers = {"lock --check": Output(0), "sync": self.synced()} | self.answers

    def synced(self, *changes: tuple[str, str, str], action: str = "check", code: int = 0, **more: str) -> Output:
        """The answer of uv 0.13.8 to `uv sync --output-format json`. changes: name, version, action."""
        path = more.get("path", str(self.folder / ".venv"))
        answer = {
            "schema": {"version": "preview"},
            "target": "project",
            "project": {
                "path": str(self.folder),
                "workspace": {"path": more.get("workspace", str(self.folder))},
            },
            "sync": {
                "environment": {
                    "path": path,
                    "python": {
                        "path": f"{path}/bin/python",
                        "version": more.get("python", "3.11.2"),
                        "implementation": "cpython",
                    },
                },
                "action": action,
                "changes": [{"name": name, "version": version, "action": action} for name, version, action in changes],
            },
            "lock": {"path": str(self.folder / "uv.lock"), "action": "use"},
            "dry_run": True,
        }
        return Output(code, json.dumps(answer))

    def runner(self, _owner: Owner, _folder: Path, _environment: Mapping[str, str]) -> Runner:
        return self.run

    def run(self, *command: str) -> Output:
        call = " ".join(command).replace(f"{self.program} ", "")
        if call == "--version":
            return self.version
        self.calls.append(call)
        for begin, act in list(self.acts.items()):
            if f"{call}\n".startswith(begin):
                act()
        begins = [begin for begin in self.answers if f"{call}\n".startswith(begin)]
        return self.answers[max(begins, key=len)] if begins else Output(0)

    def make_project(self) -> None:
        """A project in step, as far as files go."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "pyproject.toml").write_text(PYPROJECT)
        (self.folder / "uv.lock").write_text("version = 1\n")
        self.make_environment()

    def make_environment(self) -> None:
        environment = self.folder / ".venv"
        (environment / "bin").mkdir(parents=True, exist_ok=True)
        (environment / "bin/python").touch()
        (environment / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.11.2\n")
        install(environment, "alpha", "1.0", {"alpha/__init__.py": "x = 1\n"})

    def converge(self, *, check_mode: bool = False, damage: str = "sizes", **entry: Any) -> Settings:
        projects = parse_projects([{"path": str(self.folder), "owner": ME, **entry}], {})
        return converge(
            lambda: make_plan(projects, self.program, damage, check_mode=check_mode, make_runner=self.runner),
            check_mode=check_mode,
        )
