# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file from which GPUs are set at boot, and the module nvidia_gpu that writes it."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_configuration import (
    CONFIGURATION,
    parse_request,
    persist,
    read_configuration,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_plan import GpuRequest
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_run import run
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    RequestError,
    Settings,
    SettingsError,
)
from ansible_collections.mlrig.workstation.plugins.modules import nvidia_gpu

from .conftest import Host
from .gpu_host import PATIENCE, SHORT, FakeModule, GpuHost

FILE = str(CONFIGURATION)
# As Ansible hands them to the module: what the user left out is None, what has a default has it.
LEFT_OUT = dict.fromkeys(
    ("persistence_mode", "power_limit", "graphics_clocks", "memory_clocks", "compute_mode", "note"), None
)
OPTIONS: dict[str, Any] = {
    "cards": [{"match": "all", "persistence_mode": True, "note": "ü"}],
    "gpus": [
        {
            **LEFT_OUT,
            "match": {"uuid": "GPU-8D1C3F5A-0b2e-4c6d-9e8f-7a6b5c4d3e2f"},
            "required": False,
            "power_limit": "90%",
            "graphics_clocks": [210, "80%"],
            "memory_clocks": "reset",
        },
        {**LEFT_OUT, "match": {"name": "RTX", "index": None}, "required": True, "compute_mode": "prohibited"},
    ],
    "strict": True,
}


def wishes(request: GpuRequest) -> list[tuple[object, ...]]:
    return [(str(each.match), each.settings, each.required, each.clamp) for each in request.entries]


def test_what_may_be_left_out() -> None:
    assert parse_request({}, purge=True, force=False) == GpuRequest([], purge=True)
    assert parse_request({"cards": [], "gpus": []}, purge=False, force=True) == GpuRequest([], force=True)


def test_cards_come_first() -> None:
    request = parse_request(OPTIONS, purge=False, force=False)
    assert [entry.where for entry in request.entries] == ["cards[0]", "gpus[0]", "gpus[1]"]
    assert [entry.clamp for entry in request.entries] == [True, False, False]
    assert request.strict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strict": "yes"}, "strict must be true or false; got: 'yes'"),
        ({"strict": None}, "strict must be true or false; got: None"),
        ({"gpus": "all"}, "gpus must be a list; got: 'all'"),
        ({"cards": {"match": "all"}}, "cards must be a list; got: {'match': 'all'}"),
        ({"gpus": {}}, "gpus must be a list; got: {}"),
        ({"gpus": False}, "gpus must be a list; got: False"),
        ({"cards": ""}, "cards must be a list; got: ''"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_request(options, purge=False, force=False)
    assert str(raised.value) == message


def test_what_is_written_is_read_as_it_was_asked_for(host: Host) -> None:
    settings = Settings()
    persist(OPTIONS, settings, host.root, check_mode=False)
    [record] = settings.records
    assert record.as_dict() == {
        "id": FILE,
        "plane": "persisted",
        "expected": "as wanted",
        "actual": None,
        "action": "changed",
    }
    found = read_configuration(host.root, CONFIGURATION)
    asked = parse_request(OPTIONS, purge=True, force=False)
    assert (wishes(found), found.strict, found.purge, found.force) == (wishes(asked), True, True, False)
    assert [entry.where for entry in found.entries] == [
        f"{FILE}: {where}" for where in ("cards[0]", "gpus[0]", "gpus[1]")
    ]
    assert read_configuration(host.root, CONFIGURATION, force=True).force
    assert host.path(FILE).stat().st_mode & 0o777 == 0o644
    document = json.loads(host.read(FILE))
    assert "mlrig.workstation (nvidia_gpu)" in document["managed_by"]
    assert None not in document["gpus"][0].values()


def test_second_time_changes_nothing_and_drift_is_mended(host: Host) -> None:
    persist(OPTIONS, Settings(), host.root, check_mode=False)
    text = host.read(FILE)
    again = Settings()
    persist(OPTIONS, again, host.root, check_mode=False)
    assert [(each.action, each.actual) for each in again.records] == [("none", "as wanted")]
    for drift in (text.replace("90%", "95%"), "", text[:-2], '{"gpus": []}'):
        host.write(FILE, drift)
        checked, mended = Settings(), Settings()
        persist(OPTIONS, checked, host.root, check_mode=True)
        assert host.read(FILE) == drift
        persist(OPTIONS, mended, host.root, check_mode=False)
        assert checked.as_result() == mended.as_result()
        assert [(each.action, each.expected) for each in mended.records] == [("changed", "as wanted")]
        assert host.read(FILE) == text


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_file_that_cannot_be_written(host: Host, *, check_mode: bool) -> None:
    host.write("/etc", "no folder")
    with pytest.raises(SettingsError, match=r"cannot (read|write) .*/etc/mlrig/gpu\.json"):
        persist(OPTIONS, Settings(), host.root, check_mode=check_mode)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, f"{FILE} does not exist: the role gpu_tuning writes it"),
        ("", f"{FILE} must be JSON: "),
        ("gpus: []", f"{FILE} must be JSON: "),
        ('{"gpus": [}', f"{FILE} must be JSON: "),
        (b"\xff\xfe", f"{FILE} must be JSON: "),
        ("[]", f"{FILE} must be a dictionary of cards, gpus, strict; got: []"),
        ("null", f"{FILE} must be a dictionary of cards, gpus, strict; got: None"),
        ('{"gpu": []}', f"{FILE} must not have gpu; it may have cards, gpus, strict; got: []"),
        ('{"gpus": "all"}', f"{FILE}: gpus must be a list; got: 'all'"),
        ('{"cards": [7]}', f"{FILE}: cards[0] must be a dictionary; got: 7"),
        ('{"strict": 1}', f"{FILE}: strict must be true or false; got: 1"),
        ('{"gpus": [{"match": "all", "power_limit": "much"}]}', f"{FILE}: gpus[0].power_limit must be watts such as"),
    ],
)
def test_a_file_that_is_wrong(host: Host, text: str | bytes | None, message: str) -> None:
    if text is not None:
        host.write(FILE, text)
    with pytest.raises(RequestError) as raised:
        read_configuration(host.root, CONFIGURATION)
    assert str(raised.value).startswith(message)


