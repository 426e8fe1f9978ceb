# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was set is on record, as a driver does not tell which clocks are locked: when a record counts, and when not."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Setting, SettingsError

from .conftest import Host
from .gpu_host import BOOT_ID, DRIVER, SHORT, SUSPENDS, VERSION, GpuHost

LOCKED: dict[str, Any] = {
    "match": "all",
    "persistence_mode": True,
    "power_limit": 280,
    "graphics_clocks": [900, 1500],
    "memory_clocks": [5001, 5001],
}
LOCKS = ("graphics_clocks", "memory_clocks")
ON_RECORD = {
    "graphics_clocks": "900-1500 MHz",
    "memory_clocks": "5001-5001 MHz",
    "persistence_mode": "enabled",
    "power_limit": "280 W",
}


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> GpuHost:
    """All is set and on record."""
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090")
    rig.run(LOCKED)
    return rig


def lock(rig: GpuHost, *gpus: Any, **options: Any) -> Setting:
    return rig.records(rig.run(*(gpus or [LOCKED]), **options))["0/graphics_clocks"]


def told(record: Setting) -> tuple[str | None, str, str | None]:
    return record.actual, record.action, record.evidence


COUNTS = ("900-1500 MHz", "none", "recorded")
UNKNOWN = (None, "changed", "unknown")


def test_what_was_set_is_on_record(rig: GpuHost) -> None:
    assert rig.recorded() == ON_RECORD
    assert oct(rig.host.path(f"/run/mlrig/gpu/{rig.uuid(0)}.json").stat().st_mode & 0o777) == "0o644"


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("wish", [[900, 1500], [900, 900], "reset"])
def test_a_lock_is_never_claimed_to_be_read(rig: GpuHost, wish: object, *, force: bool) -> None:
    rig.host.path(f"/run/mlrig/gpu/{rig.uuid(0)}.json").unlink()
    gpus = {**LOCKED, "graphics_clocks": wish, "memory_clocks": wish}
    for _again in range(2):
        records = rig.records(rig.run(gpus, force=force))
        assert {records[f"0/{name}"].evidence for name in LOCKS} <= {"recorded", "unknown"}
        assert {records[f"0/{name}"].evidence for name in ("persistence_mode", "power_limit")} == {"read"}


def test_what_is_on_record_is_not_set_again(rig: GpuHost) -> None:
    for name in ("SetGpuLockedClocks", "ResetGpuLockedClocks", "SetMemoryLockedClocks", "ResetMemoryLockedClocks"):
        rig.simgpu("fail", 0, f"nvmlDevice{name}", 999)
    assert told(lock(rig)) == COUNTS


def test_another_lock_takes_the_place_of_the_one_on_record(rig: GpuHost) -> None:
    assert told(lock(rig, {**LOCKED, "graphics_clocks": [900, 900]})) == ("900-1500 MHz", "changed", "recorded")
    assert rig.live()["locked_graphics_clocks"] == "900 900"
    assert rig.recorded()["graphics_clocks"] == "900-900 MHz"


def test_a_lock_that_is_lifted_is_on_record(rig: GpuHost) -> None:
    lifted = {**LOCKED, "graphics_clocks": "reset"}
    assert told(lock(rig, lifted)) == ("900-1500 MHz", "changed", "recorded")
    assert told(lock(rig, lifted)) == ("unlocked", "none", "recorded")
    assert "locked_graphics_clocks" not in rig.live()


def driver_of_another_version(rig: GpuHost) -> None:
    """Nothing but its version tells."""
    rig.machine.write("driver/version", "595.80.00")
    rig.machine.write("driver/module_version", "595.80.00")


def another_version_file(rig: GpuHost) -> None:
    new = rig.host.write(f"{VERSION}.new", rig.host.read(VERSION))
    new.rename(rig.host.path(VERSION))


ENDS_OF_THE_EPOCH: dict[str, Callable[[GpuHost], object]] = {
    "boot": lambda rig: rig.host.write(BOOT_ID, "71aa-second\n"),
    "driver loaded": GpuHost.replace_driver,
    "driver unloaded": lambda rig: rig.host.path(DRIVER).rmdir(),
    "module loaded": another_version_file,
    "module unloaded": lambda rig: rig.host.path(VERSION).unlink(),
    "suspend": lambda rig: rig.host.write(SUSPENDS, "1\n"),
    "driver version": driver_of_another_version,
}


@pytest.mark.parametrize("end", ENDS_OF_THE_EPOCH.values(), ids=ENDS_OF_THE_EPOCH)
def test_a_record_ends_with_its_epoch(rig: GpuHost, end: Callable[[GpuHost], object]) -> None:
    end(rig)
    rig.simgpu("unset", 0, "locked_graphics_clocks")
    assert told(lock(rig, check_mode=True)) == UNKNOWN
    records = rig.records(rig.run(LOCKED))
    assert [told(records[f"0/{name}"]) for name in LOCKS] == [UNKNOWN] * 2
    # what can be read is not set again
    assert [records[f"0/{name}"].action for name in ("persistence_mode", "power_limit")] == ["none"] * 2
    assert rig.live()["locked_graphics_clocks"] == "900 1500"
    assert told(lock(rig)) == COUNTS


