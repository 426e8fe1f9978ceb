#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_tools
short_description: Keep uv at one version, and programs that it installs as tools
version_added: 0.5.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Has uv in C(/opt/mlrig/uv), an environment of its own that pip fills from the package index, with a wheel that has
    one of the given hashes, and a link to it in C(/usr/local/bin).
  - Has programs as tools of uv in C(/opt/mlrig/tools), for all users, each in an environment of its own and with links
    to its commands in C(/usr/local/bin). A tool that is there and not listed is removed.
  - Finds and mends another version, files that are gone or have another size than was installed, dependencies that
    are gone, a Python that went with an upgrade of the distribution, and a link that is gone.
  - What is in C(/usr/local/bin) under the name of a command, and is no link of this module, stays, and the tool, or the
    link to uv, is skipped. What is in C(/opt/mlrig/uv) or in the folder of a tool, and is no Python environment, stays
    too, and the module fails.
  - A tool that cannot be installed keeps no other from being installed. Where no index can be reached, another version
    of uv or of a tool stays, as long as it is whole.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  version:
    description: The version of uv.
    type: str
    required: true
  hashes:
    description:
      - Hashes of the wheels that may be it, each C(sha256:) and 64 digits, as the package index tells them. pip refuses
        any other wheel.
    type: list
    elements: str
    required: true
  tools:
    description: The programs. All that is not listed is removed.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The package; not uv itself.
        type: str
        required: true
      version:
        description: Its exact version, written as the package writes it.
        type: str
        required: true
  exclude_newer:
    description:
      - A date such as V(2026-11-20), or a time such as V(2026-11-20T12:00:00Z). What was uploaded later is not taken,
        so that the tools' dependencies are those of that day. An index that does not tell when a package was uploaded,
        as a mirror may be, has none then.
    type: str
  index:
    description: The address of a package index instead of the usual one.
    type: str
  environment:
    description:
      - Variables for uv and pip. A certificate authority of one's own is C(SSL_CERT_FILE) for uv, and C(PIP_CERT) for
        pip.
    type: dict
    default: {}
requirements:
  - the packages python3 and python3-venv
"""

EXAMPLES = r"""
- name: Have uv and a monitor of GPUs
  mlrig.workstation.uv_tools:
    version: 0.13.8
    hashes:
      - sha256:0b3e8b1a4f5e405e31e2ff33de8af4744831e9f7338539671efbd8c3c94e791d
    tools:
      - {name: nvitop, version: 1.7.2}
    exclude_newer: "2026-11-20"
"""

RETURN = r"""
settings:
  description:
    - Records for uv, for the link to it, and for each tool. All state modules return records of this shape, so that
      together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The environment, or the link.
      type: str
      returned: always
      sample: /opt/mlrig/tools/nvitop
    plane:
      description: Always V(persisted).
      type: str
      returned: always
      sample: persisted
    expected:
      description: The version, or where the link to uv leads; null for a tool that should not be there.
      type: str
      returned: always
      sample: 1.7.2
    actual:
      description: What was found when the module began; null when there was none.
      type: str
      returned: always
      sample: 1.7.2, with damage
    action:
      description: V(none), V(changed), V(skipped) where another program is in the way, or V(failed).
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped or failed, or what is damaged.
      type: str
      returned: when there is something to say
      sample: nvitop/gui.py is gone
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._settings import converge, run_state_module
from ..module_utils._uv_tools import ToolsPlan, make_plan
from ..module_utils._uv_tools_places import Places
from ..module_utils._uv_tools_request import parse_tools


def main() -> None:
    tool = {"name": {"type": "str", "required": True}, "version": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "hashes": {"type": "list", "elements": "str", "required": True},
            "tools": {"type": "list", "elements": "dict", "default": [], "options": tool},
            "exclude_newer": {"type": "str"},
            "index": {"type": "str"},
            "environment": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )

    def plan() -> ToolsPlan:
        return make_plan(parse_tools(module.params), Places())

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
