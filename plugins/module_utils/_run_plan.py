# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training run will be: decided whole before anything starts."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._cpu_topology import count_cores, format_cpus, read_domains
from ._gpu_facts import gather
from ._nvml import NO_HARDWARE
from ._run_command import Machines, complete, is_python_program, through_torchrun
from ._run_cpus import Seat, merge, parse_ccd, place
from ._run_environment import add_seats, make_environment
from ._run_gpus import GpuWish, RunGpu, choose, parse_wish, read_gpus, read_silent
from ._run_locks import Holds
from ._settings import InputError, RequestError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class RunPlan:
    """gpus: None where nothing is said about them, as the host has none. environment: what is added to it.

    cpus: all that the run may use. seats: of each process. notes: for the user.
    """

    name: str
    command: tuple[str, ...]
    gpus: tuple[RunGpu, ...] | None
    cpus: frozenset[int]
    seats: tuple[Seat, ...]
    environment: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def loaders(self) -> dict[frozenset[int], frozenset[int]]:
        """The CPUs of data loaders by those of the process that starts them."""
        return {seat.domain.cpus: seat.loaders.cpus for seat in self.seats if seat.loaders}

    def __str__(self) -> str:
        gpus = ", ".join(map(str, self.gpus or ())) or "no GPU"
        cpus = "; ".join(dict.fromkeys(str(seat.domain) for seat in self.seats)) or format_cpus(self.cpus)
        loaders = "; ".join(dict.fromkeys(format_cpus(each) for each in self.loaders.values()))
        return f"run {self.name}: {gpus}; CPUs {cpus}" + (f", data loaders on {loaders}" if loaders else "")

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "command": self.command,
            "gpus": [{"index": gpu.index, "uuid": gpu.uuid, "name": gpu.name} for gpu in self.gpus or ()],
            "cpus": format_cpus(self.cpus),
            "processes": [
                {"cpus": str(seat.domain), "loader_cpus": str(seat.loaders) if seat.loaders else None}
                for seat in self.seats
            ],
            "environment": dict(self.environment),
            "notes": self.notes,
        }


def make_plan(options: argparse.Namespace, holds: Holds, environment: Mapping[str, str]) -> RunPlan:
    """Raises RequestError and RunError for what cannot be; then nothing is held."""
    root: Path = options.root
    path = environment.get("PATH", os.defpath)
    name = _parse_name(options.name)
    # Whoever has chosen in the way of CUDA need not say it again.
    wish = parse_wish(environment.get(VISIBLE), VISIBLE) if options.gpus is None else parse_wish(options.gpus)
    ccd = parse_ccd(options.ccd)
    machines = Machines(options.nnodes, options.node_rank, options.rdzv_endpoint)
    machines.check()
    given = options.to_run[1:] if options.to_run[:1] == ["--"] else options.to_run
    command = complete(given, path)
    gpus, facts = _find_gpus(wish, holds, root)
    notes = _warn(gpus, facts)

    several = options.torchrun and is_python_program(command) and (len(gpus or ()) > 1 or machines.nnodes is not None)
    if machines.nnodes is not None and not several:
        raise InputError("--nnodes", "must have a Python script or module as COMMAND, which torchrun starts", given)
    allowed = os.sched_getaffinity(0)
    domains = read_domains(root, allowed)
    seats = place(domains, [gpu.node for gpu in gpus or ()] or [None], ccd, holds)
    processes = len(gpus or (0,)) if several else 1
    if seats and not several:
        seats = (merge(seats),)
    if len(gpus or ()) > 1 and not several:
        notes.append(f"COMMAND is started once, and sees all {len(gpus or ())} GPUs")
    cores = count_cores(root, allowed) // processes
    added = make_environment(gpus, facts["peer_to_peer"], seats, cores, environment)
    if several:
        command = through_torchrun(command, processes, machines, path, seated=bool(seats) and processes > 1)
    cpus = frozenset().union(*(seat.domain.cpus for seat in seats)) if seats else frozenset(allowed)
    return RunPlan(name, command, gpus, cpus, seats, added | add_seats(seats, processes), tuple(notes))


def _parse_name(name: str | None) -> str:
    if name is None:
        return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    if not _NAME.fullmatch(name):
        raise InputError("--name", "must be up to 100 letters, digits, and _ . - within", name)
    return name


def _find_gpus(wish: GpuWish, holds: Holds, root: Path) -> tuple[tuple[RunGpu, ...] | None, Mapping[str, Any]]:
    """Those chosen, and the facts. None: there is nothing to choose from, and none was asked for."""
    nothing: Mapping[str, Any] = {"gpus": [], "peer_to_peer": []}
    if wish.kind == "none":
        return (), nothing
    facts = gather(root)
    if facts["reason"] == NO_HARDWARE and wish.kind == "free":
        return None, nothing
    if not facts["available"]:
        raise RequestError(f"no GPU can be used: {facts['reason']}; --gpus none runs without")
    gpus, silent = read_gpus(facts["gpus"], root), read_silent(facts["gpus"])
    if not gpus:
        raise RequestError("no GPU of this host answers; --gpus none runs without")
    return choose(gpus, wish, holds, silent), facts


def _warn(gpus: tuple[RunGpu, ...] | None, facts: Mapping[str, Any]) -> list[str]:
    if gpus is None:
        return ["this host has no NVIDIA GPU: the run has CPUs only"]
    silent = read_silent(facts["gpus"])
    used = [f"{gpu} is used by {', '.join(gpu.users)} too" for gpu in gpus if gpu.users]
    divided = [f"{gpu} is divided (MIG): CUDA takes its first part only" for gpu in gpus if gpu.divided]
    unknown = [f"{gpu} cannot be reserved, as /sys does not show it" for gpu in gpus if not gpu.file.exists()]
    return [*silent, *used, *divided, *unknown]
