# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single options of the rows of /etc/fstab, and of what is mounted now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from ._apt import Runner
from ._containers import container_kind
from ._fstab import Row, with_options
from ._fstab_file import FstabFile
from ._mount_live import LiveOptions, look
from ._mount_request import ALL, MountWish
from ._mount_tokens import merge, split
from ._mounts import Mount, read_mounts
from ._settings import RequestError, Setting, Settings, SettingsError


@dataclass(frozen=True)
class WantedRow:
    """A row of the file, and the options that it should have. id: its path, with the line where others have it too."""

    row: Row
    id: str
    wanted: tuple[str, ...]

    @property
    def options(self) -> str:
        return merge(self.row.options, self.wanted)

    @property
    def is_bind(self) -> bool:
        return any(token in ("bind", "rbind") for token in split(self.row.options))


@dataclass(frozen=True)
class Edit:
    """What is to be done for one row. commands: what sets the live options. settings: its records that differ."""

    row: Row
    options: str
    commands: Sequence[tuple[str, ...]]
    settings: Sequence[Setting]


@dataclass
class MountOptionsPlan:
    """The comparison of one request with one host, and the edits that would mend it."""

    file: FstabFile
    run: Runner
    text: str
    settings: Settings = field(default_factory=Settings)
    edits: list[Edit] = field(default_factory=list)

    def apply(self) -> None:
        """What is mounted first: an option that the kernel refuses could keep the next boot from mounting."""
        taken = [edit for edit in self.edits if self._remount(edit)]
        text = with_options(self.text, {edit.row: edit.options for edit in taken})
        if text != self.text:
            self.file.write(text)

    def _remount(self, edit: Edit) -> bool:
        for command in edit.commands:
            output = self.run(*command)
            if output.code:
                reason = f"the kernel refuses {command[-2]!r}, so nothing is persisted: {output.text.strip()}"
                for setting in edit.settings:
                    self.settings.amend(setting, "failed", reason)
                return False
        return True


def make_plan(wishes: Sequence[MountWish], file: FstabFile, run: Runner, *, live: bool) -> MountOptionsPlan:
    """Read everything, compare, and say what to do. Changes nothing."""
    plan = MountOptionsPlan(file, run, file.read())
    rows = file.rows(plan.text)
    mounts = read_mounts(file.root)
    for wish in wishes:
        _find_row(wish, rows, mounts, file.name, plan.settings)
    wanted = list(_wanted_rows(wishes, rows))
    mounted = [each for each in wanted if each.row.path in mounts]
    looks = {each.row: look(mounts[each.row.path], each.wanted, bind=each.is_bind) for each in mounted}
    if live:
        _refuse_conflicts(looks.values())
    container = container_kind(file.root)
    for each in wanted:
        found = looks.get(each.row)
        obstacle = _obstacle(container, found)
        _compare(plan, each, found if live and obstacle is None else None)
        if live and obstacle is not None:
            plan.settings.skip(each.id, "live", ",".join(each.wanted), None, obstacle)
    text = with_options(plan.text, {edit.row: edit.options for edit in plan.edits})
    if text != plan.text:
        plan.settings.warnings += file.prove(text)
    return plan


def _find_row(wish: MountWish, rows: Sequence[Row], mounts: Mapping[str, Mount], file: str, settings: Settings) -> None:
    """See that a wish names one row; skips what is mounted without one."""
    fitting = [row for row in rows if wish.fits(row)]
    if wish.path == ALL or len(fitting) == 1:
        return
    if fitting:
        lines = ", ".join(str(row.line) for row in fitting)
        rule = f"must name one row, and {file} has it in lines {lines}"
        hint = "" if wish.source else f" (add source: {fitting[0].source}, for example)"
        raise RequestError(f"{wish.where}.path {rule}{hint}; got: {wish.path!r}")
    if wish.required and (wish.path not in mounts or wish.source is not None):
        close = get_close_matches(wish.path, [row.path for row in rows if row.path.startswith("/")], n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        of_source = f" of {wish.source}" if wish.source else ""
        raise RequestError(f"{wish.where}.path must have a row{of_source} in {file}{hint}; got: {wish.path!r}")
    reason = f"it has no row in {file}"
    if wish.path in mounts:
        reason = f"it is mounted without a row in {file}, so what mounts it says with which options"
    settings.skip(wish.path, "persisted", ",".join(wish.options), None, reason)


def _wanted_rows(wishes: Sequence[MountWish], rows: Sequence[Row]) -> Iterator[WantedRow]:
    """The rows that any wish fits, in the order of the file; what is said of one path is laid over ALL."""
    by_rank = sorted(wishes, key=lambda wish: (wish.path != ALL, wish.source is not None))
    paths = [row.path for row in rows]
    for row in rows:
        options = ""
        for wish in by_rank:
            if wish.fits(row):
                options = merge(options, wish.options)
        if options:
            row_id = row.path if paths.count(row.path) == 1 else f"{row.path} (line {row.line})"
            yield WantedRow(row, row_id, tuple(split(options)))


def _obstacle(container: str | None, found: LiveOptions | None) -> str | None:
    if container is not None:
        return f"this is a container ({container}), whose mounts are its manager's"
    if found is None or found.mount.type == "autofs":
        return "it is not mounted now"
    return None


def _compare(plan: MountOptionsPlan, each: WantedRow, found: LiveOptions | None) -> None:
    settings = [plan.settings.compare(each.id, "persisted", each.options, each.row.options or None)]
    commands: list[tuple[str, ...]] = []
    if found is not None:
        new = [token for token in found.hidden if token not in split(each.row.options) and not each.is_bind]
        commands = found.commands(new)
        if found.shown:
            settings.append(plan.settings.compare(each.id, "live", found.expected, found.actual))
        if found.hidden:
            hidden = ",".join(found.hidden)
            reason = f"only {found.mount.type} itself knows whether it has {hidden} now"
            plan.settings.skip(f"{each.id} {hidden}", "live", hidden, None, reason)
    if commands or each.options != each.row.options:
        plan.edits.append(Edit(each.row, each.options, commands, settings))


def _refuse_conflicts(looks: Iterable[LiveOptions]) -> None:
    """One file system has one set of options, whichever of its mounts they are written at."""
    seen: dict[str, LiveOptions] = {}
    for each in looks:
        if not each.of_file_system:
            continue
        other = seen.setdefault(each.mount.device, each)
        if other.of_file_system != each.of_file_system:
            paths = f"{other.mount.path} and {each.mount.path}"
            wishes = f"{','.join(other.of_file_system)!r} and {','.join(each.of_file_system)!r}"
            raise SettingsError(f"{paths} are mounts of one file system, which cannot have both {wishes}")
