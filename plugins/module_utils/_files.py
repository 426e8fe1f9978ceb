# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files that the collection owns: read whole, replaced whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ._settings import SettingsError

_BACKUP_SUFFIX = ".mlrig.save"


def read_if_there(path: Path) -> str | None:
    """The text of a file, with its ends of lines as they are, or None where there is no file."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error


def refuse_if_unwritable(path: Path) -> None:
    """Raises SettingsError where this user cannot replace a file; asked before anything changes."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    if not os.access(folder, os.W_OK):
        cause = "its file system is read-only" if os.geteuid() == 0 else "that needs root"
        raise SettingsError(f"cannot write {path}: {cause}")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, for everyone to read, whatever the umask."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def replace(path: Path, text: str | None, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Give an owned file this text, or remove it for None; a reader, or a power cut, sees the old or the new text.

    owner: the numbers of its user and group, where it is not whoever runs this.
    Raises SettingsError naming the file; the old file is then untouched.
    """
    # The name is fixed and has no suffix that systemd reads: what a killed run left is overwritten by the next one.
    draft = path.with_name(f".{path.name}.mlrig")
    try:
        if text is None:
            path.unlink(missing_ok=True)
        else:
            make_folder(path.parent)
            with draft.open("w", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(text)
                if owner is not None:
                    os.fchown(stream.fileno(), *owner)
                os.fchmod(stream.fileno(), mode)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(path)
        if path.parent.is_dir():
            _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error


def replace_keeping_first(path: Path, text: str) -> None:
    """As `replace`, for a file that is not ours: its mode and owner stay, and beside it what it was the first time."""
    found = read_if_there(path)
    if found is None:
        replace(path, text)
        return
    status = path.stat()
    mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
    backup = path.with_name(path.name + _BACKUP_SUFFIX)
    if not backup.exists():
        replace(backup, found, mode, owner)
    replace(path, text, mode, owner)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
