# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of simulated GPUs: what a wish means on a card, what is set, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import RequestError, Settings

from .conftest import Host
from .gpu_host import GpuHost

CARDS = Path(__file__).parents[2] / "roles/gpu_tuning/defaults/main.yml"

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
AWAKE: dict[str, Any] = {"match": "all", "persistence_mode": True}
RTX_3090 = "GPU 0 (NVIDIA GeForce RTX 3090)"


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> GpuHost:
    return GpuHost(host, monkeypatch)


def actions(rig: GpuHost, settings: Settings) -> dict[str, str]:
    return {name: record.action for name, record in rig.records(settings).items()}


def test_everything_is_set_and_told(rig: GpuHost) -> None:
    rig.start("rtx-3090", "rtx-4060-ti")
    settings = rig.run(EVERYTHING)
    assert (rig.live(0), rig.live(1)) == (SET, SET)
    uuid = rig.uuid(1)
    common = {"plane": "live", "action": "changed"}
    assert [record.as_dict() for record in settings.records if record.id.startswith(uuid)] == [
        {**common, "id": f"{uuid}/{name}", "expected": wanted, "actual": found, "evidence": evidence}
        for name, wanted, found, evidence in (
            ("persistence_mode", "enabled", "disabled", "read"),
            ("compute_mode", "exclusive_process", "default", "read"),
            ("power_limit", "150 W", "165 W", "read"),
            ("graphics_clocks", "900-1500 MHz", None, "unknown"),
            ("memory_clocks", "5001-5001 MHz", None, "unknown"),
        )
    ]
    assert (settings.failed, settings.warnings, settings.as_result()["reboot_required"]) == ([], [], False)


def test_second_run_changes_nothing(rig: GpuHost) -> None:
    rig.start("rtx-3090", "rtx-4060-ti")
    rig.run(EVERYTHING)
    before = rig.host.texts()
    for function in ("PersistenceMode", "ComputeMode", "PowerManagementLimit", "GpuLockedClocks", "MemoryLockedClocks"):
        for slot in (0, 1):
            rig.simgpu("fail", slot, f"nvmlDeviceSet{function}", 999)
    settings = rig.run(EVERYTHING)
    rig.simgpu("heal")
    assert set(actions(rig, settings).values()) == {"none"}
    assert settings.as_result()["diff"] == {"before": "", "after": ""}
    assert rig.host.texts() == before


def test_check_mode_tells_the_same_and_changes_nothing(rig: GpuHost) -> None:
    rig.start("rtx-3090", "rtx-5090", "gtx-1080-ti")
    wanted = {**EVERYTHING, "power_limit": "90%", "graphics_clocks": [901, "80%"]}
    before = rig.host.texts()
    checked = rig.run(wanted, check_mode=True)
    assert rig.host.texts() == before
    done = rig.run(wanted)
    assert (checked.as_result(), checked.warnings) == (done.as_result(), done.warnings)
    assert {"changed", "skipped"} == set(actions(rig, done).values())
    assert rig.host.texts() != before


@pytest.mark.parametrize(
    ("setting", "text", "told", "value"),
    [
        ({"persistence_mode": True}, "enabled", "persistence_mode", "1"),
        ({"compute_mode": "prohibited"}, "prohibited", "compute_mode", "2"),
        ({"power_limit": 280}, "280 W", "power_limit", "280000"),
        ({"power_limit": "80%"}, "280 W", "power_limit", "280000"),
        ({"power_limit": "100"}, "100 W", "power_limit", "100000"),
        ({"power_limit": 480}, "480 W", "power_limit", "480000"),
        ({"power_limit": "33.333%"}, "117 W", "power_limit", "117000"),
        ({"graphics_clocks": [210, 2100]}, "210-2100 MHz", "locked_graphics_clocks", "210 2100"),
        ({"graphics_clocks": ["50%", "90%"]}, "1050-1890 MHz", "locked_graphics_clocks", "1050 1890"),
        ({"memory_clocks": ["100%", "100%"]}, "9751-9751 MHz", "locked_memory_clocks", "9751 9751"),
        ({"memory_clocks": ["405", "9501"]}, "405-9501 MHz", "locked_memory_clocks", "405 9501"),
    ],
)
def test_each_setting_converges(rig: GpuHost, setting: dict[str, Any], text: str, told: str, value: str) -> None:
    rig.start("rtx-3090")
    rig.run(AWAKE)
    [name] = setting
    action = "none" if name == "persistence_mode" else "changed"
    first, second = (rig.records(rig.run(AWAKE, {"match": "all", **setting}))[f"0/{name}"] for _again in range(2))
    assert (first.expected, first.action, second.expected, second.actual, second.action) == (
        *(text, action),
        *(text, text, "none"),
    )
    assert rig.live()[told] == value
    assert (first.reason, second.reason) == (None, None)


