# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with snapper, made of files, on a simulated btrfs, whose subvolumes are folders that are known as such."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _btrfs, _snapper_config
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Setting, Settings, converge
from ansible_collections.mlrig.workstation.plugins.module_utils._snapper_config import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._snapper_request import parse_configs

from .conftest import Host

CONFIG, DEFAULTS, SNAPSHOTS = "/etc/snapper/configs/root", "/etc/default/snapper", "/.snapshots"
HOOK = "/etc/apt/apt.conf.d/80snapper"
TEMPLATE = """\
# subvolume to snapshot
SUBVOLUME="/"

FSTYPE="btrfs"
QGROUP=""

# limit for number cleanup
NUMBER_LIMIT="50"
TIMELINE_CREATE="yes"
"""
DEFAULTS_TEXT = """\
## Path: System/Snapper
SNAPPER_CONFIGS=""

# if you want to disable snapshot per install/upgrade, then set "yes"
DISABLE_APT_SNAPSHOT="no"
"""
SETTINGS: dict[str, Any] = {"NUMBER_LIMIT": "4-20", "FREE_LIMIT": 0.1, "TIMELINE_CREATE": False}
WANTED: tuple[dict[str, Any], ...] = ({"name": "root", "subvolume": "/", "settings": SETTINGS},)


def mount(place: str, file_system: str) -> str:
    """A line of /proc/self/mountinfo."""
    return f"26 1 0:24 /@ {place} rw,relatime shared:1 - {file_system} /dev/vda3 rw\n"


def install_snapper(host: Host) -> None:
    """What its package brings."""
    host.write_all(
        {
            _snapper_config.PROGRAM: "",
            "/usr/share/snapper/config-templates/default": TEMPLATE,
            DEFAULTS: DEFAULTS_TEXT,
            HOOK: "",
        }
    )


@dataclass
class SnapperHost:
    """calls: the commands that were run. outputs: what a command, by its first words, leaves instead of its work."""

    host: Host
    patch: pytest.MonkeyPatch
    calls: list[tuple[str, ...]] = field(default_factory=list)
    outputs: dict[str, Output] = field(default_factory=dict)
    subvolumes: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        install_snapper(self.host)
        self.host.write("/proc/self/mountinfo", mount("/", "btrfs") + mount("/proc", "proc"))
        self.subvolumes.add(self.host.root)
        self.patch.setattr(_btrfs, "is_subvolume", self.is_subvolume)
        self.patch.setattr(_snapper_config, "is_subvolume", self.is_subvolume)

    def is_subvolume(self, folder: Path) -> bool:
        return folder in self.subvolumes and folder.is_dir()

    def make_subvolume(self, name: str) -> None:
        self.host.path(name).mkdir(parents=True)
        self.subvolumes.add(self.host.path(name))

    def run(self, *command: str) -> Output:
        self.calls.append(command)
        for begin, output in self.outputs.items():
            if " ".join(command).startswith(begin):
                return output
        if command[:3] == ("btrfs", "subvolume", "create"):
            self.make_subvolume(f"/{os.path.relpath(command[3], self.host.root)}")
        return Output(0)

    def converge(
        self, wanted: Sequence[Mapping[str, Any]] = WANTED, *, apt: bool = True, check_mode: bool = False
    ) -> Settings:
        configs = parse_configs(wanted)
        return converge(lambda: make_plan(configs, self.host.root, self.run, apt=apt), check_mode=check_mode)

    def differing(self, wanted: Sequence[Mapping[str, Any]] = WANTED, **options: Any) -> list[tuple[str, str | None]]:
        return [(each.id, each.actual) for each in self.converge(wanted, **options).differing]


def by_id(settings: Settings) -> dict[str, Setting]:
    return {each.id: each for each in settings.records}


Act = Callable[[SnapperHost], object]
