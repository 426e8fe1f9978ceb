# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wishes for the GPUs of one host, compared with what they are, and the acts that would make them true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ._gpu_records import GpuRecords, read_epoch
from ._gpu_request import GpuEntry, Wanted
from ._gpu_settings import GPU_SETTINGS, CannotHaveError, GpuSetting, Target
from ._gpus import Gpu, find_gpus
from ._nvml import explain, is_not_had, read
from ._settings import Evidence, InputError, RequestError, Setting, Settings

_NOT_SUPPORTED = "not supported"
# What a driver forgets, without persistence mode, when the last program closes a GPU.
_FORGOTTEN = frozenset({"power_limit", "graphics_clocks", "memory_clocks"})


@dataclass(frozen=True)
class GpuRequest:
    """What is wanted of the GPUs of a host.

    strict: what a GPU does not support is an error. purge: what an earlier run set and no entry asks for any more is
    given back to the driver. force: clock locks are set again, whatever the record says.
    unattended: what does not fit this host fails by itself, as there is nobody to correct it; else it stops everything.
    """

    entries: Sequence[GpuEntry]
    strict: bool = False
    purge: bool = False
    force: bool = False
    unattended: bool = False


@dataclass(frozen=True)
class _Wish:
    """One setting of one GPU, as the last entry that has it wants it."""

    where: str
    wanted: Wanted
    clamp: bool = False


@dataclass(frozen=True)
class _Act:
    gpu: Gpu
    name: str
    target: Target
    setting: Setting
    gives_back: bool


@dataclass
class GpuPlan:
    """A comparison, and the acts that would mend what differs.

    doing: is told each step that may hang. earlier: the plan that was applied, if this is the reading after it.
    problems: what is wrong with the request on this host.
    """

    nvml: Any
    request: GpuRequest
    records: GpuRecords
    doing: Callable[[str], None]
    earlier: GpuPlan | None = None
    gpus: Sequence[Gpu] = ()
    settings: Settings = field(default_factory=Settings)
    acts: list[_Act] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    leftovers: dict[str, frozenset[str]] = field(default_factory=dict)

    def apply(self) -> None:
        """One GPU that refuses does not stop the others."""
        acts = {gpu_id: list(group) for gpu_id, group in groupby(self.acts, lambda act: act.gpu.id)}
        for gpu_id in acts:
            self.records.refuse_if_unwritable(gpu_id)
        for gpu_id, its_acts in acts.items():
            self.records.begin(gpu_id, {act.name for act in its_acts if act.name != "persistence_mode"})
            set_now = {act.name: text for act in its_acts if (text := self._set(act)) is not None}
            given_back = {act.name for act in its_acts if act.gives_back and act.name in set_now}
            unsupported = {name for name, text in set_now.items() if text == _NOT_SUPPORTED}
            self.records.finish(gpu_id, set_now, given_back | unsupported)

    def _set(self, act: _Act) -> str | None:
        """What is to be recorded of it; None if it could not be set."""
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
        return act.target.text


def make_plan(
    nvml: Any, request: GpuRequest, root: Path, doing: Callable[[str], None], earlier: GpuPlan | None = None
) -> GpuPlan:
    """Read everything, compare, and say what to do. Changes nothing.

    earlier: the plan that was applied, if this is the reading after it, when records are as good as they can be.
    Raises RequestError for entries that match no GPU, and for what is beyond a board, all of it at once; not after
    acting, and not unattended: then these settings have failed.
    """
    records = GpuRecords(root, read_epoch(root, nvml.nvmlSystemGetDriverVersion()))
    plan = GpuPlan(nvml, request, records, doing, earlier, find_gpus(nvml, doing))
    for entry in request.entries:
        if entry.required and not any(gpu.fits(entry.match) for gpu in plan.gpus):
            _note_unmatched(plan, entry)
    for gpu in plan.gpus:
        wishes = _wishes(request.entries, gpu)
        if gpu.error is None:
            _compare_gpu(plan, gpu, wishes)
        else:
            _give_up(plan, gpu.id, wishes, f"{gpu} does not answer: {gpu.error}")
    if earlier is not None:
        for act in earlier.acts:
            if act.gpu.id not in {gpu.id for gpu in plan.gpus}:
                _give_up(plan, act.gpu.id, [act.name], f"{act.gpu} is not there any more")
    if plan.problems and earlier is None and not request.unattended:
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
        said = ", ".join(f"{gpu} does not: {gpu.error}" for gpu in silent)
        _give_up(plan, entry.where, entry.settings, f"no GPU that answers fits {entry.match}; {said}")
        return
    there = ", ".join(f"{gpu}: {gpu.uuid} at {gpu.address}" for gpu in plan.gpus) or "none"
    rule = f"must fit a GPU of this host, or have required: false (it has {there})"
    problem = str(InputError(f"{entry.where}.match", rule, str(entry.match)))
    plan.problems.append(problem)
    _give_up(plan, entry.where, entry.settings, problem)


