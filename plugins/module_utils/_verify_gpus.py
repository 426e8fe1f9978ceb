# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs a verification works on, and what is known of them beside NVML's facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ._driver_libraries import find_libraries
from ._gpu_facts import gather
from ._gpu_records import GpuRecords, read_epoch
from ._run_gpus import has_screen
from ._settings import SettingsError

Facts = dict[str, Any]

_LOCKS = ("graphics_clocks", "memory_clocks")


def read_facts(root: Path) -> Facts:
    """Those of `_gpu_facts`; what clocks are locked by UUID; and, empty as yet, the facts about GPUs at work.

    What has a screen is what `mlrig run` takes for it.
    """
    facts = gather(root)
    for gpu in facts["gpus"]:
        gpu["display"]["attached"] = has_screen(gpu, root)
    version = facts["driver_version"]
    uuids = [gpu["uuid"] for gpu in facts["gpus"] if gpu["uuid"]]
    locks = {uuid: _locks(root, version, uuid) for uuid in uuids} if version else {}
    return {**facts, "libraries": version or find_libraries(root).version, "locks": locks, "load": {}}


def watch(facts: Facts, root: Path, uuid: str) -> None:
    """Add the facts about a GPU as it is now; if it has begun to work, which it may fail to do."""
    try:
        now = gather(root)["gpus"]
    except SettingsError:  # what hangs is noticed by who waits for the measuring
        return
    at_work = [gpu for gpu in now if gpu["uuid"] == uuid and "gpu_idle" not in (gpu["throttle_reasons"] or ())]
    facts["load"].setdefault(uuid, []).extend(at_work)


def training_gpus(facts: Mapping[str, Any]) -> list[str]:
    """The UUIDs of those to measure."""
    return [gpu["uuid"] for gpu in facts["gpus"] if why_left_alone(gpu, facts["gpus"]) is None]


def why_left_alone(gpu: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]) -> str | None:
    """Why nothing is run on a GPU; None where it is one for training that is free."""
    if gpu["error"] is not None:
        return "it does not answer"
    if gpu["mig"]["current"]:
        return "it is divided (MIG)"
    if len(gpus) > 1 and _has_display(gpu) and not all(map(_has_display, gpus)):
        return "it has a screen, and others are for training"
    users = [f"{Path(each['name'] or '?').name} ({each['pid']})" for each in gpu["processes"] or () if _computes(each)]
    return f"{', '.join(users)} computes on it now" if users else None


def _has_display(gpu: Mapping[str, Any]) -> bool:
    return bool(gpu["display"]["attached"] or gpu["display"]["active"])


def _computes(process: Mapping[str, Any]) -> bool:
    return bool(process["type"] != "graphics")


def _locks(root: Path, version: str, uuid: str) -> str | None:
    """No driver tells them: those that `mlrig gpu` has on record."""
    settings = GpuRecords(root, read_epoch(root, version)).load(uuid).settings
    locked = [f"{name} {settings[name]}" for name in _LOCKS if settings.get(name, "").endswith("MHz")]
    return ", ".join(locked) or None
