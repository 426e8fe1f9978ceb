# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training run asks of systemd, and what it asks of sudo where it is a user's."""

from __future__ import annotations

import json
import os
import pwd
import signal
from collections.abc import Callable

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _run_program, _run_scope, _run_settings
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._program import main
from ansible_collections.mlrig.workstation.plugins.module_utils._run_processes import RunProcess
from ansible_collections.mlrig.workstation.plugins.module_utils._run_scope import ends_with_session, enter_scope
from ansible_collections.mlrig.workstation.plugins.module_utils._run_settings import check_settings, snapshot
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import RequestError, SettingsError

from .conftest import Host
from .gpu_host import GpuHost

TAKEN = "Call failed: Unit mlrig-run-a.scope was already loaded or has a fragment file.\n"


class Commands:
    """A runner that gives prepared answers, and keeps what it was asked."""

    def __init__(self, answer: Output | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *command: str) -> Output:
        self.asked.append(command)
        if self.answer is None:
            raise SettingsError(f"{command[0]} is not on this host: is it Debian or Ubuntu?")
        return self.answer


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda number: monkeypatch.setattr(os, "geteuid", lambda: number)


@pytest.mark.parametrize(("user", "bus"), [(0, "--system"), (1000, "--address=unix:path={root}/run/user/1000/bus")])
def test_a_scope(
    host: Host, monkeypatch: pytest.MonkeyPatch, as_user: Callable[[int], None], user: int, bus: str
) -> None:
    as_user(user)
    host.write_all({"/run/user/0/bus": "", "/run/user/1000/bus": ""})
    moves = iter(["session-1.scope", None, "mlrig-run-a.scope"])
    monkeypatch.setattr(_run_scope, "describe", lambda pid: RunProcess(pid, "ada", "mlrig", next(moves)))
    commands = Commands(Output(0, 'o "/org/freedesktop/systemd1/job/1"\n'))
    enter_scope("a", "Training run: true", commands, host.root)
    [asked] = commands.asked
    assert asked[:2] == ("busctl", bus.format(root=host.root))
    words = " ".join(asked)
    assert " StartTransientUnit ssa(sv)a(sa(sv)) mlrig-run-a.scope fail 6 Description s Training run: true " in words
    assert f" PIDs au 1 {os.getpid()} " in words
    assert asked[-1] == "0"
    assert next(moves, "waited for") == "waited for"


def test_a_user_whose_manager_has_no_bus(host: Host, as_user: Callable[[int], None]) -> None:
    as_user(1000)
    commands = Commands(Output(0))
    with pytest.raises(SettingsError, match=r"^there is no .*/run/user/1000/bus: .*dbus-user-session"):
        enter_scope("a", "Training run: true", commands, host.root)
    assert commands.asked == []


