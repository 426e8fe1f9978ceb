# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs a training run gets: those for training, which no other run holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ._cpu_topology import read_device_node
from ._files import read_if_there
from ._gpu_request import GpuMatch, parse_match
from ._pci_address import normalise_address
from ._run_locks import Holds, find_holder
from ._settings import InputError, RequestError

_WHERE = "--gpus"
_ANY = "any:"
_UUID = "GPU-"
_PART = "MIG-"


@dataclass(frozen=True)
class GpuWish:
    """Of `--gpus`. free: all that are free. all: all, and it is an error where one is held. count: so many of them.

    where: what it was given by, for messages.
    """

    kind: Literal["free", "all", "none", "count", "named"]
    count: int = 0
    named: tuple[GpuMatch, ...] = ()
    where: str = _WHERE


@dataclass(frozen=True)
class RunGpu:
    """display: whether a screen is connected. users: programs that compute on it. file: its own, in /sys."""

    index: int
    uuid: str
    name: str
    address: str
    display: bool
    node: int | None
    users: tuple[str, ...]
    divided: bool
    file: Path

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"


def parse_wish(text: str | None, where: str = _WHERE) -> GpuWish:
    """Raises InputError."""
    if text is None:
        return GpuWish("free")
    if text in ("", "none", "-1"):  # CUDA itself takes -1 as the number of no GPU
        return GpuWish("none")
    if text == "all":
        return GpuWish("all")
    if text.startswith(_ANY):
        count = text.removeprefix(_ANY)
        if not re.fullmatch(r"[1-9]\d*", count):
            raise InputError(where, "must have a number of GPUs after any:, such as any:2", text)
        return GpuWish("count", int(count))
    return GpuWish("named", named=tuple(_parse_name(each.strip(), where) for each in text.split(",")), where=where)


def _parse_name(text: str, where: str) -> GpuMatch:
    if text.upper().startswith(_PART):
        raise InputError(where, "must name whole GPUs, as a part of a divided one (MIG) cannot be held", text)
    if text.isdecimal():
        return parse_match({"index": text}, where)
    if text.upper().startswith(_UUID):
        return parse_match({"uuid": text}, where)
    try:
        return parse_match({"bus_id": normalise_address(text)}, where)
    except ValueError:
        return parse_match({"name": text}, where)


def read_gpus(facts: Sequence[Mapping[str, Any]], root: Path) -> tuple[RunGpu, ...]:
    """Those that answer, of the facts about all GPUs."""
    return tuple(_read_gpu(gpu, root) for gpu in facts if gpu["error"] is None)


def has_screen(gpu: Mapping[str, Any], root: Path) -> bool:
    """In the kernel's view beside the driver's, whose newer versions do not tell any more."""
    device = root / "sys/bus/pci/devices" / (gpu["pci"]["address"] or "unknown")
    connectors = [(read_if_there(each) or "").strip() for each in device.glob("drm/card*/card*-*/status")]
    return bool(gpu["display"]["attached"] or gpu["display"]["active"] or "connected" in connectors)


def read_silent(facts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What to say of those that do not answer."""
    return tuple(f"GPU {gpu['index']} does not answer: {gpu['error']}" for gpu in facts if gpu["error"] is not None)


def _read_gpu(gpu: Mapping[str, Any], root: Path) -> RunGpu:
    address = gpu["pci"]["address"] or "unknown"
    users = [each for each in gpu["processes"] or () if each["type"] != "graphics"]
    return RunGpu(
        gpu["index"],
        gpu["uuid"],
        gpu["name"],
        address,
        has_screen(gpu, root),
        read_device_node(root, address),
        tuple(f"{Path(each['name'] or '?').name} ({each['pid']})" for each in users),
        bool(gpu["mig"]["current"]),
        root / "sys/bus/pci/devices" / address / "vendor",
    )


def choose(gpus: Sequence[RunGpu], wish: GpuWish, holds: Holds, silent: Sequence[str] = ()) -> tuple[RunGpu, ...]:
    """In the order of their numbers, and held from now on. Raises RequestError where there are not enough.

    silent: see `read_silent`.
    """
    candidates = _candidates(gpus, wish, silent)
    needed = wish.count if wish.kind == "count" else len(candidates)
    if needed > len(candidates):
        there = ", ".join(map(str, candidates))
        raise RequestError(f"{wish.where} {_ANY}{needed}: for training this host has only {there}")
    taken: list[RunGpu] = []
    refused: list[str] = []
    for gpu in candidates:
        if len(taken) == needed:
            break
        if _take(gpu, holds):
            taken.append(gpu)
        else:
            refused.append(f"{gpu} is held by {find_holder(gpu.file) or 'another run'}")
    if not taken or (wish.kind != "free" and len(taken) < needed):
        holds.release()
        counted = f"only {len(taken)} of {needed} GPUs are free" if taken else "no GPU is free"
        raise RequestError(f"{counted}: {'; '.join(refused)}")
    return tuple(sorted(taken, key=lambda gpu: gpu.index))


def _take(gpu: RunGpu, holds: Holds) -> bool:
    try:
        return holds.take(gpu.file)
    except FileNotFoundError:  # a container may hide the PCI bus; then nothing tells who else uses it
        return True


def _candidates(gpus: Sequence[RunGpu], wish: GpuWish, silent: Sequence[str]) -> list[RunGpu]:
    """In an order that two runs which start at once share: or each may take one that the other needs as well."""
    if wish.kind == "named":
        found = {gpu for match in wish.named for gpu in _find_named(gpus, match, silent, wish.where)}
        return sorted(found, key=lambda gpu: gpu.index)
    # A screen takes memory and time of its card. The only GPU of a host is for everything.
    training = [gpu for gpu in gpus if not gpu.display or len(gpus) + len(silent) == 1]
    if not training:
        which = f"that answers has a screen, and {'; '.join(silent)}" if silent else "of this host has a screen"
        raise RequestError(f"every GPU {which}: name those to train on with {_WHERE}, such as {gpus[0].index}")
    return sorted(training, key=lambda gpu: (bool(gpu.users), gpu.index))


def _find_named(gpus: Sequence[RunGpu], match: GpuMatch, silent: Sequence[str], where: str) -> list[RunGpu]:
    fitting = [gpu for gpu in gpus if match.fits(index=gpu.index, uuid=gpu.uuid, bus_id=gpu.address, name=gpu.name)]
    if not fitting:
        there = ", ".join([*(f"{gpu} {gpu.uuid}" for gpu in gpus), *silent])
        hint = f'; a name takes more than digits, such as "RTX {match.index}"' if (match.index or 0) > 99 else ""
        raise RequestError(f"{where}: no GPU of this host has the {match}{hint}; there are: {there}")
    # A name that several cards have names none in particular: then the one with the screen is not meant.
    return [gpu for gpu in fitting if not gpu.display] or fitting
