# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`mlrig run` as real processes: what a command gets, how it ends, and what is left of it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Host
from .cpu_host import TWO
from .gpu_host import GpuHost

MLRIG = """
import sys
from pathlib import Path
from ansible_collections.mlrig.workstation.plugins.module_utils._program import main
sys.exit(main(sys.argv[2:], root=Path(sys.argv[1])))
"""
# Long enough for all but a hang, however busy the machine is.
PATIENCE = 60.0
NO_SYSTEMD = "mlrig: this host does not run systemd: the run has no scope, and nothing keeps the machine from sleep"
WAITING = ("sh", "-c", "echo $CUDA_VISIBLE_DEVICES; read line")


class Runs:
    """Starts runs on a host, and ends them with the test."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "OMP_", "MLRIG_"))
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            # A shell lets what it starts in the background ignore ctrl-C, and so these tests, and what they start.
            ["env", "--default-signal", sys.executable, "-c", MLRIG, self.host.root, "run", *arguments],
            env={**os.environ, **self.environment} if "SIMGPU" in os.environ else self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def program(self, name: str, text: str) -> Path:
        file = self.host.write(name, text)
        file.chmod(0o755)
        return file


@pytest.fixture
def runs(host: Host) -> Iterator[Runs]:
    runs = Runs(host)
    yield runs
    for process in runs.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def rig(host: Host, monkeypatch: pytest.MonkeyPatch) -> GpuHost:
    """With two GPUs."""
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    rig = GpuHost(host, monkeypatch)
    rig.start("rtx-3090", "rtx-3090")
    return rig


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


ENDINGS = {
    "well": ("exit 0", 0),
    "badly": ("exit 1", 1),
    "in its own way": ("exit 42", 42),
    "terminated": ("kill -TERM $$", -signal.SIGTERM),
    "killed": ("kill -KILL $$", -signal.SIGKILL),
    "aborted": ("kill -ABRT $$", -signal.SIGABRT),
}


@pytest.mark.parametrize(("script", "code"), ENDINGS.values(), ids=ENDINGS)
def test_the_exit_status_is_the_commands(runs: Runs, script: str, code: int) -> None:
    assert runs.run("--", "sh", "-c", script).returncode == code


def test_a_shell_sees_the_signal_that_killed_it(runs: Runs) -> None:
    command = [sys.executable, "-c", MLRIG, str(runs.host.root), "run", "--", "sh", "-c", "kill -TERM $$"]
    shell = subprocess.run(["bash", "-c", '"$@"; echo $?', "bash", *command], stdout=subprocess.PIPE, check=True)
    assert shell.stdout == b"143\n"


INTERRUPTED = {
    "that lets it end it": ("import time; print(1, flush=True); time.sleep(60)", -signal.SIGINT),
    "that saves before": (
        """import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: (time.sleep(0.5), sys.exit(7)))
