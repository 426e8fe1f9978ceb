# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of the kernel command line: in a GRUB drop-in of our own, in GRUB's menu, and in the running kernel.

The drop-in appends to GRUB_CMDLINE_LINUX_DEFAULT, so that nobody else's token is lost or moved, and entries of the
recovery mode, which do not have that variable, boot without tuning. It sorts last, so that no file of an image or a
package replaces what it appended to, and of repeated tokens, ours is last, which is the one that most settings take.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._apt import Runner
from ._apt import run as run_command
from ._cmdline_request import CmdlineRequest, Token, token_key
from ._files import read_if_there, refuse_if_unwritable, replace
from ._grub_configuration import GrubConfiguration, read_grub, read_scripts
from ._grub_menu import UP_TO_DATE, GrubMenu, read_menu
from ._next_kernel import runs_systemd_boot
from ._running_cmdline import find_drift, read_running
from ._settings import InputError, Settings, SettingsError

_HEADER = "# Managed by mlrig.workstation (kernel_cmdline): what is edited here is undone by its next run.\n"
_VENDORS = {"amd": "AuthenticAMD", "intel": "GenuineIntel"}
_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_SPACE = 1024 * 1024  # beyond the menu and its draft: grub-mkconfig empties the old menu before it writes the new one


@dataclass
class CmdlinePlan:
    """The comparison of one request with one host. text: of the drop-in, None where there should be none."""

    request: CmdlineRequest
    root: Path
    run: Runner
    settings: Settings = field(default_factory=Settings)
    text: str | None = None

    @property
    def drop_in(self) -> Path:
        return self.root / self.request.path.lstrip("/")

    @property
    def menu(self) -> Path:
        return self.root / self.request.menu.lstrip("/")

    def apply(self) -> None:
        """The menu is made even where only it is out of date, as after a run that was killed in between."""
        if read_if_there(self.drop_in) != self.text:
            replace(self.drop_in, self.text)
        output = self.run(*self.request.update_command)
        if output.code:
            said = " / ".join(output.text.strip().splitlines()[-3:])
            command = " ".join(self.request.update_command)
            raise SettingsError(f"{self.request.menu}: {command} ended with {output.code}: {said}")


def make_plan(request: CmdlineRequest, root: Path = Path("/"), run: Runner = run_command) -> CmdlinePlan:
    """Read everything, compare, and say what to do. Changes nothing.

    Raises SettingsError for configuration that cannot be read, and where what has to be written cannot be.
    """
    plan = CmdlinePlan(request, root, run)
    obstacle = _obstacle(request, root)
    if obstacle is not None:
        for token in request.tokens:
            plan.settings.skip(token_key(token.text), "persisted", token.text, None, obstacle)
        return plan
    tokens = _possible(plan)
    plan.text = _render(tokens)
    found_text = read_if_there(plan.drop_in)
    if plan.text is None and found_text is None:
        return plan  # so that who wants nothing here may have configuration that cannot be read
    wanted = read_grub(root, request.path, plan.text)
    menu = read_menu(root, request.menu, str(Path(request.path).parent), plan.settings)
    _compare_drop_in(plan, tokens, wanted, found_text)
    _compare_menu(plan, menu, wanted, changing=found_text != plan.text)
    _compare_running(plan, tokens, wanted, _added_by_menu(plan, menu, found_text))
    return plan


def _obstacle(request: CmdlineRequest, root: Path) -> str | None:
    """Why this host has no command line to look after."""
    if runs_systemd_boot(root):
        return "systemd-boot starts the kernel here, whose command line, in /etc/kernel/cmdline, is not looked after"
    program = request.update_command[0]
    places = [root / program.lstrip("/")] if "/" in program else [root / folder / program for folder in _PATH]
    if not any(place.exists() for place in places):
        if request.update_command != CmdlineRequest.update_command:
            raise InputError("update_command", "must begin with a program that is on this host", program)
        return "GRUB, which has update-grub, is not on this host, as in a container"
    menu = Path(request.menu)
    if not (root / menu.parent.relative_to("/")).is_dir():
        return f"GRUB does not start this host: there is no {menu.parent}"
    return None


def _possible(plan: CmdlinePlan) -> list[Token]:
    """The tokens without those for a CPU of another vendor, which are skipped."""
    tokens = []
    vendor = None
    for line in (read_if_there(plan.root / "proc/cpuinfo") or "").splitlines():
        name, _colon, value = line.partition(":")
        if name.strip() == "vendor_id":
            vendor = value.strip()
            break
    for token in plan.request.tokens:
        prefix = token.key.partition("_")[0]
        needed = _VENDORS.get(prefix) if "_" in token.key else None
        if needed in (None, vendor):
            tokens.append(token)
        else:
            reason = f"{token.text} is for a CPU of {needed}, and this one is of {vendor or 'an unknown vendor'}"
            plan.settings.skip(token.key, "persisted", token.text, None, reason)
    return tokens


