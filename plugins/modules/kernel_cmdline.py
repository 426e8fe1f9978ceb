#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_cmdline
short_description: Keep tokens on the kernel command line that GRUB gives
version_added: 0.4.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes the whole list in one call, and keeps it in a drop-in of its own, which appends to
    C(GRUB_CMDLINE_LINUX_DEFAULT). So tokens of others are neither lost nor moved, and entries of the recovery mode boot
    without these. The drop-in sorts last, so that no drop-in of a cloud image or a package replaces what it appended
    to. A token that is taken out of the list is taken off the line. An empty list removes the drop-in.
  - GRUB's menu is made anew when it does not have the configured line, or is older than any file that it is made from.
    So it needs no notice, makes up for a run that was interrupted before, and for an edit without C(update-grub).
  - The running kernel's line is compared with the configured one as a whole. What differs is in RV(settings) as
    V(boot), whoever configured it, and sets RV(reboot_required).
  - A token of the same name and another value elsewhere is left there, and reported with a warning and in RV(settings),
    naming its file and line. This module's comes after it, and most settings take their last value.
  - C(/etc/default/grub) and its drop-ins are shell scripts. They are read, not run. Where only running them could tell
    what the line is, such as with an assignment under a condition, the module fails before it changes anything.
  - Tokens whose names begin with C(amd_) are skipped on other CPUs than AMD's, and those with C(intel_) on others than
    Intel's. A host that GRUB does not start, such as a container or one with systemd-boot, is skipped with the reason.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  tokens:
    description:
      - The tokens, in their order, each of one word such as V(iommu=pt) or V(nomodeset). No name may be repeated. What
        the shell or GRUB could take for more than a character is refused.
    type: list
    elements: str
    required: true
  path:
    description: The drop-in, in a folder C(grub.d). Beside that folder lies the file C(grub), which is read first.
    type: path
    default: /etc/default/grub.d/zz-mlrig.cfg
  update_command:
    description: What makes the menu, as a program and its arguments.
    type: list
    elements: str
    default: [update-grub]
  menu:
    description: The file that O(update_command) writes.
    type: path
    default: /boot/grub/grub.cfg
"""

EXAMPLES = r"""
- name: Give devices their memory directly, and let the kernel use huge pages
  mlrig.workstation.kernel_cmdline:
    tokens:
      - iommu=pt
      - transparent_hugepage=always

- name: Try it in a folder
  mlrig.workstation.kernel_cmdline:
    tokens: [iommu=pt]
    path: /tmp/try/default/grub.d/zz-mlrig.cfg
    menu: /tmp/try/grub.cfg
    update_command: [/tmp/try/make-menu]
"""

RETURN = r"""
settings:
  description:
    - One record for each token and plane, and one for the menu. All state modules return records of this shape, so that
      together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The name of the token, or the path of the menu.
      type: str
      returned: always
      sample: transparent_hugepage
    plane:
      description: V(persisted) is what the next boot will do, V(boot) what only a reboot makes true.
      type: str
      returned: always
      sample: boot
    expected:
      description: The wanted token; null when it should not be there.
      type: str
      returned: always
      sample: transparent_hugepage=always
    actual:
      description: The token found when the module began; null when there was none.
      type: str
      returned: always
      sample: transparent_hugepage=madvise
    action:
      description:
        - V(none), V(changed), V(reboot) when only a reboot makes it true, or V(skipped) when this host cannot have it.
      type: str
      returned: always
      sample: reboot
    reason:
      description: Why it was skipped, or what stands against it.
      type: str
      returned: when there is something to say
      sample: >-
        /etc/default/grub line 10 has iommu=off: remove it there, as not every setting takes its last value
reboot_required:
  description: Whether the running kernel has another command line than the next boot will have.
  returned: success
  type: bool
  sample: true
warnings:
  description: Which line of which other file stands against a token.
  returned: when there is one
  type: list
  elements: str
  sample:
    - "iommu=pt: /etc/default/grub line 10 has iommu=off: remove it there, as not every setting takes its last value"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._cmdline_request import CmdlineRequest, parse_cmdline
from ..module_utils._kernel_cmdline import CmdlinePlan, make_plan
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tokens": {"type": "list", "elements": "str", "required": True, "no_log": False},  # of no secret
            "path": {"type": "path", "default": CmdlineRequest.path},
            "update_command": {"type": "list", "elements": "str", "default": list(CmdlineRequest.update_command)},
            "menu": {"type": "path", "default": CmdlineRequest.menu},
        },
        supports_check_mode=True,
    )

    def plan() -> CmdlinePlan:
        return make_plan(parse_cmdline(**module.params))

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
