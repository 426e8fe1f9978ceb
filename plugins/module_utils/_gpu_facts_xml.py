# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts about GPUs from the document that `nvidia-smi -q -x` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from ._gpu_facts_elements import LOST, UNKNOWN, Read, choice, find, on, text, watts, whole
from ._gpu_facts_shape import COMPUTE_MODES, Facts, add_conclusions, pci_address, read_all
from ._settings import SettingsError

ROOT = "nvidia_smi_log"
_PROCESS_TYPES = {"C": "compute", "M+C": "compute", "G": "graphics", "C+G": "both", "M+C+G": "both"}
_REASON = re.compile(r"clocks_(?:throttle|event)_reason_(\w+)")


def _throttle_reasons(gpu: Element) -> list[str] | None:
    """None if no reason tells whether it holds."""
    states = {
        name[1]: (element.text or "").strip()
        for group in ("clocks_event_reasons", "clocks_throttle_reasons")
        for element in gpu.iterfind(f"{group}/*")
        if (name := _REASON.fullmatch(element.tag))
    }
    if not {"Active", "Not Active"} & set(states.values()):
        return None
    return sorted(name for name, state in states.items() if state == "Active")


def _supported_clocks(gpu: Element) -> list[Facts] | None:
    facts = [
        {"memory": whole("MHz", "value")(clock), "graphics": _clocks(clock.iterfind("supported_graphics_clock"))}
        for clock in gpu.iterfind("supported_clocks/supported_mem_clock")
    ]
    return facts or None


def _clocks(elements: Iterable[Element]) -> list[int] | None:
    return [clock for clock in map(whole("MHz", "."), elements) if clock is not None] or None


_PROCESS: Mapping[str, Read] = {
    "pid": whole("", "pid"),
    "name": text("process_name"),
    "type": choice(_PROCESS_TYPES, "type"),
    "memory_mib": whole("MiB", "used_memory"),
}


def _processes(gpu: Element) -> list[Facts] | None:
    """By process id. None if no list of them can be read."""
    listed = gpu.find("processes")
    if listed is None or (len(listed) == 0 and (listed.text or "").strip()):
        return None
    processes = [read_all(_PROCESS, info) for info in listed.iterfind("process_info")]
    return sorted((each for each in processes if each["pid"] is not None), key=lambda each: int(each["pid"]))


def _address(gpu: Element) -> str | None:
    return pci_address(find(gpu, "pci/pci_bus_id") or gpu.get("id") or "")


_LINK = "pci/pci_gpu_link_info"
_CLOCKS = {"graphics": "graphics_clock", "sm": "sm_clock", "memory": "mem_clock", "video": "video_clock"}

_SHAPE = {
    "uuid": text("uuid"),
    "name": text("product_name"),
    "architecture": text("product_architecture"),
    "compute_capability": lambda _: None,
    "pci": {
        "address": _address,
        "generation": {
            "current": whole("", f"{_LINK}/pcie_gen/current_link_gen"),
            "max": whole("", f"{_LINK}/pcie_gen/max_link_gen"),
        },
        "width": {
            "current": whole("x", f"{_LINK}/link_widths/current_link_width"),
            "max": whole("x", f"{_LINK}/link_widths/max_link_width"),
        },
        "replay_counter": whole("", "pci/replay_counter"),
    },
    "memory_mib": {part: whole("MiB", f"fb_memory_usage/{part}") for part in ("total", "reserved", "used", "free")},
    "bar1_mib": {part: whole("MiB", f"bar1_memory_usage/{part}") for part in ("total", "used", "free")},
    "processes": _processes,
    "persistence_mode": on("persistence_mode"),
    "power_watts": {
        "limit": watts("requested_power_limit", "power_limit"),
        "enforced": watts("current_power_limit", "enforced_power_limit"),
        "default": watts("default_power_limit"),
        "min": watts("min_power_limit"),
        "max": watts("max_power_limit"),
        "draw": watts("power_draw", "average_power_draw", "instant_power_draw"),
    },
    "clocks_mhz": {
        "current": {name: whole("MHz", f"clocks/{element}") for name, element in _CLOCKS.items()},
        "max": {name: whole("MHz", f"max_clocks/{element}") for name, element in _CLOCKS.items()},
        "supported": _supported_clocks,
    },
    "performance_state": choice({f"P{number}": f"P{number}" for number in range(16)}, "performance_state"),
    "temperatures_celsius": {
        "gpu": whole("C", "temperature/gpu_temp"),
        "memory": whole("C", "temperature/memory_temp"),
        "shutdown": whole("C", "temperature/gpu_temp_max_threshold"),
        "slowdown": whole("C", "temperature/gpu_temp_slow_threshold"),
        "max_operating": whole("C", "temperature/gpu_temp_max_gpu_threshold"),
    },
    "fan_percent": whole("%", "fan_speed"),
    "throttle_reasons": _throttle_reasons,
    "ecc": {"current": on("ecc_mode/current_ecc"), "pending": on("ecc_mode/pending_ecc")},
    "mig": {"current": on("mig_mode/current_mig"), "pending": on("mig_mode/pending_mig")},
    "compute_mode": choice({mode.title(): mode for mode in COMPUTE_MODES}, "compute_mode"),
    "display": {
        "attached": on("display_attached", "display_mode"),
        "active": on("display_active"),
    },
}


