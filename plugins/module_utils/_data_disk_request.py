# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of data disks as a user writes it, checked before anything is read or changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from ._mount_request import parse_options, parse_place
from ._settings import InputError

BY_ID = "/dev/disk/by-id/"
FILE_SYSTEMS = ("btrfs", "ext4", "xfs")
DEFAULT_OPTIONS = "defaults,noatime,nodiratime,nofail"
_ID = re.compile(r"[A-Za-z0-9_.:+#,@=-]+")
_MODE = re.compile(r"0?[0-7]{3,4}")
_NAME = re.compile(r"[a-z_][a-z0-9_-]*\$?|[0-9]+", re.ASCII)
_OF_THE_SYSTEM = ("/", "/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/usr", "/var", "/home", "/root", "/tmp")  # noqa: S108 - refused
_FAMILY = UUID("5f1b3c0e-8f0a-4c53-9f3e-6d6c72696721")


@dataclass(frozen=True)
class DataDisk:
    """One disk. where: the place in the user's list, for messages. id: its name in /dev/disk/by-id.

    known_uuid: that of a file system which it has already; None for one that is made here.
    owner, group: names or numbers; None leaves them. mode: None leaves it.
    """

    where: str
    id: str
    path: str
    filesystem: str
    options: tuple[str, ...]
    known_uuid: str | None = None
    owner: str | None = None
    group: str | None = None
    mode: int | None = None

    @property
    def uuid(self) -> str:
        """What its file system bears, or will. It follows from the disk's id, so that any later run knows it again."""
        return self.known_uuid or str(uuid5(_FAMILY, self.id))


def parse_data_disks(entries: Sequence[Mapping[str, Any]], where: str = "disks") -> list[DataDisk]:
    """Check and normalise the list. Raises InputError for the first wrong entry."""
    disks: list[DataDisk] = []
    for position, entry in enumerate(entries):
        disk = _parse_disk(entry, f"{where}[{position}]")
        for other in disks:
            for what in ("id", "path"):
                if getattr(other, what) == getattr(disk, what):
                    raise InputError(f"{disk.where}.{what}", f"must not repeat {other.where}", entry[what])
        disks.append(disk)
    return disks


def _parse_disk(entry: Mapping[str, Any], where: str) -> DataDisk:
    disk_id = str(entry["id"]).removeprefix(BY_ID)
    if not _ID.fullmatch(disk_id) or disk_id in (".", ".."):
        raise InputError(f"{where}.id", f"must be a name in {BY_ID}, which no other disk gets", entry["id"])
    path = parse_place(entry["path"], f"{where}.path")
    if path in _OF_THE_SYSTEM:
        raise InputError(f"{where}.path", "must not be a folder of the system", entry["path"])
    filesystem = entry.get("filesystem") or "ext4"
    if filesystem not in FILE_SYSTEMS:
        raise InputError(f"{where}.filesystem", f"must be one of: {', '.join(FILE_SYSTEMS)}", filesystem)
    options = parse_options(entry.get("options") or DEFAULT_OPTIONS, where)
    owner, group = (_parse_name(entry.get(what), f"{where}.{what}") for what in ("owner", "group"))
    mode, uuid = _parse_mode(entry.get("mode"), where), _parse_uuid(entry.get("uuid"), where)
    return DataDisk(where, disk_id, path, filesystem, options, uuid, owner, group, mode)


def _parse_name(name: object, where: str) -> str | None:
    if name is None:
        return None
    if isinstance(name, bool) or not _NAME.fullmatch(str(name)):
        raise InputError(where, "must be a name or a number", name)
    return str(name)


def _parse_mode(mode: object, where: str) -> int | None:
    if mode is None:
        return None
    if not isinstance(mode, str) or not _MODE.fullmatch(mode):
        raise InputError(f"{where}.mode", 'must be an octal number in quotes, such as "0755"', mode)
    return int(mode, 8)


def _parse_uuid(uuid: object, where: str) -> str | None:
    if uuid is None:
        return None
    try:
        return str(UUID(str(uuid)))
    except ValueError as error:
        raise InputError(f"{where}.uuid", "must be the UUID of a file system", uuid) from error
