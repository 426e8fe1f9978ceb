# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.plugins.test.core import vault_encrypted

from ..module_utils._role_variables import Options, find_problems, restore_numbers

_ROLES = Path(__file__).resolve().parents[2] / "roles"


def _load_specifications() -> dict[str, Options]:
    """The options of every role of this collection, from its argument specification."""
    specifications = {}
    for file in sorted(_ROLES.glob("*/meta/argument_specs.yml")):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        specifications[file.parent.parent.name] = document["argument_specs"]["main"].get("options", {})
    return specifications


def _validate(options: Options, values: Mapping[str, Any]) -> list[str]:
    return list(ArgumentSpecValidator(options).validate(values).error_messages)


def _plain(value: Any) -> Any:
    """The value with vaulted texts as texts: ansible-core 2.18 keeps them in a type of its own."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if vault_encrypted(value) else value


class ActionModule(ActionBase):
    """Runs on the controller only; see the module of the same name for its documentation."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        specifications = _load_specifications()
        prefixes = tuple(f"{role}_" for role in specifications)
        options = {name: option for role in specifications.values() for name, option in role.items()}
        ours = {name: value for name, value in (task_vars or {}).items() if name.startswith(prefixes)}
        variables = {}
        problems = []
        for name, value in sorted(ours.items()):
            try:
                evaluated = _plain(self._templar.template(value))
            except AnsibleError as error:
                problems.append(f"{name} cannot be evaluated: {error}")
            else:
                templated = name in options and self._templar.is_template(value)
                variables[name] = restore_numbers(options[name], evaluated) if templated else evaluated
        secret = {name for name, value in ours.items() if vault_encrypted(value)}
        problems += find_problems(specifications, variables, _validate, secret)
        if problems:
            result["failed"] = True
            result["msg"] = "Nothing was changed, because of wrong variables:\n" + "\n".join(
                f"- {problem}" for problem in problems
            )
        return result
