# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals because of the kernel and the machine: nothing to build for, Secure Boot, space, a blacklist."""

from __future__ import annotations

from collections.abc import Iterator

from ._driver_situation import Situation, listed
from ._secure_boot import UBUNTU_CERTIFICATE

Found = Iterator[tuple[str, str]]

# In MiB. Estimates on the safe side, not measured: the driver's files; its packages, and the build of its modules.
_NEEDS = {"/usr": 1200, "/var": 1200}
# An estimate too: the firmware and the modules that update-initramfs may take into it.
_INITRAMFS_GROWTH = 100


def no_branch(it: Situation) -> Found:
    if it.refusal is not None:
        message = f"{it.refusal.question}: {'; '.join(it.refusal.reasons)}"
        yield message, "; or ".join(it.refusal.ways_out)


def no_kernel(it: Situation) -> Found:
    if it.host.kernels:
        return
    ubuntu = it.host.distribution.startswith("Ubuntu")
    kernel = f"linux-generic-hwe-{it.host.distribution.partition(' ')[2]}" if ubuntu else "linux-image-amd64"
    yield (
        (
            f"no kernel is installed that modules could be built for (running is {it.host.running or 'unknown'}, "
            "which this host has not installed itself)"
        ),
        f"sudo apt-get install {kernel}; make this machine boot it; then run this again",
    )


def boot_unmounted(it: Situation) -> Found:
    if it.host.boot_unmounted:
        yield (
            "/boot is in /etc/fstab and not mounted: kernels and initramfs would be written where none is booted from",
            "sudo mount /boot; then run this again",
        )


def no_headers(it: Situation) -> Found:
    """Only of the newest kernel, which is booted next; of older ones it is a warning."""
    newest = it.host.kernels[-1:]
    if it.choice is None or it.kernel_packages.prebuilt or not set(newest) & set(it.host.without_headers):
        return
    kernel = newest[0]
    if f"linux-headers-{kernel}" in it.kernel_packages.names or not it.lists_known:
        return
    packaged = it.host.has(f"linux-image-{kernel}") or it.host.has(f"linux-image-unsigned-{kernel}")
    if packaged:
        kind = it.host.kernel_kinds[0] if it.host.kernel_kinds else None
        ubuntu = it.host.distribution.startswith("Ubuntu")
        kind = kind or (f"generic-hwe-{it.host.distribution.partition(' ')[2]}" if ubuntu else "amd64")
        remedy = (
            "sudo apt-get update; and where that does not help, a kernel that has them: "
            f"sudo apt-get install linux-image-{kind} linux-headers-{kind}; sudo reboot"
        )
    else:
        remedy = (
            f"its headers in /usr/src, with /lib/modules/{kernel}/build as a link to them (make bindeb-pkg makes a "
            "package of them); or a kernel of the distribution"
        )
    yield f"no headers for the newest kernel, {kernel}: the driver's modules cannot be built for it", remedy


def key_missing(it: Situation) -> Found:
    if _unsigned(it) and it.host.secure_boot.key == "missing":
        ubuntu = it.host.secure_boot.certificate == UBUNTU_CERTIFICATE
        make = (
            "sudo apt-get install shim-signed mokutil; sudo update-secureboot-policy --new-key"
            if ubuntu
            else "sudo apt-get install dkms mokutil; sudo dkms generate_mok"
        )
        yield f"{_REASON} and there is no such key yet", f"{make}; {_enrol(it)}"


def key_not_enrolled(it: Situation) -> Found:
    certificate = it.host.secure_boot.certificate
    if _unsigned(it) and it.host.secure_boot.key == "not_enrolled":
        yield f"{_REASON} and the firmware does not know it ({certificate})", f"{_enrol(it)}"


def key_requested(it: Situation) -> Found:
    if _unsigned(it) and it.host.secure_boot.key == "requested":
        yield (
            f"{_REASON} and its enrolment ({it.host.secure_boot.certificate}) waits for a person at the console",
            f"sudo reboot; {_AT_CONSOLE}; then run this again{_without_console(it)}",
        )


