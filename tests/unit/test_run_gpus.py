# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs a training run gets, by the simulated driver, and what it finds in its environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts import gather
from ansible_collections.mlrig.workstation.plugins.module_utils._run_cpus import Seat, merge, place
from ansible_collections.mlrig.workstation.plugins.module_utils._run_environment import add_seats, make_environment
from ansible_collections.mlrig.workstation.plugins.module_utils._run_gpus import (
    RunGpu,
    choose,
    parse_wish,
    read_gpus,
    read_silent,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._run_locks import Holds, find_holder
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError, RequestError

from .conftest import Host
from .cpu_host import RYZEN_9, THREADRIPPER, Processor
from .gpu_host import GpuHost
from .test_cpu_topology import domains_of

CARDS = ("rtx-3090", "rtx-5090", "rtx-3090", "rtx-4060-ti")


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> GpuHost:
    """With a screen at the last GPU."""
    rig = GpuHost(host, monkeypatch)
    rig.start(*CARDS)
    rig.simgpu("set", 3, "display_active", 1)
    return rig


@pytest.fixture
def held() -> Iterator[Holds]:
    """What this run takes."""
    holds = Holds()
    yield holds
    holds.release()


@pytest.fixture
def others() -> Iterator[Holds]:
    holds = Holds()
    yield holds
    holds.release()


def gpus_of(rig: GpuHost) -> tuple[RunGpu, ...]:
    return read_gpus(gather(rig.host.root)["gpus"], rig.host.root)


def in_words(rig: GpuHost, text: str | None) -> str | None:
    """With the UUIDs and addresses of slots in place of {uuid1} and {address1}."""
    for slot in range(len(CARDS)):
        text = text and text.replace(f"{{uuid{slot}}}", rig.uuid(slot))
        text = text and text.replace(f"{{address{slot}}}", rig.attribute(slot, "pci_address"))
    return text


# --gpus, the GPUs that other runs hold, those that other programs compute on; what is chosen.
CHOICES = {
    "all that are free": (None, [], [], [0, 1, 2]),
    "all that are left": (None, [0, 2], [], [1]),
    "all": ("all", [], [], [0, 1, 2]),
    "any": ("any:1", [], [], [0]),
    "any, the first is held": ("any:1", [0], [], [1]),
    "any, the first is in use": ("any:1", [], [0], [1]),
    "any, all are in use": ("any:1", [], [0, 1, 2], [0]),
    "any of several": ("any:2", [1], [], [0, 2]),
    "index": ("1", [], [], [1]),
    "indexes": ("2,0", [], [], [0, 2]),
    "one twice": ("0,0,{uuid0}", [], [], [0]),
    "UUID": ("{uuid2}", [], [], [2]),
    "address": ("{address1}", [], [], [1]),
    "name of one": ("rtx 5090", [], [], [1]),
    "name of several": ("RTX 3090", [], [], [0, 2]),
    "name of all": ("GeForce", [], [], [0, 1, 2]),
    "the one with the screen by index": ("3", [], [], [3]),
    "the one with the screen by UUID": ("{uuid3}", [], [], [3]),
    "the one with the screen by name": ("4060", [3], [], "no GPU of this host has the index 4060; a name"),
    "the one with the screen by its only name": ("4060 ti", [], [], [3]),
    "none is free": (None, [0, 1, 2], [], "no GPU is free: GPU 0 (NVIDIA GeForce RTX 3090) is held by "),
    "one of all is held": ("all", [1], [], "only 2 of 3 GPUs are free: GPU 1 (NVIDIA GeForce RTX 5090) is held by "),
    "any, but too many are held": ("any:2", [0, 1], [], "only 1 of 2 GPUs are free: GPU 0 "),
    "any, but more than there are": ("any:4", [], [], "--gpus any:4: for training this host has only GPU 0 (NVIDIA"),
    "a named one is held": ("1", [1], [], "no GPU is free: GPU 1 (NVIDIA GeForce RTX 5090) is held by "),
    "no such index": ("7", [], [], "--gpus: no GPU of this host has the index 7; there are: GPU 0 (NVIDIA GeForce"),
    "no such name": ("H100", [], [], "--gpus: no GPU of this host has the name H100; there are: GPU 0 "),
}


@pytest.mark.parametrize(("text", "held_slots", "used_slots", "expected"), CHOICES.values(), ids=CHOICES)
def test_choice(
    rig: GpuHost,
    held: Holds,
    others: Holds,
    *,
    text: str | None,
    held_slots: list[int],
    used_slots: list[int],
    expected: list[int] | str,
) -> None:
    for slot in used_slots:
        rig.simgpu("process", slot, 4242, "/usr/bin/python3", "C", 500)
    gpus = gpus_of(rig)
    assert all(others.take(gpus[slot].file) for slot in held_slots)
    wish = parse_wish(in_words(rig, text))
    if isinstance(expected, list):
        assert [gpu.index for gpu in choose(gpus, wish, held)] == expected
        assert {gpu.index for gpu in gpus if find_holder(gpu.file)} == {*expected, *held_slots}
        return
    with pytest.raises(RequestError) as raised:
        choose(gpus, wish, held)
    assert expected in str(raised.value)
    if "held by" in expected:
        assert f"(process {os.getpid()}, user " in str(raised.value)
    # what was taken before is free again
    assert all(others.take(gpu.file) for gpu in gpus if gpu.index not in held_slots)


def test_a_dry_run_takes_nothing(rig: GpuHost, others: Holds) -> None:
    gpus = gpus_of(rig)
    others.take(gpus[0].file)
    looks = Holds(dry_run=True)
    assert [gpu.index for gpu in choose(gpus, parse_wish(None), looks)] == [1, 2]
    assert others.take(gpus[1].file)


@pytest.mark.parametrize(
    "cards",
    [("rtx-3090",), ("rtx-3090", "rtx-3090")],
    ids=["the only one", "every one"],
)
def test_screens_everywhere(host: Host, monkeypatch: pytest.MonkeyPatch, held: Holds, cards: tuple[str, ...]) -> None:
    rig = GpuHost(host, monkeypatch)
    rig.start(*cards)
    for slot in range(len(cards)):
        connector = f"/sys/bus/pci/devices/{rig.attribute(slot, 'pci_address')}/drm/card{slot}/card{slot}-DP-1"
        host.write_all({f"{connector}/status": "connected\n", f"{connector}-2/status": "disconnected\n"})
    gpus = gpus_of(rig)
    assert all(gpu.display for gpu in gpus)
    if len(cards) == 1:
        assert len(choose(gpus, parse_wish(None), held)) == 1
        return
    with pytest.raises(RequestError, match="every GPU of this host has a screen: name those to train on with --gpus"):
        choose(gpus, parse_wish(None), held)
    assert len(choose(gpus, parse_wish("0,1"), held)) == 2


def test_a_card_with_a_screen_does_not_stand_in_for_one_that_vanished(
    host: Host, monkeypatch: pytest.MonkeyPatch, held: Holds
) -> None:
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090", "rtx-5090")
    rig.simgpu("set", 0, "display_active", 1)
    rig.simgpu("fail", 1, "nvmlDeviceGetHandleByIndex_v2", 15)
    facts = gather(host.root)["gpus"]
    gpus, silent = read_gpus(facts, host.root), read_silent(facts)
    [lost] = silent
    assert lost.startswith("GPU 1 does not answer: ")
    with pytest.raises(RequestError) as raised:
        choose(gpus, parse_wish(None), held, silent)
    hint = "name those to train on with --gpus, such as 0"
    assert str(raised.value) == f"every GPU that answers has a screen, and {lost}: {hint}"
    with pytest.raises(RequestError) as raised:
        choose(gpus, parse_wish("1"), held, silent)
    assert str(raised.value).endswith(f"{rig.uuid(0)}, {lost}")
    assert [gpu.index for gpu in choose(gpus, parse_wish("0"), held, silent)] == [0]


class Order(Holds):
    """Keeps in which order files were taken."""

    def __init__(self) -> None:
        super().__init__(dry_run=True)
        self.taken: list[Path] = []

    def take(self, file: Path) -> bool:
        self.taken.append(file)
        return super().take(file)


@pytest.mark.parametrize("text", ["0,2", "2,0", "RTX 3090"])
def test_two_runs_take_gpus_in_the_same_order(rig: GpuHost, text: str) -> None:
    """Or each could take the one that the other needs as well, and neither would start."""
    gpus, order = gpus_of(rig), Order()
    choose(gpus, parse_wish(text), order)
    assert order.taken == [gpus[0].file, gpus[2].file]


def test_a_gpu_that_sysfs_does_not_show(rig: GpuHost, held: Holds) -> None:
    gpus = [replace(gpu, file=rig.host.path("/sys/nothing")) for gpu in gpus_of(rig)]
    assert len(choose(gpus, parse_wish("all"), held)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("any:", "--gpus must have a number of GPUs after any:, such as any:2; got: 'any:'"),
        ("any:0", "--gpus must have a number of GPUs after any:, such as any:2; got: 'any:0'"),
        ("0,", "--gpus.name must be a regular expression, to be found in the GPU's name; got: ''"),
        ("(", "--gpus.name must be a Python regular expression ("),
        ("MIG-1", "--gpus must name whole GPUs, as a part of a divided one (MIG) cannot be held; got: 'MIG-1'"),
        ("GPU-1", "--gpus.uuid must be a GPU's UUID as nvidia-smi -L prints it, GPU-...; got: 'GPU-1'"),
    ],
)
def test_wrong_wishes(text: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_wish(text)
    assert str(raised.value).startswith(message)


def fake_gpus(*names: str) -> list[RunGpu]:
    return [
        RunGpu(
            index=index,
            uuid=f"GPU-{index}",
            name=f"NVIDIA {name}",
            address="?",
            display=False,
            node=None,
            users=(),
            divided=False,
            file=Path("/none"),
        )
        for index, name in enumerate(names)
    ]


def pairs_of(count: int, word: str | None) -> list[dict[str, object]]:
    return [{"gpus": [one, two], "read": word, "write": word} for two in range(count) for one in range(two)]


# Names of the GPUs, what the driver says of peer to peer access, whether NCCL is to do without.
PEERS = {
    "one": (["GeForce RTX 5090"], "ok", False),
    "NVLink": (["GeForce RTX 3090"] * 2, "ok", False),
    "no NVLink": (["GeForce RTX 3090"] * 2, "chipset_not_supported", True),
    "a driver that claims it": (["GeForce RTX 4090"] * 2, "ok", True),
    "RTX 50": (["GeForce RTX 5060 Ti"] * 2, "ok", True),
    "mixed": (["GeForce RTX 3090", "GeForce RTX 3060"], "ok", True),
    "of a data centre": (["H100 80GB HBM3"] * 3, "ok", False),
    "workstation cards of Ada": (["RTX 4000 Ada Generation"] * 2, "ok", False),
    "not told": (["A100"] * 2, None, False),
}


@pytest.mark.parametrize(("names", "word", "disabled"), PEERS.values(), ids=PEERS)
def test_peers(names: list[str], word: str | None, *, disabled: bool) -> None:
    pairs = pairs_of(len(names), word)
    made = make_environment(fake_gpus(*names), pairs, [], 8, {})
    assert made.get("NCCL_P2P_DISABLE") == ("1" if disabled else None)
    assert "NCCL_P2P_DISABLE" not in make_environment(fake_gpus(*names), pairs, [], 8, {"NCCL_P2P_DISABLE": "0"})


def test_one_pair_of_three_is_enough() -> None:
    pairs = pairs_of(3, "ok")
    pairs[1] = {**pairs[1], "write": "gpu_not_supported"}
    assert make_environment(fake_gpus(*["A100"] * 3), pairs, [], 8, {})["NCCL_P2P_DISABLE"] == "1"
    assert "NCCL_P2P_DISABLE" not in make_environment(fake_gpus("A100"), pairs, [], 8, {})


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (None, {}),
        ([], {"CUDA_VISIBLE_DEVICES": "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        (["A100"] * 2, {"CUDA_VISIBLE_DEVICES": "GPU-0,GPU-1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
    ],
    ids=["no hardware", "none wanted", "two"],
)
def test_gpus_that_cuda_sees(gpus: Sequence[str] | None, expected: dict[str, str]) -> None:
    found = {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "4"}
    chosen = None if gpus is None else fake_gpus(*gpus)
    assert make_environment(chosen, pairs_of(len(gpus or ()), "ok"), [], 8, found) == expected


# How many processes, cores for each where there are no seats; threads of OpenMP, and the CPUs of loaders.
THREADS = {
    "one": (RYZEN_9, [None], "auto", 16, "8"),
    "two": (RYZEN_9, [None] * 2, "auto", 8, "8"),
    "three in two domains": (RYZEN_9, [None] * 3, "auto", 5, "4"),
    "not placed": (RYZEN_9, [None], "none", 16, "16"),
    "more processes than cores": (RYZEN_9, [None], "none", 0, "1"),
    "four domains": (THREADRIPPER, [0, 1], "auto", 16, "8"),
}


def test_a_process_on_several_gpus_has_all_their_domains(host: Host) -> None:
    first, second, third, last = domains_of(host, THREADRIPPER)
    seat = merge([Seat(first, second), Seat(third, last), Seat(first, None)])
    assert (str(seat.domain), seat.domain.cores) == ("0-7,16-23,32-39,48-55", 16)
    assert seat.loaders is not None
    assert str(seat.loaders) == "8-15,24-31,40-47,56-63"


@pytest.mark.parametrize(("processor", "nodes", "ccd", "cores", "threads"), THREADS.values(), ids=THREADS)
def test_threads(
    host: Host, held: Holds, *, processor: Processor, nodes: list[int | None], ccd: str, cores: int, threads: str
) -> None:
    seats = place(domains_of(host, processor), nodes, "none" if ccd == "none" else "auto", held)
    assert make_environment(None, [], seats, cores, {}) == {"OMP_NUM_THREADS": threads}
    assert make_environment(None, [], seats, cores, {"OMP_NUM_THREADS": "3"}) == {}


def test_cpus_that_programs_are_told(host: Host) -> None:
    one, two = domains_of(host, RYZEN_9)
    alone = {"MLRIG_LOADER_CPUS": "8,9,10,11,12,13,14,15,24,25,26,27,28,29,30,31"}
    assert add_seats([Seat(one, two)], 1) == alone
    assert add_seats([merge([Seat(one, None), Seat(one, two)])], 1) == alone
    assert add_seats([Seat(one, None)], 1) == add_seats([], 2) == add_seats([], 1) == {}
    assert add_seats([Seat(one, None), Seat(two, one)], 2) == {
        "MLRIG_CPUS_0": "0-7,16-23",
        "MLRIG_CPUS_1": "8-15,24-31",
        "MLRIG_LOADER_CPUS_1": "0,1,2,3,4,5,6,7,16,17,18,19,20,21,22,23",
    }