def test_a_record_lasts_while_its_epoch_does(rig: GpuHost) -> None:
    """Files that are only written anew end nothing."""
    rig.host.write(BOOT_ID, rig.host.read(BOOT_ID))
    rig.host.write(VERSION, rig.host.read(VERSION))
    os.utime(rig.host.path(DRIVER), (1, 1))
    assert told(lock(rig)) == COUNTS


def test_a_host_that_tells_nothing_of_its_epoch(rig: GpuHost) -> None:
    """As a kernel without suspend, or a container."""
    for name in (BOOT_ID, SUSPENDS, VERSION):
        rig.host.path(name).unlink()
    assert told(lock(rig)) == UNKNOWN
    assert told(lock(rig)) == COUNTS


def test_a_driver_that_is_loaded_again_has_forgotten(rig: GpuHost) -> None:
    rig.simgpu("reload")
    rig.replace_driver()
    assert rig.live() == {}
    records = rig.records(rig.run(LOCKED))
    assert {record.action for record in records.values()} == {"changed"}
    assert rig.live()["locked_memory_clocks"] == "5001 5001"
    assert {record.action for record in rig.run(LOCKED).records} == {"none"}


def test_persistence_mode_that_was_switched_off_ends_the_record(rig: GpuHost) -> None:
    rig.simgpu("set", 0, "persistence_mode", 0)
    rig.simgpu("unset", 0, "locked_graphics_clocks")
    assert told(lock(rig, check_mode=True)) == UNKNOWN
    assert told(lock(rig)) == UNKNOWN
    assert rig.live()["locked_graphics_clocks"] == "900 1500"
    assert told(lock(rig)) == COUNTS


@pytest.mark.parametrize("wish", [{}, {"persistence_mode": False}])
def test_without_persistence_mode_a_second_run_changes_nothing(rig: GpuHost, wish: dict[str, Any]) -> None:
    rig.simgpu("set", 0, "persistence_mode", 0)
    settings = rig.run({"match": "all", "graphics_clocks": [900, 1500], **wish})
    assert settings.differing == []
    assert "without persistence_mode the driver forgets graphics_clocks" in settings.warnings[0]


def test_a_lock_that_another_program_changed_is_not_noticed_until_it_is_forced(rig: GpuHost) -> None:
    rig.simgpu("set", 0, "locked_graphics_clocks", "210 210")
    assert told(lock(rig)) == COUNTS
    assert rig.live()["locked_graphics_clocks"] == "210 210"
    assert told(lock(rig, force=True)) == UNKNOWN
    assert rig.live()["locked_graphics_clocks"] == "900 1500"
    assert told(lock(rig)) == COUNTS


def test_force_sets_locks_every_time_and_nothing_else(rig: GpuHost) -> None:
    for options in ({}, {}, {"check_mode": True}):
        settings = rig.run(LOCKED, force=True, **options)
        found = {name: record.action for name, record in rig.records(settings).items()}
        assert found == {
            "0/persistence_mode": "none",
            "0/power_limit": "none",
            "0/graphics_clocks": "changed",
            "0/memory_clocks": "changed",
        }
        assert settings.failed == []


def test_what_can_be_read_is_believed_before_the_record(rig: GpuHost) -> None:
    rig.simgpu("set", 0, "power_limit", 300000)
    record = rig.records(rig.run(LOCKED))["0/power_limit"]
    assert (record.actual, record.action, record.evidence) == ("300 W", "changed", "read")
    assert rig.live()["power_limit"] == "280000"


AWAKE = {"match": "all", "persistence_mode": True}


def test_purge_gives_back_what_an_earlier_run_set(rig: GpuHost) -> None:
    rig.run({**LOCKED, "compute_mode": "prohibited"})
    assert {record.action for record in rig.run(AWAKE).records} == {"none"}
    assert rig.live()["power_limit"] == "280000"
    wanted = {**AWAKE, "memory_clocks": [5001, 5001]}
    checked, done = (rig.run(wanted, purge=True, check_mode=check_mode) for check_mode in (True, False))
    assert checked.as_result() == done.as_result()
    assert {name: (each.expected, each.actual, each.action) for name, each in rig.records(done).items()} == {
        "0/persistence_mode": ("enabled", "enabled", "none"),
        "0/compute_mode": ("default", "prohibited", "changed"),
        "0/power_limit": ("350 W", "280 W", "changed"),
        "0/graphics_clocks": ("unlocked", "900-1500 MHz", "changed"),
        "0/memory_clocks": ("5001-5001 MHz", "5001-5001 MHz", "none"),
    }
    assert rig.live() == {
        "persistence_mode": "1",
        "compute_mode": "0",
        "power_limit": "350000",
        "locked_memory_clocks": "5001 5001",
    }
    assert {record.action for record in rig.run(wanted, purge=True).records} == {"none"}


