"""The role alone, with a simulated repository and card: every branch, up and down, frozen, killed, and gone again.

The tests go on from each other, in their order: what one leaves is what the next one finds.
"""

from __future__ import annotations

import json
import re

import pytest

DRIVERS = {"580": "580.105.08", "590": "590.48.01", "595": "595.91.07"}
INSTALL = "Install the driver"
EVERY_ORIGIN = "/etc/apt/apt.conf.d/99every-origin"


def packages(host, pattern="*"):
    """Installed packages by name, with their versions."""
    listing = host.check_output(
        f"dpkg-query --show --showformat='${{Package}} ${{Version}} ${{db:Status-Status}}\\n' '{pattern}'"
    )
    rows = [line.split() for line in listing.splitlines()]
    return {row[0]: row[1] for row in rows if row[-1] == "installed"}


def driver(host):
    """The versions of all packages of the driver, without the pin, and the daemon, which serves every driver."""
    found = packages(host, "*nvidia*")
    return {v.partition("-")[0] for name, v in found.items() if "pinning" not in name and "persistenced" not in name}


def modules(host):
    """The version of the module of each kernel."""
    kernels = host.check_output("ls /boot | sed -n 's/^vmlinuz-//p'").split()
    assert kernels
    return {kernel: host.run(f"modinfo -k {kernel} -F version nvidia").stdout.strip() for kernel in kernels}


def wants(branch):
    return ("-e", json.dumps({"nvidia_driver_branch": branch}))


def assert_driver(host, branch):
    version = DRIVERS[branch]
    assert driver(host) == {version}
    assert set(modules(host).values()) == {version}
    assert f"nvidia-driver-pinning-{branch}" in packages(host)
    assert host.check_output("dpkg --audit") == ""


def test_the_oldest_living_branch_is_installed(host):
    assert_driver(host, "595")


def test_check_mode_finds_nothing_to_do(role, hosts):
    checked = role.run("--check")
    assert checked.code == 0, checked.errors
    for name in hosts:
        assert checked.changed(name) == set()


def test_headers_come_with_it(host):
    for kernel in modules(host):
        assert host.package(f"linux-headers-{kernel}").is_installed


def test_nouveau_is_kept_away(host):
    shown = host.check_output("modprobe --showconfig")
    for name in ("nouveau", "nova_core", "nova_drm"):
        assert re.search(rf"^blacklist {name}$", shown, re.MULTILINE)
    assert re.search(r"^options nvidia_drm modeset=1$", shown, re.MULTILINE)


def test_the_persistence_daemon_keeps_persistence_mode(host):
    unit = host.check_output("systemctl cat nvidia-persistenced")
    assert re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1:] == [
        "",
        "/usr/bin/nvidia-persistenced --persistence-mode --verbose",
    ]


def test_the_freeze_holds_without_the_pin(host):
    """And without both, apt would take the newest branch."""
    host.check_output("apt-get update --quiet=2 && mv /etc/apt/preferences.d/nvidia-driver-pin /root/")
    host.check_output(f"echo 'Unattended-Upgrade::Origins-Pattern {{ \"origin=*\"; }};' > {EVERY_ORIGIN}")
    upgrade, unattended = "apt-get --simulate full-upgrade", "unattended-upgrade --dry-run --verbose 2>&1"
    frozen = host.check_output(upgrade), host.check_output(unattended)
    host.check_output("mv /etc/apt/preferences.d/00mlrig-freeze /root/")
    free = host.check_output(upgrade)
    host.check_output(f"rm {EVERY_ORIGIN} && mv /root/nvidia-driver-pin /root/00mlrig-freeze /etc/apt/preferences.d/")
    assert not any("nvidia" in said for said in frozen)
    assert "615.71.05" in free


@pytest.mark.parametrize("command", ["upgrade", "full-upgrade"])
def test_apt_moves_nothing(host, command):
    before = packages(host)
    host.check_output(f"apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2 {command}")
    after = packages(host)
    guarded = re.compile("linux-(image|headers|modules)|.*nvidia")
    assert {n: v for n, v in after.items() if guarded.match(n)} == {n: v for n, v in before.items() if guarded.match(n)}


def test_unattended_upgrades_touch_nothing_of_it(host):
    said = host.check_output("unattended-upgrade --dry-run --verbose 2>&1")
    assert not re.search(r"nvidia|linux-(image|headers|modules)", said)


@pytest.mark.parametrize("branch", ["580", "595", "590"])
def test_a_branch_is_changed_in_one_run(role, hosts, branch):
    before = {name: packages(host) for name, host in hosts.items()}
    checked = role.run("--check", *wants(branch))
    assert checked.code == 0, checked.errors
    assert {name: packages(host) for name, host in hosts.items()} == before
    done = role.run(*wants(branch))
    assert done.code == 0, done.errors
    again = role.run(*wants(branch))
    assert again.code == 0, again.errors
    for name, host in hosts.items():
        assert INSTALL in checked.changed(name)
        assert INSTALL in done.changed(name)
        assert again.changed(name) == set()
        assert_driver(host, branch)


def killed_and_run_again(role, host, condition, also="true"):
    """also: what dies with it on the host, as in a power cut."""
    name = host.check_output("hostname")
    assert role.kill_when(condition, "--limit", name, *wants("595"))
    host.run(also)
    converged = role.run("--limit", name, *wants("595"))
    assert converged.code == 0, converged.errors
    again = role.run("--limit", name, *wants("595"))
    assert again.changed(name) == set()
    assert_driver(host, "595")


def test_a_run_that_is_killed_between_pin_and_driver(role, hosts):
    host = hosts["ubuntu2404"]
    killed_and_run_again(role, host, lambda: "nvidia-driver-pinning-595" in packages(host))


