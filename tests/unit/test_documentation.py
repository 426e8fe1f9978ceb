# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples and commands in the documentation are real: they parse, and name what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
# docs/modules holds the EXAMPLES of every module.
DOCUMENTS = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def code(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def as_playbook(example: Any) -> list[dict[str, Any]] | None:
    """The example as a playbook, if it is one or is a list of tasks."""
    if not (isinstance(example, list) and all(isinstance(item, dict) for item in example)):
        return None
    if all({"hosts", "import_playbook", "ansible.builtin.import_playbook"} & item.keys() for item in example):
        return example
    return [{"name": "Example", "hosts": "localhost", "tasks": example}]


def syntax_check(playbooks: list[list[dict[str, Any]]], folder: Path) -> subprocess.CompletedProcess[str]:
    files = [folder / f"{number}.yml" for number in range(len(playbooks))]
    for file, playbook in zip(files, playbooks, strict=True):
        file.write_text(yaml.safe_dump(playbook))
    command = ["ansible-playbook", "--inventory", "localhost,", "--syntax-check"]
    return subprocess.run([*command, *files], cwd=CHECKOUT, check=False, capture_output=True, text=True)


def make_targets_named(text: str) -> set[str]:
    snippets = re.findall(r"`([^`\n]+)`", text) + code(text, "[a-z]*")
    return {target for snippet in snippets for target in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", snippet)}


def make_targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def test_examples(tmp_path: Path) -> None:
    examples = [yaml.safe_load(block) for document in DOCUMENTS for block in code(document.read_text(), "yaml")]
    playbooks = [playbook for example in examples if (playbook := as_playbook(example))]
    assert playbooks
    checked = syntax_check(playbooks, tmp_path)
    assert checked.returncode == 0, checked.stderr


def test_an_example_that_names_no_module_is_found(tmp_path: Path) -> None:
    [block] = code("Text\n```yaml\n- name: Wrong\n  mlrig.workstation.no_such_module:\n```\n", "yaml")
    playbook = as_playbook(yaml.safe_load(block))
    assert playbook
    checked = syntax_check([playbook], tmp_path)
    assert checked.returncode != 0
    assert "no_such_module" in checked.stderr


def test_an_example_that_is_no_yaml_is_found() -> None:
    [block] = code("```yaml\na: b: c\n```\n", "yaml")
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(block)


def test_variables_are_no_playbook() -> None:
    assert as_playbook({"base_packages": ["vim"]}) is None
    assert as_playbook(["vim"]) is None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_make_targets(document: Path) -> None:
    assert make_targets_named(document.read_text()) <= make_targets((CHECKOUT / "Makefile").read_text())


def test_a_missing_make_target_is_found() -> None:
    text = "We make no promise, but `make here`:\n```sh\nmake gone RIG=a\n```\n"
    assert make_targets_named(text) - make_targets("here: ## exists\n") == {"gone"}
