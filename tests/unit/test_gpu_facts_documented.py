# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the facts names all that they have, whether NVML or nvidia-smi tells them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts import gather
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts_nvml import facts_from_nvml
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts_xml import facts_from_xml
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError
from ansible_collections.mlrig.workstation.plugins.modules import nvidia_gpu_facts

from .conftest import Host
from .test_gpu_facts_nvml import Nvml, process
from .test_gpu_facts_xml import document, gpu


def documented(contains: dict[str, Any]) -> dict[str, Any]:
    return {
        name: documented(value["contains"]) if "contains" in value else value["type"]
        for name, value in contains.items()
    }


def found(facts: dict[str, Any], of: dict[str, Any]) -> dict[str, Any]:
    """The shape of facts; a value that tells nothing has whatever type is documented."""
    return {name: shape(value, of.get(name)) for name, value in facts.items()}


def shape(value: Any, of: Any) -> Any:
    match value:
        case dict():
            return found(value, of if isinstance(of, dict) else {})
        case [dict(), *_]:
            return shape(value[0], of)
        case [] | None:
            return of
    return type(value).__name__


NVIDIA = documented(yaml.safe_load(nvidia_gpu_facts.RETURN)["ansible_facts"]["contains"]["nvidia"]["contains"])


def test_from_nvml() -> None:
    clocks = {"nvmlDeviceGetSupportedMemoryClocks": [405], "nvmlDeviceGetComputeRunningProcesses_v3": [process(1)]}
    facts = facts_from_nvml(Nvml(clocks, {}), lambda _: None)
    assert found(facts, NVIDIA) == {name: NVIDIA[name] for name in facts}
    assert facts["gpus"][0]["processes"]
    assert facts["gpus"][0]["clocks_mhz"]["supported"]


def test_from_nvidia_smi() -> None:
    content = """<processes><process_info><pid>1</pid></process_info></processes>
    <supported_clocks><supported_mem_clock><value>405 MHz</value></supported_mem_clock></supported_clocks>"""
    facts = facts_from_xml(document(gpu(content)))
    assert found(facts, NVIDIA) == {name: NVIDIA[name] for name in facts}
    assert facts["gpus"][0]["processes"]
    assert facts["gpus"][0]["clocks_mhz"]["supported"]


def test_of_a_host(host: Host) -> None:
    assert found(gather(host.root), NVIDIA) == NVIDIA


def test_samples_are_of_their_types() -> None:
    def check(contains: dict[str, Any]) -> None:
        for name, value in contains.items():
            if "contains" in value:
                check(value["contains"])
            else:
                assert (name, type(value["sample"]).__name__) == (name, value["type"])

    check(yaml.safe_load(nvidia_gpu_facts.RETURN))


def test_the_module_says_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, Any]] = []

    class Module:
        def __init__(self, **_: Any) -> None: ...

        def fail_json(self, **answer: Any) -> None:
            answers.append({"failed": True, **answer})

        def exit_json(self, **answer: Any) -> None:
            answers.append(answer)

    def hang() -> None:
        raise SettingsError("it hangs")

    monkeypatch.setattr(nvidia_gpu_facts, "AnsibleModule", Module)
    monkeypatch.setattr(nvidia_gpu_facts, "gather", dict)
    nvidia_gpu_facts.main()
    monkeypatch.setattr(nvidia_gpu_facts, "gather", hang)
    nvidia_gpu_facts.main()
    assert answers == [{"ansible_facts": {"nvidia": {}}}, {"failed": True, "msg": "it hangs"}]
