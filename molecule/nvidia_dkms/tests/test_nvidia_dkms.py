"""A real DKMS, a kernel it builds for, and one it does not: none of this is simulated but the card.

The tests follow each other: what the host is like after prepare.yml, then with a build that failed.
"""

import json
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[3]
DRIVER = {"nvidia_driver_source": "debian", "nvidia_driver_branch": "550", "nvidia_driver_profile": "compute"}
LOG = "/var/lib/dkms/nvidia-current-open/550.163.01/build/make.log"
ADVANCED = "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux"


def read_facts(host):
    result = host.ansible("mlrig.workstation.nvidia_kernel_facts", check=False, become=True)
    return result["ansible_facts"]["nvidia_kernels"]


def kernel_of(facts, release):
    return next(kernel for kernel in facts["kernels"] if kernel["kernel"] == release)


@pytest.fixture(scope="module")
def kernels(hosts):
    """One that the driver builds for, and a newer one."""
    kernels = hosts["debian13"].check_output("ls /boot | sed -n 's/^vmlinuz-//p' | sort --version-sort").splitlines()
    assert len(kernels) == 2
    return kernels


@pytest.fixture(scope="module")
def good(kernels):
    return kernels[0]


@pytest.fixture(scope="module")
def newest(kernels):
    return kernels[1]


@pytest.fixture(scope="module")
def failed_build(hosts, newest):
    """What apt says to the headers that the newest kernel lacks: DKMS builds for it at last, in vain."""
    command = f"DEBIAN_FRONTEND=noninteractive apt-get --yes install linux-headers-{newest} 2>&1"
    return hosts["debian13"].run(command)


def test_the_kernel_that_was_built_for_is_good(host, good):
    facts = read_facts(host)
    kernel = kernel_of(facts, good)
    assert facts["library_version"] == "550.163.01"
    assert kernel["good"], kernel
    assert (kernel["version"], kernel["flavour"], kernel["headers"]) == ("550.163.01", "open", True)
    assert [(build["module"], build["state"]) for build in kernel["dkms"]] == [("nvidia-current-open", "installed")]
    assert {module["signer"] for module in kernel["modules"]} == {"DKMS module signing key"}
    for module in kernel["modules"]:
        assert host.file(module["file"]).size > 0


def test_a_kernel_without_headers_is_broken_although_apt_said_nothing(host, good, newest):
    host.check_output("dpkg --audit | wc --bytes | grep -qx 0")
    facts = read_facts(host)
    why = f"it has no NVIDIA module: its headers are missing: install linux-headers-{newest}"
    assert kernel_of(facts, newest)["problems"] == [why]
    assert facts["next"]["kernel"] == newest
    assert facts["reboot_safe"] is False
    assert facts["reasons"] == [
        f"{newest}, which boots next (GRUB boots 'Debian GNU/Linux' (saved_entry in grubenv)): {why}",
        f"{good} would do: mend the kernel that boots next, or let that one boot",
    ]


def test_the_role_refuses_a_kernel_that_its_table_knows_not_to_build(site, newest):
    refused = site.run("--tags", "nvidia_driver", "-e", json.dumps(DRIVER))
    assert refused.code != 0
    assert refused.changed("debian13") == set()
    assert "no driver fits: nvidia_driver_branch '550'" in refused.errors
    assert newest in refused.errors


def test_initramfs_of_the_older_kernel_is_brought_up_to_date(host, good, newest):
    """Packages regenerated the newest kernel's alone, after the driver had changed modprobe's configuration."""
    reported, made, again = (
        host.ansible("mlrig.workstation.initramfs", check=check, become=True) for check in (True, False, False)
    )
    assert [(record["id"], record["action"]) for record in reported["settings"]] == [
        (f"/boot/initrd.img-{good}", "changed"),
        (f"/boot/initrd.img-{newest}", "none"),
    ]
    assert reported["settings"][0]["actual"].startswith("older than /etc/")
    assert made["settings"] == reported["settings"]
    assert not again["changed"]
    assert "etc/modprobe.d/nvidia-blacklists-nouveau.conf" in host.check_output(f"lsinitramfs /boot/initrd.img-{good}")


def test_a_build_that_fails_leaves_a_broken_kernel(host, good, newest, failed_build):
    assert failed_build.rc == 100
    assert f"Error! Bad return status for module build on kernel: {newest} (x86_64)" in failed_build.stdout
    assert f"nvidia-current-open/550.163.01, {good}, x86_64: installed" == host.check_output("dkms status")
    facts = read_facts(host)
    [problem] = kernel_of(facts, newest)["problems"]
    assert problem.startswith("it has no NVIDIA module: its build failed: nvidia/nv-pci.c:")
    assert problem.endswith(f"({LOG})")
    assert kernel_of(facts, good)["good"]


@pytest.mark.usefixtures("failed_build")
def test_a_reboot_is_safe_only_into_the_good_kernel(host, good, newest):
    for command, following in (
        (f"grub-set-default '{ADVANCED} {newest}'", newest),
        (f"grub-set-default '{ADVANCED} {good}'", good),
        (f"grub-reboot '{ADVANCED} {newest}'", newest),
        ("grub-editenv - unset next_entry", good),
        ("grub-editenv - unset saved_entry", newest),
        ("echo 'GRUB_DEFAULT=\"1>2\"' >> /etc/default/grub && update-grub", good),
    ):
        host.check_output(command)
        facts = read_facts(host)
        assert facts["next"]["kernel"] == following, command
        assert facts["reboot_safe"] is (following == good), command


@pytest.mark.usefixtures("failed_build")
def test_an_empty_module_is_found(host, good):
    file = kernel_of(read_facts(host), good)["modules"][3]["file"]
    host.check_output(f"mv {file} /root/kept && : > {file} && depmod {good}")
    assert kernel_of(read_facts(host), good)["problems"] == ["nvidia_uvm is empty"]
    host.check_output(f"mv /root/kept {file} && depmod {good}")
    assert kernel_of(read_facts(host), good)["good"]


@pytest.mark.usefixtures("failed_build")
def test_the_role_refuses_a_kernel_for_which_the_build_failed(site, newest):
    """Where the table knows nothing, the host does."""
    table = yaml.safe_load((CHECKOUT / "roles/nvidia_driver/defaults/main.yml").read_text())["nvidia_driver_branches"]
    table[0]["kernels"]["max"] = None
    refused = site.run(
        "--tags", "nvidia_driver", "-e", json.dumps({**DRIVER, "nvidia_driver_branches": table}, default=str)
    )
    assert refused.code != 0
    assert f"the driver's module could not be built for kernel {newest}" in refused.errors
