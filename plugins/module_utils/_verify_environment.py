# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The measuring half of `mlrig verify`: `_verify_measure`, run by a project's own Python, as the project's owner."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ._settings import RequestError, SettingsError
from ._verify_measure import MARK
from ._verify_measure_gpu import LOAD

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PAUSE = 0.2
_TAIL = 1 << 16
# Not by its path: its folder would come before the project's own packages. Nor with these, whatever they are called.
_START = "import importlib, sys; sys.path.append(sys.argv.pop(1)); importlib.import_module(sys.argv.pop(1)).main()"


@dataclass(frozen=True)
class Project:
    """A project with a Python of its own. folder: as the user knows it. user: whom it is run as.

    That is its owner; unless this is not run by root, who alone can act as others.
    """

    folder: Path
    python: Path
    user: pwd.struct_passwd


@dataclass(frozen=True)
class Wanted:
    """gpus: the UUIDs that the project may use. patience: seconds for all of it."""

    parts: Sequence[str]
    gpus: Sequence[str]
    patience: float


def find_project(folder: Path, root: Path) -> Project:
    """Raises RequestError where there is no project, or no Python in it, or it may not be looked into."""
    try:
        return _find_project(folder, root)
    except PermissionError:
        raise RequestError(f"{folder} cannot be looked into: run this as its owner, or by sudo") from None


def _find_project(folder: Path, root: Path) -> Project:
    there = root / folder.relative_to("/")
    python = there / ".venv/bin/python"
    hint = "the role ml_env makes one; --project names another"
    if not there.is_dir():
        raise RequestError(f"there is no project {folder}: {hint}")
    if python.is_symlink() and not python.exists():
        raise RequestError(
            f"{folder}/.venv has lost its Python, {python.readlink()}: run uv sync there, or ml_env again"
        )
    if not os.access(python, os.X_OK):
        raise RequestError(
            f"there is no Python environment in {folder}, no .venv/bin/python: run uv sync there; {hint}"
        )
    number = there.stat().st_uid if os.geteuid() == 0 else os.geteuid()
    try:
        return Project(folder, python, pwd.getpwuid(number))
    except KeyError:
        raise RequestError(f"{folder} cannot be run as user {number}, which this host does not have") from None


def measure(project: Project, wanted: Wanted, watch: Callable[[str], None]) -> dict[str, Any]:
    """What it found. watch: is called with a GPU's UUID again and again while that GPU works hard.

    Raises SettingsError where it left nothing: killed, hanging, or an interpreter that cannot start.
    """
    folder = Path(tempfile.mkdtemp(prefix="mlrig-verify-"))
    try:
        os.chown(folder, project.user.pw_uid, project.user.pw_gid)
        # Outside of it, where the project's owner cannot reach what is read here.
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr, _leaving_nothing_behind():
            process = _start(project, wanted, folder, stdout, stderr)
            try:
                _wait(process, stderr, wanted, watch)
            finally:
                _end(process)
            return _read(process.returncode, stdout, stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _leaving_nothing_behind() -> Iterator[None]:
    """What would end this program raises instead, so that the measuring does not live on."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(
    project: Project, wanted: Wanted, folder: Path, stdout: IO[bytes], stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    library = Path(__file__).parent
    module = f"{library.name}._verify_measure"
    user = project.user
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    other = user.pw_uid != os.geteuid()
    try:
        return subprocess.Popen(
            [project.python, "-c", _START, library.parent, module, "--parts", *wanted.parts],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=_environment(user, wanted.gpus, folder),
            user=user.pw_uid if other else None,
            group=user.pw_gid if other else None,
            extra_groups=groups if other else None,
            start_new_session=True,
        )
    except OSError as error:
        raise SettingsError(f"cannot run {project.folder}/.venv/bin/python: {error.strerror}") from error


def _environment(user: pwd.struct_passwd, gpus: Sequence[str], folder: Path) -> dict[str, str]:
    """Nothing of the caller's, and nothing that is downloaded or left behind."""
    return {
        "PATH": _PATH,
        "LC_ALL": "C.UTF-8",
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",  # the option for it would stop a Python older than 3.11
        "XDG_CACHE_HOME": f"{folder}/cache",
        "CUDA_CACHE_PATH": f"{folder}/cuda",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": f"{folder}/huggingface",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _wait(process: subprocess.Popen[bytes], stderr: IO[bytes], wanted: Wanted, watch: Callable[[str], None]) -> None:
    deadline = time.monotonic() + wanted.patience
    while True:
        try:
            process.wait(_PAUSE)
        except subprocess.TimeoutExpired:
            pass
        else:
            return
        part = _part(_said(stderr))
        number = part.removeprefix(LOAD)
        if number != part:
            watch(wanted.gpus[int(number)])
        if time.monotonic() > deadline:
            raise SettingsError(
                f"the measuring did not end within {wanted.patience:g} s, while {part}, and was killed;"
                " --timeout gives it more"
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it started. One that hangs in the driver cannot be waited for, and is left behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        return


def _said(stderr: IO[bytes]) -> list[str]:
    # Through a position of its own: the one of this file is shared with the process that writes.
    size = os.fstat(stderr.fileno()).st_size
    tail = os.pread(stderr.fileno(), _TAIL, max(0, size - _TAIL))
    return [line.strip() for line in tail.decode(errors="replace").splitlines() if line.strip()]


def _part(lines: Sequence[str]) -> str:
    parts = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    return parts[-1] if parts else "starting"


def _read(code: int, stdout: IO[bytes], stderr: IO[bytes]) -> dict[str, Any]:
    stdout.seek(0)
    try:
        found = json.loads(stdout.read())
    except ValueError:
        found = None
    if code == 0 and isinstance(found, dict):
        return found
    lines = _said(stderr)
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    last = lines[-1] if lines and not lines[-1].startswith(MARK) else "none"
    raise SettingsError(f"the measuring {ended} while {_part(lines)}, and left no result; its last line: {last}")
