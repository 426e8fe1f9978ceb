# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docker_daemon, run by run: what is reported, what is mended, and what is left when dockerd does not start."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _changes, _docker_daemon
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._docker_daemon import Restart, make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._docker_request import parse_daemon_settings
from ansible_collections.mlrig.workstation.plugins.module_utils._docker_service import CLIENT, FILE, PROGRAMS
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    RequestError,
    Settings,
    SettingsError,
    converge,
)

from .conftest import Host, killed_at

UNIT = "docker.service"
RUNTIME = {"path": "nvidia-container-runtime", "args": []}
WANTED: dict[str, Any] = {
    "log-driver": "local",
    "live-restore": True,
    "runtimes": {"nvidia": RUNTIME},
    "features": {"cdi": True},
}
# What `nvidia-ctk runtime configure --runtime=docker --cdi.enabled` makes of an empty file, as its source reads.
BY_NVIDIA_CTK = """\
{
    "features": {
        "cdi": true
    },
    "runtimes": {
        "nvidia": {
            "args": [],
            "path": "nvidia-container-runtime"
        }
    }
}"""
OUTDATED = f"active, but it began before {FILE} was written"
CHANGES = ("reload", "enable", "restart", "reset-failed")
PROCESS = 77


class KilledError(BaseException):
    """The process ends, whatever it was about."""


@dataclass
class DockerHost:
    """A host with dockerd, made of files. refuses: what dockerd does not start with; began: when it did; flags: with
    which.
    """

    host: Host
    enabled: str = "enabled"
    active: str = "active"
    began: float = 1_000_000.0
    containers: int = 0
    swarm: str = "inactive"
    live_restore: bool = False
    slow: int = 0
    refuses: str = "nothing"
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.host.write(PROGRAMS[-1], "")
        self.host.write(CLIENT, "")
        self.start_with()

    def start_with(self, *flags: str) -> None:
        self.host.write(f"/proc/{PROCESS}/cmdline", "".join(f"{word}\0" for word in (PROGRAMS[-1], *flags)))

    @property
    def text(self) -> str:
        return self.host.read(FILE) if self.host.path(FILE).exists() else ""

    def write(self, text: str, *, is_read: bool = False) -> None:
        """As a person does: after dockerd began, where it is not said that dockerd has read it."""
        changed = self.host.write(FILE, text).stat().st_ctime
        self.began = max(self.began, changed + 60) if is_read else min(self.began, changed - 60)

    def run(self, *command: str) -> Output:
        self.calls.append(command)
        match command:
            case ("systemctl", "show", *_rest):
                began = datetime.fromtimestamp(self.began, UTC).strftime("%a %Y-%m-%d %H:%M:%S.%f UTC")
                state = f"UnitFileState={self.enabled}\nActiveState={self.active}\nExecMainStartTimestamp={began}\n"
                return Output(0, f"{state}MainPID={PROCESS if self.active == 'active' else 0}\n")
            case ("systemctl", verb, _unit):
                return self._serve(verb)
            case ("docker", *_rest) if not self.host.path(CLIENT).exists():
                raise SettingsError("docker is not on this host")
            case ("docker", "info", *_rest):
                return Output(0, f"{str(self._keeps()).lower()} {self.containers} {self.swarm}\n")
            case ("dockerd", *flags, "--validate", option):
                file = Path(option.partition("=")[2])
                keys = set(json.loads(file.read_text()))
                if both := [flag for flag in flags if flag.removeprefix("--").partition("=")[0] in keys]:
                    return Output(1, "", f"specified both as a flag and in the configuration file {file}: {both}\n")
                known = keys <= {*WANTED, "debug", "log-opts", "labels"}
                return Output(0) if known else Output(1, "", f"unable to configure with file {file}: unknown\n")
            case ("journalctl", *_rest):
                return Output(0, "level=info msg=starting\nfailed to start daemon: unknown log opt\nlevel=info\n")
        raise AssertionError(command)

    def _keeps(self) -> bool:
        self.slow -= 1
        return self.live_restore and self.slow < 0

    def _serve(self, verb: str) -> Output:
        match verb:
            case "enable":
                self.enabled = "enabled"
            case "restart" if self.refuses in self.text:
                self.active = "failed"
                return Output(1, "", "Job for docker.service failed")
            case "reload":  # which takes no key away
                self.live_restore = json.loads(self.text or "{}").get("live-restore", self.live_restore)
            case "restart":
                written = self.host.path(FILE).stat().st_ctime if self.text else 0.0
                self.active, self.began = "active", max(time.time(), written) + 1
                lets_be, self.live_restore = self.live_restore and self.slow < 0, self._begins_with_live_restore()
                self.containers = self.containers if lets_be and self.live_restore else 0
        return Output(0)

    def _begins_with_live_restore(self) -> bool:
        flagged = "--live-restore" in self.host.read(f"/proc/{PROCESS}/cmdline")
        return bool(json.loads(self.text or "{}").get("live-restore", flagged))

    def converge(
        self, wanted: dict[str, Any] | None = None, *, check_mode: bool = False, restart: Restart = "when_idle"
    ) -> Settings:
        parsed = parse_daemon_settings(WANTED if wanted is None else wanted)
        return converge(lambda: make_plan(parsed, self.host.root, self.run, restart=restart), check_mode=check_mode)

    def done(self) -> list[str]:
        """What was done to the service since this was asked before."""
        verbs = [command[1] for command in self.calls if command[0] == "systemctl" and command[1] in CHANGES]
        self.calls.clear()
        return verbs


