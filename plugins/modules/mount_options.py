#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mount_options
short_description: Keep single options of the rows of /etc/fstab, and of what is mounted now
version_added: 0.4.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes the whole list in one call. Adds options at the end of a row's own, and takes out those that contradict them,
    as V(relatime) does V(noatime). All else in the file stays as it was, byte for byte.
  - What the file would become must be without fault to C(findmnt --verify), but for faults that it had before, which
    become warnings. Only then is it replaced, in one step. What it was before the first time stays beside it, as
    C(/etc/fstab.mlrig.save).
  - What is mounted is compared with the kernel's own table and remounted, before the file is written, so that an
    option that the kernel refuses is not persisted. Options of a single mount, such as V(noatime), V(nodev) and
    V(noexec), are set on that mount alone. Those of a file system, such as V(compress) of btrfs, hold for all of its
    mounts, whichever of its subvolumes they are written at.
  - V(nodiratime) is a part of V(noatime), and counts as set where that is.
  - In a container, and where a row is not mounted, live options are skipped. So is what is mounted without a row.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  mounts:
    description: The mounts and the options that they should have.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - Where it is mounted, as the row says.
          - V(all) stands for every row of btrfs, ext2, ext3, ext4, f2fs and xfs that is no bind mount. What is said of
            a single path is laid over it.
        type: str
        required: true
      options:
        description: Mount options, separated by commas.
        type: str
        required: true
      source:
        description: The first field of the row, needed where several rows have the path.
        type: str
      required:
        description: Whether it is an error that the path has no row, and nothing is mounted there.
        type: bool
        default: true
  fstab:
    description: The file.
    type: path
    default: /etc/fstab
  live:
    description: Whether what is mounted now is compared and remounted.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Keep reading from being writing
  mlrig.workstation.mount_options:
    mounts:
      - path: all
        options: noatime,nodiratime
      - path: /home
        options: nodev

- name: Choose the compression for the next boot only
  mlrig.workstation.mount_options:
    mounts:
      - path: /data
        options: compress=zstd:1
    live: false
"""

RETURN = r"""
settings:
  description:
    - One record for each row and plane, in the order of the file. All state modules return records of this shape, so
      that together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The path of the mount, with the line in the file where several rows have it.
      type: str
      returned: always
      sample: /home
    plane:
      description: V(persisted) is what the next boot will do, V(live) what is true now.
      type: str
      returned: always
      sample: persisted
    expected:
      description: All options that the row should have, or those wanted options that the kernel shows.
      type: str
      returned: always
      sample: defaults,noatime,nodiratime
    actual:
      description: The options found when the module began.
      type: str
      returned: always
      sample: defaults,relatime
    action:
      description: V(none), V(changed), or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped.
      type: str
      returned: when there is something to say
      sample: it is not mounted now
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
warnings:
  description: Faults of the file that were there before.
  returned: when there is one
  type: list
  elements: str
  sample:
    - "/etc/fstab has a fault that was there before: /old: unreachable on boot required source: UUID=1b2c"
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._fstab_file import FSTAB, FstabFile
from ..module_utils._mount_options import MountOptionsPlan, make_plan
from ..module_utils._mount_request import parse_mounts
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mounts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "options": {"type": "str", "required": True},
                    "source": {"type": "str"},
                    "required": {"type": "bool", "default": True},
                },
            },
            "fstab": {"type": "path", "default": FSTAB},
            "live": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params

    def plan() -> MountOptionsPlan:
        wishes = parse_mounts(options["mounts"])
        return make_plan(wishes, FstabFile(Path("/"), run, options["fstab"]), run, live=options["live"])

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