print(1, flush=True)
time.sleep(60)""",
        7,
    ),
}


@pytest.mark.parametrize(("program", "code"), INTERRUPTED.values(), ids=INTERRUPTED)
def test_ctrl_c_reaches_the_command(runs: Runs, program: str, code: int) -> None:
    """A shell says 130 of what SIGINT has ended."""
    process = runs.start("--", sys.executable, "-c", program)
    assert line_of(process) == "1"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == code


def test_ctrl_c_before_the_command_starts(runs: Runs) -> None:
    runs.host.path("/run/systemd/system").mkdir(parents=True)
    runs.program("/bin/busctl", f"#!/bin/sh\n: > {runs.host.root}/asked\nexec sleep 60\n")
    runs.environment["PATH"] = f"{runs.host.path('/bin')}:{os.environ['PATH']}"
    process = runs.start("--", "echo", "started")
    wait_until(runs.host.path("/asked").exists)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (-signal.SIGINT, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("no-such-command",), 127, "no-such-command: no such command"),
        (("{root}/data",), 126, "{root}/data is not executable"),
        (("{root}",), 126, "{root} is not executable"),
        (("{root}/broken",), 127, "{root}/broken: the interpreter that its first line names does not exist"),
        (("{root}/binary",), 126, "{root}/binary: "),
        ((), 125, "there is no COMMAND to run: mlrig run [options] -- COMMAND"),
        (
            ("--name", "a/b", "--", "true"),
            125,
            "--name must be up to 100 letters, digits, and _ . - within; got: 'a/b'",
        ),
        (("--ccd", "x", "--", "true"), 125, "--ccd must be auto, none, or the number of an L3 domain, from 0; got: "),
        (("--gpus", "all", "true"), 125, "no GPU can be used: this host has no NVIDIA GPU; --gpus none runs without"),
        (("--nnodes", "2", "--rdzv-endpoint", "a:1", "sh", "-c", ":"), 125, "--nnodes must have a Python script"),
        (("--snapshot", " ", "--", "true"), 125, "the description must be one line of text that says why; got: ' '"),
    ],
)
def test_what_is_not_started(runs: Runs, command: tuple[str, ...], code: int, message: str) -> None:
    root = runs.host.root
    runs.host.write("/data", "")
    runs.program("/broken", "#!/no/such/interpreter\n")
    # an executable of no machine
    runs.host.write("/binary", b"\x7fELF\x02\x01\x01" + bytes(57)).chmod(0o755)
    done = runs.run(*(word.format(root=root) for word in command))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[-1].startswith(f"mlrig: {message.format(root=root)}")


def test_wrong_arguments(runs: Runs) -> None:
    done = runs.run("--gpu", "0", "--", "true")
    assert done.returncode == 2
    assert "mlrig: error: unrecognized arguments: --gpu" in done.stderr


def test_a_script_without_its_first_line(runs: Runs) -> None:
    """As a shell would start it."""
    script = runs.program("/script", 'echo "$0 $1"; exit 5\n')
    done = runs.run(str(script), "--", "x")
    assert (done.returncode, done.stdout) == (5, f"{script} --\n")


def test_the_command_has_its_pipes_and_signals(runs: Runs) -> None:
    ignored = ("grep", "SigIgn", "/proc/self/status")
    without_mlrig = subprocess.run(["env", "--default-signal", *ignored], check=True, capture_output=True, text=True)
    process = runs.start("sh", "-c", f"cat; {' '.join(ignored)}; echo complaint >&2")
    out, err = process.communicate("read this\n", PATIENCE)
    assert out == f"read this\n{without_mlrig.stdout}"
    assert err.splitlines()[1:] == [NO_SYSTEMD, err.splitlines()[2], "complaint"]


def test_without_a_gpu(runs: Runs) -> None:
    done = runs.run("--name", "first", "--", "env")
    lines = done.stdout.splitlines()
    assert "mlrig: this host has no NVIDIA GPU: the run has CPUs only" in done.stderr.splitlines()
    assert "MLRIG_RUN=first" in lines
    assert not [line for line in lines if line.startswith(("CUDA_", "NCCL_", "MLRIG_LOADER_CPUS"))]


def test_gpus_and_environment(rig: GpuHost, runs: Runs) -> None:
    done = runs.run("sh", "-c", "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $NCCL_P2P_DISABLE")
    assert done.stdout == f"{rig.uuid(0)},{rig.uuid(1)} PCI_BUS_ID 1\n"
    assert "GPU 0 (NVIDIA GeForce RTX 3090), GPU 1 (NVIDIA GeForce RTX 3090); CPUs " in done.stderr
    for text, slots in (("1", [1]), ("", []), ("-1", []), ("GPU-", None), ("7", None)):
        runs.environment["CUDA_VISIBLE_DEVICES"] = text
        done = runs.run("sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
        if slots is None:
            assert done.returncode == 125
            assert done.stderr.startswith("mlrig: CUDA_VISIBLE_DEVICES")
        else:
            assert done.stdout == ",".join(rig.uuid(slot) for slot in slots) + "\n"
    assert runs.run("--gpus", "0", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES").stdout == f"{rig.uuid(0)}\n"


def test_a_driver_that_is_not_loaded(rig: GpuHost, runs: Runs) -> None:
    rig.simgpu("unload")
    done = runs.run("true")
    assert done.returncode == 125
    assert "no GPU can be used: the NVIDIA driver is not loaded; --gpus none runs without" in done.stderr
    assert runs.run("--gpus", "none", "true").returncode == 0


def test_two_at_once_get_different_gpus(rig: GpuHost, runs: Runs) -> None:
    first, second = (runs.start("--gpus", "any:1", "--", *WAITING) for _number in range(2))
    chosen = {line_of(first): first, line_of(second): second}
    assert set(chosen) == {rig.uuid(0), rig.uuid(1)}
    asked = time.monotonic()
    refused = runs.run("--", *WAITING)
    assert refused.returncode == 125
    assert time.monotonic() - asked < 15  # what goes on is not waited for, as what just ends is
    for slot in (0, 1):
        holder = chosen[rig.uuid(slot)]
        assert f"GPU {slot} (NVIDIA GeForce RTX 3090) is held by sh (process {holder.pid}, user " in refused.stderr
    holder = chosen[rig.uuid(0)]
    holder.communicate("go on\n", PATIENCE)
    assert runs.run("--gpus", "0", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES").stdout == f"{rig.uuid(0)}\n"


def test_one_after_another_finds_its_gpus_free(rig: GpuHost, runs: Runs) -> None:
    """Even where the first leaves something behind, which is ended first."""
    del rig
    for _again in range(2):
        first = runs.run("--gpus", "all", "--", "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
        assert first.returncode == 0
        left = int(first.stdout)
    assert runs.run("--gpus", "all", "true").returncode == 0
    assert not is_running(left)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_killed_run_leaves_nothing(rig: GpuHost, runs: Runs, kind: signal.Signals) -> None:
    """Neither what it has started, in whatever session, nor a GPU that is held, nor a file."""
    before = rig.host.texts()
    process = runs.start("sh", "-c", "setsid sleep 600 & sleep 600 & echo $!; wait")
    left = int(line_of(process))
    run_id = next(
        entry
        for entry in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        if entry.startswith(b"MLRIG_RUN_ID=")
    )
    assert runs.run("--gpus", "any:1", "true").returncode == 125
    process.send_signal(kind)
    assert process.wait(PATIENCE) == -kind
    wait_until(lambda: not is_running(left))
    assert runs.run("--gpus", "all", "true").returncode == 0
    assert not [each for each in Path("/proc").glob("[0-9]*") if run_id in environment_of(each)]
    assert rig.host.texts() == before


def within(runs: Runs, *arguments: str) -> str:
    """For a shell: a run, of another process of the same host."""
    return shlex.join([sys.executable, "-c", MLRIG, str(runs.host.root), "run", *arguments])


def test_a_run_within_a_run_is_a_part_of_it(rig: GpuHost, runs: Runs) -> None:
    """It has the GPUs that the outer one holds and no more, and its end is not that of the outer one."""
    inner = within(runs, "--gpus", "0", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exit 3")
    looked = within(runs, "--dry-run", "--gpus", "0", "--", "true")
    innermost = within(runs, "--", *shlex.split(within(runs, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")))
    others = within(runs, "--gpus", "1", "--", "true")
    other = runs.start("--gpus", "1", "--", *WAITING)
    line_of(other)
    script = f"{inner}; echo $?; {innermost}; {looked} >/dev/null; echo $?; {others}; echo $?"
    done = runs.run("--gpus", "0", "--", "sh", "-c", script)
    assert done.stdout.split() == [rig.uuid(0), "3", rig.uuid(0), "0", "125"]
    assert f"GPU 1 (NVIDIA GeForce RTX 3090) is held by sh (process {other.pid}, user " in done.stderr
    # whoever is in no run, is not let in by one
    holding = runs.start("--gpus", "0", "--", *WAITING)
    line_of(holding)
    assert runs.run("--gpus", "0", "--", "true").returncode == 125


def test_a_run_within_a_run_ends_with_it(runs: Runs) -> None:
    inner = within(runs, "--", "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!; wait")
    process = runs.start("--", "sh", "-c", f"{inner}; true")
    left = int(line_of(process))
    process.kill()
    wait_until(lambda: not is_running(left))


def test_what_a_run_within_a_run_leaves_is_ended_with_the_inner_one(runs: Runs) -> None:
    inner = within(runs, "--", "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
    process = runs.start("--", "sh", "-c", f"sleep 600 >/dev/null 2>&1 & echo $!; {inner}; read line")
    outers, inners = int(line_of(process)), int(line_of(process))
    wait_until(lambda: not is_running(inners))
    assert is_running(outers)


def test_a_killed_guard_frees_no_gpu(rig: GpuHost, runs: Runs) -> None:
    """The command itself holds it."""
    process = runs.start(*WAITING)
    line_of(process)
    guards = [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if str(rig.host.root) in command_of(folder) and int(folder.name) != process.pid
    ]
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGKILL)
    wait_until(lambda: not is_running(guards[0]))
    refused = runs.run("true")
    assert refused.returncode == 125
    assert f"is held by sh (process {process.pid}, user " in refused.stderr
    process.communicate("go on\n", PATIENCE)
    assert runs.run("true").returncode == 0


def command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def environment_of(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def test_the_command_has_no_child_but_its_own(runs: Runs) -> None:
    """Or it would wait for the guard, which waits for it."""
    program = "import os\ntry:\n    os.wait()\nexcept ChildProcessError:\n    print('none')"
    assert runs.run("--", sys.executable, "-c", program).stdout == "none\n"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ('#!/bin/sh\necho "$@" > {root}/asked\nshift 4\n"$@"\n: > {root}/ended\n', None),
        ("#!/bin/sh\necho first >&2\necho Access denied >&2\nexit 1\n", "Access denied"),
    ],
    ids=["awake", "refused"],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="a user has a second way, sudo")
def test_the_machine_stays_awake(runs: Runs, program: str, said: str | None) -> None:
    root = runs.host.root
    runs.host.path("/run/systemd/system").mkdir(parents=True)
    runs.host.write(f"/run/user/{os.geteuid()}/bus", "")
    runs.program("/bin/systemd-inhibit", program.format(root=root))
    runs.program("/bin/busctl", "#!/bin/sh\necho Call failed: no such bus >&2\nexit 1\n")
    runs.environment["PATH"] = f"{root}/bin:{os.environ['PATH']}"
    process = runs.start("--name", "n", *WAITING)
    line_of(process)
    if said is None:
        asked = "--what=sleep:idle --who=mlrig --why=training run n --mode=block sh -c "
        assert runs.host.read("/asked").startswith(asked)
        assert not runs.host.path("/ended").exists()
    process.kill()
    _out, err = process.communicate(timeout=PATIENCE)
    assert "mlrig: the run has no scope of its own: systemd makes no scope: Call failed: no such bus" in err
    if said is None:
        wait_until(runs.host.path("/ended").exists)
        assert "sleep" not in err
    else:
        assert f"mlrig: the machine may go to sleep meanwhile: {said}\n" in err


def test_a_name_that_another_run_has(runs: Runs) -> None:
    runs.host.path("/run/systemd/system").mkdir(parents=True)
    complaint = "Call failed: Unit mlrig-run-a.scope was already loaded or has a fragment file."
    runs.program("/bin/busctl", f"#!/bin/sh\necho {complaint} >&2\nexit 1\n")
    runs.environment["PATH"] = f"{runs.host.path('/bin')}:{os.environ['PATH']}"
    # The snapshot would be refused as well, but comes after: no run that is refused for its name has taken one.
    done = runs.run("--name", "a", "--snapshot", " ", "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.splitlines()[-1] == "mlrig: --name: a run of the name a is going on, in mlrig-run-a.scope"


def test_the_journal_has_a_line(open_host: Host) -> None:
    runs = Runs(open_host)
    path = open_host.path("/run/systemd/journal/socket")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        journal.settimeout(PATIENCE)
        assert runs.run("--name", "j", "--", "echo", "two\nlines").returncode == 0
        entry = dict(line.split("=", 1) for line in journal.recv(65536).decode().splitlines())
    assert entry["MESSAGE"].startswith("run j: no GPU; CPUs ")
    assert entry["MESSAGE"].endswith(f"; no scope; {shutil.which('echo')} 'two lines'")
    assert (entry["SYSLOG_IDENTIFIER"], entry["MLRIG_RUN"], entry["PRIORITY"]) == ("mlrig", "j", "6")


def test_a_very_long_command(open_host: Host) -> None:
    """With more words than one argument of a program, or one message to the journal, can hold."""
    runs = Runs(open_host)
    open_host.path("/run/systemd/system").mkdir(parents=True)
    open_host.write(f"/run/user/{os.geteuid()}/bus", "")
    for name in ("busctl", "systemd-inhibit"):
        runs.program(f"/bin/{name}", "#!/bin/sh\necho not here >&2\nexit 1\n")
    runs.environment["PATH"] = f"{open_host.path('/bin')}:{os.environ['PATH']}"
    path = open_host.path("/run/systemd/journal/socket")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        journal.settimeout(PATIENCE)
        done = runs.run("--name", "l", "--", "sh", "-c", "echo $#", *["x" * 1000] * 300)
        assert (done.returncode, done.stdout) == (0, "299\n")
        assert "mlrig: the run has no scope of its own: systemd makes no scope: not here\n" in done.stderr
        entry = dict(line.split("=", 1) for line in journal.recv(1 << 20).decode().splitlines())
    assert entry["MLRIG_COMMAND"].startswith(f"{shutil.which('sh')} -c 'echo $#' xxx")
    assert entry["MESSAGE"].endswith("xxx...")


two_cpus = pytest.mark.skipif(not {0, 1} <= os.sched_getaffinity(0), reason="CPUs 0 and 1 must be there")
AFFINITY = "import os; print(sorted(os.sched_getaffinity(0)), os.environ.get('MLRIG_LOADER_CPUS'), flush=True)"


@two_cpus
@pytest.mark.parametrize(
    ("arguments", "said"), [((), "[0] 1"), (("--ccd", "1"), "[1] 0"), (("--ccd", "none"), None)], ids=str
)
def test_affinity(runs: Runs, arguments: tuple[str, ...], said: str | None) -> None:
    TWO.write(runs.host)
    everywhere = f"{sorted(os.sched_getaffinity(0))} None"
    assert runs.run(*arguments, "--", sys.executable, "-c", AFFINITY).stdout == f"{said or everywhere}\n"


@two_cpus
def test_two_at_once_compute_in_different_domains(runs: Runs) -> None:
    TWO.write(runs.host)
    first, second = (runs.start("--", sys.executable, "-c", f"{AFFINITY}; input()") for _number in range(2))
    assert {line_of(first)[:3], line_of(second)[:3]} == {"[0]", "[1]"}
    first.communicate("\n", PATIENCE)
    second.communicate("\n", PATIENCE)


@two_cpus
def test_data_loaders_are_moved(runs: Runs) -> None:
    """By PyTorch's name of them; what the program itself has placed, and all others, stay."""
    TWO.write(runs.host)
    program = """
import os, time
from pathlib import Path
def start(name, cpus=None):
    pid = os.fork()
    if pid == 0:
        if cpus:
            os.sched_setaffinity(0, cpus)
        Path("/proc/self/comm").write_text(name)
        time.sleep(60)
    return pid
moved, other = start("pt_data_worker"), start("pt_main_thread")
deadline = time.monotonic() + 50
while os.sched_getaffinity(moved) != {1} and time.monotonic() < deadline:
    time.sleep(0.05)
print(os.sched_getaffinity(moved), os.sched_getaffinity(other), os.sched_getaffinity(0))
"""
    assert runs.run("--", sys.executable, "-c", program).stdout == "{1} {0} {0}\n"


