# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a host is rebooted: what needs it, what forbids it, and who is in the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._reboot import Policy, RebootReport, read_report

from .conftest import Host

NO_LOGIN = "4294967295"
OLD, NEW = "6.12.94+deb13-amd64", "6.12.117+deb13-amd64"
MENU = """\
set default="0"
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-1' {{
    linux /boot/vmlinuz-{kernel} root=UUID=1 ro {tokens}
}}
"""


def _no_program(*command: str) -> Output:
    raise AssertionError(command)


@pytest.fixture
def rig(host: Host) -> Host:
    """A host without NVIDIA's driver, that runs what it boots next."""
    _install(host, OLD)
    host.write("/proc/sys/kernel/osrelease", f"{OLD}\n")
    host.write("/proc/cmdline", f"BOOT_IMAGE=/boot/vmlinuz-{OLD} root=UUID=1 ro quiet iommu=pt\n")
    host.write("/boot/grub/grub.cfg", MENU.format(kernel=OLD, tokens="quiet iommu=pt"))
    return host


def _install(host: Host, kernel: str) -> None:
    host.write(f"/boot/vmlinuz-{kernel}", "")
    host.write(f"/lib/modules/{kernel}/modules.dep", "")


def _new_kernel(host: Host) -> None:
    _install(host, NEW)
    host.write("/boot/grub/grub.cfg", MENU.format(kernel=NEW, tokens="quiet iommu=pt"))


def _with_driver(host: Host) -> None:
    """A driver whose modules are built for no kernel."""
    folder = "/sys/bus/pci/devices/0000:01:00.0"
    host.write_all({f"{folder}/vendor": "0x10de\n", f"{folder}/class": "0x030000\n", f"{folder}/device": "0x2b85"})
    host.write("/usr/lib/x86_64-linux-gnu/libcuda.so.595.71.05", "")
    host.link("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.595.71.05")


def report(host: Host) -> RebootReport:
    return read_report(host.root, _no_program)


def test_a_host_that_runs_what_it_boots_needs_none(rig: Host) -> None:
    assert report(rig) == RebootReport()
    assert report(rig).as_dict("always", local=False) == {
        "needed": [],
        "unsafe": [],
        "busy": [],
        "reboot": False,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        (_new_kernel, f"{OLD} runs, and {NEW} boots next (GRUB boots 'Debian GNU/Linux' (the default in grub.cfg))"),
        (
            lambda host: host.write("/boot/grub/grub.cfg", MENU.format(kernel=OLD, tokens="quiet iommu=off")),
            "the kernel runs with iommu=pt, and boots next with iommu=off",
        ),
        (
            lambda host: host.write("/boot/grub/grub.cfg", MENU.format(kernel=OLD, tokens="iommu=pt quiet nomodeset")),
            "the kernel runs with no nomodeset, and boots next with nomodeset",
        ),
        (
            lambda host: host.write("/boot/grub/grub.cfg", MENU.format(kernel=OLD, tokens="iommu=pt")),
            "the kernel runs with quiet, and boots next with no quiet",
        ),
        (
            lambda host: host.write("/run/reboot-required", ""),
            "the distribution's packages ask for one: they do not say",
        ),
        (
            lambda host: host.write_all(
                {"/run/reboot-required": "", "/run/reboot-required.pkgs": "libc6\ndbus\nlibc6\n"}
            ),
            "the distribution's packages ask for one: dbus, libc6",
        ),
    ],
    ids=["kernel", "other token", "token more", "token less", "packages", "named packages"],
)
def test_what_needs_a_reboot(rig: Host, change: Callable[[Host], object], needed: str) -> None:
    change(rig)
    [said] = report(rig).needed
    assert said.startswith(needed)


def test_one_way_in_which_an_entry_loads_its_kernel_will_do(rig: Host) -> None:
    menu = MENU.format(kernel=OLD, tokens="quiet iommu=pt")
    line = next(each for each in menu.splitlines(keepends=True) if "linux /boot" in each)
    rig.write("/boot/grub/grub.cfg", menu.replace(line, line.replace("quiet", "quiet panic=-1") + line))
    assert report(rig).needed == ()


