# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: guarded_packages
short_description: Which packages are kernel or driver
version_added: 0.3.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Regular expressions, matched from the start of a name, of the packages that change only when that was asked for.
    They serve as unattended-upgrades' C(Package-Blacklist).
options: {}
seealso:
  - module: mlrig.workstation.apt_freeze
  - module: mlrig.workstation.apt_packages
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ lookup('mlrig.workstation.guarded_packages', wantlist=true) }}"
"""

RETURN = r"""
_raw:
  description: The regular expressions.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase

from ..module_utils._guarded_packages import PATTERNS


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        del terms, variables, kwargs
        return list(PATTERNS)
