"""Where a driver may come from beside NVIDIA's own address, which molecule/nvidia_driver has, and cards that are older.

The tests go on from each other, in their order: what one leaves is what the next one finds.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

INSTALL = "Install the driver"
SOURCE = "Use NVIDIA's repository, or no longer"
KEYRING_LIST = {
    "ubuntu2404": "/etc/apt/sources.list.d/cuda-ubuntu2404-x86_64.list",
    "debian13": "/etc/apt/sources.list.d/cuda-debian13-x86_64.list",
}
PROXY_FILE = "/etc/apt/apt.conf.d/52mlrig-nvidia-proxy"
FREEZE_FILE = "/etc/apt/preferences.d/00mlrig-freeze"
REPOSITORY = "/opt/mlrig-test-host/repository"
# A mirror, its key as a path on the host, a proxy, and a Pascal card: its last branch, with proprietary modules.
FROM_THE_MIRROR = {
    "nvidia_driver_source": "nvidia",
    "nvidia_driver_branch": "580",
    "nvidia_driver_profile": "full",
    "nvidia_driver_repository": (
        "http://mirror.invalid/nvidia/{{ 'ubuntu2404' if 'ubuntu' in inventory_hostname else 'debian13' }}"
    ),
    "nvidia_driver_repository_key": f"{REPOSITORY}/key.asc",
    "nvidia_driver_repository_proxy": "http://127.0.0.1:3128",
}


@pytest.fixture(scope="session")
def role(site):
    return replace(site, playbook="molecule/nvidia_sources/converge.yml")


def packages(host, pattern="*"):
    """Installed packages by name, with their versions."""
    listing = host.check_output(
        f"dpkg-query --show --showformat='${{Package}} ${{Version}} ${{db:Status-Status}}\\n' '{pattern}'"
    )
    rows = [line.split() for line in listing.splitlines()]
    return {row[0]: row[1] for row in rows if row[-1] == "installed"}


def modules(host):
    """Version, licence and file of the module of each kernel."""
    kernels = host.check_output("ls /boot | sed -n 's/^vmlinuz-//p'").split()
    assert kernels
    fields = ("version", "license", "filename")
    return {
        kernel: tuple(host.run(f"modinfo -k {kernel} -F {field} nvidia").stdout.strip() for field in fields)
        for kernel in kernels
    }


def active_sources(host):
    """Every address of NVIDIA's repository that apt would use."""
    shown = host.check_output("apt-get indextargets --format '$(SITE) $(REPO_URI) $(CREATED_BY)'")
    return {line for line in shown.splitlines() if "nvidia" in line and line.endswith(" Packages")}


def configuration_of_apt(host):
    return host.check_output("find /etc/apt -type f -exec sha256sum {} + | sort")


def traces(host):
    """Files of this role, or of a driver."""
    left = host.check_output("find /etc /lib/modules ! -type d \\( -name '*nvidia*' -o -path '*mlrig*' \\)")
    others = ("/kernel/drivers/", "/apparmor.d/", "test-host")
    return [path for path in left.splitlines() if not any(each in path for each in others)]


def converges(role, hosts, variables=None):
    """In check mode, which changes nothing; then for real; then a second time without a change."""
    given = ("-e", json.dumps(variables or {}))
    before = {name: packages(host) for name, host in hosts.items()}
    checked = role.run("--check", *given)
    assert checked.code == 0, checked.errors
    assert {name: packages(host) for name, host in hosts.items()} == before
    done = role.run(*given)
    assert done.code == 0, done.errors
    again = role.run(*given)
    assert again.code == 0, again.errors
    for name in hosts:
        assert again.changed(name) == set()
        assert checked.changed(name) >= done.changed(name)
    return checked, done


def plug_in(host, card):
    host.check_output(f"echo 0x{card} > /run/simulated-pci/0000:01:00.0/device")


def test_ubuntus_driver_comes_with_modules_that_canonical_has_built(hosts):
    host = hosts["ubuntu2404"]
    found = packages(host, "*nvidia*")
    assert {
        "linux-modules-nvidia-595-open-generic-hwe-24.04",
        "linux-modules-nvidia-595-open-7.0.0-29-generic",
        "nvidia-headless-595-open",
        "nvidia-utils-595",
    } <= found.keys()
    assert "nvidia-dkms-595-open" not in found
    assert not host.package("dkms").is_installed
    assert modules(host) == {
        "7.0.0-29-generic": (
            "595.91.07",
            "Dual MIT/GPL",
            "/lib/modules/7.0.0-29-generic/kernel/nvidia-595-open/nvidia.ko",
        )
    }


def test_debians_driver_is_built_for_a_kernel_that_it_builds_for(hosts):
    host = hosts["debian13"]
    found = packages(host)
    versions = {name: found.get(name) for name in ("nvidia-open-kernel-dkms", "libcuda1", "nvidia-smi")}
    assert set(versions.values()) == {"550.163.01-2"}
    assert found["nvidia-persistenced"] == "550.163.01-1"
    assert found["linux-headers-amd64"] == "6.12.94-1"
    [(version, licence, _file)] = modules(host).values()
    assert (version, licence) == ("550.163.01", "Dual MIT/GPL")


