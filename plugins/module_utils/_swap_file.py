# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A swap file: made, resized in place, switched on, and taken away again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._containers import container_kind
from ._files import make_folder, replace
from ._fstab import Row, with_options, with_row, without_rows
from ._fstab_file import FstabFile
from ._mount_tokens import merge
from ._settings import Settings, SettingsError
from ._swap_place import describe, draft_of, find_mount, look, refuse_misfit
from ._swap_request import SwapFile
from ._swap_space import missing_memory, read_active, read_header

_SUBVOLUME = 256  # the number that the top folder of each has in btrfs


@dataclass
class SwapFilePlan:
    """text: what fstab should hold. remake: whether the file must change. restart: whether it is to be switched."""

    wanted: SwapFile
    file: FstabFile
    text: str
    settings: Settings = field(default_factory=Settings)
    on_btrfs: bool = False
    remake: bool = False
    restart: bool = False

    @property
    def path(self) -> Path:
        return self.file.root / self.wanted.path[1:]

    @property
    def is_active(self) -> bool:
        return self.wanted.path in read_active(self.file.root)

    def apply(self) -> None:
        """The row comes when the file is there, and goes before it: no boot looks for what is not there."""
        if not self.wanted.size:
            self._write_row()
            self._stop()
            replace(self.path, None)
            return
        was_active = self.is_active
        if self.path.exists():
            self._write_row()  # while mkswap writes, the row alone says that this is swap
        if self.remake or self.restart:
            self._stop()
        if self.remake:
            self._remake(was_active=was_active)
        self._write_row()
        if self.remake or self.restart:
            self._start()

    def _write_row(self) -> None:
        if self.text != self.file.read():
            self.settings.warnings += self.file.prove(self.text)
            self.file.write(self.text)

    def _run(self, *command: str) -> None:
        output = self.file.run(*command)
        if output.code:
            raise SettingsError(f"{self.wanted.path}: {command[0]} failed: {output.text.strip()}")

    def _start(self) -> None:
        priority = () if self.wanted.priority is None else ("--priority", str(self.wanted.priority))
        self._run("swapon", *priority, self.wanted.path)

    def _stop(self) -> None:
        if self.is_active:
            self._run("swapoff", self.wanted.path)

    def _remake(self, *, was_active: bool) -> None:
        """A new file gets its name when it is whole. One that is there is used as it was when it cannot be resized."""
        if not self.path.exists():
            self._make_place()
            draft = draft_of(self.path)
            draft.unlink(missing_ok=True)
            self._allocate(draft)
            draft.rename(self.path)
            return
        before = read_header(self.path)
        try:
            self._allocate(self.path)
        except SettingsError:
            if before is not None and read_header(self.path) == before <= self.path.stat().st_size:
                os.truncate(self.path, before)
                if was_active:
                    self._start()
            raise

    def _make_place(self) -> None:
        """The folder; on btrfs a subvolume, in which no new file is copied on write."""
        folder = self.path.parent
        if self.on_btrfs:
            if folder.is_dir() and folder.stat().st_ino != _SUBVOLUME:
                folder.rmdir()
            make_folder(folder.parent)
            if not folder.is_dir():
                self._run("btrfs", "subvolume", "create", str(folder))
            self._run("chattr", "+C", str(folder))
        make_folder(folder)

    def _allocate(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
                os.posix_fallocate(descriptor, 0, self.wanted.size)
                os.ftruncate(descriptor, self.wanted.size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SettingsError(f"{self.wanted.path} cannot have {self.wanted.size} bytes: {error.strerror}") from error
        self._run("mkswap", str(path))


def make_plan(wanted: SwapFile, file: FstabFile) -> SwapFilePlan:
    """Look at everything, compare, and say what to do. Changes nothing."""
    plan = SwapFilePlan(wanted, file, file.read())
    container = container_kind(file.root)
    size = describe(wanted.size) if wanted.size else None
    if container is not None:
        reason = f"this is a container ({container}), whose swap is its host's"
        plan.settings.skip(wanted.path, "persisted", size, None, reason)
        return plan
    rows = file.rows(plan.text)
    own = [row for row in rows if row.is_swap and row.source == wanted.path]
    found = look(plan.path, wanted, declared=bool(own))
    plan.remake = plan.settings.compare(wanted.path, "persisted", size, found).action == "changed"
    if plan.remake and wanted.size:
        mount = find_mount(wanted.path, file.root, rows)
        refuse_misfit(wanted, plan.path, mount)
        plan.on_btrfs = mount.type == "btrfs"
    _compare_row(plan, own)
    _compare_live(plan)
    if plan.is_active and (plan.remake or plan.restart):
        missing = missing_memory(file.root, wanted.path)
        if missing > 0:
            need = f"{missing // 1024 + 1} MiB more memory must be free"
            raise SettingsError(f"{wanted.path} cannot be switched off, as {need} for what is in it; nothing was done")
    return plan


def _compare_row(plan: SwapFilePlan, rows: Sequence[Row]) -> None:
    wanted = plan.wanted
    priority = [] if wanted.priority is None else [f"pri={wanted.priority}"]
    setting_id = f"{wanted.path} in {plan.file.name}"
    if not wanted.size:
        for row in rows:
            plan.settings.compare(setting_id, "persisted", None, row.options)
        plan.text = without_rows(plan.text, rows)
    elif rows:
        options = merge(rows[0].options, priority) if priority else rows[0].options
        plan.settings.compare(setting_id, "persisted", options, rows[0].options)
        plan.text = with_options(plan.text, {rows[0]: options}) if options != rows[0].options else plan.text
    else:
        options = ",".join(["sw", *priority])
        plan.settings.compare(setting_id, "persisted", options, None)
        plan.text = with_row(plan.text, (wanted.path, "none", "swap", options, "0", "0"))


def _compare_live(plan: SwapFilePlan) -> None:
    wanted = plan.wanted
    active = read_active(plan.file.root).get(wanted.path)
    shows_priority = wanted.priority is not None and wanted.size
    actual = "off" if active is None else f"on, priority {active.priority}" if shows_priority else "on"
    expected = "off" if not wanted.size else f"on, priority {wanted.priority}" if shows_priority else "on"
    plan.restart = plan.settings.compare(wanted.path, "live", expected, actual).action == "changed"
