# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all state modules have in common."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Reports what a run would change, by the same code path, and changes nothing.
    support: full
  diff_mode:
    description: Shows every setting that differs, before and after.
    support: full
  idempotent:
    description: A second run with the same options changes nothing.
    support: full
  platform:
    description: Where it runs.
    platforms: posix
    support: full
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
"""
