#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: data_disks
short_description: Have disks for data formatted if they are blank, and mounted
version_added: 0.4.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes the whole list in one call. Makes a file system on a disk that is blank, writes its row into C(/etc/fstab),
    mounts it, and gives its top folder an owner.
  - A disk is named by its id, which no other disk gets. It is blank when C(wipefs) finds no signature on it, its first
    and last MiB hold nothing but zeros, and nothing uses it, neither partitions nor RAID nor another row of
    C(/etc/fstab). Any other disk is refused with the reason, and when one disk is refused, none is touched.
  - The file system takes the whole disk, without a partition table. The id of a partition can be given as well.
  - The UUID of the file system follows from the disk's id. So it is known again after the system was installed anew,
    and is mounted as it is. A file system that somebody else made is mounted only when O(disks[].uuid) names it, or
    when a row of C(/etc/fstab) mounts it there already. It is never formatted.
  - A run that is killed while it formats leaves a note in C(/var/lib/mlrig/formatting.json), by which the next run
    finishes the work.
  - A disk that leaves the list stays mounted, and keeps its row. In a container all is skipped.
  - Needs the C(mkfs) program of the file system, from C(e2fsprogs), C(xfsprogs) or C(btrfs-progs), only to format.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  disks:
    description: The disks.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: The name of the disk in C(/dev/disk/by-id).
        type: str
        required: true
      path:
        description: Where it is mounted. A folder that is not there is made. One that is must be empty.
        type: str
        required: true
      filesystem:
        description: Which file system is made, or expected.
        type: str
        choices: [btrfs, ext4, xfs]
        default: ext4
      uuid:
        description: That of a file system which is on the disk already, to use it as it is.
        type: str
      options:
        description: Mount options. Those that a row has already stay, unless these contradict.
        type: str
        default: defaults,noatime,nodiratime,nofail
      owner:
        description: The user who owns the top folder, by name or number.
        type: str
      group:
        description: Its group, by name or number.
        type: str
      mode:
        description: Its mode, an octal number in quotes.
        type: str
"""

EXAMPLES = r"""
- name: Have a disk for data sets
  mlrig.workstation.data_disks:
    disks:
      - id: nvme-Samsung_SSD_990_PRO_4TB_S7KGNU0X123456
        path: /data
        owner: "1000"
        group: "1000"
        mode: "0750"

- name: Use a disk that came from another machine, as it is
  mlrig.workstation.data_disks:
    disks:
      - id: ata-WDC_WD181KFGX-68AFPN0_2TG1ABCD
        path: /archive
        filesystem: xfs
        uuid: 3e6be9de-8139-11d1-9106-a43f08d823a6
"""

RETURN = r"""
settings:
  description:
    - For each disk, records for its file system, its row, its mount and its owner. All state modules return records of
      this shape, so that together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The disk's id, or the path where it is mounted.
      type: str
      returned: always
      sample: /data
    plane:
      description: V(persisted) is what the next boot will do, V(live) what is true now.
      type: str
      returned: always
      sample: persisted
    expected:
      description: The file system, the options of its row, V(mounted), or the owner.
      type: str
      returned: always
      sample: defaults,noatime,nodiratime,nofail
    actual:
      description: The same as found when the module began; null when there was none.
      type: str
      returned: always
      sample: null
    action:
      description: V(none), V(changed), or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped.
      type: str
      returned: when there is something to say
      sample: this is a container (docker), whose disks are its manager's
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._data_disk_request import DEFAULT_OPTIONS, FILE_SYSTEMS, parse_data_disks
from ..module_utils._data_disks import DataDisksPlan, make_plan
from ..module_utils._fstab_file import FstabFile
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "disks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "id": {"type": "str", "required": True},
                    "path": {"type": "str", "required": True},
                    "filesystem": {"type": "str", "choices": list(FILE_SYSTEMS), "default": "ext4"},
                    "uuid": {"type": "str"},
                    "options": {"type": "str", "default": DEFAULT_OPTIONS},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                    "mode": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )

    def plan() -> DataDisksPlan:
        return make_plan(parse_data_disks(module.params["disks"]), FstabFile(Path("/"), run))

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
