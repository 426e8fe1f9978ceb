# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages are NVIDIA's driver, whose they are, and what must go for another one."""

from __future__ import annotations

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._dpkg import Package
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_packages import (
    branch_of_pin,
    find_installed,
    read_maintainers,
)

UBUNTU, DEBIAN = "Ubuntu 24.04", "Debian 13"
NVIDIA = "NVIDIA <cudatools@nvidia.com>"
CANONICAL = "Ubuntu Core Developers <ubuntu-devel-discuss@lists.ubuntu.com>"
PKG_NVIDIA = "Debian NVIDIA Maintainers <pkg-nvidia-devel@lists.alioth.debian.org>"


def packages(*rows: str, status: str = "installed") -> dict[str, Package]:
    pairs = [row.split(" ") for row in rows]
    return {name: Package(name.partition(":")[0], "amd64", version, "install", status) for name, version in pairs}


@pytest.mark.parametrize(
    ("version", "maintainer", "distribution", "source"),
    [
        ("595.91.07-0ubuntu0.24.04.1", "", UBUNTU, "ubuntu"),
        ("550.120-0ubuntu3.24.04.1", "", UBUNTU, "ubuntu"),
        ("595.71.05-1ubuntu1", "", UBUNTU, "nvidia"),
        ("595.71.05-0ubuntu0~gpu24.04.1", CANONICAL, UBUNTU, "ppa"),
        ("580.105.08-0ubuntu1", NVIDIA, UBUNTU, "nvidia"),
        ("580.105.08-0ubuntu1", CANONICAL, UBUNTU, "ubuntu"),
        ("580.105.08-0ubuntu1", "", UBUNTU, "nvidia"),
        ("535.171.04-0ubuntu2", "", UBUNTU, "ubuntu"),
        ("595.71.05-1", NVIDIA, DEBIAN, "nvidia"),
        ("595.71.05-1", "", DEBIAN, "nvidia"),
        ("550.163.01-1", PKG_NVIDIA, DEBIAN, "debian"),
        ("550.163.01-2", "", DEBIAN, "debian"),
        ("550.163.01-4+deb13u1", "", DEBIAN, "debian"),
        ("580.95.05-1~bpo13+1", "", DEBIAN, "debian"),
    ],
)
def test_whose_a_package_is(version: str, maintainer: str, distribution: str, source: str) -> None:
    found = find_installed(packages(f"libcuda1 {version}"), {"libcuda1": maintainer}, distribution)
    assert found.source == source


@pytest.mark.parametrize(
    ("row", "branch"),
    [
        ("libnvidia-compute 595.71.05-1ubuntu1", "595"),
        ("libnvidia-compute-580:i386 580.105.08-0ubuntu1", "580"),
        ("libnvidia-ml1 550.163.01-2", "550"),
        ("libcuda1 550.163.01-2", "550"),
        ("libnvcuvid1 550.163.01-2", "550"),
        ("libnvoptix1 550.163.01-2", "550"),
        ("libglx-nvidia0 550.163.01-2", "550"),
        ("xserver-xorg-video-nvidia-580 580.105.08-0ubuntu1", "580"),
        ("firmware-nvidia-gsp 550.163.01-2", "550"),
        ("nvidia-firmware-595-595.71.05 595.71.05-0ubuntu0.24.04.1", "595"),
        ("nvidia-driver-590-open 595.91.07-0ubuntu0.24.04.1", "595"),  # transitional
        ("linux-modules-nvidia-595-open-generic-hwe-24.04 7.0.0-29.29~24.04.1", "595"),
        ("linux-objects-nvidia-580-7.0.0-29-generic 7.0.0-29.29", "580"),
        ("nvidia-settings 510.47.03-0ubuntu4", None),
        ("nvidia-persistenced 590.48.01-1ubuntu1", None),
        ("nvidia-modprobe 575.57.08-1", None),
        ("nvidia-prime 0.8.17.2", None),
        ("nvidia-container-toolkit 1.18.0-1", None),
        ("libnvidia-container1 1.18.0-1", None),
        ("libnvidia-egl-wayland1 1:1.1.18-1", None),
        ("nvidia-cuda-toolkit 12.0.140~12.0.1-4build4", None),
        ("nvidia-driver-pinning-595 595-1", None),
        ("cuda-toolkit-13-0 13.0.2-1", None),
        ("cuda-drivers 595.71.05-1ubuntu1", None),
        ("nvidia-fabricmanager-595 595.71.05-1", None),
        ("glx-alternative-nvidia 1.2.2", None),
        ("linux-image-7.0.0-29-generic 7.0.0-29.29", None),
    ],
)
def test_what_is_of_the_driver(row: str, branch: str | None) -> None:
    installed = find_installed(packages(row), {}, UBUNTU)
    assert installed.branch == branch
    assert list(installed.names) == ([row.partition(" ")[0]] if branch else [])


