# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which options of a mount the kernel shows, whether it has those that are wanted, and the command that sets them.

What belongs to one mount is set as such (`remount,bind`): no other mount of the same file system changes, nor any other
option. What belongs to a file system, such as compression, is set for all of its mounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._mount_tokens import contradicts, name
from ._mounts import Mount

_PLAIN = {"nosuid": "suid", "nodev": "dev", "noexec": "exec"}
_ACCESS_TIMES = ("noatime", "relatime", "strictatime")
# What says only what is not to be, and what is then: the first is what it is set to.
_MEANING = {
    "atime": ("relatime", "strictatime"),
    "norelatime": ("strictatime", "noatime"),
    "nostrictatime": ("relatime", "noatime"),
}
# Set and shown alike by every file system, or by those that are named.
_SHOWN: dict[str, tuple[str, ...] | None] = {
    "sync": None,
    "dirsync": None,
    "lazytime": None,
    "discard": ("ext4", "btrfs"),
    "compress": ("btrfs",),
    "compress-force": ("btrfs",),
    "autodefrag": ("btrfs",),
}
_NOT_NEGATED = {"async": "sync"}
# What mount and systemd keep to themselves.
_USERSPACE = ("defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "comment")


@dataclass(frozen=True)
class LiveOptions:
    """The wanted options of one mount, by how the kernel treats them.

    of_mount, of_file_system: those that it shows. hidden: those of which only a file system knows.
    """

    mount: Mount
    of_mount: tuple[str, ...]
    of_file_system: tuple[str, ...]
    hidden: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        return (*self.of_mount, *self.of_file_system)

    @property
    def expected(self) -> str:
        return ",".join(self.shown)

    @property
    def actual(self) -> str:
        """The same text where all are set; else what there is instead."""
        return ",".join(dict.fromkeys(self._found(token) for token in self.shown))

    def _found(self, token: str) -> str:
        if token in self.of_file_system:
            return _found_in_file_system(self.mount, token)
        found = _flags(self.mount)
        if token in found or any(each in found for each in _MEANING.get(token, ())):
            return token
        if token == "nodiratime" and "noatime" in found:  # noqa: S105 - what it asks for is included
            return token
        return next(each for each in found if each == _opposite(token) or _is_access_time(each, token))

    def commands(self, tried: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """What sets all that is not set. tried: hidden options that the file system is to prove it knows."""
        path = self.mount.path
        commands: list[tuple[str, ...]] = []
        of_mount = [token for token in self.of_mount if self._found(token) != token]
        if of_mount:
            kept = [flag for flag in _flags(self.mount) if not any(_replaces(each, flag) for each in of_mount)]
            new = [_MEANING.get(token, (token,))[0] for token in of_mount]
            flags = ",".join(["remount", "bind", *kept, *new])
            commands.append(("mount", "--options-source=disable", "-o", flags, path))
        of_file_system = [token for token in self.of_file_system if self._found(token) != token]
        if of_file_system or tried:
            options = ",".join(["remount", *of_file_system, *tried])
            commands.append(("mount", "--options-source=mtab", "-o", options, path))
        return commands


def look(mount: Mount, wanted: Sequence[str], *, bind: bool) -> LiveOptions:
    """bind: whether it shows a part of another mount, and so has no file system of its own to set options of."""
    of_mount = tuple(token for token in wanted if token in (*_PLAIN, *_PLAIN.values()) or _is_time(token))
    of_file_system = tuple(token for token in wanted if not bind and _is_shown(mount, token))
    known = (*of_mount, *of_file_system)
    hidden = tuple(token for token in wanted if token not in known and not _is_userspace(token))
    return LiveOptions(mount, of_mount, of_file_system, hidden)


def _is_time(token: str) -> bool:
    return token in (*_ACCESS_TIMES, *_MEANING, "nodiratime", "diratime")


def _is_access_time(flag: str, token: str) -> bool:
    return flag in _ACCESS_TIMES and token in (*_ACCESS_TIMES, *_MEANING)


def _is_shown(mount: Mount, token: str) -> bool:
    if token in ("ro", "rw"):
        return True
    plain = _positive(name(token))
    return plain in _SHOWN and (_SHOWN[plain] is None or mount.type in (_SHOWN[plain] or ()))


def _is_userspace(token: str) -> bool:
    return name(token) in _USERSPACE or token.startswith(("x-", "X-"))


def _positive(option: str) -> str:
    return _NOT_NEGATED.get(option, option.removeprefix("no"))


def _opposite(token: str) -> str:
    opposites = {**_PLAIN, "nodiratime": "diratime"}
    return {**opposites, **{plain: negated for negated, plain in opposites.items()}}.get(token, "")


def _replaces(token: str, flag: str) -> bool:
    return flag == _opposite(token) or _is_access_time(flag, token) or contradicts(token, flag)


def _flags(mount: Mount) -> list[str]:
    """All options of the mount itself, in full: what is not named in a remount could be taken for its opposite."""
    time = next((each for each in ("noatime", "relatime") if each in mount.flags), "strictatime")
    plain = {**_PLAIN, "nodiratime": "diratime"}
    access = "ro" if "ro" in mount.flags else "rw"
    return [access, *(negated if negated in mount.flags else plain[negated] for negated in plain), time]


def _found_in_file_system(mount: Mount, token: str) -> str:
    """The token where it is so, else what is so."""
    if token in ("ro", "rw"):
        return "ro" if "ro" in (*mount.flags, *mount.file_system_options) else "rw"
    plain = _positive(name(token))
    found = next((each for each in mount.file_system_options if name(each) == plain), None)
    if found is None:
        family = [each for each in mount.file_system_options if contradicts(token, each)]
        return token if name(token) != plain else (family or [f"no{plain}"])[0]
    same = name(token) == plain and (f"{found}=".startswith(f"{token}=") or found.startswith(f"{token}:"))
    return token if same else found
