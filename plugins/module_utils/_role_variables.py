# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be wrong with the variables of our roles, found before the first change.

Ansible's own check of a role's arguments comes only when that role begins, ignores names that it does not know, and
turns a text into a list of one. This one looks at all roles at once and is strict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ._settings import InputError
from ._tunable_request import parse_values

Options = Mapping[str, Mapping[str, Any]]

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str, int, float),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (dict,),
}
_HINTS = {
    "bool": " (true or false without quotes; on the command line: -e '{\"NAME\": true}')",
    "int": " (a number without quotes; on the command line: -e '{\"NAME\": 1}')",
    "list": " (on the command line: -e '{\"NAME\": [...]}')",
    "dict": " (on the command line: -e '{\"NAME\": {...}}')",
}

# What an argument specification cannot express, by variable.
_RULES: dict[str, Callable[[Any, str], None]] = {
    "kernel_tuning_sysctl": parse_values,
    "kernel_tuning_sysctl_defaults": parse_values,
    "kernel_tuning_sysfs": parse_values,
}


def find_problems(
    roles: Mapping[str, Options],
    variables: Mapping[str, Any],
    validate: Callable[[Options, Mapping[str, Any]], list[str]],
) -> list[str]:
    """One sentence for each wrong or unknown variable, naming it, the rule and the value.

    roles: the options of each role's argument specification, by role.
    variables: all variables of a host; those of other names than ours are not looked at.
    validate: Ansible's own validation of values against options, giving its messages.
    """
    problems: list[str] = []
    for role, options in sorted(roles.items()):
        for name in sorted(name for name in variables if name.startswith(f"{role}_")):
            if name in options:
                problems += _value_problems(name, options[name], variables[name], validate)
            else:
                problems.append(_unknown(name, role, options, variables[name]))
    return problems


def _unknown(name: str, role: str, options: Options, value: object) -> str:
    close = get_close_matches(name, options, n=1)
    hint = f"did you mean {close[0]}?" if close else f"it has: {', '.join(sorted(options)) or 'none'}"
    return f"{name} is not a variable of role {role} ({hint}); got: {value!r}"


def _value_problems(
    name: str, spec: Mapping[str, Any], value: object, validate: Callable[[Options, Mapping[str, Any]], list[str]]
) -> Iterator[str]:
    wrong_types = list(_wrong_types(name, spec, value))
    if wrong_types:
        yield from wrong_types
        return
    messages = validate({name: spec}, {name: value})
    shown = "(not shown)" if spec.get("no_log") else repr(value)
    yield from (f"{name}: {message}; got: {shown}" for message in messages)
    if not messages and name in _RULES:
        try:
            _RULES[name](value, name)
        except InputError as error:
            yield str(error)


def _wrong_types(where: str, spec: Mapping[str, Any], value: object) -> Iterator[str]:
    """Every value, down to the innermost, whose type is not the one of its specification."""
    wanted = spec.get("type", "str")
    allowed = _TYPES.get(wanted)
    if allowed is None or (value is None and not spec.get("required")):
        return
    if not isinstance(value, allowed) or (isinstance(value, bool) and wanted != "bool"):
        shown = "(not shown)" if spec.get("no_log") else repr(value)
        yield f"{where} must be of type {wanted}{_HINTS.get(wanted, '')}; got: {shown}"
        return
    if isinstance(value, list | tuple) and "elements" in spec:
        element = {"type": spec["elements"], "options": spec.get("options", {})}
        for position, item in enumerate(value):
            yield from _wrong_types(f"{where}[{position}]", element, item)
    elif isinstance(value, dict):
        for key, option in spec.get("options", {}).items():
            if key in value:
                yield from _wrong_types(f"{where}.{key}", option, value[key])
