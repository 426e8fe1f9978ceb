#!/usr/bin/python
# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon
short_description: Keep keys of Docker's daemon.json, and a running dockerd that has read them
version_added: 0.5.0
author:
  - The mlrig.workstation engineers (@mlrig)
description:
  - Takes all keys in one call. In C(/etc/docker/daemon.json) only the named ones are edited; every other byte stays,
    and a copy of the file before the first edit is kept beside it, with the suffix C(.mlrig.save). A file that is no
    JSON is refused with line and column.
  - The text is tried by C(dockerd --validate), with the flags of the dockerd that runs, before it is written and before
    dockerd is started with it. If dockerd does not start with it all the same, the file is put back as it was, and
    dockerd is started with that.
  - The service is enabled and started. Changed keys are reloaded, which is enough for some, such as C(runtimes) and
    C(live-restore). For the others dockerd has to be started again, which O(restart) decides about. A dockerd that
    began before the file was last written, by whomever, counts as one that has not read it.
  - Docker as a snap is refused, because it has a configuration of its own, and so is a dockerd that is told to read
    another file by C(--config-file).
extends_documentation_fragment:
  - mlrig.workstation.settings
options:
  settings:
    description:
      - Keys of C(daemon.json) and their values. Of a key whose value is a dictionary, such as C(log-opts), its own keys
        are kept one by one, beside others in the file.
      - A key that is not named, or is null, keeps its value.
    type: dict
    default: {}
  restart:
    description:
      - Whether a dockerd that runs already may be started again. V(when_idle) does where no container runs, or
        containers outlive it, which they do where dockerd has C(live-restore) and begins with it again. V(always) stops
        containers. V(never) leaves it to you.
      - Where it may not, the record says that a reboot is needed, and why.
    type: str
    choices: [never, when_idle, always]
    default: when_idle
requirements:
  - Docker Engine 23 or newer
"""

EXAMPLES = r"""
- name: Rotate the logs of containers, and let them outlive a restart of dockerd
  mlrig.workstation.docker_daemon:
    settings:
      log-driver: local
      live-restore: true
"""

RETURN = r"""
settings:
  description:
    - One record for each key, and two for the service. All state modules return records of this shape, so that together
      they are the drift report.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The key, with those that it is in before it, or C(docker.service).
      type: str
      returned: always
      sample: runtimes.nvidia
    plane:
      description: V(persisted) for keys; V(persisted) and V(live), or V(boot), for the service.
      type: str
      returned: always
      sample: persisted
    expected:
      description: The wanted value, as JSON, or state.
      type: str
      returned: always
      sample: '{"args": [], "path": "nvidia-container-runtime"}'
    actual:
      description: The value or state found when the module began; null where there is none.
      type: str
      returned: always
      sample: null
    action:
      description: V(none), V(changed), or V(reboot) where dockerd has to be started again, and may not be.
      type: str
      returned: always
      sample: changed
    reason:
      description: Why dockerd may not be started again.
      type: str
      returned: when action is V(reboot)
      sample: a restart would stop 2 containers; systemctl restart docker does it, as does a reboot
reboot_required:
  description: Whether dockerd has yet to read the file.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._docker_daemon import make_plan
from ..module_utils._docker_request import parse_daemon_settings
from ..module_utils._settings import Settings, converge, run_state_module


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "restart": {"type": "str", "choices": ["never", "when_idle", "always"], "default": "when_idle"},
        },
        supports_check_mode=True,
    )

    def run() -> Settings:
        wanted = parse_daemon_settings(module.params["settings"])
        return converge(lambda: make_plan(wanted, restart=module.params["restart"]), check_mode=module.check_mode)

    run_state_module(module, run)


if __name__ == "__main__":
    main()
