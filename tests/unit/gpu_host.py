# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small host with simulated GPUs (tests/simgpu), and the two doors of the engine that sets them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pynvml
import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _gpu_program, _gpu_run, _program
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_configuration import parse_request
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_run import GpuRun, run
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Setting, Settings, run_state_module
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import SimulatedMachine

from .conftest import Host

# What the simulated driver keeps of each setting.
TUNED = ("persistence_mode", "compute_mode", "power_limit", "locked_graphics_clocks", "locked_memory_clocks")
# Long enough for all but a hang, however busy the machine is; a hang is waited for.
PATIENCE = 30.0
SHORT = 1.0

BOOT_ID = "/proc/sys/kernel/random/boot_id"
VERSION = "/proc/driver/nvidia/version"
DRIVER = "/sys/bus/pci/drivers/nvidia"
SUSPENDS = "/sys/power/suspend_stats/success"


@dataclass
class FakeModule:
    """What a module told Ansible."""

    check_mode: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    failure: str | None = None
    warnings: list[str] = field(default_factory=list)

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)

    def exit_json(self, **result: Any) -> None:
        self.result = result

    def fail_json(self, msg: str, **result: Any) -> None:
        self.failure, self.result = msg, result or None


class Intercepted:
    """pynvml, of which some functions do something before."""

    def __init__(self, nvml: Any, acts: Mapping[str, Callable[[], object]]) -> None:
        self.nvml = nvml
        self.acts = acts

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.nvml, name)
        if name not in self.acts:
            return function

        def act_first(*arguments: object) -> object:
            self.acts[name]()
            return function(*arguments)

        return act_first


class GpuHost:
    """A host; `start` gives it cards and their driver. GPUs are named by their index, which is that of their slot."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.monkeypatch = monkeypatch
        self.machine = SimulatedMachine(host.path("/var/lib/simgpu"))
        host.write_all({BOOT_ID: "59c0-first\n", SUSPENDS: "0\n"})

    def start(self, *cards: str) -> None:
        self.machine = SimulatedMachine(self.machine.folder, *cards)
        self.machine.use_here(self.monkeypatch)
        for slot in range(len(cards)):
            device = f"/sys/bus/pci/devices/{self.attribute(slot, 'pci_address')}"
            self.host.write_all({f"{device}/class": "0x030000\n", f"{device}/vendor": "0x10de\n"})
        self.host.path(DRIVER).mkdir(parents=True)
        self.host.write(VERSION, "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.71.05\n")

    def simgpu(self, *arguments: str | int) -> None:
        self.machine.simgpu(*arguments)

    def attribute(self, slot: int, name: str) -> str:
        value: str | None = self.machine.read(f"gpus/{slot}/{name}")
        if value is None:
            raise LookupError(name)
        return value

    def uuid(self, slot: int) -> str:
        return self.attribute(slot, "uuid")

    def live(self, slot: int = 0) -> dict[str, str]:
        """What the driver was told."""
        found = {name: self.machine.read(f"live/{slot}/{name}") for name in TUNED}
        return {name: value for name, value in found.items() if value is not None}

    def recorded(self, slot: int = 0) -> dict[str, str]:
        """What the engine has on record, whether it counts or not."""
        settings: dict[str, str] = json.loads(self.host.read(f"/run/mlrig/gpu/{self.uuid(slot)}.json"))["settings"]
        return settings

    def replace_driver(self) -> None:
        """A driver that is loaded again has other files."""
        old = self.host.path(DRIVER)
        new = old.with_name("loaded-again")
        new.mkdir()
        old.rmdir()
        new.rename(old)

    def remove_library(self) -> None:
        def open_library(name: str) -> None:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")

        self.monkeypatch.setattr(pynvml, "nvmlLib", None)
        self.monkeypatch.setattr(pynvml, "CDLL", open_library)

    def intercept(self, function: str, act: Callable[[], object]) -> None:
        """Have something happen when the engine is about to call a function of NVML."""
        before = _gpu_run.connect

        @contextmanager
        def connect() -> Iterator[Any]:
            with before() as nvml:
                yield Intercepted(nvml, {function: act})

        self.monkeypatch.setattr(_gpu_run, "connect", connect)

    def outcome(
        self, gpus: list[Any], *, check_mode: bool = False, patience: float = PATIENCE, **options: Any
    ) -> GpuRun:
        flags = {name: options.pop(name, False) for name in ("purge", "force")}
        request = parse_request({"gpus": gpus, **options}, **flags)
        return run(request, check_mode=check_mode, root=self.host.root, patience=patience)

    def run(self, *gpus: Any, **options: Any) -> Settings:
        return self.outcome(list(gpus), **options).settings

    def records(self, settings: Settings) -> dict[str, Setting]:
        """By the GPU's index and the name of the setting: `0/power_limit`."""
        indexes = {self.machine.read(f"gpus/{slot}/uuid") or f"slot {slot}": str(slot) for slot in range(8)}
        found = {}
        for record in settings.records:
            of, _slash, name = record.id.rpartition("/")
            found[f"{indexes.get(of, of.removeprefix('GPU '))}/{name}"] = record
        return found

    def module(self, *gpus: Any, check_mode: bool = False, **options: Any) -> FakeModule:
        module = FakeModule(check_mode)
        run_state_module(module, lambda: self.run(*gpus, check_mode=check_mode, **options))
        return module

    def configure(self, *gpus: Any, **options: Any) -> None:
        self.host.write("/etc/mlrig/gpu.json", json.dumps({"gpus": gpus, **options}))

    def mlrig(self, *arguments: str, patience: float = PATIENCE) -> int:
        """The exit status of the program."""
        with self.monkeypatch.context() as patch:
            patch.setattr(_gpu_program, "run", partial(run, patience=patience))
            status: int = _program.main(arguments, root=self.host.root)
        return status
