# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks for data: a file system where there is none, a row in /etc/fstab, mounted, with its owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ._apt import Runner
from ._block_device import BlockDevice, find_device, list_ids
from ._containers import container_kind
from ._data_disk_owner import UNASKED, Owner, found_owner, give, owner_id, shown, wanted_owner
from ._data_disk_request import BY_ID, DataDisk
from ._disk_format import Formatter
from ._files import make_folder, refuse_if_unwritable
from ._fstab import Row, parse, with_options, with_row
from ._fstab_file import FstabFile
from ._links import link_chain
from ._mount_tokens import merge
from ._mounts import Mount, read_mounts
from ._settings import RequestError, Settings, SettingsError


@dataclass(frozen=True)
class Task:
    """One disk, and what is to be done with it, in this order."""

    disk: DataDisk
    device: BlockDevice
    owner: Owner
    format: bool
    mount: bool


@dataclass
class DataDisksPlan:
    """text: what fstab should hold."""

    file: FstabFile
    text: str
    settings: Settings = field(default_factory=Settings)
    tasks: list[Task] = field(default_factory=list)

    def apply(self) -> None:
        """A disk gets its row when it can be mounted: no row keeps a boot waiting for what is not there."""
        root, run = self.file.root, self.file.run
        formatter = Formatter(root)
        for task in self.tasks:
            if task.format:
                formatter.make(task.disk, task.device, self.file.rows())
            else:
                formatter.forget(task.disk)  # of a run that was killed when all was done
            make_folder(root / task.disk.path[1:])
        if (root / "run/udev/control").exists():
            run("udevadm", "settle")  # it makes the links by UUID
        if self.text != self.file.read():
            self.settings.warnings += self.file.prove(self.text)
            self.file.write(self.text)
        for task in self.tasks:
            if task.mount:
                output = run("mount", "--fstab", str(self.file.path), "--target", task.disk.path)
                if output.code:
                    raise SettingsError(f"{task.disk.path} cannot be mounted: {output.text.strip()}")
            self._own(task)

    def _own(self, task: Task) -> None:
        """Of what was not mounted, only now can be told who has it."""
        folder = self.file.root / task.disk.path[1:]
        setting_id = owner_id(task.disk)
        expected, actual = shown(task.owner), found_owner(folder, task.owner)
        if expected != actual:
            give(folder, task.owner)
            if setting_id not in [each.id for each in self.settings.records]:
                self.settings.compare(setting_id, "persisted", expected, actual)


def make_plan(disks: Sequence[DataDisk], file: FstabFile) -> DataDisksPlan:
    """Look at everything, compare, and say what to do. Changes nothing; refuses all where one is refused."""
    plan = DataDisksPlan(file, file.read())
    container = container_kind(file.root)
    mounts = read_mounts(file.root)
    for disk in disks:
        if container is None:
            _plan_disk(plan, disk, mounts.get(disk.path))
        else:
            reason = f"this is a container ({container}), whose disks are its manager's"
            plan.settings.skip(disk.path, "persisted", f"on {disk.id}", None, reason)
    if plan.text != file.read():
        refuse_if_unwritable(file.path)
    return plan


def _plan_disk(plan: DataDisksPlan, disk: DataDisk, mount: Mount | None) -> None:
    root = plan.file.root
    device = _find(root, plan.file.run, disk)
    rows = plan.file.rows()
    row = _own_row(disk, rows, plan.file.name)
    if row is not None:
        disk = _as_in_row(disk, device, row, plan.file.name)
    state = Formatter(root).judge(disk, device, rows)
    owner = wanted_owner(disk)
    _refuse_taken(root, disk, device, mount)

    expected = f"{disk.filesystem} with UUID {disk.uuid}"
    actual = {"whole": expected, "begun": f"unfinished {disk.filesystem}", "blank": "blank"}[state]
    plan.settings.compare(disk.id, "persisted", expected, actual)
    _compare_row(plan, disk, row)
    plan.settings.compare(disk.path, "live", "mounted", "mounted" if mount else "not mounted")
    if owner != UNASKED and (mount or state != "whole"):
        found = found_owner(root / disk.path[1:], owner) if mount else None
        plan.settings.compare(owner_id(disk), "persisted", shown(owner), found)
    plan.tasks.append(Task(disk, device, owner, state != "whole", mount is None))


def _find(root: Path, run: Runner, disk: DataDisk) -> BlockDevice:
    device = find_device(root, run, disk.id)
    if device is None:
        here = ", ".join(list_ids(root)) or "none"
        raise RequestError(f"{disk.where}.id must be a disk of this host ({BY_ID} has: {here}); got: {disk.id!r}")
    return device


def _own_row(disk: DataDisk, rows: Sequence[Row], file: str) -> Row | None:
    fitting = [row for row in rows if row.path == disk.path]
    if len(fitting) > 1:
        lines = ", ".join(str(row.line) for row in fitting)
        raise RequestError(f"{disk.where}.path must have one row, and {file} has lines {lines}; got: {disk.path!r}")
    return fitting[0] if fitting else None


def _as_in_row(disk: DataDisk, device: BlockDevice, row: Row, file: str) -> DataDisk:
    """What fstab mounts there from this disk already is known, whoever made it."""
    uuid = row.source.removeprefix("UUID=").strip('"')
    if row.source.startswith("UUID=") and uuid in [each.uuid for each in device.signatures()]:
        return replace(disk, known_uuid=uuid)
    if row.source != f"UUID={disk.uuid}":
        rule = f"must be free, but line {row.line} of {file} mounts {row.source} there"
        raise RequestError(f"{disk.where}.path {rule}; got: {disk.path!r}")
    return disk


def _refuse_taken(root: Path, disk: DataDisk, device: BlockDevice, mount: Mount | None) -> None:
    folder = root / disk.path[1:]
    if mount is not None:
        if link_chain(root, root / mount.source.lstrip("/"))[-1] != device.path:
            rule = f"must be free, but {mount.source} is mounted there"
            raise RequestError(f"{disk.where}.path {rule}; got: {disk.path!r}")
    elif folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RequestError(f"{disk.where}.path must be a folder, and is none; got: {disk.path!r}")
    elif folder.is_dir() and any(folder.iterdir()):
        rule = "must be empty, because what is in it could not be reached any more"
        raise RequestError(f"{disk.where}.path {rule}; got: {disk.path!r}")


def _compare_row(plan: DataDisksPlan, disk: DataDisk, row: Row | None) -> None:
    source, check = f"UUID={disk.uuid}", "2" if disk.filesystem == "ext4" else "0"
    if row is None:
        plan.text = with_row(plan.text, (source, disk.path, disk.filesystem, ",".join(disk.options), "0", check))
        plan.settings.compare(disk.path, "persisted", ",".join(disk.options), None)
        return
    options = merge(row.options, disk.options)
    plan.settings.compare(disk.path, "persisted", options, row.options)
    (now,) = (each for each in parse(plan.text, plan.file.name) if each.path == disk.path)
    plan.text = with_options(plan.text, {now: options}) if options != row.options else plan.text
