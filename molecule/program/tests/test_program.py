"""The program on a host: whole, mended when it is not, and without effect as long as nothing configures it."""

MENDED = "Install the program mlrig"


def test_everyone_finds_it(host):
    described = host.check_output("sudo -u rig mlrig gpu --help")
    assert "exit status:" in described
    assert "/etc/mlrig/gpu.json" in described


def test_its_unit_and_rule_are_correct(host):
    assert host.run("systemd-analyze verify mlrig-gpu.service").stderr == ""
    host.check_output("udevadm verify --resolve-names=never /etc/udev/rules.d/90-mlrig-gpu.rules")


def test_unit_does_nothing_without_a_configuration(host):
    host.check_output("systemctl start mlrig-gpu.service")
    assert host.check_output("systemctl show --property=ConditionResult mlrig-gpu.service") == "ConditionResult=no"


def test_reading_leaves_no_trace(host):
    before = host.check_output("find /opt/mlrig -printf '%p %T@\\n' | sort")
    host.run("mlrig gpu status")
    assert host.check_output("find /opt/mlrig -printf '%p %T@\\n' | sort") == before


def test_wrong_configuration_is_named(host):
    host.check_output('echo \'{"gpus": [{"match": "everything"}]}\' > /tmp/gpu.json')
    result = host.run("mlrig gpu status --config /tmp/gpu.json")
    assert result.rc == 2
    assert "/tmp/gpu.json: gpus[0].match must be all, or" in result.stderr


def test_drift_is_found_and_undone(role, hosts):
    drifts = (
        "rm /opt/mlrig/lib/mlrig/_gpu_plan.py",
        "echo broken > /opt/mlrig/lib/pynvml.py",
        "touch /opt/mlrig/lib/mlrig/_left_by_an_older_version.py",
        "chmod 644 /opt/mlrig/bin/mlrig",
        "ln -sfn /bin/false /usr/local/bin/mlrig",
        "rm /etc/udev/rules.d/90-mlrig-gpu.rules",
    )
    for host in hosts.values():
        for drift in drifts:
            host.check_output(drift)
    reported, mended, again = role.run("--check"), role.run(), role.run()
    for name, host in hosts.items():
        assert [run.code for run in (reported, mended, again)] == [0, 0, 0], mended.errors
        records = reported.results[name][MENDED]["settings"]
        assert len([record for record in records if record["action"] == "changed"]) == len(drifts)
        assert records == mended.results[name][MENDED]["settings"]
        assert again.changed(name) == set()
        host.check_output("mlrig gpu --help")
        assert not host.file("/opt/mlrig/lib/mlrig/_left_by_an_older_version.py").exists


def test_a_link_of_someone_elses_is_left_alone(role, hosts):
    for host in hosts.values():
        host.check_output("ln -sfn /bin/true /usr/local/bin/mlrig; rm /usr/local/bin/mlrig; touch /usr/local/bin/mlrig")
    refused = role.run()
    for host in hosts.values():
        assert host.file("/usr/local/bin/mlrig").size == 0
        host.check_output("rm /usr/local/bin/mlrig")
    assert refused.code != 0
    assert "/usr/local/bin/mlrig is not a link to this program: move it away" in refused.errors
    assert role.run().code == 0
