"""The role alone: Docker, NVIDIA's simulated toolkit, daemon.json and its drift, what is refused, and what a run costs.

The tests go on from each other, in their order: what one leaves is what the next one finds.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml

DAEMON = "/etc/docker/daemon.json"
COMPOSE = "/usr/local/share/mlrig-compose.yaml"
INSTALL = "Install Docker, and NVIDIA's container toolkit for GPUs"
CONFIGURE = "Keep Docker's configuration"
REPOSITORY = "/opt/mlrig-test-host/repository"
# Of this scenario's prepare.yml.
OWN = "dockers-own"
OWN_TEXT = """\
{
  "debug" : true,
  "log-driver": "json-file", "log-opts": {"max-size": "5m"},
  "runtimes": {"kata": {"path": "/opt/kata"}}
}
"""


def name_of(host):
    return host.check_output("hostname")


def gpus(host):
    return re.findall(r"UUID: (GPU-[0-9a-f-]+)", host.check_output("nvidia-smi --list-gpus"))


def config(host):
    return json.loads(host.file(DAEMON).content_string)


def wants(**variables):
    return ("--extra-vars", json.dumps(variables))


def test_docker_is_the_distributions_unless_it_is_there_already(host):
    own = name_of(host) == OWN
    for package in ("docker.io", "docker-compose", "docker-compose-v2"):
        expected = not own and package in {
            "docker.io",
            "docker-compose" if name_of(host) == "debian13" else "docker-compose-v2",
        }
        assert host.package(package).is_installed == expected
    assert host.package("docker-ce").is_installed == own


def test_dockerd_runs_and_has_read_its_configuration(host):
    assert host.service("docker").is_enabled
    assert host.service("docker").is_running
    assert (
        host.check_output("docker info --format='{{.LiveRestoreEnabled}} {{.ContainersRunning}} x'").split()[0]
        == "true"
    )


def test_a_real_dockerd_says_what_it_was_told(host):
    if name_of(host) == OWN:
        pytest.skip("the simulated dockerd is asked above")
    said = json.loads(host.check_output("docker info --format='{{json .}}'"))
    assert (said["LoggingDriver"], said["LiveRestoreEnabled"]) == ("local", True)
    assert said["Runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert "/var/run/cdi" in said["CDISpecDirs"]


def test_the_toolkit_is_new_enough(host):
    assert host.package("nvidia-container-toolkit").version == "1.18.2-1"
    assert host.file("/etc/apt/sources.list.d/mlrig-nvidia-container-toolkit.sources").exists


def test_nvidia_ctk_would_change_nothing(host):
    """The simulated one: it does to the file what the real one's source does."""
    would = json.loads(host.check_output("nvidia-ctk runtime configure --runtime=docker --cdi.enabled --dry-run"))
    assert would == config(host)


def test_keys_of_the_user_stay(host):
    if name_of(host) != OWN:
        assert set(config(host)) == {"log-driver", "live-restore", "runtimes", "features"}
        return
    assert host.file(f"{DAEMON}.mlrig.save").content_string == OWN_TEXT
    text = host.file(DAEMON).content_string
    assert text.startswith(OWN_TEXT.partition('"json-file"')[0] + '"local", "log-opts": {"max-size": "5m"},')
    assert config(host)["runtimes"]["kata"] == {"path": "/opt/kata"}


def test_containers_outlived_the_restart(host):
    if name_of(host) == OWN:
        assert host.file("/run/simulated-containers").content_string == "2\n"


def test_gpus_are_described_now_and_after_a_boot(host):
    listed = host.check_output("nvidia-ctk cdi list").splitlines()
    assert listed == [f"nvidia.com/gpu={name}" for name in ("0", "1", *gpus(host), "all")]
    assert host.service("nvidia-cdi-refresh.service").is_enabled
    assert host.service("nvidia-cdi-refresh.path").is_enabled
    assert host.service("nvidia-cdi-refresh.path").is_running


