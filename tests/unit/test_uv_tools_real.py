# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv_tools with the real venv, pip and uv, on small wheels that are made here, without the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, SettingsError, converge
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_tools import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_tools_places import Places
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_tools_request import parse_tools

from .uv_host import listing, make_wheel
from .uv_tools_host import HASH, options_of, places_in

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(UV is None, reason="uv is not installed: make bootstrap")
MONITOR = "monitor==1.0"
Found = list[tuple[str, str | None, str | None]]


@dataclass
class Rig:
    """uv, tools and wheels in one folder. Its uv is a program that starts the real one."""

    root: Path

    @property
    def places(self) -> Places:
        return places_in(self.root, Path(sys.executable).resolve())

    @property
    def tool(self) -> Path:
        return self.places.tools / "monitor"

    @property
    def site(self) -> Path:
        return next(self.tool.glob("lib/python3.*/site-packages"))

    def make(self) -> None:
        start = f"import os, sys\n\n\ndef main():\n    os.execv({UV!r}, [{UV!r}, *sys.argv[1:]])\n"
        for version in ("0.13.8", "0.14.0"):
            self.make_wheel("uv", version, start, "uv")
        for version, commands in (("1.0", ("monitor",)), ("2.0", ("monitor", "new"))):
            text = f"def main():\n    import beta\n    print('{version}', beta.x)\n"
            self.make_wheel("monitor", version, text, *commands, requires=("beta",))
        make_wheel(self.root / "wheels", "beta", "1.0", {"beta.py": "x = 1\n"})

    def make_wheel(self, name: str, version: str, text: str, *commands: str, requires: tuple[str, ...] = ()) -> None:
        points = "".join(f"{each} = {name}:main\n" for each in commands)
        files = {f"{name}.py": text, f"{name}-{version}.dist-info/entry_points.txt": f"[console_scripts]\n{points}"}
        make_wheel(self.root / "wheels", name, version, files, requires)

    def converge(self, *tools: str, check_mode: bool = False, **options: Any) -> Settings:
        wheels = self.root / "wheels"
        environment = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels)}
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        hashes = [f"sha256:{sha256(each.read_bytes()).hexdigest()}" for each in wheels.glob("uv-*.whl")]
        asked = options_of(*tools, **{"hashes": hashes, "environment": environment, **options})
        return converge(lambda: make_plan(parse_tools(asked), self.places), check_mode=check_mode)

    def found(self, *tools: str, check_mode: bool = False) -> Found:
        settings = self.converge(*tools, check_mode=check_mode)
        assert not settings.failed, settings.failed
        return [(each.id.removeprefix(f"{self.root}/"), each.expected, each.actual) for each in settings.differing]

    def say(self, command: str) -> str:
        program = self.places.programs / command
        return subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """To make an environment with pip takes seconds."""
    rig = Rig(tmp_path_factory.mktemp("rig"))
    rig.make()
    before = listing(rig.root)
    told = [("uv", "0.13.8", None), ("programs/uv", str(rig.places.program), None), ("tools/monitor", "1.0", None)]
    assert rig.found(MONITOR, check_mode=True) == told
    assert listing(rig.root) == before
    umask = os.umask(0o077)
    try:
        assert rig.found(MONITOR) == told
    finally:
        os.umask(umask)
    return rig


@pytest.fixture
def rig(shared_rig: Rig) -> Rig:
    """With uv and one tool."""
    assert not shared_rig.converge(MONITOR).failed
    return shared_rig


def test_the_second_run_changes_nothing(rig: Rig) -> None:
    before = listing(rig.root)
    assert rig.found(MONITOR) == []
    assert rig.found(MONITOR, check_mode=True) == []
    assert listing(rig.root) == before
    assert rig.say("monitor") == "1.0 1\n"
    assert rig.say("uv").startswith("uv ")


def test_all_users_can_read(rig: Rig) -> None:
    """Though the umask was another."""
    made = [each for place in (rig.places.uv, rig.places.tools, rig.places.programs) for each in place.rglob("*")]
    assert [each for each in made if each.exists() and each.stat().st_mode & 0o004 == 0] == []


def lead_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/python3")


def break_python(rig: Rig) -> None:
    python = rig.tool / "bin/python"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)


def half_remove(rig: Rig) -> None:
    for name in ("pyvenv.cfg", "uv-receipt.toml", "bin/python"):
        (rig.tool / name).unlink()
    shutil.rmtree(rig.site)


DAMAGES: dict[str, tuple[Callable[[Rig], object], str | None]] = {
    "tool gone": (lambda rig: shutil.rmtree(rig.tool), None),
    "another version": (lambda rig: rig.converge("monitor==2.0"), "2.0"),
    "file gone": (lambda rig: (rig.site / "monitor.py").unlink(), "1.0, with damage"),
    "RECORD gone": (lambda rig: (rig.site / "monitor-1.0.dist-info/RECORD").unlink(), "1.0, with damage"),
    "metadata gone": (lambda rig: shutil.rmtree(rig.site / "monitor-1.0.dist-info"), "without monitor"),
    "metadata of a dependency gone": (lambda rig: shutil.rmtree(rig.site / "beta-1.0.dist-info"), "1.0, not whole"),
    "Python gone": (lambda rig: lead_nowhere(rig.tool / "bin/python"), "1.0, not whole"),
    "Python broken": (break_python, "1.0, not whole"),
    "pyvenv.cfg gone": (lambda rig: (rig.tool / "pyvenv.cfg").unlink(), "1.0, not whole"),
    "link gone": (lambda rig: (rig.places.programs / "monitor").unlink(), "1.0, not whole"),
    "receipt gone, and a file": (
        lambda rig: [(rig.tool / "uv-receipt.toml").unlink(), (rig.site / "monitor.py").unlink()],
        "1.0, with damage",
    ),
    "half removed": (half_remove, "without monitor"),
}


