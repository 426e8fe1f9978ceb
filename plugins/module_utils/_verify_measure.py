# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of `mlrig verify` runs in the project's own environment: it measures, and judges nothing.

Run by the project's Python, which has not Ansible, and as the project's owner. Prints one JSON document. Each part that
fails says why in place of what it measures, and keeps no other from being measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from typing import Any

from ._settings import SettingsError
from ._verify_measure_gpu import read_devices, telling_line
from ._verify_measure_training import STEPS, train, try_unsloth
from ._watchdog import call_guarded

# What stands before the name of each part on stderr, so that whoever waits knows what hangs or died.
MARK = "mlrig-verify: "
PARTS = ("torch", "speed", "training")
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate", "datasets")

# How long one GPU may take for one part, in seconds.
_PATIENCE = 120.0

Measurements = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    # Libraries print what they like, and nothing of it belongs into the document.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as document:
        os.dup2(2, 1)
        document.write(json.dumps(measure(options.parts, options.learning_rate, options.steps)))


def measure(parts: Sequence[str], learning_rate: float, steps: int) -> Measurements:
    """The parts that are asked for; the build of torch always."""
    found: Measurements = {
        "parts": list(parts),
        "python": sys.version.partition(" ")[0],
        "torch": attempt("importing torch", _torch),
        "gpus": [],
        "training": None,
    }
    if "error" not in found["torch"] and found["torch"]["devices"] and {"torch", "speed"} & set(parts):
        given = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        found["gpus"] = read_devices(importlib.import_module("torch"), apart, given, speed="speed" in parts)
    if "training" in parts:
        found["packages"] = {name: attempt(f"importing {name}", _importing(name)) for name in PACKAGES}
        if not any("error" in package for package in found["packages"].values()):
            found["training"] = attempt("training in 4 bits", lambda: train(learning_rate, steps))
        found["unsloth"] = attempt("importing unsloth", try_unsloth)
    return found


def attempt(part: str, read: Callable[[], Measurements]) -> Measurements:
    """What it reads; or the line that says why it could not."""
    sys.stderr.write(f"{MARK}{part}\n")
    sys.stderr.flush()
    return _try(read)


def apart(part: str, read: Callable[[], Measurements]) -> Measurements:
    """As `attempt`, in a process of its own: after many an error of CUDA a process can use no GPU any more.

    Nothing asks CUDA before, because what it has begun cannot be used in another process.
    """

    def work(doing: Callable[[str], None]) -> Measurements:
        doing(part)
        return _try(read)

    return attempt(part, partial(call_guarded, work, patience=_PATIENCE))


def _try(read: Callable[[], Measurements]) -> Measurements:
    try:
        return read()
    except SettingsError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a library raises is what is wanted
        return {"error": f"{type(error).__name__}: {telling_line(str(error)) or 'no message'}"}


def _torch() -> Measurements:
    torch = importlib.import_module("torch")
    build = {"version": str(torch.__version__), "cuda": torch.version.cuda}
    told = apart("asking torch for CUDA", partial(_cuda, torch))
    return {**build, "architectures": [], "devices": 0, "reason": told.pop("error", None), **told}


def _cuda(torch: Any) -> Measurements:
    return {
        # get_arch_list is empty without a GPU
        "architectures": (getattr(torch._C, "_cuda_getArchFlags", str)() or "").split(),  # noqa: SLF001 - no other tells
        "devices": torch.cuda.device_count(),
        "reason": _reason(torch),
    }


def _reason(torch: Any) -> str | None:
    """Why torch cannot use the GPUs, in its own words."""
    if torch.version.cuda is None:
        return None
    try:
        torch.cuda.init()
    except Exception as error:  # noqa: BLE001 - torch has types of its own for it
        return next(iter(str(error).strip().splitlines()), type(error).__name__)
    return None


def _importing(name: str) -> Callable[[], Measurements]:
    def read() -> Measurements:
        importlib.import_module(name)
        return {"version": metadata.version(name)}

    return read
