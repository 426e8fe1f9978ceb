#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: program
short_description: Install the program mlrig on a host
version_added: 0.2.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Puts the program into C(/opt/mlrig), with a link to it from C(/usr/local/bin/mlrig). Its library, which also holds
    nvidia-ml-py, is used by the modules of this collection too.
  - A file in the library that does not belong there is removed.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  archive:
    description: What the lookup C(mlrig.workstation.program) returns.
    type: str
    required: true
seealso:
  - plugin: mlrig.workstation.program
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Install the program mlrig
  mlrig.workstation.program:
    archive: "{{ lookup('mlrig.workstation.program') }}"
"""

RETURN = r"""
settings:
  description: One record for each file. All state modules return records of this shape.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The file.
      type: str
      returned: always
      sample: /opt/mlrig/bin/mlrig
    plane:
      description: Always V(persisted).
      type: str
      returned: always
      sample: persisted
    expected:
      description: The wanted checksum, or target of a link; null when the file should not be there.
      type: str
      returned: always
      sample: sha256:2c26b46b68ffc68f
    actual:
      description: What was found when the module began; null when there was none.
      type: str
      returned: always
      sample: sha256:fcde2b2edba56bf4
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

from ..module_utils._program_files import ProgramPlan, make_plan, unpack
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    # Not a secret, but long: neither the log of the host nor the terminal is a place for it.
    module = AnsibleModule(
        argument_spec={"archive": {"type": "str", "required": True, "no_log": True}}, supports_check_mode=True
    )

    def plan() -> ProgramPlan:
        return make_plan(unpack(module.params["archive"]), Path("/"))

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
