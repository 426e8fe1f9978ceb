"""The role alone: its files, what they do at boot, and what it says where a container forbids a setting."""

import json

import pytest

KEEPALIVE = "net.ipv4.tcp_keepalive_time"
MODULE = "mlrig.workstation.kernel_tunables"


def live(host, key):
    return host.check_output(f"sysctl --values {key}")


def run_module(host, *tunables, check):
    return host.ansible(MODULE, json.dumps({"tunables": tunables}), check=check, become=True)


def records(host, *tunables):
    """The module's records in check mode, by plane."""
    return {record["plane"]: record for record in run_module(host, *tunables, check=True)["settings"]}


def test_sysctl_file_holds_defaults_and_the_users_own(host):
    lines = host.file("/etc/sysctl.d/99-mlrig.conf").content_string.splitlines()
    assert lines[0].startswith("# Managed by mlrig.workstation")
    assert lines[1:] == ["net.ipv4.conf.lo.log_martians = 1", f"{KEEPALIVE} = 600", "vm.swappiness = 10"]


def test_tmpfiles_file_sets_transparent_hugepages_and_energy_preference(host):
    lines = host.file("/etc/tmpfiles.d/mlrig.conf").content_string.splitlines()
    # The governor is for the active mode of amd_pstate and intel_pstate only.
    assert [line for line in lines[1:] if "scaling_governor" not in line] == [
        "w /sys/devices/system/cpu/cpufreq/policy*/energy_performance_preference - - - - performance",
        "w /sys/kernel/mm/transparent_hugepage/enabled - - - - always",
    ]


def test_settings_are_live(host):
    assert live(host, KEEPALIVE) == "600"
    assert live(host, "net.ipv4.conf.lo.log_martians") == "1"


def test_boot_sets_them_again(host):
    host.check_output(f"sysctl --write {KEEPALIVE}=7200")
    host.check_output("systemctl restart systemd-sysctl")
    assert live(host, KEEPALIVE) == "600"


def test_machine_setting_is_live_or_skipped_with_the_reason(host):
    by_plane = records(host, {"name": "vm.swappiness", "value": 10})
    assert by_plane["persisted"]["action"] == "none"
    if by_plane["live"]["action"] == "skipped":
        assert "read-only mount" in by_plane["live"]["reason"]
        assert by_plane["live"]["actual"] == live(host, "vm.swappiness")
    else:
        assert live(host, "vm.swappiness") == "10"


@pytest.fixture
def later_file(host):
    path = "/etc/sysctl.d/99-zz-by-hand.conf"
    host.check_output(f"echo '{KEEPALIVE} = 1200' > {path}")
    yield path
    host.check_output(f"rm {path}")
    host.check_output("systemctl restart systemd-sysctl")


def test_a_later_file_that_wins_at_boot_is_reported(host, later_file):
    by_plane = records(host, {"name": KEEPALIVE, "value": 600})
    assert by_plane["persisted"]["action"] == "skipped"
    assert f"{later_file} line 1" in by_plane["persisted"]["reason"]
    host.check_output("systemctl restart systemd-sysctl")
    assert live(host, KEEPALIVE) == "1200", "the report must be what systemd does"


@pytest.mark.parametrize(
    ("tunable", "parts"),
    [
        ({"name": "vm.swapiness", "value": 10}, ["vm.swapiness", "did you mean swappiness"]),
        ({"name": KEEPALIVE, "value": True}, ["tunables[0].value", "YAML boolean", "True"]),
        ({"name": "/etc/passwd", "value": 1}, ["tunables[0].name", "below /sys", "/etc/passwd"]),
    ],
    ids=["unknown key", "boolean", "other path"],
)
def test_bad_input_is_refused(host, tunable, parts):
    result = run_module(host, tunable, check=True)
    assert all(part in result["msg"] for part in parts), result["msg"]


def test_a_value_that_the_kernel_refuses_is_named_and_not_persisted(host):
    result = run_module(host, {"name": KEEPALIVE, "value": "soon"}, check=False)
    assert "refuses 'soon': Invalid argument" in result["msg"]
    assert host.file("/etc/sysctl.d/99-mlrig.conf").contains(f"{KEEPALIVE} = 600")
