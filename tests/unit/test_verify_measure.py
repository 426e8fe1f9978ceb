# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The measuring half of `mlrig verify`, with a torch that only keeps count."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _verify_measure, _verify_measure_gpu
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_measure import MARK, apart, attempt, measure
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_measure_training import try_unsloth

GIB = 1 << 30
MS_OF_ONE = 10.0


def seen() -> str:
    """The GPU that torch sees."""
    return os.environ["CUDA_VISIBLE_DEVICES"]


class FakeCuda:
    """Every piece of work takes so long."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.done = 0

    def get_device_properties(self, index: int) -> Any:
        assert index == 0
        return SimpleNamespace(name=f"card {seen()}", major=8, minor=6, total_memory=24 * GIB)

    def mem_get_info(self) -> tuple[int, int]:
        return self.free, 24 * GIB

    def synchronize(self) -> None:
        time.sleep(0.001)

    def Event(self, *, enable_timing: bool) -> Any:  # noqa: N802 - as torch calls it
        assert enable_timing
        cuda = self

        class Event:
            at = 0

            def record(self) -> None:
                self.at = cuda.done

            def elapsed_time(self, end: Event) -> float:
                return (end.at - self.at) * MS_OF_ONE

        return Event()


class FakeTorch:
    bfloat16, uint8 = "bfloat16", "uint8"

    def __init__(self, free: int = 24 * GIB) -> None:
        self.cuda = FakeCuda(free)

    def randn(self, *_size: int, **_options: Any) -> object:
        return object()

    def empty_like(self, _tensor: object) -> Any:
        return self.tensor()

    def ones(self, _size: int, **_options: Any) -> Any:
        return self.tensor()

    def tensor(self) -> Any:
        return SimpleNamespace(copy_=lambda _source: self.work())

    def mm(self, *_sides: object, out: object) -> None:
        assert out
        self.work()

    def work(self) -> None:
        assert seen() in ("GPU-a", "GPU-b"), "not on one GPU alone"
        self.cuda.done += 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verify_measure_gpu, "_WARM_UP", 0.01)
    monkeypatch.setattr(_verify_measure, "_PATIENCE", 5.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")


def devices(torch: FakeTorch, *gpus: str, speed: bool = True) -> list[dict[str, Any]]:
    return _verify_measure_gpu.read_devices(torch, apart, gpus or ("GPU-a",), speed=speed)


def test_speed_counts_every_operation_and_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verify_measure_gpu, "_kernel", lambda *_: {"off": 0.0})
    [gpu] = devices(FakeTorch())
    assert (gpu["name"], gpu["capability"], gpu["total_memory"]) == ("card GPU-a", "8.6", 24 * GIB)
    # 2 x 8192^3 operations, and a GiB read and written, in 10 ms
    assert gpu["speed"]["product_tflops"] == pytest.approx([109.951] * 7, rel=1e-4)
    assert gpu["speed"]["copy_gb_per_s"] == pytest.approx([214.748] * 7, rel=1e-4)


@pytest.mark.parametrize(("free", "size"), [(24 * GIB, GIB), (2 * GIB, GIB // 2), (GIB // 2, GIB // 4)])
def test_a_copy_leaves_room(monkeypatch: pytest.MonkeyPatch, free: int, size: int) -> None:
    monkeypatch.setattr(_verify_measure_gpu, "_kernel", lambda *_: {"off": 0.0})
    [gpu] = devices(FakeTorch(free=free))
    assert gpu["speed"]["copy_gb_per_s"] == pytest.approx([2 * size / 1e7] * 7)


def refuse() -> None:
    raise RuntimeError("CUDA error: unspecified launch failure\nadvice\n")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (refuse, "RuntimeError: CUDA error: unspecified launch failure"),
        (die, "the process that asked the NVIDIA driver died while a kernel on GPU 0"),
        (lambda: time.sleep(60), "the NVIDIA driver did not answer within 0.5 s, while a kernel on GPU 0"),
    ],
    ids=["error", "death", "hang"],
)
def test_a_gpu_that_fails_keeps_no_other_from_being_measured(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], says: str
) -> None:
    """As CUDA does it: after an error a process can use none of its GPUs."""
    broken: list[str] = []

    def kernel(_torch: object) -> dict[str, Any]:
        assert not broken
        if seen() == "GPU-a":
            broken.append(seen())
            act()
        return {"off": 0.0}

    monkeypatch.setattr(_verify_measure, "_PATIENCE", 0.5 if "0.5 s" in says else 5.0)
    monkeypatch.setattr(_verify_measure_gpu, "_kernel", kernel)
    first, second = devices(FakeTorch(), "GPU-a", "GPU-b")
    assert first["kernel"] == {"error": says}
    assert "speed" not in first
    assert second["kernel"] == {"off": 0.0}
    assert len(second["speed"]["product_tflops"]) == 7
    assert seen() == "GPU-a,GPU-b", "the fine-tuning sees all that were given"


def test_speed_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verify_measure_gpu, "_kernel", lambda *_: {"off": 0.0})
    assert "speed" not in devices(FakeTorch(), speed=False)[0]


def fail(error: Exception) -> dict[str, Any]:
    raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("first\nlast \n"), "ImportError: last"),
        (ValueError(), "ValueError: no message"),
        (KeyError("name"), "KeyError: 'name'"),
        (
            # As torch 2.10 says it.
            RuntimeError(
                "CUDA error: no kernel image is available for execution on the device\n"
                "Search for `cudaErrorNoKernelImageForDevice' in CUDA's documentation for more information.\n"
                "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
                "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
            ),
            "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        ),
    ],
)
def test_the_telling_line_of_an_error(capsys: pytest.CaptureFixture[str], error: Exception, said: str) -> None:
    assert attempt("importing x", lambda: fail(error)) == {"error": said}
    assert capsys.readouterr().err == f"{MARK}importing x\n"


def install_torch(packages: Path, monkeypatch: pytest.MonkeyPatch, init: str) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (packages / "torch.py").write_text(
        "import os\n"
        "from types import SimpleNamespace\n"
        "asked = []\n"
        f"def init(): {init}\n"
        "__version__, version = '2.10.0+cu128', SimpleNamespace(cuda='12.8')\n"
        "_C = SimpleNamespace(_cuda_getArchFlags=lambda: asked.append(1) or 'sm_80 sm_86')\n"
        "cuda = SimpleNamespace(device_count=lambda: 1, init=init)\n"
    )


@pytest.mark.parametrize(
    ("init", "devices", "reason"),
    [
        ("pass", 1, None),
        ("raise RuntimeError('the driver is too old\\nadvice')", 1, "the driver is too old"),
        ("raise LookupError('')", 1, "LookupError"),
        ("os.kill(os.getpid(), 9)", 0, "the process that asked the NVIDIA driver died while asking torch for CUDA"),
    ],
)
def test_torch_is_asked_apart(
    packages: Path, monkeypatch: pytest.MonkeyPatch, init: str, devices: int, reason: str | None
) -> None:
    install_torch(packages, monkeypatch, init)
    found = measure(("training",), 1.0, 1)["torch"]
    assert (found["version"], found["cuda"], found["devices"], found["reason"]) == (
        *("2.10.0+cu128", "12.8"),
        *(devices, reason),
    )
    assert found["architectures"] == (["sm_80", "sm_86"] if devices else [])
    assert sys.modules["torch"].asked == [], "else no other process could use CUDA"
    monkeypatch.delitem(sys.modules, "torch")


def test_packages_are_imported_for_the_training_only() -> None:
    found = measure(("torch",), 1.0, 1)
    assert {"packages", "unsloth"}.isdisjoint(found)
    assert (found["parts"], found["training"]) == (["torch"], None)
    assert json.dumps(found)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def install_unsloth(packages: Path, text: str) -> None:
    (packages / "unsloth").mkdir()
    (packages / "unsloth/__init__.py").write_text(text)
    (packages / "unsloth-2026.10.7.dist-info").mkdir()
    (packages / "unsloth-2026.10.7.dist-info/METADATA").write_text("Name: unsloth\nVersion: 2026.10.7\n")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("print('welcome')", None),
        ("raise NotImplementedError('it takes\\na GPU')", "a GPU"),
        ("import os; os._exit(3)", "it ended with status 3"),
    ],
)
def test_unsloth_is_imported_in_a_process_of_its_own(packages: Path, text: str, error: str | None) -> None:
    install_unsloth(packages, text)
    found = try_unsloth()
    assert (found["version"], found.get("error")) == ("2026.10.7", error)
    assert "unsloth" not in sys.modules


def test_unsloth_that_is_not_installed(packages: Path) -> None:
    assert list(packages.iterdir()) == []
    assert try_unsloth() == {"version": None}
