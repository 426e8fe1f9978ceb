"""The role alone: packages, kernel with headers, the previous kernel, time, and what unattended upgrades may touch."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROLE = Path(__file__).parents[3] / "roles/base"


def is_ubuntu(host):
    return host.system_info.distribution == "ubuntu"


def apt_list(host, name):
    """A list of apt's effective configuration, from all files together."""
    return re.findall(rf'^{name}:: "(.*)";$', host.check_output("apt-config dump"), re.MULTILINE)


def test_packages_are_installed(host):
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    wanted = [*defaults["base_packages_defaults"], "unattended-upgrades"]
    states = host.check_output("dpkg-query --show --showformat='${Package} ${db:Status-Status}\\n'").splitlines()
    assert {f"{package} installed" for package in wanted} <= set(states)


def test_newest_kernel_has_its_headers(host):
    kernels = host.check_output("ls /boot | sed -n 's/^vmlinuz-//p' | sort --version-sort").splitlines()
    assert kernels
    assert host.package(f"linux-headers-{kernels[-1]}").is_installed


def test_previous_kernel_stays(hosts):
    host = hosts["ubuntu2404"]
    kernels = host.check_output("ls /boot | sed -n 's/^vmlinuz-//p' | sort --version-sort").splitlines()
    assert kernels[0].startswith("6.8.")
    assert len(kernels) > 1
    assert f"Remv linux-image-{kernels[0]}" not in host.check_output("apt-get --simulate autoremove")


def test_a_time_service_is_enabled_and_one_that_was_there_is_kept(host):
    service, other = ("systemd-timesyncd", "chrony") if is_ubuntu(host) else ("chrony", "systemd-timesyncd")
    assert host.service(service).is_enabled
    assert not host.package(other).is_installed


@pytest.mark.parametrize("timer", ["apt-daily.timer", "apt-daily-upgrade.timer"])
def test_daily_upgrades_run(host, timer):
    assert host.service(timer).is_enabled
    assert host.service(timer).is_running


def test_unattended_upgrades_are_for_security(host):
    output = host.check_output("unattended-upgrade --dry-run --debug 2>&1")
    allowed = re.search(r"Allowed origins are: (.*)", output)[1]
    if is_ubuntu(host):
        assert allowed.split(", ") == [
            "origin=Ubuntu,archive=noble-security,label=Ubuntu",
            "origin=Ubuntu,archive=noble,label=Ubuntu",
            "origin=UbuntuESMApps,archive=noble-apps-security",
            "origin=UbuntuESM,archive=noble-infra-security",
        ]
    else:
        assert allowed == "origin=Debian,codename=trixie-security,label=Debian-Security"


@pytest.mark.parametrize(
    ("package", "blocked"),
    [
        ("linux-generic-hwe-24.04", True),
        ("linux-image-amd64", True),
        ("linux-image-7.0.0-29-generic", True),
        ("linux-headers-6.12.94+deb13-amd64", True),
        ("linux-modules-nvidia-595-open-generic-hwe-24.04", True),
        ("linux-hwe-7.0-headers-7.0.0-29", True),
        ("linux-objects-nvidia-595-open-7.0.0-29-generic", True),
        ("linux-signatures-nvidia-7.0.0-29-generic", True),
        ("nvidia-driver-580-open", True),
        ("nvidia-open", True),
        ("nvidia-dkms-open", True),
        ("nvidia-persistenced", True),
        ("libnvidia-compute", True),
        ("libnvidia-compute-580", True),
        ("libnvidia-ml1", True),
        ("libcuda1", True),
        ("xserver-xorg-video-nvidia-580", True),
        ("cuda-drivers", True),
        ("linux-libc-dev", False),
        ("linux-base", False),
        ("openssl", False),
        ("libc6", False),
    ],
)
def test_unattended_upgrades_leave_kernel_and_driver_alone(host, package, blocked):
    patterns = apt_list(host, "Unattended-Upgrade::Package-Blacklist")
    assert any(re.match(pattern, package) for pattern in patterns) is blocked


def test_nothing_reboots_or_removes_by_itself(host):
    dump = host.check_output("apt-config dump")
    for option in ("Automatic-Reboot", "Remove-Unused-Kernel-Packages", "Remove-Unused-Dependencies"):
        assert f'Unattended-Upgrade::{option} "false";' in dump


def test_unattended_upgrades_can_be_left_to_the_distribution_and_taken_back(site, hosts):
    for wanted in (False, True):
        run = site.run("--tags", "base", "--extra-vars", json.dumps({"base_unattended_upgrades": wanted}))
        assert run.code == 0, run.errors
        for host in hosts.values():
            assert host.file("/etc/apt/apt.conf.d/52mlrig-unattended-upgrades").exists is wanted