@pytest.fixture
def docker(host: Host, monkeypatch: pytest.MonkeyPatch) -> DockerHost:
    monkeypatch.setattr(_docker_daemon, "_PAUSE", 0.0)
    return DockerHost(host)


@pytest.fixture
def converged(docker: DockerHost) -> DockerHost:
    docker.converge()
    docker.calls.clear()
    return docker


def told(settings: Settings) -> list[tuple[str, str, str | None, str | None, str]]:
    return [(each.id, each.plane, each.expected, each.actual, each.action) for each in settings.records]


def differing(settings: Settings) -> list[tuple[str, str | None]]:
    return [(each.id, each.actual) for each in settings.differing]


def test_first_run_reports_what_it_does(docker: DockerHost) -> None:
    before = docker.host.texts()
    checked = docker.converge(check_mode=True)
    assert docker.host.texts() == before
    assert docker.done() == []
    done = docker.converge()
    assert done.as_result() == checked.as_result()
    assert told(done) == [
        ("log-driver", "persisted", '"local"', None, "changed"),
        ("live-restore", "persisted", "true", None, "changed"),
        ("runtimes.nvidia", "persisted", '{"args": [], "path": "nvidia-container-runtime"}', None, "changed"),
        ("features.cdi", "persisted", "true", None, "changed"),
        (UNIT, "persisted", "enabled", "enabled", "none"),
        (UNIT, "live", "active", OUTDATED, "changed"),
    ]
    assert json.loads(docker.text) == WANTED
    assert docker.done() == ["reload", "restart"]


def test_second_run_changes_nothing(converged: DockerHost) -> None:
    before = converged.host.texts()
    assert {each.action for each in converged.converge().records} == {"none"}
    assert [command[:2] for command in converged.calls] == [("systemctl", "show")]
    assert converged.host.texts() == before


def test_before_docker_is_there_check_mode_tells_and_a_run_says_what_is_missing(docker: DockerHost) -> None:
    docker.host.path(PROGRAMS[-1]).unlink()
    checked = docker.converge(check_mode=True)
    assert [each.id for each in checked.differing][-2:] == [UNIT, UNIT]
    assert docker.calls == []
    with pytest.raises(SettingsError, match="install the package docker"):
        docker.converge()
    assert docker.text == ""


def test_what_nvidia_ctk_writes_is_what_is_wanted(docker: DockerHost) -> None:
    docker.write(BY_NVIDIA_CTK, is_read=True)
    gpu_part = {key: WANTED[key] for key in ("runtimes", "features")}
    assert not docker.converge(gpu_part).differing
    docker.host.path(FILE).unlink()
    docker.converge(gpu_part)
    assert json.loads(docker.text) == json.loads(BY_NVIDIA_CTK)


