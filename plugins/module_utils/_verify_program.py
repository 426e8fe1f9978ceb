# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mlrig verify`: driver, GPUs and a project's environment, which count as right when they train."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._settings import InputError, SettingsError
from ._verify_checks import Check
from ._verify_environment import Wanted, find_project, measure
from ._verify_gpus import read_facts, training_gpus, watch
from ._verify_judge import judge
from ._verify_measure import PARTS

PASSED, FAILED, COULD_NOT_RUN = range(3)
SUMMARY = "verify that driver, GPUs and a project's environment work, by a fine-tuning too"
EPILOG = """\
groups of checks, for --only:
  driver     it answers, kernel module and libraries have one version, the flavour fits the cards
  gpu        each card: capability, memory, PCI Express, Resizable BAR, throttling, persistence mode
  torch      of the project: fits driver and cards, and computes right on each GPU for training
  speed      of each GPU for training: a product of matrices and a copy, against what its card should reach
  training   a tiny random model, fine-tuned in 4 bits; nothing is downloaded

A GPU that has a screen while another has none, or that a program computes on, is left alone. Without a GPU, the
fine-tuning runs on the CPU, and what takes a GPU is skipped. Settings are not changed.

exit status:
  0   nothing failed
  1   a check failed; the text says why, and what helps
  2   it could not run: no driver that answers in time, no project, no Python in it, or the measuring died or hung"""

_GROUPS = ("driver", "gpu", *PARTS)
_PROJECT = "ml-finetune"
_PATIENCE = 900.0


@dataclass(frozen=True)
class Outcome:
    """error: why nothing could be read, or measured; then there are checks of what could be."""

    checks: Sequence[Check] = ()
    facts: Mapping[str, Any] | None = None
    measurements: Mapping[str, Any] | None = None
    error: str | None = None

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.status == "failed"]

    @property
    def status(self) -> int:
        if self.error is not None:
            return COULD_NOT_RUN
        return FAILED if self.failed else PASSED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", help=f"its folder, instead of ~/{_PROJECT}")
    parser.add_argument(
        "--only", nargs="+", choices=_GROUPS, default=_GROUPS, metavar="GROUP", help="these checks only"
    )
    parser.add_argument(
        "--timeout", type=float, default=_PATIENCE, metavar="SECONDS", help="for all measuring (%(default)g)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def verify(options: argparse.Namespace) -> int:
    outcome = run(options)
    if options.json:
        sys.stdout.write(f"{json.dumps(_document(outcome), indent=2)}\n")
    else:
        sys.stdout.writelines(f"{_printable(line)}\n" for line in _table(outcome))
        if outcome.error is not None:
            sys.stderr.write(f"mlrig: {_printable(outcome.error)}\n")
    return outcome.status


def run(options: argparse.Namespace) -> Outcome:
    facts = found = error = None
    try:
        if not 0 < options.timeout < math.inf:
            raise InputError("--timeout", "must be a number of seconds above 0", options.timeout)
        facts = read_facts(options.root)
        found = _measure(options, facts)
    except (SettingsError, OSError) as trouble:
        error = str(trouble)
    checks = judge(found, facts) if facts else []
    return Outcome([check for check in checks if _is_wanted(check, options.only)], facts, found, error)


def _is_wanted(check: Check, only: Sequence[str]) -> bool:
    """What fails of torch is told with all that takes torch: it is why that is skipped, or is done by the CPU."""
    return check.group in only or (check.group == "torch" and check.status == "failed")


def _measure(options: argparse.Namespace, facts: dict[str, Any]) -> dict[str, Any] | None:
    parts = [part for part in PARTS if part in options.only]
    if not parts:
        return None
    project = find_project(_folder(options.project), options.root)
    wanted = Wanted(parts, training_gpus(facts), options.timeout)
    return measure(project, wanted, lambda uuid: watch(facts, options.root, uuid))


def _folder(project: str | None) -> Path:
    user = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    try:
        return Path(project or f"~{user}/{_PROJECT}").expanduser().absolute()
    except RuntimeError as error:
        raise InputError(
            "--project", "must not begin with the home of a user that this host does not have", project
        ) from error


def _document(outcome: Outcome) -> dict[str, Any]:
    gpus = outcome.facts["gpus"] if outcome.facts else []
    told = [
        f"{check.id}: found {check.actual or 'nothing'}, expected {check.expected}; {check.reason}"
        for check in outcome.failed
    ]
    return {
        "error": outcome.error,
        "told": [outcome.error, *told] if outcome.error is not None else told,
        "checks": [check.as_dict() for check in outcome.checks],
        "gpus": [{name: gpu[name] for name in ("index", "uuid", "name")} for gpu in gpus],
        "measurements": outcome.measurements,
    }


def _printable(text: str) -> str:
    """What this terminal shows as it is: errors of libraries have colours, and characters that a locale lacks."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return shown.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)


def _table(outcome: Outcome) -> Iterator[str]:
    cells = [("", "check", "found", "expected")]
    for check in outcome.checks:
        status = check.status.upper() if check.status == "failed" else check.status
        cells.append((status, check.id, check.actual or "", check.expected or ""))
    # A list of architectures must not push the last column out of sight.
    widths = [min(36, max(map(len, column))) for column in zip(*cells, strict=True)]
    for row, reason in zip(cells, [None, *(check.reason for check in outcome.checks)], strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if reason is not None:
            yield f"{'':{widths[0]}}  {reason}"
    counted = {
        status: sum(check.status == status for check in outcome.checks) for status in ("passed", "failed", "skipped")
    }
    yield ", ".join(f"{count} {status}" for status, count in counted.items())