@pytest.mark.parametrize(
    ("rows", "flavour"),
    [
        (["nvidia-dkms-open 595.71.05-1ubuntu1"], "open"),
        (["nvidia-dkms 595.71.05-1ubuntu1"], "proprietary"),
        (["nvidia-dkms-580-open 580.1-0ubuntu1", "nvidia-kernel-source-580-open 580.1-0ubuntu1"], "open"),
        (["nvidia-kernel-open-dkms 595.71.05-1"], "open"),
        (["nvidia-open-kernel-dkms 550.163.01-2"], "open"),
        (["nvidia-kernel-dkms 550.163.01-2"], "proprietary"),
        (["linux-modules-nvidia-580-generic-hwe-24.04 7.0.0-29.29"], "proprietary"),
        (["libcuda1 550.163.01-2"], None),
        (["nvidia-dkms-open 595.71.05-1ubuntu1", "nvidia-dkms-580 580.105.08-0ubuntu1"], None),
    ],
)
def test_flavour(rows: list[str], flavour: str | None) -> None:
    assert find_installed(packages(*rows), {}, UBUNTU).flavour == flavour


def test_an_upgrade_that_was_cut_off_is_of_no_one_version() -> None:
    rows = ["libnvidia-compute 595.71.05-1ubuntu1", "nvidia-dkms-open 590.48.01-1ubuntu1"]
    installed = find_installed(packages(*rows), {}, UBUNTU)
    assert (installed.branch, installed.version, installed.source) == (None, None, "nvidia")


def test_several_sources_are_mixed() -> None:
    rows = ["libnvidia-compute 595.71.05-1ubuntu1", "nvidia-utils-595 595.91.07-0ubuntu0.24.04.1"]
    installed = find_installed(packages(*rows), {}, UBUNTU)
    assert (installed.source, installed.origins) == ("mixed", ("nvidia", "ubuntu"))


@pytest.mark.parametrize(("status", "there"), [("config-files", False), ("unpacked", True), ("half-configured", True)])
def test_what_was_removed_does_not_count(status: str, *, there: bool) -> None:
    found = find_installed(packages("libcuda1 550.163.01-2", status=status), {}, DEBIAN)
    assert bool(found.packages) is there


def test_maintainers_are_asked_of_the_driver_alone() -> None:
    calls: list[tuple[str, ...]] = []

    def run(*command: str) -> Output:
        calls.append(command)
        return Output(0, f"libcuda1\t{PKG_NVIDIA}\n")

    assert read_maintainers(run, packages("bash 5.2-1")) == {}
    assert calls == []
    assert read_maintainers(run, packages("bash 5.2-1", "libcuda1 550.163.01-2")) == {"libcuda1": PKG_NVIDIA}
    assert [command[3:] for command in calls] == [("libcuda1",)]


@pytest.mark.parametrize(
    ("name", "branch"), [("nvidia-driver-pinning-595", "595"), ("nvidia-driver-pinning-590.48.01", "590")]
)
def test_branch_of_pin(name: str, branch: str) -> None:
    assert branch_of_pin(name) == branch
