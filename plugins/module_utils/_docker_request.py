# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks of Docker, checked before anything is read or changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ._json_text import canonical
from ._settings import InputError

DaemonSettings = Mapping[tuple[str, ...], Any]

_KEY = re.compile(r"[a-z0-9][a-z0-9-]*")
_USER = re.compile(r"[a-z_][a-z0-9_.-]*\$?")  # as adduser lets them be
_GPU = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def parse_daemon_settings(values: Mapping[str, Any], where: str = "settings") -> DaemonSettings:
    """Check keys of daemon.json. Of one that is an object its own keys count one by one; null leaves a key alone."""
    parsed: dict[tuple[str, ...], Any] = {}
    for key, value in values.items():
        here = f"{where}[{key!r}]"
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise InputError(here, "must be a key of daemon.json, such as log-driver", key)
        inner = {(key, str(name)): each for name, each in value.items()} if isinstance(value, dict) else {(key,): value}
        for path, each in inner.items():
            try:
                canonical(each)
            except (TypeError, ValueError) as error:
                raise InputError(here, "must be something that JSON can hold", each) from error
            if each is not None:
                parsed[path] = each
    return parsed


def check_users(users: Sequence[str], where: str) -> None:
    for position, user in enumerate(users):
        if not _USER.fullmatch(str(user)):
            raise InputError(f"{where}[{position}]", "must be the name of a user", user)


def check_gpus(gpus: Sequence[str], where: str) -> None:
    for position, gpu in enumerate(gpus):
        if not _GPU.fullmatch(str(gpu)):
            raise InputError(f"{where}[{position}]", "must be a GPU's UUID, as nvidia-smi --list-gpus tells it", gpu)
