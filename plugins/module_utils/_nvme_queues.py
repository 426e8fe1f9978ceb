# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How NVMe disks queue and read ahead: now, and whenever one comes, at boot or later, by a rule of udev."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ._files import read_if_there, refuse_if_unwritable
from ._kernel_attributes import KernelAttributes
from ._kernel_tunables import TunablesPlan, compare_live
from ._settings import InputError
from ._tunable_request import Tunable

RULE_FILE = "/etc/udev/rules.d/90-mlrig-nvme.rules"
_HEADER = "# Managed by mlrig.workstation (nvme_queues): what is edited here is undone by its next run.\n"
_DISKS = 'ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", KERNEL=="nvme*"'
# Not the single paths to a disk that the kernel joins by itself, such as nvme0c0n1.
_DISK = re.compile(r"/sys/block/nvme[0-9]+n[0-9]+/.*")
_LARGEST = 1 << 20


def check_read_ahead(size: int, where: str) -> None:
    if not 0 <= size <= _LARGEST:
        raise InputError(where, f"must be a number of KB from 0 to {_LARGEST}", size)


def make_plan(values: Mapping[str, str], attributes: KernelAttributes) -> TunablesPlan:
    """Read everything, compare, and say what to do. Changes nothing.

    values: what each attribute in the folder queue of a disk should be; with none there is no rule.
    """
    plan = TunablesPlan(attributes)
    assignments = "".join(f', ATTR{{queue/{name}}}="{value}"' for name, value in values.items())
    text = f"{_HEADER}{_DISKS}{assignments}\n" if values else None
    file = attributes.on_host(RULE_FILE)
    if plan.settings.compare(RULE_FILE, "persisted", text, read_if_there(file)).action == "changed":
        refuse_if_unwritable(file)
        plan.files[file] = text
    for name, value in values.items():
        pattern = f"/sys/block/nvme*/queue/{name}"
        paths = [path for path in attributes.find(pattern) if _DISK.fullmatch(path)]
        compare_live(plan, Tunable(name, pattern, pattern, pattern, value), paths, exists=bool(paths))
    return plan
