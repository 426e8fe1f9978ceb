# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running the measuring half in a project: as its owner, with nothing of the caller's, and never for ever."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _verify_environment
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import RequestError, SettingsError
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_environment import (
    Wanted,
    find_project,
    measure,
)

from .conftest import Host

FOLDER = Path("/home/rig/ml-finetune")
PYTHON = f"{FOLDER}/.venv/bin/python"
ROLE = "the role ml_env makes one; --project names another"


@pytest.fixture
def project(open_host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """With a program of the test in the place of Python."""
    scratch = open_host.path("/tmp")  # noqa: S108 - of the host of the test
    scratch.mkdir()
    scratch.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield open_host
    assert [*scratch.iterdir()] == [], "something was left behind"


def install(project: Host, script: str) -> None:
    """A shell script as the project's Python."""
    project.write(PYTHON, f"#!/bin/sh\n{script}\n").chmod(0o755)


def run(project: Host, *gpus: str, patience: float = 30.0, seen: list[str] | None = None) -> dict[str, Any]:
    wanted = Wanted(("torch", "training"), gpus, patience)
    return measure(find_project(FOLDER, project.root), wanted, ([] if seen is None else seen).append)


def test_what_it_prints_is_returned(project: Host) -> None:
    install(project, """echo noise >&2; echo '{"parts": []}'""")
    assert run(project) == {"parts": []}


def test_how_it_is_called(project: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV", "HF_TOKEN"):
        monkeypatch.setenv(name, "the caller's")
    write = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"
    install(project, f"""printf '{{"said": %s}}' "$({sys.executable} -I -c '{write}' "$@")" """)
    arguments, environment, folder = run(project, "GPU-1", "GPU-2")["said"]
    assert arguments[0] == "-c", "an option that an older Python may not have"
    assert environment["PYTHONSAFEPATH"] == "1"
    assert arguments[-3:] == ["--parts", "torch", "training"]
    assert "the caller's" not in environment.values()
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert folder == environment["TMPDIR"]
    for name in ("HF_HOME", "XDG_CACHE_HOME", "CUDA_CACHE_PATH", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert environment[name].startswith(f"{folder}/")
    assert not Path(folder).exists()


def test_a_process_of_the_project_runs_the_real_thing(project: Host) -> None:
    """A Python without torch says so, part by part."""
    link = project.path(PYTHON)
    link.parent.mkdir(parents=True)
    link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    link.chmod(0o755)
    found = run(project)
    assert found["torch"] == {"error": "ModuleNotFoundError: No module named 'torch'"}
    assert found["packages"]["peft"] == {"error": "ModuleNotFoundError: No module named 'peft'"}
    assert (found["training"], found["gpus"], found["unsloth"]) == (None, [], {"version": None})
    assert found["parts"] == ["torch", "training"]


@pytest.mark.skipif(os.geteuid() != 0, reason="to act as another user takes root")
def test_it_runs_as_the_owner_of_the_project(project: Host) -> None:
    install(project, """printf '{"user": %s, "group": %s}' "$(id -u)" "$(id -g)" """)
    assert run(project) == {"user": 0, "group": 0}
    os.chown(project.path(str(FOLDER)), 65534, 65534)
    assert run(project) == {"user": 65534, "group": 65534}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_an_owner_that_does_not_exist(project: Host) -> None:
    install(project, "exit 1")
    os.chown(project.path(str(FOLDER)), 61234, 61234)
    with pytest.raises(RequestError, match=r"cannot be run as user 61234, which this host does not have$"):
        run(project)


def test_gpus_are_watched_while_they_work(project: Host) -> None:
    install(
        project,
        """
        echo 'mlrig-verify: a kernel on GPU 1' >&2
        echo 'mlrig-verify: the speed of GPU 1' >&2
        sleep 1
        echo 'mlrig-verify: training in 4 bits' >&2
        sleep 0.5
        echo '{}'
        """,
    )
    seen: list[str] = []
    assert run(project, "GPU-first", "GPU-second", seen=seen) == {}
    assert set(seen) == {"GPU-second"}


SAYS_PART = "echo 'mlrig-verify: training in 4 bits' >&2"
LEFT_NOTHING = "while training in 4 bits, and left no result"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (f"{SAYS_PART}; kill -SEGV $$", f"the measuring was ended by SIGSEGV {LEFT_NOTHING}; its last line: none"),
        (
            f"{SAYS_PART}; echo 'cannot go on' >&2; exit 3",
            f"ended with status 3 {LEFT_NOTHING}; its last line: cannot go on",
        ),
        (f"{SAYS_PART}; echo 'no document'", f"ended with status 0 {LEFT_NOTHING}"),
        (f"{SAYS_PART}; echo '[]'", LEFT_NOTHING),
        ("echo '{}'; exit 1", "ended with status 1 while starting, and left no result"),
    ],
)
def test_a_crash_is_told(project: Host, script: str, says: str) -> None:
    install(project, script)
    with pytest.raises(SettingsError) as raised:
        run(project)
    assert says in str(raised.value)


def test_a_hang_is_ended_with_all_that_it_started(project: Host) -> None:
    install(project, f"{SAYS_PART}; sleep 600 & echo $! > {project.root}/child; wait")
    project.root.chmod(0o777)
    with pytest.raises(SettingsError) as raised:
        run(project, patience=0.7)
    assert str(raised.value) == (
        "the measuring did not end within 0.7 s, while training in 4 bits, and was killed; --timeout gives it more"
    )
    child = int(project.read("/child"))
    for _again in range(50):
        if not Path(f"/proc/{child}").exists() or "(zombie)" in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("a child lives on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_leaves_nothing(
    project: Host, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    install(project, f"echo $$ > {project.root}/self; sleep 600")
    before = signal.getsignal(number)
    wait = _verify_environment._wait

    def end(*arguments: Any) -> None:
        while not project.path("/self").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)
        wait(*arguments)

    monkeypatch.setattr(_verify_environment, "_wait", end)
    with pytest.raises(SystemExit) as raised:
        run(project)
    assert raised.value.code == 128 + number
    assert not Path(f"/proc/{project.read('/self').strip()}").exists()
    assert signal.getsignal(number) is before


def no_project(project: Host) -> None:
    project.path("/home").mkdir()


def no_environment(project: Host) -> None:
    project.path(str(FOLDER)).mkdir(parents=True)


def lost_python(project: Host) -> None:
    project.link(PYTHON, "/usr/bin/python3.99")


def no_program(project: Host) -> None:
    project.write(PYTHON, "").chmod(0o644)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (no_project, f"there is no project {FOLDER}: {ROLE}"),
        (no_environment, f"there is no Python environment in {FOLDER}, no .venv/bin/python: run uv sync there; {ROLE}"),
        (no_program, f"there is no Python environment in {FOLDER}, no .venv/bin/python: run uv sync there; {ROLE}"),
        (lost_python, f"{FOLDER}/.venv has lost its Python, /usr/bin/python3.99: run uv sync there, or ml_env again"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_project_that_cannot_be_run(project: Host, act: Any, says: str) -> None:
    act(project)
    with pytest.raises(RequestError) as raised:
        run(project)
    assert str(raised.value) == says


@pytest.mark.parametrize("closed", ["/home/rig", f"{FOLDER}/.venv"])
def test_a_project_of_someone_else(project: Host, closed: str) -> None:
    install(project, "exit 1")
    project.path(closed).chmod(0)
    who = os.geteuid()
    os.seteuid(who or 65534)
    try:
        with pytest.raises(RequestError) as raised:
            run(project)
    finally:
        os.seteuid(who)
        project.path(closed).chmod(0o700)
    assert str(raised.value) == f"{FOLDER} cannot be looked into: run this as its owner, or by sudo"


def test_a_python_that_cannot_start(project: Host) -> None:
    project.write(PYTHON, "#!/nowhere/python\n").chmod(0o755)
    with pytest.raises(SettingsError, match=rf"^cannot run {PYTHON}: No such file or directory$"):
        run(project)


def install_packages(project: Host, **packages: str) -> Path:
    """In the reach of a real Python."""
    folder = project.path("/packages")
    for name, text in packages.items():
        project.write(f"/packages/{name}/__init__.py", text)
        project.write(f"/packages/{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
    project.write(PYTHON, f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n').chmod(0o755)
    return folder


def test_the_document_is_all_that_is_printed(project: Host) -> None:
    """Libraries print what they like."""
    install_packages(project, torch="import os\nprint('welcome')\nos.write(1, b'noise')\nraise OSError('a\\n b ')\n")
    found = run(project)
    assert found["torch"] == {"error": "OSError: b"}
    assert json.dumps(found)


def test_no_bytecode_is_left_in_the_project(project: Host) -> None:
    """Neither by what is imported, nor by what is imported in a process of its own."""
    folder = install_packages(project, peft="", unsloth="")
    found = run(project)
    assert (found["packages"]["peft"], found["unsloth"]) == ({"version": "1.0"}, {"version": "1.0"})
    assert [*folder.rglob("__pycache__")] == []
