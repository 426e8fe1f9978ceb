#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: reboot_plan
short_description: Decide whether a host should be rebooted now
version_added: 0.4.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Tells what is true only after a reboot, whether the kernel that boots next has a working driver, and who is using
    the host, in one call.
  - Changes nothing. The role C(reboot) acts on the answer.
options:
  policy:
    description:
      - V(when_idle) allows a reboot where nobody is logged in graphically, and no process has a GPU open. V(always)
        does not ask for that.
      - Neither allows one into a kernel without a working driver.
    type: str
    choices: [never, when_idle, always]
    default: when_idle
  local:
    description: Whether Ansible runs on the host itself, which is then not rebooted.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads only, in check mode and without.
    support: full
  diff_mode:
    description: There is nothing to show, because nothing changes.
    support: none
  platform:
    description: Where it runs.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Decide about a reboot
  mlrig.workstation.reboot_plan:
    policy: when_idle
  register: plan

- name: Reboot
  ansible.builtin.reboot:
  when: plan.reboot
"""

RETURN = r"""
needed:
  description: What is true only after a reboot; empty where none is needed, and in a container.
  returned: success
  type: list
  elements: str
  sample:
    - "the kernel runs with no iommu, and boots next with iommu=pt"
unsafe:
  description:
    - Why a reboot would end badly, such as a kernel without a working driver, or an apt at work. Empty where it would
      not.
  returned: success
  type: list
  elements: str
  sample: []
busy:
  description: Who uses the host.
  returned: success
  type: list
  elements: str
  sample:
    - python3 (4711) has a GPU open
reboot:
  description: Whether to reboot now.
  returned: success
  type: bool
  sample: false
reason:
  description: Why a reboot that is needed does not come now; null otherwise.
  returned: success
  type: str
  sample: "it is in use: python3 (4711) has a GPU open"
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._reboot import POLICIES, read_report
from ..module_utils._settings import SettingsError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "policy": {"type": "str", "choices": list(POLICIES), "default": "when_idle"},
            "local": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        report = read_report(Path("/"), run)
    except (SettingsError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    module.exit_json(changed=False, **report.as_dict(module.params["policy"], local=module.params["local"]))


if __name__ == "__main__":
    main()
