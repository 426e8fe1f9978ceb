# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv_project, with a uv that gives recorded answers: what it is asked, what is reported, and what is done."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output, Runner
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    RequestError,
    SettingsError,
    converge,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_owner import Owner
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_project import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_request import parse_projects

from .test_uv_failure import BROKEN_PYTHON, DISK_FULL, NO_PYTHON, NOT_WRITABLE, OFFLINE, UNREACHABLE
from .uv_host import ME, PYPROJECT, FakeUv, listing

LOCKED, SYNCED = "in step with pyproject.toml", "in step with uv.lock"
STALE = Output(
    1,
    "",
    "Resolved 7 packages in 185ms\nerror: The lockfile at `uv.lock` needs to be updated, but `--check` was provided.\n",
)
CORRUPT = Output(2, "", "error: Failed to parse `uv.lock`\n  cause: TOML parse error at line 1, column 1\n")
NOT_TEXT = Output(2, "", "error: failed to read from file `/p/uv.lock`: stream did not contain valid UTF-8\n")
CHECK = "sync --frozen --check"
DRY_RUN = "sync --dry-run"
SYNC = "sync --frozen --output-format json"
AWAY = "env UV_PROJECT_ENVIRONMENT=.venv.mlrig-none "
Act = Callable[[FakeUv], object]
Found = list[tuple[str, str | None, str | None]]


class KilledError(BaseException):
    """The process ends, whatever it was about."""


@pytest.fixture
def uv(tmp_path: Path) -> FakeUv:
    """A project that is in step."""
    fake = FakeUv(tmp_path / "p")
    fake.make_project()
    return fake


def found(uv: FakeUv, **options: Any) -> Found:
    differing = uv.converge(**options).differing
    return [(each.id.removeprefix(f"{uv.folder}/"), each.expected, each.actual) for each in differing]


def acts(uv: FakeUv) -> list[str]:
    """What uv was asked to do, as far as that writes."""
    looks = ("--check", "--dry-run", "cache dir", "python list")
    return [call for call in uv.calls if not any(look in call for look in looks)]


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_in_step_two_questions_are_asked(uv: FakeUv, *, check_mode: bool) -> None:
    before = listing(uv.folder)
    settings = uv.converge(check_mode=check_mode, extras=["unsloth", "x"], groups=["dev"])
    assert [(each.id, each.expected, each.actual, each.action) for each in settings.records] == [
        (uv.program, "installed", "installed", "none"),
        (f"{uv.folder}/uv.lock", LOCKED, LOCKED, "none"),
        (f"{uv.folder}/.venv", SYNCED, SYNCED, "none"),
    ]
    no_cache = " --no-cache" if check_mode else ""
    assert uv.calls == [
        f"lock --check{no_cache} --no-python-downloads",
        f"{CHECK} --extra=unsloth --extra=x --group=dev --output-format json{no_cache} --no-python-downloads",
    ]
    assert listing(uv.folder) == before


def drift(uv: FakeUv, *changes: tuple[str, str, str], **more: str) -> None:
    uv.answers[CHECK] = uv.answers[DRY_RUN] = uv.synced(*changes, code=1, **more)
    uv.acts[SYNC] = lambda: uv.answers.update({CHECK: uv.synced()})


def stale(uv: FakeUv) -> None:
    uv.answers["lock --check"] = STALE
    uv.acts["lock\n"] = lambda: uv.answers.update({"lock --check": Output(0)})
    drift(uv, ("beta", "1.0", "installed"))
    uv.answers[CHECK] = uv.synced()


def missing(uv: FakeUv) -> None:
    (uv.folder / "uv.lock").unlink()
    uv.acts["lock\n"] = lambda: (uv.folder / "uv.lock").write_text("version = 1\n")


def corrupt(uv: FakeUv, answer: Output) -> None:
    uv.answers["lock --check"] = answer

    def lock() -> None:
        (uv.folder / "uv.lock").write_text("version = 1\n")
        uv.answers["lock --check"] = Output(0)

    uv.acts["lock\n"] = lock


def damaged(uv: FakeUv) -> None:
    file = uv.folder / ".venv/lib/python3.11/site-packages/alpha/__init__.py"
    file.write_text("")
    uv.acts[f"{SYNC} --reinstall-package=alpha"] = uv.make_environment


