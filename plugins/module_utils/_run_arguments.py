# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of `mlrig run`, and what its help says."""

from __future__ import annotations

import argparse

SUMMARY = "start a training run"

EPILOG = """\
GPUs:
  without --gpus    all for training that are free: no card with a screen, unless it is the only one, and none that
                    another run holds. CUDA_VISIBLE_DEVICES, where it is set, is taken as --gpus
  --gpus all        all for training; an error where another run holds one
  --gpus any:2      two of them
  --gpus 0,GPU-8d1c3f5a-...,0000:0a:00.0,"RTX 5090"
                    these, by index, UUID, PCI address, or a regular expression to be found in the name; also a card
                    with a screen, unless a name fits others too
  --gpus none       none

several GPUs:
  a Python script or module is started by torchrun, one process for each GPU; what is a launcher itself (torchrun,
  accelerate, deepspeed), or no Python, is started once, and sees all its GPUs

environment that a run gets, where it is not set already:
  CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER
                    the GPUs, always as chosen
  OMP_NUM_THREADS   the cores that each process has for itself
  NCCL_P2P_DISABLE  for several GPUs without peer to peer access
  MLRIG_RUN         the name of the run
  MLRIG_LOADER_CPUS numbers of the CPUs for data loaders; those of PyTorch are moved there without a program's doing

exit status:
  that of the command, which mlrig becomes; or, when nothing was started:
  2    wrong arguments
  125  what was asked for cannot be: the message tells why
  126  COMMAND is not executable
  127  there is no such COMMAND

examples:
  mlrig run -- python train.py --epochs 3
  mlrig run --gpus any:1 --snapshot "before the 70B run" -- ./train.sh
  mlrig run --nnodes 2 --node-rank 0 --rdzv-endpoint rig-a:29500 -- python train.py
  mlrig run --dry-run -- python train.py
  journalctl -t mlrig         what runs were started, with which GPUs and CPUs
  systemctl status 'mlrig-run-*'  (a user's own: systemctl --user)
                              what is running, and what it has used"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "mlrig run [options] -- COMMAND..."
    add = parser.add_argument
    add("--gpus", metavar="WHICH", help="see below")
    add(
        "--ccd",
        metavar="N|auto|none",
        default="auto",
        help="the L3 domain (on AMD's a CCD) to compute in, by number from 0; auto: near the GPU, and a free one if "
        "there is; none: no CPU is preferred (default: %(default)s)",
    )
    add("--snapshot", metavar="WHY", help="take a snapshot of the system before, as mlrig snapshot does")
    add("--name", help="of the run and its unit, mlrig-run-NAME.scope; otherwise it is the time")
    add("--no-torchrun", dest="torchrun", action="store_false", help="start a single process, which sees all its GPUs")
    add("--nnodes", metavar="N", help="several machines: how many, as torchrun takes it")
    add("--node-rank", metavar="R", help="which of them this is, from 0; all have one, or none has")
    add("--rdzv-endpoint", metavar="HOST:PORT", help="where they meet, on the first of them")
    add("--dry-run", action="store_true", help="say what would be run, and start nothing")
    add("--json", action="store_true", help="with --dry-run, as one JSON document")
    add("to_run", metavar="COMMAND", nargs=argparse.REMAINDER, help="with its arguments")
