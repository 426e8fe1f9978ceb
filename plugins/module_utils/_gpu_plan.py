# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wishes for the GPUs of one host, compared with what they are, and the acts that would make them true."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ._gpu_records import GpuRecords, read_epoch
from ._gpu_request import GpuEntry, Wanted
from ._gpu_settings import GPU_SETTINGS, UNLOCKED, CannotHaveError, GpuSetting, Target
from ._gpus import Gpu, find_gpus
from ._nvml import explain, is_not_had, read
from ._settings import Evidence, InputError, RequestError, Setting, Settings

_NOT_SUPPORTED = "not supported"


@dataclass(frozen=True)
class GpuRequest:
    """What is wanted of the GPUs of a host.

    strict: what a GPU does not support is an error. purge: what an earlier run set and no entry asks for any more is
    given back to the driver. force: clock locks are set again, whatever the record says.
    """

    entries: Sequence[GpuEntry]
    strict: bool = False
    purge: bool = False
    force: bool = False


@dataclass(frozen=True)
class _Wish:
    """One setting of one GPU, as the last entry that has it wants it."""

    where: str
    wanted: Wanted
    clamp: bool = False
    is_leftover: bool = False


@dataclass(frozen=True)
class _Act:
    gpu: Gpu
    name: str
    target: Target
    setting: Setting
    keep_record: bool


@dataclass
class GpuPlan:
    """A comparison, and the acts that would mend what differs.

    doing: is told each step that may hang. just_set: whether this is the reading after acting.
    problems: what is wrong with the request on this host.
    """

    nvml: Any
    request: GpuRequest
    records: GpuRecords
    doing: Callable[[str], None]
    just_set: bool = False
    gpus: Sequence[Gpu] = ()
    settings: Settings = field(default_factory=Settings)
    acts: list[_Act] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def apply(self) -> None:
        """One GPU that refuses does not stop the others."""
        acts = {gpu_id: list(group) for gpu_id, group in groupby(self.acts, lambda act: act.gpu.id)}
        for gpu_id in acts:
            self.records.refuse_if_unwritable(gpu_id)
        for gpu_id, its_acts in acts.items():
            self.records.forget(gpu_id, [act.name for act in its_acts])
            set_now = {act.name: text for act in its_acts if (text := self._set(act)) is not None}
            self.records.store(gpu_id, set_now)

    def _set(self, act: _Act) -> str | None:
        """What is to be recorded of it, if anything."""
        self.doing(f"setting {act.name} of {act.gpu} to {act.target.text}")
        try:
            GPU_SETTINGS[act.name].apply(self.nvml, act.gpu, act.target)
        except self.nvml.NVMLError as error:
            reason = f"{act.gpu}: cannot set {act.name} to {act.target.text}: {explain(error)}"
            if not is_not_had(error):
                self.settings.amend(act.setting, "failed", reason)
                return None
            self.settings.amend(act.setting, "failed" if self.request.strict else "skipped", reason)
            return _NOT_SUPPORTED  # only trying tells: so the next run, or check mode, need not try
        return act.target.text if act.keep_record else None


def make_plan(
    nvml: Any, request: GpuRequest, root: Path, doing: Callable[[str], None], *, just_set: bool = False
) -> GpuPlan:
    """Read everything, compare, and say what to do. Changes nothing.

    just_set: whether this is the reading after acting, when records are as good as they can be.
    Raises RequestError for entries that match no GPU, and for what is beyond a board, all of it at once.
    """
    doing("looking for GPUs")
    records = GpuRecords(root, read_epoch(root, nvml.nvmlSystemGetDriverVersion()))
    plan = GpuPlan(nvml, request, records, doing, just_set, find_gpus(nvml))
    for entry in request.entries:
        if entry.required and not any(gpu.fits(entry.match) for gpu in plan.gpus):
            _note_unmatched(plan, entry)
    for gpu in plan.gpus:
        wishes = _wishes(request.entries, gpu)
        if gpu.error is None:
            _compare_gpu(plan, gpu, wishes)
        else:
            _give_up(plan, gpu.id, wishes, f"{gpu} does not answer: {gpu.error}")
    if plan.problems:
        raise RequestError("; ".join(plan.problems))
    return plan


def _wishes(entries: Sequence[GpuEntry], gpu: Gpu) -> dict[str, _Wish]:
    """What is wanted of a GPU: entries in their order, so that the last one wins for each setting."""
    return {
        name: _Wish(f"{entry.where}.{name}", wanted, entry.clamp)
        for entry in entries
        if gpu.fits(entry.match)
        for name, wanted in entry.settings.items()
    }