def without_environment(uv: FakeUv, what: str) -> None:
    """Cleared, it is as a new one."""
    (uv.folder / ".venv" / what).unlink()
    uv.answers[f"{AWAY}{CHECK}"] = uv.synced(("alpha", "1.0", "installed"), action="create", code=1)
    uv.acts["venv --clear .venv"] = uv.make_environment


def broken_interpreter(uv: FakeUv) -> None:
    said = Output(2, "", BROKEN_PYTHON.replace("/p", str(uv.folder)))
    uv.answers["lock --check"] = uv.answers["sync"] = said
    uv.answers[f"{AWAY}{CHECK}"] = uv.synced(("alpha", "1.0", "installed"), action="create", code=1)

    def clear() -> None:
        uv.answers |= {"lock --check": Output(0), "sync": uv.synced()}

    uv.acts["venv --clear .venv"] = clear


def taken_for_the_system(uv: FakeUv) -> None:
    uv.answers["sync"] = uv.synced(path="/usr")
    uv.answers[f"{AWAY}{CHECK}"] = uv.synced(("alpha", "1.0", "installed"), action="create", code=1)
    uv.acts["venv --clear .venv"] = lambda: uv.answers.update({"sync": uv.synced()})


def other_python(uv: FakeUv) -> None:
    drift(uv, ("alpha", "1.0", "installed"), action="replace", python="3.12.1")


