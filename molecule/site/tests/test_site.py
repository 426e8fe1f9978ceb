"""A converged host, and what a run of site.yml costs on it."""

import pytest


def test_a_run_without_changes_costs_at_most_38_module_executions(site, hosts, executions):
    before = {name: executions(host) for name, host in hosts.items()}
    run = site.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert run.changed(name) == set()
        assert 0 < executions(host) - before[name] <= 38


@pytest.mark.parametrize(
    ("tag", "other"),
    [("base", "Set kernel tunables, now and for every boot"), ("kernel_tuning", "Install what is missing")],
)
def test_tags_choose_a_role_and_keep_the_preflight_and_limit_chooses_hosts(site, tag, other):
    run = site.run("--tags", tag, "--limit", "debian13")
    assert run.code == 0, run.errors
    assert set(run.results) == {"debian13"}
    assert "Refuse a host that cannot become a rig" in run.results["debian13"]
    assert other not in run.results["debian13"]


def test_the_host_is_as_wanted(host):
    assert host.file("/etc/sysctl.d/99-mlrig.conf").contains("^vm.swappiness = 10$")
    assert host.file("/etc/sysctl.d/99-mlrig.conf").contains("^vm.max_map_count = 1048576$")
    assert host.file("/etc/tmpfiles.d/mlrig.conf").contains("enabled - - - - always$")
    assert host.package("git").is_installed
    assert host.check_output("systemctl is-system-running") == "running"