def test_purge_leaves_what_it_never_set(rig: GpuHost) -> None:
    rig.simgpu("set", 0, "compute_mode", 2)
    rig.run(AWAKE, purge=True)
    assert rig.live()["compute_mode"] == "2"


def test_purge_with_no_entry_at_all(rig: GpuHost) -> None:
    rig.run(purge=True)
    assert rig.live() == {"persistence_mode": "1", "power_limit": "350000"}


def test_purge_leaves_what_was_set_by_others_after_it_gave_it_back(rig: GpuHost) -> None:
    """Only what an earlier run set is given back."""
    rig.run(AWAKE, purge=True)
    rig.simgpu("set", 0, "power_limit", 300000)
    rig.run(AWAKE, purge=True)
    assert rig.live()["power_limit"] == "300000"


def test_purge_leaves_what_the_gpu_cannot_have(rig: GpuHost) -> None:
    rig.simgpu("fail", 0, "nvmlDeviceSetGpuLockedClocks", 3)
    assert lock(rig, {**LOCKED, "graphics_clocks": [1500, 1500]}).action == "skipped"
    assert "0/graphics_clocks" not in rig.records(rig.run(AWAKE, purge=True))


def test_purge_reaches_back_beyond_a_resume(rig: GpuHost) -> None:
    rig.host.write(SUSPENDS, "1\n")
    rig.run(LOCKED, purge=True)
    rig.run(AWAKE, purge=True)
    assert rig.live() == {"persistence_mode": "1", "power_limit": "350000"}
    assert [record.id.rpartition("/")[2] for record in rig.run(AWAKE, purge=True).records] == ["persistence_mode"]


@pytest.mark.parametrize("refusal", ["999", "hang"])
def test_what_could_not_be_given_back_is_given_back_later(rig: GpuHost, refusal: str) -> None:
    rig.simgpu("fail", 0, "nvmlDeviceResetGpuLockedClocks", refusal)
    assert rig.module(AWAKE, purge=True, patience=SHORT).failure is not None
    assert rig.live()["locked_graphics_clocks"] == "900 1500"
    rig.simgpu("heal")
    rig.run(AWAKE, purge=True)
    assert "locked_graphics_clocks" not in rig.live()


def test_what_a_killed_run_had_set_is_given_back(rig: GpuHost) -> None:
    rig.run(AWAKE, purge=True)
    rig.simgpu("fail", 0, "nvmlDeviceSetMemoryLockedClocks", "hang")
    with pytest.raises(SettingsError):
        rig.run(LOCKED, purge=True, patience=SHORT)
    rig.simgpu("heal")
    rig.run(AWAKE, purge=True)
    assert rig.live() == {"persistence_mode": "1", "power_limit": "350000"}


