#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver_plan
short_description: Decide which NVIDIA driver a host should have, and whether it can be installed
version_added: 0.3.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Reads cards, kernels, packages, Secure Boot, space and use of the host in one call, chooses the driver from a table
    of branches, and says whether anything has to change, what is in the way, and how each obstacle is removed.
  - Changes nothing but apt's lists, and those only where the answer depends on them. The role C(nvidia_driver) acts on
    the answer.
  - A host without an NVIDIA card, WSL, and a container without a kernel of its own are no errors. RV(applies) is then
    false.
  - What is in the way is no error either, but in RV(refusals). Wrong options are errors.
options:
  branch:
    description:
      - A branch such as V(595), or V(>=590) for the oldest living branch from there on that fits the host. The branch
        that is installed is kept where V(>=) allows it.
    type: str
    required: true
  source:
    description: Whose packages. NVIDIA's own repository, or the archive of the distribution.
    type: str
    choices: [nvidia, ubuntu, debian]
    default: nvidia
  flavour:
    description: Of the kernel modules. V(auto) is V(open) for Turing and newer, V(proprietary) where a card is older.
    type: str
    choices: [auto, open, proprietary]
    default: auto
  profile:
    description: V(compute) is without the libraries for displays.
    type: str
    choices: [full, compute]
    default: full
  branches:
    description: The table of branches, the role's variable C(nvidia_driver_branches).
    type: list
    elements: dict
    required: true
  state:
    description: Whether the host shall have a driver. With V(absent), no branch is chosen.
    type: str
    choices: [present, absent]
    default: present
  upgrade:
    description:
      - Choose the branch as if none was installed, and count a newer version of the same branch as a change.
    type: bool
    default: false
  kernels_to_come:
    description: Packages of kernels that are to be installed before the driver, which has to support these kernels too.
    type: list
    elements: str
    default: []
  update_cache:
    description: Update the package lists before apt is asked for something. Never done in check mode.
    type: bool
    default: true
attributes:
  check_mode:
    description: Reads only. The package lists are then as they are.
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
- name: Plan the driver
  mlrig.workstation.nvidia_driver_plan:
    branch: ">=590"
    branches: "{{ nvidia_driver_branches }}"
  register: plan

- name: Stop where something is in the way
  ansible.builtin.assert:
    that: not plan.refusals
    fail_msg: "{{ plan.refusals | map(attribute='message') | zip(plan.refusals | map(attribute='remedy')) | list }}"

- name: Show what would be installed
  ansible.builtin.debug:
    msg: "{{ plan.choice.driver + plan.kernel_packages }}"
  when: plan.applies and plan.change
"""

RETURN = r"""
applies:
  description: Whether this host has, or should have, a driver of its own.
  returned: success
  type: bool
  sample: true
reason:
  description: Why it does not apply.
  returned: success
  type: str
  sample: this host has no NVIDIA card, or none that its PCI bus shows
cards:
  description: The cards of NVIDIA's on the PCI bus.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: Its address, as sysfs has it.
      returned: always
      type: str
      sample: "0000:01:00.0"
    device:
      description: Its device id.
      returned: always
      type: str
      sample: 2b85
    generation:
      description: Its generation, V(older) or V(newer) where it has no name here.
      returned: always
      type: str
      sample: blackwell
    driver:
      description: The driver that is bound to it; null when none is.
      returned: always
      type: str
      sample: nouveau
    passed_through:
      description: Whether it is kept for virtual machines.
      returned: always
      type: bool
      sample: false
kernels:
  description: The installed kernels that can be booted, the oldest first. The driver must be built for each.
  returned: success
  type: list
  elements: str
  sample: [6.17.0-35-generic, 7.0.0-29-generic]
installed:
  description: The driver that is installed as packages.
  returned: success
  type: dict
  contains:
    branch:
      description: Its branch; null when there is none, or several.
      returned: always
      type: str
      sample: "580"
    version:
      description: Its version; null when there is none, or several.
      returned: always
      type: str
      sample: 580.105.08
    source:
      description: V(nvidia), V(ubuntu), V(debian), V(ppa) for Ubuntu's graphics-drivers, V(mixed), or null.
      returned: always
      type: str
      sample: nvidia
    flavour:
      description: Of its kernel modules; null when there are none, or both.
      returned: always
      type: str
      sample: open
    packages:
      description: All of its packages, finished or not, with metapackages of C(cuda-drivers); without pins.
      returned: always
      type: list
      elements: str
      sample: [libnvidia-compute-580, nvidia-dkms-580-open, nvidia-driver-580-open, nvidia-open-580]
    pins:
      description: The packages that hold a branch.
      returned: always
      type: list
      elements: str
      sample: [nvidia-driver-pinning-580]
