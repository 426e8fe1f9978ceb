"""The role alone, on rigs with simulated cards: what is set, what survives, what drifts and is found."""

import json
import os
import time

import docker
import pytest

SET = "Set the GPUs, now and for every boot"
LIVE = "/var/lib/simgpu/live"
HARDWARE = "/var/lib/simgpu/gpus"

# What the table of cards wants of each card, in the words of the simulated driver's state: milliwatts and MHz.
WANTED = {
    "NVIDIA GeForce RTX 3090": {"persistence_mode": "1", "power_limit": "280000"},
    "NVIDIA GeForce RTX 4060 Ti": {
        "persistence_mode": "1",
        "locked_graphics_clocks": "2100 2700",
        "locked_memory_clocks": "9001 9001",
    },
    "NVIDIA GeForce RTX 5060 Ti": {"persistence_mode": "1"},
    "NVIDIA GeForce RTX 5090": {"persistence_mode": "1", "power_limit": "500000"},
}
CARDS = {
    "plonter": ["NVIDIA GeForce RTX 5060 Ti"],
    "plonter_dual": ["NVIDIA GeForce RTX 5090", "NVIDIA GeForce RTX 5060 Ti"],
    "guide": ["NVIDIA GeForce RTX 4060 Ti"],
    "quad": ["NVIDIA GeForce RTX 3090"] * 4,
}
# Prints all files of all slots below a folder as one JSON document: {path: text}.
READ = (
    "python3 -c 'import json, pathlib, sys; root = pathlib.Path(sys.argv[1]).resolve();"
    ' print(json.dumps({str(file.relative_to(root)): file.read_text().strip() for file in root.glob("[0-9]/*")}))\''
)


def live(run):
    """What is set on each GPU of a host, by slot, other than the defaults; run runs a command there."""
    hardware = json.loads(run(f"{READ} {HARDWARE}"))
    state = {}
    for path, text in json.loads(run(f"{READ} {LIVE}")).items():
        slot, setting = path.split("/")
        defaults = {"compute_mode": "0", "power_limit": hardware[f"{slot}/power_limit_default"]}
        if text != defaults.get(setting):
            state.setdefault(int(slot), {})[setting] = text
    return state


def wanted(host):
    rig = host.ansible.get_variables()["rig"]
    return {slot: WANTED[card] for slot, card in enumerate(CARDS[rig])}


def wait_until_set(run, expected):
    """The unit runs beside: what it sets comes, or never does."""
    for _again in range(600):
        if live(run) == expected:
            return
        time.sleep(0.1)
    assert live(run) == expected


def test_rigs_are_those_of_the_reference(host):
    names = host.check_output("nvidia-smi --query-gpu=name --format=csv,noheader").splitlines()
    assert names == CARDS[host.ansible.get_variables()["rig"]]


def test_settings_are_as_wanted(host):
    assert live(host.check_output) == wanted(host)
    assert host.run("mlrig gpu status").rc == 0


def test_nothing_failed_on_the_host(host):
    assert host.check_output("systemctl is-system-running") == "running"
    assert host.service("mlrig-gpu.service").is_enabled


def test_report_says_what_was_read_and_what_is_only_recorded(host):
    evidence = {"persistence_mode": "read", "power_limit": "read"}
    for record in json.loads(host.check_output("mlrig gpu status --json"))["settings"]:
        setting = record["id"].rpartition("/")[2]
        assert record["evidence"] == evidence.get(setting, "recorded")


def test_a_driver_reload_is_followed_by_the_settings(host):
    host.check_output("simgpu unload")
    assert host.run(f"ls {LIVE}/0").stdout == ""
    host.check_output("simgpu load")
    wait_until_set(host.check_output, wanted(host))


def test_a_resume_is_followed_by_the_settings(host):
    """A container cannot sleep: what is proven is that systemd would start the unit once it is awake again."""
    for target in ("suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate"):
        assert "mlrig-gpu.service" in host.check_output(f"systemctl show --property=Wants --value {target}.target")
        assert f"{target}.target" in host.check_output("systemctl show --property=After --value mlrig-gpu.service")


def test_drift_by_hand_is_found_and_undone(role, hosts):
    for host in hosts.values():
        host.check_output("nvidia-smi -i 0 -pl 175 || nvidia-smi -i 0 -pl 450 || nvidia-smi -i 0 -pl 150")
        host.check_output("nvidia-smi -pm 0")
    drifted = {name: live(host.check_output) for name, host in hosts.items()}
    reported = role.run("--check")
    assert reported.code == 0, reported.errors
    for name, host in hosts.items():
        assert live(host.check_output) == drifted[name] != wanted(host)
        assert reported.changed(name) == {SET}
    mended, again = role.run(), role.run()
    assert mended.code == 0, mended.errors
    for name, host in hosts.items():
        assert live(host.check_output) == wanted(host)
        assert mended.results[name][SET]["settings"] == reported.results[name][SET]["settings"]
        assert again.changed(name) == set()


