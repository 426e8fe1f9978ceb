#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_tunables
short_description: Keep sysctl keys and sysfs attributes at their values, now and at the next boot
version_added: 0.1.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes the whole list in one call. Sets the running kernel, and writes the two files from which the next boot sets
    the same values. C(/etc/sysctl.d/99-mlrig.conf) is for sysctl keys and C(/etc/tmpfiles.d/mlrig.conf) for sysfs
    attributes. Both belong to this module, which writes them anew. What was written is read again.
  - A value that another file would override at boot, or keep from being set, is set live, and reported with a warning
    and in RV(settings), naming that file and line.
  - An attribute on a read-only mount, as in a container, is skipped. A name that the kernel does not have, a value
    that the kernel refuses, and a value that does not take are errors.
  - What the kernel refuses is not persisted. A run that lacks the rights for any of its changes makes none.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  tunables:
    description:
      - The settings. A name must not be repeated.
      - Of several that match one attribute, a name without a glob wins, and of globs the longest. So
        V(net.ipv4.conf.*.rp_filter) can stand for all interfaces but those that have a name of their own here.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - A sysctl key, such as V(vm.swappiness), or a path below C(/sys).
          - Globs are allowed in both. A glob that matches nothing now is persisted, for what comes later.
        type: str
        required: true
      value:
        description:
          - A whole number, or text of one line. Its white space is folded.
          - YAML booleans are refused, because C(on) would become C(True), which no kernel takes.
          - Of an attribute that offers a choice, such as C(always [madvise] never), the word to choose.
        type: raw
      state:
        description:
          - V(absent) removes what this module had persisted for the name. The running kernel keeps its value until
            the next boot.
        type: str
        choices: [present, absent]
        default: present
      required:
        description:
          - Whether it is an error when the running kernel does not have the name. It is persisted all the same.
        type: bool
        default: true
      condition:
        description:
          - What must hold in the running kernel. Where it does not, the tunable is skipped, and not persisted either.
          - For a value that is good under one driver only, such as the governor C(powersave).
        type: dict
        suboptions:
          name:
            description: A sysctl key or a path below C(/sys). Of what a glob matches, one is enough.
            type: str
            required: true
          value:
            description: The value that it must have.
            type: raw
            required: true
        version_added: 0.4.0
      rivals:
        description:
          - Services that set the same, by name, and for people what to do about each. While one of them is active or
            enabled, the module fails before it changes anything. A setting has one owner.
        type: dict
        default: {}
        version_added: 0.4.0
  purge:
    description: Remove what the two files hold beyond O(tunables).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep memory settings for training
  mlrig.workstation.kernel_tunables:
    tunables:
      - name: vm.swappiness
        value: 10
      - name: /sys/kernel/mm/transparent_hugepage/enabled
        value: always
        required: false
      - name: /sys/block/nvme*/queue/scheduler
        value: none

- name: Set a governor where it means what it says
  mlrig.workstation.kernel_tunables:
    tunables:
      - name: /sys/devices/system/cpu/cpufreq/policy*/scaling_governor
        value: powersave
        condition:
          name: /sys/devices/system/cpu/*_pstate/status
          value: active
        rivals:
          tuned.service: Choose one of tuned's profiles, or run systemctl disable --now tuned.service

- name: Forget a setting of an earlier run
  mlrig.workstation.kernel_tunables:
    tunables:
      - name: vm.overcommit_memory
        state: absent
"""

RETURN = r"""
settings:
  description:
    - One record for each setting and plane, in the order of the request. All state modules return records of this
      shape, so that together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The setting.
      type: str
      returned: always
      sample: vm.swappiness
    plane:
      description:
        - V(persisted) is what the next boot will do, V(live) what is true now, V(boot) what only a reboot makes true.
      type: str
      returned: always
      sample: live
    expected:
      description: The wanted value; null when the setting should not be there.
      type: str
      returned: always
      sample: "10"
    actual:
      description: The value found when the module began; null when there was none.
      type: str
      returned: always
      sample: "60"
    action:
      description:
        - V(none), V(changed), V(reboot) when only a reboot makes it true, or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped, or what overrides it.
      type: str
      returned: when there is something to say
      sample: /proc/sys/vm/swappiness is on a read-only mount, as in a container
reboot_required:
  description: Whether a setting waits for a reboot.
  returned: success
  type: bool
  sample: false
warnings:
  description: Which line of which other file overrides a value at boot.
  returned: when there is one
  type: list
  elements: str
  sample:
    - "vm.swappiness: /etc/sysctl.d/99-sysctl.conf line 3 sets /proc/sys/vm/swappiness to '60' at boot and overrides
      /etc/sysctl.d/99-mlrig.conf"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._kernel_attributes import KernelAttributes
from ..module_utils._kernel_tunables import TunablesPlan, make_plan
from ..module_utils._settings import converge, run_state_module
from ..module_utils._tunable_request import parse_tunables


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tunables": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "value": {"type": "raw"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                    "required": {"type": "bool", "default": True},
                    "condition": {
                        "type": "dict",
                        "options": {
                            "name": {"type": "str", "required": True},
                            "value": {"type": "raw", "required": True},
                        },
                    },
                    "rivals": {"type": "dict", "default": {}},
                },
            },
            "purge": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = module.params

    def plan() -> TunablesPlan:
        return make_plan(parse_tunables(options["tunables"]), KernelAttributes(), purge=options["purge"])

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