def _note_unmatched(plan: GpuPlan, entry: GpuEntry) -> None:
    """An entry for no GPU is a mistake, unless it may be for one that does not answer."""
    silent = [gpu for gpu in plan.gpus if gpu.error is not None]
    if silent:
        wishes = {name: _Wish(f"{entry.where}.{name}", wanted) for name, wanted in entry.settings.items()}
        said = ", ".join(f"{gpu} does not: {gpu.error}" for gpu in silent)
        _give_up(plan, entry.where, wishes, f"no GPU that answers fits {entry.match}; {said}")
        return
    there = ", ".join(f"{gpu}: {gpu.uuid} at {gpu.address}" for gpu in plan.gpus) or "none"
    rule = f"must fit a GPU of this host, or have required: false (it has {there})"
    plan.problems.append(str(InputError(f"{entry.where}.match", rule, str(entry.match))))


def _give_up(plan: GpuPlan, of: str, wishes: Mapping[str, _Wish], reason: str) -> None:
    for name in wishes:
        plan.settings.fail(f"{of}/{name}", "live", None, None, f"cannot set {name}: {reason}")


def _compare_gpu(plan: GpuPlan, gpu: Gpu, wishes: Mapping[str, _Wish]) -> None:
    recorded = plan.records.load(gpu.id)
    if plan.request.purge:
        wishes = {**_leftovers(recorded), **wishes}
    plan.doing(f"reading persistence_mode of {gpu}")
    forgetful = not plan.just_set and _is_forgetful(plan.nvml, gpu)
    if plan.request.force and not plan.just_set:
        recorded = {}
    elif forgetful:
        recorded = {name: text for name, text in recorded.items() if text == _NOT_SUPPORTED}
    for name in GPU_SETTINGS:
        if name in wishes:
            plan.doing(f"reading {name} of {gpu}")
            _compare_setting(plan, gpu, name, wishes[name], recorded.get(name))
    volatile = [name for name, wish in wishes.items() if name != "persistence_mode" and wish.wanted is not None]
    mode = wishes.get("persistence_mode")
    if volatile and not (mode.wanted if mode else not forgetful):
        forgets = f"the driver forgets {', '.join(volatile)} when no program uses the GPU"
        plan.settings.warnings.append(f"{gpu}: without persistence_mode {forgets}")


def _leftovers(recorded: Mapping[str, str]) -> dict[str, _Wish]:
    """Wishes to give back to the driver what was set once; persistence mode is its own state, not a tuning."""
    tuned = [name for name, text in recorded.items() if text not in (_NOT_SUPPORTED, UNLOCKED)]
    return {
        name: _Wish(f"{name} of an earlier run", None, is_leftover=True) for name in tuned if name != "persistence_mode"
    }


def _is_forgetful(nvml: Any, gpu: Gpu) -> bool:
    """Without persistence mode a driver forgets what it was told when the last program closes the GPU."""
    try:
        return bool(read(nvml, "nvmlDeviceGetPersistenceMode", gpu.handle) == 0)
    except nvml.NVMLError:
        return False  # comparing the settings will say what is wrong


def _compare_setting(plan: GpuPlan, gpu: Gpu, name: str, wish: _Wish, recorded: str | None) -> None:
    setting_id = f"{gpu.id}/{name}"
    kind = GPU_SETTINGS[name]
    try:
        target, actual = _read(plan.nvml, gpu, kind, wish, recorded)
    except CannotHaveError as obstacle:
        record = plan.settings.fail if plan.request.strict else plan.settings.skip
        record(setting_id, "live", describe(wish.wanted), None, f"{gpu} cannot have {name}: {obstacle}")
        return
    except InputError as problem:
        plan.problems.append(str(problem))
        return
    except plan.nvml.NVMLError as error:
        reason = f"{gpu}: cannot read {name}: {explain(error)}"
        plan.settings.fail(setting_id, "live", describe(wish.wanted), None, reason)
        return
    evidence: Evidence = "read"
    if actual is None:  # nobody can tell: what was set in this epoch is the best there is
        actual = recorded
        evidence = "unknown" if actual is None else "recorded"
    if target.warning is not None:
        plan.settings.warnings.append(f"{gpu}: {name} {target.text}: {target.warning}")
    setting = plan.settings.compare(setting_id, "live", target.text, actual, reason=target.note, evidence=evidence)
    if setting.action == "changed":
        plan.acts.append(_Act(gpu, name, target, setting, keep_record=not wish.is_leftover))


def _read(nvml: Any, gpu: Gpu, kind: GpuSetting, wish: _Wish, recorded: str | None) -> tuple[Target, str | None]:
    if recorded == _NOT_SUPPORTED:
        raise CannotHaveError("the driver said so when it was to be set")
    return kind.target(nvml, gpu, wish.wanted, where=wish.where, clamp=wish.clamp), kind.read(nvml, gpu)


def describe(wanted: Wanted) -> str:
    """A wish in words, where nothing can be said about what it means on a certain GPU."""
    if isinstance(wanted, bool):
        return "enabled" if wanted else "disabled"
    return "default" if wanted is None else str(wanted)
