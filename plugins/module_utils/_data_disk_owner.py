# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns the folder of a data disk, and who may use it: as asked for, and as found."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import NamedTuple

from ._data_disk_request import DataDisk
from ._settings import RequestError


class Owner(NamedTuple):
    """Who owns a folder, and who may use it. None: as it is."""

    user: int | None
    group: int | None
    mode: int | None


UNASKED = Owner(None, None, None)


def wanted_owner(disk: DataDisk) -> Owner:
    def number(name: str | None, what: str) -> int | None:
        if name is None or name.isdigit():
            return None if name is None else int(name)
        try:
            return pwd.getpwnam(name).pw_uid if what == "owner" else grp.getgrnam(name).gr_gid
        except KeyError as error:
            raise RequestError(f"{disk.where}.{what} must be known on this host; got: {name!r}") from error

    return Owner(number(disk.owner, "owner"), number(disk.group, "group"), disk.mode)


def owner_id(disk: DataDisk) -> str:
    return f"{disk.path} owner"


def found_owner(folder: Path, owner: Owner) -> str:
    status = folder.stat()
    found = (status.st_uid, status.st_gid, status.st_mode & 0o7777)
    return shown(Owner(*(None if wanted is None else have for wanted, have in zip(owner, found, strict=True))))


def shown(owner: Owner) -> str:
    """What is asked for, and no more."""
    mode = None if owner.mode is None else f"{owner.mode:04o}"
    parts = {"owner": owner.user, "group": owner.group, "mode": mode}
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


def give(folder: Path, owner: Owner) -> None:
    os.chown(folder, *(-1 if number is None else number for number in owner[:2]))
    if owner.mode is not None:
        folder.chmod(owner.mode)
