# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tested set fits itself; that it installs and trains is for `make test-ml`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parents[2]
ROLE = CHECKOUT / "roles" / "ml_env"
SET = yaml.safe_load((ROLE / "vars/main/tested_set.yml").read_text())["_ml_env_tested_set"]
WANTED = [*SET["dependencies"], *(each for extra in SET["extras"].values() for each in extra)]
EXACT = dict(each.split("==") for each in SET["constraints"])


def pyproject(torch_index: str) -> dict[str, Any]:
    text = (ROLE / "templates/pyproject.toml.j2").read_text()
    template = jinja2.Template(text, trim_blocks=True, undefined=jinja2.StrictUndefined)
    return tomllib.loads(template.render(_ml_env_tested_set=SET, ml_env_torch_index=torch_index))


@pytest.mark.parametrize("wanted", WANTED)
def test_what_is_wanted_is_among_the_exact_versions(wanted: str) -> None:
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(EXACT[requirement.name])


def test_exact_versions_are_sorted_and_there_once() -> None:
    names = [each.partition("==")[0] for each in SET["constraints"]]
    assert names == sorted(set(names))


def test_a_project_takes_torch_from_the_package_index() -> None:
    document = pyproject("")
    assert document["project"]["dependencies"] == SET["dependencies"]
    assert document["project"]["optional-dependencies"] == SET["extras"]
    assert document["tool"]["uv"]["constraint-dependencies"] == SET["constraints"]
    assert document["tool"]["uv"].keys() == {"environments", "exclude-newer", "constraint-dependencies"}


def test_a_project_takes_torch_from_pytorchs_index() -> None:
    uv = pyproject("https://mirror.example/whl/cu128")["tool"]["uv"]
    [index] = uv["index"]
    assert index == {
        "name": "pytorch-cu128",
        "url": "https://mirror.example/whl/cu128",
        "explicit": True,
        "exclude-newer": False,
    }
    assert uv["sources"] == {name: {"index": index["name"]} for name in ("torch", "torchvision")}


def test_the_version_of_uv_is_the_one_that_tests_have() -> None:
    variables = yaml.safe_load((ROLE / "vars/main/role.yml").read_text())
    version = variables["_ml_env_uv_version"]
    assert f'"uv=={version}"' in (CHECKOUT / "pyproject.toml").read_text()
    assert f"uv=={version}\n" in (CHECKOUT / "tests/tools/lock").read_text()
    locked = re.search(
        rf"^uv=={version} ((?:\\\n +--hash=\S+ ?)+)",
        (CHECKOUT / "requirements-dev.txt").read_text(),
        re.MULTILINE,
    )
    assert locked is not None
    assert all(each in locked[1] for each in variables["_ml_env_uv_hashes"])