loaded:
  description: The version of the kernel module that is loaded; null when none is.
  returned: success
  type: str
  sample: 580.105.08
choice:
  description: What to install; null when nothing fits (see RV(refusals)), or with O(state=absent).
  returned: success
  type: dict
  contains:
    branch:
      description: The branch.
      returned: always
      type: str
      sample: "595"
    source:
      description: The source.
      returned: always
      type: str
      sample: nvidia
    flavour:
      description: The flavour of kernel modules.
      returned: always
      type: str
      sample: open
    profile:
      description: The profile.
      returned: always
      type: str
      sample: full
    pin:
      description: The package that holds the branch, to be installed in a transaction before; null when there is none.
      returned: always
      type: str
      sample: nvidia-driver-pinning-595
    driver:
      description: The packages to install.
      returned: always
      type: list
      elements: str
      sample: [nvidia-open]
    candidate:
      description: The package whose candidate version must match.
      returned: always
      type: str
      sample: nvidia-driver-open
    version:
      description: The glob that it must match.
      returned: always
      type: str
      sample: 595.*
    module:
      description: The package of the kernel modules.
      returned: always
      type: str
      sample: nvidia-dkms-open
    warnings:
      description: What is to be known of this branch. They are in RV(warnings) too.
      returned: always
      type: list
      elements: str
      sample: []
packages:
  description: The transaction of the driver, with RV(kernel_packages), as M(mlrig.workstation.apt_packages) takes it.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The package.
      returned: always
      type: str
      sample: nvidia-open
    version:
      description: What its version must match.
      returned: for packages of the driver
      type: str
      sample: 595.*
    allow:
      description: What may change with it.
      returned: for packages of the kernel
      type: list
      elements: str
      sample: [linux-]
kernel_packages:
  description:
    - What is to be installed in the same transaction as the driver. Headers to build the modules with, or modules that
      Canonical has built and signed. What apt does not have is left out.
  returned: success
  type: list
  elements: str
  sample: [linux-headers-generic-hwe-24.04]
prebuilt:
  description: Whether RV(kernel_packages) are prebuilt modules, so that nothing is built on the host.
  returned: success
  type: bool
  sample: false
remove:
  description:
    - Installed packages that must go in the transaction of the driver, because what is chosen has other names, or no
      use for them. With O(state=absent), all packages of the driver, what serves only it, and what holds it; also where
      only their configuration is left.
  returned: success
  type: list
  elements: str
  sample: [libnvidia-compute-580, nvidia-dkms-580-open, nvidia-driver-580-open, nvidia-open-580]
remove_pins:
  description:
    - Pins of other branches, which must go in the transaction of the pin, with their configuration. It holds the branch
      even where it alone is left.
  returned: success
  type: list
  elements: str
  sample: [nvidia-driver-pinning-580]
change:
  description: Whether what is installed is not what is wanted.
  returned: success
  type: bool
  sample: true
refusals:
  description: What is in the way, in the order in which it is best mended. Change nothing before it is empty.
  returned: success
  type: list
  elements: dict
  contains:
    rule:
      description: The name of the rule.
      returned: always
      type: str
      sample: held
    message:
      description: What is in the way.
      returned: always
      type: str
      sample: "on hold, and in the way: nvidia-dkms-580-open"
    remedy:
      description: Commands or variables that remove it, as they are.
      returned: always
      type: str
      sample: sudo apt-mark unhold nvidia-dkms-580-open; then run this again (this role freezes the driver by itself)
warnings:
  description: What is to be known before a change.
  returned: success
  type: list
  elements: str
  sample:
    - "nouveau drives 0000:01:00.0 until the next boot"
"""

from datetime import UTC, datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._driver_archive import Archive
from ..module_utils._driver_plan import Answers, make_plan
from ..module_utils._driver_table import FLAVOURS, PROFILES, SOURCES
from ..module_utils._settings import SettingsError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "branch": {"type": "str", "required": True},
            "source": {"type": "str", "choices": list(SOURCES), "default": "nvidia"},
            "flavour": {"type": "str", "choices": ["auto", *FLAVOURS], "default": "auto"},
            "profile": {"type": "str", "choices": list(PROFILES), "default": "full"},
            "branches": {"type": "list", "elements": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "upgrade": {"type": "bool", "default": False},
            "kernels_to_come": {"type": "list", "elements": "str", "default": []},
            "update_cache": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    root = Path("/")
    archive = Archive(run, root, update=module.params["update_cache"] and not module.check_mode)
    answers = Answers(module.params, datetime.now(tz=UTC).date())
    try:
        plan = make_plan(root, archive, answers)
    except (SettingsError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    for warning in plan.pop("warnings"):
        module.warn(warning)
    module.exit_json(changed=False, **plan)


if __name__ == "__main__":
    main()
