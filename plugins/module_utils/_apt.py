# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How apt and dpkg are called, and what apt says that it would do."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple, Protocol

from ._settings import SettingsError

LOCK_TIMEOUT = 600
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",  # what is said is read
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_SUSPEND": "1",  # it would restart services, Docker among them, under a training run
    "APT_LISTCHANGES_FRONTEND": "none",
}
# What another program that is at work with apt or dpkg makes them say.
_LOCKED = re.compile(r"locked by another process|Could not get lock|Unable to acquire the dpkg|lock is held by")
_LOCK_PAUSE = 5.0
_CHANGE = re.compile(
    r"(?P<verb>Inst|Remv|Purg) (?P<name>\S+)(?: \[(?P<before>[^\]]*)\])?(?: \((?P<after>\S+)[^)]*\))?.*"
)
_CANDIDATE = re.compile(r"  Candidate: (\S+)")


class Output(NamedTuple):
    """What a command left: its exit status, and what it wrote."""

    code: int
    stdout: str = ""
    stderr: str = ""

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


class Runner(Protocol):
    """Runs a command and waits for it. Raises SettingsError for a command that is not there."""

    def __call__(self, *command: str) -> Output: ...


def run(*command: str) -> Output:
    """The runner of real hosts. Nothing can be asked of a user, and messages are in English."""
    # Files, not pipes: apt goes on when this program is killed, and a daemon that a package starts keeps none waiting.
    with _scratch_file() as stdout, _scratch_file() as stderr:
        try:
            code = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, **_ENVIRONMENT},
            ).returncode
        except FileNotFoundError as error:
            raise SettingsError(f"{command[0]} is not on this host: is it Debian or Ubuntu?") from error
        stdout.seek(0)
        stderr.seek(0)
        return Output(code, stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace"))


def _scratch_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except FileNotFoundError as error:
        raise SettingsError(f"no command can be run: {error.strerror}: is the disk full?") from error


def run_unlocked(run: Runner, *command: str, patience: float = LOCK_TIMEOUT, pause: float = _LOCK_PAUSE) -> Output:
    """Run a command that does not itself wait for another apt or dpkg, until none is in the way, or patience ends."""
    deadline = time.monotonic() + patience
    while (output := run(*command)).code and _LOCKED.search(output.text) and time.monotonic() < deadline:
        time.sleep(pause)
    return output


@dataclass(frozen=True)
class Change:
    """One package that a transaction would change. before: None where it is not there; after: None for a removal."""

    name: str
    before: str | None
    after: str | None
    verb: Literal["install", "change", "remove"]

    def __str__(self) -> str:
        match self.verb:
            case "install":
                return f"{self.name} would be installed ({self.after})"
            case "remove":
                return f"{self.name} would be removed ({self.before})"
        return f"{self.name} would go from {self.before} to {self.after}"


def parse_simulation(text: str) -> tuple[Change, ...]:
    """What `apt-get --simulate` would do, in its order; packages that are only configured are left out."""
    return tuple(_changes(text.splitlines()))


def _changes(lines: Sequence[str]) -> Iterator[Change]:
    for line in lines:
        found = _CHANGE.fullmatch(line)
        if found is None:
            continue
        name, before, after = found["name"], found["before"], found["after"]
        if found["verb"] != "Inst":
            yield Change(name, before, None, "remove")
        else:
            yield Change(name, before, after, "install" if before is None else "change")


def parse_candidates(text: str) -> dict[str, str | None]:
    """The version that apt would take of each package that it knows, from `apt-cache policy`; None where none."""
    candidates: dict[str, str | None] = {}
    name = ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            name = line.removesuffix(":")
        elif found := _CANDIDATE.match(line):
            candidates[name] = None if found[1] == "(none)" else found[1]
    return candidates


def read_candidates(run: Runner, names: Sequence[str], options: Sequence[str] = ()) -> Mapping[str, str | None]:
    """As `parse_candidates`; what apt does not know is not in it."""
    return parse_candidates(run("apt-cache", *options, "policy", *names).stdout) if names else {}
