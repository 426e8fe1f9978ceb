# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How `mlrig verify` judges driver and GPUs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_judge_host import reaches

from .verify_host import GPU, NO_GPU, bare, changed, checks, facts, troubles

BLACKWELL = {
    "name": "NVIDIA GeForce RTX 5060 Ti",
    "compute_capability": "12.0",
    "memory_mib/total": 16311,
}


def test_a_healthy_host() -> None:
    found = checks(None, facts())
    assert {check.status for check in found.values()} == {"passed"}
    assert [*found] == [
        "driver/answers",
        "driver/versions",
        "driver/flavour",
        "gpu/0/answers",
        "gpu/0/capability",
        "gpu/0/memory",
        "gpu/0/pcie_width",
        "gpu/0/pcie_generation",
        "gpu/0/resizable_bar",
        "gpu/0/throttling",
        "gpu/0/persistence_mode",
    ]


def test_a_host_without_gpu() -> None:
    found = checks(None, bare())
    assert {(check.group, check.status, check.reason) for check in found.values()} == {("driver", "skipped", NO_GPU)}


@pytest.mark.parametrize(
    ("about", "check", "says"),
    [
        (bare("the NVIDIA driver is not loaded"), "driver/answers", "the NVIDIA driver is not loaded"),
        (
            facts(versions_agree=False, kernel_module={"version": "590.48.01", "flavour": "open"}),
            "driver/versions",
            "module mismatch: the loaded kernel module is 590.48.01, the driver's libraries are 595.71.05",
        ),
        (
            bare("they differ: reboot", versions_agree=False, libraries="595.71.05"),
            "driver/versions",
            "module mismatch: the loaded kernel module is another, the driver's libraries are 595.71.05",
        ),
        (
            facts(changed(GPU, BLACKWELL), kernel_module={"version": "595.71.05", "flavour": "proprietary"}),
            "driver/flavour",
            "NVIDIA GeForce RTX 5060 Ti works with the open kernel modules only",
        ),
    ],
)
def test_the_driver(about: dict[str, Any], check: str, says: str) -> None:
    assert (troubles(None, about)[check] or "").startswith(says)


def test_any_flavour_will_do_for_older_cards() -> None:
    about = facts(kernel_module={"version": "595.71.05", "flavour": "proprietary"})
    assert checks(None, about)["driver/flavour"].status == "passed"


def test_a_container_does_not_tell_of_the_module() -> None:
    about = facts(kernel_module={"version": None, "flavour": None}, versions_agree=None)
    found = checks(None, about)
    assert [found[f"driver/{name}"].status for name in ("answers", "versions", "flavour")] == [
        "passed",
        "skipped",
        "skipped",
    ]


HOT = "it is too hot, and its hardware slows it down: look at fans, dust and the way of the air"

# What differs, the check that fails, what was found, and what its reason has in it.
FAILURES: list[tuple[dict[str, Any], str, str | None, str]] = [
    ({"error": "GPU is lost"}, "answers", None, "it does not answer: GPU is lost"),
    ({"compute_capability": "8.9"}, "capability", "8.9", "the RTX 3090 has 8.6"),
    ({"memory_mib/total": 12288}, "memory", "12.0 GiB", "the RTX 3090 is sold with 24 GiB"),
    ({"pci/width/current": 8}, "pcie_width", "x8", "x8 where x16 is possible"),
    (
        {"resizable_bar": False, "bar1_mib/total": 256},
        "resizable_bar",
        "256 MiB",
        "Resizable BAR is off: the CPU reaches",
    ),
    ({"throttle_reasons": ["hw_slowdown", "hw_thermal_slowdown"]}, "throttling", None, HOT),
    ({"throttle_reasons": ["sw_thermal_slowdown"]}, "throttling", None, "the driver slows it down"),
    ({"throttle_reasons": ["hw_power_brake_slowdown"]}, "throttling", None, "look at power supply and cables"),
    ({"persistence_mode": False}, "persistence_mode", "disabled", "run mlrig gpu apply"),
]


