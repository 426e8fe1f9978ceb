# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system on a disk that is blank, and on no other.

It takes the whole disk, without a partition table: one step instead of three, so that a run which is killed leaves
either a blank disk, a whole file system, or what the note beside tells apart from anybody's data.

The note is written before, and removed after. mkfs leaves no signature before it has finished (measured by killing it:
ext4, btrfs; with xfs there is a mark of its own), so what has one and our UUID is whole.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ._block_device import BlockDevice, Signature
from ._data_disk_request import DataDisk
from ._files import read_if_there, replace
from ._fstab import Row
from ._settings import RequestError, SettingsError

NOTE = "var/lib/mlrig/formatting.json"
State = Literal["blank", "begun", "whole"]
_MKFS = {
    # nothing is kept back for root, who keeps no logs there; -F as it would ask about whole disks
    "ext4": ("mkfs.ext4", "-q", "-F", "-m", "0", "-U", "{uuid}"),
    "xfs": ("mkfs.xfs", "-q", "-m", "uuid={uuid}"),
    # without a cache of what was on the disk before it was wiped: its UUID would seem to be taken
    "btrfs": ("env", "BLKID_FILE=/dev/null", "mkfs.btrfs", "-q", "-U", "{uuid}"),
}
_AGAIN = {"ext4": (), "xfs": ("-f",), "btrfs": ("-f",)}


@dataclass(frozen=True)
class Formatter:
    """root: where the host's / is."""

    root: Path

    @property
    def _note(self) -> Path:
        return self.root / NOTE

    def _read_note(self) -> dict[str, Any]:
        try:
            notes = json.loads(read_if_there(self._note) or "{}")
        except ValueError as error:
            raise SettingsError(f"/{NOTE} cannot be read: {error}") from error
        return notes if isinstance(notes, dict) else {}

    def judge(self, disk: DataDisk, device: BlockDevice, rows: tuple[Row, ...]) -> State:
        """What is to be done with a disk: nothing, or a file system made. Raises RequestError for any doubt."""
        signatures = device.signatures()
        begun = self._read_note().get(disk.id) == _entry(disk, device)
        if [(each.type, each.uuid) for each in signatures] == [(disk.filesystem, disk.uuid)]:
            if disk.filesystem == "xfs" and begun and device.xfs_is_unfinished():
                return "begun"
            return "whole"
        if signatures:
            raise RequestError(_refusal(disk, device, signatures))
        if disk.known_uuid:
            rule = f"must be on the disk, which has no file system (leave uuid out to have {disk.filesystem} made)"
            raise RequestError(f"{disk.where}.uuid {rule}; got: {disk.known_uuid!r}")
        use = device.use(rows)
        if use:
            raise RequestError(f"{disk.where}.id must be blank to be formatted, but {use}; got: {disk.id!r}")
        if begun:
            return "begun"
        if device.has_content():
            raise RequestError(
                f"{disk.where}.id must be blank to be formatted, and has no file system, but something else at its "
                f"beginning or end. If that may be lost: {_wipe(device)}; got: {disk.id!r}"
            )
        return "blank"

    def make(self, disk: DataDisk, device: BlockDevice, rows: tuple[Row, ...]) -> None:
        """Looks once more before it writes, and afterwards."""
        state = self.judge(disk, device, rows)
        if state != "whole":
            notes = self._read_note()
            self._write_note({**notes, disk.id: _entry(disk, device)})
            again = _AGAIN[disk.filesystem] if state == "begun" else ()
            command = [part.format(uuid=disk.uuid) for part in _MKFS[disk.filesystem]]
            output = device.run(*command, *again, str(device.path))
            if output.code:
                raise SettingsError(f"{device.stable_path}: mkfs.{disk.filesystem} failed: {output.text.strip()}")
            os.sync()
            if self.judge(disk, device, rows) != "whole":
                raise SettingsError(f"{device.stable_path}: mkfs.{disk.filesystem} left nothing that can be seen")
        self.forget(disk)

    def forget(self, disk: DataDisk) -> None:
        notes = self._read_note()
        if notes.pop(disk.id, None) is not None:
            self._write_note(notes)

    def _write_note(self, notes: dict[str, Any]) -> None:
        replace(self._note, json.dumps(notes, indent=2, sort_keys=True) + "\n" if notes else None)


def _entry(disk: DataDisk, device: BlockDevice) -> dict[str, Any]:
    return {"filesystem": disk.filesystem, "uuid": disk.uuid, "size": device.size}


def _refusal(disk: DataDisk, device: BlockDevice, signatures: list[Signature]) -> str:
    found = ", ".join(dict.fromkeys(map(str, signatures)))  # a GPT has two
    hints = [f"If that may be lost: {_wipe(device)}"]
    if len(signatures) == 1 and signatures[0].type == disk.filesystem and signatures[0].uuid:
        hints.insert(0, f"To use it as it is, add uuid: {signatures[0].uuid}")
    return f"{disk.where}.id must be blank to be formatted, and has {found}. {'. '.join(hints)}; got: {disk.id!r}"


def _wipe(device: BlockDevice) -> str:
    end = max(0, device.size // (1 << 20) - 1)
    disk = device.stable_path
    zeros = f"dd if=/dev/zero bs=1M count=1 of={disk}"
    return f"wipefs --all {disk}; {zeros}; dd if=/dev/zero bs=1M of={disk} seek={end}"