def test_hibernation_ends_the_epoch(rig: GpuHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel does not count it as a suspend, but the time that it took."""
    clock = time.clock_gettime
    slept = {time.CLOCK_BOOTTIME: 3600.0}
    monkeypatch.setattr(time, "clock_gettime", lambda which: clock(which) + slept.get(which, 0.0))
    assert told(lock(rig)) == UNKNOWN
    assert told(lock(rig)) == COUNTS


def epoch_of(rig: GpuHost) -> object:
    return json.loads(rig.host.read(f"/run/mlrig/gpu/{rig.uuid(0)}.json"))["epoch"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "7",
        "[]",
        '"text"',
        "{}",
        '{"epoch": EPOCH}',
        '{"epoch": EPOCH, "settings": null}',
        '{"epoch": EPOCH, "settings": ["graphics_clocks"]}',
        '{"epoch": EPOCH, "settings": {"graphics_clocks": null}}',
        '{"settings": {"graphics_clocks": "900-1500 MHz"}}',
        '{"epoch": null, "settings": {"graphics_clocks": "900-1500 MHz"}}',
        '{"epoch": {}, "settings": {"graphics_clocks": "900-1500 MHz"}}',
        b"\xff\x00\xfe",
    ],
)
def test_a_broken_record_is_replaced(rig: GpuHost, text: str | bytes) -> None:
    epoch = json.dumps(epoch_of(rig))
    record = text.replace("EPOCH", epoch) if isinstance(text, str) else text
    rig.host.write(f"/run/mlrig/gpu/{rig.uuid(0)}.json", record)
    assert lock(rig, check_mode=True).action == "changed"
    assert lock(rig).action == "changed"
    assert told(lock(rig)) == COUNTS
    assert {name: rig.recorded()[name] for name in LOCKS} == {name: ON_RECORD[name] for name in LOCKS}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_that_is_killed_leaves_no_false_record(rig: GpuHost) -> None:
    """Before the driver took it, which nobody knows."""
    rig.intercept("nvmlDeviceSetGpuLockedClocks", die)
    with pytest.raises(SettingsError) as raised:
        rig.run({**LOCKED, "power_limit": 300, "graphics_clocks": [1500, 1500], "memory_clocks": [405, 405]})
    assert str(raised.value) == (
        "the process that asked the NVIDIA driver died while setting graphics_clocks of "
        "GPU 0 (NVIDIA GeForce RTX 3090) to 1500-1500 MHz"
    )
    true = {"memory_clocks": "5001-5001 MHz", "persistence_mode": "enabled", "power_limit": "300 W"}
    assert rig.live()["power_limit"] == "300000"
    assert rig.recorded().items() <= true.items()
    assert rig.recorded()["persistence_mode"] == "enabled"
    assert told(lock(rig, check_mode=True)) == UNKNOWN


def test_a_run_that_is_killed_while_it_reads_changes_nothing(rig: GpuHost) -> None:
    before = rig.host.texts()
    rig.intercept("nvmlDeviceGetPowerManagementLimit", die)
    with pytest.raises(SettingsError, match=r"died while reading power_limit of GPU 0 \(NVIDIA GeForce RTX 3090\)$"):
        rig.run({**LOCKED, "graphics_clocks": "reset"})
    assert rig.host.texts() == before


def test_a_setting_that_is_refused_is_not_on_record(rig: GpuHost) -> None:
    rig.simgpu("fail", 0, "nvmlDeviceSetGpuLockedClocks", 999)
    assert lock(rig, {**LOCKED, "graphics_clocks": [1500, 1500]}).action == "failed"
    assert "graphics_clocks" not in rig.recorded()
    rig.simgpu("heal")
    assert told(lock(rig)) == UNKNOWN


@pytest.mark.parametrize("file", ["/run", "/run/mlrig", "/run/mlrig/gpu"])
def test_nothing_is_set_where_nothing_can_be_recorded(host: Host, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090", "rtx-3090")
    host.write(file, "no folder")
    module = rig.module(LOCKED)
    assert module.failure is not None
    assert file in module.failure
    assert (rig.live(0), rig.live(1)) == ({}, {})
    host.path(file).unlink()
    assert rig.module(LOCKED).failure is None


def test_nothing_is_set_by_a_user_who_may_not_record_it(
    open_host: Host, monkeypatch: pytest.MonkeyPatch, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    rig = GpuHost(open_host, monkeypatch)
    rig.start("rtx-3090")
    open_host.path("/run").mkdir()
    open_host.path("/run").chmod(0o555)
    record = open_host.path(f"/run/mlrig/gpu/{rig.uuid(0)}.json")
    assert as_nobody(lambda: rig.run(LOCKED)) == f"cannot write {record}: that needs root"
    assert rig.live() == {}
    assert as_nobody(lambda: rig.run(LOCKED, check_mode=True)) == ""


def test_one_gpu_whose_record_cannot_be_read_stops_the_run_before_anything_is_set(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090", "rtx-3090")
    record = host.path(f"/run/mlrig/gpu/{rig.uuid(1)}.json")
    record.mkdir(parents=True)
    module = rig.module(LOCKED)
    assert module.failure == f"cannot read {record}: Is a directory"
    assert (rig.live(0), rig.live(1)) == ({}, {})


def test_everyone_may_read_the_records(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the first run was one of Ansible's, on a host whose files are private unless told otherwise."""
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090")
    before = os.umask(0o077)
    try:
        rig.run(LOCKED)
    finally:
        os.umask(before)
    modes = {
        name: oct(host.path(name).stat().st_mode & 0o777)
        for name in ("/run/mlrig", "/run/mlrig/gpu", f"/run/mlrig/gpu/{rig.uuid(0)}.json")
    }
    assert list(modes.values()) == ["0o755", "0o755", "0o644"]


def test_two_runs_do_not_set_at_the_same_time(rig: GpuHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    rig.host.write("/run/mlrig/gpu.lock", "")
    with rig.host.path("/run/mlrig/gpu.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(
            SettingsError,
            match=r"^another run of mlrig has been setting GPUs for 1 s \(it holds /run/mlrig/gpu.lock\)$",
        ):
            rig.run({**LOCKED, "power_limit": 300}, patience=SHORT)
        assert rig.live()["power_limit"] == "280000"
        # who only looks does not wait
        assert told(lock(rig, check_mode=True)) == COUNTS
    rig.run({**LOCKED, "power_limit": 300})
    assert rig.live()["power_limit"] == "300000"
