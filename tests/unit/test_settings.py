# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of all state modules: the record, the result, and what converge claims."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    Plane,
    Setting,
    Settings,
    SettingsError,
    converge,
    run_state_module,
)


@dataclass
class Lamp:
    """A thing with one setting. takes: what it becomes when it is told to be something."""

    value: str | None = "off"
    wanted: str | None = "on"
    takes: dict[str | None, str | None] = field(default_factory=dict)
    broken: Exception | None = None
    told: int = 0

    def plan(self) -> LampPlan:
        settings = Settings()
        settings.compare("lamp", "live", self.wanted, self.value)
        return LampPlan(self, settings)


@dataclass
class LampPlan:
    lamp: Lamp
    settings: Settings

    def apply(self) -> None:
        self.lamp.told += 1
        if self.lamp.broken is not None:
            raise self.lamp.broken
        self.lamp.value = self.lamp.takes.get(self.lamp.wanted, self.lamp.wanted)


@dataclass
class Module:
    """What the module told Ansible."""

    check_mode: bool = False
    results: list[dict[str, object]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **result: object) -> None:
        self.results.append(result)

    def fail_json(self, msg: str, **_result: object) -> None:
        self.failures.append(msg)


@pytest.mark.parametrize(
    ("plane", "expected", "actual", "action"),
    [
        ("live", "1", "1", "none"),
        ("live", "1", "2", "changed"),
        ("persisted", "1", None, "changed"),
        ("persisted", None, "1", "changed"),
        ("persisted", None, None, "none"),
        ("boot", "1", "2", "reboot"),
        ("boot", "1", "1", "none"),
    ],
)
def test_action_follows_from_the_two_values(
    plane: Plane, expected: str | None, actual: str | None, action: str
) -> None:
    assert Settings().compare("id", plane, expected, actual).action == action


def test_result_of_nothing() -> None:
    assert Settings().as_result() == {
        "changed": False,
        "diff": {"before": "", "after": ""},
        "settings": [],
        "reboot_required": False,
    }


def test_result_keeps_order_and_shows_only_what_differs() -> None:
    settings = Settings()
    settings.compare("b", "live", "1", "2")
    settings.compare("a", "persisted", "1", None)
    settings.compare("same", "live", "7", "7")
    settings.compare("gone", "persisted", None, "3")
    settings.skip("impossible", "live", "1", "2", "this host cannot")
    result = settings.as_result()
    assert result["changed"] is True
    assert result["diff"] == {
        "before": "b (live): 2\ngone (persisted): 3\n",
        "after": "b (live): 1\na (persisted): 1\n",
    }
    assert [(record["id"], record["action"]) for record in result["settings"]] == [
        ("b", "changed"),
        ("a", "changed"),
        ("same", "none"),
        ("gone", "changed"),
        ("impossible", "skipped"),
    ]
    assert result["settings"][-1] == {
        "id": "impossible",
        "plane": "live",
        "expected": "1",
        "actual": "2",
        "action": "skipped",
        "reason": "this host cannot",
    }
    assert result["reboot_required"] is False


def test_result_can_be_sent_whatever_a_file_holds() -> None:
    settings = Settings()
    settings.compare("caf\udce9", "persisted", "é", "\udcff")
    result = settings.as_result()
    assert result["diff"] == {"before": "caf\ufffd (persisted): \ufffd\n", "after": "caf\ufffd (persisted): é\n"}
    assert json.loads(json.dumps(result, ensure_ascii=False).encode()) == result


def test_skipped_alone_is_no_change() -> None:
    settings = Settings()
    settings.skip("id", "live", "1", "2", "why")
    assert settings.as_result()["changed"] is False


def test_boot_setting_asks_for_a_reboot_and_is_no_change() -> None:
    settings = Settings()
    settings.compare("cmdline", "boot", "quiet", "")
    assert settings.as_result()["reboot_required"] is True
    assert settings.as_result()["changed"] is False


def test_record_without_reason_has_no_such_key() -> None:
    assert "reason" not in Setting("id", "live", "1", "1", "none").as_dict()


def test_input_error_names_place_rule_and_value() -> None:
    assert str(InputError("tunables[2].value", "must be text", [1])) == "tunables[2].value must be text; got: [1]"


def test_converge_acts_once_and_returns_what_it_found() -> None:
    lamp = Lamp()
    assert converge(lamp.plan, check_mode=False).records == [Setting("lamp", "live", "on", "off", "changed")]
    assert (lamp.value, lamp.told) == ("on", 1)


def test_second_run_does_not_act() -> None:
    lamp = Lamp()
    converge(lamp.plan, check_mode=False)
    assert converge(lamp.plan, check_mode=False).records == [Setting("lamp", "live", "on", "on", "none")]
    assert lamp.told == 1


def test_check_mode_makes_the_same_record_and_does_not_act() -> None:
    checked, real = Lamp(), Lamp()
    assert converge(checked.plan, check_mode=True).as_result() == converge(real.plan, check_mode=False).as_result()
    assert (checked.value, checked.told) == ("off", 0)


def test_a_value_that_does_not_take_is_named() -> None:
    lamp = Lamp(takes={"on": "dim"})
    reason = "did not take: set to 'on', reads 'dim'"
    failed = Setting("lamp", "live", "on", "off", "failed", reason)
    assert converge(lamp.plan, check_mode=False).failed == [failed]
    module = Module()
    run_state_module(module, lambda: converge(Lamp(takes={"on": "dim"}).plan, check_mode=False))
    assert (module.failures, module.results) == ([f"lamp (live): {reason}"], [])


def test_what_failed_keeps_its_reason_and_stops_no_other() -> None:
    settings = Settings()
    good = settings.compare("lamp", "live", "on", "off")
    lost = settings.fail("fan", "live", "on", None, "lost")
    settings.amend(lost, "skipped", "not supported")
    assert (settings.failed, settings.differing) == ([lost], [good])
    assert settings.as_result()["changed"] is True


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SettingsError("no bulb"), "no bulb"),
        (InputError("lamp", "must be on or off", 7), "lamp must be on or off; got: 7"),
        (OSError(5, "Input/output error", "/dev/lamp"), "[Errno 5] Input/output error: '/dev/lamp'"),
    ],
    ids=["settings", "input", "operating system"],
)
def test_errors_fail_the_module_once(error: Exception, message: str) -> None:
    module = Module()
    run_state_module(module, lambda: converge(Lamp(broken=error).plan, check_mode=False))
    assert (module.failures, module.results) == ([message], [])


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_state_module(Module(), lambda: converge(Lamp(broken=ZeroDivisionError()).plan, check_mode=False))


@pytest.mark.parametrize("check_mode", [True, False], ids=["check", "real"])
def test_module_exits_once_with_result_and_warnings(*, check_mode: bool) -> None:
    def plan() -> LampPlan:
        made = Lamp().plan()
        made.settings.warnings.append("the fuse is weak")
        made.lamp.value = "on"
        return made

    lamp = Lamp(value="on")
    module = Module(check_mode=check_mode)
    run_state_module(module, lambda: converge(lamp.plan, check_mode=check_mode))
    assert module.results == [converge(lamp.plan, check_mode=True).as_result()]
    assert module.failures == []
    warned = Module(check_mode=True)
    run_state_module(warned, lambda: converge(plan, check_mode=True))
    assert warned.warnings == ["the fuse is weak"]
