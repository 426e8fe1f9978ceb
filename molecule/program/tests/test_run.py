"""`mlrig run` under systemd: a scope that is found, accounted for, stopped, and gone with its command."""

import pytest

GONE = "timeout 30 sh -c 'while systemctl is-active --quiet {unit}; do sleep 0.1; done'"
THERE = "timeout 30 sh -c 'until [ $(pgrep --count --full --exact \"sleep 60[01]\") = 2 ]; do sleep 0.1; done'"


@pytest.fixture
def sleeping(host):
    """A run of that name that takes its time, with a process that has left it."""
    name = "sleeping"
    unit = f"mlrig-run-{name}.scope"
    command = f"mlrig run --gpus none --name {name} -- sh -c 'setsid sleep 600 & exec sleep 601'"
    host.check_output(f"setsid {command} >/dev/null 2>&1 </dev/null &")
    host.check_output(THERE)
    yield unit
    host.run(f"systemctl kill --signal=KILL {unit}")
    host.check_output(GONE.format(unit=unit))


def test_a_run_has_a_scope_and_a_line_in_the_journal(host):
    said = host.check_output("mlrig run --gpus none --name proof -- cat /proc/self/cgroup")
    assert said.endswith("/mlrig-run-proof.scope")
    host.check_output(GONE.format(unit="mlrig-run-proof.scope"))
    host.check_output("journalctl --sync")
    line = host.check_output("journalctl --identifier=mlrig --output=cat MLRIG_RUN=proof")
    assert "; mlrig-run-proof.scope; " in line
    assert line.endswith("/cat /proc/self/cgroup")


def test_a_run_within_a_run_stays_in_its_scope(host):
    inner = "mlrig run --gpus none --name inner -- cat /proc/self/cgroup"
    said = host.check_output(f"mlrig run --gpus none --name outer -- {inner}")
    assert said.endswith("/mlrig-run-outer.scope")
    host.check_output(GONE.format(unit="mlrig-run-outer.scope"))


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("false", 1), ("sh -c 'exit 42'", 42), ("sh -c 'kill -INT $$'", 130), ("no-such-command", 127)],
)
def test_the_exit_status_is_the_commands(host, command, code):
    assert host.run(f"mlrig run --gpus none -- {command}").rc == code


def test_a_run_is_accounted_for_and_keeps_the_machine_awake(host, sleeping):
    shown = host.check_output(f"systemctl show --property=CPUAccounting,MemoryAccounting,TasksCurrent {sleeping}")
    assert {"CPUAccounting=yes", "MemoryAccounting=yes"} <= set(shown.splitlines())
    assert "training run sleeping" in host.check_output("systemd-inhibit --list --no-pager")
    again = host.run("mlrig run --gpus none --name sleeping -- true")
    assert (again.rc, again.stdout) == (125, "")
    assert again.stderr.splitlines()[-1] == f"mlrig: --name: a run of the name sleeping is going on, in {sleeping}"


def test_a_run_is_stopped_with_all_that_it_has_started(host, sleeping):
    host.check_output(f"systemctl stop {sleeping}")
    assert host.run("pgrep --full 'sleep 60[01]'").rc == 1
    assert "training run" not in host.run("systemd-inhibit --list --no-pager").stdout


def test_a_killed_run_leaves_nothing(host, sleeping):
    host.check_output("pkill --signal KILL --full --exact 'sleep 601'")
    host.check_output(GONE.format(unit=sleeping))
    assert host.run("pgrep --full 'sleep 60[01]'").rc == 1
    assert "training run" not in host.run("systemd-inhibit --list --no-pager").stdout


def test_a_user_without_a_session_has_a_run_too(host):
    done = host.run("sudo -u rig mlrig run --gpus none --name mine -- sh -c 'id --user --name; exit 3'")
    assert (done.rc, done.stdout) == (3, "rig\n")
    assert "mlrig: run mine: no GPU; CPUs " in done.stderr
