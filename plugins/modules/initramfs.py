#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: initramfs
short_description: Keep the initramfs of every installed kernel up to date with its configuration
version_added: 0.3.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Makes an initramfs anew when, and only when, a part of its configuration changed after it was made. That is what is
    in C(/etc/modprobe.d) and the other folders of that name, in C(/etc/initramfs-tools), for dracut in
    C(/etc/dracut.conf.d), and what links there lead to. So it needs no notice from what changed a file, and makes up
    for a run that was interrupted before.
  - C(update-initramfs) is used, or C(dracut) where a host has that instead. Packages regenerate the initramfs of the
    newest kernel only. This module looks after all.
  - A host without kernels, such as a container, without either program, or whose C(update-initramfs.conf) says
    C(update_initramfs=no), and a kernel without an initramfs are skipped. When making one fails, the others are still
    made, and the module fails at the end.
extends_documentation_fragment:
  - mlrig.workstation.settings
"""

EXAMPLES = r"""
- name: Keep nouveau away from the cards
  ansible.builtin.copy:
    dest: /etc/modprobe.d/mlrig-nouveau.conf
    content: "blacklist nouveau\n"
    mode: "0644"

- name: Let every kernel's initramfs know
  mlrig.workstation.initramfs:
"""

RETURN = r"""
settings:
  description:
    - One record for each kernel, oldest first. All state modules return records of this shape, so that together they
      are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The initramfs.
      type: str
      returned: always
      sample: /boot/initrd.img-6.12.94+deb13-amd64
    plane:
      description: V(persisted), which is what the next boot will do.
      type: str
      returned: always
      sample: persisted
    expected:
      description: That it is up to date.
      type: str
      returned: always
      sample: up to date
    actual:
      description: The same, or what is newer; null when it was not looked at.
      type: str
      returned: always
      sample: older than /etc/modprobe.d/mlrig-nouveau.conf
    action:
      description: V(none), V(changed) when it was made anew, or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped.
      type: str
      returned: when there is something to say
      sample: no kernel is installed here, as in a container
reboot_required:
  description: Always false. What is in an initramfs counts at the next boot, whenever that is.
  returned: success
  type: bool
  sample: false
warnings:
  description: Which files were not looked at, because they seem to have been changed in the future.
  returned: when there is one
  type: list
  elements: str
  sample:
    - "/etc/modprobe.d/nvidia.conf was changed in the future and is not looked at: was the clock wrong?"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._initramfs import make_plan
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    run_state_module(module, lambda: converge(make_plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
