# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong and unknown role variables, each told in one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlrig.workstation.plugins.action.validate_variables import _load_specifications, _validate
from ansible_collections.mlrig.workstation.plugins.module_utils._role_variables import find_problems, restore_numbers

CHECKOUT = Path(__file__).parents[2]
OWN_FILES = [
    *sorted(CHECKOUT.glob("molecule/*/variables.yml")),
    *sorted(CHECKOUT.glob("inventory/reference/host_vars/*.yml")),
]
ROLES: dict[str, dict[str, dict[str, Any]]] = {
    "disk": {
        "disk_count": {"type": "int", "default": 1},
        "disk_share": {"type": "float"},
        "disk_label": {"type": "str", "required": True},
        "disk_path": {"type": "path"},
        "disk_trim": {"type": "bool", "default": True},
        "disk_mode": {"type": "str", "choices": ["fast", "safe"], "default": "safe"},
        "disk_modes": {"type": "list", "elements": "str", "choices": ["fast", "safe"], "default": []},
        "disk_key": {"type": "str", "no_log": True, "choices": ["k1", "k2"]},
        "disk_anything": {"type": "raw"},
        "disk_names": {"type": "list", "elements": "str", "default": []},
        "disk_options": {"type": "dict", "default": {}},
        "disk_mounts": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "path": {"type": "path", "required": True},
                "size": {"type": "int"},
                "check": {"type": "bool", "default": True},
                "password": {"type": "str", "no_log": True},
                "inner": {"type": "dict", "options": {"level": {"type": "int", "choices": [1, 2]}}},
            },
        },
    },
    "kernel_tuning": {
        "kernel_tuning_sysctl": {"type": "dict", "default": {}},
        "kernel_tuning_sysfs": {"type": "dict"},
    },
    "bare": {},
}


def problems(variables: dict[str, Any], secret: tuple[str, ...] = ()) -> list[str]:
    return find_problems(ROLES, variables, _validate, secret)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"disk": 1, "diskcount": "x", "_disk_private": "x", "other_count": "x", "ansible_disk_count": "x"},
        {"disk_count": 3, "disk_share": 0.5, "disk_label": "a", "disk_path": "~/x", "disk_trim": False},
        {"disk_share": 1, "disk_label": 7, "disk_mode": "fast", "disk_modes": ["fast", "safe"], "disk_key": "k1"},
        {"disk_anything": True},
        {"disk_anything": None, "disk_share": None},
        {"disk_names": [], "disk_options": {}, "disk_mounts": []},
        {
            "disk_mounts": [
                {"path": "/a", "size": 1, "check": False, "inner": {"level": 2}},
                {"path": "/b", "size": None},
            ]
        },
        {"kernel_tuning_sysctl": {"vm.swappiness": 10, "vm.laptop_mode": None}, "kernel_tuning_sysfs": None},
    ],
)
def test_right_variables_and_those_of_others_pass(variables: dict[str, Any]) -> None:
    assert problems(variables) == []


@pytest.mark.parametrize(
    ("variables", "start", "end"),
    [
        ({"disk_cuont": 1}, "disk_cuont is not a variable of role disk (did you mean disk_count?)", "1"),
        ({"disk_lables": 1}, "disk_lables is not a variable of role disk (did you mean disk_label?)", "1"),
        (
            {"disk_url": "x"},
            "disk_url is not a variable of role disk (names that begin with disk_ belong to it, and it has: disk_any",
            "'x'",
        ),
        (
            {"kernel_tuning_xyz": 1},
            "kernel_tuning_xyz is not a variable of role kernel_tuning (names that begin with kernel_tuning_ belong",
            "1",
        ),
        ({"bare_x": 1}, "bare_x is not a variable of role bare (names that begin with bare_ belong", "1"),
        ({"disk_count": "3"}, "disk_count must be of type int (a number without quotes; on the command line", "'3'"),
        ({"disk_count": True}, "disk_count must be of type int", "True"),
        ({"disk_count": 1.5}, "disk_count must be of type int", "1.5"),
        ({"disk_count": None}, "disk_count must be of type int", "None"),
        ({"disk_share": True}, "disk_share must be of type float", "True"),
        ({"disk_label": True}, "disk_label must be of type str", "True"),
        ({"disk_label": None}, "disk_label must be of type str", "None"),
        ({"disk_label": ["a"]}, "disk_label must be of type str", "['a']"),
        ({"disk_path": 7}, "disk_path must be of type path", "7"),
        ({"disk_trim": "yes"}, "disk_trim must be of type bool (true or false without quotes", "'yes'"),
        ({"disk_trim": 1}, "disk_trim must be of type bool", "1"),
        ({"disk_mode": "Fast"}, "disk_mode must be one of: fast, safe", "'Fast'"),
        ({"disk_modes": ["fast", "slow"]}, "disk_modes[1] must be one of: fast, safe", "'slow'"),
        ({"disk_names": ("a",)}, "disk_names must be of type list", "('a',)"),
        ({"disk_names": "a"}, "disk_names must be of type list", "'a'"),
        ({"disk_names": ["a", False]}, "disk_names[1] must be of type str", "False"),
        ({"disk_options": ["a"]}, "disk_options must be of type dict", "['a']"),
        ({"disk_options": None}, "disk_options must be of type dict", "None"),
        ({"disk_mounts": {"path": "/a"}}, "disk_mounts must be of type list", "(not shown)"),
        ({"disk_mounts": ["/a"]}, "disk_mounts[0] must be of type dict", "(not shown)"),
        ({"disk_mounts": [{"path": "/a"}, {"path": 7}]}, "disk_mounts[1].path must be of type path", "7"),
        ({"disk_mounts": [{"path": "/a", "size": True}]}, "disk_mounts[0].size must be of type int", "True"),
        ({"disk_mounts": [{"path": "/a", "check": None}]}, "disk_mounts[0].check must be of type bool", "None"),
        (
            {"disk_mounts": [{"path": "/a", "inner": {"level": 3}}]},
            "disk_mounts[0].inner.level must be one of: 1, 2",
            "3",
        ),
        ({"disk_mounts": [{}]}, "disk_mounts: missing required arguments: path", "(not shown)"),
        ({"disk_mounts": [{"path": "/a", "sise": 1}]}, "disk_mounts: disk_mounts.sise. Supported", "(not shown)"),
        ({"kernel_tuning_sysctl": {"vm.x": True}}, "kernel_tuning_sysctl['vm.x'] must not be a YAML boolean", "True"),
        ({"kernel_tuning_sysctl": {"vm/x": 1}}, "kernel_tuning_sysctl['vm/x'] must be spelled vm.x", "'vm/x'"),
        ({"kernel_tuning_sysfs": {"/etc/x": 1}}, "kernel_tuning_sysfs['/etc/x'] must be a path below /sys", "'/etc/x'"),
    ],
)
def test_each_problem_names_variable_rule_and_value(variables: dict[str, Any], start: str, end: str) -> None:
    [problem] = problems(variables)
    assert problem.startswith(start)
    assert problem.endswith(f"; got: {end}")


