# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the initramfs of every installed kernel holds the configuration that it was made from.

What a package's trigger regenerates is the newest kernel's initramfs alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._apt import Runner
from ._apt import run as run_command
from ._changes import find_changes
from ._files import read_if_there, refuse_if_unwritable
from ._kernel_modules import find_kernels
from ._settings import Setting, Settings

_MODPROBE = ("etc/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d")
_SWITCH = "etc/initramfs-tools/update-initramfs.conf"
_SWITCHED_OFF = re.compile(r"^\s*update_initramfs=[\"']?no\b", re.MULTILINE)
_UP_TO_DATE = "up to date"


@dataclass(frozen=True)
class Tool:
    """A program that makes an initramfs. arguments: with places for the kernel and the image."""

    program: str
    arguments: str
    configuration: Sequence[str]

    def command(self, kernel: str, image: str) -> tuple[str, ...]:
        return (Path(self.program).name, *self.arguments.format(kernel=kernel, image=image).split())


_UPDATE_INITRAMFS = Tool("usr/sbin/update-initramfs", "-u -k {kernel}", ("etc/initramfs-tools",))
_DRACUT = Tool("usr/bin/dracut", "--force --kver {kernel} {image}", ("etc/dracut.conf", "etc/dracut.conf.d"))


@dataclass
class InitramfsPlan:
    """What was found, and the commands that make anew what is out of date."""

    run: Runner
    settings: Settings = field(default_factory=Settings)
    commands: list[tuple[Setting, tuple[str, ...]]] = field(default_factory=list)

    def apply(self) -> None:
        """One that fails keeps no other from being made."""
        for setting, command in self.commands:
            output = self.run(*command)
            if output.code:
                said = " / ".join(output.text.strip().splitlines()[-3:])
                self.settings.amend(setting, "failed", f"{command[0]} ended with {output.code}: {said}")


def make_plan(root: Path = Path("/"), run: Runner = run_command) -> InitramfsPlan:
    """Read everything, compare, and say what to make. Changes nothing."""
    plan = InitramfsPlan(run)
    kernels = [kernel.release for kernel in find_kernels(root) if kernel.complete]
    tool = next((each for each in (_UPDATE_INITRAMFS, _DRACUT) if (root / each.program).exists()), None)
    obstacle = _obstacle(root, tool, kernels)
    if tool is None or obstacle is not None:
        plan.settings.skip("initramfs", "persisted", _UP_TO_DATE, None, obstacle or "")
        return plan
    changes = find_changes(root, (*_MODPROBE, *tool.configuration), plan.settings)
    for kernel in kernels:
        image = f"/boot/initrd.img-{kernel}"
        file = root / image.lstrip("/")
        if not file.exists():
            plan.settings.skip(image, "persisted", _UP_TO_DATE, None, f"the kernel {kernel} has no initramfs")
            continue
        made = file.stat().st_mtime_ns
        newer = [path for changed, path in changes if changed > made]
        found = f"older than {newer[-1]}" if newer else _UP_TO_DATE
        setting = plan.settings.compare(image, "persisted", _UP_TO_DATE, found)
        if newer:
            refuse_if_unwritable(file)
            plan.commands.append((setting, tool.command(kernel, image)))
    return plan


def _obstacle(root: Path, tool: Tool | None, kernels: Sequence[str]) -> str | None:
    if not kernels:
        return "no kernel is installed here, as in a container"
    if tool is None:
        return "neither update-initramfs nor dracut is on this host"
    if tool is _UPDATE_INITRAMFS and _SWITCHED_OFF.search(read_if_there(root / _SWITCH) or ""):
        return f"/{_SWITCH} says update_initramfs=no"
    return None
