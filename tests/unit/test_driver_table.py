# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of driver branches: what is refused, and what the role's own table says."""

from __future__ import annotations

import copy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_table import FLAVOURS, parse_table
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_version import is_within, kernel_version
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError

DEFAULTS = Path(__file__).parents[2] / "roles/nvidia_driver/defaults/main.yml"
PACKAGES = {"full": ["a-{branch}"], "compute": ["bb", "cc"], "module": "cc", "candidate": "a-{branch}"}
ROW: dict[str, Any] = {
    "branch": "580",
    "kind": "lts",
    "end_of_life": "2028-06-30",
    "kernels": {"min": "4.15", "max": "7.1"},
    "generations": {"open": ["turing"], "proprietary": ["pascal", "turing"]},
    "sources": {"nvidia": {"Ubuntu 24.04": {"pin": "pin-{branch}", "open": PACKAGES}}},
}


def _row(**changes: Any) -> dict[str, Any]:
    """The row, with values for keys, which may name their way by two underscores."""
    row = copy.deepcopy(ROW)
    for way, value in changes.items():
        *folders, last = way.split("__")
        place = row
        for key in folders:
            place = place[key]
        place[last] = value
    return row


def test_a_row_is_read() -> None:
    (branch,) = parse_table([ROW])
    offer = branch.offers["nvidia", "Ubuntu 24.04"]
    assert (branch.end_of_life, branch.listed, branch.note) == (date(2028, 6, 30), True, "")
    assert offer.pin == "pin-580"
    assert offer.flavours["open"].profiles == {"full": ("a-580",), "compute": ("bb", "cc")}
    assert (offer.flavours["open"].module, offer.flavours["open"].candidate) == ("cc", "a-580")


def test_rows_are_in_the_order_of_their_branches() -> None:
    assert [each.branch for each in parse_table([_row(branch="615"), ROW, _row(branch="590")])] == ["580", "590", "615"]