@pytest.mark.parametrize(
    ("wish", "name", "gone"),
    [
        ({"power_limit": "default"}, "power_limit", False),
        ({"compute_mode": "default"}, "compute_mode", False),
        ({"persistence_mode": False}, "persistence_mode", False),
        ({"graphics_clocks": "reset"}, "locked_graphics_clocks", True),
        ({"memory_clocks": "reset"}, "locked_memory_clocks", True),
    ],
)
def test_the_way_back(rig: GpuHost, wish: dict[str, Any], name: str, *, gone: bool) -> None:
    rig.start("rtx-3090")
    rig.run(EVERYTHING)
    [setting] = wish
    first, second = (rig.records(rig.run({"match": "all", **wish}))[f"0/{setting}"].action for _again in range(2))
    assert (first, second) == ("changed", "none")
    default = {"power_limit": "350000", "compute_mode": "0", "persistence_mode": "0"}
    assert rig.live().get(name) == (None if gone else default[name])


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("all", [0, 1, 2]),
        ({"index": 1}, [1]),
        ({"index": "2"}, [2]),
        ({"bus_id": "0000:0a:00.0"}, [1]),
        ({"bus_id": "00000000:0A:00.0"}, [1]),
        ({"bus_id": "41:00.0"}, [2]),
        ({"name": "RTX 3090$"}, [0, 1]),
        ({"name": "geforce rtx"}, [0, 1, 2]),
        ({"name": "^NVIDIA .* (3080|4060)"}, [2]),
        ({"name": "3090", "index": 1}, [1]),
        ({"name": "3090", "bus_id": "01:00.0"}, [0]),
    ],
)
def test_matching(rig: GpuHost, match: object, fits: list[int]) -> None:
    rig.start("rtx-3090", "rtx-3090", "rtx-4060-ti")
    settings = rig.run({"match": match, "compute_mode": "prohibited"})
    assert list(rig.records(settings)) == [f"{index}/compute_mode" for index in fits]
    assert [rig.machine.read(f"live/{slot}/compute_mode") for slot in range(3)] == [
        "2" if slot in fits else None for slot in range(3)
    ]


@pytest.mark.parametrize("spell", [str, str.upper, str.lower])
def test_matching_by_uuid(rig: GpuHost, spell: Any) -> None:
    rig.start("rtx-3090", "rtx-3090")
    settings = rig.run({"match": {"uuid": spell(rig.uuid(1))}, "compute_mode": "prohibited"})
    assert list(rig.records(settings)) == ["1/compute_mode"]
    with pytest.raises(RequestError, match=r"gpus\[0\]\.match must fit a GPU of this host"):
        rig.run({"match": {"uuid": rig.uuid(1), "index": 0}, "compute_mode": "default"})


def test_for_each_setting_the_last_entry_counts(rig: GpuHost) -> None:
    rig.start("rtx-3090", "rtx-4060-ti")
    gpus = [
        {"match": {"index": 0}, "power_limit": 300, "graphics_clocks": [900, 900]},
        {"match": "all", "power_limit": 150, "persistence_mode": True},
        {"match": {"name": "3090"}, "power_limit": 200},
        {"match": {"index": 0}, "compute_mode": "prohibited"},
    ]
    cards = [{"match": "all", "power_limit": 120, "memory_clocks": [5001, 5001]}]
    rig.run(*gpus, cards=cards)
    assert rig.live(0) == {
        "persistence_mode": "1",
        "compute_mode": "2",
        "power_limit": "200000",
        "locked_graphics_clocks": "900 900",
        "locked_memory_clocks": "5001 5001",
    }
    assert rig.live(1) == {
        "persistence_mode": "1",
        "power_limit": "150000",
        "locked_memory_clocks": "5001 5001",
    }


