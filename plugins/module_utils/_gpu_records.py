# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was set on a GPU, kept under /run: a driver does not tell which clocks are locked.

A record counts as long as its epoch lasts. What ends the epoch may have ended the settings too. Which settings were
touched is known beyond it, until the next boot: what is still there can then be given back to the driver.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ._files import read_if_there, refuse_if_unwritable, replace
from ._loaded_driver import KERNEL_MODULE

FOLDER = "run/mlrig/gpu"


@dataclass(frozen=True)
class Epoch:
    """The time during which a driver remembers what it was told.

    driver_load: changes when the kernel module is loaded again.
    suspends: how often the machine has slept. asleep: for how many seconds in all; also hibernation counts here.
    """

    boot_id: str | None
    driver_load: str | None
    suspends: str | None
    asleep: int
    driver_version: str


def read_epoch(root: Path, driver_version: str) -> Epoch:
    return Epoch(
        _line(root / "proc/sys/kernel/random/boot_id"),
        " ".join(map(_identity, (root / "sys/bus/pci/drivers/nvidia", root / KERNEL_MODULE))),
        _line(root / "sys/power/suspend_stats/success"),
        round(time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)),
        driver_version,
    )


def _line(path: Path) -> str | None:
    text = read_if_there(path)
    return text.strip() if text is not None else None


def _identity(path: Path) -> str:
    """A driver's files are made anew when it is loaded, and the kernel numbers them on."""
    try:
        status = path.stat()
    except OSError:
        return "-"
    return f"{status.st_dev}:{status.st_ino}"


@dataclass(frozen=True)
class GpuRecord:
    """What is known of one GPU.

    settings: what was set in this epoch, as texts by the name of the setting.
    touched: the settings that are not the driver's own any more, or were about to be changed when a run was killed.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    touched: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GpuRecords:
    """One file for each GPU, named by its UUID."""

    root: Path
    epoch: Epoch

    def load(self, uuid: str) -> GpuRecord:
        try:
            record = json.loads(read_if_there(self._path(uuid)) or "{}")
            settings = record["settings"] if record["epoch"] == asdict(self.epoch) else {}
            return GpuRecord({str(name): str(text) for name, text in settings.items()}, frozenset(record["touched"]))
        except (ValueError, AttributeError, KeyError, TypeError):
            return GpuRecord()  # not as this file is written: not to be relied on

    def begin(self, uuid: str, names: Collection[str]) -> None:
        """Before settings are touched, so that a run killed in between leaves no record that is not true."""
        found = self.load(uuid)
        kept = {name: text for name, text in found.settings.items() if name not in names}
        self._write(uuid, GpuRecord(kept, found.touched.union(names)))

    def finish(self, uuid: str, settings: Mapping[str, str], given_back: Collection[str]) -> None:
        """settings: what was set; given_back: which of it is the driver's own again."""
        found = self.load(uuid)
        self._write(uuid, GpuRecord({**found.settings, **settings}, found.touched.difference(given_back)))

    def refuse_if_unwritable(self, uuid: str) -> None:
        refuse_if_unwritable(self._path(uuid))

    def _write(self, uuid: str, record: GpuRecord) -> None:
        document = {
            "epoch": asdict(self.epoch),
            "settings": dict(sorted(record.settings.items())),
            "touched": sorted(record.touched),
        }
        replace(self._path(uuid), json.dumps(document, indent=1) + "\n")

    def _path(self, uuid: str) -> Path:
        return self.root / FOLDER / f"{uuid}.json"