def test_a_long_command_has_a_short_description(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, as systemd writes it to a file of lines; UTF-8, as D-Bus takes nothing else; no longer than words."""
    monkeypatch.setattr(_run_scope, "describe", lambda pid: RunProcess(pid, "ada", "mlrig", "mlrig-run-a.scope"))
    commands = Commands(Output(0))
    enter_scope("a", "Training run: first\n[Scope]\n\udcff" + "x" * 200000, commands)
    [asked] = commands.asked
    description = asked[asked.index("Description") + 2]
    assert description == "Training run: first [Scope] ?" + "x" * 168 + "..."


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Output(1, "", TAKEN), RequestError, "--name: a run of the name a is going on, in mlrig-run-a.scope"),
        (Output(1, "", "Failed to connect\n"), SettingsError, "systemd makes no scope: Failed to connect"),
        (Output(0, ""), SettingsError, "systemd has not made mlrig-run-a.scope within 0 s"),
        (None, SettingsError, "busctl is not on this host: is it Debian or Ubuntu?"),
    ],
    ids=["name taken", "no bus", "not moved", "no busctl"],
)
def test_no_scope(
    monkeypatch: pytest.MonkeyPatch, answer: Output | None, kind: type[SettingsError], message: str
) -> None:
    monkeypatch.setattr(_run_scope, "_PATIENCE", 0)
    with pytest.raises(SettingsError) as raised:
        enter_scope("a", "why", Commands(answer))
    assert (type(raised.value), str(raised.value)) == (kind, message)


def test_a_users_scope_ends_with_the_session(host: Host, as_user: Callable[[int], None]) -> None:
    assert pwd.getpwuid(65534).pw_name == "nobody"
    as_user(65534)
    assert ends_with_session(host.root)
    host.write("/var/lib/systemd/linger/nobody", "")
    assert not ends_with_session(host.root)
    as_user(0)
    host.path("/var/lib/systemd/linger/nobody").unlink()
    assert not ends_with_session(host.root)


@pytest.mark.parametrize(("ids", "unit"), [("one/two", "mlrig-run-outer.scope"), ("", "mlrig-run-inner.scope")])
def test_a_run_within_a_run_has_its_scope(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ids: str, unit: str
) -> None:
    """Not where nothing of the outer run's environment is left, as under sudo."""
    host.path("/run/systemd/system").mkdir(parents=True)
    monkeypatch.setenv("MLRIG_RUN_ID", ids)
    monkeypatch.setattr(_run_program, "describe", lambda pid: RunProcess(pid, "ada", "sh", "mlrig-run-outer.scope"))
    monkeypatch.setattr(signal, "getsignal", lambda _number: signal.SIG_IGN)  # ctrl-C stays pytest's
    arguments = ["run", "--dry-run", "--json", "--gpus", "none", "--name", "inner", "--", "true"]
    assert main(arguments, root=host.root) == 0
    assert json.loads(capsys.readouterr().out)["unit"] == unit


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> GpuHost:
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090")
    rig.configure({"match": "all", "power_limit": 300})
    return rig


DRIFT = "GPU 0 (NVIDIA GeForce RTX 3090): power_limit was 350 W, and should be 300 W"
APPLY = ("sudo", "-n", "mlrig", "gpu", "apply", "--json")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Output(0, "{}"), "these settings were brought back"),
        (
            Output(1, "", "sudo: a password is required\n"),
            "these settings stay as they are, as that takes root: sudo mlrig gpu apply",
        ),
        (None, "these settings stay as they are, as that takes root: sudo mlrig gpu apply"),
    ],
    ids=["sudo", "a password", "no sudo"],
)
def test_settings_of_a_user(rig: GpuHost, as_user: Callable[[int], None], answer: Output | None, said: str) -> None:
    as_user(1000)
    commands = Commands(answer)
    assert check_settings(rig.host.root, commands, dry_run=False) == [DRIFT, said]
    assert commands.asked == [APPLY]
    assert rig.live() == {}
    looked = Commands(None)
    assert check_settings(rig.host.root, looked, dry_run=True)[0] == DRIFT
    assert looked.asked == []


@pytest.mark.parametrize("user", [0, 1000])
def test_settings_that_are_as_wanted(rig: GpuHost, as_user: Callable[[int], None], user: int) -> None:
    as_user(user)
    commands = Commands(None)
    rig.configure({"match": "all", "power_limit": 350})
    assert check_settings(rig.host.root, commands, dry_run=False) == []
    rig.host.path("/etc/mlrig/gpu.json").unlink()
    assert check_settings(rig.host.root, commands, dry_run=False) == []
    assert commands.asked == []


def test_a_setting_that_fails(rig: GpuHost, as_user: Callable[[int], None]) -> None:
    as_user(0)
    rig.simgpu("fail", 0, "nvmlDeviceSetPowerManagementLimit", 8)
    [said] = check_settings(rig.host.root, Commands(None), dry_run=False)
    assert said.startswith("GPU 0 (NVIDIA GeForce RTX 3090): power_limit: ")
    assert said.endswith("a power cable is missing")


def test_a_snapshot_of_root(host: Host, monkeypatch: pytest.MonkeyPatch, as_user: Callable[[int], None]) -> None:
    as_user(0)
    taken: list[str] = []
    monkeypatch.setattr(_run_settings, "take_snapshot", lambda why, root: taken.append(f"{why} {root}") or 7)
    assert snapshot("before", host.root, Commands(None)) == 7
    assert taken == [f"before {host.root}"]


def test_a_snapshot_of_a_user(host: Host, as_user: Callable[[int], None]) -> None:
    as_user(1000)
    commands = Commands(Output(0, '{"config": "root", "number": 42, "description": "--force"}'))
    assert snapshot("--force", host.root, commands) == 42
    assert commands.asked == [("sudo", "-n", "mlrig", "snapshot", "--json", "--", "--force")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            Output(1, "", "sudo: a password is required\n"),
            "--snapshot takes root, or sudo that asks no password: sudo: a password is required",
        ),
        (Output(2, '{"error": "no snapshot can be taken: / is on ext4"}'), "no snapshot can be taken: / is on ext4"),
        (
            None,
            "--snapshot takes root, or sudo that asks no password: sudo is not on this host: is it Debian or Ubuntu?",
        ),
    ],
    ids=["a password", "no btrfs", "no sudo"],
)
def test_no_snapshot(host: Host, as_user: Callable[[int], None], answer: Output | None, message: str) -> None:
    as_user(1000)
    with pytest.raises(RequestError) as raised:
        snapshot("why", host.root, Commands(answer))
    assert str(raised.value) == message
