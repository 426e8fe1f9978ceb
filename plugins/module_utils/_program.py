# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program mlrig on the host: what must work without Ansible."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ._gpu_configuration import CONFIGURATION
from ._gpu_program import FAILED, WRONG_INPUT, apply, reset, status
from ._run_arguments import EPILOG as RUN_EPILOG
from ._run_arguments import SUMMARY as RUN_SUMMARY
from ._run_arguments import add_arguments as add_run_arguments
from ._run_command import RunError
from ._run_program import run
from ._settings import RequestError, SettingsError
from ._snapshot_program import snapshot
from ._verify_program import EPILOG as VERIFY_EPILOG
from ._verify_program import SUMMARY as VERIFY_SUMMARY
from ._verify_program import add_arguments as add_verify_arguments
from ._verify_program import verify

_DESCRIPTION = """\
The on-host program of the Ansible collection mlrig.workstation.

mlrig gpu sets persistence mode, power limit, clock locks and compute mode of NVIDIA GPUs. The role gpu_tuning
configures it, and makes it run at boot, after the driver was loaded again, and after resume.

mlrig snapshot takes a snapshot of the system on btrfs, by snapper, before a training run or a change that may go wrong.
Other subvolumes and mounts, such as /home, are not in it. The role snapshots sets snapper up.

mlrig run starts a command with what a training run should have; mlrig run --help tells.

mlrig verify tells whether driver, GPUs and a project's environment work; mlrig verify --help tells."""

_EPILOG = f"""\
files:
  {CONFIGURATION}
      What is wanted, such as {{"gpus": [{{"match": "all", "persistence_mode": true}}]}}: the options cards, gpus and
      strict of the Ansible module mlrig.workstation.nvidia_gpu. The role gpu_tuning writes this file.
  /run/mlrig/gpu/
      What was set since boot, for each GPU: no driver tells which clocks are locked.

exit status:
  0   all is as wanted, or was made so; also on a host without an NVIDIA GPU
  1   a GPU could not be read or set, or an entry does not fit, while all others were set; or driver or snapper failed
  2   wrong arguments, a configuration that cannot be read, or a host that cannot have snapshots; nothing was changed
  3   status: something differs from what is wanted
  4   there is a GPU, but its driver is missing, not loaded, or waits for a reboot

examples:
  mlrig gpu status            what every GPU is set to, and whether that is as wanted
  mlrig gpu apply --force     lock the clocks again after another program has changed them
  mlrig gpu reset             power limits and clocks back to the driver's defaults, until the next apply
  mlrig snapshot "before the 70B run"
                              prints the number of the snapshot; sudo snapper list tells all
  mlrig run -- python train.py
                              on the GPUs that are free and have no screen, each process on CPUs of its own"""

_COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace], int]]] = {
    "apply": ("bring the GPUs to what is wanted", apply),
    "status": ("compare the GPUs with what is wanted, and change nothing", status),
    "reset": ("give power limits, clocks and compute modes back to the driver", reset),
}


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("mlrig", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw)
    subjects = parser.add_subparsers(required=True, metavar="gpu|run|snapshot|verify")
    gpu = subjects.add_parser("gpu", help="NVIDIA GPUs", epilog=_EPILOG, formatter_class=raw)
    commands = gpu.add_subparsers(required=True, metavar="apply|status|reset")
    for name, (summary, command) in _COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary, epilog=_EPILOG, formatter_class=raw)
        sub.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
        if command is not reset:
            sub.add_argument("--config", type=Path, default=CONFIGURATION, help="instead of %(default)s")
        if command is apply:
            sub.add_argument("--force", action="store_true", help="lock clocks again, even if that is on record")
        sub.set_defaults(command=command)
    sub = subjects.add_parser(
        "run", help=RUN_SUMMARY, description=RUN_SUMMARY, epilog=RUN_EPILOG, formatter_class=raw, allow_abbrev=False
    )
    add_run_arguments(sub)
    sub.set_defaults(command=run)
    summary = "take a snapshot of the system, and print its number"
    sub = subjects.add_parser("snapshot", help=summary, description=summary, epilog=_EPILOG, formatter_class=raw)
    sub.add_argument("description", help="why it is taken")
    sub.add_argument("--json", action="store_true", help="print one JSON document instead of the number")
    sub.set_defaults(command=snapshot)
    sub = subjects.add_parser(
        "verify", help=VERIFY_SUMMARY, description=VERIFY_SUMMARY, epilog=VERIFY_EPILOG, formatter_class=raw
    )
    add_verify_arguments(sub)
    sub.set_defaults(command=verify)
    return parser


def main(arguments: Sequence[str] | None = None, *, root: Path = Path("/")) -> int:
    """Returns the exit status. root: of the host's file system."""
    options = _parser().parse_args(arguments, argparse.Namespace(root=root))
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except RunError as error:
        _complain(error, options)
        return error.status
    except RequestError as error:
        _complain(error, options)
        return WRONG_INPUT
    except (SettingsError, OSError) as error:
        _complain(error, options)
        return FAILED


def _complain(error: Exception, options: argparse.Namespace) -> None:
    if options.json:
        sys.stdout.write(f"{json.dumps({'error': str(error)}, indent=2)}\n")
    else:
        sys.stderr.write(f"mlrig: {error}\n")
