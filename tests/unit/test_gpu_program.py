# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program mlrig at the command line: what it prints, and its exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._program import main

from .conftest import Host
from .gpu_host import GpuHost

FINE, FAILED, WRONG_INPUT, DIFFERS, UNAVAILABLE = range(5)
NO_DRIVER = "the NVIDIA driver is not loaded"
RTX_3090, GTX_1080_TI = "GPU 0 (NVIDIA GeForce RTX 3090)", "GPU 1 (NVIDIA GeForce GTX 1080 Ti)"
PASCAL = "its architecture cannot lock this clock: that takes Volta or newer"
FORGETS = f"{RTX_3090}: without persistence_mode the driver forgets graphics_clocks when no program uses the GPU"
FILE = "/etc/mlrig/gpu.json"

WANTED: dict[str, Any] = {
    "match": "all",
    "persistence_mode": True,
    "power_limit": 150,
    "graphics_clocks": [900, 1500],
}


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> GpuHost:
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090", "gtx-1080-ti")
    rig.configure(WANTED)
    return rig


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """What was printed since it was last asked for: lines without the space between columns."""

    def read() -> list[str]:
        printed = capsys.readouterr()
        return [re.sub(r"  +", "  ", line.strip()) for line in (printed.out + printed.err).splitlines()]

    return read


def test_status_changes_nothing(rig: GpuHost, said: Callable[[], list[str]]) -> None:
    before = rig.host.texts()
    assert rig.mlrig("gpu", "status") == DIFFERS
    assert said() == [
        f"GPU 0 (NVIDIA GeForce RTX 3090)  0000:01:00.0  {rig.uuid(0)}",
        "setting  wanted  found",
        "persistence_mode  enabled  disabled  DIFFERS",
        "power_limit  150 W  350 W  DIFFERS",
        "graphics_clocks  900-1500 MHz  ?  DIFFERS",
        f"GPU 1 (NVIDIA GeForce GTX 1080 Ti)  0000:0a:00.0  {rig.uuid(1)}",
        "setting  wanted  found",
        "persistence_mode  enabled  disabled  DIFFERS",
        "power_limit  150 W  250 W  DIFFERS",
        "graphics_clocks  900-1500  ?  skipped",
        f"{GTX_1080_TI} cannot have graphics_clocks: {PASCAL}",
    ]
    assert rig.host.texts() == before


def test_apply_then_status(rig: GpuHost, said: Callable[[], list[str]]) -> None:
    assert rig.mlrig("gpu", "apply") == FINE
    assert "graphics_clocks  900-1500 MHz  ?  changed" in said()
    assert rig.live(0) == {"persistence_mode": "1", "power_limit": "150000", "locked_graphics_clocks": "900 1500"}
    for command in ("status", "apply"):
        assert rig.mlrig("gpu", command) == FINE
        assert "graphics_clocks  900-1500 MHz  900-1500 MHz (recorded)  as wanted" in said()
    rig.simgpu("set", 0, "power_limit", 200000)
    assert rig.mlrig("gpu", "status") == DIFFERS
    assert "power_limit  150 W  200 W  DIFFERS" in said()


def test_columns_are_aligned(rig: GpuHost, capsys: pytest.CaptureFixture[str]) -> None:
    rig.mlrig("gpu", "status")
    lines = capsys.readouterr().out.splitlines()[1:5]
    columns = [[found.start() for found in re.finditer(r"(?<=  )\S", line)] for line in lines]
    assert all(each[: len(columns[0])] == columns[0] for each in columns)
    assert all(line == line.rstrip() for line in lines)


def test_skipped_alone_is_as_wanted(rig: GpuHost) -> None:
    rig.configure({"match": {"index": 1}, "graphics_clocks": [900, 900]})
    assert (rig.mlrig("gpu", "status"), rig.mlrig("gpu", "apply")) == (FINE, FINE)


def test_a_note_and_a_warning(rig: GpuHost, capsys: pytest.CaptureFixture[str]) -> None:
    rig.configure({"match": {"index": 0}, "graphics_clocks": [901, 1500]})
    assert rig.mlrig("gpu", "apply") == FINE
    printed = capsys.readouterr()
    assert "      901 MHz is not a clock of this card, 900 MHz is the nearest\n" in printed.out
    assert printed.err == f"mlrig: warning: {FORGETS}\n"


def test_apply_force(rig: GpuHost) -> None:
    rig.mlrig("gpu", "apply")
    rig.simgpu("set", 0, "locked_graphics_clocks", "210 210")
    assert rig.mlrig("gpu", "apply") == FINE
    assert rig.live()["locked_graphics_clocks"] == "210 210"
    assert rig.mlrig("gpu", "apply", "--force") == FINE
    assert rig.live()["locked_graphics_clocks"] == "900 1500"