@pytest.mark.parametrize(("changes", "name", "actual", "says"), FAILURES, ids=[str(each[0]) for each in FAILURES])
def test_what_is_wrong_with_a_gpu_is_all_that_fails(
    changes: dict[str, Any], name: str, actual: str | None, says: str
) -> None:
    about = facts(changed(GPU, changes), changed(GPU, {"index": 1, "uuid": "GPU-1"}))
    assert [*troubles(None, about)] == [f"gpu/0/{name}"]
    check = checks(None, about)[f"gpu/0/{name}"]
    assert says in (check.reason or "")
    assert actual in (None, check.actual)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"name": "NVIDIA GeForce RTX 3060"}, "capability"),
        ({"name": "NVIDIA GeForce RTX 3060"}, "memory"),
        ({"compute_capability": None}, "capability"),
        ({"memory_mib/total": None}, "memory"),
        ({"pci/width/max": None}, "pcie_width"),
        ({"resizable_bar": None}, "resizable_bar"),
        ({"resizable_bar": False, "compute_capability": "7.5", "name": "NVIDIA GeForce RTX 2080"}, "resizable_bar"),
        ({"throttle_reasons": None}, "throttling"),
        ({"persistence_mode": None}, "persistence_mode"),
    ],
)
def test_what_is_not_told_is_skipped(changes: dict[str, Any], name: str) -> None:
    about = facts(changed(GPU, changes), load={})
    check = checks(None, about)[f"gpu/0/{name}"]
    assert (check.status, bool(check.reason)) == ("skipped", True)
    assert troubles(None, about) == {}


def test_generation_and_throttling_are_those_at_work() -> None:
    about = facts(load={})
    idle = checks(None, about)["gpu/0/pcie_generation"]
    assert (idle.status, idle.actual, idle.expected) == ("skipped", "1, idle", "4")
    resting = checks(None, about)["gpu/0/throttling"]
    assert (resting.status, resting.actual, resting.reason) == ("skipped", "gpu_idle", idle.reason)
    busy = facts(changed(GPU, {"throttle_reasons": ["sw_power_cap"]}), load={})  # with the work of another program
    assert checks(None, busy)["gpu/0/throttling"].status == "passed"
    about["load"] = {
        "GPU-0": [changed(GPU, {"pci/generation/current": 2}), changed(GPU, {"pci/generation/current": 3})]
    }
    slow = checks(None, about)["gpu/0/pcie_generation"]
    assert (slow.status, slow.actual, slow.expected) == ("failed", "3", "4")
    hot = [changed(GPU, {"throttle_reasons": reasons}) for reasons in (["sw_power_cap"], ["hw_thermal_slowdown"])]
    throttled = checks(None, facts(load={"GPU-0": hot}))["gpu/0/throttling"]
    assert (throttled.status, throttled.actual) == ("failed", "hw_thermal_slowdown, sw_power_cap")


def test_a_power_limit_is_no_fault() -> None:
    about = facts(changed(GPU, {"throttle_reasons": ["sw_power_cap", "applications_clocks_setting"]}))
    assert checks(None, about)["gpu/0/throttling"].status == "passed"


@pytest.mark.parametrize(
    ("driver", "floors", "fine"),
    [
        ("525.60.13", ["525.60.13"], True),
        ("525.60.12", ["525.60.13"], False),
        ("595.71.05", ["525.60.13"], True),
        ("580.65.06", ["580"], True),
        ("575.99.99", ["580"], False),
        ("570.123.10", ["570.123.10", "575.51.02"], True),
        ("570.123.09", ["570.123.10", "575.51.02"], False),
        ("572.10.10", ["570.123.10", "575.51.02"], False),
        ("575.51.02", ["570.123.10", "575.51.02"], True),
        ("575.51.01", ["570.123.10", "575.51.02"], False),
        ("1000.1", ["580"], True),
    ],
)
def test_whether_a_driver_is_new_enough(driver: str, floors: list[str], *, fine: bool) -> None:
    assert reaches(driver, floors) == fine


def test_a_driver_older_than_a_card() -> None:
    about = facts(changed(GPU, BLACKWELL), driver_version="570.86.16")
    check = checks(None, about)["gpu/0/driver"]
    assert (check.status, check.expected, check.actual) == ("failed", "570.123.10 or 575.51.02 or newer", "570.86.16")