def test_a_lock_changed_behind_the_record_is_undone_by_force(role, hosts):
    guides = {name: host for name, host in hosts.items() if name.startswith("guide")}
    limit = "--limit=" + ",".join(guides)
    for host in guides.values():
        host.check_output("nvidia-smi -lgc 1000,1500")
    unaware, forced, again = role.run(limit), role.run(limit, "-e", '{"gpu_tuning_force": true}'), role.run(limit)
    for name, host in guides.items():
        records = unaware.results[name][SET]["settings"]
        [lock] = [record for record in records if record["id"].endswith("/graphics_clocks")]
        assert (lock["action"], lock["evidence"]) == ("none", "recorded")
        assert forced.changed(name) == {SET}
        assert again.changed(name) == set()
        assert live(host.check_output) == wanted(host)


def test_a_hosts_own_list_is_laid_over_the_table_and_taken_off_again(role, hosts):
    own = [
        {"match": {"index": 0}, "power_limit": "100%", "graphics_clocks": ["50%", "80%"], "compute_mode": "prohibited"}
    ]
    laid = role.run("-e", json.dumps({"gpu_tuning_gpus": own}))
    assert laid.code == 0, laid.errors
    for host in hosts.values():
        state = live(host.check_output)[0]
        assert state["compute_mode"] == "2"
        assert "locked_graphics_clocks" in state
    taken_off, again = role.run(), role.run()
    assert taken_off.code == 0, taken_off.errors
    for name, host in hosts.items():
        assert live(host.check_output) == wanted(host)
        assert again.changed(name) == set()


@pytest.mark.parametrize(
    ("own", "parts"),
    [
        (
            {"match": "all", "power_limit": 9000},
            ["gpus[0].power_limit must be within", "W, the range of GPU 0 (NVIDIA"],
        ),
        (
            {"match": {"name": "RTX 6090"}, "power_limit": 300},
            ["gpus[0].match must fit a GPU of this host", "RTX 6090"],
        ),
        ({"match": "all", "power_limit": "lots"}, ["gpu_tuning_gpus[0].power_limit must be watts", "'lots'"]),
        ({"match": "all", "clock": 1}, ["gpu_tuning_gpus", "clock"]),
    ],
    ids=["beyond the board", "no such card", "no power", "no such setting"],
)
def test_what_is_wrong_is_refused_before_anything_changes(role, hosts, own, parts):
    name = "plonter-dual-ubuntu2404"
    configured = hosts[name].file("/etc/mlrig/gpu.json").content
    refused = role.run("--limit", name, "-e", json.dumps({"gpu_tuning_gpus": [own]}))
    assert refused.code != 0
    assert all(part in refused.errors for part in parts), refused.errors
    assert live(hosts[name].check_output) == wanted(hosts[name])
    assert hosts[name].file("/etc/mlrig/gpu.json").content == configured


def test_a_lost_gpu_stops_no_other(role, hosts):
    quads = {name: host for name, host in hosts.items() if name.startswith("quad")}
    for host in quads.values():
        host.check_output("nvidia-smi -pl 300 && simgpu fail 2 all 15")
    run = role.run("--limit=" + ",".join(quads))
    for host in quads.values():
        limits = {slot: state["power_limit"] for slot, state in live(host.check_output).items()}
        assert limits == {0: "280000", 1: "280000", 2: "300000", 3: "280000"}
        host.check_output("simgpu heal")
    assert run.code != 0
    assert "cannot set persistence_mode: GPU 2 does not answer: GPU is lost (NVML error 15)" in run.errors
    assert role.run("--limit=" + ",".join(quads)).code == 0


def test_a_restart_of_the_machine_is_followed_by_the_settings(host):
    """The container is asked directly: its address may be another one afterwards."""
    name = host.backend.host
    expected = wanted(host)
    [container] = [
        each
        for each in docker.from_env().containers.list(filters={"label": "mlrig.scope=gpu_tuning"})
        if each.attrs["Config"]["Hostname"] == name
        and each.labels["mlrig.checkout"] == os.environ["MOLECULE_PROJECT_DIRECTORY"]
    ]
    booted_before = container.attrs["State"]["StartedAt"]

    def run(command):
        return container.exec_run(["sh", "-c", command]).output.decode()

    container.restart()
    container.reload()
    assert container.attrs["State"]["StartedAt"] != booted_before
    for _again in range(600):
        if run("systemctl is-system-running").strip() in ("running", "degraded"):
            break
        time.sleep(0.1)
    wait_until_set(run, expected)
    assert "mlrig-gpu.service" not in run("systemctl --failed --plain --no-legend")
