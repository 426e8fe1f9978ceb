# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's daemon on a host: whether it is there and runs, since when and how, what it would begin with, and what a
restart of it would stop.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath

from ._apt import Runner
from ._settings import RequestError, SettingsError

FILE = "/etc/docker/daemon.json"
PROGRAMS = ("/usr/bin/dockerd", "/usr/sbin/dockerd")  # of Docker's own package and Ubuntu's; of Debian's
CLIENT = "/usr/bin/docker"  # Debian has it in a package of its own, which docker.io only recommends
UNIT = "docker.service"
_NOISE = "level=info"
_CONFIGURATION = re.compile(r"(?:^|\0)--config-file[=\0]([^\0]+)")
_QUESTIONS = "{{.LiveRestoreEnabled}} {{.ContainersRunning}} {{.Swarm.LocalNodeState}}"


@dataclass(frozen=True)
class Service:
    """enabled, active: as systemd words them. since: when its process began, in nanoseconds as files' times are told.
    flags: what its process was given, by the unit, a drop-in of it, or DOCKER_OPTS.
    """

    enabled: str
    active: str
    since: int
    flags: tuple[str, ...]

    @property
    def runs(self) -> bool:
        return self.active in ("active", "reloading")

    @property
    def configuration(self) -> str | None:
        """The file that it was told to read; None where it reads its usual one."""
        found = _CONFIGURATION.search("\0".join(self.flags))
        return found and found[1]

    @property
    def was_told_live_restore(self) -> bool:
        return not {"--live-restore", "--live-restore=true"}.isdisjoint(self.flags)


@dataclass(frozen=True)
class Daemon:
    """What a running dockerd says of itself. live_restore: containers outlive it."""

    live_restore: bool
    containers: int
    swarm: bool


def is_installed(root: Path) -> bool:
    return any((root / name.lstrip("/")).exists() for name in PROGRAMS)


def read_service(root: Path, run: Runner) -> Service:
    names = "UnitFileState,ActiveState,ExecMainStartTimestamp,MainPID"
    output = run("systemctl", "show", UNIT, f"--property={names}", "--timestamp=us+utc")
    if output.code:
        raise SettingsError(f"systemctl show {UNIT} failed: {output.text.strip()}")
    found = dict(line.partition("=")[::2] for line in output.stdout.splitlines())
    return Service(
        found.get("UnitFileState", ""),
        found.get("ActiveState", ""),
        _nanoseconds(found.get("ExecMainStartTimestamp", "")),
        _flags(root, found.get("MainPID", "0")),
    )


def validate(text: str, flags: Sequence[str], run: Runner) -> None:
    """By dockerd itself, before anything changes: what it cannot read, or is told by a flag as well, would keep it from
    starting.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8", errors="surrogateescape") as draft:
        draft.write(text)
        draft.flush()
        output = run("dockerd", *flags, "--validate", f"--config-file={draft.name}")
        if output.code:
            said = output.text.strip().replace(draft.name, FILE)
            raise RequestError(f"dockerd does not take what {FILE} would hold: {said}")


def read_daemon(run: Runner) -> Daemon:
    output = run("docker", "info", f"--format={_QUESTIONS}")
    words = output.stdout.split()
    if output.code or len(words) != len(_QUESTIONS.split()) or not words[1].isdigit():
        raise SettingsError(f"docker info says nothing: {output.text.strip() or 'no output'}")
    return Daemon(words[0] == "true", int(words[1]), words[2] != "inactive")


def explain_failure(run: Runner) -> str:
    """Why dockerd did not start: the last that it wrote."""
    output = run("journalctl", "--quiet", f"--unit={UNIT}", "--output=cat", "--lines=20", "_COMM=dockerd")
    lines = [line for line in output.stdout.splitlines() if line.strip() and _NOISE not in line]
    return lines[-1] if lines else f"its journal says nothing (journalctl --unit={UNIT})"


def _nanoseconds(timestamp: str) -> int:
    """Of `Sat 2026-11-21 21:38:28.123456 UTC`; 0 where it never began."""
    words = timestamp.split()
    if len(words) != len(("day", "date", "time", "zone")):
        return 0
    return int(datetime.fromisoformat(f"{words[1]}T{words[2]}+00:00").timestamp() * 10**9)


def _flags(root: Path, process: str) -> tuple[str, ...]:
    """What follows the name of dockerd in the command of a process; nothing where it does not run."""
    try:
        command = (root / "proc" / process / "cmdline").read_bytes().decode(errors="surrogateescape")
    except OSError:
        return ()
    words = command.removesuffix("\0").split("\0")
    names = [PurePath(word).name for word in words]
    return tuple(words[names.index("dockerd") + 1 :]) if "dockerd" in names else ()
