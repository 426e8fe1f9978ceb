#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: swap_file
short_description: Have a swap file of any size, resized in place
version_added: 0.4.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Makes the file, writes its row into C(/etc/fstab), and switches it on. A file of another size is resized where it
    is. With O(size=0) it is switched off, and row and file are removed. Other swap is left alone.
  - On btrfs the file must be in a folder of its own, which becomes a subvolume without copy-on-write. Neither the
    kernel's rules for swap nor snapshots of other subvolumes are then in each other's way. ext4 and xfs need nothing.
  - Before anything changes it is seen that the file system has room for the file and 256 MiB more, and, where a file
    that is in use must be switched off, that memory has room for what is in it.
  - A file that is no swap file is never touched, unless a row of C(/etc/fstab) says that it is swap. In a container all
    is skipped.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  path:
    description: The file.
    type: str
    required: true
  size:
    description: Its size, with a unit, such as V(512M) or V(16G). V(0) removes it.
    type: str
    required: true
  priority:
    description: A number from 0 to 32767; swap of a higher one is used first. Without it the kernel decides.
    type: int
"""

EXAMPLES = r"""
- name: Have room for a training run that needs more than memory for a moment
  mlrig.workstation.swap_file:
    path: /swap/mlrig.swap
    size: 64G

- name: Have no swap file of ours
  mlrig.workstation.swap_file:
    path: /swap/mlrig.swap
    size: "0"
"""

RETURN = r"""
settings:
  description:
    - Records for the file, for its row, and for what the kernel uses. All state modules return records of this shape,
      so that together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The file.
      type: str
      returned: always
      sample: /swap/mlrig.swap
    plane:
      description: V(persisted) is what the next boot will do, V(live) what is true now.
      type: str
      returned: always
      sample: persisted
    expected:
      description: Its size, the options of its row, or V(on) or V(off); null when it should not be there.
      type: str
      returned: always
      sample: 68719476736 bytes
    actual:
      description: The same as found when the module began; null when there was none.
      type: str
      returned: always
      sample: 8589934592 bytes
    action:
      description: V(none), V(changed), or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped.
      type: str
      returned: when there is something to say
      sample: this is a container (docker), whose swap is its host's
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._fstab_file import FstabFile
from ..module_utils._settings import converge, run_state_module
from ..module_utils._swap_file import SwapFilePlan, make_plan
from ..module_utils._swap_request import parse_swap_file


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "size": {"type": "str", "required": True},
            "priority": {"type": "int"},
        },
        supports_check_mode=True,
    )
    options = module.params

    def plan() -> SwapFilePlan:
        wanted = parse_swap_file(options["path"], options["size"], options["priority"])
        return make_plan(wanted, FstabFile(Path("/"), run))

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
