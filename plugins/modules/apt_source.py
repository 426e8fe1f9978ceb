#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_source
short_description: Keep an apt source with a key of its own
version_added: 0.3.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Writes C(/etc/apt/sources.list.d/mlrig-NAME.sources), and the key that its signatures must be of,
    C(/etc/apt/keyrings/mlrig-NAME.gpg).
  - A key is downloaded only where the host has none of the accepted O(fingerprints). One with another is refused.
  - Takes over what other files say of the same repository, because apt stops where two of them name different keys.
    Only those rows go. The file as it was is kept beside it, as C(FILE.mlrig-NAME.save), C(FILE.mlrig-NAME.2.save) and
    so on, which apt ignores. A file that a package brought, such as that of cuda-keyring, is diverted to that name, so
    that no new version of the package brings it back.
  - A new source is tried, with its key and its proxy, before any of them is put in place. One that apt cannot use is an
    error, and nothing changes.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  name:
    description: What the files are called by. Lower-case letters, digits and dashes.
    type: str
    required: true
  state:
    description:
      - V(absent) removes the files of that name, and gives a package back the file that was taken over from it. If that
        package is gone, its diversion goes too.
      - What was taken over from others stays in its backups.
    type: str
    choices: [present, absent]
    default: present
  uris:
    description: Addresses of the repository. Needed for V(present).
    type: list
    elements: str
    default: []
  suites:
    description: Suites, or for a flat repository its folders, each with a slash at the end.
    type: list
    elements: str
    default: [/]
  components:
    description: Components, for a repository that is not flat.
    type: list
    elements: str
    default: []
  architectures:
    description: Architectures. By default all of the host's.
    type: list
    elements: str
    default: []
  key:
    description: The path of a key on the host, or an armoured key. This or O(key_url).
    type: str
  key_url:
    description: Where to download the key, by http, https or file. Needs O(fingerprints).
    type: str
  fingerprints:
    description: Fingerprints of the primary keys that are accepted. Spaces and case do not matter.
    type: list
    elements: str
    default: []
  proxy:
    description:
      - A proxy for the key and, in C(/etc/apt/apt.conf.d/52mlrig-NAME-proxy), for the hosts of O(uris); or V(DIRECT).
      - By default the key is downloaded through the proxy of the environment, or else that of apt.
    type: str
  takes_over:
    description: Globs of further addresses that count as the same repository, such as V(https://mirror.example/*).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Use NVIDIA's repository
  mlrig.workstation.apt_source:
    name: nvidia
    uris: ["{{ nvidia_driver_repository }}"]
    key_url: "{{ nvidia_driver_repository }}/3bf863cc.pub"
    fingerprints: [EB693B3035CD5710E231E123A4B469963BF863CC]
"""

RETURN = r"""
settings:
  description: One record for each file, and for each other file that says something of the same repository.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The file.
      type: str
      returned: always
      sample: /etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list
    plane:
      description: Always V(persisted).
      type: str
      returned: always
      sample: persisted
    expected:
      description: The file's text, or the fingerprints of a key; null when it should not be there.
      type: str
      returned: always
      sample: EB693B3035CD5710E231E123A4B469963BF863CC
    actual:
      description: What was found when the module began; null when there was nothing.
      type: str
      returned: always
      sample: null
    action:
      description: V(none), V(changed), or V(skipped) for what cannot be given back.
      type: str
      returned: always
      sample: changed
    reason:
      description: What there is to say of it.
      type: str
      returned: when there is something to say
      sample: taken over by /etc/apt/sources.list.d/mlrig-nvidia.sources
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._apt import run
from ..module_utils._apt_source import SourcePlan, make_plan
from ..module_utils._apt_source_request import parse_request
from ..module_utils._settings import converge, run_state_module

_WORDS: dict[str, Any] = {"type": "list", "elements": "str", "default": []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "uris": _WORDS,
            "suites": {"type": "list", "elements": "str", "default": ["/"]},
            "components": _WORDS,
            "architectures": _WORDS,
            # A public key is no secret, whatever its name suggests.
            "key": {"type": "str", "no_log": False},
            "key_url": {"type": "str", "no_log": False},
            "fingerprints": _WORDS,
            "proxy": {"type": "str"},
            "takes_over": _WORDS,
        },
        supports_check_mode=True,
    )

    def plan() -> SourcePlan:
        return make_plan(parse_request(module.params), run, Path("/"))

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
