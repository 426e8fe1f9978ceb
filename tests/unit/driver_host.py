# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is to get a driver: its files in a folder, and what dpkg and apt say of it."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_archive import Archive
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_host import FileSystem, read_host
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_plan import Answers, plan_for

from .conftest import Host

TABLE = yaml.safe_load((Path(__file__).parents[2] / "roles/nvidia_driver/defaults/main.yml").read_text())[
    "nvidia_driver_branches"
]
TODAY = date(2026, 11, 20)
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
EFIVARS = "/sys/firmware/efi/efivars"
RTX_5090, GTX_1080 = "0x2b85", "0x1b80"
HWE = "generic-hwe-24.04"
PLENTY = FileSystem(1, 50_000, read_only=False)

# What has only to be there, for a driver of NVIDIA's or Canonical's.
NVIDIA_595 = ("libnvidia-compute", "nvidia-kernel-common", "nvidia-dkms-open", "nvidia-driver-open", "nvidia-open")
NVIDIA_580 = ("libnvidia-compute-580", "nvidia-dkms-580-open", "nvidia-driver-580-open", "nvidia-open-580")
UBUNTU_595 = ("libnvidia-compute-595", "nvidia-utils-595", "nvidia-driver-595-open")
DEBIAN_550 = ("libnvidia-ml1", "nvidia-open-kernel-dkms", "nvidia-driver", "nvidia-smi")


