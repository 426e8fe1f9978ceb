#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_project
short_description: Keep uv projects locked, in step with their lock, and whole
version_added: 0.5.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes the whole list in one call. Of each project it tells apart a C(uv.lock) that is missing, not in step with
    C(pyproject.toml), or corrupt; an environment C(.venv) that is missing, without its interpreter, of another Python,
    or not in step with the lock, and which packages differ; and files of installed packages that are gone or damaged.
  - Mends what differs. A lock is made where there is none that fits, and keeps the versions that still do. A lock that
    cannot be read is kept beside the new one as C(uv.lock.corrupt). Damaged packages are installed anew.
  - A C(pyproject.toml) and a C(uv.lock) that are there are the user's, and only kept in step with each other. Packages
    that the lock does not name are removed from the environment, which belongs to the project alone.
  - Runs uv as the owner of the project, with a clean environment, so that nothing in a home belongs to root. What the
    cache has is installed without the network.
  - In check mode nothing is written, not even to the cache. What a lock that is corrupt would change in the environment
    is not told before there is one that can be read.
  - A project that cannot be looked at or mended has failed, and keeps no other from being mended.
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  projects:
    description: The projects.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - The folder with C(pyproject.toml); of a workspace, that of the whole. It begins with C(/), or with C(~/) for
            the home of the O(projects[].owner).
        type: str
        required: true
      owner:
        description:
          - The user to whom the project belongs. Without it, the user whose folder it is, or, where it is not there
            yet, whose folder it will be in; that must not be root, who has to be named.
        type: str
      extras:
        description: Extras of the project to install, of C([project.optional-dependencies]).
        type: list
        elements: str
      groups:
        description: Groups to install, of C([dependency-groups]), besides those that are installed by default.
        type: list
        elements: str
      python:
        description:
          - The Python of the environment, a version in quotes such as V("3.12"), or the path of an interpreter.
            Without it, what C(.python-version) and C(requires-python) say.
        type: raw
      pyproject:
        description: The text of C(pyproject.toml), written only where there is none.
        type: str
      environment:
        description: Variables for uv in this project, besides those of O(environment).
        type: dict
        default: {}
  environment:
    description:
      - Variables for uv in all projects, such as C(UV_CACHE_DIR), C(UV_DEFAULT_INDEX) or C(UV_PYTHON_INSTALL_MIRROR).
        Of those of whoever runs the module, uv sees only what says how the network is reached.
      - No Python is downloaded unless C(UV_PYTHON_DOWNLOADS) says V(automatic) or V(manual).
    type: dict
    default: {}
  cache:
    description:
      - A folder in which each owner has a cache, C(OWNER/uv), instead of C(~/.cache/uv). The owner must be able to
        write there. Where it is on another file system than a project, packages are copied.
    type: path
  damage:
    description:
      - How installed files are compared with what was installed. V(sizes) takes a second for 30,000 files, V(hashes)
        reads them all, V(none) looks at none.
    type: str
    choices: [sizes, hashes, none]
    default: sizes
  uv:
    description: The program.
    type: path
    default: /opt/mlrig/uv/bin/uv
requirements:
  - uv 0.13
"""

EXAMPLES = r"""
- name: Keep a project for fine-tuning
  mlrig.workstation.uv_project:
    projects:
      - path: ~/ml-finetune
        owner: ada
        python: "3.12"
        extras: [unsloth]
        pyproject: "{{ lookup('ansible.builtin.template', 'pyproject.toml.j2') }}"
    environment:
      UV_CACHE_DIR: /home/ada/.cache/uv

- name: Read every file of an environment
  mlrig.workstation.uv_project:
    projects:
      - path: /srv/inference
        owner: ada
    damage: hashes
  check_mode: true
"""

RETURN = r"""
settings:
  description:
    - Records for uv, and of each project for the lock, for the environment, and for every package that differs. All
      state modules return records of this shape, so that together they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The program, or the project's path with a file, C(.venv), or C(.venv) and a package.
      type: str
      returned: always
      sample: /home/ada/ml-finetune/.venv/torch
    plane:
      description: Always V(persisted).
      type: str
      returned: always
      sample: persisted
    expected:
      description: The wanted state or version; null for a package that should not be there.
      type: str
      returned: always
      sample: 2.10.0
    actual:
      description: What was found when the module began; null when there was none.
      type: str
      returned: always
      sample: 2.10.0, with damage to 1 file
    action:
      description:
        - V(none), V(changed), or V(skipped) when it cannot be told yet.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why it was skipped, or what is damaged.
      type: str
      returned: when there is something to say
      sample: torch/version.py has 0 bytes instead of 321
reboot_required:
  description: Always false.
  returned: success
  type: bool
  sample: false
warnings:
  description: Where a lock that could not be read is kept, and that versions are those of the cache, without the index.
  returned: when there is one
  type: list
  elements: str
  sample:
    - "~/ml-finetune: uv.lock could not be read, and is now uv.lock.corrupt"
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._settings import converge, run_state_module
from ..module_utils._uv_project import ProjectsPlan, make_plan
from ..module_utils._uv_request import parse_projects


def main() -> None:
    project = {
        "path": {"type": "str", "required": True},
        "owner": {"type": "str"},
        "extras": {"type": "list", "elements": "str"},
        "groups": {"type": "list", "elements": "str"},
        "python": {"type": "raw"},
        "pyproject": {"type": "str"},
        "environment": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(
        argument_spec={
            "projects": {"type": "list", "elements": "dict", "required": True, "options": project},
            "environment": {"type": "dict", "default": {}},
            "cache": {"type": "path"},
            "damage": {"type": "str", "choices": ["sizes", "hashes", "none"], "default": "sizes"},
            "uv": {"type": "path", "default": "/opt/mlrig/uv/bin/uv"},
        },
        supports_check_mode=True,
    )
    options = module.params

    def plan() -> ProjectsPlan:
        projects = parse_projects(options["projects"], options["environment"])
        return make_plan(
            projects, options["uv"], options["damage"], check_mode=module.check_mode, cache=options["cache"]
        )

    run_state_module(module, lambda: converge(plan, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
