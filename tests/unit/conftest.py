# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small host in a temporary folder: what the engines read and write, as files."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_attributes import KernelAttributes


class Host:
    """A root folder. Files are named by their path on the host."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def write_all(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            self.write(name, content)

    def link(self, name: str, target: str) -> Path:
        file = self.path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        return file

    def read(self, name: str) -> str:
        return self.path(name).read_text(encoding="utf-8", errors="surrogateescape")

    def texts(self) -> dict[str, bytes]:
        """All files and what they hold, to tell whether anything changed."""
        return {str(file): file.read_bytes() for file in sorted(self.root.rglob("*")) if file.is_file()}

    @property
    def attributes(self) -> KernelAttributes:
        return KernelAttributes(self.root)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can hold anything new."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Runs an act in a process that dies, as if by SIGKILL, at its nth change of a file; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            changes = ("os.rename", "os.chmod", "os.chown", "os.mkdir", "os.remove", "os.truncate", "subprocess.Popen")
            if event in changes or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
                count += 1
                if count == step:
                    os._exit(9)

        sys.addaudithook(watch)
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def open_host() -> Iterator[Host]:
    """A host whose files other users can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Host(Path(folder))


@pytest.fixture
def as_nobody() -> Callable[[Callable[[], object]], str]:
    """Runs a function as a user without rights, and gives the message of the error that it raised, or nothing."""

    def message_of(act: Callable[[], object]) -> str:
        try:
            act()
        except Exception as error:  # noqa: BLE001
            return str(error)
        return ""

    def run(act: Callable[[], object]) -> str:
        if os.geteuid() != 0:
            return message_of(act)
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, message_of(act).encode())
            os._exit(0)
        os.close(writing)
        os.wait()
        with os.fdopen(reading) as answer:
            return answer.read()

    return run


@dataclass
class Loop:
    """A disk of this machine's kernel, which is a file."""

    host: Host
    device: str


@pytest.fixture
def loop(host: Host) -> Iterator[Loop]:
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("a loop device needs root")
    image = host.write("/image", b"")
    os.truncate(image, 512 << 20)
    done = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine has no loop devices: {done.stderr.strip()}")
    device = done.stdout.strip()
    host.write("/etc/fstab", "")
    host.link("/sys", "/sys")
    host.link("/proc", "/proc")
    top = host.root.parts[1]
    host.link(f"/{top}", f"/{top}")
    host.path("/dev").mkdir(exist_ok=True)
    os.mknod(host.path(device), 0o60600, Path(device).stat().st_rdev)
    yield Loop(host, device)
    subprocess.run(["losetup", "--detach", device], check=True)