def test_all_problems_are_told() -> None:
    assert len(problems({"disk_cuont": 1, "disk_trim": "yes", "bare_x": 1, "disk_names": [1, True, None, []]})) == 5


@pytest.mark.parametrize(
    ("variables", "secret"),
    [
        ({"disk_key": "hush"}, ()),
        ({"disk_key": ["hush"]}, ()),
        ({"disk_kye": "hush"}, ()),
        ({"disk_mode": "hush"}, ("disk_mode",)),
        ({"disk_modes": ["hush"]}, ("disk_modes",)),
        ({"disk_nothing_like_it": "hush"}, ("disk_nothing_like_it",)),
        ({"disk_mounts": [{"path": "/a", "password": ["hush"]}]}, ()),
        ({"disk_mounts": [{"password": "hush"}]}, ()),
        ({"disk_mounts": {"password": "hush"}}, ()),
        ({"disk_mounts": ["hush"]}, ()),
    ],
)
def test_secrets_are_not_shown(variables: dict[str, Any], secret: tuple[str, ...]) -> None:
    [problem] = problems(variables, secret)
    assert "hush" not in problem
    assert problem.endswith("; got: (not shown)")


MOUNTS = ROLES["disk"]["disk_mounts"]


@pytest.mark.parametrize(
    ("spec", "value", "restored"),
    [
        ({"type": "int"}, "5", 5),
        ({"type": "int"}, "-5", -5),
        ({"type": "int"}, 5, 5),
        ({"type": "float"}, "0.5", 0.5),
        ({"type": "float"}, "5", 5.0),
        ({"type": "int"}, "0.5", "0.5"),
        ({"type": "int"}, "five", "five"),
        ({"type": "int"}, "", ""),
        ({"type": "int"}, None, None),
        ({"type": "int"}, True, True),
        ({"type": "int"}, ["5"], ["5"]),
        ({"type": "str"}, "5", "5"),
        ({}, "5", "5"),
        ({"type": "dict"}, {"a": "5"}, {"a": "5"}),
        ({"type": "list", "elements": "int"}, ["5", 6, "x"], [5, 6, "x"]),
        ({"type": "list"}, ["5"], ["5"]),
        (MOUNTS, [{"path": "1", "size": "2", "other": "3"}], [{"path": "1", "size": 2, "other": "3"}]),
        (MOUNTS, [{"inner": {"level": "1"}}, "4"], [{"inner": {"level": 1}}, "4"]),
    ],
)
def test_numbers_that_templates_made_texts_are_restored(spec: dict[str, Any], value: object, restored: object) -> None:
    assert repr(restore_numbers(spec, value)) == repr(restored)


def _own_problems(variables: Mapping[str, Any]) -> list[str]:
    return find_problems(_load_specifications(), variables, _validate)


@pytest.mark.parametrize("file", OWN_FILES, ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_our_own_variables_are_right(file: Path) -> None:
    values = yaml.safe_load(file.read_text())
    # What a template makes of itself is checked by the run.
    assert _own_problems({name: each for name, each in values.items() if "{{" not in str(each)}) == []


def test_commented_examples_of_the_inventory_are_right() -> None:
    """Lines such as `# name: value`, without the prose between them."""
    text = (CHECKOUT / "inventory/hosts.yml").read_text()
    examples = yaml.safe_load("\n".join(re.findall(r"^ +# ( *[\w.]+:(?: .*)?)$", text, re.MULTILINE)))
    assert {"base_packages", "kernel_tuning_sysctl"} <= examples.keys()
    assert _own_problems(examples) == []


def test_variables_that_the_readme_shows_are_right() -> None:
    [example] = re.findall(r"^```yaml\n(.*?)^```", (CHECKOUT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    examples = yaml.safe_load(example)
    assert {"base_packages", "kernel_tuning_sysctl"} <= examples.keys()
    assert _own_problems(examples) == []


def test_a_wrong_variable_of_our_own_would_be_found() -> None:
    assert len(_own_problems({"base_pakages": [], "kernel_tuning_sysctl": {"net/ipv4/tcp_sack": 1}})) == 2
