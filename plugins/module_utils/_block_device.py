# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk or partition: which one an id means, what is on it, and whether it is blank. Only read, never written."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ._apt import Runner
from ._data_disk_request import BY_ID
from ._files import read_if_there
from ._fstab import Row
from ._links import link_chain
from ._settings import SettingsError

_EDGE = 1 << 20  # partition tables, RAID and file systems leave their marks at both ends
_XFS_IN_PROGRESS = 126  # the byte of its superblock that says that mkfs.xfs has not finished


class Signature(NamedTuple):
    """One thing that is on a disk."""

    type: str
    uuid: str | None
    label: str | None

    def __str__(self) -> str:
        details = [f"UUID {self.uuid}" if self.uuid else "", f"label {self.label}" if self.label else ""]
        shown = ", ".join(each for each in details if each)
        return f"{self.type} ({shown})" if shown else self.type


@dataclass(frozen=True)
class BlockDevice:
    """root: where the host's / is. id: the name in /dev/disk/by-id. path: what it stands for now."""

    root: Path
    run: Runner
    id: str
    path: Path

    @property
    def stable_path(self) -> str:
        return f"{BY_ID}{self.id}"

    @property
    def _sysfs(self) -> Path:
        return self.root / "sys/class/block" / self.path.name

    @property
    def size(self) -> int:
        return 512 * int(read_if_there(self._sysfs / "size") or 0)

    def signatures(self) -> list[Signature]:
        output = self.run("wipefs", "--no-act", "--json", str(self.path))
        try:
            found = json.loads(output.stdout or "{}").get("signatures", [])
        except ValueError as error:
            raise SettingsError(f"{self.stable_path}: wipefs says what nobody can read: {output.text!r}") from error
        if output.code:
            raise SettingsError(f"{self.stable_path} cannot be read: {output.text.strip()}")
        return [Signature(each["type"], each.get("uuid"), each.get("label")) for each in found]

    def use(self, rows: tuple[Row, ...]) -> str | None:
        """Who uses the device; None where nobody does. rows: those of fstab."""
        return next(self._uses(rows), None)

    def _uses(self, rows: tuple[Row, ...]) -> Iterator[str]:
        partitions = sorted(each.parent.name for each in self._sysfs.glob("*/partition"))
        if partitions:
            yield f"it has partitions: {', '.join(partitions)}"
        holders = sorted(each.name for each in (self._sysfs / "holders").glob("*"))
        if holders:
            yield f"it is a part of {', '.join(holders)}"
        for row in rows:
            if row.source.startswith("/dev/") and link_chain(self.root, self.root / row.source[1:])[-1] == self.path:
                yield f"line {row.line} of fstab has it as {row.source}"
        if (read_if_there(self._sysfs / "ro") or "").strip() == "1":
            yield "it is read-only"
        try:
            os.close(os.open(self.path, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            in_use = "the kernel has it in use: mounted, as swap, or in a RAID"
            yield in_use if error.errno == errno.EBUSY else f"it cannot be opened: {error.strerror}"

    def has_content(self) -> bool:
        """Whether anything but zeros is at its beginning or its end."""
        with self.path.open("rb") as device:
            if any(device.read(_EDGE)):
                return True
            end = device.seek(0, os.SEEK_END)
            device.seek(max(0, end - _EDGE))
            return any(device.read(_EDGE))

    def xfs_is_unfinished(self) -> bool:
        with self.path.open("rb") as device:
            return device.read(_XFS_IN_PROGRESS + 1)[-1] != 0


def find_device(root: Path, run: Runner, disk_id: str) -> BlockDevice | None:
    path = link_chain(root, root / f"{BY_ID[1:]}{disk_id}")[-1]
    device = BlockDevice(root, run, disk_id, path)
    return device if path.exists() and device.size else None


def list_ids(root: Path) -> list[str]:
    """The names that disks have here, without those of their partitions."""
    return sorted(each.name for each in (root / BY_ID[1:]).glob("*") if "-part" not in each.name)
