# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of a training run: what is started, and how torchrun starts several of it."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._run_command import (
    Machines,
    RunError,
    complete,
    is_python_program,
    through_torchrun,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError

from .conftest import Host
from .cpu_host import THREADRIPPER
from .test_cpu_topology import domains_of

PYTHON_PROGRAMS = [
    ("python train.py", True),
    ("/opt/venv/bin/python3.12 -u train.py --lr 1", True),
    ("python3.13t train.py", True),
    ("python -m trl.scripts.sft --config x", True),
    ("python -um package", True),
    ("python -mpackage", True),
    ("python -W ignore -X dev train.py", True),
    ("python -Wignore -Xdev train.py", True),
    ("python -X -c train.py", True),
    ("python --check-hash-based-pycs always train.py", True),
    ("./train.py", True),
    ("python", False),
    ("python -", False),
    ("python -V", False),
    ("python -m", False),
    ("python -c import_torch train.py", False),
    ("python -uc import_torch", False),
    ("python -m torch.distributed.run train.py", False),
    ("python -m torch.distributed.launch train.py", False),
    ("python -m accelerate.commands.launch train.py", False),
    ("python -m deepspeed.launcher.runner train.py", False),
    ("python /opt/venv/bin/torchrun train.py", False),
    ("torchrun train.py", False),
    ("accelerate launch train.py", False),
    ("bash train.sh", False),
    ("pythonic train.py", False),
    ("uv run train.py", False),
]


@pytest.mark.parametrize(("line", "expected"), PYTHON_PROGRAMS)
def test_python_programs(line: str, *, expected: bool) -> None:
    assert is_python_program(line.split()) is expected


@pytest.fixture
def bin_folder(host: Host, monkeypatch: pytest.MonkeyPatch) -> str:
    """A PATH, with a few programs, and a working folder with a few scripts."""
    for name in ("/bin/python3", "/bin/tool", "/work/run.py", "/venv/bin/python", "/venv/bin/torchrun"):
        host.write(name, "#!/bin/sh\n").chmod(0o755)
    host.write_all({"/work/train.py": "", "/work/data.txt": "", "/bin/data": ""})
    monkeypatch.chdir(host.path("/work"))
    return str(host.path("/bin"))


COMPLETED = [
    ("tool --flag", "{root}/bin/tool --flag"),
    ("{root}/bin/tool", "{root}/bin/tool"),
    ("train.py --lr 1", "{root}/bin/python3 train.py --lr 1"),
    ("./train.py", "{root}/bin/python3 ./train.py"),
    ("./run.py", "./run.py"),
    ("run.py", "{root}/bin/python3 run.py"),
    ("-m package --lr 1", "{root}/bin/python3 -m package --lr 1"),
]


@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_what_is_left_out(host: Host, bin_folder: str, line: str, expected: str) -> None:
    given = line.format(root=host.root).split()
    assert " ".join(complete(given, bin_folder)) == expected.format(root=host.root)


def test_python_of_a_virtual_environment_goes_first(host: Host, bin_folder: str) -> None:
    path = f"{host.path('/venv/bin')}:{bin_folder}"
    assert complete(["train.py"], path)[0] == str(host.path("/venv/bin/python"))


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ("", 125, "there is no COMMAND to run: mlrig run [options] -- COMMAND"),
        ("nothing", 127, "nothing: no such command"),
        ("./nothing", 127, "./nothing: no such command"),
        ("data", 127, "data: no such command"),
        ("./data.txt", 126, "./data.txt is not executable"),
        ("/", 126, "/ is not executable"),
    ],
)
def test_what_cannot_be_run(bin_folder: str, line: str, status: int, message: str) -> None:
    with pytest.raises(RunError) as raised:
        complete(line.split(), bin_folder)
    assert (raised.value.status, str(raised.value)) == (status, message)


def test_a_script_of_the_working_folder_and_one_on_path(host: Host, bin_folder: str) -> None:
    """What is executable is looked for as shells do it; what is not can only be the file that is here."""
    for name in ("run.py", "train.py"):
        host.write(f"/bin/{name}", "#!/bin/sh\n").chmod(0o755)
    assert complete(["run.py"], bin_folder) == (f"{bin_folder}/run.py",)
    assert complete(["train.py"], bin_folder) == (f"{bin_folder}/python3", "train.py")