def test_the_compose_file_names_the_card_without_a_display(host):
    text = host.file(COMPOSE).content_string
    training = yaml.safe_load(text)["services"]["training"]
    [device] = training["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": [gpus(host)[0]], "capabilities": ["gpu"]}
    assert (training["shm_size"], training["restart"]) == ("8gb", "no")
    assert training["ulimits"] == {"memlock": -1, "stack": 67108864}


def test_docker_compose_takes_it(host):
    if name_of(host) != "debian13":
        pytest.skip("the compose plugin is simulated on this host")
    shown = yaml.safe_load(host.check_output(f"IMAGE=example/image docker compose --file {COMPOSE} config"))
    assert shown["services"]["training"]["shm_size"] == str(8 << 30)
    assert shown["volumes"]["huggingface"]["name"] == "huggingface"
    assert host.run(f"docker compose --file {COMPOSE} config").rc != 0


def test_the_user_may_command_docker(host):
    assert "docker" in host.user("rig").groups


def test_a_run_without_changes_costs_14_module_executions(role, hosts, executions):
    before = {name: executions(host) for name, host in hosts.items()}
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert run.changed(name) == set()
        assert executions(host) - before[name] == 14


def test_drift_is_found_and_undone_and_keys_of_the_user_stay(role, hosts):
    edits = ('s/"local"/"journald"/', "s/nvidia-container-runtime/wrong/", 's/^{/{ "labels": [ "a=1" ],/')
    for host in hosts.values():
        host.check_output(f"sed -i {' '.join(f'''-e '{edit}' ''' for edit in edits)} {DAEMON}")
        host.check_output("systemctl disable --now nvidia-cdi-refresh.path; rm /var/run/cdi/nvidia.yaml")
        host.check_output(f"echo '# mine' >> {COMPOSE}; gpasswd --delete rig docker")
    edited = {name: host.file(DAEMON).content_string for name, host in hosts.items()}
    checked = role.run("--check")
    assert checked.code == 0, checked.errors
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert (
            checked.changed(name)
            == run.changed(name)
            == {
                CONFIGURE,
                "Have the GPUs described for containers",
                "Describe the GPUs for containers until the next boot",
                "Put a compose file there to start from",
                "Let users command Docker",
            }
        )
        records = {r["id"]: (r["actual"], r["action"]) for r in run.results[name][CONFIGURE]["settings"]}
        assert records["log-driver"] == ('"journald"', "changed")
        assert records["runtimes.nvidia"] == ('{"args": [], "path": "wrong"}', "changed")
        assert records["features.cdi"] == ("true", "none")
        wanted = edited[name].replace('"journald"', '"local"').replace('"wrong"', '"nvidia-container-runtime"')
        assert json.loads(wanted) == config(host)
        assert host.file(DAEMON).content_string.startswith('{ "labels": [ "a=1" ],')
        assert host.service("docker").is_running
        assert f"nvidia.com/gpu={gpus(host)[0]}" in host.check_output("nvidia-ctk cdi list").splitlines()


def test_a_restart_that_would_stop_containers_is_left_to_the_user(role, hosts):
    host = hosts[OWN]
    host.check_output(f'sed -i \'s/"live-restore": true/"live-restore": false/\' {DAEMON}')
    host.check_output("systemctl restart docker; echo 3 > /run/simulated-containers")
    variables = wants(containers_daemon={"live-restore": None, "log-driver": "journald"})
    run = role.run("--limit", OWN, *variables)
    assert run.code == 0, run.errors
    result = run.results[OWN][CONFIGURE]
    assert result["reboot_required"]
    reason = "a restart would stop 3 containers; systemctl restart docker does it, as does a reboot"
    assert run.results[OWN]["Say that dockerd has yet to read its configuration"]["msg"] == [reason]
    assert host.file("/run/simulated-containers").content_string == "3\n"
    again = role.run("--limit", OWN, *variables)
    assert again.changed(OWN) == set()
    host.check_output("rm /run/simulated-containers")
    assert role.run("--limit", OWN).changed(OWN) == {CONFIGURE}