def _give_up(plan: GpuPlan, of: str, names: Iterable[str], reason: str) -> None:
    for name in names:
        plan.settings.fail(f"{of}/{name}", "live", None, None, f"cannot set {name}: {reason}")


def _compare_gpu(plan: GpuPlan, gpu: Gpu, wishes: Mapping[str, _Wish]) -> None:
    record = plan.records.load(gpu.id)
    if plan.request.purge:
        # Persistence mode is its own state, not a tuning.
        found = record.touched if plan.earlier is None else plan.earlier.leftovers.get(gpu.id, frozenset())
        plan.leftovers[gpu.id] = found
        wishes = {**{name: _Wish(f"{name} of an earlier run", None) for name in sorted(found)}, **wishes}
    plan.doing(f"reading persistence_mode of {gpu}")
    awake = _is_awake(plan.nvml, gpu)
    mode = wishes.get("persistence_mode")
    wanted_awake = bool(mode.wanted) if mode else awake
    recorded = record.settings
    if plan.earlier is None:
        if plan.request.force:
            recorded = {}
        elif wanted_awake and not awake:  # somebody switched it off, and what was set may be forgotten
            kept = {name: text for name, text in recorded.items() if name not in _FORGOTTEN or text == _NOT_SUPPORTED}
            recorded = kept
    for name in GPU_SETTINGS:
        if name in wishes:
            plan.doing(f"reading {name} of {gpu}")
            _compare_setting(plan, gpu, name, wishes[name], recorded.get(name))
    forgotten = [name for name, wish in wishes.items() if name in _FORGOTTEN and wish.wanted is not None]
    if forgotten and not wanted_awake:
        forgets = f"the driver forgets {', '.join(forgotten)} when no program uses the GPU"
        plan.settings.warnings.append(f"{gpu}: without persistence_mode {forgets}")


def _is_awake(nvml: Any, gpu: Gpu) -> bool:
    """Whether the driver keeps what it was told when the last program closes the GPU."""
    try:
        return bool(read(nvml, "nvmlDeviceGetPersistenceMode", gpu.handle) != 0)
    except nvml.NVMLError:
        return True  # comparing the settings will say what is wrong


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
        plan.settings.fail(setting_id, "live", describe(wish.wanted), None, f"cannot set {name} of {gpu}: {problem}")
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
        plan.acts.append(_Act(gpu, name, target, setting, gives_back=wish.wanted is None))


def _read(nvml: Any, gpu: Gpu, kind: GpuSetting, wish: _Wish, recorded: str | None) -> tuple[Target, str | None]:
    if recorded == _NOT_SUPPORTED:
        raise CannotHaveError("the driver said so when it was to be set")
    return kind.target(nvml, gpu, wish.wanted, where=wish.where, clamp=wish.clamp), kind.read(nvml, gpu)


def describe(wanted: Wanted) -> str:
    """A wish in words, where nothing can be said about what it means on a certain GPU."""
    if isinstance(wanted, bool):
        return "enabled" if wanted else "disabled"
    return "default" if wanted is None else str(wanted)