MINE = """\
{
  "debug" : true,
  "log-driver": "json-file",
  "log-opts": {"max-size": "5m"},
  "labels": ["a=1",
             "b=2"]
}
"""


def test_keys_of_the_user_stay_to_the_byte_and_the_first_text_is_kept(docker: DockerHost) -> None:
    docker.write(MINE)
    docker.host.path(FILE).chmod(0o640)
    docker.converge({"log-driver": "local", "log-opts": {"max-file": "3", "max-size": None}})
    assert docker.text == MINE.replace("json-file", "local").replace('"5m"}', '"5m","max-file": "3"}').replace(
        ',"max-file"', ', "max-file"'
    )
    assert docker.host.path(FILE).stat().st_mode & 0o777 == 0o640
    docker.converge({"log-driver": "journald"})
    assert docker.host.read(f"{FILE}.mlrig.save") == MINE


def test_a_link_stays_and_the_file_that_it_leads_to_is_edited(docker: DockerHost) -> None:
    file = docker.host.write("/srv/etc/daemon.json", MINE)
    docker.host.link(FILE, "../../srv/etc/daemon.json")
    docker.converge({"debug": False})
    assert str(docker.host.path(FILE).readlink()) == "../../srv/etc/daemon.json"
    assert file.read_text() == MINE.replace("true", "false")
    assert docker.host.read("/srv/etc/daemon.json.mlrig.save") == MINE
    assert not docker.converge({"debug": False}).differing


def put_back(docker: DockerHost) -> None:
    docker.write(docker.text)
    os.utime(docker.host.path(FILE), (1_000_000, 1_000_000))


DRIFTS: dict[str, tuple[Callable[[DockerHost], object], list[tuple[str, str | None]], list[str]]] = {
    "value": (
        lambda docker: docker.write(docker.text.replace('"local"', '"json-file"')),
        [("log-driver", '"json-file"'), (UNIT, OUTDATED)],
        ["reload", "restart"],
    ),
    "key gone": (
        lambda docker: docker.write(docker.text.replace('"nvidia"', '"other"')),
        [("runtimes.nvidia", None), (UNIT, OUTDATED)],
        ["reload", "restart"],
    ),
    "edited, and not read": (
        lambda docker: docker.write(docker.text + "\n"),
        [(UNIT, OUTDATED)],
        ["reload", "restart"],
    ),
    "put back from a copy, with its old time": (
        put_back,
        [(UNIT, OUTDATED)],
        ["reload", "restart"],
    ),
    "stopped": (
        lambda docker: setattr(docker, "active", "inactive"),
        [(UNIT, "inactive")],
        ["reset-failed", "restart"],
    ),
    "disabled": (
        lambda docker: setattr(docker, "enabled", "disabled"),
        [(UNIT, "disabled")],
        ["enable"],
    ),
}


@pytest.mark.parametrize(("act", "differs", "verbs"), DRIFTS.values(), ids=DRIFTS)
def test_drift_is_mended(
    converged: DockerHost,
    act: Callable[[DockerHost], object],
    differs: list[tuple[str, str | None]],
    verbs: list[str],
) -> None:
    act(converged)
    assert differing(converged.converge(check_mode=True)) == differs
    assert converged.done() == []
    assert differing(converged.converge()) == differs
    assert converged.done() == verbs
    assert not converged.converge().differing


STOPS = "a restart would stop 2 containers; systemctl restart docker does it, as does a reboot"
LIVE = {"log-driver": "local", "live-restore": True}


