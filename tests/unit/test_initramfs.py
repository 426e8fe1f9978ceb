# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an initramfs is made anew, and when it is left alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _changes
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._initramfs import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, converge

from .conftest import Host

OLD, NEW = "6.12.94+deb13-amd64", "6.12.117+deb13-amd64"
CONFIGURATION = "/etc/modprobe.d/mlrig-nouveau.conf"
HOUR = 3600


@dataclass
class Machine:
    """Two kernels whose initramfs are up to date. A program that succeeds makes the one that it is called for."""

    host: Host
    outputs: dict[str, Output] = field(default_factory=dict)
    effective: bool = True
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, *command: str) -> Output:
        self.calls.append(command)
        [kernel] = [word for word in command if word in (OLD, NEW)]
        output = self.outputs.get(kernel, Output(0))
        if output.code == 0 and self.effective:
            self.host.write(f"/boot/initrd.img-{kernel}", "made anew")
        return output

    def converge(self, *, check_mode: bool = False) -> Settings:
        return converge(lambda: make_plan(self.host.root, self.run), check_mode=check_mode)

    def actions(self, *, check_mode: bool = False) -> dict[str, str]:
        return {record.id: record.action for record in self.converge(check_mode=check_mode).records}

    def age(self, kernel: str) -> None:
        """Nothing but the kernel sets a ctime, so the initramfs is made to look old."""
        file = self.host.path(f"/boot/initrd.img-{kernel}")
        os.utime(file, (time.time() - HOUR, time.time() - HOUR))


@pytest.fixture
def machine(host: Host) -> Machine:
    host.write("/usr/sbin/update-initramfs", "")
    host.write("/etc/initramfs-tools/conf.d/resume", "RESUME=none\n")
    host.write(CONFIGURATION, "blacklist nouveau\n")
    for kernel in (OLD, NEW):
        host.write_all({f"/boot/vmlinuz-{kernel}": "", f"/lib/modules/{kernel}/modules.dep": ""})
        host.write(f"/boot/initrd.img-{kernel}", "as installed")
    return Machine(host)


def test_nothing_is_made_without_need(machine: Machine) -> None:
    assert machine.actions() == {f"/boot/initrd.img-{OLD}": "none", f"/boot/initrd.img-{NEW}": "none"}
    assert machine.calls == []


def test_what_is_out_of_date_is_made_anew_and_only_that(machine: Machine) -> None:
    machine.age(OLD)
    reported = machine.converge(check_mode=True)
    assert machine.calls == []
    made = machine.converge()
    assert machine.calls == [("update-initramfs", "-u", "-k", OLD)]
    assert made.records == reported.records
    assert [(record.id, record.plane, record.expected, record.action) for record in made.records] == [
        (f"/boot/initrd.img-{OLD}", "persisted", "up to date", "changed"),
        (f"/boot/initrd.img-{NEW}", "persisted", "up to date", "none"),
    ]
    assert made.records[0].actual == "older than " + CONFIGURATION
    assert not machine.converge().differing


def write_with_an_old_date(machine: Machine, name: str) -> None:
    """As dpkg does, which leaves only the ctime to tell."""
    os.utime(machine.host.write(name, "options nvidia_drm modeset=1\n"), (1e9, 1e9))


def remove(machine: Machine) -> None:
    machine.host.path(CONFIGURATION).unlink()


def change_what_a_link_leads_to(machine: Machine) -> None:
    """Debian's alternatives: the link in modprobe.d stays as it is."""
    machine.host.link("/etc/alternatives/glx--nvidia-modprobe.conf", "/etc/nvidia/current-open/nvidia-modprobe.conf")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda machine: write_with_an_old_date(machine, CONFIGURATION), CONFIGURATION),
        (lambda machine: write_with_an_old_date(machine, "/etc/modprobe.d/a.conf"), "/etc/modprobe.d"),
        (lambda machine: write_with_an_old_date(machine, "/usr/lib/modprobe.d/a.conf"), "/usr/lib/modprobe.d"),
        (lambda machine: write_with_an_old_date(machine, "/lib/modprobe.d/a.conf"), "/lib/modprobe.d"),
        (lambda machine: write_with_an_old_date(machine, "/etc/initramfs-tools/conf.d/resume"), "/etc/initramfs-tools"),
        (lambda machine: write_with_an_old_date(machine, "/etc/initramfs-tools/modules"), "/etc/initramfs-tools"),
        (remove, "/etc/modprobe.d"),
        (change_what_a_link_leads_to, "/etc/alternatives/glx--nvidia-modprobe.conf"),
    ],
)
def test_what_counts_as_a_change(machine: Machine, change: Callable[[Machine], object], named: str) -> None:
    machine.host.write("/etc/nvidia/current-open/nvidia-modprobe.conf", "")
    machine.host.link("/etc/modprobe.d/nvidia.conf", "/etc/alternatives/glx--nvidia-modprobe.conf")
    change_what_a_link_leads_to(machine)
    for kernel in (OLD, NEW):
        machine.host.write(f"/boot/initrd.img-{kernel}", "made")
    assert set(machine.actions(check_mode=True).values()) == {"none"}
    _let_the_clock_advance(machine)
    change(machine)
    found = machine.converge(check_mode=True)
    assert [record.action for record in found.records] == ["changed", "changed"]
    assert (found.records[0].actual or "").startswith(f"older than {named}")