def test_to_compute_needs_no_display(host):
    assert not [name for name in packages(host) if re.match("nvidia-driver|libnvidia-gl|xserver|nvidia-settings", name)]


def test_what_an_archive_brings_needs_no_other_source(host):
    assert not active_sources(host)
    assert not [path for path in traces(host) if path.startswith(("/etc/apt/sources", "/etc/apt/keyrings"))]
    assert host.file(FREEZE_FILE).exists


def test_an_older_card_gets_proprietary_modules(role, hosts):
    """Branch and flavour change at once, of what Canonical has built; and of what DKMS builds."""
    for host in hosts.values():
        plug_in(host, "1b06")
    branch = "{{ '580' if 'ubuntu' in inventory_hostname else '550' }}"
    checked, done = converges(role, hosts, {"nvidia_driver_branch": branch})
    for name in hosts:
        assert INSTALL in checked.changed(name) & done.changed(name)
    ubuntu, debian = hosts["ubuntu2404"], hosts["debian13"]
    folder = "/lib/modules/7.0.0-29-generic/kernel/nvidia-580"
    assert modules(ubuntu) == {"7.0.0-29-generic": ("580.105.08", "NVIDIA", f"{folder}/nvidia.ko")}
    assert not [name for name in packages(ubuntu) if "595" in name or "-open" in name]
    assert {(version, licence) for version, licence, _file in modules(debian).values()} == {("550.163.01", "NVIDIA")}
    assert not debian.package("nvidia-open-kernel-dkms").is_installed


def test_absent_leaves_no_trace_of_an_archives_driver(role, hosts):
    absent = {
        "nvidia_driver_state": "absent",
        "nvidia_driver_branch": "{{ '580' if 'ubuntu' in inventory_hostname else '550' }}",
    }
    converges(role, hosts, absent)
    for host in hosts.values():
        assert traces(host) == []


def test_a_wrong_key_changes_nothing(role, hosts):
    for name, host in hosts.items():
        host.check_output(f"dpkg --install {REPOSITORY}/nvidia/{name}/cuda-keyring_1.0-1_all.deb")
        assert host.file(KEYRING_LIST[name]).exists
    before = {name: configuration_of_apt(host) for name, host in hosts.items()}
    wrong = FROM_THE_MIRROR | {"nvidia_driver_repository_key": "http://mirror.invalid/key.asc"}
    run = role.run("-e", json.dumps(wrong))
    assert run.code != 0
    assert "http://mirror.invalid/key.asc: wrong key: its fingerprint is" in run.errors
    assert {name: configuration_of_apt(host) for name, host in hosts.items()} == before


def test_a_mirror_takes_the_place_of_cuda_keyrings_source(role, hosts):
    checked, done = converges(role, hosts, FROM_THE_MIRROR)
    for name, host in hosts.items():
        assert {SOURCE, INSTALL} <= checked.changed(name) & done.changed(name)
        [source] = active_sources(host)
        assert f"http://mirror.invalid/nvidia/{name}/" in source
        assert not host.file(KEYRING_LIST[name]).exists
        [proxy] = host.file(PROXY_FILE).content_string.splitlines()[1:]
        assert proxy == 'Acquire::http::Proxy::mirror.invalid "http://127.0.0.1:3128";'
        assert {(version, licence) for version, licence, _file in modules(host).values()} == {("580.105.08", "NVIDIA")}
        assert not [each for each in packages(host) if "-open" in each and "nvidia" in each]


def test_a_new_cuda_keyring_does_not_bring_its_source_back(role, hosts):
    for name, host in hosts.items():
        host.check_output(f"dpkg --install {REPOSITORY}/nvidia/{name}/cuda-keyring_1.1-1_all.deb")
        assert not host.file(KEYRING_LIST[name]).exists
        assert len(active_sources(host)) == 1
    run = role.run("-e", json.dumps(FROM_THE_MIRROR))
    assert run.code == 0, run.errors
    for name in hosts:
        assert SOURCE not in run.changed(name)


def test_what_is_not_frozen_may_be_moved_by_apt(role, hosts):
    """Here beyond the branch, as nothing else would hold it."""
    upgrade, pin = "apt-get --simulate full-upgrade", "/etc/apt/preferences.d/nvidia-driver-pin"

    def would_move(host):
        said = host.check_output(f"mv {pin} /root/ && {upgrade}; mv /root/nvidia-driver-pin {pin}")
        return "615.71.05" in said

    assert [would_move(host) for host in hosts.values()] == [False, False]
    converges(role, hosts, FROM_THE_MIRROR | {"nvidia_driver_frozen": False})
    assert [host.file(FREEZE_FILE).exists for host in hosts.values()] == [False, False]
    assert [would_move(host) for host in hosts.values()] == [True, True]


def test_absent_gives_cuda_keyring_its_source_back(role, hosts):
    converges(role, hosts, FROM_THE_MIRROR | {"nvidia_driver_state": "absent"})
    for name, host in hosts.items():
        assert traces(host) == []
        assert host.run("dpkg-divert --list '*mlrig*'").stdout == ""
        assert "# cuda-keyring 1.1-1" in host.file(KEYRING_LIST[name]).content_string
        assert host.check_output("dpkg --verify cuda-keyring") == ""