@pytest.mark.parametrize(
    ("restart", "containers", "settings", "obstacle"),
    [
        ("when_idle", 0, {"log-driver": "local"}, None),
        ("when_idle", 2, {"log-driver": "local"}, STOPS),
        ("when_idle", 2, LIVE, None),
        ("always", 2, {"log-driver": "local"}, None),
        ("never", 0, LIVE, "a restart is not allowed; systemctl restart docker does it, as does a reboot"),
    ],
)
def test_a_restart_is_a_choice(
    docker: DockerHost, restart: Restart, containers: int, settings: dict[str, Any], obstacle: str | None
) -> None:
    docker.containers = containers
    done = docker.converge(settings, restart=restart)
    assert docker.done() == ["reload", *(["restart"] if obstacle is None else [])]
    record = done.records[-1]
    assert (record.plane, record.action) == (("live", "changed") if obstacle is None else ("boot", "reboot"))
    assert record.reason == obstacle
    again = docker.converge(settings, restart=restart)
    assert not again.differing
    assert again.as_result()["reboot_required"] == (obstacle is not None)
    assert docker.done() == []


def test_without_a_client_that_tells_of_containers_nothing_is_restarted(docker: DockerHost) -> None:
    """Debian's docker.io only recommends it, and the role installs it after the look at what would be refused."""
    docker.host.path(CLIENT).unlink()
    assert docker.converge(check_mode=True).as_result()["reboot_required"]
    done = docker.converge()
    assert (json.loads(docker.text), docker.done()) == (WANTED, ["reload"])
    assert (done.records[-1].reason or "").startswith("/usr/bin/docker is missing, which tells whether containers run;")


def test_containers_outlive_a_restart_only_once_dockerd_has_read_so(docker: DockerHost) -> None:
    docker.containers, docker.slow = 2, 4
    docker.converge()
    assert docker.containers == len(("both", "run"))


def test_a_container_that_begins_in_the_meantime_outlives_it_too(
    docker: DockerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.slow = 4
    serve = docker._serve

    def serve_when_one_begins(verb: str) -> Output:
        docker.containers = 1
        return serve(verb)

    monkeypatch.setattr(docker, "_serve", serve_when_one_begins)
    docker.converge()
    assert (docker.done(), docker.containers) == (["reload", "restart"], 1)


@pytest.mark.parametrize(
    ("flags", "in_file", "wanted", "spared"),
    [
        ((), True, None, True),
        ((), True, False, False),
        ((), False, None, False),
        ((), False, True, True),
        ((), None, None, False),
        (("--live-restore",), None, None, True),
    ],
)
def test_containers_outlive_a_dockerd_that_begins_with_live_restore_alone(
    docker: DockerHost, flags: tuple[str, ...], *, in_file: bool | None, wanted: bool | None, spared: bool
) -> None:
    """Whatever the one that ends has. (With a reload it has what the file says, where that says anything.)"""
    docker.start_with(*flags)
    docker.write("{}" if in_file is None else json.dumps({"live-restore": in_file}))
    docker.containers, docker.live_restore = 2, True
    done = docker.converge({"log-driver": "local", "live-restore": wanted})
    assert docker.done() == ["reload", *(["restart"] if spared else [])]
    assert (done.records[-1].action, docker.containers) == ("changed" if spared else "reboot", 2)


def test_a_dockerd_that_does_not_take_it_is_not_restarted(docker: DockerHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_docker_daemon, "_PATIENCE", 0.01)
    docker.containers, docker.slow = 2, 10**9
    with pytest.raises(SettingsError, match="dockerd has not taken live-restore within"):
        docker.converge()
    assert docker.done() == ["reload"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"debug": true,}', f"^{FILE} is no JSON: line 1, column 16: "),
        ('{"runtimes": "all"}', f"^{FILE}: runtimes must be an object; got: "),
        ('{"unheard-of": 1}', f"^dockerd does not take what {FILE} would hold: .*with file {FILE}: unknown"),
    ],
)
def test_a_wrong_file_is_refused_and_stays(docker: DockerHost, text: str, message: str) -> None:
    docker.write(text)
    before = docker.host.texts()
    with pytest.raises(RequestError, match=message):
        docker.converge()
    assert docker.host.texts() == before
    assert docker.done() == []


def test_what_its_user_wrote_is_tried_too_before_dockerd_is_to_begin_with_it(converged: DockerHost) -> None:
    converged.write(converged.text.replace("{", '{"unheard-of": 1, ', 1))
    for converged.active in ("active", "inactive"):
        with pytest.raises(RequestError, match=f"^dockerd does not take what {FILE} would hold: .*: unknown"):
            converged.converge()
        assert converged.done() == []


