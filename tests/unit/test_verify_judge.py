# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How `mlrig verify` judges torch, the speed of GPUs, and a fine-tuning."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_gpus import training_gpus, why_left_alone
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_judge import judge
from ansible_collections.mlrig.workstation.plugins.module_utils._verify_judge_torch import runs_on

from .verify_host import AT_WORK, DEVICE, FLAGS, GPU, NO_GPU, bare, changed, checks, facts, measurements, troubles

OLD = {"driver_version": "570.86.16", "kernel_module": {"version": "570.86.16", "flavour": "open"}}
LOCKED = {"GPU-0": "graphics_clocks 900-1500 MHz"}
UNEXPLAINED = "the driver names no cause: look for other programs, heat of the memory, and the power cables"


def test_a_healthy_project() -> None:
    found = checks(measurements(DEVICE), facts(locks=LOCKED))
    assert len(found) == len(judge(measurements(DEVICE), facts(locks=LOCKED)))
    assert {check.status for check in found.values()} == {"passed"}
    assert [name for name in found if not name.startswith(("driver/", "gpu/"))] == [
        "torch/import",
        "torch/build",
        "torch/driver",
        "torch/devices",
        "torch/0/architecture",
        "torch/0/total_memory",
        "torch/0/kernel",
        "speed/0/product",
        "speed/0/product_spread",
        "speed/0/copy",
        "speed/0/copy_spread",
        "training/torch",
        "training/transformers",
        "training/peft",
        "training/trl",
        "training/bitsandbytes",
        "training/accelerate",
        "training/datasets",
        "training/steps",
        "training/layers_in_4_bits",
        "training/loss",
        "training/unsloth",
    ]
    assert found["speed/0/product"].actual == "62.1 TFLOP/s in bf16 (87%)"
    assert found["speed/0/copy"].actual == "851.0 GB/s (91%)"
    assert found["training/loss"].actual == "5.100 to 3.200"


def test_without_a_gpu_the_cpu_trains() -> None:
    unsloth = {"version": "2026.10.7", "error": "NotImplementedError: no accelerator"}
    found = checks(measurements(changes={"training/device": "cpu", "unsloth": unsloth}), bare())
    status = {name: check.status for name, check in found.items() if check.group != "driver"}
    skipped = {name for name, each in status.items() if each == "skipped"}
    assert skipped == {"torch/build", "torch/kernel", "speed/product", "speed/copy", "training/unsloth"}
    assert {status[name] for name in status.keys() - skipped} == {"passed"}
    assert found["speed/copy"].reason == NO_GPU
    assert found["training/unsloth"].reason == "it takes a GPU"


# What differs in what was measured, and in the facts; the check that fails, and what its reason has in it.
FAILURES: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (
        {"torch/cuda": None, "torch/version": "2.10.0+cpu"},
        {},
        "torch/build",
        "wrong wheel for the card: torch 2.10.0+cpu",
    ),
    (
        {"torch/cuda": "13.0", "torch/version": "2.11.0+cu130"},
        OLD,
        "torch/driver",
        "torch 2.11.0+cu130 is built for CUDA 13.0, which takes 580; bring a newer driver",
    ),
    (
        {"torch/architectures": ["sm_100", "sm_120"]},
        {},
        "torch/0/architecture",
        "wrong wheel for the card: torch 2.10.0+cu128",
    ),
    ({"gpus/0/total_memory": 5_000_000_000}, {}, "torch/0/total_memory", "less memory than the driver"),
    (
        {
            "gpus/0/kernel": {"error": "AcceleratorError: CUDA error: no kernel image is available"},
            "gpus/0/speed": {"error": "x"},
        },
        {},
        "torch/0/kernel",
        "the kernel did not run: AcceleratorError: CUDA error: no kernel image is available",
    ),
    ({"gpus/0/kernel/off": 0.2}, {}, "torch/0/kernel", "the GPU computes wrong: undo overclocking"),
    ({"gpus/0/kernel/off": None}, {}, "torch/0/kernel", "the GPU computes wrong"),
    ({"gpus/0/speed/product_tflops": [49.0, 49.1, 49.2]}, {}, "speed/0/product", UNEXPLAINED),
    ({"gpus/0/speed/copy_gb_per_s": [700.0, 700.1, 700.2]}, {}, "speed/0/copy", UNEXPLAINED),
    (
        {"gpus/0/speed": {"error": "OutOfMemoryError: CUDA out of memory"}},
        {},
        "speed/0/product",
        "it did not run: OutOfMem",
    ),
    (
        {"gpus/0/speed/product_tflops": [55.0, 62.1, 62.2]},
        {"locks": LOCKED},
        "speed/0/product_spread",
        "runs differ although clocks are locked (graphics_clocks 900-1500 MHz)",
    ),
    (
        {"packages/peft": {"error": "ImportError: cannot import name 'AffineQuantizedTensor'"}, "training": None},
        {},
        "training/peft",
        "ImportError: cannot import name 'AffineQuantizedTensor'",
    ),
    (
        {"training": {"error": "RuntimeError: no"}},
        {},
        "training/steps",
        "the fine-tuning did not run: RuntimeError: no",
    ),
    ({"training/losses": [5.0] * 19 + [1.0]}, {}, "training/loss", "the loss does not fall"),
    ({"training/losses": [5.0] * 18 + [None, None]}, {}, "training/loss", "the loss is not a number (NaN)"),
    ({"training/losses": [5.0, 4.0, 3.0, 2.0, 1.0, 0.5]}, {}, "training/steps", "it ended before its last step"),
    ({"training/layers_in_4_bits": 0}, {}, "training/layers_in_4_bits", "bitsandbytes quantized nothing"),
    ({"training/layers_in_4_bits": 7}, {}, "training/layers_in_4_bits", "did not quantize all layers"),
    ({"unsloth": {"version": "2026.10.7", "error": "ImportError: trl"}}, {}, "training/unsloth", "ImportError: trl"),
    ({"unsloth": {"error": "OSError: broken"}}, {}, "training/unsloth", "OSError: broken"),
]


