# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of the GPUs at boot: the file that the module nvidia_gpu writes and the program mlrig reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from ._files import read_if_there, refuse_if_unwritable, replace
from ._gpu_plan import GpuRequest
from ._gpu_request import parse_cards, parse_entries
from ._settings import InputError, RequestError, Settings

CONFIGURATION = Path("/etc/mlrig/gpu.json")

_OWNER = "mlrig.workstation (nvidia_gpu): what is edited here is undone by its next run"
_KEYS = ("cards", "gpus", "strict")


def parse_request(options: Mapping[str, Any], where: str = "", *, purge: bool, force: bool) -> GpuRequest:
    """The request in `{cards, gpus, strict}`, of which each may be left out. Raises InputError."""
    cards = parse_cards(options.get("cards", []), f"{where}cards")
    entries = parse_entries(options.get("gpus", []), f"{where}gpus")
    strict = options.get("strict", False)
    if not isinstance(strict, bool):
        raise InputError(f"{where}strict", "must be true or false", strict)
    return GpuRequest([*cards, *entries], strict=strict, purge=purge, force=force)


def read_configuration(root: Path, file: Path, *, force: bool = False) -> GpuRequest:
    """The request of a program that runs unattended. Raises RequestError that names the file."""
    try:
        text = (root / file.absolute().relative_to("/")).read_text(encoding="utf-8")
        document = json.loads(text)
    except FileNotFoundError:
        raise RequestError(f"{file} does not exist: the role gpu_tuning writes it") from None
    except OSError as error:
        raise RequestError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise RequestError(f"{file} must be JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(str(file), f"must be a dictionary of {', '.join(_KEYS)}", document)
    if unknown := sorted(document.keys() - {"managed_by", *_KEYS}):
        raise InputError(str(file), f"must not have {unknown[0]}; it may have {', '.join(_KEYS)}", document[unknown[0]])
    return changed(parse_request(document, f"{file}: ", purge=True, force=force), unattended=True)


def persist(options: Mapping[str, Any], settings: Settings, root: Path, *, check_mode: bool) -> None:
    """Write the options that the module was given to the file, and add a record of it to the settings."""
    path = root / CONFIGURATION.relative_to("/")
    wanted = {"managed_by": _OWNER, **{key: _given(options[key]) for key in _KEYS}}
    text = json.dumps(wanted, indent=2) + "\n"
    found = read_if_there(path)
    actual = found and ("as wanted" if found == text else "otherwise")
    setting = settings.compare(str(CONFIGURATION), "persisted", "as wanted", actual)
    if setting.action == "changed":
        refuse_if_unwritable(path)
        if not check_mode:
            replace(path, text)


def _given(value: Any) -> Any:
    """Without what the user left out."""
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value
