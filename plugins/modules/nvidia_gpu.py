#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_gpu
short_description: Set persistence mode, power limit, clock locks and compute mode of NVIDIA GPUs
version_added: 0.2.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes all settings of all GPUs in one call, by NVML. Everything that can be read is read again after it was set.
  - No driver tells which clocks are locked. So what was locked is recorded below C(/run/mlrig/gpu), and the record
    counts until the next boot, driver load, resume, or driver version, or until persistence mode is found to have been
    switched off although it is wanted. RV(settings) says of each setting whether it was read or only recorded.
  - One GPU that fails does not stop the others. The module then fails in the end, and RV(settings) says what was done.
  - What a GPU cannot have is skipped, with the reason. So is everything on a host without an NVIDIA GPU, or whose
    driver is not loaded.
  - All of this is gone at the next boot, as GPUs have no memory for it. O(persist) and the role C(gpu_tuning) bring it
    back.
requirements:
  - nvidia-ml-py (the role C(program) brings it)
extends_documentation_fragment:
  - mlrig.workstation.settings
attributes:
  idempotent:
    details:
      - O(force=true) sets clock locks every time.
options:
  cards:
    description:
      - A table of cards, over which O(gpus) is laid. Its rows have the same keys, and no C(required).
      - It need not be written for this host. A row may fit no GPU, and a power limit beyond a board's range becomes the
        nearest end of it, of which RV(settings) tells.
    type: list
    elements: dict
    default: []
  gpus:
    description:
      - What is wanted of which GPUs. Entries apply in their order; for each setting the last one that has it wins.
    type: list
    elements: dict
    default: []
    suboptions:
      match:
        description:
          - V(all), or a dictionary of one or more of C(uuid), C(bus_id), C(index) and C(name), which all must fit.
          - C(name) is a Python regular expression that is searched for in the GPU's name, whatever the case. An index
            may stand for another card after the next boot; a UUID never does.
        type: raw
        required: true
      required:
        description: Whether it is an error that no GPU fits.
        type: bool
        default: true
      persistence_mode:
        description: Whether the driver stays initialised, and remembers its settings, while no program uses the GPU.
        type: bool
      power_limit:
        description:
          - Watts, a percentage of the board's default such as V(80%), or V(default).
          - A limit beyond the board's own range is an error that names the range.
        type: raw
      graphics_clocks:
        description:
          - The range in which the graphics clock is locked, as a list of its minimum and its maximum, or V(reset).
          - Each is in MHz, or a percentage of the card's maximum such as V(90%). What the card does not support becomes
            the nearest that it does, and RV(settings) says so.
          - Needs Volta or newer.
        type: raw
      memory_clocks:
        description:
          - The same for the memory clock. Needs Ampere or newer.
          - On Blackwell a lock has cost up to a third of the speed; there it gives a warning.
        type: raw
      compute_mode:
        description: Which programs may compute on the GPU.
        type: str
        choices: [default, exclusive_process, prohibited]
      note:
        description: Why, for people. It has no effect.
        type: str
  persist:
    description:
      - Whether to write O(cards), O(gpus) and O(strict) to C(/etc/mlrig/gpu.json), from which the program C(mlrig) sets
        them without Ansible, as at boot. Also where no driver is loaded; not when they do not fit the host, or the
        driver hangs.
    type: bool
    default: false
  strict:
    description: Whether it is an error that a GPU cannot have a setting, instead of skipping it.
    type: bool
    default: false
  purge:
    description: Give back to the driver what an earlier run set, on this boot, and O(gpus) does not ask for any more.
    type: bool
    default: false
  force:
    description:
      - Set clock locks again, even if they are recorded, and try again what a GPU was recorded not to support. For
        locks that were changed by other programs.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep every card awake, and those for training below the limit of the power supply
  mlrig.workstation.nvidia_gpu:
    gpus:
      - match: all
        persistence_mode: true
      - match: {name: RTX 3090}
        power_limit: 280
      - match: {uuid: GPU-8d1c3f5a-0b2e-4c6d-9e8f-7a6b5c4d3e2f}
        power_limit: "90%"
        graphics_clocks: [210, 1695]

- name: Lock the clocks again after another program has changed them
  mlrig.workstation.nvidia_gpu:
    gpus:
      - match: {index: 0}
        graphics_clocks: [2100, 2700]
        memory_clocks: [9001, 9001]
    force: true
"""

RETURN = r"""
settings:
  description:
    - One record for each setting of each GPU. All state modules return records of this shape, so that together they
      are the drift report.
  returned: always, except after wrong input, or when the driver hangs
  type: list
  elements: dict
  contains:
    id:
      description: The GPU's UUID and the setting. For settings that reached no GPU, the entry and the setting.
      type: str
      returned: always
      sample: GPU-8d1c3f5a-0b2e-4c6d-9e8f-7a6b5c4d3e2f/power_limit
    plane:
      description: V(live), what is true now, or V(persisted), the file from which it is set again.
      type: str
      returned: always
      sample: live
    expected:
      description: The wanted value, as this GPU can have it.
      type: str
      returned: always
      sample: 165 W
    actual:
      description: The value found when the module began; null when nobody can tell.
      type: str
      returned: always
      sample: 180 W
    action:
      description:
        - V(none), V(changed), V(skipped) when this GPU cannot have it, or V(failed).
      type: str
      returned: always
      sample: changed
    evidence:
      description:
        - V(read) when the driver told the actual value, V(recorded) when it is what an earlier run of this module had
          set, V(unknown) when nobody can tell.
      type: str
      returned: when the GPU can have the setting
      sample: read
    reason:
      description: Why it was skipped or failed, or how the expected value differs from the one asked for.
      type: str
      returned: when there is something to say
      sample: 2712 MHz is not a clock of this card, 2715 MHz is the nearest
reboot_required:
  description: Whether a setting waits for a reboot.
  returned: success
  type: bool
  sample: false
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._gpu_configuration import parse_request, persist
from ..module_utils._gpu_request import COMPUTE_MODES
from ..module_utils._gpu_run import run
from ..module_utils._settings import Settings, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cards": {"type": "list", "elements": "dict", "default": []},
            "gpus": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "match": {"type": "raw", "required": True},
                    "required": {"type": "bool", "default": True},
                    "persistence_mode": {"type": "bool"},
                    "power_limit": {"type": "raw"},
                    "graphics_clocks": {"type": "raw"},
                    "memory_clocks": {"type": "raw"},
                    "compute_mode": {"type": "str", "choices": list(COMPUTE_MODES)},
                    "note": {"type": "str"},
                },
            },
            "persist": {"type": "bool", "default": False},
            "strict": {"type": "bool", "default": False},
            "purge": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = module.params

    def converge() -> Settings:
        request = parse_request(options, purge=options["purge"], force=options["force"])
        settings = run(request, check_mode=module.check_mode).settings
        if options["persist"]:
            persist(options, settings, Path("/"), check_mode=module.check_mode)
        return settings

    run_state_module(module, converge)


if __name__ == "__main__":
    main()
