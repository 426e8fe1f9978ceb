# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be wrong with the variables of our roles, found before the first change.

Ansible's own check of a role's arguments comes only when that role begins, ignores names that it does not know, and
turns a text into a list of one. This one looks at all roles at once and is strict.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ._role_rules import RULES
from ._settings import InputError

Options = Mapping[str, Mapping[str, Any]]

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str, int, float),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
}
_NUMBERS: dict[str, Callable[[str], int | float]] = {"int": int, "float": float}
_HINTS = {
    "bool": " (true or false without quotes; on the command line: -e '{\"NAME\": true}')",
    "int": " (a number without quotes; on the command line: -e '{\"NAME\": 1}')",
    "list": " (on the command line: -e '{\"NAME\": [...]}')",
    "dict": " (on the command line: -e '{\"NAME\": {...}}')",
}


def find_problems(
    roles: Mapping[str, Options],
    variables: Mapping[str, Any],
    validate: Callable[[Options, Mapping[str, Any]], list[str]],
    secret: Container[str] = (),
) -> list[str]:
    """One sentence for each wrong or unknown variable, naming it, the rule and the value.

    roles: the options of each role's argument specification, by role.
    variables: all variables of a host; those of other names than ours are not looked at.
    validate: Ansible's own validation of values against options, giving its messages.
    secret: the variables whose values are not shown, beside those that a specification calls `no_log`.
    """
    problems: list[str] = []
    for role, options in sorted(roles.items()):
        for name in sorted(name for name in variables if name.startswith(f"{role}_")):
            hidden = {"no_log": True} if name in secret else {}
            if name in options:
                problems += _value_problems(name, {**options[name], **hidden}, variables[name], validate)
            else:
                problems.append(_unknown(name, role, options, hidden, variables[name]))
    return problems


def restore_numbers(spec: Mapping[str, Any], value: Any) -> Any:
    """What templates gave, with a number for each text that says one where a number is due.

    ansible-core 2.18 makes texts of the numbers that templates give; what no template gave is not for this function.
    """
    if isinstance(value, list):
        element = {**spec, "type": spec.get("elements")}
        return [restore_numbers(element, item) for item in value]
    if isinstance(value, dict):
        options = spec.get("options") or {}
        return {key: restore_numbers(options.get(key, {}), item) for key, item in value.items()}
    if isinstance(value, str) and spec.get("type") in _NUMBERS:
        try:
            return _NUMBERS[spec["type"]](value)
        except ValueError:
            return value
    return value


def _unknown(name: str, role: str, options: Options, hidden: Mapping[str, bool], value: object) -> str:
    prefix = f"{role}_"
    own_parts = [option.removeprefix(prefix) for option in options]  # the prefix alone makes any two names look alike
    close = [f"{prefix}{part}" for part in get_close_matches(name.removeprefix(prefix), own_parts, n=1, cutoff=0.65)]
    belong = f"names that begin with {prefix} belong to it, and it has: {', '.join(sorted(options)) or 'none'}"
    hint = f"did you mean {close[0]}?" if close else belong
    meant = options[close[0]] if close else {}
    return f"{name} is not a variable of role {role} ({hint}); got: {_shown({**meant, **hidden}, value)}"


def _value_problems(
    name: str, spec: Mapping[str, Any], value: object, validate: Callable[[Options, Mapping[str, Any]], list[str]]
) -> Iterator[str]:
    wrong_values = list(_wrong_values(name, spec, value))
    if wrong_values:
        yield from wrong_values
        return
    messages = validate({name: spec}, {name: value})
    yield from (f"{name}: {message}; got: {_shown(spec, value)}" for message in messages)
    if not messages and value is not None and name in RULES:
        try:
            RULES[name](value, name)
        except InputError as error:
            yield str(error)


def _wrong_values(where: str, spec: Mapping[str, Any], value: object) -> Iterator[str]:
    """Every value, down to the innermost, that has not the type of its specification or is none of its choices."""
    wanted = spec.get("type", "str")
    allowed = _TYPES.get(wanted, (object,))
    if value is None and spec.get("default") is None and not spec.get("required"):
        return
    if not isinstance(value, allowed) or (isinstance(value, bool) and wanted not in {"bool", "raw"}):
        yield f"{where} must be of type {wanted}{_HINTS.get(wanted, '')}; got: {_shown(spec, value)}"
    elif isinstance(value, list):
        inherited = {key: spec[key] for key in ("options", "choices", "no_log") if key in spec}
        element = {"type": spec.get("elements", "raw"), **inherited}
        for position, item in enumerate(value):
            yield from _wrong_values(f"{where}[{position}]", element, item)
    elif "choices" in spec and value not in spec["choices"]:
        yield f"{where} must be one of: {', '.join(map(str, spec['choices']))}; got: {_shown(spec, value)}"
    elif isinstance(value, dict):
        for key, option in spec.get("options", {}).items():
            if key in value:
                secret = {"no_log": True} if spec.get("no_log") else {}
                yield from _wrong_values(f"{where}.{key}", {**option, **secret}, value[key])


def _shown(spec: Mapping[str, Any], value: object) -> str:
    return "(not shown)" if _is_secret(spec) else repr(value)


def _is_secret(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get("no_log")) or any(map(_is_secret, spec.get("options", {}).values()))