ALPHA: Found = [(".venv/alpha", "1.0", None)]
# What is the matter, what differs then, and what uv is asked to do.
SITUATIONS: dict[str, tuple[Act, Found, list[str]]] = {
    "lock stale": (
        stale,
        [("uv.lock", LOCKED, "not in step with pyproject.toml"), (".venv", SYNCED, "not in step with uv.lock"),
         (".venv/beta", "1.0", None)],
        ["lock", f"{SYNC} --offline"],
    ),
    "lock missing": (missing, [("uv.lock", LOCKED, None)], ["lock", f"{SYNC} --offline"]),
    "lock corrupt": (
        lambda uv: corrupt(uv, CORRUPT),
        [("uv.lock", LOCKED, "corrupt"), (".venv", SYNCED, "with uv.lock corrupt, of unknown state")],
        ["lock", f"{SYNC} --offline"],
    ),
    "lock not a text": (
        lambda uv: corrupt(uv, NOT_TEXT),
        [("uv.lock", LOCKED, "corrupt"), (".venv", SYNCED, "with uv.lock corrupt, of unknown state")],
        ["lock", f"{SYNC} --offline"],
    ),
    "package missing": (
        lambda uv: drift(uv, ("alpha", "1.0", "installed")),
        [(".venv", SYNCED, "not in step with uv.lock"), *ALPHA],
        [f"{SYNC} --offline"],
    ),
    "package extra": (
        lambda uv: drift(uv, ("beta", "2.0", "uninstalled")),
        [(".venv", SYNCED, "not in step with uv.lock"), (".venv/beta", None, "2.0")],
        [f"{SYNC} --offline"],
    ),
    "package of another version": (
        lambda uv: drift(uv, ("beta", "2.0", "uninstalled"), ("beta", "1.0", "installed")),
        [(".venv", SYNCED, "not in step with uv.lock"), (".venv/beta", "1.0", "2.0")],
        [f"{SYNC} --offline"],
    ),
    "package twice": (
        lambda uv: drift(
            uv, ("beta", "3.7", "uninstalled"), ("beta", "3.20", "uninstalled"), ("beta", "3.20", "installed")
        ),
        [(".venv", SYNCED, "not in step with uv.lock"), (".venv/beta", "3.20", "3.7 and 3.20")],
        [f"{SYNC} --offline"],
    ),
    "environment missing": (
        lambda uv: drift(uv, ("alpha", "1.0", "installed"), action="create"),
        [(".venv", SYNCED, None), *ALPHA],
        [f"{SYNC} --offline"],
    ),
    "environment of another Python": (
        other_python,
        [(".venv", SYNCED, "of Python 3.11.2, where 3.12.1 is wanted"), *ALPHA],
        [f"{SYNC} --offline"],
    ),
    "interpreter gone": (
        lambda uv: ((uv.folder / ".venv/bin/python").unlink(), other_python(uv)),
        [(".venv", SYNCED, "without its interpreter"), *ALPHA],
        [f"{SYNC} --offline"],
    ),
    "interpreter broken": (
        broken_interpreter,
        [(".venv", SYNCED, "with an interpreter that does not work"), *ALPHA],
        ["venv --clear .venv", f"{SYNC} --offline"],
    ),
    "pyvenv.cfg gone": (
        lambda uv: without_environment(uv, "pyvenv.cfg"),
        [(".venv", SYNCED, "without its pyvenv.cfg"), *ALPHA],
        ["venv --clear .venv", f"{SYNC} --offline"],
    ),
    "taken for the system": (
        taken_for_the_system,
        [(".venv", SYNCED, "taken by uv for /usr"), *ALPHA],
        ["venv --clear .venv", f"{SYNC} --offline"],
    ),
    "file damaged": (
        damaged,
        [(".venv/alpha", "1.0", "1.0, with damage to 1 file")],
        [f"{SYNC} --reinstall-package=alpha --offline"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("act", "differs", "wanted"), SITUATIONS.values(), ids=SITUATIONS)
def test_what_differs_is_told_and_mended(uv: FakeUv, act: Act, differs: Found, wanted: list[str]) -> None:
    act(uv)
    before = listing(uv.folder)
    assert found(uv, check_mode=True) == differs
    assert (listing(uv.folder), acts(uv)) == (before, [])
    uv.calls.clear()
    settings = uv.converge()
    assert not settings.failed
    assert [(each.id.removeprefix(f"{uv.folder}/"), each.expected, each.actual) for each in settings.differing] == (
        differs
    )
    assert acts(uv) == wanted
    uv.calls.clear()
    assert found(uv) == []
    assert acts(uv) == []


@pytest.mark.parametrize("moment", range(1, 9))
@pytest.mark.parametrize("what", SITUATIONS)
def test_killed_at_any_moment_the_next_run_converges(uv: FakeUv, what: str, moment: int) -> None:
    """What uv itself leaves when it is killed is for the tests with the real one."""
    SITUATIONS[what][0](uv)
    ran = uv.run

    def run(*command: str) -> Output:
        if len(uv.calls) + 1 == moment:
            raise KilledError
        return ran(*command)

    uv.__dict__["run"] = run
    try:
        uv.converge()
    except KilledError:
        uv.calls.clear()
    uv.__dict__["run"] = ran
    assert not uv.converge().failed
    assert found(uv) == []


def test_a_corrupt_lock_is_kept(uv: FakeUv) -> None:
    for number in range(3):
        (uv.folder / "uv.lock").write_text(f"broken {number}")
        corrupt(uv, CORRUPT)
        [warning] = uv.converge().warnings
    assert warning == f"{uv.folder}: uv.lock could not be read, and is now uv.lock.corrupt.3"
    kept = [uv.folder / f"uv.lock.corrupt{suffix}" for suffix in ("", ".2", ".3")]
    assert [each.read_text() for each in kept] == ["broken 0", "broken 1", "broken 2"]


def test_a_damaged_cache_is_found_and_made_to_forget(uv: FakeUv) -> None:
    damaged(uv)
    uv.acts = {"cache clean --force alpha": lambda: uv.acts.update({SYNC: uv.make_environment})}
    assert not uv.converge().failed
    assert acts(uv) == [
        f"{SYNC} --reinstall-package=alpha --offline",
        f"{SYNC} --reinstall-package=alpha",
        "cache clean --force alpha",
        f"{SYNC} --reinstall-package=alpha",
    ]


def test_a_cache_that_does_not_forget_is_named(uv: FakeUv) -> None:
    damaged(uv)
    uv.acts.clear()
    uv.answers["cache clean"] = Output(2, "", NOT_WRITABLE)
    [failed] = uv.converge().failed
    assert (failed.reason or "").startswith("it cannot be written or read by its owner: ")


def test_damage_that_stays_is_named(uv: FakeUv) -> None:
    damaged(uv)
    uv.acts.clear()
    [failed] = uv.converge().failed
    assert failed.id == f"{uv.folder}/.venv/alpha"
    assert failed.reason == "did not take: set to '1.0', reads '1.0, with damage to 1 file'"


def test_damage_is_not_looked_for_when_not_wanted(uv: FakeUv) -> None:
    damaged(uv)
    assert found(uv, damage="none") == []


def test_hashes_find_what_sizes_do_not(uv: FakeUv) -> None:
    (uv.folder / ".venv/lib/python3.11/site-packages/alpha/__init__.py").write_text("x = 2\n")
    uv.acts[SYNC] = uv.make_environment
    assert found(uv) == []
    assert found(uv, damage="hashes") == [(".venv/alpha", "1.0", "1.0, with damage to 1 file")]
    assert found(uv, damage="hashes") == []


def test_drift_that_stays_is_named(uv: FakeUv) -> None:
    drift(uv, ("beta", "2.0", "uninstalled"))
    uv.acts.clear()
    assert [each.id.removeprefix(f"{uv.folder}/") for each in uv.converge().failed] == [".venv", ".venv/beta"]


def test_what_only_the_new_lock_told_is_recorded(uv: FakeUv) -> None:
    corrupt(uv, CORRUPT)
    uv.answers[SYNC] = uv.synced(("gamma", "1.0", "uninstalled"), ("gamma", "2.0", "installed"))
    assert found(uv)[-1] == (".venv/gamma", "2.0", "1.0")


def new_project(uv: FakeUv) -> None:
    for name in ("pyproject.toml", "uv.lock"):
        (uv.folder / name).unlink()
    (uv.folder / ".venv").rename(uv.folder.parent / "old")
    (uv.folder).rmdir()

    def sync() -> None:
        uv.make_environment()
        uv.answers[CHECK] = uv.synced()

    uv.acts = {"lock\n": lambda: (uv.folder / "uv.lock").write_text("version = 1\n"), SYNC: sync}
    uv.answers[SYNC] = uv.synced(("alpha", "1.0", "installed"))
    uv.answers[CHECK] = uv.synced(("alpha", "1.0", "installed"), action="create", code=1)


def test_a_new_project_gets_its_text(uv: FakeUv) -> None:
    new_project(uv)
    told = [("pyproject.toml", "written", None), ("uv.lock", LOCKED, None), (".venv", SYNCED, None)]
    assert found(uv, check_mode=True, pyproject=PYPROJECT) == told
    assert uv.calls == []
    assert not uv.folder.exists()
    assert found(uv, pyproject=PYPROJECT) == [*told, *ALPHA]
    assert (uv.folder / "pyproject.toml").read_text() == PYPROJECT
    assert found(uv, pyproject=PYPROJECT) == []


def test_an_environment_that_would_mislead_uv_is_cleared_first(uv: FakeUv) -> None:
    """With a new text, and with a new Python, too: else uv would install into the system."""
    (uv.folder / ".venv/pyvenv.cfg").unlink()
    (uv.folder / "pyproject.toml").unlink()
    uv.acts["venv --clear .venv"] = uv.make_environment
    assert found(uv, pyproject=PYPROJECT) == [
        ("pyproject.toml", "written", None),
        ("uv.lock", LOCKED, "not in step with pyproject.toml"),
        (".venv", SYNCED, "without its pyvenv.cfg"),
    ]
    assert acts(uv) == ["venv --clear .venv", "lock", f"{SYNC} --offline"]


def test_a_lock_is_made_after_a_broken_interpreter_is_gone(uv: FakeUv) -> None:
    broken_interpreter(uv)
    uv.answers[f"{AWAY}lock --check"] = STALE
    uv.answers[f"{AWAY}{DRY_RUN}"] = uv.answers.pop(f"{AWAY}{CHECK}")
    assert [name for name, _expected, _actual in found(uv)] == ["uv.lock", ".venv", ".venv/alpha"]
    assert acts(uv) == ["venv --clear .venv", "lock", f"{SYNC} --offline"]


def test_a_cache_on_another_file_system_is_told(uv: FakeUv) -> None:
    drift(uv, ("beta", "1.0", "installed"))
    uv.answers[SYNC] = uv.synced()._replace(stderr=DISK_FULL)
    [warning] = uv.converge().warnings
    assert warning.startswith(f"{uv.folder}: uv's cache is on another file system than the project")


def test_a_users_own_text_stays(uv: FakeUv) -> None:
    (uv.folder / "pyproject.toml").write_text("# mine\n")
    assert found(uv, pyproject=PYPROJECT) == []
    assert (uv.folder / "pyproject.toml").read_text() == "# mine\n"


def test_without_a_text_the_project_is_named(uv: FakeUv) -> None:
    new_project(uv)
    [failed] = uv.converge().failed
    assert failed.reason == f"{uv.folder} has no pyproject.toml, and there is no text for one"


def test_before_uv_is_installed(uv: FakeUv) -> None:
    Path(uv.program).unlink()
    settings = uv.converge(check_mode=True)
    assert [(each.id, each.action, each.reason) for each in settings.records] == [
        (uv.program, "changed", None),
        (f"{uv.folder}/.venv", "skipped", f"it takes {uv.program}, which is not there yet"),
    ]
    with pytest.raises(SettingsError, match=f"{uv.program} is not there: install uv first"):
        uv.converge()
    assert uv.calls == []


def killed_by_the_kernel(uv: FakeUv) -> None:
    uv.version = Output(-11)


def not_run_at_all(uv: FakeUv) -> None:
    def run(*_command: str) -> Output:
        raise SettingsError("cannot run it: Exec format error")

    uv.__dict__["run"] = run


@pytest.mark.parametrize("act", [killed_by_the_kernel, not_run_at_all])
def test_uv_that_is_damaged_is_no_fault_of_the_projects(uv: FakeUv, act: Act) -> None:
    """A role mends it, after it has asked whether the projects can be kept."""
    act(uv)
    settings = uv.converge(check_mode=True)
    assert [(each.id, each.actual, each.action, each.reason) for each in settings.records] == [
        (uv.program, "does not work", "changed", None),
        (f"{uv.folder}/.venv", None, "skipped", f"it takes {uv.program}, which does not work"),
    ]
    with pytest.raises(SettingsError, match=f"{uv.program} does not work: install uv first"):
        uv.converge()
    assert uv.calls == []


def test_an_index_that_cannot_be_reached_is_not_needed_with_the_cache(uv: FakeUv) -> None:
    stale(uv)
    stale_answer, changes = uv.answers.pop("lock --check"), uv.answers.pop(DRY_RUN)
    unreachable = Output(2, "", UNREACHABLE)
    uv.answers |= {"lock": unreachable, DRY_RUN: unreachable}
    uv.answers |= {"lock --check --offline": stale_answer, "lock --offline": Output(0)}
    uv.answers[f"{DRY_RUN} --output-format json --offline"] = changes

    def lock() -> None:
        uv.answers["lock --check"] = Output(0)

    uv.acts["lock --offline"] = lock
    settings = uv.converge()
    assert not settings.failed
    assert settings.warnings == [
        f"{uv.folder}: the index cannot be reached; the versions are those that the cache knows"
    ]
    assert acts(uv) == ["lock", "lock --offline", f"{SYNC} --offline"]


def test_check_mode_makes_no_cache_to_look_into(uv: FakeUv) -> None:
    uv.answers["lock --check"] = Output(2, "", UNREACHABLE)
    uv.answers["cache dir"] = Output(0, f"{uv.folder}/nowhere\n")
    [failed] = uv.converge(check_mode=True).failed
    assert (failed.reason or "").startswith("the index cannot be reached, and the cache does not suffice: Request fail")
    assert not [call for call in uv.calls if "--offline" in call]


def test_what_is_not_in_the_cache_is_fetched(uv: FakeUv) -> None:
    drift(uv, ("beta", "1.0", "installed"))
    uv.answers[f"{SYNC} --offline"] = Output(1, "", OFFLINE)
    assert not uv.converge().failed
    assert acts(uv) == [f"{SYNC} --offline", SYNC]


def test_what_cannot_be_fetched_is_told_once(uv: FakeUv) -> None:
    drift(uv, ("beta", "1.0", "installed"), ("gamma", "1.0", "installed"))
    uv.acts.clear()
    uv.answers |= {SYNC: Output(2, "", UNREACHABLE)}
    settings = uv.converge()
    [failed] = settings.failed
    assert failed.id == str(uv.folder)
    assert (failed.reason or "").startswith("the index cannot be reached, and the cache does not suffice: ")
    skipped = {each.id: each.reason for each in settings.records if each.action == "skipped"}
    assert skipped == {f"{uv.folder}/.venv{name}": f"see {uv.folder}" for name in ("", "/beta", "/gamma")}


def test_a_lock_that_was_made_counts_though_the_rest_failed(uv: FakeUv) -> None:
    stale(uv)
    uv.answers |= {SYNC: Output(2, "", UNREACHABLE)}
    settings = uv.converge()
    assert [each.id for each in settings.differing] == [f"{uv.folder}/uv.lock"]
    assert [each.id for each in settings.failed] == [str(uv.folder)]


def without_python(uv: FakeUv) -> None:
    for begin in ("lock --check", CHECK):
        uv.answers[begin] = Output(2, "", NO_PYTHON)
    uv.answers["python list"] = Output(0, '[{"version": "3.11.2", "path": "/usr/bin/python3"}]')


def test_no_python_is_downloaded_unasked(uv: FakeUv) -> None:
    without_python(uv)
    [failed] = uv.converge().failed
    assert failed.reason == (
        "there is no interpreter for it: wanted is Python ==3.12.*, this host has 3.11.2 (/usr/bin/python3)"
    )
    assert acts(uv) == []


def test_a_python_is_downloaded_when_that_is_wanted(uv: FakeUv) -> None:
    without_python(uv)
    uv.acts["python install"] = lambda: uv.answers.update({"lock --check": Output(0), CHECK: uv.synced()})
    entry = {"environment": {"UV_PYTHON_DOWNLOADS": "automatic"}}
    [record] = uv.converge(check_mode=True, **entry).differing
    assert (record.id, record.actual) == (f"{uv.folder}/.venv", "not judged yet")
    assert record.reason == "more can be told when Python ==3.12.* is there"
    assert acts(uv) == []
    assert not uv.converge(**entry).failed
    assert acts(uv) == ["python install --no-bin ==3.12.*", "lock", f"{SYNC} --offline"]
    assert found(uv, **entry) == []


def in_the_way(uv: FakeUv, name: str, *, folder: bool = True, names: Sequence[str] = ("mine",)) -> None:
    path = uv.folder / name
    path.rename(uv.folder / "old")
    if not folder:
        path.touch()
    for each in names if folder else ():
        (path / each).parent.mkdir(parents=True, exist_ok=True)
        (path / each).touch()


def to_nowhere(uv: FakeUv, name: str) -> None:
    """Such as to a disk that is not there now."""
    (uv.folder / name).unlink()
    (uv.folder / name).symlink_to("/nowhere/mine")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda uv: in_the_way(uv, ".venv", folder=True), ".venv is in the way, as it is no Python environment: move"),
        (lambda uv: in_the_way(uv, ".venv", folder=False), ".venv is in the way, as it is no folder: move it away"),
        (
            lambda uv: in_the_way(uv, ".venv", names=("bin/mine", ".gitignore")),
            ".venv is in the way, as it is no Python",
        ),
        (lambda uv: in_the_way(uv, "pyproject.toml", folder=True), "pyproject.toml is in the way, as it is no file"),
        (lambda uv: to_nowhere(uv, "pyproject.toml"), "pyproject.toml is in the way, as it is no file: move it away"),
        (lambda uv: in_the_way(uv, "uv.lock", folder=True), "uv.lock is in the way, as it is a folder: move it away"),
        (
            lambda uv: uv.answers.update({CHECK: Output(0, "{}")}),
            "uv's answer has another form than that of uv 0.13, which this collection knows",
        ),
    ],
)
def test_what_is_in_the_way_is_named_and_left(uv: FakeUv, act: Act, reason: str) -> None:
    act(uv)
    before = listing(uv.folder)
    [failed] = uv.converge(pyproject=PYPROJECT).failed
    assert (failed.reason or "").removeprefix(f"{uv.folder}/").startswith(reason)
    assert (listing(uv.folder), acts(uv)) == (before, [])