_REASON = "Secure Boot is on: modules that are built here are loaded only when signed with an enrolled key,"
_AT_CONSOLE = (
    "at the console, within ten seconds, choose Enroll MOK, Continue, Yes, the password of mokutil --import, Reboot"
)


def _enrol(it: Situation) -> str:
    command = f"sudo mokutil --import {it.host.secure_boot.certificate} (it asks for a password of one use)"
    return f"{command}; sudo reboot; {_AT_CONSOLE}; then run this again{_without_console(it)}"


def _without_console(it: Situation) -> str:
    """What a person can do from afar, or in the firmware's setup."""
    ways = "; or Secure Boot off in the firmware's setup"
    if it.host.distribution.startswith("Ubuntu"):
        if it.request.source != "ubuntu":
            return f'; or, without a console, modules that Canonical signs: nvidia_driver_source: "ubuntu"{ways}'
        kinds = listed(it.host.kernel_kinds) or "none: no metapackage of a kernel is installed"
        return f"; Canonical has no signed modules of this branch for every kind of kernel here ({kinds}){ways}"
    return ways


def _unsigned(it: Situation) -> bool:
    # It may not be known yet what Canonical has; the others sign nothing with a key that is known here.
    maybe = it.request.source == "ubuntu" and (it.choice is None or not it.lists_known)
    return it.host.secure_boot.enforced and not it.kernel_packages.prebuilt and not maybe


def read_only(it: Situation) -> Found:
    names = [name for name, each in it.host.file_systems.items() if each.read_only]
    if names:
        commands = "; ".join(f"sudo mount -o remount,rw {name}" for name in names)
        yield (
            f"read-only: {listed(names)}",
            f"{commands}; and see why (sudo dmesg --level err): a file system with errors is mounted so",
        )


def too_little_space(it: Situation) -> Found:
    if it.host.interrupted or it.host.unfinished:
        return  # the space is taken already, in part
    devices: dict[int, list[str]] = {}
    for name in _NEEDS:
        devices.setdefault(it.host.file_systems[name].device, []).append(name)
    for names in devices.values():
        need, free = sum(_NEEDS[name] for name in names), it.host.file_systems[names[0]].free
        if free < need:
            yield (
                (
                    f"{free} MiB are free for {' and '.join(names)}, and the driver, its packages and the build of its "
                    f"modules take {need} MiB"
                ),
                (
                    "sudo apt-get clean; sudo apt-get autoremove --purge; sudo journalctl --vacuum-size=200M; "
                    f"or see what is large: sudo du -xh --max-depth=2 {names[0]} | sort -h | tail"
                ),
            )


def too_little_boot_space(it: Situation) -> Found:
    boot, root = it.host.file_systems["/boot"], it.host.file_systems["/"]
    need = it.host.largest_initramfs + _INITRAMFS_GROWTH
    if boot.device != root.device and boot.free < need:
        yield (
            f"{boot.free} MiB are free on /boot, and a new initramfs is written beside the old one: {need} MiB",
            (
                "sudo apt-get autoremove --purge (old kernels); or look (ls -lh /boot; dpkg -l 'linux-image-*') and "
                "remove one that is not running: sudo apt-get purge linux-image-KERNEL"
            ),
        )


def blacklisted(it: Situation) -> Found:
    where = it.host.blacklist
    if where is None:
        return
    remedy = "remove it there; sudo update-initramfs -u -k all"
    if "prime" in where or "blacklist-nvidia.conf" in where:
        remedy = f"sudo prime-select nvidia; or {remedy}"
    elif "command line" in where:
        remedy = "remove it from /etc/default/grub and /etc/default/grub.d; sudo update-grub; sudo reboot"
    yield f"a module of the driver is kept from being loaded: {where}", remedy
