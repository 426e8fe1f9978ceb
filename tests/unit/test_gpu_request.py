# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask of GPUs, and how what is wrong is told: the place, the rule, the value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_request import (
    SETTINGS,
    Amount,
    Clocks,
    GpuMatch,
    parse_cards,
    parse_entries,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_settings import GPU_SETTINGS
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError

UUID = "GPU-8d1c3f5a-0b2e-4c6d-9e8f-7a6b5c4d3e2f"
MATCH = "must be all, or have one or more of uuid, bus_id, index, name"
UUID_RULE = "must be a GPU's UUID as nvidia-smi -L prints it, GPU-..."
BUS_ID = 'must be a PCI address in quotes such as "0000:0a:00.0"'
INDEX = "must be a GPU's index: 0 or more"
NAME = "must be a regular expression, to be found in the GPU's name"
BOOLEAN = "must be true or false"
MODE = "must be one of default, exclusive_process, prohibited"
POWER = 'must be watts such as 165, a percentage of the board\'s default such as "80%", or default'
CLOCKS = 'must be [min, max], each in MHz or a percentage of the maximum such as "90%", or reset'
KEYS = "persistence_mode, compute_mode, power_limit, graphics_clocks, memory_clocks"
NO_CARD = {"match": "all", "required": True}
UNKNOWN_KEY = {"match": "all", "power": 280}


def parse_match(match: object) -> GpuMatch:
    return parse_entries([{"match": match}])[0].match


def parse_setting(name: str, value: object) -> object:
    return parse_entries([{"match": "all", name: value}])[0].settings[name]


@pytest.mark.parametrize(
    ("match", "text"),
    [
        ("all", "all"),
        ({"uuid": UUID}, f"uuid {UUID}"),
        ({"uuid": UUID.upper()}, f"uuid {UUID}"),
        ({"uuid": "gpu-8D1C-0-1-2-3"}, "uuid GPU-8d1c-0-1-2-3"),
        ({"bus_id": "0000:0a:00.0"}, "bus_id 0000:0a:00.0"),
        ({"bus_id": "00000000:0A:00.0"}, "bus_id 0000:0a:00.0"),
        ({"bus_id": "0a:00.0"}, "bus_id 0000:0a:00.0"),
        ({"index": 0}, "index 0"),
        ({"index": "11"}, "index 11"),
        ({"name": "RTX 30[89]0$"}, "name RTX 30[89]0$"),
        ({"name": "3090", "index": 1, "uuid": None}, "index 1, name 3090"),
    ],
)
def test_matches(match: object, text: str) -> None:
    assert str(parse_match(match)) == text


@pytest.mark.parametrize(
    ("match", "where", "rule"),
    [
        (None, "", MATCH),
        ("", "", MATCH),
        ("ALL", "", MATCH),
        ("3090", "", MATCH),
        (0, "", MATCH),
        (["all"], "", MATCH),
        ({}, "", MATCH),
        ({"uuid": None}, "", MATCH),
        ({"serial": "1"}, "", f"must not have serial; it {MATCH}"),
        ({"index": 0, "serial": "1"}, "", f"must not have serial; it {MATCH}"),
        ({"uuid": "8d1c3f5a-0b2e-4c6d-9e8f-7a6b5c4d3e2f"}, ".uuid", UUID_RULE),
        ({"uuid": f"{UUID} "}, ".uuid", UUID_RULE),
        ({"uuid": "GPU-"}, ".uuid", UUID_RULE),
        ({"uuid": f"MIG{UUID[3:]}"}, ".uuid", UUID_RULE),
        ({"uuid": 7}, ".uuid", UUID_RULE),
        ({"bus_id": "PCI:10:0:0"}, ".bus_id", BUS_ID),
        ({"bus_id": "10"}, ".bus_id", BUS_ID),
        ({"bus_id": 10}, ".bus_id", BUS_ID),
        ({"bus_id": ""}, ".bus_id", BUS_ID),
        ({"index": -1}, ".index", INDEX),
        ({"index": True}, ".index", INDEX),
        ({"index": 1.0}, ".index", INDEX),
        ({"index": "first"}, ".index", INDEX),
        ({"index": ""}, ".index", INDEX),
        ({"index": [0]}, ".index", INDEX),
        ({"name": ""}, ".name", NAME),
        ({"name": 3090}, ".name", NAME),
        ({"name": ["3090"]}, ".name", NAME),
    ],
)
def test_matches_that_are_refused(match: Any, where: str, rule: str) -> None:
    for parse, what in ((parse_entries, "gpus"), (parse_cards, "cards")):
        with pytest.raises(InputError) as raised:
            parse([{"match": "all"}, {"match": match}])
        value = match if where == "" else match[where[1:]]
        assert str(raised.value) == f"{what}[1].match{where} {rule}; got: {value!r}"


