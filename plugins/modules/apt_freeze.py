#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_freeze
short_description: Hold kernel and driver at their versions
version_added: 0.3.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Writes C(/etc/apt/preferences.d/00mlrig-freeze), which gives the installed version of every package of kernel and
    driver priority 1001. So neither apt nor unattended-upgrades moves one, and no metapackage brings a new kernel.
    Which packages those are is what P(mlrig.workstation.guarded_packages#lookup) returns.
  - The file counts before the others there, and more than NVIDIA's pinning packages.
  - M(mlrig.workstation.apt_packages) goes past it where it was asked to.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  state:
    description: Whether they are held.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: mlrig.workstation.apt_packages
  - plugin: mlrig.workstation.guarded_packages
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Hold kernel and driver
  mlrig.workstation.apt_freeze:

- name: Let apt move them again
  mlrig.workstation.apt_freeze:
    state: absent
"""

RETURN = r"""
settings:
  description: One record for each package.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The package, or the file where only its form differs.
      type: str
      returned: always
      sample: nvidia-open
    plane:
      description: Always V(persisted).
      type: str
      returned: always
      sample: persisted
    expected:
      description: The version to hold; null when it should not be held.
      type: str
      returned: always
      sample: 595.91.07-1ubuntu1
    actual:
      description: What was found when the module began; null when there was nothing.
      type: str
      returned: always
      sample: 590.48.01-1ubuntu1
    action:
      description: V(none) or V(changed).
      type: str
      returned: always
      sample: changed
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._apt_freeze import FreezePlan, make_plan
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}},
        supports_check_mode=True,
    )

    def plan() -> FreezePlan:
        return make_plan(run, Path("/"), present=module.params["state"] == "present")

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
