# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv_project with the real uv, on small wheels that are made here, without the network."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings

from .uv_host import ME, converge_real, differing, listing, make_wheel

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(UV is None, reason="uv is not installed: make bootstrap")

LOCKED, SYNCED = "in step with pyproject.toml", "in step with uv.lock"
PYPROJECT = """\
[project]
name = "fine"
version = "1"
requires-python = ">=3.11"
dependencies = ["alpha", "beta<2"]

[project.optional-dependencies]
more = ["gamma"]

[dependency-groups]
tools = ["delta"]

[tool.uv]
no-index = true
find-links = ["../wheels"]
"""


@dataclass
class Rig:
    """A project, wheels, and a cache of its own, in one folder."""

    root: Path
    owner: str = ME
    python: str = sys.executable

    @property
    def folder(self) -> Path:
        return self.root / "fine"

    @property
    def site(self) -> Path:
        return next((self.folder / ".venv").glob("lib/python3.*/site-packages"))

    def make(self) -> None:
        wheels = self.root / "wheels"
        make_wheel(wheels, "alpha", "1.0", {"alpha/__init__.py": "x = 1\n", "alpha/core.py": "y = 1\n"}, ["beta"])
        for version in ("1.0", "1.1", "2.0"):
            make_wheel(wheels, "beta", version, {"beta.py": f"v = '{version}'\n"})
        for name in ("gamma", "delta"):
            make_wheel(wheels, name, "1.0", {f"{name}.py": "", f"{name}-1.0.data/scripts/run-{name}": "#!python\n"})

    def converge(self, **options: Any) -> Settings:
        entry = {"path": str(self.folder), "owner": self.owner, "python": self.python, "pyproject": PYPROJECT}
        control = {name: options.pop(name) for name in ("check_mode", "damage") if name in options}
        return converge_real(str(UV), [entry | options], {"UV_CACHE_DIR": str(self.root / "cache")}, **control)

    def found(self, **options: Any) -> list[tuple[str, str | None, str | None]]:
        settings = self.converge(**options)
        assert not settings.failed, settings.failed
        prefix = f"{self.folder}/"
        return [(name.removeprefix(prefix), expected, actual) for name, expected, actual in differing(settings)]

    def uv(self, *arguments: str) -> None:
        environment = {**os.environ, "UV_CACHE_DIR": str(self.root / "cache")}
        subprocess.run([str(UV), *arguments], check=True, cwd=self.folder, env=environment, capture_output=True)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.make()
    rig.converge()
    return rig


def test_from_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.make()
    before = listing(tmp_path)
    told = [("pyproject.toml", "written", None), ("uv.lock", LOCKED, None), (".venv", SYNCED, None)]
    assert rig.found(check_mode=True) == told
    assert listing(tmp_path) == before
    assert rig.found() == [*told, (".venv/alpha", "1.0", None), (".venv/beta", "1.1", None)]
    assert (rig.site / "beta.py").read_text() == "v = '1.1'\n"
    after = listing(tmp_path)
    assert rig.found() == []
    assert rig.found(check_mode=True) == []
    assert rig.found(damage="hashes") == []
    assert listing(tmp_path) == after


def edit(rig: Rig, old: str, new: str) -> None:
    replace(rig.folder / "pyproject.toml", old, new)


def replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def break_interpreter(rig: Rig) -> None:
    python = rig.folder / ".venv/bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)


def truncate(path: Path) -> None:
    """In place: where it is a hard link, the cache is damaged, too."""
    os.truncate(path, 1)


def begin_environment(rig: Rig) -> None:
    """As uv leaves it when it is killed before the interpreter is there."""
    shutil.rmtree(rig.folder / ".venv")
    (rig.folder / ".venv/bin").mkdir(parents=True)
    for name in ("CACHEDIR.TAG", ".gitignore"):
        (rig.folder / ".venv" / name).touch()


