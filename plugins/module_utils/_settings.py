# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of all state modules: read, compare, act unless in check mode, read again.

A state module makes a plan (what was found, compared with what is wanted, and how to mend it) and hands it to
`converge`. The records of all modules have one shape, `{id, plane, expected, actual, action[, reason][, evidence]}`, so
that together they are the drift report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

Plane = Literal["persisted", "live", "boot"]
Action = Literal["none", "changed", "reboot", "skipped", "failed"]
Evidence = Literal["read", "recorded", "unknown"]


class SettingsError(Exception):
    """What stops a state module; the text is for the user and names the setting and the cause."""


class RequestError(SettingsError):
    """What the user asked for is wrong, or does not fit this host; nothing was changed."""


class InputError(RequestError):
    """A wrong value in what the user asked for: where it stands, the rule, the value."""

    def __init__(self, where: str, rule: str, value: object) -> None:
        super().__init__(f"{where} {rule}; got: {value!r}")


@dataclass(frozen=True)
class Setting:
    """One record: a single setting on one plane.

    plane: `persisted` is what the next boot will do, `live` what is true now, `boot` what only a reboot makes true.
    expected, actual: the values as text; actual is what was found when the run began; None where there is none.
    action: `none`, `changed`, `reboot` (a reboot is needed), `skipped` (this host cannot have it; see reason) or
    `failed` (see reason).
    evidence: how actual is known, where that is not by reading it alone.
    """

    id: str
    plane: Plane
    expected: str | None
    actual: str | None
    action: Action
    reason: str | None = None
    evidence: Evidence | None = None

    def as_dict(self) -> dict[str, str | None]:
        record: dict[str, str | None] = {
            "id": _sendable(self.id),
            "plane": self.plane,
            "expected": _sendable(self.expected),
            "actual": _sendable(self.actual),
            "action": self.action,
        }
        said = {"reason": _sendable(self.reason), "evidence": self.evidence}
        return record | {name: value for name, value in said.items() if value is not None}


class Settings:
    """The records of one run of a state module, in the order in which they were compared, and warnings for the user."""

    def __init__(self) -> None:
        self.records: list[Setting] = []
        self.warnings: list[str] = []

    def compare(  # noqa: PLR0913 - the fields of a record
        self,
        setting_id: str,
        plane: Plane,
        expected: str | None,
        actual: str | None,
        *,
        reason: str | None = None,
        evidence: Evidence | None = None,
    ) -> Setting:
        """Record a setting that this host can have; the action follows from the two values."""
        action: Action = "none"
        if expected != actual:
            action = "reboot" if plane == "boot" else "changed"
        return self._add(Setting(setting_id, plane, expected, actual, action, reason, evidence))

    def skip(self, setting_id: str, plane: Plane, expected: str | None, actual: str | None, reason: str) -> Setting:
        """Record a setting that this host cannot have."""
        return self._add(Setting(setting_id, plane, expected, actual, "skipped", reason))

    def fail(self, setting_id: str, plane: Plane, expected: str | None, actual: str | None, reason: str) -> Setting:
        """Record a setting that could not be read or set, which keeps no other from being so."""
        return self._add(Setting(setting_id, plane, expected, actual, "failed", reason))

    def amend(self, setting: Setting, action: Literal["skipped", "failed"], reason: str) -> None:
        """Say what became of a setting that was recorded as `none` or `changed`; a worse record stands."""
        for position, each in enumerate(self.records):
            if (each.id, each.plane) == (setting.id, setting.plane) and each.action in ("none", "changed"):
                self.records[position] = replace(each, action=action, reason=reason)

    def _add(self, setting: Setting) -> Setting:
        self.records.append(setting)
        return setting

    @property
    def differing(self) -> list[Setting]:
        return [setting for setting in self.records if setting.action == "changed"]

    @property
    def failed(self) -> list[Setting]:
        return [setting for setting in self.records if setting.action == "failed"]

    def as_result(self) -> dict[str, Any]:
        """What the module returns: `changed`, `diff`, `settings`, `reboot_required`."""
        differing = [setting.as_dict() for setting in self.differing]
        return {
            "changed": bool(differing),
            "diff": {"before": _as_text(differing, "actual"), "after": _as_text(differing, "expected")},
            "settings": [setting.as_dict() for setting in self.records],
            "reboot_required": any(setting.action == "reboot" for setting in self.records),
        }


def _as_text(records: Sequence[Mapping[str, str | None]], key: Literal["expected", "actual"]) -> str:
    return "".join(f"{each['id']} ({each['plane']}): {each[key]}\n" for each in records if each[key] is not None)


def _sendable(text: str | None) -> str | None:
    """What files hold need not be UTF-8; what goes to Ansible must be."""
    return text and text.encode(errors="surrogateescape").decode(errors="replace")


class Plan(Protocol):
    """What a comparison found, and the acts that would make it true. Making a plan changes nothing."""

    settings: Settings

    def apply(self) -> None:
        """Make every setting of action `changed` true.

        Settings that could not be are amended, and the others set; or SettingsError is raised, and no more is done.
        """


def converge(make_plan: Callable[[], Plan], *, check_mode: bool) -> Settings:
    """Bring the host to what is wanted and return what was found and done.

    make_plan reads and compares; it is called a second time after acting, so that nothing is claimed that was not
    read back: a value that did not take, or cannot be read again, has failed. The same path serves check mode and a
    real run.
    """
    plan = make_plan()
    if check_mode or not plan.settings.differing:
        return plan.settings
    plan.apply()
    read_again = {(each.id, each.plane): each for each in make_plan().settings.records}
    for setting in plan.settings.differing:
        found = read_again.get((setting.id, setting.plane))
        if found is None or setting.expected == found.actual:
            continue  # a plan does not mention what was not to be there, and is gone
        wanted = f"set to {setting.expected!r}"
        if found.action == "changed":
            plan.settings.amend(setting, "failed", f"did not take: {wanted}, reads {found.actual!r}")
        else:
            plan.settings.amend(setting, "failed", f"{wanted}, but cannot be read again: {found.reason}")
    return plan.settings


class StateModule(Protocol):
    """The part of AnsibleModule that a state module needs."""

    check_mode: bool

    def warn(self, warning: str) -> None: ...
    def exit_json(self, **result: Any) -> None: ...
    def fail_json(self, msg: str, **result: Any) -> None: ...


def run_state_module(module: StateModule, run: Callable[[], Settings]) -> None:
    """The body of every state module: run `converge`, and turn the outcome into Ansible's."""
    try:
        settings = run()
    except (SettingsError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    for warning in settings.warnings:
        module.warn(warning)
    if settings.failed:
        msg = "; ".join(f"{each.id} ({each.plane}): {each.reason}" for each in settings.failed)
        module.fail_json(msg=msg, **settings.as_result())
    else:
        module.exit_json(**settings.as_result())
