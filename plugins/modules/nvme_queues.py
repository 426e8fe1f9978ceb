#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvme_queues
short_description: Keep the scheduler and the read-ahead of all NVMe disks
version_added: 0.4.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Sets every NVMe disk of the running kernel, and writes C(/etc/udev/rules.d/90-mlrig-nvme.rules), which sets them at
    boot, and a disk that is plugged in later as soon as it comes. The file belongs to this module. What was written is
    read again.
  - A host without NVMe disks gets the rule, for those that may come. Where the attributes are on a read-only mount, as
    in a container, the running kernel is skipped.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  scheduler:
    description: The I/O scheduler. Without it the schedulers are left alone.
    type: str
    choices: [none, mq-deadline, kyber, bfq]
  read_ahead_kb:
    description: How many KB the kernel reads ahead of a program that reads in order. Without it that is left alone.
    type: int
"""

EXAMPLES = r"""
- name: Let NVMe disks order their own work, and read large files ahead
  mlrig.workstation.nvme_queues:
    scheduler: none
    read_ahead_kb: 2048
"""

RETURN = r"""
settings:
  description:
    - One record for the rule, and one for each attribute of each disk. All state modules return records of this shape,
      so that together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The file or the attribute.
      type: str
      returned: always
      sample: /sys/block/nvme0n1/queue/scheduler
    plane:
      description: V(persisted) is what the next boot will do, V(live) what is true now.
      type: str
      returned: always
      sample: live
    expected:
      description: The wanted value.
      type: str
      returned: always
      sample: none
    actual:
      description: The value found when the module began; null when there was none.
      type: str
      returned: always
      sample: mq-deadline
    action:
      description: V(none), V(changed), or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped.
      type: str
      returned: when there is something to say
      sample: this host has no /sys/block/nvme*/queue/scheduler
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._kernel_attributes import KernelAttributes
from ..module_utils._kernel_tunables import TunablesPlan
from ..module_utils._nvme_queues import check_read_ahead, make_plan
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "scheduler": {"type": "str", "choices": ["none", "mq-deadline", "kyber", "bfq"]},
            "read_ahead_kb": {"type": "int"},
        },
        supports_check_mode=True,
    )
    given = {name: module.params[name] for name in ("scheduler", "read_ahead_kb")}
    values = {name: str(value) for name, value in given.items() if value is not None}

    def plan() -> TunablesPlan:
        check_read_ahead(given["read_ahead_kb"] or 0, "read_ahead_kb")
        return make_plan(values, KernelAttributes())

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
