# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt has of kernel and driver: asked only where dpkg does not tell enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ._apt import Runner, read_candidates
from ._apt_failure import update_lists
from ._apt_freeze import thawed


@dataclass
class Archive:
    """update: bring apt's lists up to date before the first question. warnings: what came of that."""

    run: Runner
    root: Path
    update: bool = False
    warnings: list[str] = field(default_factory=list)

    def candidates(self, names: Iterable[str]) -> Mapping[str, str | None]:
        """The version that apt would take of each package that it knows, if nothing were frozen."""
        wanted = sorted(set(names))
        if not wanted:
            return {}
        if self.update:
            self.warnings += update_lists(self.run, self.root)
            self.update = False
        with thawed(self.root, lambda _name: True) as options:
            return read_candidates(self.run, wanted, options)

    def can_install(self, names: Sequence[str]) -> bool:
        """Whether apt would install all of these together."""
        with thawed(self.root, lambda _name: True) as options:
            return self.run("apt-get", "--simulate", *options, "install", *names).code == 0

    @property
    def is_known(self) -> bool:
        """Whether apt has ever been told what there is."""
        return any((self.root / "var/lib/apt/lists").glob("*Packages*"))