def test_a_file_of_ones_own(host: Host) -> None:
    host.write("/home/ada/gpu.json", '{"gpus": [{"match": "all", "persistence_mode": true}]}')
    request = read_configuration(host.root, Path("/home/ada/gpu.json"))
    assert wishes(request) == [("all", {"persistence_mode": True}, True, False)]


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> GpuHost:
    return GpuHost(host, monkeypatch)


def play(rig: GpuHost, *gpus: dict[str, Any], patience: float = PATIENCE, **options: Any) -> FakeModule:
    """Runs the module itself, as Ansible does."""
    module = FakeModule(options.pop("check_mode", False))
    filled = [{**LEFT_OUT, "required": True, **each} for each in gpus]
    flags = {"persist": True, "strict": False, "purge": False, "force": False}
    module.params = {"cards": [], "gpus": filled, **flags, **options}
    with rig.monkeypatch.context() as patch:
        patch.setattr(nvidia_gpu, "AnsibleModule", lambda **_: module)
        patch.setattr(nvidia_gpu, "run", partial(run, root=rig.host.root, patience=patience))
        patch.setattr(nvidia_gpu, "Path", lambda _: rig.host.root)
        nvidia_gpu.main()
    return module


WANTED = {"match": "all", "persistence_mode": True, "power_limit": 280}


def test_the_module_sets_and_persists(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    before = rig.host.texts()
    checked = play(rig, WANTED, check_mode=True)
    assert rig.host.texts() == before
    done = play(rig, WANTED)
    assert (done.failure, checked.failure, checked.result) == (None, None, done.result)
    assert done.result is not None
    assert (done.result["changed"], done.result["settings"][-1]["id"]) == (True, FILE)
    assert rig.live()["power_limit"] == "280000"
    again = play(rig, WANTED)
    assert again.result is not None
    assert again.result["changed"] is False
    assert rig.mlrig("gpu", "status") == 0


def test_the_module_persists_nothing_unless_asked(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    play(rig, WANTED, persist=False)
    assert not rig.host.path(FILE).exists()


@pytest.mark.parametrize(
    "wrong",
    [{**WANTED, "power_limit": 9999}, {**WANTED, "match": {"index": 7}}, {**WANTED, "power_limit": "much"}],
    ids=["beyond the range", "no such GPU", "no limit"],
)
def test_what_does_not_fit_the_host_is_not_persisted(rig: GpuHost, wrong: dict[str, Any]) -> None:
    rig.start("rtx-3090")
    module = play(rig, wrong)
    assert (module.failure is not None, module.result) == (True, None)
    assert not rig.host.path(FILE).exists()


@pytest.mark.parametrize("binding", [True, False])
def test_what_cannot_be_set_now_is_persisted(rig: GpuHost, *, binding: bool) -> None:
    """The driver may be installed, but wait for a reboot."""
    rig.start("rtx-3090")
    rig.simgpu("unload")
    if not binding:
        rig.monkeypatch.setitem(sys.modules, "pynvml", None)
    module = play(rig, WANTED, check_mode=not binding)
    assert module.failure is None
    assert module.result is not None
    assert [each["action"] for each in module.result["settings"]] == ["skipped", "skipped", "changed"]
    assert len(module.warnings) == 1
    assert rig.host.path(FILE).exists() is binding


def test_a_host_without_gpus_is_configured_too(rig: GpuHost) -> None:
    module = play(rig, WANTED)
    assert (module.failure, module.warnings, rig.host.path(FILE).exists()) == (None, [], True)


def test_it_is_persisted_although_one_gpu_refuses(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    rig.simgpu("fail", 0, "nvmlDeviceSetPowerManagementLimit", 8)
    module = play(rig, WANTED)
    assert module.failure is not None
    assert "a power cable is missing" in module.failure
    assert module.result is not None
    assert module.result["settings"][-1]["id"] == FILE
    assert rig.host.path(FILE).exists()


def test_nothing_is_persisted_when_the_driver_hangs(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    rig.simgpu("fail", 0, "nvmlDeviceGetPowerManagementLimit", "hang")
    module = play(rig, WANTED, patience=SHORT)
    assert module.failure is not None
    assert "did not answer" in module.failure
    assert not rig.host.path(FILE).exists()
