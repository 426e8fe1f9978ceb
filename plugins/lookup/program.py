# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: program
short_description: The files of the program mlrig, for the module mlrig.workstation.program
version_added: 0.2.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Packs the engines of this collection that work on a host without Ansible, and the Python package nvidia-ml-py as it
    is installed beside Ansible. So hosts need no network and no package manager of Python for it, and all hosts get the
    version that was verified here.
  - Fails when nvidia-ml-py is not installed where Ansible runs.
options: {}
requirements:
  - nvidia-ml-py
"""

EXAMPLES = r"""
- name: Install the program mlrig
  mlrig.workstation.program:
    archive: "{{ lookup('mlrig.workstation.program') }}"
"""

RETURN = r"""
_raw:
  description: The files, packed.
  type: list
  elements: str
"""

import re
from importlib import metadata, util
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.module_utils.compat.version import LooseVersion
from ansible.plugins.lookup import LookupBase

from ..module_utils._program_files import LIBRARY, pack

_COLLECTION = Path(__file__).resolve().parents[2]
_ENGINES = _COLLECTION / "plugins/module_utils"
# A picture of the host's file system.
_FILES = _COLLECTION / "roles/program/files"
_OLDEST_BINDING = LooseVersion("13.580")
_IMPORT = re.compile(r"^from \.(\w+) import", re.MULTILINE)


def _add_engine(name: str, engines: dict[str, str]) -> None:
    """Adds the text of an engine and of all that it imports, by name."""
    if name not in engines:
        engines[name] = (_ENGINES / f"{name}.py").read_text(encoding="utf-8")
        for imported in _IMPORT.findall(engines[name]):
            _add_engine(imported, engines)


def _binding() -> str:
    try:
        version = metadata.version("nvidia-ml-py")
        found = util.find_spec("pynvml")
    except metadata.PackageNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise AnsibleLookupError(
            "the Python package nvidia-ml-py is missing where Ansible runs: install it beside ansible-core, by pip"
        )
    if LooseVersion(version) < _OLDEST_BINDING:
        raise AnsibleLookupError(
            f"the Python package nvidia-ml-py must be {_OLDEST_BINDING} or newer where Ansible runs; got: {version}"
        )
    return Path(found.origin).read_text(encoding="utf-8")


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        del terms, variables, kwargs
        engines: dict[str, str] = {"__init__": ""}
        _add_engine("_program", engines)
        files = {f"{LIBRARY}/mlrig/{name}.py": text for name, text in engines.items()}
        files[f"{LIBRARY}/pynvml.py"] = _binding()
        for path in sorted(_FILES.rglob("*")):
            if path.is_file():
                files[str(path.relative_to(_FILES))] = path.read_text(encoding="utf-8")
        return [pack(files)]
