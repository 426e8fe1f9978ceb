#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_gpu_facts
short_description: Facts about the NVIDIA driver and its GPUs
version_added: 0.2.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Sets C(ansible_facts['nvidia']). Everywhere in it, null means that this GPU or driver does not tell.
  - Asks NVML, through the Python package nvidia-ml-py. Where that package or the driver's library is missing, but
    C(nvidia-smi) is found, the same facts are read from that.
  - A host without GPUs, and a driver that is not installed, not loaded, or of another version than its kernel module,
    are facts, and no errors. A GPU that does not answer is reported as such, next to the others.
  - A driver that hangs is an error within 30 seconds. So is a document of C(nvidia-smi) that breaks off.
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
"""

EXAMPLES = r"""
- name: Read facts about GPUs
  mlrig.workstation.nvidia_gpu_facts:

- name: Stop where the driver does not answer
  ansible.builtin.assert:
    that: ansible_facts.nvidia.available
    fail_msg: "{{ ansible_facts.nvidia.reason }}"

- name: Show the GPUs that cannot reach their link width
  ansible.builtin.debug:
    msg: "{{ item.name }} at {{ item.pci.address }}: x{{ item.pci.width.current }} of x{{ item.pci.width.max }}"
  loop: "{{ ansible_facts.nvidia.gpus }}"
  loop_control:
    label: "{{ item.uuid }}"
  when: item.pci.width.current != item.pci.width.max
