"""The simulated driver in tests: a machine in a folder, for this process and for programs that it starts.

Loading the library makes the bare name libnvidia-ml.so.1, which nvidia-ml-py asks for, mean it in this process: from
then on the library is there, and a test that wants it missing must say so in another way.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Protocol

from . import simgpu

HERE = Path(__file__).resolve().parent
BUILT = HERE.parents[1] / ".cache" / "simgpu"


class Environment(Protocol):
    """What pytest's monkeypatch does."""

    def setenv(self, name: str, value: str) -> None: ...


@cache
def build() -> Path:
    """The folder of libnvidia-ml.so.1 and nvidia-smi."""
    subprocess.run([HERE / "build"], check=True)
    return BUILT


@cache
def load_library() -> ctypes.CDLL:
    return ctypes.CDLL(str(build() / "libnvidia-ml.so.1"))


class SimulatedMachine:
    """Has these cards, and the driver loaded. Whoever uses it may set what only root may set on a real one."""

    def __init__(self, folder: Path, *cards: str) -> None:
        self.folder = folder
        self.environment = {
            "SIMGPU": str(folder),
            "SIMGPU_ANY_USER": "1",
            "LD_LIBRARY_PATH": str(build()),
            "PATH": f"{build()}:{os.environ['PATH']}",
        }
        self.simgpu("machine", *cards)
        if cards:
            self.simgpu("load")

    def simgpu(self, *arguments: str | int) -> None:
        """Controls the machine, as the program of this name does."""
        simgpu.run([str(argument) for argument in arguments], self.folder)

    def use_here(self, environment: Environment) -> None:
        """From here on, NVML in this process is that of this machine."""
        load_library()
        for name, value in self.environment.items():
            environment.setenv(name, value)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def nvidia_smi(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(build() / "nvidia-smi"), *arguments, **environment)

    def read(self, name: str) -> str | None:
        """A value of the state folder, such as `live/0/power_limit`; None if there is none."""
        return simgpu.State(self.folder).read(name)

    def write(self, name: str, value: str) -> None:
        simgpu.State(self.folder).write(name, value)
