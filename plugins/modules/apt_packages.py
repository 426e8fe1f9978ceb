#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_packages
short_description: Install and remove packages, and nothing of kernel or driver unasked
version_added: 0.3.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Compares with dpkg, in one call. Only where something differs is apt asked, and only then are its lists updated.
  - A transaction is simulated first. It is refused when it would install, change or remove a package of kernel or
    driver that was not named and is not allowed, or when it would remove anything unasked.
  - What an interrupted installation left is finished first, each package at its version. Where apt cannot do so for
    packages that this call does not name, or would install or change others of kernel or driver for it, that is a
    warning. What else it changes is recorded.
  - What M(mlrig.workstation.apt_freeze) holds, and this call may change, is set free for the transaction, and held
    again afterwards at its new version.
  - Needs neither python3-apt nor package lists. Configuration files that were edited are kept. It waits up to 10
    minutes for another apt or dpkg.
  - In check mode the transaction is simulated with the package lists as they are. A package that apt does not know yet,
    or would take of another version, because its source or its pin comes in the same run, is reported as changed.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  packages:
    description:
      - Names, or dictionaries with the keys below. A name that only other packages provide is satisfied by any of them.
      - C(name), a package. With C(instead_of) it may be a glob.
      - C(version), a glob that its version must match. What apt would install is compared with it before anything
        changes. Its version is chosen by apt preferences, such as those of a pinning package, and not here.
      - C(at_least), the lowest version that will do. What apt would install is compared with it in the same way.
      - C(unless), names of packages. Where one of them is there, this one is not asked for, such as a distribution's
        where the host has the same from its maker.
      - C(instead_of), a glob of versions. Then only packages are meant that are installed at such a version, and
        nothing is installed that is not there. It keeps the packages of a branch together, whose dependencies allow
        newer ones.
      - C(allow), as O(allow), but only where this package itself has to be installed or changed.
    type: list
    elements: raw
    default: []
  absent:
    description: Names or globs of packages that should not be there. What O(packages) names stays.
    type: list
    elements: str
    default: []
  allow:
    description:
      - Regular expressions, matched from the start, of further packages of kernel and driver that this transaction may
        install, upgrade, downgrade or remove.
    type: list
    elements: str
    default: []
  update_cache:
    description: Update the package lists before something is installed. Never done when nothing is missing.
    type: bool
    default: true
  downgrade:
    description: Whether packages may go to an older version.
    type: bool
    default: false
  remove:
    description: Whether other packages may be removed, but for those of kernel and driver.
    type: bool
    default: false
  purge:
    description: Remove configuration too. What was removed earlier and left its configuration is then purged.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Install tools
  mlrig.workstation.apt_packages:
    packages: [htop, nvtop]

- name: Install a kernel, and what belongs to it
  mlrig.workstation.apt_packages:
    packages:
      - name: linux-generic-hwe-24.04
        allow: [linux-]

- name: Have Docker, the distribution's only where there is none yet
  mlrig.workstation.apt_packages:
    packages:
      - name: docker.io
        unless: [docker-ce]
      - name: nvidia-container-toolkit
        at_least: 1.18.2

- name: Move the driver to branch 595, up or down
  mlrig.workstation.apt_packages:
    packages:
      - name: nvidia-open
        version: 595.*
      - name: "*nvidia*"
        version: 595.*
        instead_of: "[0-9][0-9][0-9].*"
    absent: ["*nvidia*-580*"]
    allow: [nvidia-, libnvidia-, dkms$]
    downgrade: true
"""

RETURN = r"""
settings:
  description:
    - One record for each package that was asked for. Further ones tell what else changed of kernel and driver, what
      else was removed, what an interrupted installation had left, and what changed to finish it.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The package.
      type: str
      returned: always
      sample: nvidia-open
    plane:
      description: Always V(persisted).
      type: str
      returned: always
      sample: persisted
    expected:
      description: >-
        The version; before it is known, what was asked for or V(installed). Null when the package should not be there.
      type: str
      returned: always
      sample: 595.91.07-1ubuntu1
    actual:
      description: What was found when the module began; null when there was nothing.
      type: str
      returned: always
      sample: 590.48.01-1ubuntu1
    action:
      description: V(none), V(changed), or V(skipped) for what could not be finished.
      type: str
      returned: always
      sample: changed
    reason:
      description: What there is to say of it.
      type: str
      returned: when there is something to say
      sample: as things are, apt knows no such package; look at the sources in /etc/apt/sources.list.d
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._apt_packages import PackagesPlan, make_plan
from ..module_utils._apt_request import parse_request
from ..module_utils._settings import converge, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "raw", "default": []},
            "absent": {"type": "list", "elements": "str", "default": []},
            "allow": {"type": "list", "elements": "str", "default": []},
            "update_cache": {"type": "bool", "default": True},
            "downgrade": {"type": "bool", "default": False},
            "remove": {"type": "bool", "default": False},
            "purge": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )

    def plan() -> PackagesPlan:
        return make_plan(parse_request(module.params), run, Path("/"), check_mode=module.check_mode)

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
