# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's daemon: single keys of its configuration, and a running service that has read them.

dockerd takes some keys on a reload (runtimes, features, live-restore, labels, registries ...), and the others, such as
how logs are kept, only when it starts. Which those are differs by version, and features are read on both occasions by
different parts of it. So a service that began before the file was last written has not read it.

Containers outlive a restart where both sides have live-restore: the dockerd that ends, which may have it by a reload,
and the one that begins, which has what the file or a flag says, and otherwise stops what it finds running.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ._apt import Runner
from ._apt import run as run_command
from ._changes import find_changes
from ._docker_request import DaemonSettings
from ._docker_service import (
    CLIENT,
    FILE,
    UNIT,
    Service,
    explain_failure,
    is_installed,
    read_daemon,
    read_service,
    validate,
)
from ._files import read_if_there, refuse_if_unwritable, replace, replace_keeping_first
from ._json_text import canonical, parse_object, read_value, set_value
from ._settings import RequestError, Settings, SettingsError

LIVE_RESTORE = ("live-restore",)
_SNAP = "/snap/docker"
_PATIENCE, _PAUSE = 10.0, 0.2
_BY_HAND = "systemctl restart docker does it, as does a reboot"
_CURRENT = "active"
_OUTDATED = f"active, but it began before {FILE} was written"

Restart = Literal["never", "when_idle", "always"]


@dataclass
class DaemonPlan:
    """What differs, and what mends it. text: what the file should hold, None where it stays. runs: whether the service
    does. begin: whether it is to be started, or to be started again. spares: whether containers outlive that only once
    the daemon has read so, those that begin in the meantime too.
    """

    root: Path
    run: Runner
    settings: Settings = field(default_factory=Settings)
    found: str | None = None
    text: str | None = None
    runs: bool = False
    enable: bool = False
    begin: bool = False
    spares: bool = False

    @property
    def file(self) -> Path:
        """What is replaced: where a link leads to, so that the link stays."""
        return Path(os.path.realpath(self.root / FILE.lstrip("/")))

    def apply(self) -> None:
        if not is_installed(self.root):
            raise SettingsError("there is no dockerd: install the package docker.io first")
        if self.text is not None:
            replace_keeping_first(self.file, self.text)
        if self.runs and (self.text is not None or self.begin):
            self._systemctl("reload")
        if self.spares:
            self._await_live_restore()
        if self.enable:
            self._systemctl("enable")
        if self.begin:
            self._begin()

    def _await_live_restore(self) -> None:
        """A reload is a signal, and not waited for."""
        deadline = time.monotonic() + _PATIENCE
        while not (daemon := read_daemon(self.run)).live_restore:
            if time.monotonic() > deadline:
                if not daemon.containers:
                    return
                raise SettingsError(f"dockerd has not taken live-restore within {_PATIENCE:.0f} s: not restarted")
            time.sleep(_PAUSE)

    def _begin(self) -> None:
        if not self.runs:
            self.run("systemctl", "reset-failed", UNIT)  # systemd may have given up on it
        if self.run("systemctl", "restart", UNIT).code == 0:
            return
        cause = explain_failure(self.run)
        if self.text is None:
            raise SettingsError(f"dockerd does not start: {cause}")
        if self.found is None:
            replace(self.file, None)
        else:
            replace_keeping_first(self.file, self.found)
        self.run("systemctl", "reset-failed", UNIT)
        again = "runs again" if self.run("systemctl", "restart", UNIT).code == 0 else "does not start with it either"
        raise SettingsError(f"dockerd does not start: {cause}. {FILE} is as it was before, and dockerd {again}")

    def _systemctl(self, verb: str) -> None:
        output = self.run("systemctl", verb, UNIT)
        if output.code:
            raise SettingsError(f"systemctl {verb} {UNIT} failed: {output.text.strip()}")


def make_plan(
    wanted: DaemonSettings, root: Path = Path("/"), run: Runner = run_command, *, restart: Restart = "when_idle"
) -> DaemonPlan:
    """Read everything, compare, and say what to do. Changes nothing.

    Raises RequestError for a file that dockerd could not read, and for what does not fit this host.
    """
    plan = DaemonPlan(root, run)
    if (root / _SNAP.lstrip("/")).exists():
        raise RequestError(
            "Docker is there as a snap, which has a daemon and a configuration of its own: remove it by snap remove "
            "docker (which removes its containers too), or leave Docker alone"
        )
    plan.found = read_if_there(plan.file)
    document = parse_object(plan.found or "", FILE)
    text = plan.found or ""
    for path, value in wanted.items():
        expected = canonical(value)
        there = read_value(document, path, FILE)
        actual = None if there is None else canonical(there)
        plan.settings.compare(".".join(path), "persisted", expected, actual)
        if actual != expected:
            text = set_value(text, path, value)
    if plan.settings.differing:
        refuse_if_unwritable(plan.file)
        plan.text = text
    if is_installed(root):
        service = read_service(root, run)
        if service.configuration not in (None, FILE):
            raise RequestError(
                f"dockerd is told to read {service.configuration}, not {FILE}, which alone is kept here: take "
                f"--config-file out of {UNIT} (systemctl cat {UNIT}), or leave Docker alone"
            )
        _compare_service(plan, service, text, restart)
    else:
        plan.settings.compare(UNIT, "persisted", "enabled", None)
        plan.settings.compare(UNIT, "live", _CURRENT, None)
    return plan


def _compare_service(plan: DaemonPlan, service: Service, text: str, restart: Restart) -> None:
    """text: what dockerd would begin with."""
    plan.runs = service.runs
    plan.enable = plan.settings.compare(UNIT, "persisted", "enabled", service.enabled or None).action == "changed"
    changes = find_changes(plan.root, [FILE.lstrip("/")], plan.settings)
    is_read = not changes or changes[-1][0] < service.since
    if service.runs and plan.text is None and is_read:
        plan.settings.compare(UNIT, "live", _CURRENT, _CURRENT)
        return
    if text:
        validate(text, service.flags, plan.run)
    if service.runs:
        in_file = read_value(parse_object(text, FILE), LIVE_RESTORE, FILE)
        _plan_restart(plan, restart, live_restore=service.was_told_live_restore if in_file is None else in_file is True)
    else:
        plan.settings.compare(UNIT, "live", _CURRENT, service.active)
        plan.begin = True


def _plan_restart(plan: DaemonPlan, restart: Restart, *, live_restore: bool) -> None:
    """live_restore: whether dockerd would begin with it."""
    if not (plan.root / CLIENT.lstrip("/")).exists():
        cause = f"{CLIENT} is missing, which tells whether containers run"
        plan.settings.compare(UNIT, "boot", _CURRENT, _OUTDATED, reason=f"{cause}; {_BY_HAND}")
        return
    daemon = read_daemon(plan.run)
    if daemon.swarm and live_restore:
        raise RequestError(
            "live-restore must not be true on a node of a swarm, because dockerd does not start with both (null leaves "
            "the key alone); got: True"
        )
    if restart == "always" or (restart == "when_idle" and (live_restore or not daemon.containers)):
        plan.settings.compare(UNIT, "live", _CURRENT, _OUTDATED)
        plan.begin = True
        plan.spares = live_restore and not daemon.live_restore
        return
    cause = "a restart is not allowed" if restart == "never" else f"a restart would stop {daemon.containers} containers"
    plan.settings.compare(UNIT, "boot", _CURRENT, _OUTDATED, reason=f"{cause}; {_BY_HAND}")
