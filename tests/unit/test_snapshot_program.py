# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mlrig snapshot` at the command line: what it asks snapper for, what it prints, and its exit status."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _snapshot_program
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._program import main
from ansible_collections.mlrig.workstation.plugins.module_utils._snapper_config import PROGRAM

from .conftest import Host
from .snapper_host import CONFIG, Act, SnapperHost, mount

FINE, FAILED, WRONG_INPUT = range(3)
WHY = 'before the "70B" r\u00fcn -- again'


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> SnapperHost:
    """With a configuration root, and 41 snapshots."""
    machine = SnapperHost(host, monkeypatch)
    machine.converge()
    machine.calls.clear()
    machine.outputs["snapper --config=root create"] = Output(0, "42\n")
    take = _snapshot_program.take_snapshot
    monkeypatch.setattr(_snapshot_program, "take_snapshot", lambda why, root: take(why, root, machine.run))
    return machine


def snapshot(rig: SnapperHost, *arguments: str) -> int:
    return main(["snapshot", *arguments], root=rig.host.root)


def test_the_number_is_printed(rig: SnapperHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert snapshot(rig, WHY) == FINE
    assert tuple(capsys.readouterr()) == ("42\n", "")
    assert rig.calls == [
        (
            *("snapper", "--config=root", "create", "--type=single", "--cleanup-algorithm=number"),
            *(f"--description={WHY}", "--userdata=mlrig=1,important=yes", "--print-number"),
        )
    ]


def test_json(rig: SnapperHost, capsys: pytest.CaptureFixture[str]) -> None:
    assert snapshot(rig, "--json", WHY) == FINE
    assert json.loads(capsys.readouterr().out) == {"config": "root", "number": 42, "description": WHY}


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (
            lambda rig: rig.host.write("/proc/self/mountinfo", mount("/", "ext4")),
            "/ is on ext4, and snapshots take btrfs, which is chosen when the system is installed",
        ),
        (lambda rig: rig.host.path(PROGRAM).unlink(), f"there is no {PROGRAM}, which the role snapshots brings"),
        (lambda rig: rig.host.path(CONFIG).unlink(), f"there is no {CONFIG}, which the role snapshots brings"),
    ],
    ids=["ext4", "no snapper", "no configuration"],
)
def test_a_host_that_cannot_have_one(
    rig: SnapperHost, capsys: pytest.CaptureFixture[str], act: Act, reason: str
) -> None:
    act(rig)
    assert snapshot(rig, WHY) == WRONG_INPUT
    assert tuple(capsys.readouterr()) == ("", f"mlrig: no snapshot can be taken: {reason}\n")
    assert snapshot(rig, "--json", WHY) == WRONG_INPUT
    assert json.loads(capsys.readouterr().out) == {"error": f"no snapshot can be taken: {reason}"}
    assert rig.calls == []


@pytest.mark.parametrize("why", ["", " ", "two\nlines", "\x1b[2J"])
def test_a_description_that_says_nothing_is_refused(
    rig: SnapperHost, capsys: pytest.CaptureFixture[str], why: str
) -> None:
    assert snapshot(rig, why) == WRONG_INPUT
    assert capsys.readouterr().err == f"mlrig: the description must be one line of text that says why; got: {why!r}\n"
    assert rig.calls == []


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Output(1, "", "Creating snapshot failed.\n"), "Creating snapshot failed."),
        (Output(0, "", "a warning alone\n"), "a warning alone"),
    ],
    ids=["status", "no number"],
)
def test_snapper_fails(
    rig: SnapperHost,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    output: Output,
    message: str,
) -> None:
    rig.outputs["snapper --config=root create"] = output
    for user, hint in ((0, ""), (1000, "; it takes root: sudo mlrig snapshot")):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert snapshot(rig, WHY) == FAILED
        assert tuple(capsys.readouterr()) == ("", f"mlrig: snapper took no snapshot: {message}{hint}\n")


@pytest.mark.parametrize("arguments", [(), ("one", "two"), ("--force", "why")])
def test_wrong_arguments(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["snapshot", *arguments])
    assert raised.value.code == WRONG_INPUT
    assert "usage: mlrig" in capsys.readouterr().err
