#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_kernel_facts
short_description: Facts about the NVIDIA driver in every installed kernel, and whether a reboot is safe
version_added: 0.3.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Sets C(ansible_facts['nvidia_kernels']). Everywhere in it, null means that there is none, or that it cannot be told.
  - Looks at the modules themselves, as modprobe would load them, whether DKMS built them or a package brought them
    along. C(dkms status) is asked only for what it adds, because it can show a driver as installed while the kernel
    that boots next has none.
  - A kernel is good when it has C(nvidia), C(nvidia_modeset), C(nvidia_drm) and C(nvidia_uvm), each in a file that is
    not empty and not damaged, that modprobe finds, of the version of the driver's libraries, built for that kernel,
    and signed with an enrolled key where Secure Boot asks for that.
  - Which kernel boots next is read from GRUB's own menu and environment. Without a boot loader that has a menu, it is
    the newest. What systemd-boot would choose is not known.
  - On a host without an NVIDIA card of its own, or without a driver, a reboot is safe.
  - Reads only, and needs no driver that works. As root it sees more, such as GRUB's menu.
options:
  fact_path:
    description: Taken, and not used, so that C(gather_facts) can call this module as one of E(ANSIBLE_FACTS_MODULES).
    type: path
attributes:
  check_mode:
    description: Reads only, in check mode and without.
    support: full
  diff_mode:
    description: There is nothing to show, because nothing changes.
    support: none
  facts:
    description: Sets C(ansible_facts).
    support: full
  platform:
    description: Where it runs.
    platforms: posix
    support: full
seealso:
  - module: mlrig.workstation.nvidia_gpu_facts
"""

EXAMPLES = r"""
- name: Read which kernels have the NVIDIA driver
  mlrig.workstation.nvidia_kernel_facts:

- name: Stop before a reboot into a kernel without a working driver
  ansible.builtin.assert:
    that: ansible_facts.nvidia_kernels.reboot_safe
    fail_msg: "{{ ansible_facts.nvidia_kernels.reasons | join('; ') }}"

- name: Show what is wrong with each kernel
  ansible.builtin.debug:
    msg: "{{ item.kernel }}: {{ item.problems | join('; ') }}"
  loop: "{{ ansible_facts.nvidia_kernels.kernels | rejectattr('good') }}"
  loop_control:
    label: "{{ item.kernel }}"