def _let_the_clock_advance(machine: Machine) -> None:
    """The kernel dates files by a clock of some milliseconds."""
    made = machine.host.path(f"/boot/initrd.img-{NEW}").stat().st_mtime_ns
    while machine.host.write("/clock", "").stat().st_ctime_ns <= made:
        time.sleep(0.001)


def test_what_is_elsewhere_does_not_count(machine: Machine) -> None:
    _let_the_clock_advance(machine)
    machine.host.write("/etc/modules", "i2c-dev\n")
    assert set(machine.actions().values()) == {"none"}


def test_one_that_fails_is_said_and_keeps_no_other_from_being_made(machine: Machine) -> None:
    machine.age(OLD)
    machine.age(NEW)
    said = "gzip: stdout: No space left on device\nupdate-initramfs: failed for /boot/initrd.img with 1.\n"
    machine.outputs[OLD] = Output(1, f"update-initramfs: Generating /boot/initrd.img-{OLD}\n", said)
    old, new = machine.converge().records
    assert (old.action, new.action) == ("failed", "changed")
    assert (old.reason or "").startswith("update-initramfs ended with 1: ")
    assert "No space left on device" in (old.reason or "")


def test_one_that_says_nothing_and_does_nothing_has_failed(machine: Machine) -> None:
    machine.age(NEW)
    machine.effective = False
    assert [record.action for record in machine.converge().records] == ["none", "failed"]


def test_dracut_is_used_where_there_is_nothing_else(machine: Machine) -> None:
    machine.host.path("/usr/sbin/update-initramfs").unlink()
    machine.host.write("/usr/bin/dracut", "")
    machine.age(NEW)
    assert machine.actions()[f"/boot/initrd.img-{NEW}"] == "changed"
    assert machine.calls == [("dracut", "--force", "--kver", NEW, f"/boot/initrd.img-{NEW}")]
    _let_the_clock_advance(machine)
    machine.host.write("/etc/dracut.conf.d/nvidia.conf", 'omit_drivers+=" nouveau "\n')
    assert set(machine.actions(check_mode=True).values()) == {"changed"}


def remove_kernels(machine: Machine) -> None:
    for kernel in (OLD, NEW):
        machine.host.path(f"/boot/vmlinuz-{kernel}").unlink()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (remove_kernels, "no kernel is installed here, as in a container"),
        (
            lambda machine: machine.host.path("/usr/sbin/update-initramfs").unlink(),
            "neither update-initramfs nor dracut is on this host",
        ),
        (
            lambda machine: machine.host.write(
                "/etc/initramfs-tools/update-initramfs.conf", "# no\nupdate_initramfs=no\n"
            ),
            "/etc/initramfs-tools/update-initramfs.conf says update_initramfs=no",
        ),
    ],
)
def test_what_cannot_be_is_skipped(machine: Machine, act: Callable[[Machine], object], reason: str) -> None:
    act(machine)
    machine.age(NEW)
    [record] = machine.converge().records
    assert (record.action, record.reason) == ("skipped", reason)
    assert machine.calls == []


def test_a_kernel_without_initramfs_gets_none(machine: Machine) -> None:
    machine.host.path(f"/boot/initrd.img-{OLD}").unlink()
    assert machine.actions() == {"/boot/initrd.img-" + OLD: "skipped", "/boot/initrd.img-" + NEW: "none"}


def test_a_change_in_the_future_is_not_looked_at(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made now would still be older, in every run until then."""
    machine.age(NEW)
    an_hour_ago = time.time_ns() - HOUR * 10**9
    monkeypatch.setattr(_changes.time, "time_ns", lambda: an_hour_ago)
    settings = machine.converge()
    assert {record.action for record in settings.records} == {"none"}
    assert f"{CONFIGURATION} was changed in the future and is not looked at: was the clock wrong?" in settings.warnings


def test_without_the_rights_nothing_is_made(open_host: Host, as_nobody: Callable[[Callable[[], object]], str]) -> None:
    open_host.write("/usr/sbin/update-initramfs", "")
    open_host.write_all({f"/boot/vmlinuz-{NEW}": "", f"/lib/modules/{NEW}/modules.dep": "", CONFIGURATION: ""})
    machine = Machine(open_host)
    open_host.write(f"/boot/initrd.img-{NEW}", "")
    machine.age(NEW)
    for folder in [open_host.root, *(each for each in open_host.root.rglob("*") if each.is_dir())]:
        folder.chmod(0o755)
    assert f"/boot/initrd.img-{NEW}: that needs root" in as_nobody(machine.converge)
