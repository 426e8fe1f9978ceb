# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations of snapper: the subvolume that holds the snapshots, the file with the limits, and the list of both.

`snapper create-config` makes them too, but writes files in place, so that a full disk empties them, and refuses to go
on with what it made only in part. Here each of the three is compared and made alone, and the list comes last: what it
names is whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._apt import Runner
from ._apt import run as run_command
from ._btrfs import find_obstacle, is_subvolume
from ._files import read_if_there, refuse_if_unwritable, replace_keeping_first
from ._settings import RequestError, Settings, SettingsError
from ._snapper_request import SnapperConfig
from ._sysconfig_text import read_value, read_values, set_value

PROGRAM = "/usr/bin/snapper"
_DEFAULTS = "/etc/default/snapper"
_APT_HOOK = "/etc/apt/apt.conf.d/80snapper"
_TEMPLATES = ("/etc/snapper/config-templates/default", "/usr/share/snapper/config-templates/default")
_PRIVATE = 0o027  # old files may hold what was closed to others since


@dataclass
class SnapperPlan:
    """What differs, and what mends it. subvolumes: to be made. files: the text that each should have, in this order.

    configs: those that this host can have.
    """

    root: Path
    run: Runner
    settings: Settings = field(default_factory=Settings)
    configs: list[SnapperConfig] = field(default_factory=list)
    subvolumes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def apply(self) -> None:
        if not self.path(PROGRAM).exists():
            raise SettingsError(f"there is no {PROGRAM}: install the package snapper first")
        for subvolume in self.subvolumes:
            self._make_subvolume(subvolume)
        for name, text in self.files.items():
            self._write(name, text)
        # It reads which configurations there are once, when it starts, which it does again when it is asked. Where
        # nothing starts it, the next command tells.
        self.run("systemctl", "try-restart", "snapperd.service")
        for config in self.configs:
            output = self.run("snapper", f"--config={config.name}", "list", "--disable-used-space")
            if output.code:
                raise SettingsError(f"snapper cannot use its configuration {config.name}: {output.text.strip()}")

    def _make_subvolume(self, subvolume: str) -> None:
        before = os.umask(_PRIVATE)
        try:
            output = self.run("btrfs", "subvolume", "create", str(self.path(subvolume)))
        finally:
            os.umask(before)
        if output.code:
            raise SettingsError(f"cannot make the subvolume {subvolume}: {output.text.strip()}")

    def _write(self, name: str, text: str) -> None:
        replace_keeping_first(self.path(name), text)


def make_plan(
    configs: Sequence[SnapperConfig], root: Path = Path("/"), run: Runner = run_command, *, apt: bool = True
) -> SnapperPlan:
    """Read everything, compare, and say what to do. Changes nothing.

    apt: whether apt takes a snapshot before and after each transaction.
    Raises SettingsError for what snapper could not use, and where what has to be written cannot be.
    """
    plan = SnapperPlan(root, run)
    for config in configs:
        obstacle = find_obstacle(root, config.subvolume)
        if obstacle is None:
            plan.configs.append(config)
        else:
            plan.settings.skip(config.name, "persisted", config.subvolume, None, obstacle)
    if not plan.configs:
        return plan
    installed = plan.path(PROGRAM).exists()
    plan.settings.compare("snapper", "persisted", "installed", "installed" if installed else None)
    lists = read_values(read_if_there(plan.path(_DEFAULTS)) or "", "SNAPPER_CONFIGS")
    listed = list(dict.fromkeys(" ".join(lists).split()))
    for config in plan.configs:
        _refuse_rivals(plan, config, listed)
        _compare_snapshots(plan, config)
        _compare_config(plan, config)
    named = [config.name for config in plan.configs if config.name not in listed]
    switches = {"SNAPPER_CONFIGS": " ".join([*listed, *named]), "DISABLE_APT_SNAPSHOT": "no" if apt else "yes"}
    _compare_file(plan, _DEFAULTS, "", switches)
    if apt and installed and not plan.path(_APT_HOOK).exists():
        remedy = "apt-get install --reinstall --option=DPkg::Options::=--force-confmiss snapper"
        reason = f"it was removed, and is what makes apt take snapshots: {remedy}"
        plan.settings.fail(_APT_HOOK, "persisted", "as snapper's package brings it", None, reason)
    return plan


def _refuse_rivals(plan: SnapperPlan, config: SnapperConfig, listed: Sequence[str]) -> None:
    """snapper keeps the snapshots of a subvolume in one place, and its configuration cannot move to another one."""
    for name in dict.fromkeys([*listed, config.name]):
        file = f"/etc/snapper/configs/{name}"
        subvolume = read_value(read_if_there(plan.path(file)) or "", "SUBVOLUME")
        if name == config.name and subvolume not in (None, config.subvolume):
            raise RequestError(
                f"{config.where}.subvolume must be {subvolume}, which {file} has; got: {config.subvolume!r}"
            )
        if name != config.name and subvolume == config.subvolume:
            raise RequestError(
                f"{config.where}.name must be {name}, whose {file} is for {subvolume} already (or remove that, and its "
                f"snapshots, by snapper --config={name} delete-config); got: {config.name!r}"
            )


def _compare_snapshots(plan: SnapperPlan, config: SnapperConfig) -> None:
    """A mount of a subvolume elsewhere is as good."""
    name = config.snapshots
    path = plan.path(name)
    if is_subvolume(path):
        plan.settings.compare(name, "persisted", "subvolume", "subvolume")
        return
    if path.exists() or path.is_symlink():
        raise SettingsError(f"{name} is in the way, because snapper needs a subvolume of that name: move it away")
    refuse_if_unwritable(path)
    plan.settings.compare(name, "persisted", "subvolume", None)
    plan.subvolumes.append(name)


def _compare_config(plan: SnapperPlan, config: SnapperConfig) -> None:
    template = next((text for name in _TEMPLATES if (text := read_if_there(plan.path(name))) is not None), "")
    wanted = {"SUBVOLUME": config.subvolume, "FSTYPE": "btrfs", **config.settings}
    _compare_file(plan, config.file, f"{config.name}/", wanted, template)


def _compare_file(plan: SnapperPlan, name: str, prefix: str, wanted: Mapping[str, str], template: str = "") -> None:
    """Plans the new text of a file, from its own or, where there is none, from a template."""
    found = read_if_there(plan.path(name))
    text = template if found is None else found
    for key, value in wanted.items():
        plan.settings.compare(f"{prefix}{key}", "persisted", value, read_value(found or "", key))
        text = set_value(text, key, value)
    if text != found:
        refuse_if_unwritable(plan.path(name))
        plan.files[name] = text