@pytest.fixture
def torchrun(runs: Runs) -> Path:
    """A Python with a torchrun beside it, which says how it was called."""
    runs.program("/venv/bin/torchrun", '#!/bin/sh\nprintf "%s\\n" "$@"\nexit 3\n')
    python = runs.program("/venv/bin/python", '#!/bin/sh\necho alone "$@"\nexit 4\n')
    runs.host.write("/train.py", "")
    return python


def test_several_gpus_take_torchrun(rig: GpuHost, runs: Runs, torchrun: Path) -> None:
    del rig
    command = (str(torchrun), f"{runs.host.root}/train.py")
    done = runs.run(*command, "--lr", "1")
    assert done.returncode == 3
    assert done.stdout.split() == ["--standalone", "--nproc-per-node=2", "--no-python", *command, "--lr", "1"]
    for arguments, noted in ((("--gpus", "any:1"), False), (("--no-torchrun",), True)):
        alone = runs.run(*arguments, "--", *command)
        assert (alone.returncode, alone.stdout) == (4, f"alone {command[1]}\n")
        assert ("mlrig: COMMAND is started once, and sees all 2 GPUs\n" in alone.stderr) is noted
    machines = ("--nnodes", "2", "--node-rank", "1", "--rdzv-endpoint", "rig-a:29500")
    done = runs.run("--gpus", "any:1", *machines, "--", *command)
    expected = ["--nnodes=2", "--rdzv-endpoint=rig-a:29500", "--node-rank=1", "--nproc-per-node=1", "--no-python"]
    assert done.stdout.split() == [*expected, *command]


