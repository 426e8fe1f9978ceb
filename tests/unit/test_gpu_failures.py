# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong, in one table: what is said of it, and that it keeps nothing else from being set.

A host has an RTX 3090 (GPU 0) and an RTX 4060 Ti (GPU 1), of which everything is wanted, if a case says nothing else.
"""

from __future__ import annotations

import fcntl
import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError, run_state_module

from .conftest import Host
from .gpu_host import SHORT, FakeModule, GpuHost

EVERYTHING: dict[str, Any] = {
    "match": "all",
    "persistence_mode": True,
    "compute_mode": "exclusive_process",
    "power_limit": 150,
    "graphics_clocks": [900, 1500],
    "memory_clocks": [5001, 5001],
}
SET = {
    "persistence_mode": "1",
    "compute_mode": "3",
    "power_limit": "150000",
    "locked_graphics_clocks": "900 1500",
    "locked_memory_clocks": "5001 5001",
}
FIRST, SECOND = "GPU 0 (NVIDIA GeForce RTX 3090)", "GPU 1 (NVIDIA GeForce RTX 4060 Ti)"

# The exit statuses that `mlrig --help` promises.
FINE, FAILED, WRONG_INPUT, UNAVAILABLE = 0, 1, 2, 4

LIMIT, GPU_LOCK, MEMORY_LOCK = "PowerManagementLimit", "GpuLockedClocks", "MemoryLockedClocks"
SETTING_OF = {
    "PersistenceMode": "persistence_mode",
    "ComputeMode": "compute_mode",
    LIMIT: "power_limit",
    GPU_LOCK: "graphics_clocks",
    MEMORY_LOCK: "memory_clocks",
}
TOLD = {
    "persistence_mode": "persistence_mode",
    "compute_mode": "compute_mode",
    "power_limit": "power_limit",
    "graphics_clocks": "locked_graphics_clocks",
    "memory_clocks": "locked_memory_clocks",
}
WANTED = {
    "persistence_mode": "enabled",
    "compute_mode": "exclusive_process",
    "power_limit": "150 W",
    "graphics_clocks": "900-1500 MHz",
    "memory_clocks": "5001-5001 MHz",
}


@dataclass(frozen=True)
class Case:
    """What goes wrong, and what is promised.

    breaks: what simgpu is told. says: parts of the message of each record that is not as wanted, by its id.
    action: that of these records. outcome: the module's. set: what each GPU was told. status: of `mlrig gpu apply`.
    warns: part of a warning. unset: the settings of GPU 0 that were not made.
    """

    id: str
    breaks: tuple[str, ...]
    says: Mapping[str, tuple[str, ...]]
    status: int
    action: Literal["failed", "skipped"] = "failed"
    unset: tuple[str, ...] = ()
    lost: tuple[int, ...] = ()
    gpus: tuple[dict[str, Any], ...] = (EVERYTHING,)
    cards: tuple[dict[str, Any], ...] = ()
    strict: bool = False
    warns: str | None = None
    set: dict[int, dict[str, str]] = field(default_factory=dict)

    @property
    def expected(self) -> dict[int, dict[str, str]]:
        nothing = {TOLD[name] for name in self.unset}
        return {
            0: {} if 0 in self.lost else {name: value for name, value in SET.items() if name not in nothing},
            1: {} if 1 in self.lost else SET,
        } | self.set


def setter(kind: str, what: int | str, *causes: str, **promised: Any) -> Case:
    """A setter of GPU 0 refuses. All other settings are made."""
    name = SETTING_OF[kind]
    parts = causes or (f"(NVML error {what})",)
    promised = {"status": FAILED, "unset": (name,), **promised}
    says = {f"0/{name}": (FIRST, f"cannot set {name} to {WANTED[name]}: ", *parts)}
    return Case(f"set {name}: {what}", (f"fail 0 nvmlDeviceSet{kind} {what}",), says, **promised)


def getter(function: str, name: str, what: int, *causes: str, **promised: Any) -> Case:
    """A getter of GPU 0 refuses, so that its setting is left alone."""
    promised = {"status": FAILED, "unset": (name,), **promised}
    parts = causes or (f"cannot read {name}: ", f"(NVML error {what})")
    return Case(
        f"{function}: {what}", (f"fail 0 nvmlDeviceGet{function} {what}",), {f"0/{name}": (FIRST, *parts)}, **promised
    )


def silent(number: int, index: int, *causes: str) -> Case:
    """A GPU that answers nothing at all."""
    says = {
        f"{index}/{name}": (f"cannot set {name}", f"GPU {index} does not answer", f"(NVML error {number})", *causes)
        for name in WANTED
    }
    return Case(f"GPU {index}: {number}", (f"fail {index} all {number}",), says, FAILED, lost=(index,))


def unavailable(identity: str, cause: str, *breaks: str, **promised: Any) -> Case:
    says = {f"gpus[0]/{name}": (f"cannot set {name} (all): {cause}",) for name in WANTED}
    promised = {"status": UNAVAILABLE, "action": "skipped", "warns": f"no GPU was set: {cause}", **promised}
    return Case(identity, breaks, says, lost=(0, 1), **promised)


ROOT, RESET, CABLE, REBOOT = (
    "that needs root, and in a container CAP_SYS_ADMIN",
    "reset it or reboot",
    "a power cable is missing",
    "reboot to recover it",
)
SKIPPED: dict[str, Any] = {"status": FINE, "action": "skipped"}
NOT_LOADED = "the NVIDIA driver is not loaded"
MISMATCH = "the loaded NVIDIA kernel module and the driver's libraries differ in version: reboot"

CASES = [
    # a setter refuses
    setter("PersistenceMode", 4, "(NVML error 4)", ROOT),
    setter("ComputeMode", 4, "(NVML error 4)", ROOT),
    setter(LIMIT, 4, "(NVML error 4)", ROOT),
    setter(GPU_LOCK, 4, "(NVML error 4)", ROOT),
    setter(MEMORY_LOCK, 4, "(NVML error 4)", ROOT),
    setter(LIMIT, 2),
    setter(LIMIT, 8, "(NVML error 8)", CABLE),
    setter(LIMIT, 10),
    setter(GPU_LOCK, 10),
    setter("PersistenceMode", 15, "GPU is lost (NVML error 15)", REBOOT),
    setter(LIMIT, 15, "GPU is lost (NVML error 15)", REBOOT),
    setter(MEMORY_LOCK, 15, "GPU is lost (NVML error 15)", REBOOT),
    setter("ComputeMode", 16, "(NVML error 16)", RESET),
    setter(GPU_LOCK, 16, "(NVML error 16)", RESET),
    setter("ComputeMode", 19),
    setter("PersistenceMode", 999),
    setter("ComputeMode", 999),
    setter(LIMIT, 999, "Unknown Error (NVML error 999)"),
    setter(GPU_LOCK, 999),
    setter(MEMORY_LOCK, 999),
    # a setter of a GPU that cannot have it, which is no failure, unless it is one
    setter("PersistenceMode", 3, **SKIPPED),
    setter("ComputeMode", 3, **SKIPPED),
    setter(LIMIT, 3, **SKIPPED),
    setter(GPU_LOCK, 3, **SKIPPED),
    setter(MEMORY_LOCK, 3, **SKIPPED),
    setter(MEMORY_LOCK, 13, **SKIPPED),
    setter(LIMIT, 3, strict=True),
    setter(MEMORY_LOCK, 3, strict=True),
    # a setter that says yes and does nothing
    Case(
        "persistence_mode does not take",
        ("fail 0 nvmlDeviceSetPersistenceMode ignored",),
        {"0/persistence_mode": ("did not take: set to 'enabled', reads 'disabled'",)},
        FAILED,
        unset=("persistence_mode",),
    ),
    Case(
        "compute_mode does not take",
        ("fail 0 nvmlDeviceSetComputeMode ignored",),
        {"0/compute_mode": ("did not take: set to 'exclusive_process', reads 'default'",)},
        FAILED,
        unset=("compute_mode",),
    ),
    Case(
        "power_limit does not take",
        ("fail 0 nvmlDeviceSetPowerManagementLimit ignored",),
        {"0/power_limit": ("did not take: set to '150 W', reads '350 W'",)},
        FAILED,
        unset=("power_limit",),
    ),
    # a getter refuses
    getter("PersistenceMode", "persistence_mode", 999),
    getter("ComputeMode", "compute_mode", 999),
    getter("PowerManagementLimit", "power_limit", 999),
    getter("PowerManagementLimit", "power_limit", 15, "(NVML error 15)", REBOOT),
    getter("PowerManagementLimitConstraints", "power_limit", 999),
    getter("PowerManagementDefaultLimit", "power_limit", 10),
    getter("PersistenceMode", "persistence_mode", 3, "it has no persistence mode", **SKIPPED),
    getter("ComputeMode", "compute_mode", 3, "cannot have compute_mode: it has no compute mode", **SKIPPED),
    getter("PowerManagementLimit", "power_limit", 3, "cannot have power_limit: it does not tell", **SKIPPED),
    getter("PowerManagementLimitConstraints", "power_limit", 3, "it does not let its power limit be set", **SKIPPED),
    getter("PowerManagementDefaultLimit", "power_limit", 13, "it does not let its power limit be set", **SKIPPED),
    getter("ComputeMode", "compute_mode", 3, "it has no compute mode", strict=True),
    # a getter refuses of which nothing is wanted
    Case(
        "persistence_mode is not asked for and cannot be read",
        ("fail 0 nvmlDeviceGetPersistenceMode 999",),
        {},
        FINE,
        gpus=({"match": "all", "compute_mode": "prohibited", "power_limit": 150},),
        set={slot: {"compute_mode": "2", "power_limit": "150000"} for slot in (0, 1)},
    ),
    Case(
        "clocks are not told",
        ("fail 0 nvmlDeviceGetSupportedMemoryClocks 3", "fail 0 nvmlDeviceGetMaxClockInfo 3"),
        {},
        FINE,
    ),
    # a whole GPU
    silent(15, 0, "GPU is lost", REBOOT),
    silent(15, 1, "GPU is lost", REBOOT),
    silent(16, 0, RESET),
    silent(999, 1, "Unknown Error"),
    Case(
        "a GPU does not tell its UUID",
        ("fail 0 nvmlDeviceGetUUID 999",),
        {f"0/{name}": ("GPU 0 does not answer", "(NVML error 999)") for name in WANTED},
        FAILED,
        lost=(0,),
    ),
    Case(
        "a GPU that is wanted by its address is lost",
        ("fail 0 all 15",),
        {"gpus[1]/compute_mode": ("cannot set compute_mode", "bus_id 0000:01:00.0", "GPU 0 does not: GPU is lost")},
        FAILED,
        lost=(0,),
        gpus=({**EVERYTHING, "match": {"index": 1}}, {"match": {"bus_id": "01:00.0"}, "compute_mode": "default"}),
    ),
    Case(
        "one of two that are wanted by their name is lost",
        ("fail 0 all 15",),
        {"0/compute_mode": ("cannot set compute_mode", "GPU 0", "GPU is lost (NVML error 15)", REBOOT)},
        FAILED,
        gpus=({"match": {"name": "RTX"}, "compute_mode": "exclusive_process"},),
        set={0: {}, 1: {"compute_mode": "3"}},
    ),
    Case(
        "one that a table of cards may be for is lost",
        ("fail 0 all 15",),
        {"0/compute_mode": ("cannot set compute_mode", "GPU 0", "GPU is lost (NVML error 15)", REBOOT)},
        FAILED,
        gpus=(),
        cards=({"match": {"name": "RTX"}, "compute_mode": "exclusive_process"},),
        set={0: {}, 1: {"compute_mode": "3"}},
    ),
    Case(
        "a GPU is lost that nothing is wanted of",
        ("fail 0 all 15",),
        {},
        FINE,
        gpus=({**EVERYTHING, "match": {"index": 1}},),
        set={0: {}},
    ),
    # both
    Case(
        "two GPUs fail in different ways",
        ("fail 0 nvmlDeviceSetComputeMode 4", "fail 1 nvmlDeviceSetPowerManagementLimit 8"),
        {"0/compute_mode": (FIRST, ROOT), "1/power_limit": (SECOND, CABLE)},
        FAILED,
        unset=("compute_mode",),
        set={1: {name: value for name, value in SET.items() if name != "power_limit"}},
    ),
    Case(
        "three settings of one GPU fail",
        tuple(f"fail 0 nvmlDeviceSet{kind} 999" for kind in (LIMIT, GPU_LOCK, MEMORY_LOCK)),
        {f"0/{SETTING_OF[kind]}": (FIRST, "(NVML error 999)") for kind in (LIMIT, GPU_LOCK, MEMORY_LOCK)},
        FAILED,
        unset=("power_limit", "graphics_clocks", "memory_clocks"),
    ),
    # the driver
    unavailable("the driver is not loaded", NOT_LOADED, "unload"),
    unavailable("the versions differ", MISMATCH, "driver 595.71.05 --module 580.105.08"),
    unavailable("the library is missing", "the NVIDIA driver is not installed", "fail driver nvmlInitWithFlags 12"),
    unavailable(
        "the driver does not say why",
        "the NVIDIA driver does not answer: Unknown Error (NVML error 999)",
        "fail driver nvmlInitWithFlags 999",
    ),
    unavailable(
        "the operating system blocks the driver",
        "the NVIDIA driver does not answer: ",
        "fail driver nvmlInitWithFlags 17",
    ),
    unavailable("the driver is not loaded, strictly", NOT_LOADED, "unload", strict=True, action="failed"),
]


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[GpuHost]:
    """A program uses the GPUs all the time, so that nothing is forgotten, whatever the persistence mode."""
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090", "rtx-4060-ti")
    with (rig.machine.folder / "live/clients").open() as user:
        fcntl.flock(user, fcntl.LOCK_SH)
        yield rig


def break_as(rig: GpuHost, case: Case) -> None:
    for command in case.breaks:
        rig.simgpu(*command.split())


each_case = pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case.id}{' strict' * case.strict}") for case in CASES]
)


@each_case
def test_what_is_said_and_done(rig: GpuHost, case: Case) -> None:
    break_as(rig, case)
    settings = rig.run(*case.gpus, cards=case.cards, strict=case.strict)
    records = rig.records(settings)
    not_as_wanted = {name: record for name, record in records.items() if record.action in ("failed", "skipped")}
    assert {name: record.action for name, record in not_as_wanted.items()} == dict.fromkeys(case.says, case.action)
    for name, parts in case.says.items():
        for part in parts:
            assert part in (not_as_wanted[name].reason or "")
    # all others were set, and are said to have been
    assert {record.action for name, record in records.items() if name not in case.says} <= {"changed"}
    assert (rig.live(0), rig.live(1)) == (case.expected[0], case.expected[1])
    if case.warns is not None:
        [warning] = settings.warnings
        assert warning.startswith(case.warns)

    module = FakeModule()
    run_state_module(module, lambda: settings)
    assert (module.warnings, module.result) == (settings.warnings, settings.as_result())
    assert (module.failure is not None) is (case.action == "failed" and case.says != {})
    for parts in case.says.values() if module.failure else ():
        for part in parts:
            assert part in (module.failure or "")


@each_case
def test_the_program(rig: GpuHost, case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    break_as(rig, case)
    rig.configure(*case.gpus, cards=case.cards, strict=case.strict)
    assert rig.mlrig("gpu", "apply") == case.status
    printed = capsys.readouterr().out
    for parts in case.says.values():
        for part in parts:
            assert part in printed
    assert (rig.live(0), rig.live(1)) == (case.expected[0], case.expected[1])
    assert rig.mlrig("gpu", "apply") == case.status  # it is the same again

    rig.simgpu("heal")
    rig.simgpu("driver", "595.71.05")
    rig.simgpu("load")
    rig.replace_driver()
    rig.configure(EVERYTHING)
    assert (rig.mlrig("gpu", "apply"), rig.mlrig("gpu", "status")) == (FINE, FINE)
    assert (rig.live(0), rig.live(1)) == (SET, SET)


DRIVER_FUNCTIONS = ("nvmlDeviceGetCount_v2", "nvmlSystemGetDriverVersion")


@pytest.mark.parametrize("function", DRIVER_FUNCTIONS)
def test_a_driver_that_cannot_even_list_its_gpus(
    rig: GpuHost, function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.simgpu("fail", "driver", function, 999)
    module = rig.module(EVERYTHING)
    assert module.failure is not None
    assert "Unknown Error (NVML error 999)" in module.failure
    assert "Traceback" not in module.failure
    rig.configure(EVERYTHING)
    assert rig.mlrig("gpu", "apply") in (FAILED, UNAVAILABLE)
    assert "Unknown Error (NVML error 999)" in "".join(capsys.readouterr())
    assert (rig.live(0), rig.live(1)) == ({}, {})


@pytest.mark.parametrize(
    ("breaks", "step", "done"),
    [
        ("fail driver nvmlInitWithFlags hang", "loading NVML", {}),
        ("fail driver nvmlDeviceGetCount_v2 hang", "counting GPUs", {}),
        ("fail 1 nvmlDeviceGetUUID hang", "looking for GPU 1", {}),
        ("fail 1 nvmlDeviceGetComputeMode hang", f"reading compute_mode of {SECOND}", {}),
        ("fail 1 nvmlDeviceSetPowerManagementLimit hang", f"setting power_limit of {SECOND} to 150 W", SET),
        ("fail 1 nvmlDeviceSetMemoryLockedClocks hang", f"setting memory_clocks of {SECOND} to 5001-5001 MHz", SET),
    ],
)
def test_a_driver_that_hangs(
    rig: GpuHost, breaks: str, step: str, done: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    rig.simgpu(*breaks.split())
    rig.configure(EVERYTHING)
    assert rig.mlrig("gpu", "apply", patience=SHORT) == FAILED
    said = f"the NVIDIA driver did not answer within {SHORT:g} s, while {step}"
    assert tuple(capsys.readouterr()) == ("", f"mlrig: {said}\n")
    assert rig.live(0) == done
    # nothing is left that stops the next run, and what was cut off is not on record
    rig.simgpu("heal")
    assert rig.run(EVERYTHING).failed == []
    assert (rig.live(0), rig.live(1)) == (SET, SET)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_module_whose_driver_hangs(rig: GpuHost, *, check_mode: bool) -> None:
    rig.simgpu("fail", 0, "nvmlDeviceGetPowerManagementLimit", "hang")
    module = rig.module(EVERYTHING, check_mode=check_mode, patience=SHORT)
    said = f"the NVIDIA driver did not answer within {SHORT:g} s, while reading power_limit of {FIRST}"
    assert (module.failure, module.result) == (said, None)


def test_a_driver_that_hangs_in_check_mode(rig: GpuHost, capsys: pytest.CaptureFixture[str]) -> None:
    rig.simgpu("fail", 0, "nvmlDeviceGetPowerManagementLimit", "hang")
    rig.configure(EVERYTHING)
    assert rig.mlrig("gpu", "status", "--json", patience=SHORT) == FAILED
    assert f"while reading power_limit of {FIRST}" in capsys.readouterr().out


def test_a_gpu_that_is_lost_while_it_is_set(rig: GpuHost) -> None:
    rig.intercept("nvmlDeviceSetPowerManagementLimit", lambda: rig.simgpu("fail", 0, "all", 15))
    module = rig.module(EVERYTHING)
    assert module.failure is not None
    for name in ("power_limit", "graphics_clocks", "memory_clocks"):
        assert f"{FIRST}: cannot set {name} to {WANTED[name]}: GPU is lost (NVML error 15): {REBOOT}" in module.failure
    assert "GPU 1" not in module.failure
    assert (rig.live(0), rig.live(1)) == ({"persistence_mode": "1", "compute_mode": "3"}, SET)


def test_a_gpu_that_is_lost_between_two_runs_is_named_by_its_index(rig: GpuHost) -> None:
    rig.run(EVERYTHING)
    rig.simgpu("fail", 0, "all", 15)
    by_uuid = {**EVERYTHING, "match": {"uuid": rig.uuid(0)}}
    module = rig.module(by_uuid, {**EVERYTHING, "match": {"index": 1}})
    assert module.failure is not None
    assert f"no GPU that answers fits uuid {rig.uuid(0)}; GPU 0 does not: GPU is lost" in module.failure


def test_what_was_set_before_persistence_mode_was_refused_is_not_said_to_have_failed(rig: GpuHost) -> None:
    """Nobody can read a lock, so nobody can say that it reads otherwise."""
    rig.simgpu("fail", 0, "nvmlDeviceSetPersistenceMode", 4)
    records = rig.records(rig.run(EVERYTHING))
    for name in ("graphics_clocks", "memory_clocks"):
        assert "reads None" not in str(records[f"0/{name}"].reason)


def test_a_missing_library(rig: GpuHost) -> None:
    rig.remove_library()
    module = rig.module(EVERYTHING)
    assert module.failure is None
    assert module.warnings == ["no GPU was set: the NVIDIA driver is not installed: there is no libnvidia-ml.so.1"]
    rig.configure(EVERYTHING)
    assert (rig.mlrig("gpu", "apply"), rig.mlrig("gpu", "status")) == (UNAVAILABLE, UNAVAILABLE)


def test_a_missing_binding(rig: GpuHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    cause = "the Python package nvidia-ml-py is not installed"
    with pytest.raises(SettingsError) as raised:
        rig.run(EVERYTHING)
    assert str(raised.value) == cause
    module = rig.module(EVERYTHING)
    assert (module.failure, module.result) == (cause, None)
    # in check mode the role that brings it has not brought it yet
    checked = rig.module(EVERYTHING, check_mode=True)
    assert (checked.failure, checked.warnings) == (None, [f"no GPU was set: {cause}"])
    assert {each["action"] for each in (checked.result or {})["settings"]} == {"skipped"}
    rig.configure(EVERYTHING)
    assert rig.mlrig("gpu", "apply") == FAILED


def test_a_value_that_cannot_be_read_again_is_not_claimed(rig: GpuHost) -> None:
    def act() -> None:
        rig.simgpu("fail", 0, "nvmlDeviceGetPowerManagementLimit", 999)
        rig.simgpu("fail", 0, "nvmlDeviceSetPowerManagementLimit", "ignored")

    rig.intercept("nvmlDeviceSetPowerManagementLimit", act)
    module = rig.module({"match": {"index": 0}, "power_limit": 300})
    assert module.failure is not None
    assert f"set to '300 W', but cannot be read again: {FIRST}: cannot read power_limit" in module.failure


def test_a_range_that_shrinks_while_it_is_set(rig: GpuHost) -> None:
    rig.intercept("nvmlDeviceSetComputeMode", lambda: rig.simgpu("set", "--hardware", 0, "power_limit_max", 200000))
    rig.configure({"match": {"index": 0}, "compute_mode": "prohibited", "power_limit": 300})
    assert rig.mlrig("gpu", "apply") == FAILED
    assert rig.live(0)["compute_mode"] == "2"


def test_a_gpu_that_is_gone_after_it_was_set(rig: GpuHost) -> None:
    counts = itertools.count()
    # before the second reading
    rig.intercept("nvmlDeviceGetCount", lambda: next(counts) == 0 or rig.simgpu("machine", "rtx-3090"))
    module = rig.module({"match": {"index": 1}, "compute_mode": "prohibited"})
    assert module.failure is not None
    assert f"cannot be read again: cannot set compute_mode: {SECOND} is not there any more" in module.failure


def test_strict_is_for_hosts_that_could_be_asked(rig: GpuHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first run of the role program, preflight finds a GPU and no nvidia-ml-py."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    module = rig.module(EVERYTHING, check_mode=True, strict=True)
    assert (module.failure, len(module.warnings)) == (None, 1)


def test_gpus_that_take_their_time_one_by_one(rig: GpuHost) -> None:
    rig.intercept("nvmlDeviceGetHandleByIndex", lambda: time.sleep(0.7 * SHORT))
    assert rig.module(EVERYTHING, patience=SHORT).failure is None


NO_GPU = "this host has no NVIDIA GPU"


@pytest.mark.parametrize("binding", [True, False], ids=["binding", "no binding"])
@pytest.mark.parametrize("strict", [True, False], ids=["strict", ""])
def test_a_host_without_gpus(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, strict: bool, binding: bool
) -> None:
    rig = GpuHost(host, monkeypatch)
    rig.machine.use_here(monkeypatch)
    if not binding:
        monkeypatch.setitem(sys.modules, "pynvml", None)
    before = host.texts()
    settings = rig.run(EVERYTHING, cards=[EVERYTHING])
    assert {record.action for record in settings.records} == {"skipped"}
    assert {record.reason for record in settings.records} == {f"cannot set {name} (all): {NO_GPU}" for name in WANTED}
    assert settings.warnings == []
    rig.configure(EVERYTHING, strict=strict)
    for command in ("apply", "status", "reset"):
        assert rig.mlrig("gpu", command) == FINE
        assert f"No GPU can be asked: {NO_GPU}." in capsys.readouterr().out
    host.path("/etc/mlrig/gpu.json").unlink()
    host.path("/run/mlrig/gpu.lock").unlink()
    assert host.texts() == before
