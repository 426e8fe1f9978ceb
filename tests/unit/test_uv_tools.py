# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv_tools, with commands that only make files: what is found, what is reported, and what is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import RequestError, SettingsError

from .conftest import full_disk, killed_at
from .uv_host import listing
from .uv_tools_host import HASH, ToolsHost

MONITOR = "monitor==1.0"
VENV = "python3 -m venv --clear uv"
PIP = (
    "uv/bin/python -m pip install --no-input --disable-pip-version-check --no-deps --only-binary=:all: "
    "--require-hashes --no-cache-dir --requirement=uv/requirements.txt"
)
INSTALL = "uv/bin/uv tool install --force --no-cache --python=python3"
UNINSTALL = "uv/bin/uv tool uninstall"
CHECK = "uv/bin/uv pip check --no-cache --python tools/monitor"
Act = Callable[[ToolsHost], object]
Found = list[tuple[str, str | None, str | None, str | None]]


@pytest.fixture
def bare(tmp_path: Path) -> ToolsHost:
    return ToolsHost(tmp_path)


@pytest.fixture
def rig(bare: ToolsHost) -> ToolsHost:
    """With uv and one tool."""
    assert not bare.converge(MONITOR).failed
    bare.calls.clear()
    return bare


def differing(rig: ToolsHost, *tools: str, check_mode: bool = False) -> Found:
    settings = rig.converge(*tools, check_mode=check_mode)
    assert not settings.failed, settings.failed
    return [(short(rig, each.id), each.expected, each.actual, short(rig, each.reason)) for each in settings.differing]


def short(rig: ToolsHost, text: str | None) -> str:
    return (text or "").replace(f"{rig.root}/", "")


def acts(rig: ToolsHost) -> list[str]:
    return [call for call in rig.calls if " pip check " not in call]


def skipped(rig: ToolsHost, *tools: str) -> list[tuple[str, str | None, str]]:
    settings = rig.converge(*tools)
    assert not settings.failed
    return [
        (short(rig, each.id), each.actual, short(rig, each.reason))
        for each in settings.records
        if each.action == "skipped"
    ]


def commands(rig: ToolsHost) -> dict[str, str]:
    """What users find, and where it leads."""
    return {
        each.name: short(rig, str(each.readlink())) if each.is_symlink() else each.read_text()
        for each in sorted(rig.places.programs.iterdir())
    }


def test_from_nothing(bare: ToolsHost) -> None:
    before = listing(bare.root)
    told: Found = [
        ("uv", "0.13.8", None, ""),
        ("programs/uv", f"{bare.root}/uv/bin/uv", None, ""),
        ("tools/monitor", "1.0", None, ""),
    ]
    assert differing(bare, MONITOR, check_mode=True) == told
    assert (listing(bare.root), bare.calls) == (before, [])
    assert differing(bare, MONITOR) == told
    assert acts(bare) == [VENV, PIP, f"{INSTALL} {MONITOR}"]
    tool = "tools/monitor/bin"
    assert commands(bare) == {"monitor": f"{tool}/monitor", "old": f"{tool}/old", "uv": "uv/bin/uv"}
    assert (bare.places.uv / "requirements.txt").read_text() == f"uv==0.13.8 --hash={HASH}\n"


def test_the_second_run_changes_nothing(rig: ToolsHost) -> None:
    before = listing(rig.root)
    settings = rig.converge(MONITOR)
    assert [each.action for each in settings.records] == ["none", "none", "none"]
    assert rig.calls == [CHECK]
    assert listing(rig.root) == before


def test_options_reach_uv_and_pip(bare: ToolsHost) -> None:
    other = "sha256:" + "b" * 64
    environment = {"UV_HTTP_TIMEOUT": "9", "UV_DEFAULT_INDEX": "https://other.example", "UV_PYTHON_DOWNLOADS": "manual"}
    index = "https://index.example/simple"
    bare.converge(MONITOR, index=index, exclude_newer="2026-11-20", hashes=[HASH, other], environment=environment)
    assert acts(bare)[1:] == [f"{PIP} --index-url={index}", f"{INSTALL} --exclude-newer=2026-11-20 {MONITOR}"]
    assert (bare.places.uv / "requirements.txt").read_text() == f"uv==0.13.8 --hash={HASH} --hash={other}\n"
    assert bare.environment == {
        "UV_HTTP_TIMEOUT": "9",
        "UV_DEFAULT_INDEX": index,
        "UV_TOOL_DIR": str(bare.places.tools),
        "UV_TOOL_BIN_DIR": str(bare.places.uv_links),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
    }