"""

RETURN = r"""
ansible_facts:
  description: What is added to the facts of the host.
  returned: always
  type: dict
  contains:
    nvidia_kernels:
      description: The driver in every installed kernel.
      returned: always
      type: dict
      contains:
        reboot_safe:
          description: Whether the kernel that boots next has a working driver, or needs none.
          returned: always
          type: bool
          sample: false
        reasons:
          description: Why, and if it is not, what is wrong and which kernel would do.
          returned: always
          type: list
          elements: str
          sample:
            - "6.12.117+deb13-amd64, which boots next (GRUB boots 'Debian GNU/Linux' (the default in grub.cfg)): it has
              no NVIDIA module: its build failed: nvidia/nv-pci.c:237:9: error: too few arguments to function
              'pci_resize_resource' (/var/lib/dkms/nvidia-current-open/550.163.01/build/make.log)"
            - "6.12.94+deb13-amd64 would do: mend the kernel that boots next, or let that one boot"
        reboot_needed:
          description: Whether the driver that is installed works only after a reboot.
          returned: always
          type: bool
          sample: true
        reboot_reasons:
          description: Why, and which reboot mends it.
          returned: always
          type: list
          elements: str
          sample:
            - "driver/library version mismatch: the kernel module that is loaded is 580.95.05, the driver's libraries
              are 595.71.05: reboot into 6.17.0-22-generic, which boots next and has 595.71.05"
        library_version:
          description: The version of the driver's libraries; null as well when they differ among themselves.
          returned: always
          type: str
          sample: 550.163.01
        libraries:
          description: The version of each library that was found, by its path.
          returned: always
          type: dict
          sample:
            /usr/lib/x86_64-linux-gnu/libcuda.so.1: 550.163.01
            /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1: 550.163.01
        loaded:
          description: The kernel module that is loaded now; null when there is none.
          returned: always
          type: dict
          contains:
            version:
              description: Its version.
              returned: always
              type: str
              sample: 550.163.01
            flavour:
              description: V(open) or V(proprietary).
              returned: always
              type: str
              sample: open
        signatures_enforced:
          description: Whether Secure Boot, or C(module.sig_enforce), makes the kernel refuse unsigned modules.
          returned: always
          type: bool
          sample: false
        running:
          description: The kernel that runs now.
          returned: always
          type: str
          sample: 6.12.94+deb13-amd64
        next:
          description: The kernel that boots next.
          returned: always
          type: dict
          contains:
            kernel:
              description: Its release.
              returned: always
              type: str
              sample: 6.12.117+deb13-amd64
            reason:
              description: How that is known, or why it is not.
              returned: always
              type: str
              sample: GRUB boots 'Debian GNU/Linux' (the default in grub.cfg)
        kernels:
          description: Every kernel of which something is there, oldest first.
          returned: always
          type: list
          elements: dict
          contains:
            kernel:
              description: Its release.
              returned: always
              type: str
              sample: 6.12.94+deb13-amd64
            complete:
              description: Whether both its image in C(/boot) and its folder in C(/lib/modules) are there.
              returned: always
              type: bool
              sample: true
            good:
              description: Whether the driver works in it, as far as can be told without booting it.
              returned: always
              type: bool
              sample: true
            problems:
              description: What is wrong, why, and what to do.
              returned: always
              type: list
              elements: str
              sample:
                - "it has no NVIDIA module: its headers are missing: install linux-headers-6.12.117+deb13-amd64"
            version:
              description: The version of the driver's modules.
              returned: always
              type: str
              sample: 550.163.01
            flavour:
              description: V(open) or V(proprietary).
              returned: always
              type: str
              sample: open
            headers:
              description: Whether its headers are there, without which DKMS builds nothing.
              returned: always
              type: bool
              sample: true
            modules:
              description: The four modules of the driver.
              returned: always
              type: list
              elements: dict
              contains:
                name:
                  description: What it is called once it is loaded.
                  returned: always
                  type: str
                  sample: nvidia
                file:
                  description: The file that modprobe takes for it.
                  returned: always
                  type: str
                  sample: /lib/modules/6.12.94+deb13-amd64/updates/dkms/nvidia-current-open.ko.xz
                version:
                  description: Its version.
                  returned: always
                  type: str
                  sample: 550.163.01
                flavour:
                  description: V(open) or V(proprietary), by its licence.
                  returned: always
                  type: str
                  sample: open
                signer:
                  description: Whose key it is signed with.
                  returned: always
                  type: str
                  sample: DKMS module signing key
                problems:
                  description: What is wrong with this module.
                  returned: always
                  type: list
                  elements: str
                  sample: ["is empty"]
            dkms:
              description: What DKMS says of the driver in this kernel. Empty when DKMS has not built it.
              returned: always
              type: list
              elements: dict
              contains:
                module:
                  description: DKMS's name of the driver.
                  returned: always
                  type: str
                  sample: nvidia-current-open
                version:
                  description: Its version.
                  returned: always
                  type: str
                  sample: 550.163.01
                kernel:
                  description: The kernel that it was built for.
                  returned: always
                  type: str
                  sample: 6.12.94+deb13-amd64
                architecture:
                  description: The architecture that it was built for.
                  returned: always
                  type: str
                  sample: x86_64
                state:
                  description: V(built), V(installed) or V(installed-weak).
                  returned: always
                  type: str
                  sample: installed
                remarks:
                  description: What DKMS adds.
                  returned: always
                  type: list
                  elements: str
                  sample: ["Original modules exist"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._nvidia_kernels import read_kernels
from ..module_utils._settings import SettingsError


def main() -> None:
    module = AnsibleModule(argument_spec={"fact_path": {"type": "path"}}, supports_check_mode=True)
    try:
        facts = read_kernels().as_facts()
    except (SettingsError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    module.exit_json(ansible_facts={"nvidia_kernels": facts})


if __name__ == "__main__":
    main()