@pytest.mark.parametrize(("changes", "about", "name", "says"), FAILURES)
def test_what_is_wrong_is_named(changes: dict[str, Any], about: dict[str, Any], name: str, says: str) -> None:
    found = troubles(measurements(DEVICE, changes=changes), facts(**about))
    assert says in (found[name] or "")
    # What is slow because nothing runs follows from it.
    assert {*found} - {"speed/0/product"} <= {name}


def test_torch_that_cannot_be_imported() -> None:
    broken = {"error": "ImportError: libcudart.so.12: cannot open shared object file"}
    changes = {"torch": broken, "gpus": [], "packages/torch": broken, "training": None}
    found = checks(measurements(DEVICE, changes=changes), facts())
    assert [name for name, check in found.items() if check.status == "failed"] == ["torch/import", "training/torch"]
    assert found["torch/import"].reason == broken["error"]
    assert (found["training/steps"].status, found["training/steps"].reason) == ("skipped", "it takes torch")
    assert found["speed/0/product"].reason == "torch does not find it"


def test_torch_that_finds_no_gpu_says_why() -> None:
    changes = {"torch/devices": 0, "torch/reason": "CUDA unknown error", "gpus": []}
    assert troubles(measurements(DEVICE, changes=changes), facts()) == {
        "torch/devices": "torch finds 0 of 1 GPUs: CUDA unknown error"
    }


def test_a_driver_that_does_not_answer_fails_once() -> None:
    about = bare("the NVIDIA driver is not loaded")
    assert [*troubles(measurements(), about)] == ["driver/answers"]


def test_unsloth_that_is_not_installed() -> None:
    check = checks(measurements(DEVICE, changes={"unsloth": {"version": None}}), facts())["training/unsloth"]
    assert (check.status, check.reason) == ("skipped", "it is not installed")


@pytest.mark.parametrize(
    ("flags", "capability", "fits"),
    [
        (FLAGS, "8.6", True),
        (FLAGS, "8.9", True),  # Ada runs the code of Ampere
        (FLAGS, "9.0", True),
        (FLAGS, "12.0", True),
        (FLAGS, "12.1", True),
        (FLAGS, "7.5", True),
        (FLAGS, "6.1", False),
        (FLAGS, "11.0", False),
        ("sm_89", "8.6", False),
        ("sm_90a", "9.0", True),
        ("sm_100a", "10.3", False),
        ("sm_100f", "10.3", True),
        ("compute_90", "9.0", False),
        ("", "8.6", False),
    ],
)
def test_the_architecture_rule(flags: str, capability: str, *, fits: bool) -> None:
    assert runs_on(flags.split(), capability) == fits


@pytest.mark.parametrize(
    ("told", "status"),
    [({"capability": "8.6"}, "passed"), ({"capability": "6.1"}, "failed"), ({"capability": None}, "skipped")],
)
def test_a_driver_that_does_not_tell_the_capability(told: dict[str, Any], status: str) -> None:
    about = facts(changed(GPU, {"compute_capability": None}))
    assert checks(measurements(changed(DEVICE, told)), about)["torch/0/architecture"].status == status