def site(folder: Path) -> Path:
    return next(folder.glob("lib/*/site-packages"))


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def of_uv(path: str) -> Act:
    return lambda rig: remove(rig.places.uv / path)


def of_tool(path: str) -> Act:
    return lambda rig: remove(next((rig.places.tools / "monitor").glob(path)))


def other_uv(rig: ToolsHost) -> None:
    rig.install(rig.places.uv, "uv", "0.1.0", ("uv",))


def other_uv_and_python(rig: ToolsHost) -> None:
    other_uv(rig)
    rig.set_python("3.12")


def half_made(folder: Path) -> None:
    shutil.rmtree(folder)
    (folder / "bin").mkdir(parents=True)
    (folder / ".gitignore").touch()


def other_tool(rig: ToolsHost) -> None:
    rig.converge("monitor==2.0")
    rig.calls.clear()


def lead_python_nowhere(rig: ToolsHost) -> None:
    python = rig.places.tools / "monitor/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")


def unlisted(rig: ToolsHost) -> None:
    rig.converge(MONITOR, "second==1.0")
    rig.calls.clear()


def unlisted_without_folder(rig: ToolsHost) -> None:
    unlisted(rig)
    shutil.rmtree(rig.places.tools / "second")


def unlisted_half_removed(rig: ToolsHost) -> None:
    unlisted(rig)
    (rig.places.programs / "second").unlink()
    half_made(rig.places.tools / "second")


def tool_differs(actual: str | None, reason: str = "") -> Found:
    return [("tools/monitor", "1.0", actual, reason)]


def uv_differs(actual: str | None, reason: str = "") -> Found:
    return [("uv", "0.13.8", actual, reason)]


AGAIN, NEW_UV = [f"{INSTALL} {MONITOR}"], [VENV, PIP]
# What is the matter, what is told then, and what is run.
STATES: dict[str, tuple[Act, Found, list[str]]] = {
    "uv missing": (lambda rig: remove(rig.places.uv), uv_differs(None), NEW_UV),
    "uv of another version": (other_uv, uv_differs("0.1.0"), [PIP]),
    "uv of another version and Python": (
        other_uv_and_python,
        [*uv_differs("0.1.0"), *tool_differs("1.0, not whole", "its Python is python3.12 now")],
        [*NEW_UV, *AGAIN],
    ),
    "uv damaged": (of_uv("bin/uv"), uv_differs("0.13.8, with damage", "../../../bin/uv is gone"), NEW_UV),
    "uv without its package": (
        lambda rig: remove(site(rig.places.uv) / "uv-0.13.8.dist-info"),
        uv_differs("without uv"),
        NEW_UV,
    ),
    "uv without its RECORD": (
        lambda rig: remove(site(rig.places.uv) / "uv-0.13.8.dist-info/RECORD"),
        uv_differs("0.13.8, with damage", "uv-0.13.8.dist-info/RECORD is gone"),
        NEW_UV,
    ),
    "uv half made": (lambda rig: half_made(rig.places.uv), uv_differs("without uv"), NEW_UV),
    "link to uv gone": (
        lambda rig: remove(rig.places.link),
        [("programs/uv", "uv/bin/uv", None, "")],
        [],
    ),
    "tool missing": (lambda rig: remove(rig.places.tools / "monitor"), tool_differs(None), AGAIN),
    "tool of another version": (other_tool, tool_differs("2.0"), AGAIN),
    "tool damaged": (
        of_tool("lib/*/site-packages/monitor.py"),
        tool_differs("1.0, with damage", "monitor.py is gone"),
        AGAIN,
    ),
    "dependency damaged": (
        of_tool("lib/*/site-packages/beta.py"),
        tool_differs("1.0, with damage", "beta.py is gone"),
        AGAIN,
    ),
    "tool without its package": (of_tool("lib/*/*/monitor-1.0.dist-info"), tool_differs("without monitor"), AGAIN),
    "tool half made": (lambda rig: half_made(rig.places.tools / "monitor"), tool_differs("without monitor"), AGAIN),
    "Python gone": (of_tool("bin/python"), tool_differs("1.0, not whole", "its Python is gone"), AGAIN),
    "Python led nowhere": (
        lead_python_nowhere,
        tool_differs("1.0, not whole", "its Python is gone"),
        AGAIN,
    ),
    "Python of another version": (
        lambda rig: rig.set_python("3.12"),
        tool_differs("1.0, not whole", "its Python is python3.12 now"),
        AGAIN,
    ),
    "pyvenv.cfg gone": (
        of_tool("pyvenv.cfg"),
        tool_differs("1.0, not whole", "without its pyvenv.cfg"),
        AGAIN,
    ),
    "dependency gone": (
        of_tool("lib/*/*/beta-1.0.dist-info"),
        tool_differs("1.0, not whole", "The package `monitor` requires `beta`, but it's not"),
        AGAIN,
    ),
    "link gone": (
        lambda rig: remove(rig.places.programs / "old"),
        tool_differs("1.0, not whole", "programs/old is gone"),
        [],
    ),
    "link led nowhere": (
        lambda rig: (rig.places.programs / "x").symlink_to(rig.places.tools / "monitor/bin/x"),
        tool_differs("1.0, not whole", "programs/x leads nowhere"),
        [],
    ),
    "tool unlisted": (unlisted, [("tools/second", None, "1.0", "")], [f"{UNINSTALL} second"]),
    "tool unlisted, folder gone": (unlisted_without_folder, [("tools/second", None, "links only", "")], []),
    "tool unlisted, half removed": (
        unlisted_half_removed,
        [("tools/second", None, "without second", "")],
        [f"{UNINSTALL} second"],
    ),
}