def test_a_run_that_is_killed_while_it_installs(role, hosts):
    host = hosts["debian13"]

    def is_installing():
        return driver(host) != {DRIVERS["590"]}

    killed_and_run_again(role, host, is_installing, "pkill --signal KILL --exact 'apt-get|dpkg|dpkg-deb'")


def test_a_run_that_is_killed_before_the_initramfs(role, hosts):
    host = hosts["debian13"]
    host.check_output("rm /etc/modprobe.d/mlrig-nvidia.conf && update-initramfs -u -k all")
    killed_and_run_again(role, host, lambda: host.file("/etc/modprobe.d/mlrig-nvidia.conf").exists)
    for kernel in modules(host):
        held = host.check_output(f"lsinitramfs /boot/initrd.img-{kernel}")
        assert "etc/modprobe.d/mlrig-nvidia.conf" in held


def apt_installs(host, names, version):
    """By hand, past the freeze."""
    host.check_output("rm --force /etc/apt/preferences.d/00mlrig-freeze")
    found = packages(host, "*nvidia*")
    wanted = " ".join(f"{name}={version}-{found[name].partition('-')[2]}" for name in names(found))
    host.check_output(f"DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet=2 --allow-downgrades install {wanted}")


def all_of_the_driver(found):
    return [name for name, version in found.items() if version.startswith("595.") and "persistenced" not in name]


def only_libraries(found):
    return found.keys() & {"libnvidia-compute", "nvidia-driver-cuda"}


def test_a_newer_version_of_the_branch_comes_when_asked_for(role, hosts):
    for host in hosts.values():
        apt_installs(host, all_of_the_driver, "595.71.05")
    assert role.run().code == 0
    assert {frozenset(driver(host)) for host in hosts.values()} == {frozenset({"595.71.05"})}
    upgrade = ("-e", '{"nvidia_driver_upgrade": true}')
    checked, done, again = role.run("--check", *upgrade), role.run(*upgrade), role.run(*upgrade)
    for name, host in hosts.items():
        assert INSTALL in checked.changed(name)
        assert INSTALL in done.changed(name)
        assert again.changed(name) == set()
        assert_driver(host, "595")


def test_an_upgrade_that_was_cut_off_goes_on(role, hosts):
    for host in hosts.values():
        apt_installs(host, all_of_the_driver, "595.71.05")
        apt_installs(host, only_libraries, "595.91.07")
        assert len(driver(host)) == 2
    assert role.run().code == 0
    for host in hosts.values():
        assert_driver(host, "595")


def test_computing_alone_has_no_display(role, hosts):
    compute = ("-e", "nvidia_driver_profile=compute")
    done, again = role.run(*compute), role.run(*compute)
    assert done.code == 0, done.errors
    for name, host in hosts.items():
        assert again.changed(name) == set()
        found = packages(host)
        assert "nvidia-open" not in found
        assert "nvidia-persistenced" in found
        assert set(modules(host).values()) == {DRIVERS["595"]}
    assert role.run().code == 0
    for host in hosts.values():
        assert_driver(host, "595")
        assert "nvidia-open" in packages(host)


def test_no_driver_is_taken_from_the_distribution(hosts):
    host = hosts["ubuntu2404"]
    said = host.check_output("apt-cache policy nvidia-driver-595-open")
    assert "595.91.07-0ubuntu0.24.04.1 -1" in said
    assert "Candidate: (none)" in said


def test_a_mismatch_of_versions_names_the_reboot_that_mends_it(role, hosts):
    for host in hosts.values():
        host.check_output("simgpu machine 'NVIDIA GeForce RTX 5090' && simgpu driver 580.105.08 && simgpu load")
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        [kernel, *_older] = sorted(modules(host), reverse=True)
        [reason] = run.results[name]["Say that a reboot is needed"]["msg"]
        assert "driver/library version mismatch: the kernel module that is loaded is 580.105.08" in reason
        assert f"reboot into {kernel}" in reason
        host.check_output("simgpu machine && simgpu unload")


def test_a_kernel_without_a_module_is_not_to_be_booted(role, hosts):
    for host in hosts.values():
        host.check_output("find /lib/modules -path '*/updates/dkms/nvidia.ko' -delete")
    run = role.run()
    assert run.code != 0
    for name in hosts:
        assert f"Do not reboot {name}" in run.errors
    assert "no installed kernel has a working driver" in run.errors
    for host in hosts.values():
        host.check_output(f"DEBIAN_FRONTEND=noninteractive dpkg-reconfigure {' '.join(packages(host, 'nvidia*dkms*'))}")
    assert role.run().code == 0


def test_absent_leaves_no_trace(role, hosts):
    absent = ("-e", '{"nvidia_driver_state": "absent"}')
    gone, again = role.run(*absent), role.run(*absent)
    assert gone.code == 0, gone.errors
    for name, host in hosts.items():
        assert again.changed(name) == set()
        known = host.check_output("dpkg-query --show --showformat='${Package} ${db:Status-Status}\\n' '*nvidia*'")
        assert [line for line in known.splitlines() if not line.endswith(" not-installed")] == []
        left = host.check_output(
            "find /etc /lib/modules ! -type d \\( -name '*nvidia*' -o -path '*mlrig*' \\)"
        ).splitlines()
        assert [
            path for path in left if not any(others in path for others in ("/kernel/", "/apparmor.d/", "test-host"))
        ] == []


def test_a_host_without_a_card_is_left_alone(role, hosts):
    for host in hosts.values():
        host.check_output("umount /sys/bus/pci/devices")
    run = role.run()
    assert run.code == 0, run.errors
    for name in hosts:
        assert run.changed(name) == set()
        assert "no NVIDIA card" in run.results[name]["Say why there is nothing to do"]["msg"]
