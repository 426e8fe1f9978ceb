# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards: which devices of the bus they are, of which generation, and who holds them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._nvidia_cards import (
    _BLOCKS,
    GENERATIONS,
    OPEN_CAPABLE,
    Card,
    find_cards,
    generation_of,
    generations_to_serve,
)

from .conftest import Host

VGA, THREE_D = "0x030000", "0x030200"


def _plug(host: Host, address: str, device: str, display: str = VGA, driver: str | None = None, **other: str) -> None:
    folder = f"/sys/bus/pci/devices/{address}"
    attributes = {"vendor": "0x10de", "device": device, "class": display, **other}
    host.write_all({f"{folder}/{name}": f"{value}\n" for name, value in attributes.items()})
    if driver is not None:
        host.link(f"{folder}/driver", f"../../../../bus/pci/drivers/{driver}")


# Ids and chips as in pci.ids; for each generation its first and its last, and where blocks meet.
@pytest.mark.parametrize(
    ("device", "generation"),
    [
        ("0020", "older"),  # Riva TNT
        ("0611", "older"),  # 8800 GT
        ("0f00", "older"),  # GT 630, Fermi
        ("0fc0", "kepler"),  # GT 640
        ("1021", "kepler"),  # Tesla K20Xm
        ("1040", "older"),  # GT 520, Fermi again
        ("1140", "older"),  # 610M
        ("1180", "kepler"),  # GTX 680
        ("1200", "older"),  # GTX 560 Ti
        ("1281", "kepler"),  # GT 710
        ("130b", "kepler"),  # GK110
        ("1340", "maxwell"),  # 830M
        ("1436", "maxwell"),  # Quadro M2200
        ("15f7", "pascal"),  # Tesla P100
        ("1617", "maxwell"),  # GTX 980M
        ("1725", "pascal"),  # GP100
        ("174d", "maxwell"),  # MX130
        ("17fd", "maxwell"),  # Tesla M40
        ("1b06", "pascal"),  # GTX 1080 Ti
        ("1d56", "pascal"),  # MX330
        ("1d81", "volta"),  # TITAN V
        ("1df6", "volta"),  # V100S
        ("1e02", "turing"),  # TITAN RTX
        ("1ff9", "turing"),  # T1000
        ("2080", "ampere"),  # GA100
        ("20b2", "ampere"),  # A100
        ("2182", "turing"),  # GTX 1660 Ti
        ("21d1", "turing"),  # GTX 1660 Ti Mobile
        ("2204", "ampere"),  # RTX 3090
        ("2330", "hopper"),  # H100
        ("2342", "hopper"),  # GH200
        ("2414", "ampere"),  # RTX 3060 Ti
        ("25fb", "ampere"),  # RTX A500
        ("2684", "ada"),  # RTX 4090
        ("28f8", "ada"),  # RTX 2000 Ada
        ("2901", "blackwell"),  # B200
        ("2941", "blackwell"),  # GB200
        ("2b85", "blackwell"),  # RTX 5090
        ("2bb1", "blackwell"),  # RTX PRO 6000
        ("2e12", "blackwell"),  # GB10
        ("2f58", "blackwell"),  # RTX 5070 Ti Mobile
        ("3021", "newer"),  # GR100, Rubin
        ("3182", "blackwell"),  # B300
        ("31c2", "blackwell"),  # GB300
        ("3400", "newer"),
        ("ffff", "newer"),
    ],
)
def test_generation(device: str, generation: str) -> None:
    assert generation_of(int(device, 16)) == generation


def test_every_generation_has_a_block_and_blocks_are_in_order() -> None:
    assert {generation for _first, generation in _BLOCKS} == set(GENERATIONS)
    assert sorted(_BLOCKS) == list(_BLOCKS)
    assert all(one != following for (_a, one), (_b, following) in pairwise(_BLOCKS))