def test_a_member_of_a_workspace_is_refused(uv: FakeUv) -> None:
    uv.answers["sync"] = uv.synced(workspace="/srv/all")
    with pytest.raises(
        RequestError, match=f"{uv.folder} is a member of the workspace /srv/all, which has the lock: na"
    ):
        uv.converge()


@pytest.mark.parametrize(
    ("act", "closed", "refused"),
    [
        (stale, "", True),
        (stale, "uv.lock", True),
        (stale, ".venv", True),
        (damaged, ".venv", True),
        (damaged, "uv.lock", False),
        (lambda _uv: None, "", False),
    ],
)
def test_what_cannot_be_written_is_named_before_any_change(
    uv: FakeUv, monkeypatch: pytest.MonkeyPatch, act: Act, closed: str, *, refused: bool
) -> None:
    act(uv)
    path = uv.folder / closed
    monkeypatch.setattr(os, "access", lambda asked, _mode: asked != path)
    failed = uv.converge(check_mode=True).failed
    name = pwd.getpwuid(os.geteuid()).pw_name
    reason = f"cannot write {path}: {name} may not, or its file system is read-only"
    assert [each.reason for each in failed] == ([reason] if refused else [])
    assert acts(uv) == []


def test_one_project_keeps_no_other_from_being_mended(uv: FakeUv) -> None:
    drift(uv, ("beta", "1.0", "installed"))
    other = uv.folder.parent / "other"
    other.mkdir()
    projects = parse_projects([{"path": str(each), "owner": ME} for each in (other, uv.folder)], {})
    settings = converge(
        lambda: make_plan(projects, uv.program, "sizes", check_mode=False, make_runner=uv.runner), check_mode=False
    )
    assert [each.id for each in settings.failed] == [str(other)]
    assert [each.id for each in settings.differing] == [f"{uv.folder}/.venv", f"{uv.folder}/.venv/beta"]