@pytest.mark.parametrize(("act", "told", "ran"), STATES.values(), ids=STATES)
def test_what_differs_is_told_and_mended(rig: ToolsHost, act: Act, told: Found, ran: list[str]) -> None:
    whole = commands(rig)
    act(rig)
    before = listing(rig.root)
    told = [
        (name, str(rig.places.program) if "/bin/uv" in (want or "") else want, *others) for name, want, *others in told
    ]
    assert differing(rig, MONITOR, check_mode=True) == told
    assert (listing(rig.root), acts(rig)) == (before, [])
    assert differing(rig, MONITOR) == told
    assert acts(rig) == ran
    assert commands(rig) == whole
    rig.calls.clear()
    assert differing(rig, MONITOR) == []
    assert acts(rig) == []
    assert sorted(each.name for each in rig.places.tools.iterdir()) == ["monitor"]


@pytest.mark.parametrize(
    "what", ["nothing is there", "uv of another version and Python", "tool of another version", "tool unlisted"]
)
def test_killed_at_any_moment_the_next_run_converges(tmp_path: Path, what: str) -> None:
    for step in range(1, 100):
        root = tmp_path / str(step)
        root.mkdir()
        rig = ToolsHost(root)
        if what in STATES:
            rig.converge(MONITOR)
            STATES[what][0](rig)
        was_killed = killed_at(step, lambda rig=rig: rig.converge(MONITOR))  # type: ignore[misc]
        assert not rig.converge(MONITOR).failed
        assert differing(rig, MONITOR) == []
        assert sorted(commands(rig)) == ["monitor", "old", "uv"]
        if not was_killed:
            break
    else:
        pytest.fail("it never came to an end")


IN_THE_WAY: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a file": ("{}", lambda path: path.write_text("mine\n")),
    "a folder": ("{}", lambda path: path.mkdir()),
    "a link of others": ("{}", lambda path: path.symlink_to("/usr/bin/true")),
    "a link of others that leads nowhere": ("{}", lambda path: path.symlink_to("/nowhere")),
}


@pytest.mark.parametrize("act", [act for _name, act in IN_THE_WAY.values()], ids=IN_THE_WAY)
@pytest.mark.parametrize("was_there", [False, True], ids=["from nothing", "later"])
def test_another_program_stays(bare: ToolsHost, act: Callable[[Path], object], *, was_there: bool) -> None:
    if was_there:
        bare.converge(MONITOR)
    bare.places.programs.mkdir(exist_ok=True)
    for name in ("uv", "monitor"):
        (bare.places.programs / name).unlink(missing_ok=True)
        act(bare.places.programs / name)
    before = {name: (bare.places.programs / name).lstat() for name in ("uv", "monitor")}
    actual = "1.0" if was_there else None
    for _run in range(2):
        [uv, monitor] = skipped(bare, MONITOR)
        assert uv[0::2] == ("programs/uv", "programs/uv is another program; that of this collection is uv/bin/uv")
        reason = "programs/monitor is another program: remove it, or leave monitor out"
        assert monitor == ("tools/monitor", actual, reason)
        assert not bare.converge(MONITOR).differing
    assert not bare.converge().failed
    assert {name: (bare.places.programs / name).lstat() for name in before} == before