def _error(gpu: Element) -> str | None:
    """What stands in place of values if the GPU does not answer."""
    texts = {(child.text or "").strip().strip("[]") for child in gpu}
    lost = next((sign for sign in LOST if sign in texts), None)
    unidentified = gpu.findtext("uuid", "").strip().strip("[]") == UNKNOWN
    return lost or (UNKNOWN if unidentified else None)


# A GPU that does not even give its handle is not in the document.
_UNHANDLED = re.compile(r"Unable to determine the device handle for GPU\s?(?:\d+: )?([\dA-Fa-f:.]+): ([^.\n]+)")


def facts_from_xml(output: str) -> Facts:
    """What the output of `nvidia-smi -q -x`, a document between warnings, tells about the driver and every GPU.

    Raises SettingsError for a broken document.
    """
    root, around = _parse(output)
    facts: Facts = {name: find(root, name) for name in ("driver_version", "cuda_version")}
    facts = {name: value if re.fullmatch(r"\d+(\.\d+)+", value or "") else None for name, value in facts.items()}
    gpus = [{"error": _error(gpu), **_read(gpu)} for gpu in root.iterfind("gpu")]
    unhandled = [
        {"error": error.strip(), **_read(Element("gpu", id=address))} for address, error in _UNHANDLED.findall(around)
    ]
    if unhandled:
        gpus = sorted(gpus + unhandled, key=lambda gpu: str(gpu["pci"]["address"]))
    facts["gpus"] = [{"index": index, **gpu} for index, gpu in enumerate(gpus)]
    return facts


def _read(gpu: Element) -> Facts:
    return add_conclusions(read_all(_SHAPE, gpu))


# The names of processes are any text that their users like.
_PROCESS_NAME = re.compile(r"(?<=<process_name>)(.*?)(?=</process_name>)", re.DOTALL)


def _escape_name(name: re.Match[str]) -> str:
    return escape(
        "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name[0])
    )


def _parse(output: str) -> tuple[Element, str]:
    """The document, and the text around it."""
    # Also leaves out the DOCTYPE, and with it all that could expand.
    found = re.search(rf"<{ROOT}\b.*</{ROOT}>", output, re.DOTALL)
    if found is None:
        end = output.rstrip().rpartition("\n")[2]
        raise SettingsError(f"nvidia-smi -q -x must print a whole <{ROOT}>...</{ROOT}>; it ends with: {end[-200:]!r}")
    around = output[: found.start()] + output[found.end() :]
    try:
        return ET.fromstring(found[0]), around  # noqa: S314 - without a DOCTYPE nothing expands
    except ET.ParseError:
        pass
    try:
        return ET.fromstring(_PROCESS_NAME.sub(_escape_name, found[0])), around  # noqa: S314
    except ET.ParseError as error:
        raise SettingsError(f"nvidia-smi -q -x must print XML; its document has an error: {error}") from None
