# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks of the kernel command line, checked before anything is read or changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ._settings import InputError

# Nothing that the shell or GRUB's own script language would take for more than a character.
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:+/@%=-]*")
_RULE = (
    "must be one word of letters, digits and _ . , : + / @ % = -, beginning with a letter or digit, such as iommu=pt"
)
_BETWEEN_BLANKS = re.compile(r"[^ \t\n]+")
_OF_THE_BOOT_LOADER = ("BOOT_IMAGE", "initrd", "ro", "root", "rw")
_BOOLEAN_RULE = 'must not be a YAML boolean (yes, no, on, off, true, false): write the word in quotes, such as "off"'


@dataclass(frozen=True)
class Token:
    """One word that the kernel command line should have. where: the place in the user's list, for messages."""

    where: str
    text: str

    @property
    def key(self) -> str:
        return token_key(self.text)


@dataclass(frozen=True)
class CmdlineRequest:
    """path: the drop-in. update_command: makes GRUB's menu. menu: the file that it writes."""

    tokens: tuple[Token, ...]
    path: str = "/etc/default/grub.d/zz-mlrig.cfg"
    update_command: tuple[str, ...] = ("update-grub",)
    menu: str = "/boot/grub/grub.cfg"


def split_tokens(line: str) -> tuple[str, ...]:
    """The words of a command line, as the shell and GRUB see them; Python's own would end words at more characters."""
    return tuple(_BETWEEN_BLANKS.findall(line))


def token_key(text: str) -> str:
    """The name that a word sets; the kernel takes a dash in it for an underscore."""
    return text.partition("=")[0].replace("-", "_")


def parse_cmdline(
    tokens: Sequence[Any],
    path: str = CmdlineRequest.path,
    update_command: Sequence[str] = CmdlineRequest.update_command,
    menu: str = CmdlineRequest.menu,
) -> CmdlineRequest:
    """Check the options of the module. Raises InputError for the first wrong one."""
    request = CmdlineRequest(_parse_tokens(tokens), path, tuple(update_command), menu)
    for name, file in (("path", path), ("menu", menu)):
        if ".." in file or not PurePosixPath(file).is_absolute():
            raise InputError(name, "must be an absolute path", file)
    drop_in = PurePosixPath(request.path)
    if drop_in.parent.name != "grub.d" or drop_in.suffix != ".cfg" or drop_in.name.startswith("."):
        raise InputError("path", "must name a file *.cfg in a folder grub.d, because GRUB reads no other", request.path)
    if not request.update_command:
        raise InputError("update_command", "must have a program", [])
    return request


def parse_cmdline_values(values: Mapping[str, Any], where: str) -> None:
    """Check a mapping of names to values, as role variables hold it. Raises InputError for the first wrong one."""
    seen: dict[str, str] = {}
    for name, value in values.items():
        here = f"{where}[{name!r}]"
        if token_key(str(name)) in seen:
            raise InputError(here, f"must not set what {seen[token_key(str(name))]} sets", name)
        seen[token_key(str(name))] = here
        if isinstance(value, bool) or value in ("True", "False"):
            raise InputError(here, _BOOLEAN_RULE, value)
        if "=" in str(name):
            raise InputError(here, "must be the name alone, with the value after the colon", name)
        if not isinstance(value, str | int | None):
            raise InputError(here, "must be a whole number, text or null", value)
        _check_token(str(name) if value in (None, "") else f"{name}={value}", here)


def _parse_tokens(tokens: Sequence[Any]) -> tuple[Token, ...]:
    seen: dict[str, str] = {}
    parsed = []
    for position, text in enumerate(tokens):
        token = Token(f"tokens[{position}]", str(text))
        _check_token(token.text, token.where)
        if token.key in seen:
            raise InputError(token.where, f"must not set what {seen[token.key]} sets", token.text)
        seen[token.key] = token.where
        parsed.append(token)
    return tuple(parsed)


def _check_token(text: str, where: str) -> None:
    if not _TOKEN.fullmatch(text):
        raise InputError(where, _RULE, text)
    if token_key(text) in _OF_THE_BOOT_LOADER:
        raise InputError(where, f"must not be one of {', '.join(_OF_THE_BOOT_LOADER)}: GRUB gives them itself", text)
