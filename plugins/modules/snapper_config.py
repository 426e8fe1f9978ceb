#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: snapper_config
short_description: Keep configurations of snapper, for snapshots of btrfs subvolumes
version_added: 0.4.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes the whole list in one call. Of each configuration it keeps the subvolume C(.snapshots), the file in
    C(/etc/snapper/configs) and the entry in C(/etc/default/snapper). Each is made where it is missing, so what an
    interrupted run or C(snapper create-config) left is completed.
  - In a file that exists only the named keys are edited; every other byte stays, and a copy of the file before the
    first edit is kept beside it, with the suffix C(.mlrig.save). No subvolume, folder or snapshot is moved or removed,
    and no configuration that is not in the list is touched.
  - A running C(snapperd) is restarted when something changed, and snapper is asked whether it can use each
    configuration.
  - A subvolume that is not on btrfs, or in a container, is skipped with the reason.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  configs:
    description: The configurations.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name. The one that apt takes snapshots of is V(root).
        type: str
        required: true
      subvolume:
        description: What snapshots are taken of, such as V(/). It cannot be changed later.
        type: str
        required: true
      settings:
        description:
          - Keys of C(snapper-configs(5)) and their values. A key that is not named, or is null, keeps its value, in a
            new file that of snapper's template.
        type: dict
        default: {}
  apt:
    description:
      - Whether apt takes a snapshot before and after each transaction, by the hook that snapper's package brings. That
        takes a configuration V(root).
    type: bool
    default: true
requirements:
  - snapper
  - btrfs-progs
"""

EXAMPLES = r"""
- name: Keep up to twenty snapshots of the system
  mlrig.workstation.snapper_config:
    configs:
      - name: root
        subvolume: /
        settings:
          NUMBER_LIMIT: 4-20
          TIMELINE_CREATE: "no"
"""

RETURN = r"""
settings:
  description:
    - One record for each key, each subvolume that holds snapshots, and snapper itself. All state modules return records
      of this shape, so that together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The configuration and the key, a key of C(/etc/default/snapper), or a path.
      type: str
      returned: always
      sample: root/NUMBER_LIMIT
    plane:
      description: Always V(persisted).
      type: str
      returned: always
      sample: persisted
    expected:
      description: The wanted value.
      type: str
      returned: always
      sample: 4-20
    actual:
      description: What was found when the module began; null when there was none.
      type: str
      returned: always
      sample: "50"
    action:
      description: V(none), V(changed), or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped, and what it would take.
      type: str
      returned: when there is something to say
      sample: / is on ext4, and snapshots take btrfs, which is chosen when the system is installed
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._settings import converge, run_state_module
from ..module_utils._snapper_config import SnapperPlan, make_plan
from ..module_utils._snapper_request import parse_configs


def main() -> None:
    config = {
        "name": {"type": "str", "required": True},
        "subvolume": {"type": "str", "required": True},
        "settings": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(
        argument_spec={
            "configs": {"type": "list", "elements": "dict", "required": True, "options": config},
            "apt": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )

    def plan() -> SnapperPlan:
        return make_plan(parse_configs(module.params["configs"]), apt=module.params["apt"])

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
