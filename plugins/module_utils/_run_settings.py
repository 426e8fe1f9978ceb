# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes root before a training run: GPU settings brought back, and a snapshot. A user gets them through sudo."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ._apt import Output, Runner
from ._gpu_configuration import CONFIGURATION, read_configuration
from ._gpu_run import GpuRun, run
from ._settings import RequestError, Setting, SettingsError
from ._snapshot_program import take_snapshot

AS_ROOT = ("sudo", "-n")  # never asks for a password
_APPLY = ("mlrig", "gpu", "apply")


def check_settings(root: Path, run_command: Runner, *, dry_run: bool) -> list[str]:
    """Compares the GPUs with what is configured, brings back what differs, and says what was done, or is to do.

    Raises RequestError for a configuration that cannot be read; SettingsError for a driver that hangs.
    """
    if not (root / CONFIGURATION.relative_to("/")).exists():
        return []
    is_root = os.geteuid() == 0
    outcome = run(read_configuration(root, CONFIGURATION), check_mode=dry_run or not is_root, root=root)
    problems = [f"{_name(outcome, each)}: {each.reason}" for each in outcome.settings.failed]
    differing = [
        f"{_name(outcome, each)} was {each.actual or 'not known'}, and should be {each.expected or 'unset'}"
        for each in outcome.settings.differing
    ]
    if differing:
        return [*problems, *differing, _mend(run_command, is_root=is_root, dry_run=dry_run)]
    return problems


def _mend(run_command: Runner, *, is_root: bool, dry_run: bool) -> str:
    """What was done about what differs: an engine that runs as root has done it."""
    if dry_run:
        return "a run brings these settings back, if it is root's or sudo asks no password"
    if is_root or _as_root(run_command, *_APPLY, "--json").code == 0:
        return "these settings were brought back"
    return f"these settings stay as they are, as that takes root: sudo {' '.join(_APPLY)}"


def _name(outcome: GpuRun, setting: Setting) -> str:
    """`GPU 0 (NVIDIA GeForce RTX 3090): power_limit` of what has a UUID in its name."""
    of, _slash, name = setting.id.rpartition("/")
    gpu = next((str(gpu) for gpu in outcome.gpus if gpu.id == of), of)
    return f"{gpu}: {name}"


def snapshot(why: str, root: Path, run_command: Runner) -> int:
    """The number of a new snapshot. Raises RequestError where there can be none, SettingsError where it failed."""
    if os.geteuid() == 0:
        return take_snapshot(why, root)
    said = _as_root(run_command, "mlrig", "snapshot", "--json", "--", why)
    try:
        document = json.loads(said.stdout)
    except ValueError:
        hint = "--snapshot takes root, or sudo that asks no password"
        raise RequestError(f"{hint}: {said.text.strip()}") from None
    if said.code:
        raise RequestError(document["error"])
    return int(document["number"])


def _as_root(run_command: Runner, *command: str) -> Output:
    try:
        return run_command(*AS_ROOT, *command)
    except SettingsError as error:
        return Output(127, "", str(error))