@pytest.mark.parametrize("end", [None, date(2028, 6, 30), "2028-06-30"])
def test_ends_of_life_as_yaml_and_json_write_them(end: Any) -> None:
    assert parse_table([_row(end_of_life=end)])[0].end_of_life in (None, date(2028, 6, 30))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "nvidia_driver_branches must be a list"),
        ([], "nvidia_driver_branches must be a list"),
        (["580"], "nvidia_driver_branches[0] must be a dictionary"),
        ([{"branch": "580"}], "nvidia_driver_branches[0] must have end_of_life, generations, kernels, kind, sources"),
        ([_row(branchs="580")], "nvidia_driver_branches[0] must not have branchs"),
        ([_row(branch=580)], 'nvidia_driver_branches[0].branch must be three digits, such as "595"; got: 580'),
        ([_row(branch=">=590")], "nvidia_driver_branches[0].branch must be three digits"),
        ([ROW, ROW], "nvidia_driver_branches[1] must not repeat a branch; got: '580'"),
        ([_row(kind="LTS")], "nvidia_driver_branches[0] (580).kind must be one of lts, production"),
        ([_row(end_of_life="June 2028")], "(580).end_of_life must be a date"),
        ([_row(end_of_life=2028)], "(580).end_of_life must be a date"),
        ([_row(listed="no")], "(580).listed must be true or false"),
        ([_row(kernels="6.8")], "(580).kernels must be a dictionary"),
        ([_row(kernels={"min": "6.8"})], "(580).kernels must have max"),
        ([_row(kernels__max=6.1)], '(580).kernels.max must be a version in quotes, such as "6.10"'),
        ([_row(kernels__min=None)], "(580).kernels.min must be a version in quotes"),
        ([_row(kernels__min="7")], "(580).kernels.min must be a version in quotes"),
        ([_row(kernels__max="7.0.0-29-generic")], "(580).kernels.max must be a version in quotes"),
        ([_row(kernels__min="6.10", kernels__max="6.9")], "(580).kernels.max must not be below min, 6.10; got: '6.9'"),
        ([_row(generations__open=["Turing"])], "(580).generations.open must be one of older, kepler"),
        ([_row(generations__open="turing")], "(580).generations.open must be a list"),
        ([_row(generations__nvidia=[])], "(580).generations must not have nvidia"),
        ([_row(sources__arch={})], "(580).sources must not have arch"),
        ([_row(sources__nvidia=[])], "(580).sources.nvidia must be a dictionary"),
        ([_row(sources__nvidia={"Debian 13": {"pin": "a1"}})], "sources.nvidia.Debian 13 must have the packages of"),
        ([_row(sources__nvidia={"Debian 13": {"open": {}}})], "Debian 13.open must have candidate, compute, full, mod"),
        ([_row(sources__nvidia={"Debian 13": {"open": {**PACKAGES, "full": []}}})], "open.full must name a package"),
        ([_row(sources__nvidia={"D": {"open": {**PACKAGES, "full": "a"}}})], "nvidia.D.open.full must be a list"),
        ([_row(sources__nvidia={"D": {"open": {**PACKAGES, "module": "A b"}}})], "open.module must be the name of a"),
        ([_row(sources__nvidia={"D": {"pin": 1, "open": PACKAGES}})], "nvidia.D.pin must be the name of a package"),
        ([_row(sources__ubuntu={"U": {"leads_to": "595"}})], "[0].sources must lead to a branch of this table"),
        ([_row(sources__ubuntu={"U": {"leads_to": "580", "pin": "a1"}})], "ubuntu.U must not have pin"),
    ],
)
def test_wrong_tables_are_refused(rows: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_table(rows)
    assert message in str(refusal.value)


def test_the_role_s_own_table() -> None:
    table = parse_table(yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["nvidia_driver_branches"])
    rows = {row.branch: row for row in table}
    assert list(rows) == ["550", "580", "590", "595", "610", "615", "620"]
    assert [branch for branch, row in rows.items() if row.is_living(date(2026, 11, 21))] == ["580", "595", "615", "620"]
    assert [branch for branch, row in rows.items() if "pascal" in row.generations["proprietary"]] == ["550", "580"]
    assert [branch for branch, row in rows.items() if "blackwell" not in row.generations["open"]] == ["550"]
    for row in table:
        assert row.note
        assert "blackwell" not in row.generations["proprietary"]
        for offer in row.offers.values():
            assert set(offer.flavours) <= {each for each in FLAVOURS if row.generations[each]}


def test_names_in_nvidia_s_repositories() -> None:
    table = parse_table(yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["nvidia_driver_branches"])
    for row in table:
        for (source, distribution), offer in row.offers.items():
            assert (offer.pin == f"nvidia-driver-pinning-{row.branch}") is (source == "nvidia")
            names = {name for each in offer.flavours.values() for names in each.profiles.values() for name in names}
            suffixed = {name for name in names if row.branch in name}
            bears_branch = source == "ubuntu" or (distribution.startswith("Ubuntu") and row.branch < "590")
            assert suffixed == (names if bears_branch else set())


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("6.12.107+deb13-amd64", (6, 12, 107)),
        ("6.12.74+deb13+1-amd64", (6, 12, 74)),
        ("7.0.0-29-generic", (7, 0, 0)),
        ("6.8.0-88-generic", (6, 8, 0)),
        ("6.17.0-1012-oem", (6, 17, 0)),
        ("7.1.3+deb13-amd64", (7, 1, 3)),
        ("7.2.0-rc1", (7, 2, 0)),
        ("6.19-cloud", (6, 19, 0)),
        ("linux-6.8", None),
        ("custom", None),
        ("", None),
    ],
)
def test_kernel_version(name: str, version: tuple[int, ...] | None) -> None:
    assert kernel_version(name) == version


@pytest.mark.parametrize(
    ("kernel", "lowest", "highest", "within"),
    [
        ((7, 0, 0), "4.15", "7.0", True),
        ((7, 0, 99), "4.15", "7.0", True),
        ((7, 1, 0), "4.15", "7.0", False),
        ((6, 12, 96), "4.15", "6.12.96", True),
        ((6, 12, 97), "4.15", "6.12.96", False),
        ((6, 13, 0), "4.15", "6.12.96", False),
        ((6, 9, 5), "6.10", None, False),
        ((6, 10, 0), "6.10", None, True),
        ((6, 10, 0), "6.10.3", None, False),
        ((99, 0, 0), "6.10", None, True),
    ],
)
def test_is_within(kernel: tuple[int, ...], lowest: str, highest: str | None, *, within: bool) -> None:
    assert is_within(kernel, lowest, highest) is within
