# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts from documents of nvidia-smi: recorded ones, and made ones with all that drivers are known to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._gpu_facts_xml import facts_from_xml
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

RECORDINGS = Path(__file__).parents[3] / "shared/fixtures/smi_xml"

# What was read in the documents by eye.
RECORDED: dict[str, dict[str, Any]] = {
    "a100-sxm4-v12.xml": {
        "driver_version": "535.54.03",
        "cuda_version": "12.2",
        "gpus/0/mig": {"current": True, "pending": True},
        "gpus/0/ecc": {"current": True, "pending": True},
        "gpus/0/temperatures_celsius": {
            "gpu": 27,
            "memory": 44,
            "shutdown": 92,
            "slowdown": 89,
            "max_operating": 85,
        },
        "gpus/0/throttle_reasons": [],
        "gpus/0/power_watts/draw": 67.03,
    },
    "gtx-1660-ti.xml": {
        "driver_version": "418.43",
        "gpus/0/name": "Graphics Device",
        "gpus/0/architecture": None,
        "gpus/0/memory_mib": {"total": 5912, "reserved": None, "used": 0, "free": 5912},
        "gpus/0/resizable_bar": False,
        "gpus/0/clocks_mhz/supported": None,
        "gpus/0/throttle_reasons": ["gpu_idle"],
        "gpus/0/power_watts": {
            "limit": 130.0,
            "enforced": 130.0,
            "default": 130.0,
            "min": 70.0,
            "max": 130.0,
            "draw": 8.93,
        },
    },
    "quadro-p2000-v12.xml": {
        "gpus/0/architecture": "Pascal",
        "gpus/0/fan_percent": 46,
        "gpus/0/pci/width": {"current": 8, "max": 16},
        "gpus/0/temperatures_celsius/max_operating": None,
    },
    "qx-h100.xml": {
        "cuda_version": "13.0",
        "gpus/7/index": 7,
        "gpus/7/error": None,
        "gpus/0/architecture": "Hopper",
        "gpus/0/pci": {
            "address": "0000:53:00.0",
            "xorg_bus_id": "PCI:83:0:0",
            "generation": {"current": 5, "max": 5},
            "width": {"current": 16, "max": 16},
            "replay_counter": 150,
        },
        "gpus/0/display": {"attached": True, "active": False},
        "gpus/0/power_watts/draw": 68.57,
        "gpus/0/temperatures_celsius/slowdown": None,
        "gpus/0/resizable_bar": True,
        "gpus/0/fan_percent": None,
    },
    "qx-t4.xml": {
        "driver_version": "595.91.07",
        "gpus/0/pci/address": "0000:00:1e.0",
        "gpus/0/pci/xorg_bus_id": "PCI:0:30:0",
        "gpus/0/power_watts/draw": 33.51,
        "gpus/0/performance_state": "P0",
        "gpus/0/compute_mode": "default",
    },
    "rtx-3060-v12.xml": {"driver_version": "570.124.04", "gpus/0/power_watts/draw": 11.6, "gpus/0/fan_percent": 0},
    "rtx-3080-v12.xml": {
        "gpus/0/persistence_mode": None,
        "gpus/0/display": {"attached": True, "active": True},
        "gpus/0/power_watts/limit": 336.0,
        "gpus/0/power_watts/default": 320.0,
        "gpus/0/processes/0": {"pid": 835, "name": "/usr/lib/Xorg", "type": "graphics", "memory_mib": 550},
    },
    "rtx-3090-v12.xml": {
        "gpus/0/uuid": "GPU-12345678-aaaa-bbbb-cccc-0123456789ab",
        "gpus/0/persistence_mode": True,
        "gpus/0/resizable_bar": True,
        "gpus/0/clocks_mhz/current": {"graphics": 0, "sm": 0, "memory": 405, "video": 555},
        "gpus/0/clocks_mhz/max": {"graphics": 2100, "sm": 2100, "memory": 9751, "video": 1950},
        "gpus/0/clocks_mhz/supported/4/memory": 405,
        "gpus/0/clocks_mhz/supported/4/graphics/0": 420,
        "gpus/0/power_watts/limit": 200.0,
    },
    "tesla-t4.xml": {
        "gpus/0/processes": [
            {"pid": 675, "name": "/usr/lib/xorg/Xorg", "type": "graphics", "memory_mib": 22},
            {"pid": 5762, "name": "python", "type": "compute", "memory_mib": 1005},
        ],
    },
}


def at(facts: Any, path: str) -> Any:
    for step in path.split("/"):
        facts = facts[int(step) if isinstance(facts, list) else step]
    return facts


def document(*gpus: str, head: str = "") -> str:
    return f"<nvidia_smi_log>{head}{''.join(gpus)}</nvidia_smi_log>"


def gpu(content: str) -> str:
    return f'<gpu id="00000001:0A:00.0">{content}</gpu>'


