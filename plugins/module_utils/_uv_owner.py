# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user to whom a project belongs: what is written is written as that user, and uv runs as that user."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ._apt import Output, Runner
from ._settings import InputError, RequestError, SettingsError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Of the environment of whoever runs this, what says how the network is reached.
_NETWORK = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_DIR", "SSL_CERT_FILE")


@dataclass(frozen=True)
class Owner:
    name: str
    uid: int
    gid: int
    home: str
    groups: tuple[int, ...]

    @property
    def is_other(self) -> bool:
        """Whether it is not who runs this."""
        return self.uid != os.geteuid()


def locate(path: str, name: str | None, where: str) -> tuple[Owner, Path]:
    """The owner of a project, and its folder. path: absolute, or below ~, the owner's home. where: for messages.

    name: None for the user whose folder it is or, where it is not there yet, whose folder it will be in; root must be
    named: a link by which a user leads to a folder of root would have uv build, as root, what that user put there.
    """
    try:
        entry = pwd.getpwuid(_find_folder(Path(path)).stat().st_uid) if name is None else pwd.getpwnam(name)
    except KeyError as error:
        raise InputError(f"{where}.owner", "must be a user of this host", name) from error
    if name is None and entry.pw_uid == 0:
        raise InputError(f"{where}.owner", "must be named where the folder is root's, as others may lead there", name)
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    owner = Owner(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, groups)
    folder = Path(entry.pw_dir + path[1:] if path.startswith("~/") else path)
    if owner.is_other and os.geteuid() != 0:
        raise RequestError(f"{where}: {folder} belongs to {owner.name}, and to act as that user needs root")
    return owner, folder


def refuse_if_closed(owner: Owner, folder: Path, *names: str) -> None:
    """Raises SettingsError where the owner cannot write into a folder, or what is in it; before anything changes."""
    with acting_as(owner):
        for path in (_find_folder(folder), *(folder / name for name in names)):
            if os.path.lexists(path) and not os.access(path, os.W_OK):
                raise SettingsError(f"cannot write {path}: {owner.name} may not, or its file system is read-only")


def _find_folder(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.is_dir())


@contextmanager
def acting_as(owner: Owner) -> Iterator[None]:
    """Reads and writes files with the owner's rights, so that nothing in a home belongs to root or is led elsewhere."""
    if not owner.is_other:
        yield
        return
    groups, gids, uids = os.getgroups(), os.getresgid(), os.getresuid()
    os.setgroups(owner.groups)
    os.setresgid(owner.gid, owner.gid, -1)
    os.setresuid(owner.uid, owner.uid, 0)  # the way back; os.access goes by the real one
    try:
        yield
    finally:
        os.setresuid(*uids)
        os.setresgid(*gids)
        os.setgroups(groups)


def clean_environment(owner: Owner, more: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the caller's: its virtual environment, its Python and its uv are not the owner's."""
    kept = {name: value for name, value in os.environ.items() if name.upper() in _NETWORK}
    of_owner = {"HOME": owner.home, "USER": owner.name, "LOGNAME": owner.name}
    return {**kept, **of_owner, "PATH": _PATH, "LC_ALL": "C.UTF-8", **more}


def owners_runner(owner: Owner, folder: Path, environment: Mapping[str, str]) -> Runner:
    """The runner of real hosts: runs commands as the owner, in a folder, with a clean environment and this one."""

    def run(*command: str) -> Output:
        user, group, groups = (owner.uid, owner.gid, owner.groups) if owner.is_other else (None, None, None)
        try:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=folder,
                env=clean_environment(owner, environment),
                user=user,
                group=group,
                extra_groups=groups,
            )
        except OSError as error:
            said = f"{error.strerror}: {error.filename or command[0]}"
            raise SettingsError(f"cannot run {command[0]} as {owner.name} in {folder}: {said}") from error
        return Output(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    return run