@pytest.mark.parametrize(("act", "actual"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_by_check_mode_and_mended_by_the_next_run(
    rig: Rig, act: Callable[[Rig], object], actual: str | None
) -> None:
    act(rig)
    before = listing(rig.root)
    assert rig.found(MONITOR, check_mode=True) == [("tools/monitor", "1.0", actual)]
    assert listing(rig.root) == before
    assert rig.found(MONITOR) == [("tools/monitor", "1.0", actual)]
    assert rig.say("monitor") == "1.0 1\n"
    assert rig.found(MONITOR) == []
    assert sorted(each.name for each in rig.places.programs.iterdir()) == ["monitor", "uv"]


def test_damage_to_uv_is_mended(rig: Rig) -> None:
    rig.places.program.unlink()
    assert rig.found(MONITOR) == [("uv", "0.13.8", "0.13.8, with damage")]
    assert rig.say("uv").startswith("uv ")
    assert rig.found(MONITOR) == []


def test_uv_goes_from_one_version_to_another_and_back(rig: Rig) -> None:
    [record] = rig.converge(MONITOR, version="0.14.0").differing
    assert (record.expected, record.actual, record.action) == ("0.14.0", "0.13.8", "changed")
    assert rig.found(MONITOR) == [("uv", "0.13.8", "0.14.0")]
    assert rig.found(MONITOR) == []


def test_what_others_have_stays(rig: Rig) -> None:
    """uv would overwrite, or remove, what has the name of a command."""
    other = rig.places.programs / "new"
    other.write_text("mine\n")
    reason = f"{other} is another program: remove it, or leave monitor out"
    assert [each.reason for each in rig.converge("monitor==2.0").records if each.action == "skipped"] == [reason]
    command = rig.places.programs / "monitor"
    command.unlink()
    command.write_text("mine, too\n")
    assert rig.found() == [("tools/monitor", None, "2.0")]
    assert not rig.tool.exists()
    assert (other.read_text(), command.read_text()) == ("mine\n", "mine, too\n")
    other.unlink()
    command.unlink()


def test_a_version_that_is_not_to_be_had_costs_nothing(rig: Rig) -> None:
    before = listing(rig.tool)
    [failed] = rig.converge("monitor==9.0").failed
    assert (failed.reason or "").startswith("No solution found when resolving dependencies")
    unreachable = {"UV_HTTP_RETRIES": "0"}
    [failed] = rig.converge("monitor==2.0", index="http://127.0.0.1:9/simple", environment=unreachable).failed
    assert (failed.reason or "").startswith("the index cannot be reached: ")
    assert listing(rig.tool) == before
    assert rig.say("monitor") == "1.0 1\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"hashes": [HASH]},
            "no wheel that the index serves has one of the hashes: ERROR: THESE PACKAGES DO NOT MATCH",
        ),
        ({"version": "0.99.0"}, "the index has no such version for this host, or cannot be reached: ERROR: Could not"),
        (
            {"index": "http://127.0.0.1:9/simple", "environment": {"PIP_RETRIES": "1"}},
            "the index cannot be reached: WARNING: Retrying (Retry(total=0",
        ),
    ],
    ids=["wrong hash", "no such version", "no network"],
)
def test_why_uv_cannot_be_had_is_told(rig: Rig, options: dict[str, Any], message: str) -> None:
    """Another version stays."""
    before = listing(rig.places.uv)
    with pytest.raises(SettingsError) as failure:
        rig.converge(MONITOR, **{"version": "0.14.0", **options})
    wanted = options.get("version", "0.14.0")
    assert str(failure.value).startswith(f"pip cannot install uv=={wanted}: {message}")
    changed = set(listing(rig.places.uv).items()) ^ set(before.items())
    assert {Path(path).name for path, _status in changed} <= {"requirements.txt"}
    assert rig.found(MONITOR) == []


def test_killed_while_uv_works_the_next_run_converges(rig: Rig) -> None:
    """After more and more time, until it was done before."""
    environment = {**os.environ, "UV_TOOL_DIR": str(rig.places.tools), "UV_TOOL_BIN_DIR": str(rig.places.uv_links)}
    environment |= {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(rig.root / "wheels")}
    options = ["--force", "--no-cache", f"--python={rig.places.python}"]
    for patience in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4):
        command = [str(UV), "tool", "install", *options, "monitor==2.0"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(patience)
        process.kill()
        process.wait()
        assert not rig.converge(MONITOR).failed
        assert rig.found(MONITOR) == []
        assert rig.say("monitor") == "1.0 1\n"