def relink(rig: Rig) -> None:
    python = rig.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")


BOTH = [(".venv/alpha", "1.0", None), (".venv/beta", "1.1", None)]
DRIFTED = (".venv", SYNCED, "not in step with uv.lock")
# What is done to a project that is in step, and what is told of it.
DAMAGES: dict[str, tuple[Callable[[Rig], object], list[tuple[str, str | None, str | None]]]] = {
    "package missing": (
        lambda rig: rig.uv("pip", "uninstall", "--python", ".venv", "beta"),
        [DRIFTED, (".venv/beta", "1.1", None)],
    ),
    "package extra": (
        lambda rig: rig.uv("pip", "install", "--python", ".venv", "--offline", "gamma"),
        [DRIFTED, (".venv/gamma", None, "1.0")],
    ),
    "package of another version": (
        lambda rig: rig.uv("pip", "install", "--python", ".venv", "--offline", "beta==2.0"),
        [DRIFTED, (".venv/beta", "1.1", "2.0")],
    ),
    "dist-info gone": (
        lambda rig: shutil.rmtree(rig.site / "beta-1.1.dist-info"),
        [DRIFTED, (".venv/beta", "1.1", None)],
    ),
    "RECORD gone": (
        lambda rig: (rig.site / "beta-1.1.dist-info/RECORD").unlink(),
        [(".venv/beta", "1.1", "1.1, with damage to 1 file")],
    ),
    "file deleted": (
        lambda rig: (rig.site / "alpha/core.py").unlink(),
        [(".venv/alpha", "1.0", "1.0, with damage to 1 file")],
    ),
    "file truncated, and the cache with it": (
        lambda rig: truncate(rig.site / "beta.py"),
        [(".venv/beta", "1.1", "1.1, with damage to 1 file")],
    ),
    "pyproject edited": (
        lambda rig: edit(rig, "beta<2", "beta<1.1"),
        [("uv.lock", LOCKED, "not in step with pyproject.toml"), DRIFTED, (".venv/beta", "1.0", "1.1")],
    ),
    "lock deleted": (lambda rig: (rig.folder / "uv.lock").unlink(), [("uv.lock", LOCKED, None)]),
    "lock corrupt": (
        lambda rig: truncate(rig.folder / "uv.lock"),
        [("uv.lock", LOCKED, "corrupt"), (".venv", SYNCED, "with uv.lock corrupt, of unknown state")],
    ),
    "environment deleted": (lambda rig: shutil.rmtree(rig.folder / ".venv"), [(".venv", SYNCED, None), *BOTH]),
    "interpreter gone": (relink, [(".venv", SYNCED, "without its interpreter"), *BOTH]),
    "interpreter broken": (
        break_interpreter,
        [(".venv", SYNCED, "with an interpreter that does not work"), *BOTH],
    ),
    "pyvenv.cfg gone": (
        lambda rig: (rig.folder / ".venv/pyvenv.cfg").unlink(),
        [(".venv", SYNCED, "without its pyvenv.cfg"), *BOTH],
    ),
    "interpreter broken, and pyproject edited": (
        lambda rig: (break_interpreter(rig), edit(rig, "beta<2", "beta<1.1")),
        [
            ("uv.lock", LOCKED, "not in step with pyproject.toml"),
            (".venv", SYNCED, "with an interpreter that does not work"),
            (".venv/alpha", "1.0", None),
            (".venv/beta", "1.0", None),
        ],
    ),
    "an environment that was begun": (
        begin_environment,
        [(".venv", SYNCED, "without its pyvenv.cfg"), *BOTH],
    ),
    "pyvenv.cfg and bin gone": (
        lambda rig: ((rig.folder / ".venv/pyvenv.cfg").unlink(), shutil.rmtree(rig.folder / ".venv/bin")),
        [(".venv", SYNCED, "without its pyvenv.cfg"), *BOTH],
    ),
}


