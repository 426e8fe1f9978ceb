# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that GRUB starts, made of files; what makes its menu is run by sh, as on a real one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._cmdline_request import parse_cmdline, split_tokens
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_cmdline import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Setting, Settings, converge

from .conftest import Host

UPDATE_GRUB = Path(__file__).parents[1] / "simgrub/update-grub"
KERNEL = "6.12.94+deb13-amd64"
GRUB, DROP_IN, MENU = "/etc/default/grub", "/etc/default/grub.d/zz-mlrig.cfg", "/boot/grub/grub.cfg"
BOOTED = f"BOOT_IMAGE=/boot/vmlinuz-{KERNEL} root=UUID=0b7e2a0e ro"
HEADER = "# Managed by mlrig.workstation (kernel_cmdline): what is edited here is undone by its next run.\n"


def drop_in(tokens: str) -> str:
    """The text that the drop-in should have."""
    return f'{HEADER}GRUB_CMDLINE_LINUX_DEFAULT="${{GRUB_CMDLINE_LINUX_DEFAULT}} {tokens}"\n'


@dataclass
class GrubHost:
    """calls: the commands that were run. output: of what makes the menu, instead of making it."""

    host: Host
    calls: list[tuple[str, ...]] = field(default_factory=list)
    output: Output | None = None

    def __post_init__(self) -> None:
        self.host.write_all(
            {
                "/usr/sbin/update-grub": "",
                f"/boot/vmlinuz-{KERNEL}": "",
                "/proc/cpuinfo": "processor\t: 0\nvendor_id\t: AuthenticAMD\n",
                GRUB: 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n',
            }
        )
        self.host.path(MENU).parent.mkdir()
        self.boot("quiet")

    def boot(self, words: str) -> None:
        self.host.write("/proc/cmdline", f"{BOOTED} {words}\n")

    def run(self, *command: str) -> Output:
        self.calls.append(command)
        if self.output is not None:
            return self.output
        done = subprocess.run([UPDATE_GRUB, self.host.root], check=False, capture_output=True, text=True)
        return Output(done.returncode, done.stdout, done.stderr)

    def converge(self, tokens: Sequence[str], *, check_mode: bool = False) -> Settings:
        request = parse_cmdline(list(tokens))
        return converge(lambda: make_plan(request, self.host.root, self.run), check_mode=check_mode)

    def records(self, tokens: Sequence[str], *, check_mode: bool = False) -> dict[tuple[str, str], Setting]:
        return {(each.id, each.plane): each for each in self.converge(tokens, check_mode=check_mode).records}

    def line(self, entry: int = 0) -> str:
        """What an entry of the menu gives to the kernel beyond its root; the third is that of the recovery mode."""
        lines = [line for line in self.host.read(MENU).split("\n") if line.startswith("\tlinux\t")]
        return " ".join(split_tokens(lines[entry].partition(" ro ")[2]))