def test_a_key_that_dockerd_is_told_by_a_flag_as_well_is_refused(docker: DockerHost) -> None:
    docker.start_with("-H", "fd://", "--log-driver=journald")
    with pytest.raises(RequestError, match=r"specified both as a flag and .*'--log-driver=journald'"):
        docker.converge()
    assert (docker.text, docker.done()) == ("", [])
    docker.converge({**WANTED, "log-driver": None})
    assert "log-driver" not in docker.text


@pytest.mark.parametrize("flags", [("--config-file=/srv/docker.json",), ("-D", "--config-file", "/srv/docker.json")])
def test_another_file_that_dockerd_reads_is_refused(docker: DockerHost, flags: tuple[str, ...]) -> None:
    docker.start_with(*flags)
    with pytest.raises(RequestError, match=rf"^dockerd is told to read /srv/docker\.json, not {FILE}, which alone is"):
        docker.converge(check_mode=True)
    docker.start_with("--config-file", FILE)
    docker.converge()
    assert json.loads(docker.text) == WANTED


@pytest.mark.parametrize("first", ["", MINE])
def test_a_dockerd_that_does_not_start_gets_its_old_file_back(docker: DockerHost, first: str) -> None:
    if first:
        docker.write(first)
    docker.refuses = '"local"'
    with pytest.raises(
        SettingsError, match=r"^dockerd does not start: failed .*unknown log opt. .* is as it was before, and"
    ):
        docker.converge()
    assert docker.text == first
    if first:
        assert docker.active == "active"


def test_a_swarm_is_refused(docker: DockerHost) -> None:
    docker.swarm = "active"
    with pytest.raises(RequestError, match="live-restore must not be true on a node of a swarm"):
        docker.converge()
    assert docker.text == ""
    docker.converge({**WANTED, "live-restore": None})
    assert "live-restore" not in docker.text


def test_a_snap_is_refused(docker: DockerHost) -> None:
    docker.host.write("/snap/docker/current/meta", "")
    with pytest.raises(RequestError, match="Docker is there as a snap"):
        docker.converge(check_mode=True)


def test_killed_while_it_writes_the_next_run_converges(docker: DockerHost) -> None:
    docker.write(MINE, is_read=True)
    step = 1
    while killed_at(step, docker.converge):
        assert docker.text == MINE
        step += 1
    assert step > 1
    docker.converge()
    assert not docker.converge().differing
    assert docker.host.read(f"{FILE}.mlrig.save") == MINE


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_killed_after_it_wrote_the_next_run_converges(
    docker: DockerHost, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    docker.containers = 2
    serve = docker._serve

    def serve_or_die(asked: str) -> Output:
        if asked == verb:
            raise KilledError
        return serve(asked)

    monkeypatch.setattr(docker, "_serve", serve_or_die)
    with pytest.raises(KilledError):
        docker.converge()
    monkeypatch.undo()
    assert differing(docker.converge()) == [(UNIT, OUTDATED)]
    assert not docker.converge().differing
    assert docker.containers == len(("both", "run"))


def test_a_time_of_writing_that_is_yet_to_come_says_nothing(
    converged: DockerHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    converged.write(converged.text)
    an_hour_ago = time.time_ns() - 3600 * 10**9
    monkeypatch.setattr(_changes.time, "time_ns", lambda: an_hour_ago)
    done = converged.converge()
    assert not done.differing
    assert done.warnings == [f"{FILE} was changed in the future and is not looked at: was the clock wrong?"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Log-Driver": "x"}, "settings['Log-Driver'] must be a key of daemon.json, such as log-driver; got: "),
        ({3: "x"}, "settings[3] must be a key of daemon.json, such as log-driver; got: 3"),
        ({"mtu": float("nan")}, "settings['mtu'] must be something that JSON can hold; got: nan"),
        ({"labels": {"a": datetime}}, "settings['labels'] must be something that JSON can hold; got: "),
    ],
)
def test_wrong_settings_are_refused(settings: dict[Any, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_daemon_settings(settings)
    assert str(refusal.value).startswith(message)
