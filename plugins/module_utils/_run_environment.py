# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training run finds in its environment. What the user has set stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from ._run_cpus import Seat
from ._run_gpus import RunGpu

# NVIDIA's driver has no peer to peer access for these, and some of its versions claimed it: NCCL then hung or computed
# wrong. accelerate switches it off for RTX 40 too (check_cuda_p2p_ib_support in accelerate/utils/environment.py).
_WITHOUT_PEERS = re.compile(r"GeForce RTX [45]0\d\d")
LOADERS = "MLRIG_LOADER_CPUS"
SEAT = "MLRIG_CPUS"


def make_environment(
    gpus: Sequence[RunGpu] | None,
    pairs: Sequence[Mapping[str, Any]],
    seats: Sequence[Seat],
    cores: int,
    found: Mapping[str, str],
) -> dict[str, str]:
    """What is to be added. gpus: None where the host has none. pairs: peer to peer access, as the facts have it.

    cores: of all CPUs that the run may use, for each process. found: the environment as it is.
    """
    wanted: dict[str, str] = {}
    # A library that takes more threads than it has cores of its own is slower, and OpenMP counts threads of cores, or
    # all CPUs in several processes at once: torchrun therefore takes one thread only.
    shared = min((seat.domain.cores // _count(seats, seat) for seat in seats), default=cores)
    wanted["OMP_NUM_THREADS"] = str(max(1, shared))
    if gpus and len(gpus) > 1 and not _are_peers(gpus, pairs):
        # docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html: NCCL goes through shared memory then.
        wanted["NCCL_P2P_DISABLE"] = "1"
    # No PYTORCH_CUDA_ALLOC_CONF: what helps one program (expandable segments) breaks another that shares memory.
    added = {name: value for name, value in wanted.items() if name not in found}
    if gpus is not None:
        # These are the choice itself. By UUID, which needs no order; the order is for programs that print numbers.
        added["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in gpus)
        added["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    return added


def add_seats(seats: Sequence[Seat], processes: int) -> dict[str, str]:
    """The CPUs of loaders for a program to use; and of several processes, for `_run_command` to give each its own."""
    if processes == 1:
        return {LOADERS: _list(seats[0])} if seats and seats[0].loaders else {}
    named = {f"{SEAT}_{rank}": str(seat.domain) for rank, seat in enumerate(seats)}
    return named | {f"{LOADERS}_{rank}": _list(seat) for rank, seat in enumerate(seats) if seat.loaders}


def _list(seat: Seat) -> str:
    """Every number, so that a program needs no more than a split."""
    return ",".join(map(str, sorted(seat.loaders.cpus))) if seat.loaders else ""


def _count(seats: Sequence[Seat], seat: Seat) -> int:
    return sum(each.domain == seat.domain for each in seats)


def _are_peers(gpus: Sequence[RunGpu], pairs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each reaches the memory of each other, as the driver says, and cards of this kind can."""
    if len({gpu.name for gpu in gpus}) > 1 or any(_WITHOUT_PEERS.search(gpu.name) for gpu in gpus):
        return False
    said = {tuple(pair["gpus"]): {pair["read"], pair["write"]} for pair in pairs}
    indexes = sorted(gpu.index for gpu in gpus)
    return all(said.get(pair, {None}) <= {"ok", None} for pair in combinations(indexes, 2))