def test_a_container_needs_none(rig: Host) -> None:
    _new_kernel(rig)
    rig.write("/run/systemd/container", "docker\n")
    assert report(rig) == RebootReport()


def test_a_kernel_without_a_driver_is_not_safe(rig: Host) -> None:
    _new_kernel(rig)
    _with_driver(rig)
    found = report(rig)
    assert any("no installed kernel has a working driver" in each for each in found.unsafe)
    answer = found.as_dict("always", local=False)
    assert not answer["reboot"]
    assert answer["reason"].startswith("it is not safe: ")


def test_an_apt_at_work_is_waited_for(rig: Host) -> None:
    rig.write("/var/lib/dpkg/lock-frontend", "")
    assert report(rig).unsafe == ()
    lock = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", lock, str(rig.path("/var/lib/dpkg/lock-frontend"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as apt:
        assert apt.stdout is not None
        apt.stdout.readline()
        assert report(rig).unsafe == ("apt or dpkg is at work",)
        apt.communicate(b"\n")


def test_an_interrupted_dpkg_is_finished_first(rig: Host) -> None:
    rig.write("/var/lib/dpkg/updates/0001", "")
    [reason] = report(rig).unsafe
    assert reason.startswith("dpkg was interrupted")


def test_what_grub_adds_for_a_splash_hides_no_token(rig: Host) -> None:
    rig.write("/boot/grub/grub.cfg", MENU.format(kernel=OLD, tokens="quiet iommu=pt nomodeset $vt_handoff"))
    assert report(rig).needed == ("the kernel runs with no nomodeset, and boots next with nomodeset",)


@pytest.mark.parametrize(
    ("name", "login", "busy"),
    [
        ("python3", "1000", ("python3 (4711) has a GPU open",)),
        ("python3", NO_LOGIN, ("python3 (4711) has a GPU open",)),
        ("Xorg", NO_LOGIN, ()),
        ("Xorg", "1000", ("Xorg (4711) has a GPU open",)),  # by startx
        ("nvidia-persiste", NO_LOGIN, ()),
    ],
)
def test_who_uses_a_gpu(rig: Host, name: str, login: str, busy: tuple[str, ...]) -> None:
    rig.write_all({"/proc/4711/comm": f"{name}\n", "/proc/4711/loginuid": login})
    rig.link("/proc/4711/fd/7", "/dev/nvidia0")
    assert report(rig).busy == busy


def test_who_is_logged_in(rig: Host) -> None:
    rig.write("/run/systemd/sessions/2", "USER=ada\nTYPE=x11\nCLASS=user\nSTATE=active\n")
    rig.write("/run/systemd/sessions/3", "USER=lightdm\nTYPE=x11\nCLASS=greeter\nSTATE=active\n")
    assert report(rig).busy == ("ada is logged in graphically",)


NEEDED, UNSAFE, BUSY = ("a",), ("b",), ("c",)


@pytest.mark.parametrize(
    ("found", "policy", "local", "reason"),
    [
        (RebootReport(NEEDED), "when_idle", False, None),
        (RebootReport(NEEDED), "always", False, None),
        (RebootReport(NEEDED), "never", False, "reboot_policy is never"),
        (RebootReport(NEEDED), "always", True, "Ansible runs on this host"),
        (RebootReport(NEEDED, busy=BUSY), "when_idle", False, "it is in use: c"),
        (RebootReport(NEEDED, busy=BUSY), "always", False, None),
        (RebootReport(NEEDED, UNSAFE, BUSY), "when_idle", False, "it is not safe: b"),
        (RebootReport(NEEDED, UNSAFE), "always", False, "it is not safe: b"),
    ],
)
def test_the_decision(found: RebootReport, policy: Policy, *, local: bool, reason: str | None) -> None:
    answer = found.as_dict(policy, local=local)
    assert answer["reboot"] is (reason is None)
    assert (answer["reason"] or "").startswith(reason or "")
    assert bool(answer["reason"]) is bool(reason)


@pytest.mark.parametrize("policy", ["never", "when_idle", "always"])
def test_without_a_need_there_is_nothing_to_say(policy: Policy) -> None:
    answer = RebootReport((), UNSAFE, BUSY).as_dict(policy, local=True)
    assert (answer["reboot"], answer["reason"]) == (False, None)