def facts_of(content: str) -> Any:
    return facts_from_xml(document(gpu(content)))["gpus"][0]


@pytest.mark.skipif(not RECORDINGS.exists(), reason=f"the recordings are not at {RECORDINGS}")
@pytest.mark.parametrize("name", RECORDED)
def test_recordings(name: str) -> None:
    facts = facts_from_xml((RECORDINGS / name).read_text())
    assert {path: at(facts, path) for path in RECORDED[name]} == RECORDED[name]
    assert all(gpu["error"] is None and gpu["uuid"].startswith("GPU-") for gpu in facts["gpus"])


@pytest.mark.skipif(not RECORDINGS.exists(), reason=f"the recordings are not at {RECORDINGS}")
def test_every_recording_is_tested() -> None:
    assert {file.name for file in RECORDINGS.glob("*.xml")} == RECORDED.keys()


@pytest.mark.parametrize(
    "value",
    [
        "N/A",
        "[N/A]",
        "Requested functionality has been deprecated",
        "[Unknown Error]",
        "Not Supported",
        "Insufficient Permissions",
        "",
        "12 parsecs",
        "12",
        "12.5.1 W",
        "1e5 W",
        "nan W",
        "0x10 MiB",
        "9" * 5000 + " MiB",
        "١٢ MiB",
        "-",
        "Maybe",
    ],
)
def test_what_is_not_understood_is_null(value: str) -> None:
    facts = facts_of(
        f"""<gpu_power_readings><power_draw>{value}</power_draw></gpu_power_readings>
        <fb_memory_usage><total>{value}</total></fb_memory_usage>
        <bar1_memory_usage><total>256 MiB</total></bar1_memory_usage>
        <temperature><gpu_temp>{value}</gpu_temp></temperature><fan_speed>{value}</fan_speed>
        <performance_state>{value}</performance_state><persistence_mode>{value}</persistence_mode>
        <compute_mode>{value}</compute_mode><display_active>{value}</display_active>
        <clocks_event_reasons><clocks_event_reason_gpu_idle>{value}</clocks_event_reason_gpu_idle></clocks_event_reasons>
        <supported_clocks>{value}</supported_clocks>"""
    )
    assert facts["power_watts"]["draw"] is None
    assert facts["memory_mib"]["total"] is None
    assert facts["resizable_bar"] is None
    assert facts["temperatures_celsius"]["gpu"] is None
    for name in ("fan_percent", "performance_state", "persistence_mode", "compute_mode", "throttle_reasons"):
        assert facts[name] is None
    assert facts["display"] == {"attached": None, "active": None}
    assert facts["clocks_mhz"]["supported"] is None
    assert facts["error"] is None


def test_a_gpu_that_says_nothing() -> None:
    facts = facts_from_xml('<nvidia_smi_log><gpu id="?"/></nvidia_smi_log>')
    assert facts["driver_version"] is None
    assert facts["gpus"][0]["pci"] == {
        "address": None,
        "xorg_bus_id": None,
        "generation": {"current": None, "max": None},
        "width": {"current": None, "max": None},
        "replay_counter": None,
    }
    assert facts["gpus"][0]["processes"] is None


def test_names_of_drivers_old_and_new() -> None:
    old = facts_of(
        """<display_mode>Enabled</display_mode>
        <power_readings><power_draw>1.00 W</power_draw><power_limit>2.00 W</power_limit>
        <enforced_power_limit>3.00 W</enforced_power_limit></power_readings>
        <clocks_throttle_reasons><clocks_throttle_reason_sw_power_cap>Active</clocks_throttle_reason_sw_power_cap>
        <clocks_throttle_reason_hw_slowdown>N/A</clocks_throttle_reason_hw_slowdown></clocks_throttle_reasons>"""
    )
    new = facts_of(
        """<display_mode>Requested functionality has been deprecated</display_mode>
        <display_attached>Yes</display_attached>
        <gpu_power_readings><average_power_draw>N/A</average_power_draw>
        <instant_power_draw>1.00 W</instant_power_draw>
        <current_power_limit>3.00 W</current_power_limit><requested_power_limit>2.00 W</requested_power_limit>
        </gpu_power_readings>
        <clocks_event_reasons><clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
        <clocks_event_reason_quantum_leap>Not Active</clocks_event_reason_quantum_leap></clocks_event_reasons>
        <clocks_event_reasons_counters><clocks_event_reasons_counters_sync_boost>0 us
        </clocks_event_reasons_counters_sync_boost></clocks_event_reasons_counters>"""
    )
    assert old == new
    assert new["display"]["attached"] is True
    assert new["power_watts"]["limit"] == 2.0
    assert new["power_watts"]["enforced"] == 3.0
    assert new["power_watts"]["draw"] == 1.0
    assert new["throttle_reasons"] == ["sw_power_cap"]


def test_of_two_names_the_newer_counts() -> None:
    both = "<display_mode>Disabled</display_mode><display_attached>Yes</display_attached>"
    assert facts_of(both)["display"]["attached"] is True


