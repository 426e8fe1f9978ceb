# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dkms says, by a table of every shape that its versions print, and the logs of builds that failed."""

from __future__ import annotations

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._dkms_status import (
    DkmsBuild,
    find_failed_build,
    parse_dkms_status,
    read_dkms,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

from .conftest import Host

HWE = "7.0.0-29-generic"
LOG = "/var/lib/dkms/nvidia-current-open/550.163.01/build/make.log"
# As Debian 13's dkms 3.2.2 wrote it for a kernel that is too new, without the lines between.
FAILED = """\
DKMS (dkms-3.2.2) make.log for nvidia-current-open/550.163.01 for kernel 6.12.117+deb13-amd64 (x86_64)
Sat Nov 21 13:41:26 UTC 2026

   x86_64-linux-gnu-gcc-14 -Wp,-MMD,nv.o.d -Werror=implicit-function-declaration -Wno-error -c -o nv.o nv.c
/var/lib/dkms/nvidia-current-open/550.163.01/build/nvidia/nv-pci.c: In function 'nv_resize_pcie_bars':
/var/lib/dkms/nvidia-current-open/550.163.01/build/nvidia/nv-pci.c:237:9: error: too few arguments to function 'pci_r'
  237 |     r = pci_resize_resource(pci_dev, NV_GPU_BAR1, requested_size);
make[4]: *** [nvidia/nv-pci.o] Error 1

# exit code: 2
# elapsed time: 00:01:09
----------------------------------------------------------------
"""
# As dkms 2 and 3.0 begin it.
OLD_LOG = """\
DKMS make.log for nvidia-current-open-550.163.01 for kernel 6.8.0-1-amd64 (x86_64)
/bin/sh: 1: gcc-12: command not found
"""


ON_HWE = f"nvidia/595.71.05, {HWE}, x86_64"


@pytest.mark.parametrize(
    ("line", "driver", "kernel", "state", "remarks"),
    [
        # since dkms 2.8.5, as NVIDIA's and Ubuntu's packages name the driver
        ("nvidia/595.71.05: added", "nvidia/595.71.05", None, "added", []),
        (f"{ON_HWE}: built", "nvidia/595.71.05", HWE, "built", []),
        (f"{ON_HWE}: installed", "nvidia/595.71.05", HWE, "installed", []),
        *(
            (
                f"{ON_HWE}: {state}{''.join(f' ({each})' for each in remarks)}",
                "nvidia/595.71.05",
                HWE,
                state,
                remarks,
            )
            for state, remarks in [
                ("installed", ["original_module exists"]),
                ("built", ["WARNING! Missing some built modules!"]),
                ("installed", ["original_module exists", "WARNING! Diff between built and installed module!"]),
                # since dkms 3.1
                ("installed", ["Original modules exist"]),
                ("built", ["Built modules are missing in the kernel modules folder"]),
                ("installed", ["Original modules exist", "Differences between built and installed modules"]),
            ]
        ),
        ("nvidia/595.71.05: broken", "nvidia/595.71.05", None, "broken", []),
        # before 2.8.5; of weak modules to this day
        ("nvidia, 510.47.03: added", "nvidia/510.47.03", None, "added", []),
        (
            *("nvidia, 510.47.03, 5.4.0-109-generic, x86_64: installed", "nvidia/510.47.03", "5.4.0-109-generic"),
            *("installed", []),
        ),
        (
            *("nvidia, 1.0, 5.4.0-109-generic, x86_64: installed-weak from 5.4.0-100-generic", "nvidia/1.0"),
            *("5.4.0-109-generic", "installed-weak", ["from 5.4.0-100-generic"]),
        ),
        # other names: Debian's, Ubuntu's for servers
        (
            *(
                "nvidia-current-open/550.163.01, 6.12.94+deb13-amd64, x86_64: installed",
                "nvidia-current-open/550.163.01",
            ),
            *("6.12.94+deb13-amd64", "installed", []),
        ),
        ("nvidia-current-open/550.163.01: added", "nvidia-current-open/550.163.01", None, "added", []),
        ("nvidia-tesla-535/535.261.03: added", "nvidia-tesla-535/535.261.03", None, "added", []),
        ("nvidia-srv/580.95.05: added", "nvidia-srv/580.95.05", None, "added", []),
    ],
)
def test_line(line: str, driver: str, kernel: str | None, state: str, remarks: list[str]) -> None:
    [build] = parse_dkms_status(f"{line}\n")
    assert build.as_dict() == {
        "module": driver.partition("/")[0],
        "version": driver.partition("/")[2],
        "kernel": kernel,
        "architecture": kernel and "x86_64",
        "state": state,
        "remarks": remarks,
    }


@pytest.mark.parametrize(
    "line",
    [
        "nvidia-fs/2.26.6, 6.8.0-87-generic, x86_64: installed",
        "nvidia-peermem/1.0: added",
        "nvidiabl/0.87: added",
        "zfs/2.3.2, 6.12.94+deb13-amd64, x86_64: installed",
        "Error! nvidia/595.71.05: Missing the module source directory or the symbolic link pointing to it.",
        "Manual intervention is required!",
        "Deprecated feature: REMAKE_INITRD (/var/lib/dkms/nvidia/550.90.07/source/dkms.conf)",
        "",
    ],
)
def test_what_is_not_the_driver_is_left_out(line: str) -> None:
    assert parse_dkms_status(f"{line}\n") == ()


def test_lines_of_several_kernels() -> None:
    builds = parse_dkms_status(
        f"nvidia/595.71.05, 6.17.0-22-generic, x86_64: installed\nnvidia/595.71.05, {HWE}, x86_64: installed\n"
    )
    assert [build.kernel for build in builds] == ["6.17.0-22-generic", HWE]


def test_dkms_is_asked_only_where_it_has_the_driver(host: Host) -> None:
    asked = []

    def run(*command: str) -> Output:
        asked.append(command)
        return Output(0, f"nvidia/595.71.05, {HWE}, x86_64: installed\n")

    assert read_dkms(host.root, run) == ()
    host.write("/usr/sbin/dkms", "")
    host.write("/var/lib/dkms/zfs/2.3.2/build/make.log", "")
    host.write("/var/lib/dkms/nvidia-fs/2.26.6/build/make.log", "")
    assert read_dkms(host.root, run) == ()
    assert asked == []
    host.write("/var/lib/dkms/nvidia/595.71.05/build/make.log", "")
    assert read_dkms(host.root, run) == (DkmsBuild("nvidia", "595.71.05", HWE, "x86_64", "installed"),)
    assert asked == [("dkms", "status")]


def test_a_dkms_that_fails_is_an_error(host: Host) -> None:
    host.write_all({"/usr/sbin/dkms": "", "/var/lib/dkms/nvidia/595.71.05/source": ""})
    with pytest.raises(SettingsError, match="dkms status failed: cannot read"):
        read_dkms(host.root, lambda *_command: Output(1, "", "cannot read\n"))


@pytest.mark.parametrize(
    ("log", "kernel", "said"),
    [
        (
            FAILED,
            "6.12.117+deb13-amd64",
            f"its build failed: nvidia/nv-pci.c:237:9: error: too few arguments to function 'pci_r' ({LOG})",
        ),
        (
            FAILED.replace("error: too", "fatal error: too"),
            "6.12.117+deb13-amd64",
            f"its build failed: nvidia/nv-pci.c:237:9: fatal error: too few arguments to function 'pci_r' ({LOG})",
        ),
        (FAILED.replace(" error:", ""), "6.12.117+deb13-amd64", f"its build failed: see {LOG}"),
        (
            OLD_LOG,
            "6.8.0-1-amd64",
            f"its build failed: /bin/sh: 1: gcc-12: command not found ({LOG})",
        ),
        (FAILED, "6.12.94+deb13-amd64", None),
        ("", "6.12.117+deb13-amd64", None),
        (None, "6.12.117+deb13-amd64", None),
    ],
)
def test_failed_build(host: Host, log: str | None, kernel: str, said: str | None) -> None:
    if log is not None:
        host.write(LOG, log)
    failure = find_failed_build(host.root, "nvidia-current-open", "550.163.01", kernel)
    assert said == (failure and str(failure))
