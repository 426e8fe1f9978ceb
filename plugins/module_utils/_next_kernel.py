# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel the boot loader starts next.

GRUB's own menu, grub.cfg, is what counts: GRUB_DEFAULT in /etc/default/grub is only what its next edition will say.
Not looked at: the firmware's choice among boot loaders, other files that grub.cfg reads, and conditions in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ._files import read_if_there
from ._links import link_chain
from ._settings import SettingsError

_MENU = "boot/grub/grub.cfg"
_ENVIRONMENT = "boot/grub/grubenv"
_LOADER = "sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41c7-b6c7-482b705bcdb9"
_SYSTEMD_BOOT = ("boot/loader/loader.conf", "boot/efi/loader/loader.conf", "efi/loader/loader.conf")
_DEFAULT = re.compile(r"set default=(?P<quote>[\"']?)(?P<entry>.*)(?P=quote)")
_LINUX = re.compile(r"linux(?:16|efi)?\s+(?P<image>\S+)(?P<arguments>.*)")
_ID = ("$menuentry_id_option", "--id")
_STEP = re.compile(r"(?<!>)>(?!>)")  # of a path through menus; a doubled one stands for itself


@dataclass(frozen=True)
class NextKernel:
    """kernel: None where it cannot be told. reason: how it is known, or why not. arguments: what it may be given."""

    kernel: str | None
    reason: str
    arguments: tuple[str, ...] = ()


@dataclass
class Entry:
    """An entry of GRUB's menu: of a kernel, of something else, or, with entries of its own, a submenu.

    arguments: what each of its commands that load a kernel gives to it; conditions choose one of them.
    """

    title: str
    id: str | None = None
    image: str | None = None
    is_submenu: bool = False
    arguments: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


def find_next_kernel(root: Path, kernels: Sequence[str]) -> NextKernel:
    """kernels: all that could be booted."""
    if runs_systemd_boot(root):
        return NextKernel(None, "systemd-boot chooses it, whose choice is not looked into")
    try:
        menu = read_if_there(root / _MENU)
        if menu is not None:
            return _next_of_grub(root, menu, read_if_there(root / _ENVIRONMENT) or "")
    except SettingsError as error:
        return NextKernel(None, str(error))
    if not kernels:
        return NextKernel(None, "no kernel is installed")
    return NextKernel(max(kernels, key=by_version), "it is the newest, and no boot loader with a menu was found")


def runs_systemd_boot(root: Path) -> bool:
    try:
        return "systemd-boot" in (root / _LOADER).read_bytes()[4:].decode("utf-16-le", errors="replace")
    except OSError:
        return not (root / _MENU).exists() and any((root / each).exists() for each in _SYSTEMD_BOOT)


def by_version(kernel: str) -> list[tuple[int, str]]:
    """Sorts kernels as GRUB does: numbers by value, and a name that goes on after the shorter one."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[^\d]+", kernel)]


def _next_of_grub(root: Path, text: str, environment: str) -> NextKernel:
    menu, default = parse_menu(text)
    variables = parse_environment(environment)
    wanted = variables.get("next_entry", "") if "${next_entry}" in text else ""
    source = "next_entry in grubenv"
    if not wanted:
        wanted, source = default, "the default in grub.cfg"
        if "${saved_entry}" in default:
            wanted, source = variables.get("saved_entry", ""), "saved_entry in grubenv"
    entry = _find(menu, wanted)
    if entry is None and menu:
        entry, source = menu[0], f"its first entry, because {source}, {wanted!r}, is no entry"
    if entry is None:
        return NextKernel(None, "GRUB's menu has no entry")
    if entry.is_submenu:
        return NextKernel(None, f"GRUB stops at its submenu {entry.title!r} ({source})")
    kernel = entry.image and _kernel_of(root, entry.image)
    if not kernel:
        return NextKernel(None, f"GRUB boots {entry.title!r} ({source}), which names no kernel of this system")
    return NextKernel(kernel, f"GRUB boots {entry.title!r} ({source})", tuple(entry.arguments))


def _kernel_of(root: Path, image: str) -> str | None:
    """The release of a kernel image; a plain `vmlinuz` is a link to one."""
    name = Path(image).name
    if name in ("vmlinuz", "vmlinuz.old"):
        for folder in ("boot", "."):
            if (link := root / folder / name).is_symlink():
                name = link_chain(root, link)[-1].name
                break
    return name.removeprefix("vmlinuz-") if name.startswith("vmlinuz-") else None


def parse_environment(text: str) -> dict[str, str]:
    """The variables of grubenv, which grub-editenv and GRUB itself write."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: re.sub(r"\\(.)", r"\1", value) for name, equals, value in lines if equals}


def parse_menu(text: str) -> tuple[list[Entry], str]:
    """The entries of grub.cfg, and the value of `default` that holds when there is no `next_entry`."""
    root = Entry("", is_submenu=True)
    default = ""
    open_blocks: list[Entry | None] = []  # None: a function, or another block in braces

    def innermost(*, submenu: bool) -> Entry:
        found = (each for each in reversed(open_blocks) if each is not None and (each.is_submenu or not submenu))
        return next(found, root)

    for line in map(str.strip, text.split("\n")):
        if line.startswith(("menuentry ", "submenu ")):
            entry = _parse_entry(line)
            innermost(submenu=True).entries.append(entry)
            if line.endswith("{"):
                open_blocks.append(entry)
        elif line.endswith("{") and not line.startswith("#"):
            open_blocks.append(None)
        elif line == "}" and open_blocks:
            open_blocks.pop()
        elif found := _LINUX.match(line):
            entry = innermost(submenu=False)
            entry.image = entry.image or found["image"]
            entry.arguments.append(found["arguments"].strip())
        elif (found := _DEFAULT.fullmatch(line)) and not open_blocks and "next_entry" not in found["entry"]:
            default = found["entry"]
    return root.entries, default


def _parse_entry(line: str) -> Entry:
    try:
        words = shlex.split(line.rstrip("{ "))
    except ValueError:
        words = line.split(maxsplit=1)
    identity = next((value for option, value in pairwise(words) if option in _ID), None)
    return Entry(words[1] if len(words) > 1 else "", identity, is_submenu=words[0] == "submenu")


def _find(menu: Sequence[Entry], wanted: str) -> Entry | None:
    """The entry that a path names (`1>2`, `Advanced options>...`, ids); an empty one is the first."""
    first, *further = _STEP.split(wanted.strip(), maxsplit=1)
    name = first.replace(">>", ">").strip()
    if not name or name.isdigit():
        number = int(name or 0)
        found = menu[number] if number < len(menu) else None
    else:
        found = next((entry for entry in menu if name in (entry.id, entry.title)), None)
    if found is not None and further:
        return _find(found.entries, further[0]) or next(iter(found.entries), None)
    return found