def test_the_same_folder_twice_is_refused(uv: FakeUv) -> None:
    me = pwd.getpwuid(os.geteuid())
    entries = [{"path": f"{me.pw_dir}/p", "owner": me.pw_name}, {"path": "~/p", "owner": me.pw_name}]
    with pytest.raises(InputError, match=r"projects\[1\].path must not repeat projects\[0\]; got: '~/p'"):
        make_plan(parse_projects(entries, {}), uv.program, "sizes", check_mode=True, make_runner=uv.runner)
    assert uv.calls == []


def test_the_same_folder_behind_a_link_is_refused(uv: FakeUv) -> None:
    link = uv.folder.parent / "link"
    link.symlink_to(uv.folder)
    entries = [{"path": str(each), "owner": ME} for each in (uv.folder, link)]
    with pytest.raises(InputError, match=rf"projects\[1\].path must not repeat projects\[0\]; got: '{link}'"):
        make_plan(parse_projects(entries, {}), uv.program, "sizes", check_mode=True, make_runner=uv.runner)


def test_an_unknown_user_is_refused(uv: FakeUv) -> None:
    with pytest.raises(InputError, match=r"projects\[0\].owner must be a user of this host; got: 'nobody-knows'"):
        uv.converge(owner="nobody-knows")


@pytest.mark.parametrize(
    ("own", "told"), [({}, "/data/{me}/uv"), ({"UV_CACHE_DIR": "/mine"}, "/mine")], ids=["of all", "of the project"]
)
def test_an_owner_has_a_cache_in_the_folder_for_caches(uv: FakeUv, own: dict[str, str], told: str) -> None:
    told_of: list[str] = []

    def make_runner(_owner: Owner, folder: Path, environment: Mapping[str, str]) -> Runner:
        if folder == uv.folder:
            told_of.append(environment["UV_CACHE_DIR"])
        return uv.run

    projects = parse_projects([{"path": str(uv.folder), "owner": ME, "environment": own}], {})
    make_plan(projects, uv.program, "sizes", check_mode=True, cache="/data", make_runner=make_runner)
    assert told_of == [told.format(me=pwd.getpwuid(os.geteuid()).pw_name)]