@pytest.mark.parametrize("line", ["train.py", "-m package"])
def test_no_python(host: Host, bin_folder: str, line: str) -> None:
    del bin_folder
    with pytest.raises(RunError) as raised:
        complete(line.split(), str(host.path("/empty")))
    first, _space, _rest = line.partition(" ")
    assert (raised.value.status, str(raised.value)) == (127, f"{first} takes python, which is not on PATH")


RENDEZVOUS = [
    (Machines(), ["--standalone"]),
    (Machines("2", "1", "rig-a:29500"), ["--nnodes=2", "--rdzv-endpoint=rig-a:29500", "--node-rank=1"]),
    (Machines("2", "0", "rig-a:29500"), ["--nnodes=2", "--rdzv-endpoint=rig-a:29500", "--node-rank=0"]),
    (
        Machines("1:4", None, "rig-a:29500"),
        ["--nnodes=1:4", "--rdzv-endpoint=rig-a:29500", "--rdzv-backend=c10d", "--rdzv-id=mlrig"],
    ),
]


@pytest.mark.parametrize(("machines", "expected"), RENDEZVOUS)
def test_torchrun(host: Host, bin_folder: str, machines: Machines, expected: list[str]) -> None:
    machines.check()
    command = (str(host.path("/venv/bin/python")), "-u", "train.py", "--lr", "1")
    made = through_torchrun(command, 2, machines, bin_folder, seated=False)
    torchrun = str(host.path("/venv/bin/torchrun"))
    assert made == (torchrun, *expected, "--nproc-per-node=2", "--no-python", *command)


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        (Machines(None, "1", None), "--node-rank, --rdzv-endpoint must have --nnodes with them"),
        (Machines(None, None, "rig-a:1"), "--node-rank, --rdzv-endpoint must have --nnodes with them"),
        (Machines("2", "1", None), "--nnodes must have --rdzv-endpoint HOST:PORT with it, of the first machine"),
    ],
)
def test_machines_that_cannot_meet(machines: Machines, message: str) -> None:
    with pytest.raises(InputError) as raised:
        machines.check()
    assert str(raised.value).startswith(message)


def test_torchrun_of_path_and_none(host: Host, bin_folder: str) -> None:
    command = (str(host.path("/bin/python3")), "train.py")
    path = f"{bin_folder}:{host.path('/venv/bin')}"
    assert through_torchrun(command, 2, Machines(), path, seated=False)[0] == str(host.path("/venv/bin/torchrun"))
    with pytest.raises(RunError) as raised:
        through_torchrun(command, 2, Machines(), bin_folder, seated=False)
    beside = host.path("/bin/torchrun")
    assert str(raised.value).startswith(f"several processes take torchrun, which is neither {beside} nor on PATH")


def test_each_process_takes_its_seat(host: Host, bin_folder: str) -> None:
    """What torchrun would start, started as torchrun does: with the number of the process in LOCAL_RANK."""
    first, second, third, _last = domains_of(host, THREADRIPPER)
    # says what it was asked for, and goes on without: this machine need not have these CPUs
    taskset = host.write("/bin/taskset", '#!/bin/sh\necho "$@"\nshift 2\nexec "$@"\n')
    taskset.chmod(0o755)
    seats = [first, second]
    environment = {f"MLRIG_CPUS_{rank}": str(domain) for rank, domain in enumerate(seats)}
    environment["MLRIG_LOADER_CPUS_1"] = str(third)
    command = ("/bin/sh", "-c", 'echo "$0 $1 ${MLRIG_LOADER_CPUS-unset}"', "a b", "$HOME")
    made = through_torchrun(command, 2, Machines(), f"{bin_folder}:{host.path('/venv/bin')}", seated=True)
    started = made[made.index("--no-python") + 1 :]
    for rank, loaders in ((0, "unset"), (1, str(third))):
        done = subprocess.run(
            started,
            env={"PATH": f"{bin_folder}:/usr/bin:/bin", "LOCAL_RANK": str(rank), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        asked, said = done.stdout.splitlines()
        assert asked.startswith(f"--cpu-list {seats[rank]} /bin/sh -c ")
        assert said == f"a b $HOME {loaders}"
