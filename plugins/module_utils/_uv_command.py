# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How uv is called: from the cache where that suffices, without traces in check mode."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._apt import Output, Runner
from ._settings import SettingsError
from ._uv_failure import failure, lacks_network
from ._uv_request import UvProject

_DOWNLOADS, _NEVER = "UV_PYTHON_DOWNLOADS", "never"
AS_JSON = ("--output-format", "json")
_NOWHERE = ".venv.mlrig-none"
_COPIED = "uv's cache is on another file system than the project, so that packages are copied and lie on the disk twice"
_FROM_CACHE = "the index cannot be reached; the versions are those that the cache knows"


@dataclass
class Uv:
    """uv in one project, run as its owner. warnings: what the user should know, though nothing failed."""

    program: str
    project: UvProject
    run: Runner
    check_mode: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def selection(self) -> tuple[str, ...]:
        """The same for every call that is about the environment, or one would undo what the other did."""
        extras, groups = self.project.extras, self.project.groups
        return (*(f"--extra={each}" for each in extras), *(f"--group={each}" for each in groups))

    @property
    def downloads_interpreters(self) -> bool:
        return self.project.environment.get(_DOWNLOADS, _NEVER) != _NEVER

    def __call__(self, *arguments: str) -> Output:
        return self.run(self.program, *arguments)

    def succeed(self, *arguments: str) -> None:
        output = self(*arguments)
        if output.code:
            raise self.failure(output)

    def look(self, *arguments: str, away: bool = False) -> Output:
        """Ask what can be told without the network. No Python is downloaded, and in check mode no cache is written.

        away: the answer is to be for no environment, as the one that is there would mislead uv.
        """
        return self._ask(*arguments, *(["--no-cache"] if self.check_mode else []), away=away)

    def resolve(self, *arguments: str, away: bool = False) -> Output:
        """Ask what takes the index. Versions that only the cache knows could be old: it serves where no index does."""
        output = self.look(*arguments, away=away)
        if not lacks_network(output) or not self._has_cache():
            return output
        from_cache = self._ask(*arguments, "--offline", away=away)
        if lacks_network(from_cache):
            return output
        self.warn(_FROM_CACHE)
        return from_cache

    def lock(self) -> Output:
        """As `resolve`, in earnest."""
        output = self("lock")
        if not lacks_network(output):
            return output
        from_cache = self("lock", "--offline")
        if from_cache.code:
            return output
        self.warn(_FROM_CACHE)
        return from_cache

    def sync(self, *arguments: str, offline_first: bool = True) -> Output:
        """Install what the lock names. What the cache has is the same to the last byte, and needs no network."""
        command = ("sync", "--frozen", *self.selection, *AS_JSON, *arguments)
        output = self(*command, "--offline") if offline_first else None
        if output is None or lacks_network(output):
            output = self(*command)
        if "Failed to hardlink files" in output.stderr:
            self.warn(_COPIED)
        return output

    def _ask(self, *arguments: str, away: bool) -> Output:
        elsewhere = ("env", f"UV_PROJECT_ENVIRONMENT={_NOWHERE}") if away else ()
        return self.run(*elsewhere, self.program, *arguments, "--no-python-downloads")

    def _has_cache(self) -> bool:
        """Outside check mode it may as well be made."""
        return not self.check_mode or Path(self("cache", "dir").stdout.strip()).is_dir()

    def warn(self, warning: str) -> None:
        told = f"{self.project.path}: {warning}"
        if told not in self.warnings:
            self.warnings.append(told)

    def failure(self, output: Output) -> SettingsError:
        return failure(output, self._list_interpreters)

    def _list_interpreters(self) -> tuple[str, ...]:
        output = self.look("python", "list", "--only-installed", *AS_JSON)
        try:
            found = json.loads(output.stdout)
            paths = {each["version"]: each["path"] for each in reversed(found)}
            return tuple(f"{version} ({path})" for version, path in reversed(paths.items()))
        except (ValueError, KeyError, TypeError):
            return ()


def environment_of(project: UvProject, cache: str | None = None) -> dict[str, str]:
    """What uv is told by variables; the project's own may say otherwise of all but its Python."""
    ours = {"UV_NO_PROGRESS": "1", "NO_COLOR": "1", _DOWNLOADS: _NEVER}
    place = {} if cache is None else {"UV_CACHE_DIR": cache}
    python = {} if project.python is None else {"UV_PYTHON": project.python}
    return {**ours, **place, **project.environment, **python}


def read_answer(output: Output) -> dict[str, Any] | None:
    """The part `sync` of what uv answers in JSON; None where it failed and gave no answer."""
    try:
        answer = json.loads(output.stdout)
    except ValueError:
        return None
    sync = answer.get("sync") if isinstance(answer, dict) else None
    if not isinstance(sync, dict) or not {"environment", "action", "changes"} <= sync.keys():
        raise SettingsError("uv's answer has another form than that of uv 0.13, which this collection knows")
    workspace = answer.get("project", {}).get("workspace", {}).get("path")
    return {**sync, "workspace": workspace}