@pytest.mark.parametrize(("act", "differs"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_by_check_mode_and_mended_by_the_next_run(
    rig: Rig, act: Callable[[Rig], object], differs: list[tuple[str, str | None, str | None]]
) -> None:
    act(rig)
    before = listing(rig.root)
    assert rig.found(check_mode=True) == differs
    assert listing(rig.root) == before
    assert rig.found() == differs
    imported = [rig.folder / ".venv/bin/python", "-B", "-c", "import alpha.core, beta"]
    assert subprocess.run(imported, check=False, capture_output=True).returncode == 0
    after = listing(rig.root)
    assert rig.found() == []
    assert listing(rig.root) == after


def test_a_project_behind_a_link_is_mended_as_any(rig: Rig) -> None:
    (rig.root / "link").symlink_to(rig.root)
    linked = Rig(rig.root / "link")
    break_interpreter(rig)
    assert linked.found() == [(".venv", SYNCED, "with an interpreter that does not work"), *BOTH]
    assert linked.found() == []
    assert rig.found() == []


def test_spaces_and_other_letters_in_a_path(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "déjà vu")
    rig.make()
    assert [name for name, _expected, _actual in rig.found()][:3] == ["pyproject.toml", "uv.lock", ".venv"]
    truncate(rig.site / "beta.py")
    assert rig.found(check_mode=True) == rig.found() == [(".venv/beta", "1.1", "1.1, with damage to 1 file")]
    assert rig.found() == []


def test_hashes_find_an_edit_of_the_same_size(rig: Rig) -> None:
    (rig.site / "beta.py").write_text("v = '9.9'\n")
    assert rig.found() == []
    assert rig.found(damage="hashes") == [(".venv/beta", "1.1", "1.1, with damage to 1 file")]
    assert (rig.site / "beta.py").read_text() == "v = '1.1'\n"


def test_damage_is_mended_while_a_training_runs(rig: Rig) -> None:
    """What `uv run` started holds uv's cache as long as it runs."""
    environment = {**os.environ, "UV_CACHE_DIR": str(rig.root / "cache")}
    script = "import pathlib, time; pathlib.Path('running').touch(); time.sleep(60)"
    command = [str(UV), "run", "--frozen", "--offline", "--python", rig.python, "python", "-c", script]
    with subprocess.Popen(command, cwd=rig.folder, env=environment, stderr=subprocess.DEVNULL) as training:
        while not (rig.folder / "running").exists():
            assert training.poll() is None
            time.sleep(0.05)
        truncate(rig.site / "beta.py")
        assert rig.found() == [(".venv/beta", "1.1", "1.1, with damage to 1 file")]
        assert training.poll() is None
        training.terminate()


def test_extras_and_groups(rig: Rig) -> None:
    wanted = {"extras": ["more"], "groups": ["tools"]}
    assert rig.found(**wanted) == [DRIFTED, (".venv/delta", "1.0", None), (".venv/gamma", "1.0", None)]
    assert rig.found(**wanted) == []
    assert rig.found() == [DRIFTED, (".venv/delta", None, "1.0"), (".venv/gamma", None, "1.0")]


def test_what_is_not_ours_in_the_environment_of_the_caller_is_not_seen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_CACHE_DIR", "PYTHONHOME"):
        monkeypatch.setenv(name, "/nowhere")
    assert rig.found() == []


REFUSED: dict[str, tuple[Callable[[Rig], object], dict[str, Any], str]] = {
    "no interpreter": (lambda _rig: None, {"python": "3.6"}, "there is no interpreter for it: wanted is Python 3.6, t"),
    "resolution impossible": (
        lambda rig: edit(rig, "beta<2", "beta>2"),
        {},
        "no set of versions satisfies pyproject.toml: No solution found when resolving dependencies",
    ),
    "pyproject broken": (lambda rig: edit(rig, "[project]", "[project"), {}, "pyproject.toml is broken: Failed to pa"),
    "settings ignored": (
        lambda rig: edit(rig, "no-index", "nonsense = 1\nno-index"),
        {},
        "uv cannot read its settings, and would go on without them: Failed to parse",
    ),
    "index unreachable": (
        lambda rig: edit(rig, 'no-index = true\nfind-links = ["../wheels"]', 'index-url = "http://127.0.0.1:9/simple"'),
        {"environment": {"UV_HTTP_RETRIES": "0"}},
        "the index cannot be reached, and the cache does not suffice: ",
    ),
    "no such extra": (lambda _rig: None, {"extras": ["nope"]}, "pyproject.toml has no such thing: Extra `nope` is not"),
    "lock of a newer uv": (
        lambda rig: replace(rig.folder / "uv.lock", "version = 1\n", "version = 2\n"),
        {},
        "uv.lock was written by another version of uv: ",
    ),
    "not an environment": (
        lambda rig: (shutil.rmtree(rig.folder / ".venv"), (rig.folder / ".venv/mine").mkdir(parents=True)),
        {},
        "PATH/.venv is in the way, as it is no Python environment: move it away",
    ),
}


@pytest.mark.parametrize(("act", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_mended_has_a_message_of_its_own(
    rig: Rig, act: Callable[[Rig], object], options: dict[str, Any], message: str
) -> None:
    act(rig)
    for check_mode, folder in ((True, rig.root), (False, rig.folder)):
        before = listing(folder)
        [failed] = rig.converge(check_mode=check_mode, **options).failed
        assert (failed.reason or "").replace(str(rig.folder), "PATH").startswith(message)
        assert listing(folder) == before


def test_killed_while_uv_works_the_next_run_converges(rig: Rig) -> None:
    """uv is killed after more and more time, until it was done before."""
    files = {f"many/m{number}.py": "x = 1\n" for number in range(400)}
    make_wheel(rig.root / "wheels", "many", "1.0", files)
    edit(rig, '"alpha"', '"alpha", "many"')
    rig.converge()
    for patience in (0.005, 0.01, 0.02, 0.04, 0.08, 0.16):
        shutil.rmtree(rig.folder / ".venv")
        command = [str(UV), "sync", "--frozen", "--offline", "--python", rig.python]
        environment = {**os.environ, "UV_CACHE_DIR": str(rig.root / "cache")}
        process = subprocess.Popen(command, cwd=rig.folder, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(patience)
        process.kill()
        process.wait()
        assert not rig.converge().failed
        assert rig.found(damage="hashes") == []
        assert len(list(rig.site.glob("many/*.py"))) == len(files)


@pytest.fixture
def foreign_rig() -> Iterator[Rig]:
    """Of a user who is not who runs the tests, in a folder that this user can reach."""
    if os.geteuid() != 0:
        pytest.skip("to act as another user needs root")
    other = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        rig = Rig(root, other.pw_name, "/usr/bin/python3")
        rig.make()
        for folder in ("fine", "cache"):
            (root / folder).mkdir()
            os.chown(root / folder, other.pw_uid, other.pw_gid)
        yield rig


def test_nothing_belongs_to_root(foreign_rig: Rig) -> None:
    if subprocess.run([str(UV), "--version"], user="nobody", check=False, capture_output=True).returncode:
        pytest.skip(f"nobody cannot run {UV}")
    assert [each[0] for each in foreign_rig.found()][:3] == ["pyproject.toml", "uv.lock", ".venv"]
    (foreign_rig.folder / "uv.lock").write_text("broken")
    foreign_rig.found()
    assert foreign_rig.found() == []
    uid = pwd.getpwnam("nobody").pw_uid
    owned = [path for name in ("fine", "cache") for path in (foreign_rig.root / name).rglob("*")]
    assert {path.name: path.lstat().st_uid for path in owned if path.lstat().st_uid != uid} == {}
    assert (os.geteuid(), os.getresuid()) == (0, (0, 0, 0))
