# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mlrig verify` at the command line and in its playbook: what it prints, and its exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils import _gpu_facts, _verify_gpus, _verify_program
from ansible_collections.mlrig.workstation.plugins.module_utils._program import main
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

from .conftest import Host
from .gpu_host import GpuHost
from .verify_host import DEVICE, changed, measurements

PASSED, FAILED, COULD_NOT_RUN = range(3)
FOLDER = "/home/rig/ml-finetune"
PLAYBOOK = Path(__file__).parents[2] / "playbooks/verify.yml"
HEALTHY = {"training/device": "cpu", "unsloth": {"version": None}}
FLAT = {"training/losses": [5.0] * 20}


class Rig(GpuHost):
    def measures(self, document: Mapping[str, Any], *, work: str = "") -> None:
        """What the project's Python prints, after some work."""
        script = f"#!/bin/sh\n{work}\ncat <<'END'\n{json.dumps(document)}\nEND\n"
        self.host.write(f"{FOLDER}/.venv/bin/python", script).chmod(0o755)

    def verify(self, *arguments: str) -> int:
        return main(["verify", *arguments], root=self.host.root)


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Without a GPU, with a project that trains on the CPU."""
    rig = Rig(host, monkeypatch)
    rig.measures(measurements(changes=HEALTHY))
    return rig


@pytest.fixture
def without_driver(rig: Rig) -> Rig:
    rig.remove_library()
    rig.monkeypatch.setattr(_gpu_facts.shutil, "which", lambda _: None)
    return rig


PROJECT = ("--project", FOLDER)


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def test_a_host_without_gpu_trains_on_the_cpu(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    before = without_driver.host.texts()
    assert without_driver.verify(*PROJECT) == PASSED
    printed = capsys.readouterr()
    lines = [re.sub(r"  +", "  ", line.strip()) for line in printed.out.splitlines()]
    assert lines[:3] == ["check  found  expected", "skipped  driver/answers", "this host has no NVIDIA GPU"]
    assert "passed  training/loss  5.100 to 3.200  the last below 0.7 of the first" in lines
    assert lines[-1] == "11 passed, 0 failed, 8 skipped"
    assert printed.err == ""
    assert without_driver.host.texts() == before


def test_a_failure_says_why(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    without_driver.measures(measurements(changes={**HEALTHY, **FLAT}))
    assert without_driver.verify(*PROJECT) == FAILED
    lines = capsys.readouterr().out.splitlines()
    [position] = [number for number, line in enumerate(lines) if line.startswith("FAILED")]
    assert "5.000 to 5.000" in lines[position]
    assert lines[position + 1].strip().startswith("the loss does not fall")


def test_json(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    found = measurements(changes={**HEALTHY, **FLAT})
    without_driver.measures(found)
    assert without_driver.verify("--json", *PROJECT) == FAILED
    printed = document(capsys)
    assert [*printed] == ["error", "told", "checks", "gpus", "measurements"]
    assert printed["measurements"] == found
    assert (printed["error"], printed["gpus"]) == (None, [])
    [failed] = [check for check in printed["checks"] if check["status"] == "failed"]
    assert failed == {
        "id": "training/loss",
        "status": "failed",
        "expected": "the last below 0.7 of the first",
        "actual": "5.000 to 5.000",
        "reason": "the loss does not fall: kernels, optimizer or packages do not work together",
    }
    assert printed["told"] == [
        f"training/loss: found 5.000 to 5.000, expected {failed['expected']}; {failed['reason']}"
    ]


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "🦥 s"), ("ascii", "\\U0001f9a5 s")])
def test_a_table_for_any_terminal(without_driver: Rig, encoding: str, shown: str) -> None:
    error = {"error": "ImportError: \x1b[31m🦥 \udcffs\x07"}
    without_driver.measures(measurements(changes={**HEALTHY, "packages/peft": error, "training": None}))
    printed = BytesIO()
    without_driver.monkeypatch.setattr(sys, "stdout", TextIOWrapper(printed, encoding=encoding))
    assert without_driver.verify(*PROJECT) == FAILED
    sys.stdout.flush()
    assert f"ImportError:  [31m{shown.replace(' ', '  ')} \n" in printed.getvalue().decode(encoding)


def test_what_was_not_found_is_told(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": "ImportError: x"}
    without_driver.measures(measurements(changes={**HEALTHY, "packages/peft": error, "training": None}))
    without_driver.verify(*PROJECT, "--json")
    assert document(capsys)["told"] == ["training/peft: found nothing, expected an import; ImportError: x"]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_timeout_that_is_none(without_driver: Rig, capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    assert without_driver.verify(*PROJECT, "--timeout", seconds) == COULD_NOT_RUN
    assert capsys.readouterr().err == (f"mlrig: --timeout must be a number of seconds above 0; got: {float(seconds)}\n")


def test_no_project(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    said = "there is no project /nowhere: the role ml_env makes one; --project names another"
    assert without_driver.verify("--project", "/nowhere") == COULD_NOT_RUN
    printed = capsys.readouterr()
    assert printed.err == f"mlrig: {said}\n"
    assert "0 passed, 0 failed, 3 skipped" in printed.out
    assert without_driver.verify("--project", "/nowhere", "--json") == COULD_NOT_RUN
    printed_document = document(capsys)
    assert (printed_document["error"], printed_document["told"]) == (said, [said])


def test_what_needs_no_project_asks_for_none(without_driver: Rig) -> None:
    assert without_driver.verify("--project", "/nowhere", "--only", "driver", "gpu") == PASSED


def test_only_some_groups(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    found = measurements(changes={**HEALTHY, "parts": ["training"]})
    without_driver.measures(found, work='case "$*" in *"--parts training") ;; *) exit 7;; esac')
    assert without_driver.verify(*PROJECT, "--json", "--only", "training") == PASSED
    assert {check["id"].partition("/")[0] for check in document(capsys)["checks"]} == {"training"}


@pytest.mark.parametrize("part", ["speed", "training"])
@pytest.mark.parametrize(
    ("torch", "failed"),
    [({"error": "ImportError: libcudart.so.12"}, "torch/import"), ({"cuda": None, "devices": 0}, "torch/build")],
)
def test_torch_that_does_not_fit_fails_what_takes_it(
    rig: Rig, capsys: pytest.CaptureFixture[str], torch: dict[str, Any], failed: str, part: str
) -> None:
    """Without it the speed is skipped, and the CPU trains."""
    rig.start("rtx-3090")
    found = measurements(changes={**HEALTHY, "parts": [part]})
    found["torch"] = torch if "error" in torch else {**found["torch"], **torch}
    rig.measures(found)
    assert rig.verify(*PROJECT, "--json", "--only", part) == FAILED
    checks = document(capsys)["checks"]
    assert [check["id"] for check in checks if check["status"] == "failed"] == [failed]
    assert {check["id"].partition("/")[0] for check in checks} == {part, "torch"}


def test_a_hang_is_told(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    without_driver.measures({}, work="sleep 600")
    assert without_driver.verify(*PROJECT, "--timeout", "0.5") == COULD_NOT_RUN
    assert "did not end within 0.5 s, while starting" in capsys.readouterr().err


def test_a_driver_that_hangs(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def hang(_root: Path) -> None:
        raise SettingsError("the NVIDIA driver did not answer within 25 s, while loading NVML")

    rig.monkeypatch.setattr(_verify_gpus, "gather", hang)
    assert rig.verify(*PROJECT, "--json") == COULD_NOT_RUN
    printed = document(capsys)
    assert (printed["checks"], printed["measurements"]) == ([], None)
    assert printed["error"].startswith("the NVIDIA driver did not answer")


def test_the_default_project(without_driver: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/rig")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert without_driver.verify() == PASSED
    if os.geteuid() == 0:
        monkeypatch.setenv("SUDO_USER", "nobody")
        assert str(_verify_program._folder(None)) == f"{Path('~nobody').expanduser()}/ml-finetune"


def test_a_home_that_does_not_exist(without_driver: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert without_driver.verify("--project", "~nobody-of-this-name/x") == COULD_NOT_RUN
    assert "--project must not begin with the home of a user" in capsys.readouterr().err


def test_wrong_arguments(rig: Rig) -> None:
    for arguments in (("--only", "everything"), ("--timeout", "soon"), ("more",)):
        with pytest.raises(SystemExit) as raised:
            rig.verify(*arguments)
        assert raised.value.code == COULD_NOT_RUN


TWO_CARDS = {"torch/devices": 2}
AT_WORK = "echo 'mlrig-verify: the speed of GPU 0' >&2; sleep 1.5"


def test_a_host_with_gpus(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.start("rtx-3090", "rtx-3090")
    for slot in (0, 1):
        rig.machine.write(f"live/{slot}/persistence_mode", "1")
    rig.machine.write("live/0/clocks_event_reasons", "0x4")
    rig.measures(measurements(DEVICE, changed(DEVICE, {"kernel/off": 0.3})), work=AT_WORK)
    assert rig.verify(*PROJECT, "--json") == FAILED
    printed = document(capsys)
    by_id = {check["id"]: check for check in printed["checks"]}
    assert [gpu["name"] for gpu in printed["gpus"]] == ["NVIDIA GeForce RTX 3090"] * 2
    assert by_id["driver/versions"]["status"] == "passed"
    assert (by_id["gpu/0/capability"]["actual"], by_id["gpu/0/memory"]["status"]) == ("8.6", "passed")
    assert (by_id["torch/0/kernel"]["status"], by_id["torch/1/kernel"]["status"]) == ("passed", "failed")
    # The first was looked at while it worked, the second was not.
    statuses = [by_id[f"gpu/{slot}/pcie_generation"]["status"] for slot in (0, 1)]
    assert statuses[1] == "skipped"
    assert statuses[0] != "skipped"


def test_a_gpu_that_does_not_begin_to_work_tells_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """Its link is that of an idle one."""
    rig.start("rtx-3090")
    rig.measures(measurements(changed(DEVICE, {"speed": {"error": "OutOfMemoryError: no"}})), work=AT_WORK)
    rig.verify(*PROJECT, "--json")
    by_id = {check["id"]: check["status"] for check in document(capsys)["checks"]}
    assert (by_id["speed/0/product"], by_id["gpu/0/pcie_generation"]) == ("failed", "skipped")


def test_a_screen_that_only_the_kernel_knows(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    """As `mlrig run` sees it: the card is not for training."""
    rig.start("rtx-3090", "rtx-3090")
    [address, _other] = [gpu["pci"]["address"] for gpu in _gpu_facts.gather(rig.host.root)["gpus"]]
    rig.host.write(f"/sys/bus/pci/devices/{address}/drm/card0/card0-DP-1/status", "connected\n")
    rig.measures(measurements(DEVICE, changes={"torch/devices": 1}))
    rig.verify(*PROJECT, "--json")
    reasons = {check["id"]: check["reason"] for check in document(capsys)["checks"]}
    assert reasons["torch/0/kernel"] == "it has a screen, and others are for training"
    assert reasons["torch/1/kernel"] is None


def test_locked_clocks_are_those_on_record(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.start("rtx-3090")
    rig.configure({"match": "all", "persistence_mode": True, "graphics_clocks": [900, 1500]})
    assert rig.mlrig("gpu", "apply") == PASSED
    unsteady = changed(DEVICE, {"speed/product_tflops": [40.0, 62.0, 62.0]})
    rig.measures(measurements(unsteady), work=AT_WORK)
    capsys.readouterr()
    rig.verify(*PROJECT, "--json")
    [check] = [each for each in document(capsys)["checks"] if each["id"] == "speed/0/product_spread"]
    assert check["status"] == "failed"
    assert check["reason"].startswith("runs differ although clocks are locked (graphics_clocks 900-1500 MHz)")


def play(tmp_path: Path, program: Path, arguments: Any) -> subprocess.CompletedProcess[str]:
    """The playbook on this machine, with this program in the place of mlrig."""
    playbook = tmp_path / "verify.yml"
    playbook.write_text(PLAYBOOK.read_text().replace("/opt/mlrig/bin/mlrig", str(program)))
    extra = json.dumps(
        {
            "verify_arguments": arguments,
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
        }
    )
    command = shutil.which("ansible-playbook", path=Path(sys.executable).parent)
    environment = {
        **os.environ,
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [str(command), "-i", "localhost,", "-e", extra, playbook],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("status", "printed", "says"),
    [
        (PASSED, {"told": []}, None),
        (FAILED, {"told": ["training/loss: it does not fall", "gpu/0/pcie_width: x8"]}, "gpu/0/pcie_width: x8"),
        (COULD_NOT_RUN, {"told": ["there is no project"]}, "there is no project"),
        (COULD_NOT_RUN, None, "usage"),
    ],
)
def test_the_playbook(tmp_path: Path, status: int, printed: Any, says: str | None) -> None:
    program = tmp_path / "mlrig"
    said = "echo usage >&2" if printed is None else f"echo '{json.dumps(printed)}'"
    program.write_text(f'#!/bin/sh\n[ "$*" = "verify --json --only training" ] || exit 9\n{said}\nexit {status}\n')
    program.chmod(0o755)
    ended = play(tmp_path, program, ["--only", "training"])
    assert (ended.returncode == 0) == (status == PASSED), ended.stdout + ended.stderr
    assert "changed=0" in ended.stdout
    assert says is None or says in ended.stdout


def test_the_playbook_on_a_host_without_the_program(tmp_path: Path) -> None:
    ended = play(tmp_path, tmp_path / "mlrig", [])
    assert ended.returncode != 0
    assert "cannot run" in ended.stdout, ended.stdout
    assert "which the role ml_env brings" in ended.stdout


def test_the_playbook_with_one_argument_for_all(tmp_path: Path) -> None:
    """The program says what is wrong with it."""
    program = tmp_path / "mlrig"
    program.write_text('#!/bin/sh\necho "unrecognized arguments: $3 and $#" >&2\nexit 2\n')
    program.chmod(0o755)
    ended = play(tmp_path, program, "--only driver")
    assert ended.returncode != 0
    assert "unrecognized arguments: --only driver and 3" in ended.stdout, ended.stdout


def test_the_playbook_is_short() -> None:
    [play] = yaml.safe_load(PLAYBOOK.read_text())
    assert len(play["tasks"]) == 2
