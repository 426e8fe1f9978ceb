#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_variables
short_description: Refuse wrong and unknown variables of this collection's roles before anything changes
version_added: 0.1.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Compares all variables of a host with the argument specifications of all roles of this collection, and fails with
    one line for each that is wrong, naming the variable, the rule and the value.
  - Names that begin with the name of a role and an underscore belong to that role. One that it does not have is
    refused, with the nearest name, or all names, that it does have.
  - Types are strict. A text is not taken for a list, nor a quoted word for a boolean. Only the text of a template may
    stand for a number, because with ansible-core 2.18 templates give no numbers but as texts.
  - Runs on the controller only and never touches the host.
attributes:
  check_mode:
    description: It changes nothing, so that it does the same in check mode.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
  idempotent:
    description: A second run does the same.
    support: full
"""

EXAMPLES = r"""
- name: Refuse wrong and unknown variables
  mlrig.workstation.validate_variables:
"""

RETURN = r""" # """
