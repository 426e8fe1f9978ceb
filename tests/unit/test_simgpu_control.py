# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that controls the simulated driver."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.tests.simgpu import simgpu
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import HERE, SimulatedMachine

from .conftest import Host


def test_every_card_of_the_reference_inventory_has_a_profile() -> None:
    for file in sorted((HERE.parents[1] / "inventory" / "reference" / "host_vars").glob("*.yml")):
        for line in file.read_text().splitlines():
            _before, is_card, card = line.partition("name: NVIDIA")
            if is_card:
                assert simgpu.profile_of(f"NVIDIA{card}")["name"] == f"NVIDIA{card}"


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = SimulatedMachine(tmp_path / "state", "rtx-3090")
    machine.simgpu("set", 0, "temperature", 80)
    machine.simgpu("fail", "driver", "nvmlDeviceGetCount_v2", "hang")
    machine.simgpu("show")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "driver/cuda 13.2",
        "driver/flavour open",
        "driver/loaded",
        "driver/module_version 595.71.05",
        "driver/version 595.71.05",
        "failures/driver/nvmlDeviceGetCount_v2 hang",
    ]
    assert "gpus/0/name NVIDIA GeForce RTX 3090" in lines
    assert lines[-2:] == ["live/0/temperature 80", "live/clients"]


def test_what_is_volatile_may_lie_elsewhere(tmp_path: Path) -> None:
    """As on a test host, where a restart empties /run."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "live").symlink_to(tmp_path / "run")
    machine = SimulatedMachine(tmp_path / "state", "rtx-3090")
    machine.nvidia_smi("-pm", "1")
    assert (tmp_path / "run" / "0" / "persistence_mode").read_text() == "1\n"
    for entry in ("0/persistence_mode", "0", "clients", ""):
        path = tmp_path / "run" / entry
        path.rmdir() if path.is_dir() else path.unlink()
    assert machine.nvidia_smi("-pm", "1").returncode == 0, "the library makes what is missing"
    assert machine.read("live/0/persistence_mode") == "1"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["machine", "voodoo2"], "simgpu: no profile for the card 'voodoo2'; there are: gtx-1080-ti, "),
        (["load"], "simgpu: could not insert 'nvidia': No such device"),
        (["machine", *["rtx-3090"] * 9], "simgpu: there are 8 slots"),
        (["fail", "0", "all", "lost"], "simgpu: 'lost' is not the number of an NVML error, 'hang' or 'ignored'"),
    ],
)
def test_refusal(command: list[str], message: str, tmp_path: Path) -> None:
    refused = SimulatedMachine(tmp_path).run(sys.executable, str(HERE / "simgpu.py"), *command)
    assert (refused.returncode, refused.stderr[: len(message)]) == (1, message)


def test_udev_rules_that_a_load_obeys(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write_all(
        {
            "/etc/90-ours.rules": """\
# ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="commented"
ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="/bin/first 'one word'", \\
    ENV{SYSTEMD_WANTS}+="a.service b.service"
ACTION=="remove", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="never"
ACTION=="add", DEVPATH=="/bus/pci/drivers/other", RUN+="never"
""",
            "/usr/90-ours.rules": 'ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="overridden"\n',
            "/usr/10-theirs.rules": 'ACTION=="add",DEVPATH=="/bus/pci/drivers/nvidia",RUN{program}+="/bin/zeroth"\n',
        }
    )
    monkeypatch.setattr(simgpu, "RULES", [str(host.path("/etc")), str(host.path("/usr"))])
    kernel, commands = simgpu.Kernel(simgpu.State(host.path("/state"))), []
    monkeypatch.setattr(kernel, "run", commands.append)
    kernel.announce()
    assert commands == [], "only on a test host"
    kernel.is_here = True
    kernel.announce()
    assert commands == [
        ["/bin/zeroth"],
        ["/bin/first", "one word"],
        ["systemctl", "start", "--no-block", "a.service", "b.service"],
    ]
