# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The freeze: apt preferences that hold every installed package of kernel and driver at its version.

Seen with apt: of several records for one version the first counts, and files are read in the order of their names. So
the file sorts first. Its priority is above that of NVIDIA's pinning packages, 1000. A metapackage that stays where it
is brings no new kernel.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ._apt import Runner
from ._dpkg import Packages, read_packages
from ._files import read_if_there, refuse_if_unwritable, replace
from ._guarded_packages import is_guarded
from ._settings import Settings

FREEZE_FILE = "/etc/apt/preferences.d/00mlrig-freeze"
_PRIORITY = 1001
_HEADER = """\
# Managed by mlrig.workstation (apt_freeze): what is edited here is undone by its next run.
# Kernel and driver stay at these versions until a run changes them.
"""
_RECORD = re.compile(
    rf"Package: (?P<names>.+)\nPin: version (?P<version>\S+)\nPin-Priority: {_PRIORITY}$", re.MULTILINE
)


def frozen_versions(packages: Packages) -> dict[str, str]:
    """The version of every package of kernel and driver that is there, finished or not."""
    return {name: each.version for name, each in packages.items() if is_guarded(name) and each.present and each.version}


def render(versions: Mapping[str, str]) -> str | None:
    """The text of the file, one record for each version; None where there is nothing to hold."""
    records = [
        f"\nPackage: {' '.join(sorted(name for name in versions if versions[name] == version))}\n"
        f"Pin: version {version}\nPin-Priority: {_PRIORITY}\n"
        for version in sorted(set(versions.values()))
    ]
    return _HEADER + "".join(records) if records else None


def parse(text: str) -> dict[str, str]:
    """The versions that a text made by `render` holds, by package."""
    return {name: record["version"] for record in _RECORD.finditer(text) for name in record["names"].split()}


def read_freeze(root: Path) -> dict[str, str] | None:
    """What is held, or None where nothing is frozen."""
    text = read_if_there(root / FREEZE_FILE.lstrip("/"))
    return None if text is None else parse(text)


def write_freeze(root: Path, versions: Mapping[str, str]) -> None:
    replace(root / FREEZE_FILE.lstrip("/"), render(versions))


@contextmanager
def thawed(root: Path, may_move: Callable[[str], bool]) -> Iterator[tuple[str, ...]]:
    """Options that make apt look past what is held, of the packages that may move; on disk it stays."""
    frozen = read_freeze(root) or {}
    kept = {name: version for name, version in frozen.items() if not may_move(name)}
    if kept == frozen:
        yield ()
        return
    own = root / FREEZE_FILE.lstrip("/")
    with tempfile.TemporaryDirectory(prefix="mlrig-") as name:
        for file in own.parent.iterdir():
            if file != own and file.is_file():
                shutil.copy(file, Path(name) / file.name)
        (Path(name) / own.name).write_text(render(kept) or "", encoding="utf-8")
        yield (f"--option=Dir::Etc::PreferencesParts={name}",)


@dataclass
class FreezePlan:
    """text: what the file should hold, None for no file."""

    file: Path
    text: str | None
    settings: Settings = field(default_factory=Settings)

    def apply(self) -> None:
        replace(self.file, self.text)


def make_plan(run: Runner, root: Path, *, present: bool) -> FreezePlan:
    """Compare the file with the packages that are there. Changes nothing."""
    wanted = frozen_versions(read_packages(run)) if present else {}
    plan = FreezePlan(root / FREEZE_FILE.lstrip("/"), render(wanted))
    found_text = read_if_there(plan.file)
    found = parse(found_text or "")
    for name in sorted(wanted.keys() | found.keys()):
        plan.settings.compare(name, "persisted", wanted.get(name), found.get(name))
    if found_text != plan.text and not plan.settings.differing:
        expected, actual = (
            None if text is None else kind for text, kind in ((plan.text, "ours"), (found_text, "edited"))
        )
        plan.settings.compare(FREEZE_FILE, "persisted", expected, actual)
    if plan.settings.differing:
        refuse_if_unwritable(plan.file)
    return plan
