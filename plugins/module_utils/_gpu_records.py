# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was set on a GPU, kept under /run: a driver does not tell which clocks are locked.

A record counts as long as its epoch lasts. What ends the epoch may have ended the settings too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ._files import read_if_there, refuse_if_unwritable, replace
from ._nvml import KERNEL_MODULE

FOLDER = "run/mlrig/gpu"


@dataclass(frozen=True)
class Epoch:
    """The time during which a driver remembers what it was told.

    driver_load: changes when the kernel module is loaded again. suspends: how often the machine has slept.
    """

    boot_id: str | None
    driver_load: str | None
    suspends: str | None
    driver_version: str


def read_epoch(root: Path, driver_version: str) -> Epoch:
    return Epoch(
        _line(root / "proc/sys/kernel/random/boot_id"),
        " ".join(map(_identity, (root / "sys/bus/pci/drivers/nvidia", root / KERNEL_MODULE))),
        _line(root / "sys/power/suspend_stats/success"),
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
class GpuRecords:
    """One file for each GPU, named by its UUID: the epoch, and texts by the name of the setting."""

    root: Path
    epoch: Epoch

    def load(self, uuid: str) -> dict[str, str]:
        """What was set in this epoch, by the name of the setting."""
        try:
            record = json.loads(read_if_there(self._path(uuid)) or "{}")
            current = record.get("epoch") == asdict(self.epoch)
            return {str(name): str(text) for name, text in record["settings"].items()} if current else {}
        except (ValueError, AttributeError, KeyError):
            return {}  # not as this file is written: not to be relied on

    def forget(self, uuid: str, names: Collection[str]) -> None:
        """Before settings are touched, so that a run killed in between leaves no record that is not true."""
        found = self.load(uuid)
        if not found.keys().isdisjoint(names):
            self._write(uuid, {name: text for name, text in found.items() if name not in names})

    def store(self, uuid: str, settings: Mapping[str, str]) -> None:
        if settings:
            self._write(uuid, {**self.load(uuid), **settings})

    def refuse_if_unwritable(self, uuid: str) -> None:
        refuse_if_unwritable(self._path(uuid))

    def _write(self, uuid: str, settings: Mapping[str, str]) -> None:
        record = {"epoch": asdict(self.epoch), "settings": dict(sorted(settings.items()))}
        replace(self._path(uuid), json.dumps(record, indent=1) + "\n")

    def _path(self, uuid: str) -> Path:
        return self.root / FOLDER / f"{uuid}.json"