@two_cpus
def test_each_process_of_torchrun_has_a_domain(rig: GpuHost, runs: Runs, torchrun: Path) -> None:
    TWO.write(rig.host)
    runs.program(
        "/venv/bin/torchrun",
        "#!/bin/sh\n"
        'while [ "$1" != --no-python ]; do shift; done; shift\n'
        'for LOCAL_RANK in 0 1; do export LOCAL_RANK; "$@"; done\n',
    )
    torchrun.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{AFFINITY}"\n')
    assert runs.run(str(torchrun), "train.py").stdout == "[0] None\n[1] None\n"


DRIFT = "GPU 0 (NVIDIA GeForce RTX 3090): power_limit was 350 W, and should be 300 W"


def test_a_dry_run_starts_and_changes_nothing(rig: GpuHost, runs: Runs) -> None:
    running = runs.start("--gpus", "1", *WAITING)
    line_of(running)
    rig.configure({"match": {"index": 0}, "power_limit": 300})
    before = rig.host.texts()
    started = str(rig.host.path("/started"))
    done = runs.run("--dry-run", "--json", "--name", "d", "--snapshot", "why", "--", "touch", started)
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert document["command"] == [shutil.which("touch"), started]
    assert document["gpus"] == [{"index": 0, "uuid": rig.uuid(0), "name": "NVIDIA GeForce RTX 3090"}]
    assert document["environment"]["CUDA_VISIBLE_DEVICES"] == rig.uuid(0)
    assert (document["name"], document["unit"], document["snapshot"]) == ("d", None, "why")
    assert document["notes"][0] == DRIFT
    text = runs.run("--dry-run", "--name", "d", "--", "touch", started)
    assert text.stdout.splitlines()[0].startswith("run d: GPU 0 (NVIDIA GeForce RTX 3090); CPUs ")
    assert f"command: {shutil.which('touch')} {started}" in text.stdout.splitlines()
    assert f"note: {DRIFT}" in text.stdout.splitlines()
    running.communicate("go on\n", PATIENCE)
    assert rig.host.texts() == before
    assert rig.live(0) == {}
    refused = runs.run("--dry-run", "--json", "--gpus", "7", "--", "true")
    assert refused.returncode == 125
    assert json.loads(refused.stdout)["error"].startswith("--gpus: no GPU of this host has the index 7")


@pytest.mark.skipif(os.geteuid() != 0, reason="settings take root")
def test_settings_that_drifted_are_brought_back(rig: GpuHost, runs: Runs) -> None:
    rig.configure({"match": {"index": 0}, "power_limit": 300, "persistence_mode": True})
    first, second = runs.run("true"), runs.run("true")
    assert f"mlrig: {DRIFT}\n" in first.stderr
    assert "mlrig: these settings were brought back\n" in first.stderr
    assert rig.live(0)["power_limit"] == "300000"
    assert "should be" not in second.stderr
    rig.host.write("/etc/mlrig/gpu.json", "{")
    broken = runs.run("true")
    assert broken.returncode == 125
    assert "/etc/mlrig/gpu.json must be JSON" in broken.stderr