class DriverHost(Host):
    """Ubuntu 24.04 or Debian 13 with an RTX 5090, one kernel with headers, and no driver; then what a test adds."""

    def __init__(self, root: Path, distribution: str = "Ubuntu 24.04", kernel: str | None = None) -> None:
        super().__init__(root)
        self.packages: dict[str, tuple[str, ...]] = {}
        self.maintainers: dict[str, str] = {}
        self.candidates: dict[str, str] = {}
        self.unfit: set[str] = set()  # what apt would not install with the others
        self.published: dict[str, str] = {}  # what an update of the lists brings
        self.owned: list[str] = []
        self.calls: list[tuple[str, ...]] = []
        self.file_systems = dict.fromkeys(("/", "/usr", "/var", "/boot"), PLENTY)
        self.ubuntu = distribution.startswith("Ubuntu")
        full_name, version = "Ubuntu" if self.ubuntu else "Debian GNU/Linux", distribution.partition(" ")[2]
        self.write("/etc/os-release", f'NAME="{full_name}"\nVERSION_ID="{version}"\n')
        self.write("/var/lib/apt/lists/archive_Packages", "")
        self.install("dpkg", "1.22", architecture="amd64")
        self.kind = HWE if self.ubuntu else "amd64"
        self.running = kernel or ("7.0.0-29-generic" if self.ubuntu else "6.12.94+deb13-amd64")
        self.write("/proc/sys/kernel/osrelease", f"{self.running}\n")
        self.add_kernel(self.running)
        self.install(f"linux-image-{self.kind}", "7.0.0-29.29~24.04.1")
        self.install(f"linux-headers-{self.kind}", "7.0.0-29.29~24.04.1")
        self.add_card("01", RTX_5090)

    def add_kernel(self, kernel: str, *, headers: bool = True) -> None:
        self.write(f"/boot/vmlinuz-{kernel}", "")
        self.write(f"/lib/modules/{kernel}/modules.dep", "")
        self.install(f"linux-image-{kernel}", "1")
        if headers:
            self.install(f"linux-headers-{kernel}", "1")

    def add_card(self, bus: str, device: str, driver: str | None = None) -> None:
        folder = f"/sys/bus/pci/devices/0000:{bus}:00.0"
        self.write_all({f"{folder}/vendor": "0x10de\n", f"{folder}/class": "0x030000\n", f"{folder}/device": device})
        if driver:
            self.link(f"{folder}/driver", f"../../../bus/pci/drivers/{driver}")

    def install(
        self, name: str, version: str, *, status: str = "installed", want: str = "install", **more: str
    ) -> None:
        architecture, flag = more.get("architecture", "amd64"), more.get("flag", "ok")
        self.packages[name] = (name, architecture, version, want, flag, status, "")

    def install_all(self, names: tuple[str, ...], version: str) -> None:
        for name in names:
            self.install(name, version)

    def install_driver(self, source: str, branch: str = "595", **state: str) -> None:
        """All that a run of the role would have installed, and no more."""
        match source, branch:
            case "nvidia", "580":
                names, version = NVIDIA_580, "580.105.08-0ubuntu1"
            case "nvidia", _:
                names, version = NVIDIA_595, f"{branch}.71.05-1ubuntu1"
            case "ubuntu", _:
                names = (*UBUNTU_595, f"linux-modules-nvidia-595-open-{HWE}")
                version = "595.91.07-0ubuntu0.24.04.1"
            case _:
                names, version = DEBIAN_550, "550.163.01-2"
        for name in names:
            self.install(name, version, **state)
        self.write_all({"/usr/bin/nvidia-smi": "", "/usr/bin/nvidia-persistenced": ""})
        if source == "nvidia":
            self.install(f"nvidia-driver-pinning-{branch}", f"{branch}-1")

    def secure_boot(self, *, state: str = "", certificate: str = "/var/lib/shim-signed/mok/MOK.der") -> None:
        """state: what is known of the key that signs: empty, made, requested, or enrolled."""
        self.write(f"{EFIVARS}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\6\0\0\0\1")
        if state:
            self.write(certificate, b"0\x82DER")
        if state == "requested":
            self.write(f"{EFIVARS}/MokNew-{SHIM}", b"\7\0\0\0list 0\x82DER")
        if state == "enrolled":
            self.write(f"{EFIVARS}/MokListRT-{SHIM}", b"\6\0\0\0list 0\x82DER more")

    def __call__(self, *command: str) -> Output:
        """The runner: dpkg-query and apt-cache, as far as they are asked."""
        self.calls.append(command)
        match command:
            case ("dpkg-query", "--show", _):
                return Output(0, "".join("\t".join(fields) + "\n" for fields in self.packages.values()))
            case ("dpkg-query", "--show", _, *names):
                return Output(0, "".join(f"{name}\t{self.maintainers.get(name, '')}\n" for name in names))
            case ("dpkg-query", "--search", *paths):
                return Output(1, "".join(f"some-package: {path}\n" for path in paths if path in self.owned))
            case ("apt-get", "update"):
                self.write("/var/lib/apt/lists/archive_Packages", "")
                self.candidates |= self.published
                return Output(0)
            case ("apt-get", "--simulate", *names):
                return Output(100 if self.unfit & set(names) else 0)
            case ("apt-cache", *arguments):
                known = [name for name in arguments[arguments.index("policy") :] if name in self.candidates]
                return Output(0, "".join(f"{name}:\n  Candidate: {self.candidates[name]}\n" for name in known))
        raise AssertionError(command)

    def asked_apt(self) -> bool:
        return any(command[0] == "apt-cache" for command in self.calls)

    def plan(self, **options: Any) -> dict[str, Any]:
        wanted = {"branch": ">=590", "source": "nvidia", "flavour": "auto", "profile": "full", "branches": TABLE}
        more = {"state": "present", "upgrade": False, "kernels_to_come": []}
        archive = Archive(self, self.root, options.pop("update_cache", False))
        answers = Answers(wanted | more | options, TODAY)
        return plan_for(read_host(self.root, self, self._measure), archive, answers)

    def _measure(self, path: Path) -> FileSystem:
        return self.file_systems[f"/{path.relative_to(self.root)}".replace("/.", "/")]


def refused(plan: dict[str, Any]) -> list[str]:
    """The rules that a plan names."""
    return [each["rule"] for each in plan["refusals"]]
