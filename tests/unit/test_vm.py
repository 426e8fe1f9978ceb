# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the virtual machine of the tests does without a virtual machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.tests.hosts.vm import monitor
from ansible_collections.mlrig.workstation.tests.hosts.vm.disks import MIB, copy_into, empty_file
from ansible_collections.mlrig.workstation.tests.hosts.vm.machine import Machine


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param({}, id="nothing but a hole"),
        pytest.param({0: b"first"}, id="at the begin"),
        pytest.param({2 * MIB: b"middle", 4 * MIB - 4: b"last"}, id="between holes, and at the end"),
    ],
)
def test_a_file_system_is_copied_to_its_place(pieces: dict[int, bytes], tmp_path: Path) -> None:
    content, disk = empty_file(tmp_path / "content", 4), empty_file(tmp_path / "disk", 6)
    with content.open("r+b") as file:
        for place, piece in pieces.items():
            file.seek(place)
            file.write(piece)
    copy_into(disk, MIB, content)
    assert disk.read_bytes() == bytes(MIB) + content.read_bytes() + bytes(MIB)
    assert disk.stat().st_blocks == content.stat().st_blocks


@contextmanager
def qemu_that_says(path: Path, *lines: dict[str, object]) -> Iterator[list[str]]:
    """A monitor that greets, accepts the first request, and answers the second with these lines."""
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX) as server:
        # A relative path, as it may be too long otherwise.
        folder = Path.cwd()
        os.chdir(path.parent)
        server.bind(path.name)
        os.chdir(folder)
        server.listen()

        def serve() -> None:
            with server.accept()[0] as connection, connection.makefile("rw") as stream:
                for answers in ([{"QMP": {}}], [{"return": {}}], lines):
                    if "QMP" not in answers[0]:
                        asked.append(json.loads(stream.readline())["execute"])
                    stream.writelines(json.dumps(answer) + "\n" for answer in answers)
                    stream.flush()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield asked
        thread.join()


def test_the_monitor_answers_between_events_however_long_its_path_is(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    event = {"event": "RTC_CHANGE"}
    with qemu_that_says(folder / "monitor", event, {"return": "a table"}, event) as asked:
        assert monitor.execute(folder / "monitor", "info", what="network") == "a table"
    assert asked == ["qmp_capabilities", "info"]


def test_the_monitor_refuses(tmp_path: Path) -> None:
    with (
        qemu_that_says(tmp_path / "monitor", {"error": {"desc": "no such screen"}}),
        pytest.raises(monitor.MonitorError, match="no such screen"),
    ):
        monitor.execute(tmp_path / "monitor", "screendump")


def test_a_machine_never_takes_another_process_for_its_own(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.pid is None
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    assert machine.pid is None
    machine.cut_power()  # it would have killed this test


def test_cutting_the_power_ends_the_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    # It says that it runs, as its arguments are not to be seen from the first moment.
    program = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)", str(tmp_path / "pid")]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (tmp_path / "pid").write_text(str(process.pid))
        assert machine.pid == process.pid
        machine.cut_power()
        assert process.wait() == -9
    assert machine.pid is None