def test_apply_gives_back_what_is_not_wanted_any_more(rig: GpuHost, said: Callable[[], list[str]]) -> None:
    rig.mlrig("gpu", "apply")
    rig.configure({"match": "all", "persistence_mode": True})
    said()
    assert rig.mlrig("gpu", "status") == DIFFERS
    assert "graphics_clocks  unlocked  900-1500 MHz (recorded)  DIFFERS" in said()
    assert rig.mlrig("gpu", "apply") == FINE
    assert rig.live(0) == {"persistence_mode": "1", "power_limit": "350000"}
    assert rig.mlrig("gpu", "status") == FINE


def test_reset(rig: GpuHost, said: Callable[[], list[str]]) -> None:
    rig.configure({**WANTED, "compute_mode": "prohibited", "memory_clocks": [405, 405]})
    rig.mlrig("gpu", "apply")
    # what others locked is lifted too
    rig.simgpu("set", 0, "locked_memory_clocks", "810 810")
    said()
    assert rig.mlrig("gpu", "reset") == FINE
    assert "power_limit  350 W  150 W  reset" in said()
    assert rig.live(0) == {"persistence_mode": "1", "power_limit": "350000", "compute_mode": "0"}
    assert rig.live(1) == {"persistence_mode": "1", "power_limit": "250000", "compute_mode": "0"}
    assert rig.mlrig("gpu", "status") == DIFFERS
    assert rig.mlrig("gpu", "apply") == FINE
    assert rig.live(0)["power_limit"] == "150000"


def test_reset_needs_no_configuration(rig: GpuHost) -> None:
    rig.host.path(FILE).unlink()
    assert rig.mlrig("gpu", "reset") == FINE


def test_one_gpu_that_refuses(rig: GpuHost, said: Callable[[], list[str]]) -> None:
    rig.simgpu("fail", 0, "nvmlDeviceSetPowerManagementLimit", 8)
    assert rig.mlrig("gpu", "apply") == FAILED
    lines = said()
    assert "power_limit  150 W  350 W  failed" in lines
    assert any("(NVML error 8): a power cable is missing" in line for line in lines)
    assert rig.live(1)["power_limit"] == "150000"


def test_a_gpu_that_is_lost_has_a_place_in_the_table(rig: GpuHost, said: Callable[[], list[str]]) -> None:
    rig.simgpu("fail", 0, "all", 15)
    assert rig.mlrig("gpu", "apply") == FAILED
    lines = said()
    assert lines[0] == "GPU 0"
    assert "power_limit  ?  ?  failed" in lines
    assert lines.index("power_limit  ?  ?  failed") < lines.index(
        f"GPU 1 (NVIDIA GeForce GTX 1080 Ti)  0000:0a:00.0  {rig.uuid(1)}"
    )


def test_ten_gpus_are_not_mixed_up(host: Host, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]) -> None:
    """What belongs to one GPU stands below it alone."""
    rig = GpuHost(host, monkeypatch)
    rig.start(*["rtx-3090"] * 8)
    rig.configure(
        {"match": {"index": 1}, "compute_mode": "default"}, {"match": {"index": 7}, "compute_mode": "default"}
    )
    rig.simgpu("fail", 1, "all", 15)
    assert rig.mlrig("gpu", "apply") == FAILED
    assert [line.partition("  ")[0] for line in said() if line.startswith(("GPU", "compute"))] == [
        *("GPU 0 (NVIDIA GeForce RTX 3090)", "GPU 1", "compute_mode"),
        *[f"GPU {index} (NVIDIA GeForce RTX 3090)" for index in range(2, 8)],
        "compute_mode",
    ]


def test_a_driver_that_is_not_loaded(rig: GpuHost, capsys: pytest.CaptureFixture[str]) -> None:
    rig.simgpu("unload")
    for command in ("status", "apply", "reset"):
        assert rig.mlrig("gpu", command) == UNAVAILABLE
        printed = capsys.readouterr()
        assert printed.out.startswith(f"No GPU can be asked: {NO_DRIVER}.\n")
        assert printed.err == f"mlrig: warning: no GPU was set: {NO_DRIVER}\n"


def test_nothing_is_wanted(rig: GpuHost, said: Callable[[], list[str]]) -> None:
    rig.configure()
    assert rig.mlrig("gpu", "status") == FINE
    cards = enumerate(("0000:01:00.0", "0000:0a:00.0"))
    assert said() == [
        f"GPU {index} ({rig.attribute(index, 'name')})  {address}  {rig.uuid(index)}" for index, address in cards
    ]


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """All that was printed must be one document."""
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def test_json(rig: GpuHost, capsys: pytest.CaptureFixture[str]) -> None:
    rig.configure({"match": {"index": 0}, "graphics_clocks": [901, 1500]})
    rig.simgpu("fail", 1, "all", 15)
    assert rig.mlrig("gpu", "status", "--json") == DIFFERS
    checked = document(capsys)
    assert checked == {
        "unavailable": None,
        "gpus": [
            {
                "index": 0,
                "uuid": rig.uuid(0),
                "name": "NVIDIA GeForce RTX 3090",
                "address": "0000:01:00.0",
                "error": None,
            },
            {
                "index": 1,
                "uuid": None,
                "name": None,
                "address": None,
                "error": "GPU is lost (NVML error 15): reboot to recover it",
            },
        ],
        "warnings": [FORGETS],
        "changed": True,
        "diff": {"before": "", "after": f"{rig.uuid(0)}/graphics_clocks (live): 900-1500 MHz\n"},
        "settings": [
            {
                "id": f"{rig.uuid(0)}/graphics_clocks",
                "plane": "live",
                "expected": "900-1500 MHz",
                "actual": None,
                "action": "changed",
                "evidence": "unknown",
                "reason": "901 MHz is not a clock of this card, 900 MHz is the nearest",
            }
        ],
        "reboot_required": False,
    }
    assert rig.mlrig("gpu", "apply", "--json") == FINE
    assert document(capsys) == checked