def test_what_is_overridden_need_not_fit(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    rig.run({"match": "all", "power_limit": 9999}, {**AWAKE, "power_limit": 200})
    assert rig.live()["power_limit"] == "200000"


def test_an_entry_that_fits_no_gpu(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    missing = {"match": {"name": "RTX 4090$", "index": 0}, "power_limit": 280}
    with pytest.raises(RequestError) as raised:
        rig.run(EVERYTHING, missing)
    assert str(raised.value) == (
        "gpus[1].match must fit a GPU of this host, or have required: false "
        f"(it has {RTX_3090}: {rig.uuid(0)} at 0000:01:00.0); got: 'index 0, name RTX 4090$'"
    )
    assert rig.live() == {}
    assert list(rig.records(rig.run(AWAKE, {**missing, "required": False}))) == ["0/persistence_mode"]
    assert rig.run(cards=[missing]).records == []


def test_all_that_is_wrong_is_said_at_once(rig: GpuHost) -> None:
    rig.start("rtx-3090", "rtx-4060-ti")
    with pytest.raises(RequestError) as raised:
        rig.run(
            {"match": {"index": 7}, "compute_mode": "default"},
            {"match": {"index": 0}, "power_limit": 50},
            {"match": {"index": 1}, "power_limit": 200, "persistence_mode": True},
        )
    for part in ("gpus[0].match", "gpus[1].power_limit", "gpus[2].power_limit"):
        assert part in str(raised.value)
    assert (rig.live(0), rig.live(1)) == ({}, {})


@pytest.mark.parametrize(
    ("limit", "got"),
    [
        (99, "'99 (99 W)'"),
        (481, "'481 (481 W)'"),
        ("10%", "'10% (35 W)'"),
        ("28.5%", "'28.5% (99.75 W)'"),
        ("140%", "'140% (490 W)'"),
        (99.9, "'99.9 (99.9 W)'"),
        ("480.4", "'480.4 (480.4 W)'"),
    ],
)
def test_a_power_limit_beyond_the_range(rig: GpuHost, limit: object, got: str) -> None:
    rig.start("rtx-3090")
    with pytest.raises(RequestError) as raised:
        rig.run({**EVERYTHING, "power_limit": limit})
    rule = f"must be within 100 W to 480 W, the range of {RTX_3090}"
    assert str(raised.value) == f"gpus[0].power_limit {rule}; got: {got}"
    assert rig.live() == {}


@pytest.mark.parametrize(
    ("limit", "text", "note"),
    [
        (99, "100 W", "99 W is beyond 100 W to 480 W, the range of"),
        (500, "480 W", "500 W is beyond 100 W to 480 W, the range of"),
        ("10%", "100 W", "35 W is beyond 100 W to 480 W, the range of"),
        ("150%", "480 W", "525 W is beyond 100 W to 480 W, the range of"),
        (280, "280 W", None),
    ],
)
def test_a_table_of_cards_is_brought_into_the_range_and_says_so(
    rig: GpuHost, limit: object, text: str, note: str | None
) -> None:
    rig.start("rtx-3090")
    record = rig.records(rig.run(AWAKE, cards=[{"match": "all", "power_limit": limit}]))["0/power_limit"]
    assert (record.expected, record.action, record.reason) == (text, "changed", note and f"{note} {RTX_3090}")
    assert rig.live()["power_limit"] == f"{text.removesuffix(' W')}000"
    again = rig.records(rig.run(AWAKE, cards=[{"match": "all", "power_limit": limit}]))["0/power_limit"]
    assert (again.action, again.reason) == ("none", record.reason)


@pytest.mark.parametrize(
    ("lowest", "highest", "limit", "milliwatts"),
    [
        # whole watts below the lowest, and above the highest
        (100400, 165000, "60.9%", 100400),
        (100400, 165000, "61%", 101000),
        (100000, 164600, "99.7%", 164600),
        (100000, 164600, "99%", 163000),
        # exactly the ends
        (128200, 165000, 128.2, 128200),
        (128200, 165000, "128.2", 128200),
        (100000, 128700, 128.7, 128700),
        (115500, 165000, "70%", 116000),
    ],
)
def test_a_power_limit_in_whole_watts_stays_within_the_range(
    rig: GpuHost, lowest: int, highest: int, limit: object, milliwatts: int
) -> None:
    rig.start("rtx-4060-ti")
    rig.simgpu("set", 0, "power_limit_min", lowest, "--hardware")
    rig.simgpu("set", 0, "power_limit_max", highest, "--hardware")
    record = rig.records(rig.run(AWAKE, {"match": "all", "power_limit": limit}))["0/power_limit"]
    assert (record.expected, record.action) == (f"{milliwatts / 1000:g} W", "changed")
    assert rig.live()["power_limit"] == str(milliwatts)
    assert rig.records(rig.run(AWAKE, {"match": "all", "power_limit": limit}))["0/power_limit"].action == "none"


@pytest.mark.parametrize(
    ("name", "clocks", "text", "nearest"),
    [
        ("graphics_clocks", [2100, 2700], "2100-2700 MHz", {}),
        ("graphics_clocks", [2100, 2712], "2100-2715 MHz", {2712: 2715}),
        ("graphics_clocks", [1, 99999], "210-3105 MHz", {1: 210, 99999: 3105}),
        ("graphics_clocks", ["50%", 3105], "1545-3105 MHz", {1552: 1545}),
        ("memory_clocks", [9000, 9001], "9001-9001 MHz", {9000: 9001}),
        # in the middle of two, the lower
        ("memory_clocks", [8876, 9001], "8751-9001 MHz", {8876: 8751}),
    ],
)
def test_a_clock_becomes_one_that_the_card_supports(
    rig: GpuHost, name: str, clocks: list[object], text: str, nearest: dict[int, int]
) -> None:
    notes = [f"{asked} MHz is not a clock of this card, {end} MHz is the nearest" for asked, end in nearest.items()]
    reason = "; ".join(notes) or None
    rig.start("rtx-4060-ti")
    first, second = (rig.records(rig.run(AWAKE, {"match": "all", name: clocks}))[f"0/{name}"] for _again in range(2))
    assert (first.expected, first.action, first.reason) == (text, "changed", reason)
    assert (second.action, second.evidence, second.reason) == ("none", "recorded", reason)
    assert rig.live()[f"locked_{name}"] == text.removesuffix(" MHz").replace("-", " ")


@pytest.mark.parametrize(
    ("clocks", "ends", "got"), [(["90%", 500], "1890 to 495", "90%-500"), ([2000, "10%"], "1995 to 210", "2000-10%")]
)
def test_clocks_whose_minimum_is_not_first_on_this_card(
    rig: GpuHost, clocks: list[object], ends: str, got: str
) -> None:
    rig.start("rtx-3090")
    with pytest.raises(RequestError) as raised:
        rig.run({**EVERYTHING, "graphics_clocks": clocks})
    rule = f"must have its minimum first; on {RTX_3090} it is {ends} MHz"
    assert str(raised.value) == f"gpus[0].graphics_clocks {rule}; got: {got!r}"
    assert rig.live() == {}


def test_a_card_that_tells_no_clocks(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    for name in ("memory_clocks", "clock_graphics_max"):
        rig.simgpu("unset", 0, name, "--hardware")
    records = rig.records(rig.run({**AWAKE, "graphics_clocks": [901, 1501], "memory_clocks": [5000, "100%"]}))
    assert (records["0/graphics_clocks"].expected, records["0/graphics_clocks"].reason) == ("901-1501 MHz", None)
    assert records["0/memory_clocks"].expected == "5000-9751 MHz"
    [record] = rig.run({"match": "all", "graphics_clocks": [210, "90%"]}).records
    assert (record.action, record.expected) == ("skipped", "210-90%")
    assert (
        record.reason == f"{RTX_3090} cannot have graphics_clocks: it does not tell the maximum of which 90% is wanted"
    )


def refuse_to_lock(rig: GpuHost) -> None:
    """A setter that is called will be noticed."""
    for kind in ("Gpu", "Memory"):
        rig.simgpu("fail", 0, f"nvmlDeviceSet{kind}LockedClocks", 999)
        rig.simgpu("fail", 0, f"nvmlDeviceReset{kind}LockedClocks", 999)


@pytest.mark.parametrize("clocks", [[900, 900], "reset", ["50%", "90%"]])
def test_pascal_is_not_asked_to_lock_clocks(rig: GpuHost, clocks: object) -> None:
    rig.start("gtx-1080-ti")
    refuse_to_lock(rig)
    settings = rig.run({**EVERYTHING, "graphics_clocks": clocks, "memory_clocks": clocks})
    assert actions(rig, settings) == {
        "0/persistence_mode": "changed",
        "0/compute_mode": "changed",
        "0/power_limit": "changed",
        "0/graphics_clocks": "skipped",
        "0/memory_clocks": "skipped",
    }
    for name, oldest in (("graphics_clocks", "Volta"), ("memory_clocks", "Ampere")):
        assert rig.records(settings)[f"0/{name}"].reason == (
            f"GPU 0 (NVIDIA GeForce GTX 1080 Ti) cannot have {name}: "
            f"its architecture cannot lock this clock: that takes {oldest} or newer"
        )
    assert rig.live() == {"persistence_mode": "1", "compute_mode": "3", "power_limit": "150000"}


@pytest.mark.parametrize(
    ("architecture", "graphics", "memory"),
    [
        ("Maxwell", "skipped", "skipped"),
        ("Pascal", "skipped", "skipped"),
        ("Volta", "changed", "skipped"),
        ("Turing", "changed", "skipped"),
        ("Ampere", "changed", "changed"),
        ("Hopper", "changed", "changed"),
        ("Blackwell", "changed", "changed"),
    ],
)
def test_which_clocks_an_architecture_locks(rig: GpuHost, architecture: str, graphics: str, memory: str) -> None:
    rig.start("rtx-3090")
    rig.simgpu("set", 0, "architecture", architecture, "--hardware")
    found = actions(rig, rig.run({**AWAKE, "graphics_clocks": [900, 900], "memory_clocks": [5001, 5001]}))
    assert (found["0/graphics_clocks"], found["0/memory_clocks"]) == (graphics, memory)


def test_strict_fails_for_what_a_card_cannot_have(rig: GpuHost) -> None:
    rig.start("gtx-1080-ti", "rtx-3090")
    module = rig.module(EVERYTHING, strict=True)
    assert module.failure is not None
    for name in ("graphics_clocks", "memory_clocks"):
        assert f"GPU 0 (NVIDIA GeForce GTX 1080 Ti) cannot have {name}" in module.failure
    assert "GPU 1" not in module.failure
    assert rig.live(1) == SET
    assert rig.live(0)["power_limit"] == "150000"


def test_what_only_trying_tells_is_remembered(rig: GpuHost) -> None:
    """A driver that does not tell the architecture."""
    rig.start("gtx-1080-ti")
    rig.simgpu("unset", 0, "architecture", "--hardware")
    wanted = {**AWAKE, "graphics_clocks": [147, 147]}
    record = rig.records(rig.run(wanted))["0/graphics_clocks"]
    assert record.action == "skipped"
    assert "cannot set graphics_clocks to 147-147 MHz: Not Supported (NVML error 3)" in str(record.reason)
    refuse_to_lock(rig)
    for options in ({}, {"check_mode": True}):
        again = rig.records(rig.run(wanted, **options))["0/graphics_clocks"]
        assert (again.action, "the driver said so when it was to be set" in str(again.reason)) == ("skipped", True)
    assert rig.records(rig.run(wanted, strict=True))["0/graphics_clocks"].action == "failed"
    # another driver may
    rig.replace_driver()
    assert rig.records(rig.run(wanted, check_mode=True))["0/graphics_clocks"].action == "changed"


@pytest.mark.parametrize(
    ("card", "clocks", "warned"),
    [
        ("rtx-5090", [14001, 14001], True),
        ("rtx-5060-ti", [14001, 14001], True),
        ("rtx-5090", "reset", False),
        ("rtx-4090", [10501, 10501], False),
    ],
)
def test_a_memory_lock_on_blackwell_is_warned_of(rig: GpuHost, card: str, clocks: Any, *, warned: bool) -> None:
    rig.start(card)
    wanted = {**AWAKE, "memory_clocks": clocks, "graphics_clocks": [900, 900]}
    for _again in range(2):
        settings = rig.run(wanted)
        assert settings.failed == []
        assert len(settings.warnings) == warned
        for warning in settings.warnings:
            assert warning.startswith(f"GPU 0 ({rig.attribute(0, 'name')}): memory_clocks 14001-14001 MHz: ")
            assert "1266" in warning
    assert rig.live().get("locked_memory_clocks") == (None if clocks == "reset" else f"{clocks[0]} {clocks[0]}")


@pytest.mark.parametrize(
    ("before", "wanted", "volatile"),
    [
        (None, {"power_limit": 280}, "power_limit"),
        (None, {"power_limit": 280, "graphics_clocks": [900, 900]}, "power_limit, graphics_clocks"),
        (None, {"persistence_mode": False, "power_limit": 280}, "power_limit"),
        ("1", {"persistence_mode": False, "memory_clocks": [405, 405]}, "memory_clocks"),
        ("1", {"power_limit": 280}, None),
        (None, {"persistence_mode": True, "power_limit": 280}, None),
        (None, {"persistence_mode": False}, None),
        (None, {"power_limit": "default", "graphics_clocks": "reset"}, None),
        (None, {}, None),
    ],
)
def test_settings_without_persistence_mode_are_warned_of(
    rig: GpuHost, before: str | None, wanted: dict[str, Any], volatile: str | None
) -> None:
    rig.start("rtx-3090")
    if before is not None:
        rig.machine.write("live/0/persistence_mode", before)
    expected = [f"{RTX_3090}: without persistence_mode the driver forgets {volatile} when no program uses the GPU"]
    assert rig.run({"match": "all", **wanted}, check_mode=True).warnings == (expected if volatile else [])


def test_the_compute_mode_is_not_forgotten_without_persistence_mode(rig: GpuHost) -> None:
    """What the facts of this project say: lost at reboot, and the simulated driver does likewise."""
    rig.start("rtx-3090")
    rig.run({"match": "all", "compute_mode": "prohibited"})
    assert rig.records(rig.run({"match": "all", "compute_mode": "prohibited"}))["0/compute_mode"].action == "none"


def test_a_mode_that_nobody_asked_for_is_shown(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    rig.machine.write("live/0/compute_mode", "1")
    [record] = rig.run({"match": "all", "compute_mode": "default"}).records
    assert (record.actual, record.expected, record.action) == ("mode 1", "default", "changed")


def test_nothing_is_wanted(rig: GpuHost) -> None:
    rig.start("rtx-3090")
    assert rig.run().as_result() == {
        "changed": False,
        "diff": {"before": "", "after": ""},
        "settings": [],
        "reboot_required": False,
    }


@pytest.mark.parametrize(
    "cards",
    [
        ("rtx-3090",),
        ("rtx-3090",) * 4,
        ("rtx-3060", "rtx-4060-ti", "rtx-4090", "rtx-5060-ti", "rtx-5090"),
        ("gtx-1080-ti", "h100-80gb-hbm3"),
    ],
)
def test_the_table_of_the_role_fits_every_card(rig: GpuHost, cards: tuple[str, ...]) -> None:
    table = yaml.safe_load(CARDS.read_text())["gpu_tuning_cards"]
    rig.start(*cards)
    first, second = rig.run(cards=table), rig.run(cards=table)
    assert (first.failed, first.warnings, second.warnings) == ([], [], [])
    assert {record.action for record in second.records} == {"none"}
    assert all(rig.live(slot)["persistence_mode"] == "1" for slot in range(len(cards)))


def test_values_of_the_table_of_the_role(rig: GpuHost) -> None:
    table = yaml.safe_load(CARDS.read_text())["gpu_tuning_cards"]
    rig.start("rtx-3090", "rtx-4060-ti", "rtx-4090", "rtx-5060-ti", "rtx-5090", "rtx-3060")
    rig.run(cards=table)
    assert [rig.live(slot).get("power_limit") for slot in range(6)] == ["280000", None, "360000", None, "500000", None]
    locks = {"locked_graphics_clocks": "2100 2700", "locked_memory_clocks": "9001 9001"}
    assert rig.live(1) == {"persistence_mode": "1", **locks}
    assert rig.live(5) == {"persistence_mode": "1"}