"""

RETURN = r"""
ansible_facts:
  description: What is added to the facts of the host.
  returned: always
  type: dict
  contains:
    nvidia:
      description: The driver and its GPUs.
      returned: always
      type: dict
      contains:
        available:
          description: Whether the driver answered.
          returned: always
          type: bool
          sample: true
        reason:
          description: Why it did not.
          returned: always
          type: str
          sample: the NVIDIA driver is not loaded
        source:
          description: V(nvml) or V(nvidia-smi).
          returned: always
          type: str
          sample: nvml
        driver_version:
          description: The version of the libraries and programs.
          returned: always
          type: str
          sample: "595.71.05"
        kernel_module:
          description: The loaded kernel module, whether the driver answers or not.
          returned: always
          type: dict
          contains:
            version:
              description: Its version.
              returned: always
              type: str
              sample: "595.71.05"
            flavour:
              description: V(open) or V(proprietary).
              returned: always
              type: str
              sample: open
        versions_agree:
          description: Whether both versions are the same. If not, a reboot is due.
          returned: always
          type: bool
          sample: true
        cuda_version:
          description: The newest CUDA that the driver can run.
          returned: always
          type: str
          sample: "13.2"
        gpus:
          description: Every GPU of the driver.
          returned: always
          type: list
          elements: dict
          contains:
            index:
              description: The number that NVML and C(nvidia-smi) give it, in the order of PCI addresses.
              returned: always
              type: int
              sample: 0
            uuid:
              description: Its name for ever.
              returned: always
              type: str
              sample: GPU-d6889ff6-2523-9142-ca3c-1ca3f396a625
            name:
              description: What it is sold as.
              returned: always
              type: str
              sample: NVIDIA GeForce RTX 3090
            architecture:
              description: Its generation.
              returned: always
              type: str
              sample: Ampere
            compute_capability:
              description: The features that CUDA programs find. From C(nvidia-smi) since driver 510.
              returned: always
              type: str
              sample: "8.6"
            error:
              description:
                - Why it does not answer, for example because it fell off the bus; then what is not known is null.
              returned: always
              type: str
              sample: GPU is lost
            pci:
              description: Where and how it is connected.
              returned: always
              type: dict
              contains:
                address:
                  description: As the kernel and C(lspci -D) spell it.
                  returned: always
                  type: str
                  sample: "0000:0a:00.0"
                xorg_bus_id:
                  description:
                    - As the V(BusID) of Xorg, which is decimal, and has the domain where that is not 0, as in
                      V(PCI:10@1:0:0).
                  returned: always
                  type: str
                  sample: PCI:10:0:0
                generation:
                  description: Of PCI Express. An idle GPU shows 1.
                  returned: always
                  type: dict
                  contains:
                    current:
                      description: Now.
                      returned: always
                      type: int
                      sample: 1
                    max:
                      description: What the GPU and its slot can do together.
                      returned: always
                      type: int
                      sample: 4
                width:
                  description: The number of lanes.
                  returned: always
                  type: dict
                  contains:
                    current:
                      description: Now.
                      returned: always
                      type: int
                      sample: 8
                    max:
                      description: What the GPU and its slot can do together.
                      returned: always
                      type: int
                      sample: 16
                replay_counter:
                  description: How often something had to be sent again; a growing number is a bad connection.
                  returned: always
                  type: int
                  sample: 0
            memory_mib:
              description: Its memory.
              returned: always
              type: dict
              contains:
                total:
                  description: All of it.
                  returned: always
                  type: int
                  sample: 24576
                reserved:
                  description: Kept by the driver. Old drivers count it as used.
                  returned: always
                  type: int
                  sample: 316
                used:
                  description: Taken by processes.
                  returned: always
                  type: int
                  sample: 1
                free:
                  description: Left.
                  returned: always
                  type: int
                  sample: 24258
            bar1_mib:
              description: The window through which the CPU reaches the memory.
              returned: always
              type: dict
              contains:
                total:
                  description: Its size.
                  returned: always
                  type: int
                  sample: 32768
                used:
                  description: Mapped.
                  returned: always
                  type: int
                  sample: 2
                free:
                  description: Left.
                  returned: always
                  type: int
                  sample: 32766
            resizable_bar:
              description: Whether that window spans all of the memory.
              returned: always
              type: bool
              sample: true
            processes:
              description: What runs on it, by process id.
              returned: always
              type: list
              elements: dict
              contains:
                pid:
                  description: The process id.
                  returned: always
                  type: int
                  sample: 5762
                name:
                  description: The program.
                  returned: always
                  type: str
                  sample: /usr/bin/python3
                type:
                  description: V(compute), V(graphics) or V(both).
                  returned: always
                  type: str
                  sample: compute
                memory_mib:
                  description: The memory that it uses.
                  returned: always
                  type: int
                  sample: 1005
            persistence_mode:
              description: Whether the driver keeps it initialised while nothing uses it.
              returned: always
              type: bool
              sample: true
            power_watts:
              description: Limits and draw.
              returned: always
              type: dict
              contains:
                limit:
                  description: What was asked for.
                  returned: always
                  type: float
                  sample: 350.0
                enforced:
                  description: The lowest of all limits that apply.
                  returned: always
                  type: float
                  sample: 350.0
                default:
                  description: The limit after a reboot.
                  returned: always
                  type: float
                  sample: 350.0
                min:
                  description: The lowest limit that can be set.
                  returned: always
                  type: float
                  sample: 100.0
                max:
                  description: The highest limit that can be set.
                  returned: always
                  type: float
                  sample: 375.0
                draw:
                  description: What it takes; on Ampere and newer, on average over a second.
                  returned: always
                  type: float
                  sample: 27.23
            clocks_mhz:
              description: Clocks. No driver tells whether they are locked.
              returned: always
              type: dict
              contains:
                current:
                  description: Now.
                  returned: always
                  type: dict
                  contains:
                    graphics:
                      description: Of the graphics units.
                      returned: always
                      type: int
                      sample: 210
                    sm:
                      description: Of the streaming multiprocessors.
                      returned: always
                      type: int
                      sample: 210
                    memory:
                      description: Of the memory.
                      returned: always
                      type: int
                      sample: 405
                    video:
                      description: Of the video units.
                      returned: always
                      type: int
                      sample: 555
                max:
                  description: The highest.
                  returned: always
                  type: dict
                  contains:
                    graphics:
                      description: Of the graphics units.
                      returned: always
                      type: int
                      sample: 2100
                    sm:
                      description: Of the streaming multiprocessors.
                      returned: always
                      type: int
                      sample: 2100
                    memory:
                      description: Of the memory.
                      returned: always
                      type: int
                      sample: 9751
                    video:
                      description: Of the video units.
                      returned: always
                      type: int
                      sample: 1950
                supported:
                  description: The clocks that can be set, by memory clock.
                  returned: always
                  type: list
                  elements: dict
                  contains:
                    memory:
                      description: A clock of the memory.
                      returned: always
                      type: int
                      sample: 9751
                    graphics:
                      description: The clocks of the graphics units that go with it.
                      returned: always
                      type: list
                      elements: int
                      sample: [2100, 2085]
            performance_state:
              description: From V(P0), the fastest, to V(P15).
              returned: always
              type: str
              sample: P8
            temperatures_celsius:
              description:
                - Temperatures, and limits. Of newer GPUs C(nvidia-smi) tells the distance to the limits instead; they
                  are null then.
              returned: always
              type: dict
              contains:
                gpu:
                  description: Of the GPU now.
                  returned: always
                  type: int
                  sample: 37
                memory:
                  description: Of the memory now.
                  returned: always
                  type: int
                  sample: 44
                slowdown:
                  description: Where the hardware slows it down.
                  returned: always
                  type: int
                  sample: 95
                shutdown:
                  description: Where it turns itself off.
                  returned: always
                  type: int
                  sample: 98
                max_operating:
                  description: Where the driver slows it down.
                  returned: always
                  type: int
                  sample: 93
            fan_percent:
              description: The intended speed of its fan.
              returned: always
              type: int
              sample: 0
            throttle_reasons:
              description: Why it runs no faster.
              returned: always
              type: list
              elements: str
              sample: ["gpu_idle", "sw_power_cap"]
            ecc:
              description: Error correction of the memory.
              returned: always
              type: dict
              contains:
                current:
                  description: Whether it is on.
                  returned: always
                  type: bool
                  sample: false
                pending:
                  description: Whether it will be on after a reset or reboot.
                  returned: always
                  type: bool
                  sample: false
            mig:
              description: Splitting into several GPUs.
              returned: always
              type: dict
              contains:
                current:
                  description: Whether it is on.
                  returned: always
                  type: bool
                  sample: false
                pending:
                  description: Whether it will be on after a reset or reboot.
                  returned: always
                  type: bool
                  sample: false
            compute_mode:
              description: V(default), V(exclusive_process), V(exclusive_thread) or V(prohibited).
              returned: always
              type: str
              sample: default
            display:
              description: Screens.
              returned: always
              type: dict
              contains:
                attached:
                  description: Whether one is connected. Drivers claim it of GPUs without connectors as well.
                  returned: always
                  type: bool
                  sample: false
                active:
                  description: Whether the GPU shows something, on a screen or not.
                  returned: always
                  type: bool
                  sample: false
        peer_to_peer:
          description: Whether GPUs reach the memory of each other, for each pair.
          returned: always
          type: list
          elements: dict
          contains:
            gpus:
              description: The indexes of the two.
              returned: always
              type: list
              elements: int
              sample: [0, 1]
            read:
              description:
                - V(ok), V(chipset_not_supported), V(gpu_not_supported), V(topology_not_supported),
                  V(disabled_by_regkey), V(not_supported) or V(unknown).
              returned: always
              type: str
              sample: chipset_not_supported
            write:
              description: One of the same words.
              returned: always
              type: str
              sample: chipset_not_supported
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._gpu_facts import gather
from ..module_utils._settings import SettingsError


def main() -> None:
    module = AnsibleModule(argument_spec={"fact_path": {"type": "path"}}, supports_check_mode=True)
    try:
        facts = gather()
    except (SettingsError, OSError) as error:
        module.fail_json(msg=str(error))
        return
    module.exit_json(ansible_facts={"nvidia": facts})


if __name__ == "__main__":
    main()