def test_another_program_that_is_in_the_way_of_a_new_command_stays(rig: ToolsHost) -> None:
    """It is known only when the new version is there."""
    other = rig.places.programs / "new"
    other.write_text("mine\n")
    reason = "programs/new is another program: remove it, or leave monitor out"
    assert skipped(rig, "monitor==2.0") == [("tools/monitor", "1.0", reason)]
    assert skipped(rig, "monitor==2.0") == [("tools/monitor", "2.0", reason)]
    assert other.read_text() == "mine\n"
    other.unlink()
    assert not skipped(rig, "monitor==2.0")
    assert sorted(commands(rig)) == ["monitor", "new", "uv"]


def test_a_command_that_two_tools_have_is_the_first_ones(rig: ToolsHost) -> None:
    reason = "programs/monitor is another program: remove it, or leave rival out"
    assert skipped(rig, MONITOR, "rival==1.0") == [("tools/rival", None, reason)]
    assert skipped(rig, MONITOR, "rival==1.0") == [("tools/rival", "1.0", reason)]
    assert commands(rig)["monitor"] == "tools/monitor/bin/monitor"


def test_a_command_passes_to_the_next_tool_in_one_run(rig: ToolsHost) -> None:
    rig.converge(MONITOR, "rival==1.0")
    told = "programs/monitor is gone"
    assert differing(rig, "rival==1.0") == [
        ("tools/rival", "1.0", "1.0, not whole", told),
        ("tools/monitor", None, "1.0", ""),
    ]
    assert commands(rig) == {"monitor": "tools/rival/bin/monitor", "uv": "uv/bin/uv"}
    assert differing(rig, "rival==1.0") == []


def test_a_tool_may_take_the_place_of_another(rig: ToolsHost) -> None:
    assert differing(rig, "rival==1.0") == [("tools/rival", "1.0", None, ""), ("tools/monitor", None, "1.0", "")]
    assert acts(rig) == [f"{UNINSTALL} monitor", f"{INSTALL} rival==1.0"]
    assert commands(rig) == {"monitor": "tools/rival/bin/monitor", "uv": "uv/bin/uv"}
    assert differing(rig, "rival==1.0") == []


def test_a_users_own_name_for_a_command_stays(rig: ToolsHost) -> None:
    alias = rig.places.programs / "gpus"
    alias.symlink_to(rig.places.tools / "monitor/bin/monitor")
    rig.converge("monitor==2.0")
    rig.converge()
    assert commands(rig) == {"gpus": "tools/monitor/bin/monitor", "uv": "uv/bin/uv"}


