# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""sysctl keys and sysfs attributes: live values, and the two files from which the next boot sets them.

Of several names for one attribute, such as a glob and a plain name, the most particular one decides it: live, because
only its value is written, and at boot, because of the order of the lines (see `_tunable_files`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from pathlib import Path

from ._apt import Runner
from ._apt import run as run_command
from ._boot_configuration import BootConfiguration, is_glob, sysctl_key
from ._files import refuse_if_unwritable, replace
from ._kernel_attributes import KernelAttributes, same_value
from ._rival_services import refuse_rivals
from ._settings import Settings, SettingsError
from ._tunable_files import SYSCTL, TMPFILES, FileChange, read_owned
from ._tunable_request import Tunable


@dataclass
class TunablesPlan:
    """The comparison of one request with one host, and the writes that would mend it.

    live: paths and the values to write to them. files: the text that each should have, None where there should be none.
    """

    attributes: KernelAttributes
    settings: Settings = field(default_factory=Settings)
    live: list[tuple[str, str]] = field(default_factory=list)
    files: dict[Path, str | None] = field(default_factory=dict)

    def apply(self) -> None:
        """The running kernel first: what it refuses must not be persisted."""
        refusals: list[str] = []
        for path, value in self.live:
            try:
                self.attributes.write(path, value)
            except SettingsError as refusal:
                refusals.append(str(refusal))
        if refusals:
            raise SettingsError("; ".join(refusals))
        for file, text in self.files.items():
            replace(file, text)


def make_plan(
    tunables: Sequence[Tunable], attributes: KernelAttributes, run: Runner = run_command, *, purge: bool = False
) -> TunablesPlan:
    """Read everything, compare, and say what to do. Changes nothing.

    purge: remove what the two files hold beyond the tunables.
    Raises SettingsError, naming every one of them, for tunables that this kernel does not have, or that a service sets.
    """
    plan = TunablesPlan(attributes)
    tunables = [_withhold(plan, tunable) for tunable in tunables]
    refuse_rivals(tunables, run)
    existing = _find_all(tunables, attributes)
    sysctl = [tunable for tunable in tunables if tunable.is_sysctl]
    sysfs = [tunable for tunable in tunables if not tunable.is_sysctl]
    decided: dict[str, list[str]] = {}
    for file, its_tunables in ((SYSCTL, sysctl), (TMPFILES, sysfs)):
        change = read_owned(file, its_tunables, attributes, purge=purge)
        boot = file.read_boot(attributes.root, {file.path: change.wanted_text})
        for tunable in its_tunables:
            decided[tunable.key] = [path for path in existing[tunable.key] if change.decides(tunable.path, path)]
            paths = decided[tunable.key] if existing[tunable.key] else [tunable.path]
            _compare_persisted(plan, change, tunable, _overriding(boot, file.path, tunable.value, paths))
        _plan_file(plan, change, its_tunables)
    for tunable in tunables:
        compare_live(plan, tunable, decided[tunable.key], exists=bool(existing[tunable.key]))
    return plan


def _withhold(plan: TunablesPlan, tunable: Tunable) -> Tunable:
    """The tunable; where its condition does not hold, one that should not be persisted."""
    condition = tunable.condition
    if condition is None or tunable.value is None:
        return tunable
    found = {path: plan.attributes.read(path) for path in plan.attributes.find(condition.path)}
    if any(same_value(path, condition.value, value) for path, value in found.items()):
        return tunable
    said = ", ".join(f"{path} is {value}" for path, value in found.items()) or "there is none"
    reason = f"{tunable.key} is left alone unless {condition.path} is {condition.value}, and {said}"
    plan.settings.skip(tunable.key, "live", tunable.value, None, reason)
    return replace_fields(tunable, value=None)


def _find_all(tunables: Iterable[Tunable], attributes: KernelAttributes) -> dict[str, list[str]]:
    """The existing paths of each tunable, by key; only a glob and what is not required may have none."""
    existing = {tunable.key: attributes.find(tunable.path) for tunable in tunables}
    unknown = [
        f"{tunable.where} {attributes.explain_missing(tunable.path)}; got: {tunable.name!r}"
        for tunable in tunables
        if tunable.value is not None and tunable.required and not is_glob(tunable.path) and not existing[tunable.key]
    ]
    if unknown:
        raise SettingsError("; ".join(unknown))
    return existing


def _overriding(boot: BootConfiguration, own_file: str, value: str | None, paths: Iterable[str]) -> str | None:
    """Says which line of which other file gives one of these paths another value at the next boot, if any does."""
    if value is None:
        return None
    for path in paths:
        deciding = boot.deciding(path)
        if deciding is None:
            continue
        if deciding.value is None:
            return f"{deciding.origin} keeps {path} from being set at boot, against {own_file}"
        if not same_value(path, value, deciding.value):
            return f"{deciding.origin} sets {path} to {deciding.value!r} at boot and overrides {own_file}"
    return None


def _compare_persisted(plan: TunablesPlan, change: FileChange, tunable: Tunable, overriding: str | None) -> None:
    expected, actual = tunable.value, change.found.get(tunable.key)
    if overriding is not None:
        plan.settings.warnings.append(f"{tunable.name}: {overriding}")
    if overriding is not None and expected == actual:
        plan.settings.skip(tunable.key, "persisted", expected, actual, overriding)
    else:
        plan.settings.compare(tunable.key, "persisted", expected, actual, reason=overriding)


def _plan_file(plan: TunablesPlan, change: FileChange, tunables: Iterable[Tunable]) -> None:
    """Records what is in the file beyond the tunables, and plans its new text."""
    for key in sorted(change.found.keys() - change.wanted.keys() - {tunable.key for tunable in tunables}):
        plan.settings.compare(key, "persisted", None, change.found[key])
    if change.found_text == change.wanted_text:
        return
    file = plan.attributes.on_host(change.file.path)
    refuse_if_unwritable(file)
    plan.files[file] = change.wanted_text
    if change.found == change.wanted:
        plan.settings.compare(change.file.path, "persisted", "as generated", "edited by hand")


def compare_live(plan: TunablesPlan, tunable: Tunable, paths: Iterable[str], *, exists: bool) -> None:
    """Records what the running kernel has at these paths, and plans to write what differs."""
    value = tunable.value
    if value is None:
        return  # what the kernel had before is not known; its own default is back after a reboot
    if not exists:
        plan.settings.skip(tunable.key, "live", value, None, f"this host has no {tunable.path}")
    for path in paths:
        name = sysctl_key(path) if tunable.is_sysctl else path
        actual = plan.attributes.read(path)
        if same_value(path, value, actual):
            plan.settings.compare(name, "live", value, value)
            continue
        obstacle = plan.attributes.read_only_reason(path)
        if obstacle is not None:
            plan.settings.skip(name, "live", value, actual, obstacle)
        else:
            plan.settings.compare(name, "live", value, actual)
            plan.live.append((path, value))