def test_open_kernel_modules_begin_with_turing() -> None:
    assert {"turing", "blackwell", "newer"} <= OPEN_CAPABLE
    assert not {"kepler", "pascal", "volta"} & OPEN_CAPABLE


def test_a_desktop_with_two_cards(host: Host) -> None:
    _plug(host, "0000:0a:00.0", "0x1f02", driver="nouveau")
    _plug(host, "0000:01:00.0", "0x2b85")
    _plug(host, "0000:01:00.1", "0x22e8", "0x040300", driver="snd_hda_intel")
    _plug(host, "0000:0a:00.2", "0x1ad8", "0x0c0330", driver="xhci_hcd")
    _plug(host, "0000:0a:00.3", "0x1ad9", "0x0c8000", driver="nvidia-gpu")
    _plug(host, "0000:00:02.0", "0x2e12", vendor="0x8086", driver="i915")
    assert find_cards(host.root) == (
        Card("0000:01:00.0", "2b85", "blackwell", None),
        Card("0000:0a:00.0", "1f02", "turing", "nouveau"),
    )


@pytest.mark.parametrize(
    ("display", "found"),
    [(VGA, True), (THREE_D, True), ("0x030001", True), ("0x068000", False), ("0x060400", False), ("0x120000", False)],
)
def test_display_controllers_are_cards(host: Host, display: str, *, found: bool) -> None:
    _plug(host, "0000:41:00.0", "0x20b0", display)
    assert bool(find_cards(host.root)) is found


def test_virtual_functions_are_no_cards(host: Host) -> None:
    _plug(host, "0000:41:00.0", "0x20b0", THREE_D, driver="nvidia")
    _plug(host, "0000:41:00.4", "0x20b0", THREE_D, driver="nvidia-vgpu-vfio")
    host.link("/sys/bus/pci/devices/0000:41:00.4/physfn", "../0000:41:00.0")
    assert [card.address for card in find_cards(host.root)] == ["0000:41:00.0"]


def test_wide_domains_come_last(host: Host) -> None:
    for address in ("10000:01:00.0", "f000:01:00.0", "0000:01:00.0"):
        _plug(host, address, "0x2e12")
    assert [card.address for card in find_cards(host.root)] == ["0000:01:00.0", "f000:01:00.0", "10000:01:00.0"]


def test_no_bus_no_cards(host: Host) -> None:
    assert find_cards(host.root) == ()


def test_a_device_that_vanishes_while_it_is_read_is_none(host: Host) -> None:
    host.path("/sys/bus/pci/devices/0000:01:00.0").mkdir(parents=True)
    assert find_cards(host.root) == ()


@pytest.mark.parametrize(
    ("driver", "passed_through"),
    [
        (None, False),
        ("nvidia", False),
        ("nouveau", False),
        ("NovaCore", False),
        ("vfio-pci", True),
        ("nvgrace_gpu_vfio_pci", True),
        ("pci-stub", True),
        ("xen-pciback", True),
    ],
)
def test_passed_through(host: Host, driver: str | None, *, passed_through: bool) -> None:
    _plug(host, "0000:01:00.0", "0x1b06", driver=driver)
    (card,) = find_cards(host.root)
    assert card.as_dict() == {
        "address": "0000:01:00.0",
        "device": "1b06",
        "generation": "pascal",
        "driver": driver,
        "passed_through": passed_through,
    }
    assert generations_to_serve([card]) == (() if passed_through else ("pascal",))


def test_generations_to_serve_are_each_named_once_the_oldest_first(host: Host) -> None:
    for number, (device, driver) in enumerate(
        [("0x2b85", "nvidia"), ("0x2684", None), ("0x1281", "vfio-pci"), ("0x1b06", "nouveau"), ("0x2b85", "nvidia")]
    ):
        _plug(host, f"0000:{number:02x}:00.0", device, driver=driver)
    assert generations_to_serve(find_cards(host.root)) == ("pascal", "ada", "blackwell")
