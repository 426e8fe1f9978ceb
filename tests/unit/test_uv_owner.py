# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a project is, and what is done as that user."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _uv_owner
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError, RequestError, SettingsError
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_owner import (
    acting_as,
    clean_environment,
    locate,
    owners_runner,
    refuse_if_closed,
)

ME = pwd.getpwuid(os.geteuid())
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to act as another user needs root")


def test_a_project_belongs_to_whose_folder_it_is_or_will_be_in(tmp_path: Path) -> None:
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else ME
    os.chown(tmp_path, user.pw_uid, -1)
    for folder in (tmp_path, tmp_path / "not/there/yet"):
        owner, found = locate(str(folder), None, "projects[0]")
        assert (owner.name, owner.home, found) == (user.pw_name, user.pw_dir, folder)


@pytest.mark.parametrize("name", ["etc", "not/there/yet"])
def test_a_project_is_not_roots_because_a_link_leads_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(
        InputError, match=r"projects\[0\].owner must be named where the folder is root's, as others may"
    ):
        locate(str(tmp_path / "link" / name), None, "projects[0]")
    if os.geteuid() == 0:
        assert locate(str(tmp_path / "link" / name), "root", "projects[0]")[0].uid == 0


def test_a_path_below_the_home_is_the_owners() -> None:
    assert locate("~/a/b", ME.pw_name, "projects[0]")[1] == Path(ME.pw_dir, "a/b")


def test_to_act_as_another_user_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(
        RequestError, match=r"projects\[0\]: /srv belongs to nobody, and to act as that user needs root"
    ):
        locate("/srv", "nobody", "projects[0]")


def test_the_environment_is_clean_but_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = locate("/", ME.pw_name, "")[0]
    for name in os.environ:
        monkeypatch.delenv(name)
    for name in ("https_proxy", "NO_PROXY", "SSL_CERT_FILE", "VIRTUAL_ENV", "UV_PYTHON", "PYTHONPATH", "PATH", "HOME"):
        monkeypatch.setenv(name, "the caller's")
    environment = clean_environment(owner, {"UV_CACHE_DIR": "/cache"})
    kept = dict.fromkeys(("https_proxy", "NO_PROXY", "SSL_CERT_FILE"), "the caller's")
    of_owner = {"HOME": ME.pw_dir, "USER": ME.pw_name, "LOGNAME": ME.pw_name}
    assert environment == {
        **kept,
        **of_owner,
        "PATH": _uv_owner._PATH,
        "LC_ALL": "C.UTF-8",
        "UV_CACHE_DIR": "/cache",
    }


def test_a_command_is_run_in_the_folder(tmp_path: Path) -> None:
    owner = locate("/", ME.pw_name, "")[0]
    output = owners_runner(owner, tmp_path, {"A": "b"})("sh", "-c", 'pwd; echo "$A"; echo no >&2; exit 3')
    assert output == (3, f"{tmp_path}\nb\n", "no\n")


@pytest.mark.parametrize(("program", "folder"), [("/nowhere/uv", ""), ("/bin/true", "gone"), ("/etc/passwd", "")])
def test_a_command_that_cannot_be_run_is_named(tmp_path: Path, program: str, folder: str) -> None:
    owner = locate("/", ME.pw_name, "")[0]
    with pytest.raises(SettingsError, match=f"cannot run {program} as {ME.pw_name} in {tmp_path / folder}: "):
        owners_runner(owner, tmp_path / folder, {})(program)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_root
def test_files_are_the_owners_and_root_comes_back(open_folder: Path) -> None:
    nobody = locate("/", "nobody", "")[0]
    shared = open_folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    groups = os.getgroups()
    with acting_as(nobody):
        (shared / "file").touch()
        with pytest.raises(PermissionError):
            (open_folder / "file").touch()
    assert (shared / "file").stat().st_uid == nobody.uid
    assert (os.getresuid(), os.getgroups()) == ((0, 0, 0), groups)
    with pytest.raises(SettingsError, match=f"cannot write {open_folder}: nobody may not"):
        refuse_if_closed(nobody, open_folder / "new")
    refuse_if_closed(nobody, shared / "new")
    output = owners_runner(nobody, shared, {})("id", "--user")
    assert output.stdout == f"{nobody.uid}\n"


@as_root
def test_root_comes_back_after_an_error() -> None:
    def fail() -> None:
        with acting_as(locate("/", "nobody", "")[0]):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.getresuid() == (0, 0, 0)