def test_what_dockerd_does_not_start_with_is_put_back(role, hosts):
    host = hosts[OWN]
    before = host.file(DAEMON).content_string
    run = role.run("--limit", OWN, *wants(containers_daemon={"log-opts": {"tag": "x"}}))
    assert run.code != 0
    assert "dockerd does not start: failed to start daemon: logger local: unknown log opt tag" in run.errors
    assert "is as it was before, and dockerd runs again" in run.errors
    assert host.file(DAEMON).content_string == before
    assert host.service("docker").is_running
    assert role.run("--limit", OWN).changed(OWN) == set()


WRONG = {
    "a user who is not there": (
        {"containers_users": ["rig", "nobody-here"]},
        ["containers_users must name users of debian13", "got: nobody-here"],
    ),
    "a GPU that is not there": (
        {"containers_gpus": ["GPU-00000000-0000-0000-0000-000000000000"]},
        ["containers_gpus must name GPUs of debian13", "got: GPU-00000000-0000-0000-0000-000000000000"],
    ),
    "no UUID": ({"containers_gpus": ["0"]}, ["containers_gpus[0] must be a GPU's UUID"]),
    "no key": ({"containers_daemon": {"Log Driver": "x"}}, ["containers_daemon['Log Driver'] must be a key of daemon"]),
    "an unknown key": ({"containers_daemon": {"log-drvier": "x"}}, ["dockerd does not take", "log-drvier"]),
    "an unknown variable": ({"containers_user": ["rig"]}, ["containers_user", "did you mean containers_users"]),
}


@pytest.mark.parametrize(("variables", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_variables_are_refused(role, hosts, variables, parts):
    before = hosts["debian13"].file(DAEMON).content_string
    run = role.run("--limit", "debian13", *wants(**variables))
    assert run.code != 0
    assert run.changed("debian13") == set()
    assert all(part in run.errors for part in parts), run.errors
    assert hosts["debian13"].file(DAEMON).content_string == before


def test_a_file_that_is_no_json_is_refused_and_stays(role, hosts):
    for host in hosts.values():
        host.check_output(f"cp -a {DAEMON} /root/daemon.json && sed -i '1a // mine' {DAEMON}")
    run = role.run()
    assert run.code != 0
    assert f"{DAEMON} is no JSON: line 2, column 1: " in run.errors
    for name, host in hosts.items():
        assert run.changed(name) == set()
        assert "// mine" in host.file(DAEMON).content_string
        host.check_output(f"mv /root/daemon.json {DAEMON} && systemctl restart docker")


def test_a_toolkit_that_is_too_old_is_refused_by_name(role, hosts):
    host = hosts["debian13"]
    host.check_output("apt-get purge --yes --quiet=2 'nvidia-container-toolkit*'")
    pin = "Package: *nvidia-container*\\nPin: version 1.17.*\\nPin-Priority: 1001\\n"
    host.check_output(f"printf '{pin}' > /etc/apt/preferences.d/old")
    run = role.run("--limit", "debian13")
    assert run.code != 0
    assert "nvidia-container-toolkit: apt would take 1.17.8-1, wanted is 1.18.2 or newer" in run.errors
    host.check_output("apt-get install --yes --quiet=2 nvidia-container-toolkit; rm /etc/apt/preferences.d/old")
    run = role.run("--limit", "debian13")
    assert run.code == 0, run.errors
    assert host.package("nvidia-container-toolkit").version == "1.18.2-1"


def test_without_a_driver_the_part_for_gpus_is_skipped_with_the_reason(role, hosts):
    for host in hosts.values():
        host.check_output(f"simgpu unload && rm {COMPOSE}")
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert run.changed(name) == set()
        assert run.results[name]["Say what this host cannot have"]["msg"].startswith("no GPUs in containers: ")
        assert not host.file(COMPOSE).exists
        assert host.service("docker").is_running