def _render(tokens: Sequence[Token]) -> str | None:
    if not tokens:
        return None
    texts = " ".join(token.text for token in tokens)
    return f'{_HEADER}GRUB_CMDLINE_LINUX_DEFAULT="${{GRUB_CMDLINE_LINUX_DEFAULT}} {texts}"\n'


def _compare_drop_in(
    plan: CmdlinePlan, tokens: Sequence[Token], wanted: GrubConfiguration, found_text: str | None
) -> None:
    path = plan.request.path
    found = {token_key(text): text for text in _own_tokens(path, found_text)}
    for token in tokens:
        actual = found.get(token.key)
        overriding = _overriding(token, path, wanted)
        reason = overriding or _beside(token, path, wanted)
        if reason is not None:
            plan.settings.warnings.append(f"{token.text}: {reason}")
        if overriding is not None and actual == token.text:
            plan.settings.skip(token.key, "persisted", token.text, actual, overriding)
        else:
            plan.settings.compare(token.key, "persisted", token.text, actual, reason=reason)
    wanted_keys = {token.key: token.text for token in tokens}
    for key in sorted(found.keys() - wanted_keys.keys()):
        plan.settings.compare(key, "persisted", None, found[key])
    if found_text != plan.text:
        refuse_if_unwritable(plan.drop_in)
        if found == wanted_keys:
            plan.settings.compare(path, "persisted", "as generated", "edited by hand")


def _own_tokens(path: str, text: str | None) -> tuple[str, ...]:
    try:
        return read_scripts([(path, text or "")]).texts
    except SettingsError:  # edited by hand, and soon as it was
        return ()


def _overriding(token: Token, path: str, wanted: GrubConfiguration) -> str | None:
    """Says what keeps a token of ours from being the last of its name on the line, if anything does."""
    last = next((word for word in reversed(wanted.words) if token_key(word.text) == token.key), None)
    if last is not None and last.text == token.text:
        return None
    if last is not None and last.file != path:
        return f"{last.origin} has {last.text} after it, against {path}"
    return f"{wanted.assigned} assigns GRUB_CMDLINE_LINUX_DEFAULT after {path}, without what that appends"


def _beside(token: Token, path: str, wanted: GrubConfiguration) -> str | None:
    """Says which line of which other file gives the same setting another value, if any does."""
    others = (word for word in wanted.words if token_key(word.text) == token.key and word.file != path)
    other = next((word for word in others if word.text != token.text), None)
    if other is None:
        return None
    return f"{other.origin} has {other.text}: remove it there, as not every setting takes its last value"


def _compare_menu(plan: CmdlinePlan, menu: GrubMenu, wanted: GrubConfiguration, *, changing: bool) -> None:
    path = plan.request.menu
    state = menu.state(wanted.texts)
    if changing and state == UP_TO_DATE:
        state = f"without the change of {plan.request.path}"
    plan.settings.compare(path, "persisted", UP_TO_DATE, state)
    if state == UP_TO_DATE:
        return
    refuse_if_unwritable(plan.menu)
    needed = _SPACE + (2 * plan.menu.stat().st_size if plan.menu.exists() else 0)
    volume = os.statvfs(plan.menu.parent)
    if volume.f_bavail * volume.f_frsize < needed:
        raise SettingsError(f"cannot update {path}: its file system has less than {needed // 1024} KiB free")


def _added_by_menu(plan: CmdlinePlan, menu: GrubMenu, found_text: str | None) -> set[str]:
    """What entries have beyond their configuration; of a menu that is out of date that cannot be told."""
    try:
        configured = read_grub(plan.root, plan.request.path, found_text).texts
    except SettingsError:
        return set()
    if menu.state(configured) != UP_TO_DATE:
        return set()
    return {word for words in menu.arguments for word in words} - {*configured}


def _compare_running(
    plan: CmdlinePlan, tokens: Sequence[Token], wanted: GrubConfiguration, added_by_menu: set[str]
) -> None:
    running = read_running(plan.root)
    for token in tokens:
        actual = running.last(token.key)
        overriding = _overriding(token, plan.request.path, wanted)
        if overriding is not None and actual != token.text:
            plan.settings.skip(token.key, "boot", token.text, actual, overriding)  # no reboot would help
        else:
            plan.settings.compare(token.key, "boot", token.text, actual)
    drift = find_drift(running, wanted.texts, added_by_menu, [token.key for token in tokens])
    for key, (expected, actual) in drift.items():
        plan.settings.compare(key, "boot", expected, actual)
