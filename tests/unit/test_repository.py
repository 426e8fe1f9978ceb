# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every role, scenario, plugin and file. Each check takes a tree and yields what is wrong in it."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
SPDX = "SPDX-License-Identifier: GPL-3.0-or-later"
# Put together here, so that this file does not name them.
HOSTS_OF_PACKAGES = [
    ".".join(names)
    for names in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("galaxy", "ansible", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("security", "ubuntu", "com"),
    )
]

Problems = Iterator[str]


def roles(tree: Path) -> list[Path]:
    return sorted(path for path in (tree / "roles").glob("*") if path.is_dir())


def read_yaml(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def every_role_has_a_scenario(tree: Path) -> Problems:
    for role in roles(tree):
        if not (tree / f"molecule/{role.name}/molecule.yml").exists():
            yield f"molecule/{role.name}/molecule.yml is missing"


def every_scenario_verifies(tree: Path) -> Problems:
    for scenario in sorted((tree / "molecule").glob("*/molecule.yml")):
        files = scenario.parent.glob("tests/test_*.py")
        if not any(functions_that_test(file) for file in files):
            yield f"{scenario.parent.relative_to(tree)}/tests has no test"


def functions_that_test(file: Path) -> list[str]:
    nodes = ast.walk(ast.parse(file.read_text()))
    return [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def every_role_specifies_its_defaults(tree: Path) -> Problems:
    for role in roles(tree):
        specs = read_yaml(role / "meta/argument_specs.yml").get("argument_specs", {})
        if "main" not in specs:
            yield f"roles/{role.name}/meta/argument_specs.yml does not specify main"
            continue
        options = specs["main"].get("options", {})
        specified = {name: option.get("default") for name, option in options.items() if not option.get("required")}
        defaults = read_yaml(role / "defaults/main.yml")
        for name in sorted(specified.keys() | defaults.keys()):
            if name not in specified:
                yield f"{name} of roles/{role.name}/defaults is not specified as an option that may be left out"
            elif name not in defaults:
                yield f"{name} of roles/{role.name}/meta/argument_specs.yml has no default"
            elif specified[name] != defaults[name]:
                yield f"{name}: the default {defaults[name]!r} is specified as {specified[name]!r}"


def every_variable_bears_its_role(tree: Path) -> Problems:
    for role in roles(tree):
        for folder, prefix in (("defaults", f"{role.name}_"), ("vars", f"_{role.name}_")):
            for file in sorted((role / folder).glob("*.yml")):
                for name in read_yaml(file):
                    if not name.startswith(prefix):
                        yield f"{name} of {file.relative_to(tree)} does not begin with {prefix}"


def every_role_and_module_is_documented(tree: Path) -> Problems:
    for kind, paths in (("roles", roles(tree)), ("modules", sorted((tree / "plugins/modules").glob("*.py")))):
        for path in paths:
            if not (tree / f"docs/{kind}/{path.stem}.md").exists():
                yield f"docs/{kind}/{path.stem}.md is missing"


def every_module_declares_its_modes(tree: Path) -> Problems:
    for module in sorted((tree / "plugins/modules").glob("*.py")):
        documentation = yaml_constant(module, "DOCUMENTATION")
        fragments = documentation.get("extends_documentation_fragment", [])
        attributes = set(documentation.get("attributes", {}))
        for name in [fragments] if isinstance(fragments, str) else fragments:
            fragment = tree / f"plugins/doc_fragments/{name.rpartition('.')[2]}.py"
            if name.startswith("mlrig.workstation.") and fragment.exists():
                attributes |= set(yaml_constant(fragment, "DOCUMENTATION").get("attributes", {}))
        for mode in sorted({"check_mode", "diff_mode"} - attributes):
            yield f"{module.relative_to(tree)} does not declare {mode}"


def yaml_constant(file: Path, name: str) -> dict[str, Any]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            constant: dict[str, Any] = yaml.safe_load(ast.literal_eval(node.value))
            return constant
    return {}


def every_plugin_is_licensed(tree: Path) -> Problems:
    for plugin in sorted((tree / "plugins").rglob("*.py")):
        if SPDX not in plugin.read_text():
            yield f"{plugin.relative_to(tree)} has no line {SPDX}"


def no_file_names_a_host_of_packages(tree: Path) -> Problems:
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout
    for name in sorted(filter(None, listing.split("\0"))):
        if (tree / name).is_file():
            content = (tree / name).read_text(errors="replace")
            yield from (f"{name} names {host}" for host in HOSTS_OF_PACKAGES if host in content)


def every_fragment_is_in_the_changelog(tree: Path) -> Problems:
    releases = read_yaml(tree / "changelogs/changelog.yaml").get("releases", {})
    included = {name for release in releases.values() for name in release.get("fragments", [])}
    for fragment in sorted((tree / "changelogs/fragments").glob("*.yml")):
        if fragment.name not in included:
            yield f"{fragment.relative_to(tree)} is not in CHANGELOG.md"


MODULE_WITHOUT_MODES = """
DOCUMENTATION = '''
extends_documentation_fragment: mlrig.workstation.settings
'''
"""
FRAGMENT_WITH_ONE_MODE = """
class ModuleDocFragment:
    DOCUMENTATION = '''
    attributes:
      check_mode: {support: full}
    '''
"""

# For each check: a tree that is wrong, and what the check says of it.
BAD_TREES: list[tuple[Callable[[Path], Problems], dict[str, str], list[str]]] = [
    (
        every_role_has_a_scenario,
        {"roles/gpu/tasks/main.yml": "", "molecule/gpu/converge.yml": ""},
        ["molecule/gpu/molecule.yml is missing"],
    ),
    (
        every_scenario_verifies,
        {
            "molecule/empty/molecule.yml": "",
            "molecule/idle/molecule.yml": "",
            "molecule/idle/tests/test_idle.py": "# def test_nothing(): ...",
            "molecule/shared/converge.yml": "",
        },
        ["molecule/empty/tests has no test", "molecule/idle/tests has no test"],
    ),
    (
        every_role_specifies_its_defaults,
        {
            "roles/cpu/tasks/main.yml": "",
            "roles/gpu/defaults/main.yml": "{gpu_same: [1], gpu_other: 1, gpu_unknown: 1, gpu_required: 1}",
            "roles/gpu/meta/argument_specs.yml": """
                argument_specs:
                  main:
                    options:
                      gpu_same: {default: [1]}
                      gpu_other: {default: 2}
                      gpu_missing: {default: 3}
                      gpu_required: {required: true}
                """,
        },
        [
            "roles/cpu/meta/argument_specs.yml does not specify main",
            "gpu_missing of roles/gpu/meta/argument_specs.yml has no default",
            "gpu_other: the default 1 is specified as 2",
            "gpu_required of roles/gpu/defaults is not specified as an option that may be left out",
            "gpu_unknown of roles/gpu/defaults is not specified as an option that may be left out",
        ],
    ),
    (
        every_variable_bears_its_role,
        {"roles/gpu/defaults/main.yml": "{gpu_a: 1, b: 2}", "roles/gpu/vars/main.yml": "{_gpu_c: 3, gpu_d: 4}"},
        [
            "b of roles/gpu/defaults/main.yml does not begin with gpu_",
            "gpu_d of roles/gpu/vars/main.yml does not begin with _gpu_",
        ],
    ),
    (
        every_role_and_module_is_documented,
        {"roles/gpu/tasks/main.yml": "", "plugins/modules/gpu.py": ""},
        ["docs/roles/gpu.md is missing", "docs/modules/gpu.md is missing"],
    ),
    (
        every_module_declares_its_modes,
        {"plugins/modules/gpu.py": MODULE_WITHOUT_MODES, "plugins/doc_fragments/settings.py": FRAGMENT_WITH_ONE_MODE},
        ["plugins/modules/gpu.py does not declare diff_mode"],
    ),
    (
        every_plugin_is_licensed,
        {"plugins/filter/gpu.py": "# MIT"},
        [f"plugins/filter/gpu.py has no line {SPDX}"],
    ),
    (
        no_file_names_a_host_of_packages,
        {"requirements.txt": f"--index-url https://{HOSTS_OF_PACKAGES[0]}/simple"},
        [f"requirements.txt names {HOSTS_OF_PACKAGES[0]}"],
    ),
    (
        every_fragment_is_in_the_changelog,
        {
            "changelogs/changelog.yaml": "releases: {1.0.0: {fragments: [old.yml]}}",
            "changelogs/fragments/old.yml": "",
            "changelogs/fragments/new.yml": "",
        },
        ["changelogs/fragments/new.yml is not in CHANGELOG.md"],
    ),
]
CHECKS = [bad_tree[0] for bad_tree in BAD_TREES]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_this_repository(check: Callable[[Path], Problems]) -> None:
    assert list(check(CHECKOUT)) == []


@pytest.mark.parametrize(("check", "files", "problems"), BAD_TREES, ids=[check.__name__ for check in CHECKS])
def test_a_bad_tree(
    check: Callable[[Path], Problems], files: dict[str, str], problems: list[str], tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert list(check(tmp_path)) == problems
