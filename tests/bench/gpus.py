"""What asking and setting eight GPUs costs on the simulated driver, beside `nvidia-smi -q -x` of the same machine.

Prints medians, and ratios to that command. All ways are measured in turn, round by round, so that a busy moment of
this machine meets them all. The simulated driver answers at once: what a real one takes comes on top, for each way.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_configuration import parse_request
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts import gather
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_run import run
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import SimulatedMachine

ROUNDS = 20
CARDS = ["rtx-3090", "rtx-4060-ti", "rtx-4090", "rtx-5060-ti", "rtx-5090", "h100-80gb-hbm3", "rtx-3060", "gtx-1080-ti"]
DEFAULTS = Path(__file__).parents[2] / "roles/gpu_tuning/defaults/main.yml"
ALL = {"match": "all", "compute_mode": "exclusive_process", "graphics_clocks": ["50%", "90%"], "memory_clocks": "reset"}


class Environment:
    def setenv(self, name: str, value: str) -> None:
        os.environ[name] = value


def measure(folder: Path) -> dict[str, list[float]]:
    """Seconds of each round, by way."""
    machine = SimulatedMachine(folder / "simgpu", *CARDS)
    machine.use_here(Environment())
    cards = yaml.safe_load(DEFAULTS.read_text())["gpu_tuning_cards"]
    request = parse_request({"cards": cards, "gpus": [ALL]}, purge=True, force=False)
    root = folder / "root"
    root.mkdir()

    def set_all() -> None:
        settings = run(request, check_mode=False, root=root).settings
        if settings.failed:
            raise SystemExit(f"bench: {settings.failed[0].reason}")

    ways: dict[str, Callable[[], object]] = {
        "nvidia-smi -q -x": lambda: machine.nvidia_smi("-q", "-x"),
        "nvidia_gpu: set every setting, and read it again": set_all,
        "nvidia_gpu: second run, which finds nothing to do": set_all,
        "nvidia_gpu_facts": lambda: gather(root),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _again in range(ROUNDS):
        machine.simgpu("reload")
        for record in root.glob("run/mlrig/gpu/*"):
            record.unlink()
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    first = next(iter(medians.values()))
    print(f"bench: {len(CARDS)} simulated GPUs, medians of {ROUNDS} rounds, Python {sys.version.split()[0]}")
    for name, median in medians.items():
        print(f"bench: {name:<50} {median * 1000:6.1f} ms  {median / first:5.1f} times nvidia-smi -q -x")


if __name__ == "__main__":
    main()
