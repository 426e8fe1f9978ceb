# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know before a driver changes, although nothing keeps it from changing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ._driver_packages import branch_of_pin
from ._driver_situation import Situation, listed
from ._driver_table import PROGRAMS

Warn = Callable[[Situation], Iterator[str]]


def of_the_branch(it: Situation) -> Iterator[str]:
    if it.choice is not None:
        yield from it.choice.warnings


def graphical_session(it: Situation) -> Iterator[str]:
    if it.host.sessions and it.change:
        yield (
            f"{listed(it.host.sessions)} is in a graphical session: installing a driver under it has frozen machines. "
            "Save what is open, or end it first (sudo systemctl isolate multi-user.target); the new driver is used "
            "from the next boot on"
        )


def processes(it: Situation) -> Iterator[str]:
    if it.host.processes and it.change:
        yield (
            f"in use by {listed([str(each) for each in it.host.processes])}: the loaded driver stays until the next "
            "boot, and programs that start until then find libraries of another version and fail"
        )


def loaded_module(it: Situation) -> Iterator[str]:
    if it.host.loaded and it.change and not it.host.processes:
        yield f"the module nvidia {it.host.loaded.version} is loaded, and stays so until the next boot"


def rival_driver(it: Situation) -> Iterator[str]:
    cards = [f"{each.address} ({each.driver})" for each in it.host.cards if each.held_by_rival]
    if cards and it.state == "present":
        yield f"the kernel's own driver holds {listed(cards)} until the next boot"


def programs(it: Situation) -> Iterator[str]:
    """Where no package is known that brings one, only a look afterwards can tell."""
    missing = sorted(set(PROGRAMS) - it.host.programs)
    if missing and it.state == "present" and not it.change:
        yield f"the driver is there, but not {listed(missing)}: see which package of {it.request.source}'s has it"


def passed_through(it: Situation) -> Iterator[str]:
    cards = [f"{each.address} ({each.driver})" for each in it.host.cards if each.passed_through]
    if cards and it.state == "present":
        yield f"kept for virtual machines, and not counted: {listed(cards)}"


def interrupted(it: Situation) -> Iterator[str]:
    names = [each.name for each in it.host.unfinished]
    if it.host.interrupted:
        yield f"an installation was cut off ({listed(names) or 'nothing is left of it'}): it is finished first"
    elif names and it.change:
        yield f"not finished by an earlier installation: {listed(names)}"


def older_kernels(it: Situation) -> Iterator[str]:
    if it.kernel_packages.prebuilt:
        available = [each for each in it.host.kernels if any(n.endswith(f"-{each}") for n in it.kernel_packages.names)]
        without = [each for each in it.host.kernels[:-1] if each not in available]
    else:
        wanted = it.kernel_packages.names
        without = [
            each
            for each in it.host.kernels[:-1]
            if each in it.host.without_headers and f"linux-headers-{each}" not in wanted
        ]
    if without and it.state == "present":
        yield (
            f"no modules can be had for {listed(without)}: a boot into it is one without GPUs. Where it is not needed: "
            f"sudo apt-get purge {' '.join(f'linux-image-{each}' for each in without if each != it.host.running)}"
        )


def running_kernel(it: Situation) -> Iterator[str]:
    if it.host.kernels and it.host.running not in it.host.kernels and it.state == "present":
        yield (
            f"the running kernel, {it.host.running}, is not installed any more, or was not from here: the driver is "
            "for those that are, from the next boot on"
        )


def no_metapackage(it: Situation) -> Iterator[str]:
    if it.host.kernels and not it.host.kernel_kinds and it.state == "present":
        ubuntu = it.host.distribution.startswith("Ubuntu")
        name = f"linux-generic-hwe-{it.host.distribution.partition(' ')[2]}" if ubuntu else "linux-image-amd64"
        yield (
            "no metapackage of a kernel is installed: kernels get no security updates, and a next one no headers. "
            f"Such as: sudo apt-get install {name}"
        )


def companions(it: Situation) -> Iterator[str]:
    wanted = it.choice and it.choice.branch
    other = [each.name for each in it.host.installed.companions if each.branch != wanted]
    if other and it.state == "present":
        yield f"{listed(other)} must have the driver's own version ({wanted}.*), and is not changed by this role"


def other_repositories(it: Situation) -> Iterator[str]:
    for each in it.host.repositories:
        if each.kind in ("local", "ppa") and it.state == "present":
            yield f"{each.file} names another source of drivers, which apt may prefer: remove it if it is not needed"


def key_of_installed(it: Situation) -> Iterator[str]:
    secure = it.host.secure_boot
    built = any("dkms" in name for name in it.host.installed.modules)
    if secure.enforced and secure.key != "enrolled" and built and not it.change:
        yield f"Secure Boot is on, and the key that signs the driver's modules, {secure.certificate}, is not enrolled"


def pins_of_others(it: Situation) -> Iterator[str]:
    other = [each for each in it.host.installed.pins if it.choice and each != it.choice.pin]
    if other:
        branches = listed(sorted({branch_of_pin(each) for each in other}))
        yield f"{listed(other)} holds the driver at {branches}, and is replaced"


WARNINGS: tuple[Warn, ...] = (
    of_the_branch,
    graphical_session,
    processes,
    loaded_module,
    rival_driver,
    programs,
    passed_through,
    interrupted,
    older_kernels,
    running_kernel,
    no_metapackage,
    companions,
    other_repositories,
    key_of_installed,
    pins_of_others,
)


def warnings(situation: Situation) -> list[str]:
    return [text for warn in WARNINGS for text in warn(situation)]
