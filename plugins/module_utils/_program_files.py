# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the program mlrig on a host, and a link to it on everyone's path."""

from __future__ import annotations

import base64
import compileall
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from ._files import make_folder, read_if_there, refuse_if_unwritable, replace
from ._nvml import LIBRARY as FOLDER_OF_BINDING
from ._settings import Settings, SettingsError

LIBRARY = str(FOLDER_OF_BINDING.relative_to("/"))
PROGRAM = "opt/mlrig/bin/mlrig"
LINK = "usr/local/bin/mlrig"


def pack(files: Mapping[str, str]) -> str:
    """Texts by path, relative to the root of the host, as one short text."""
    return base64.b64encode(zlib.compress(json.dumps(files, sort_keys=True).encode())).decode()


def unpack(archive: str) -> dict[str, str]:
    """Raises SettingsError for what pack did not make."""
    rule = "archive must be what the lookup mlrig.workstation.program returns"
    try:
        files = json.loads(zlib.decompress(base64.b64decode(archive)))
    except (ValueError, zlib.error) as error:
        raise SettingsError(f"{rule}: {error}") from error
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise SettingsError(f"{rule}: it holds no texts")
    return files


@dataclass
class ProgramPlan:
    """files: the text that each should have, None where there should be none. link: whether it is to be made."""

    root: Path
    settings: Settings = field(default_factory=Settings)
    files: dict[Path, str | None] = field(default_factory=dict)
    link: bool = False

    def apply(self) -> None:
        for path, text in self.files.items():
            replace(path, text, _mode(self.root, path))
        # Now, and not by the first run of the program, which may be one that must not change anything.
        compileall.compile_dir(self.root / LIBRARY, quiet=2)
        if self.link:
            _make_link(self.root / LINK)


def make_plan(files: Mapping[str, str], root: Path) -> ProgramPlan:
    """Compare what is there with what should be. Changes nothing."""
    plan = ProgramPlan(root)
    wanted: dict[Path, str | None] = {root / path: text for path, text in files.items()}
    left_over = {path: None for path in (root / LIBRARY).rglob("*.py") if path not in wanted}
    for path, text in {**wanted, **left_over}.items():
        expected = None if text is None else _state(_mode(root, path), text)
        setting = plan.settings.compare(f"/{path.relative_to(root)}", "persisted", expected, _found_state(path))
        if setting.action == "changed":
            refuse_if_unwritable(path)
            plan.files[path] = text
    link = root / LINK
    target = str(link.readlink()) if link.is_symlink() else None
    if link.exists() and target is None:
        raise SettingsError(f"/{LINK} is not a link to this program: move it away")
    plan.link = plan.settings.compare(f"/{LINK}", "persisted", f"/{PROGRAM}", target).action == "changed"
    return plan


def _mode(root: Path, path: Path) -> int:
    return 0o755 if path == root / PROGRAM else 0o644


def _state(mode: int, text: str) -> str:
    return f"{mode:04o} sha256:{sha256(text.encode(errors='surrogateescape')).hexdigest()[:16]}"


def _found_state(path: Path) -> str | None:
    text = read_if_there(path)
    return None if text is None else _state(path.stat().st_mode & 0o7777, text)


def _make_link(link: Path) -> None:
    make_folder(link.parent)
    draft = link.with_name(f".{link.name}.mlrig")
    draft.unlink(missing_ok=True)
    draft.symlink_to(f"/{PROGRAM}")
    draft.replace(link)
