# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role containers makes of what it found: GPUs for a training in a compose file, what check mode can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[2] / "roles/containers"


def gpu(uuid: str | None, *, display: bool | None = False) -> dict[str, Any]:
    return {"uuid": uuid, "display": {"active": display}}


def template(text: str, gpus: list[dict[str, Any]], chosen: list[str], **found: Any) -> Any:
    loader = DataLoader()
    variables: dict[str, Any] = {
        **loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "ansible_facts": {"nvidia": {"available": True, "reason": None, "gpus": gpus}},
        "containers_gpus": chosen,
        **found,
    }
    return Templar(loader, variables=variables).template(trust_as_template(text))


@pytest.mark.parametrize(
    ("gpus", "chosen", "named"),
    [
        ([gpu("GPU-a"), gpu("GPU-b", display=True)], [], ["GPU-a"]),
        ([gpu("GPU-a", display=True), gpu("GPU-b", display=True)], [], ["GPU-a", "GPU-b"]),
        ([gpu("GPU-a", display=None)], [], ["GPU-a"]),
        ([gpu("GPU-a"), gpu("GPU-b", display=True)], ["GPU-b"], ["GPU-b"]),
        ([gpu(None, display=None), gpu("GPU-b")], [], ["GPU-b"]),
    ],
)
def test_the_gpus_for_training_are_named_and_no_other(
    gpus: list[dict[str, Any]], chosen: list[str], named: list[str]
) -> None:
    text = template((ROLE / "templates/mlrig-compose.yaml.j2").read_text(), gpus, chosen)
    training = yaml.safe_load(text)["services"]["training"]
    [device] = training["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": named, "capabilities": ["gpu"]}


@pytest.mark.parametrize(("gpus", "answer"), [([gpu("GPU-a")], True), ([gpu(None)], False), ([], False)])
def test_a_driver_that_names_no_gpu_is_as_none(gpus: list[dict[str, Any]], *, answer: bool) -> None:
    """Without a name Docker would give all GPUs."""
    assert template("{{ _containers_gpus_answer }}", gpus, []) is answer
    daemon = template("{{ _containers_daemon }}", gpus, [])
    assert ("runtimes" in daemon) is answer


@pytest.mark.parametrize("toolkit", ["none", "changed"])
@pytest.mark.parametrize("dockerd", [None, "active"])
def test_check_mode_leaves_out_only_what_needs_what_is_missing(toolkit: str, dockerd: str | None) -> None:
    installed = [{"id": "docker.io", "action": "changed"}, {"id": "nvidia-container-toolkit", "action": toolkit}]
    daemon = [{"id": "log-driver", "actual": None}, {"id": "docker.service", "actual": dockerd}]
    found = {
        "_containers_installed": {"settings": installed},
        "_containers_daemon_result": {"settings": daemon},
    }
    assert template("{{ _containers_toolkit_comes }}", [], [], **found) is (toolkit == "changed")
    assert template("{{ _containers_docker_comes }}", [], [], **found) is (dockerd is None)