def test_attributes_of_other_cards_are_left_alone() -> None:
    strange = '<fan_speed unit="rpm">30 %</fan_speed><hologram depth="3"><uuid>no</uuid></hologram>'
    assert facts_of(strange)["fan_percent"] == 30
    assert facts_of(strange)["uuid"] is None


@pytest.mark.parametrize(
    ("identifier", "address", "xorg"),
    [
        ("00000000:0A:00.0", "0000:0a:00.0", "PCI:10:0:0"),
        ("00000001:0A:00.0", "0001:0a:00.0", "PCI:10@1:0:0"),
        ("00010000:E1:1F.7", "10000:e1:1f.7", "PCI:225@65536:31:7"),
        ("0000:2d:00.0", "0000:2d:00.0", "PCI:45:0:0"),
        ("GPU is elsewhere", "0001:0a:00.0", "PCI:10@1:0:0"),
    ],
)
def test_pci_addresses(identifier: str, address: str, xorg: str) -> None:
    found = "" if "elsewhere" in identifier else f"<pci><pci_bus_id>{identifier}</pci_bus_id></pci>"
    pci = facts_of(found)["pci"]
    assert (pci["address"], pci["xorg_bus_id"]) == (address, xorg)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ("<product_name>GPU is lost</product_name><uuid>GPU is lost</uuid>", "GPU is lost"),
        ("<uuid>GPU-1</uuid><fan_speed>[GPU is lost]</fan_speed>", "GPU is lost"),
        ("<uuid>GPU-1</uuid><fan_speed>[GPU requires reset]</fan_speed>", "GPU requires reset"),
        ("<uuid>[Unknown Error]</uuid>", "Unknown Error"),
        ("<uuid>GPU-1</uuid><fan_speed>[Unknown Error]</fan_speed>", None),
        ("<uuid>N/A</uuid>", None),
    ],
)
def test_a_gpu_that_does_not_answer(values: str, error: str | None) -> None:
    facts = facts_from_xml(document(gpu("<uuid>GPU-0</uuid>"), gpu(values)))["gpus"]
    assert facts[1]["error"] == error
    assert facts[1]["name"] is None
    assert facts[1]["pci"]["address"] == "0001:0a:00.0"
    assert (facts[0]["error"], facts[0]["uuid"]) == (None, "GPU-0")


def test_processes() -> None:
    def process(**elements: str) -> str:
        return f"<process_info>{''.join(f'<{tag}>{text}</{tag}>' for tag, text in elements.items())}</process_info>"

    listed = [
        process(pid="30", type="C+G", process_name="a b", used_memory="1 MiB"),
        process(pid="4", type="M+C", process_name="[Not Found]", used_memory="N/A"),
        process(pid="5", type="?"),
        process(pid="N/A", type="C"),
    ]
    assert facts_of(f"<processes>{''.join(listed)}</processes>")["processes"] == [
        {"pid": 4, "name": None, "type": "compute", "memory_mib": None},
        {"pid": 5, "name": None, "type": None, "memory_mib": None},
        {"pid": 30, "name": "a b", "type": "both", "memory_mib": 1},
    ]
    assert facts_of("<processes>\n</processes>")["processes"] == []
    assert facts_of("<processes>N/A</processes>")["processes"] is None


def test_names_of_processes_that_are_not_xml() -> None:
    name = "a <b> && </c> \x07"
    info = f"<process_info><pid>1</pid><process_name>{name}</process_name></process_info>"
    assert (
        facts_of(f"<processes>{info}</processes>")["processes"][0]["name"] == "a <b> && </c> \N{REPLACEMENT CHARACTER}"
    )


def test_text_around_the_document() -> None:
    text = f"""Failed to initialise <b> something
<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
{document(gpu("<uuid>GPU-1</uuid>"), head="<driver_version>595.71.05</driver_version><cuda_version>N/A</cuda_version>")}
WARNING: infoROM is corrupted at gpu 0000:0A:00.0
"""
    facts = facts_from_xml(text)
    assert (facts["driver_version"], facts["cuda_version"]) == ("595.71.05", None)
    assert facts["gpus"][0]["uuid"] == "GPU-1"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "<nvidia_smi_log><gpu><uuid>GPU-1</uu",
            "must print a whole .*; it ends with: '<nvidia_smi_log><gpu><uuid>GPU-1</uu'",
        ),
        ("", "must print a whole .*; it ends with: ''"),
        ("<nvidia_smi_log><gpu></nvidia_smi_log>", "must print XML; its document has an error: mismatched tag: line 1"),
        ("<nvidia_smi_log>&boom;</nvidia_smi_log>", "must print XML; its document has an error: undefined entity"),
    ],
)
def test_broken_documents(text: str, error: str) -> None:
    with pytest.raises(SettingsError, match=f"^nvidia-smi -q -x {error}"):
        facts_from_xml(text)
