# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that may never return. A hang is waited for; nothing else here depends on how fast the machine is."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _watchdog
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    RequestError,
    Setting,
    Settings,
    SettingsError,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._watchdog import Doing, call_guarded

# How long a test waits for what should be there at once.
FOR_EVER = 120


def hang(_doing: Doing) -> None:
    while True:
        signal.pause()


def raising(error: BaseException) -> Callable[[Doing], None]:
    def work(_doing: Doing) -> None:
        raise error

    return work


@pytest.fixture
def left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """No signal ends a child, as of one that a driver keeps; the signals that were sent."""
    sent: list[tuple[int, int]] = []
    kill = os.kill
    monkeypatch.setattr(_watchdog.os, "kill", lambda pid, number: sent.append((pid, number)))
    yield sent
    for pid in {pid for pid, _signal in sent}:
        kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def run_script(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program that uses call_guarded; it gets a file for its notes as its argument."""
    script = folder / "script.py"
    head = """
        import os, signal, sys
        from ansible_collections.mlrig.workstation.plugins.module_utils import _watchdog
        from ansible_collections.mlrig.workstation.plugins.module_utils._watchdog import call_guarded
        """
    script.write_text(textwrap.dedent(head) + textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, script, folder / "notes"],
        stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        capture_output=True,
        text=True,
        check=False,
        timeout=FOR_EVER,
    )


@pytest.mark.parametrize("result", [None, 7, "text", {"a": [1, (2, "b")]}, "x" * 3_000_000])
def test_what_work_returns(result: object) -> None:
    assert call_guarded(lambda _: result) == result


def test_records_are_returned() -> None:
    settings = Settings()
    settings.compare("id", "live", "1", "2", evidence="read")
    assert call_guarded(lambda _: settings).records == [Setting("id", "live", "1", "2", "changed", None, "read")]


def test_work_is_done_by_another_process() -> None:
    changed: list[int] = []

    def work(_doing: Doing) -> int:
        changed.append(1)
        return os.getpid()

    assert call_guarded(work) != os.getpid()
    assert changed == []


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (SettingsError("no bulb"), SettingsError, "no bulb"),
        (RequestError("no lamp"), RequestError, "no lamp"),
        (InputError("lamp", "must be on or off", 7), RequestError, "lamp must be on or off; got: 7"),
        (OSError(5, "Input/output error", "/dev/lamp"), SettingsError, "[Errno 5] Input/output error: '/dev/lamp'"),
    ],
    ids=["settings", "request", "input", "operating system"],
)
def test_errors_for_the_user(raised: Exception, kind: type[Exception], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        call_guarded(raising(raised))
    assert caught.type is kind
    assert str(caught.value) == message


@pytest.mark.parametrize("raised", [ZeroDivisionError("by nothing"), KeyboardInterrupt(), SystemExit(3)])
def test_a_mistake_of_ours_is_not_hidden(raised: BaseException) -> None:
    with pytest.raises(RuntimeError, match=r"in raising|in work") as caught:
        call_guarded(raising(raised))
    assert type(raised).__name__ in str(caught.value)


def test_a_hang_names_the_step() -> None:
    def work(doing: Doing) -> None:
        doing("reading GPU 0")
        doing("setting GPU 1")
        hang(doing)

    with pytest.raises(SettingsError) as caught:
        call_guarded(work, patience=1.5)
    assert str(caught.value) == "the NVIDIA driver did not answer within 1.5 s, while setting GPU 1"


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(0)])
def test_death_names_the_step(end: Callable[[], None]) -> None:
    def work(doing: Doing) -> None:
        doing("reading GPU 0")
        end()

    with pytest.raises(SettingsError) as caught:
        call_guarded(work)
    assert str(caught.value) == "the process that asked the NVIDIA driver died while reading GPU 0"


def test_death_before_the_first_step() -> None:
    with pytest.raises(SettingsError, match=r"died while starting$"):
        call_guarded(lambda _: os._exit(1))


def test_each_step_has_the_whole_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Waiting:
        def __init__(self, connection: Connection[Any, Any]) -> None:
            self.connection = connection
            self.recv, self.close = connection.recv, connection.close

        def poll(self, patience: float) -> bool:
            waits.append(patience)
            return self.connection.poll(FOR_EVER)

    def pipe(*, duplex: bool) -> tuple[Waiting, Connection[Any, Any]]:
        ours, childs = Pipe(duplex=duplex)
        return Waiting(ours), childs

    def work(doing: Doing) -> str:
        for step in range(5):
            doing(f"step {step}")
            time.sleep(0.05)
        return "done"

    monkeypatch.setattr(_watchdog, "Pipe", pipe)
    assert call_guarded(work, patience=0.1) == "done"
    assert waits == [0.1] * 6


def test_a_child_that_cannot_be_killed_is_not_waited_for(left_behind: list[tuple[int, int]]) -> None:
    with pytest.raises(SettingsError, match="did not answer"):
        call_guarded(hang, patience=0.1)
    [(pid, number)] = left_behind
    assert number == signal.SIGKILL
    assert Path(f"/proc/{pid}").exists()


def test_a_child_that_hangs_is_killed() -> None:
    ends_with_the_child, held_by_the_child = os.pipe()
    with pytest.raises(SettingsError, match="did not answer"):
        call_guarded(hang, patience=0.1)
    os.close(held_by_the_child)
    assert select.select([ends_with_the_child], [], [], FOR_EVER)[0] == [ends_with_the_child]
    os.close(ends_with_the_child)


def test_a_child_that_is_left_behind_holds_nobody_else(tmp_path: Path) -> None:
    """Whoever reads what the caller says, such as SSH, would wait for the child too."""
    ended = run_script(
        """
        def work(doing):
            doing(f"hanging {os.getpid()}")
            signal.pause()

        _watchdog.os = type("", (), {**vars(os), "kill": staticmethod(lambda *_: None)})
        try:
            call_guarded(work, patience=3)
        except _watchdog.SettingsError as error:
            print(error, flush=True)
        """,
        tmp_path,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    pid = int(ended.stdout.rpartition(" ")[2])
    try:
        descriptors = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in (0, 1, 2)]
    finally:
        os.kill(pid, signal.SIGKILL)
    assert descriptors == [os.devnull] * 3


def test_what_the_driver_prints_does_not_mix_with_what_the_caller_says(tmp_path: Path) -> None:
    ended = run_script(
        """
        print("ours", flush=True)
        call_guarded(lambda doing: (print("noise", flush=True), os.write(2, b"noise"), sys.stdin.read()))
        """,
        tmp_path,
    )
    assert (ended.stdout, ended.stderr) == ("ours\n", "")


def test_what_the_caller_said_before_is_said_once(tmp_path: Path) -> None:
    ended = run_script("print('before'); call_guarded(lambda doing: None); print('after')", tmp_path)
    assert (ended.stdout, ended.stderr) == ("before\nafter\n", "")


def test_a_child_never_goes_on_as_a_second_caller(tmp_path: Path) -> None:
    """Even when it cannot send what work returned."""
    ended = run_script(
        """
        caller = os.getpid()
        try:
            call_guarded(lambda doing: (lambda: "not picklable"))
        except Exception as error:
            with open(sys.argv[1], "a") as notes:
                notes.write(f"{os.getpid() == caller} ")
        """,
        tmp_path,
    )
    assert ended.stderr == ""
    assert (tmp_path / "notes").read_text() == "True "


def test_a_caller_that_ends_takes_no_harm(tmp_path: Path) -> None:
    """A child whose caller is gone ends by itself, without a word."""
    ended = run_script(
        """
        import json, time
        reading, writing = os.pipe()
        def work(doing):
            while os.getppid() == caller:
                time.sleep(0.01)
            try:
                doing("nobody listens")
            except OSError as error:
                os.write(writing, type(error).__name__.encode())
                raise
        middle = os.fork()
        if middle == 0:
            caller = os.getpid()
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            call_guarded(work)
        os.close(writing)
        os.waitpid(middle, 0)
        said = os.read(reading, 100).decode()
        print(json.dumps([said, os.read(reading, 100).decode()]))
        """,
        tmp_path,
    )
    assert (json.loads(ended.stdout), ended.stderr) == (["BrokenPipeError", ""], "")
