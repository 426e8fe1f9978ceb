# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mlrig gpu`: the engine of GPU settings at the command line. Each command returns its exit status."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from ._gpu_configuration import read_configuration
from ._gpu_plan import GpuRequest
from ._gpu_request import parse_cards
from ._gpu_run import GpuRun, run
from ._nvml import NO_HARDWARE
from ._settings import Setting

FINE, FAILED, WRONG_INPUT, DIFFERS, UNAVAILABLE = range(5)

_DEFAULTS = {
    "match": "all",
    "compute_mode": "default",
    "power_limit": "default",
    "graphics_clocks": "reset",
    "memory_clocks": "reset",
}


def apply(options: argparse.Namespace) -> int:
    request = read_configuration(options.root, options.config, force=options.force)
    return _report(run(request, check_mode=False, root=options.root), options, "changed")


def status(options: argparse.Namespace) -> int:
    outcome = run(read_configuration(options.root, options.config), check_mode=True, root=options.root)
    code = _report(outcome, options, "DIFFERS")
    return DIFFERS if code == FINE and outcome.settings.differing else code


def reset(options: argparse.Namespace) -> int:
    request = GpuRequest(parse_cards([_DEFAULTS]), force=True)
    return _report(run(request, check_mode=False, root=options.root), options, "reset")


def _report(outcome: GpuRun, options: argparse.Namespace, changed: str) -> int:
    if options.json:
        sys.stdout.write(f"{json.dumps(_document(outcome), indent=2)}\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _table(outcome, changed))
        for warning in outcome.settings.warnings:
            sys.stderr.write(f"mlrig: warning: {warning}\n")
    if outcome.unavailable not in (None, NO_HARDWARE):
        return UNAVAILABLE
    return FAILED if outcome.settings.failed else FINE


def _document(outcome: GpuRun) -> dict[str, object]:
    gpus = [
        {"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name, "address": gpu.address, "error": gpu.error}
        for gpu in outcome.gpus
    ]
    said = {"unavailable": outcome.unavailable, "gpus": gpus, "warnings": outcome.settings.warnings}
    return {**said, **outcome.settings.as_result()}


def _table(outcome: GpuRun, changed: str) -> Iterator[str]:
    if outcome.unavailable is not None:
        yield f"No GPU can be asked: {outcome.unavailable}."
    for gpu in outcome.gpus:
        yield f"{gpu}  {gpu.address or ''}  {gpu.uuid or ''}".rstrip()
        mine = [setting for setting in outcome.settings.records if setting.id.startswith(f"{gpu.id}/")]
        yield from _rows(mine, changed)
    ids = tuple(f"{gpu.id}/" for gpu in outcome.gpus)
    yield from _rows([setting for setting in outcome.settings.records if not setting.id.startswith(ids)], changed)


def _rows(settings: list[Setting], changed: str) -> Iterator[str]:
    if not settings:
        return
    words = {"none": "as wanted", "changed": changed}
    cells = [("setting", "wanted", "found", "")]
    for setting in settings:
        found = f"{setting.actual or '?'}{' (recorded)' if setting.evidence == 'recorded' else ''}"
        name = setting.id.rpartition("/")[2]
        cells.append((name, setting.expected or "?", found, words.get(setting.action, setting.action)))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row, reason in zip(cells, [None, *(setting.reason for setting in settings)], strict=True):
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if reason is not None:
            yield f"      {reason}"