# The gates of the facts: a product at 70 %, a copy at 75 % of the table; and our own for runs with locked clocks.
@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("product_tflops", 0.701 * 71.2, "passed"),
        ("product_tflops", 0.699 * 71.2, "failed"),
        ("copy_gb_per_s", 0.751 * 936, "passed"),
        ("copy_gb_per_s", 0.749 * 936, "failed"),
    ],
)
def test_gates(key: str, value: float, status: str) -> None:
    found = checks(measurements(DEVICE, changes={f"gpus/0/speed/{key}": [value] * 3}), facts())
    assert found[f"speed/0/{key.partition('_')[0]}"].status == status


@pytest.mark.parametrize(("slowest", "status"), [(0.96, "passed"), (0.94, "failed")])
def test_the_spread_counts_only_with_locked_clocks(slowest: float, status: str) -> None:
    runs = [slowest * 60, 60.0, 60.0]
    found = measurements(DEVICE, changes={"gpus/0/speed/product_tflops": runs})
    assert checks(found, facts(locks=LOCKED))["speed/0/product_spread"].status == status
    check = checks(found, facts())["speed/0/product_spread"]
    assert (check.status, check.reason) == ("skipped", "its clocks are not locked, so runs may differ")


def test_a_card_that_is_in_no_table_is_measured_and_not_judged() -> None:
    other = changed(GPU, {"name": "NVIDIA GeForce RTX 3060"})
    check = checks(measurements(DEVICE), facts(other))["speed/0/product"]
    assert (check.status, check.actual) == ("skipped", "62.1 TFLOP/s in bf16")


@pytest.mark.parametrize(
    ("gpu", "at_work", "locks", "says"),
    [
        ({}, {"throttle_reasons": ["hw_thermal_slowdown"]}, {}, "it is too hot, and its hardware slows it down"),
        ({}, {"throttle_reasons": ["sw_power_cap"]}, {}, UNEXPLAINED),  # as every card does at full load
        ({"power_watts/limit": 280.0}, {}, {}, "its power limit is 280 of 350 W"),
        ({}, {}, LOCKED, "its clocks are locked (graphics_clocks 900-1500 MHz)"),
        ({"ecc/current": True}, {}, {}, "ECC is on"),
        ({}, {"throttle_reasons": []}, {}, UNEXPLAINED),
        ({}, {"throttle_reasons": None}, {}, UNEXPLAINED),
    ],
)
def test_why_a_gpu_is_slow(gpu: dict[str, Any], at_work: dict[str, Any], locks: dict[str, str], says: str) -> None:
    here = changed(GPU, gpu)
    load = {"GPU-0": [changed(here, {**AT_WORK, "throttle_reasons": [], **at_work})]}
    found = measurements(DEVICE, changes={"gpus/0/speed/product_tflops": [30.0] * 3})
    reason = checks(found, facts(here, load=load, locks=locks))["speed/0/product"].reason or ""
    assert reason.startswith("slower than a healthy card: ")
    assert says in reason


SCREEN = {"display/attached": True}
OTHER = {"index": 1, "uuid": "GPU-1"}
COMPUTING = {"processes": [{"pid": 31, "name": "/usr/bin/python3 train.py", "type": "compute", "memory_mib": 9}]}
DRAWING = {"processes": [{"pid": 9, "name": "/usr/lib/xorg/Xorg", "type": "graphics", "memory_mib": 9}]}


@pytest.mark.parametrize(
    ("changes", "uuids", "why"),
    [
        ([{}, OTHER], ["GPU-0", "GPU-1"], None),
        ([SCREEN], ["GPU-0"], None),
        ([SCREEN, OTHER], ["GPU-1"], "it has a screen, and others are for training"),
        ([{**SCREEN, **DRAWING}, {**OTHER, **SCREEN}], ["GPU-0", "GPU-1"], None),
        ([COMPUTING, OTHER], ["GPU-1"], "python3 train.py (31) computes on it now"),
        ([{"mig/current": True}, OTHER], ["GPU-1"], "it is divided (MIG)"),
        ([{"error": "GPU is lost"}, OTHER], ["GPU-1"], "it does not answer"),
        ([{"processes": None}], ["GPU-0"], None),
    ],
)
def test_which_gpus_are_measured(changes: list[dict[str, Any]], uuids: list[str], why: str | None) -> None:
    gpus = [changed(GPU, each) for each in changes]
    about = facts(*gpus)
    assert training_gpus(about) == uuids
    assert why_left_alone(gpus[0], gpus) == why


def test_measurements_go_to_the_gpus_that_were_given() -> None:
    about = facts(changed(GPU, SCREEN), changed(GPU, OTHER))
    found = checks(measurements(changed(DEVICE, {"kernel/off": 0.5})), about)
    assert (found["torch/0/kernel"].status, found["torch/1/kernel"].status) == ("skipped", "failed")
    assert found["speed/0/product"].reason == "it has a screen, and others are for training"
    assert found["speed/1/product"].status == "passed"