def test_a_match_that_is_no_regular_expression() -> None:
    with pytest.raises(InputError, match=r"^gpus\[0\]\.match\.name must be a Python regular expression \(.+\); got: "):
        parse_match({"name": "RTX (3090"})


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("all", True),
        ({"uuid": UUID.upper()}, True),
        ({"uuid": UUID[:-1] + "e"}, False),
        ({"uuid": UUID[:-1]}, False),
        ({"bus_id": "0A:00.0"}, True),
        ({"bus_id": "0001:0a:00.0"}, False),
        ({"index": "1"}, True),
        ({"index": 10}, False),
        ({"name": "rtx 3090"}, True),
        ({"name": "^RTX"}, False),
        ({"name": "3090$"}, False),
        ({"name": "3090 Ti$", "index": 1, "uuid": UUID, "bus_id": "0a:00.0"}, True),
        ({"name": "3090", "index": 0}, False),
        ({"uuid": UUID, "bus_id": "0b:00.0"}, False),
    ],
)
def test_what_a_match_fits(match: object, *, fits: bool) -> None:
    gpu = {"index": 1, "uuid": UUID, "bus_id": "0000:0a:00.0", "name": "NVIDIA GeForce RTX 3090 Ti"}
    assert parse_match(match).fits(**gpu) is fits


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("all", True),
        ({"index": 1}, True),
        ({"uuid": UUID}, False),
        ({"name": "."}, False),
        ({"bus_id": "0a:00.0"}, False),
    ],
)
def test_what_fits_a_gpu_of_which_only_the_index_is_known(match: object, *, fits: bool) -> None:
    assert parse_match(match).fits(index=1, uuid=None, bus_id=None, name=None) is fits


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("persistence_mode", True, True),
        ("persistence_mode", False, False),
        ("compute_mode", "default", None),
        ("compute_mode", "exclusive_process", "exclusive_process"),
        ("compute_mode", "prohibited", "prohibited"),
        ("power_limit", "default", None),
        ("power_limit", 165, Amount(165)),
        ("power_limit", 164.5, Amount(164.5)),
        ("power_limit", "165", Amount(165)),
        ("power_limit", " 165 ", Amount(165)),
        ("power_limit", "80%", Amount(80, is_percentage=True)),
        ("power_limit", "72.5 %", Amount(72.5, is_percentage=True)),
        ("power_limit", "110%", Amount(110, is_percentage=True)),
        ("graphics_clocks", "reset", None),
        ("graphics_clocks", [210, 1695], Clocks(Amount(210), Amount(1695))),
        ("graphics_clocks", (900, 900), Clocks(Amount(900), Amount(900))),
        ("graphics_clocks", ["210", "90%"], Clocks(Amount(210), Amount(90, is_percentage=True))),
        ("graphics_clocks", ["90%", 210], Clocks(Amount(90, is_percentage=True), Amount(210))),
        ("memory_clocks", "reset", None),
        ("memory_clocks", ["50%", "100%"], Clocks(Amount(50, is_percentage=True), Amount(100, is_percentage=True))),
    ],
)
def test_settings(name: str, value: object, wanted: object) -> None:
    assert parse_setting(name, value) == wanted


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        *[("persistence_mode", value, BOOLEAN) for value in ("yes", "true", 1, 0, "", [])],
        *[("compute_mode", value, MODE) for value in ("exclusive", "Default", 0, "", True, ["default"], {})],
        *[
            ("power_limit", value, POWER)
            for value in (
                *("", "max", "Default", "165 W", "165W", "%", "80%%", "-5", "-5%", "+5", "1e2", "nan", "inf", "0x10"),
                *(0, 0.0, "0%", "0", -1, 1e300, True, False, [165], {"watts": 165}, float("nan"), "80 percent", "1,5"),
            )
        ],
        *[
            (f"{kind}_clocks", value, CLOCKS)
            for kind in ("graphics", "memory")
            for value in (
                *("default", "", "210,1695", "[210, 1695]", "90%", 1695, True, [], [1695], [210, 900, 1695]),
                *({"min": 210, "max": 1695}, {210, 1695}),
            )
        ],
        *[
            ("graphics_clocks", value, CLOCKS)
            for value in (["210 MHz", 1695], ["", 1695], [0, 1695], [210, "0%"], [True, 1695], [None, 1695], [-1, 1])
        ],
    ],
)
def test_settings_that_are_refused(name: str, value: object, rule: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_setting(name, value)
    # a list of clocks may name the one that is wrong
    values = [value, *(value if isinstance(value, list) else [])]
    assert str(raised.value) in [f"gpus[0].{name} {rule}; got: {each!r}" for each in values]


def test_clocks_beyond_the_maximum() -> None:
    with pytest.raises(InputError) as raised:
        parse_setting("graphics_clocks", ["90%", "110%"])
    assert str(raised.value).endswith(".graphics_clocks must be at most 100 % of the maximum; got: ['90%', '110%']")


@pytest.mark.parametrize("clocks", [[1695, 210], ["90%", "89.9%"], ["1695", 210]])
def test_clocks_whose_minimum_is_not_first(clocks: list[object]) -> None:
    with pytest.raises(InputError) as raised:
        parse_setting("memory_clocks", clocks)
    assert str(raised.value) == f"gpus[0].memory_clocks must have its minimum first; got: {clocks!r}"


def test_an_entry() -> None:
    [entry] = parse_entries(
        [{"match": {"index": 0}, "note": "why", "required": False, "power_limit": 280, "compute_mode": None}]
    )
    assert (entry.where, entry.required, entry.clamp) == ("gpus[0]", False, False)
    assert entry.settings == {"power_limit": Amount(280)}
    assert parse_entries([{"match": "all"}])[0].required is True


def test_a_card_needs_not_be_there_and_is_brought_into_the_range() -> None:
    [card] = parse_cards([{"match": "all", "power_limit": 280, "note": "why"}])
    assert (card.where, card.required, card.clamp) == ("cards[0]", False, True)


@pytest.mark.parametrize(
    ("parse", "rows", "message"),
    [
        (parse_entries, "all", "gpus must be a list; got: 'all'"),
        (parse_entries, {"match": "all"}, "gpus must be a list; got: {'match': 'all'}"),
        (parse_entries, 7, "gpus must be a list; got: 7"),
        (parse_cards, "all", "cards must be a list; got: 'all'"),
        (parse_entries, ["all"], "gpus[0] must be a dictionary; got: 'all'"),
        (parse_entries, [{"match": "all"}, None], "gpus[1] must be a dictionary; got: None"),
        (parse_cards, [[]], "cards[0] must be a dictionary; got: []"),
        (
            parse_entries,
            [UNKNOWN_KEY],
            f"gpus[0] must not have power; it may have match, note, required, {KEYS}; got: {UNKNOWN_KEY}",
        ),
        (
            parse_cards,
            [NO_CARD],
            f"cards[0] must not have required; it may have match, note, {KEYS}; got: {NO_CARD}",
        ),
        (parse_entries, [{"power_limit": 280}], f"gpus[0].match {MATCH}; got: None"),
        (parse_entries, [{"match": "all", "required": "no"}], f"gpus[0].required {BOOLEAN}; got: 'no'"),
        (parse_entries, [{"match": "all", "required": 0}], f"gpus[0].required {BOOLEAN}; got: 0"),
    ],
)
def test_rows_that_are_refused(parse: Callable[[Any], object], rows: object, message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse(rows)
    assert str(raised.value) == message


def test_the_place_says_which_list() -> None:
    with pytest.raises(InputError, match=r"^/etc/mlrig/gpu\.json: gpus\[0\]\.power_limit "):
        parse_entries([{"match": "all", "power_limit": "much"}], "/etc/mlrig/gpu.json: gpus")


def test_what_can_be_asked_for_can_be_set_in_the_same_order() -> None:
    assert tuple(GPU_SETTINGS) == SETTINGS