@pytest.mark.parametrize(
    ("breaks", "status", "unavailable"),
    [("unload", UNAVAILABLE, NO_DRIVER), ("fail 0 nvmlDeviceSetPowerManagementLimit 8", FAILED, None)],
)
def test_json_of_failures(
    rig: GpuHost, capsys: pytest.CaptureFixture[str], breaks: str, status: int, unavailable: str | None
) -> None:
    rig.simgpu(*breaks.split())
    assert rig.mlrig("gpu", "apply", "--json") == status
    assert document(capsys)["unavailable"] == unavailable


RANGE = f"must be within 100 W to 480 W, the range of {RTX_3090}"
WRONG = [
    (None, f"{FILE} does not exist: the role gpu_tuning writes it"),
    ("{gpus", f"{FILE} must be JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ('{"gpus": 7}', f"{FILE}: gpus must be a list; got: 7"),
]


@pytest.mark.parametrize("command", ["apply", "status"])
@pytest.mark.parametrize(("text", "message"), WRONG, ids=["missing", "no JSON", "no list"])
def test_a_wrong_configuration(
    rig: GpuHost, capsys: pytest.CaptureFixture[str], command: str, text: str | None, message: str
) -> None:
    rig.simgpu("machine", "rtx-3090")
    if text is None:
        rig.host.path(FILE).unlink()
    else:
        rig.host.write(FILE, text)
    before = rig.host.texts()
    assert rig.mlrig("gpu", command) == WRONG_INPUT
    assert tuple(capsys.readouterr()) == ("", f"mlrig: {message}\n")
    assert rig.mlrig("gpu", command, "--json") == WRONG_INPUT
    assert document(capsys) == {"error": message}
    assert rig.host.texts() == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"match": {"index": 1}, "power_limit": 5}, "gpus[1].power_limit must be within 100 W to 480 W"),
        ({"match": {"index": 7}, "power_limit": 200}, "gpus[1].match must fit a GPU of this host"),
    ],
    ids=["beyond the range", "for no GPU"],
)
def test_what_does_not_fit_the_host_stops_nothing_else(
    rig: GpuHost, capsys: pytest.CaptureFixture[str], wrong: dict[str, Any], said: str
) -> None:
    """At boot nobody is there to correct it, and a card that fell off the bus must not leave the others unset."""
    rig.simgpu("machine", "rtx-3090", "rtx-3090")
    rig.configure({"match": {"index": 0}, "persistence_mode": True, "power_limit": 300}, wrong)
    assert rig.mlrig("gpu", "apply") == FAILED
    assert said in capsys.readouterr().out
    assert rig.live(0)["power_limit"] == "300000"
    assert rig.mlrig("gpu", "status") == FAILED


def test_a_configuration_that_is_a_folder(rig: GpuHost, capsys: pytest.CaptureFixture[str]) -> None:
    rig.host.path(FILE).unlink()
    rig.host.path(FILE).mkdir()
    assert rig.mlrig("gpu", "apply") == WRONG_INPUT
    assert "gpu.json: Is a directory" in capsys.readouterr().err


def test_another_configuration(rig: GpuHost) -> None:
    rig.host.write("/home/ada/gpu.json", '{"gpus": [{"match": {"index": 0}, "compute_mode": "prohibited"}]}')
    assert rig.mlrig("gpu", "apply", "--config", "/home/ada/gpu.json") == FINE
    assert rig.live(0) == {"compute_mode": "2"}
    assert rig.mlrig("gpu", "status", "--config", "/home/ada/none.json") == WRONG_INPUT


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("gpu",),
        ("gpus", "status"),
        ("gpu", "set"),
        ("gpu", "status", "--force"),
        ("gpu", "reset", "--config", "x"),
        ("gpu", "apply", "now"),
        ("gpu", "apply", "--config"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == WRONG_INPUT
    assert "usage: mlrig" in capsys.readouterr().err


@pytest.mark.parametrize("command", [(), ("gpu",), ("gpu", "apply"), ("gpu", "status"), ("gpu", "reset")])
def test_help_tells_every_exit_status(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([*command, "--help"])
    assert raised.value.code == FINE
    text = capsys.readouterr().out
    after = text.partition("exit status:\n")[2]
    told = [line.split(maxsplit=1)[0] for line in after.partition("\n\n")[0].splitlines()]
    assert told == [str(status) for status in (FINE, FAILED, WRONG_INPUT, DIFFERS, UNAVAILABLE)]
    assert FILE in text