@pytest.mark.parametrize("name", ["uv", "tools/monitor"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_environment_is_refused_and_left(bare: ToolsHost, name: str, kind: str) -> None:
    path = bare.root / name
    notes = path / "notes" if kind == "folder" else path
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text("mine\n")
    for check_mode in (True, False):
        with pytest.raises(RequestError) as refusal:
            bare.converge(MONITOR, check_mode=check_mode)
        assert short(bare, str(refusal.value)) == f"{name} is in the way, as it is no Python environment: move it away"
    assert (notes.read_text(), bare.calls) == ("mine\n", [])


@pytest.mark.parametrize("name", ["notes", ".tmp", "Monitor.old"])
def test_other_folders_among_the_tools_stay(rig: ToolsHost, name: str) -> None:
    folder = rig.places.tools / name
    folder.mkdir()
    (folder / ("mine" if name == "notes" else "pyvenv.cfg")).touch()
    assert differing(rig, MONITOR) == []
    assert folder.is_dir()


PIP_FAILS = {
    "wrong hash": (
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n    uv==0.13.8 from x:\n"
            "        Expected sha256 aaa\n             Got        bbb\n\n"
        ),
        (
            "no wheel that the index serves has one of the hashes: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES "
            "FROM THE REQUIREMENTS FILE.\n    uv==0.13.8 from x:\n"
            "        Expected sha256 aaa\n             Got        bbb"
        ),
    ),
    "no network": (
        (
            "WARNING: Location 'x' is ignored\n"
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'refused'\n"
            "ERROR: No matching distribution found for uv==0.13.8\n"
        ),
        (
            "the index cannot be reached: WARNING: Retrying (Retry(total=0)) after connection broken by 'refused'\n"
            "ERROR: No matching distribution found for uv==0.13.8"
        ),
    ),
    "no such version": (
        "ERROR: No matching distribution found for uv==0.13.8\n",
        (
            "the index has no such version for this host, or cannot be reached: ERROR: No matching distribution "
            "found for uv==0.13.8"
        ),
    ),
    "disk full": (
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
        (
            "the disk is full, or a quota is used up: ERROR: Could not install packages due to an OSError: [Errno 28] "
            "No space left on device"
        ),
    ),
    "something else": ("Killed\n", "Killed"),
    "nothing said": ("", "it said nothing"),
}


@pytest.mark.parametrize(("said", "message"), PIP_FAILS.values(), ids=PIP_FAILS)
def test_why_pip_failed_is_told(bare: ToolsHost, said: str, message: str) -> None:
    bare.answers[PIP] = Output(1, "Looking in indexes: x\n" if said else "", said)
    with pytest.raises(SettingsError) as failure:
        bare.converge(MONITOR)
    told = message if said != "Killed\n" else "Looking in indexes: x\nKilled"
    assert str(failure.value) == f"pip cannot install uv==0.13.8: {told}"
    assert not bare.places.link.exists()
    bare.answers.clear()
    assert not bare.converge(MONITOR).failed


def test_without_ensurepip_the_package_is_named(bare: ToolsHost) -> None:
    said = "The virtual environment was not created successfully because ensurepip is not\navailable. You need to\n"
    bare.answers[VENV] = Output(1, said)
    with pytest.raises(SettingsError) as failure:
        bare.converge(MONITOR)
    assert str(failure.value) == f"cannot make an environment: python3-venv is not installed: {said.rstrip()}"


def test_another_version_of_uv_stays_when_the_new_one_cannot_be_had(rig: ToolsHost) -> None:
    rig.answers[PIP] = Output(1, "", "ERROR: No matching distribution found\n")
    with pytest.raises(SettingsError):
        rig.converge(MONITOR, version="0.14.0")
    assert acts(rig) == [PIP]
    rig.answers.clear()
    assert differing(rig, MONITOR) == []


def test_one_tool_keeps_no_other_from_being_mended(rig: ToolsHost) -> None:
    rig.answers[f"{INSTALL} monitor==2.0"] = Output(1, "", "error: error sending request\n  cause: refused\n")
    settings = rig.converge("monitor==2.0", "second==1.0")
    [failed] = settings.failed
    assert short(rig, failed.id) == "tools/monitor"
    assert failed.reason == "the index cannot be reached: error sending request\n  cause: refused"
    assert [short(rig, each.id) for each in settings.differing] == ["tools/second"]
    assert commands(rig)["monitor"] == "tools/monitor/bin/monitor"


def test_a_tool_that_cannot_be_removed_is_named(rig: ToolsHost) -> None:
    rig.answers[UNINSTALL] = Output(2, "", "error: it is in use\n")
    [failed] = rig.converge().failed
    assert (short(rig, failed.id), failed.reason) == ("tools/monitor", "it is in use")


def test_what_did_not_take_is_named(rig: ToolsHost) -> None:
    rig.answers[INSTALL] = Output(0)
    [failed] = rig.converge("monitor==2.0").failed
    assert failed.reason == "did not take: set to '2.0', reads '1.0'"


def test_a_check_that_fails_otherwise_is_told(rig: ToolsHost) -> None:
    rig.answers[CHECK] = Output(2, "", "error: it broke\n")
    [setting] = rig.converge(MONITOR, check_mode=True).differing
    assert (setting.actual, setting.reason) == ("1.0, not whole", "it broke")


@pytest.mark.parametrize("closed", ["", "programs"])
def test_what_cannot_be_written_is_named_before_any_change(
    rig: ToolsHost, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    remove(rig.places.link)
    path, access = rig.root / closed, os.access
    places = [rig.places.uv, rig.places.tools, rig.places.programs] if not closed else [path]
    monkeypatch.setattr(os, "access", lambda asked, mode: asked not in places and access(asked, mode))
    for check_mode in (True, False):
        with pytest.raises(SettingsError, match=r"cannot write .*: "):
            rig.converge(MONITOR, check_mode=check_mode)
    assert acts(rig) == []


def test_on_a_full_disk_what_is_there_stays(rig: ToolsHost) -> None:
    with pytest.raises(SettingsError, match=r"cannot write .*/uv/requirements.txt: File too large"), full_disk():
        rig.converge(MONITOR, version="0.14.0")
    assert differing(rig, MONITOR) == []


def test_whatever_the_umask_all_users_can_read(bare: ToolsHost) -> None:
    before = os.umask(0o077)
    try:
        bare.converge(MONITOR)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    closed = [path for path in bare.root.rglob("*") if not path.is_symlink() and not path.stat().st_mode & 0o004]
    assert closed == []
