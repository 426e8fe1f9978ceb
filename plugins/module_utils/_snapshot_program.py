# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mlrig snapshot`: a snapshot of the system before something that may go wrong. Returns its exit status."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from ._apt import Runner
from ._apt import run as run_command
from ._btrfs import find_obstacle
from ._settings import InputError, RequestError, SettingsError
from ._snapper_config import PROGRAM

CONFIG = "root"
_FILE = f"etc/snapper/configs/{CONFIG}"
# The last important ones are kept however many of apt's came after.
_USERDATA = "mlrig=1,important=yes"


def snapshot(options: argparse.Namespace) -> int:
    number = take_snapshot(options.description, options.root)
    if options.json:
        document = {"config": CONFIG, "number": number, "description": options.description}
        sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
    else:
        sys.stdout.write(f"{number}\n")
    return 0


def take_snapshot(description: str, root: Path, run: Runner = run_command) -> int:
    """The number of a new snapshot. Raises RequestError where this host cannot have one."""
    if not description.strip() or not description.isprintable():
        raise InputError("the description", "must be one line of text that says why", description)
    obstacle = find_obstacle(root, "/")
    if obstacle is not None:
        raise RequestError(f"no snapshot can be taken: {obstacle}")
    for needed in (PROGRAM.lstrip("/"), _FILE):
        if not (root / needed).exists():
            raise RequestError(f"no snapshot can be taken: there is no /{needed}, which the role snapshots brings")
    output = run(
        "snapper",
        f"--config={CONFIG}",
        "create",
        "--type=single",
        "--cleanup-algorithm=number",
        f"--description={description}",
        f"--userdata={_USERDATA}",
        "--print-number",
    )
    said = output.stdout.strip()
    if output.code or not said.isdecimal():
        hint = "" if os.geteuid() == 0 else "; it takes root: sudo mlrig snapshot"
        raise SettingsError(f"snapper took no snapshot: {output.text.strip()}{hint}")
    return int(said)
