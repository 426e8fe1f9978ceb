# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a reboot would bring the host back with a working NVIDIA driver, and whether one is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ._apt import Runner
from ._apt import run as run_command
from ._dkms_status import read_dkms
from ._driver_libraries import Libraries, find_libraries
from ._files import read_if_there
from ._kernel_checks import CheckedKernel, Demands, check_kernel
from ._kernel_modules import Loading, find_kernels, find_modules, parse_modprobe
from ._loaded_driver import LoadedDriver, read_loaded_driver
from ._next_kernel import NextKernel, find_next_kernel
from ._nvidia_cards import Card, find_cards
from ._secure_boot import read_secure_boot
from ._trusted_keys import read_key_owners

_RUNNING = "proc/sys/kernel/osrelease"


class Verdict(NamedTuple):
    """Yes or no, and why."""

    holds: bool
    reasons: tuple[str, ...]


def _yes(*reasons: str) -> Verdict:
    return Verdict(holds=True, reasons=reasons)


def _no(*reasons: str) -> Verdict:
    return Verdict(holds=False, reasons=reasons)


@dataclass(frozen=True)
class KernelReport:
    """Everything that was found on a host, and what follows from it."""

    cards: tuple[Card, ...]
    libraries: Libraries
    loaded: LoadedDriver | None
    running: str | None
    next: NextKernel
    signatures_enforced: bool
    kernels: tuple[CheckedKernel, ...]
    has_driver: bool

    @property
    def bootable(self) -> tuple[CheckedKernel, ...]:
        return tuple(each for each in self.kernels if each.kernel.complete)

    def find(self, release: str | None) -> CheckedKernel | None:
        return next((each for each in self.kernels if each.kernel.release == release), None)

    def as_facts(self) -> dict[str, Any]:
        safe, needed = reboot_safe(self), reboot_needed(self)
        return {
            "reboot_safe": safe.holds,
            "reasons": list(safe.reasons),
            "reboot_needed": needed.holds,
            "reboot_reasons": list(needed.reasons),
            "library_version": self.libraries.version,
            "libraries": self.libraries.versions,
            "loaded": self.loaded and {"version": self.loaded.version, "flavour": self.loaded.flavour},
            "signatures_enforced": self.signatures_enforced,
            "running": self.running,
            "next": {"kernel": self.next.kernel, "reason": self.next.reason},
            "kernels": [each.as_dict() for each in self.kernels],
        }


def read_kernels(root: Path = Path("/"), run: Runner = run_command) -> KernelReport:
    """Reads everything; changes nothing. Raises SettingsError where a program that must answer does not."""
    kernels = find_kernels(root)
    modules = find_modules(root, kernels, run)
    builds = read_dkms(root, run)
    libraries = find_libraries(root)
    has_modules = any(modules.values())
    signed = read_secure_boot(root, "").enforced
    demands = Demands(
        version=libraries.version,
        signed=signed,
        key_owners=read_key_owners(root) if signed else None,
        loading=parse_modprobe(run("modprobe", "--showconfig").stdout) if has_modules else Loading({}, {}),
    )
    return KernelReport(
        cards=tuple(card for card in find_cards(root) if not card.passed_through),
        libraries=libraries,
        loaded=read_loaded_driver(root),
        running=(read_if_there(root / _RUNNING) or "").strip() or None,
        next=find_next_kernel(root, [each.release for each in kernels if each.complete]),
        signatures_enforced=signed,
        kernels=tuple(check_kernel(root, each, modules[each.release], builds, demands) for each in kernels),
        has_driver=bool(has_modules or builds or libraries.versions),
    )


def reboot_safe(report: KernelReport) -> Verdict:
    """Whether the kernel that boots next has a working driver, or needs none."""
    if not report.cards:
        return _yes("this host has no NVIDIA card of its own")
    if not report.has_driver:
        return _yes("no NVIDIA driver is installed")
    if not report.kernels:
        return _yes("no kernel is installed here, as in a container")
    if report.libraries.problem is not None:
        return _no(report.libraries.problem)
    if report.next.kernel is None:
        return _safe_with_any(report)
    following = report.find(report.next.kernel)
    named = f"{report.next.kernel}, which boots next ({report.next.reason})"
    if following is None:
        return _no(f"{named}, is not installed", *_ways_out(report))
    if following.good:
        return _yes(f"{named}, has all modules of the driver {following.version}")
    return _no(*(f"{named}: {problem}" for problem in following.problems), *_ways_out(report))


def _safe_with_any(report: KernelReport) -> Verdict:
    unknown = f"which kernel boots next is not known: {report.next.reason}"
    broken = [each for each in report.bootable if not each.good]
    if report.bootable and not broken:
        return _yes(f"{unknown}; but every kernel has all modules of the driver")
    problems = (f"{each.kernel.release}: {problem}" for each in broken for problem in each.problems)
    return _no(unknown, *problems, *_ways_out(report))


def _ways_out(report: KernelReport) -> tuple[str, ...]:
    good = [each.kernel.release for each in report.bootable if each.good]
    if not good:
        return ("no installed kernel has a working driver",)
    return (f"{', '.join(good)} would do: mend the kernel that boots next, or let that one boot",)


def reboot_needed(report: KernelReport) -> Verdict:
    """Whether the driver that is installed works only after a reboot."""
    if not report.cards or not report.has_driver:
        return _no()
    reasons = [*_differs(report), *_held_by_rival(report.cards, report)]
    running = report.find(report.running)
    if report.loaded is None and running is not None and not running.good and not reasons:
        reasons.append(f"{report.running}, which runs, has no working driver: {_remedy(report)}")
    return Verdict(holds=bool(reasons), reasons=tuple(reasons))


def _differs(report: KernelReport) -> list[str]:
    loaded, wanted = report.loaded, report.libraries.version
    if loaded is None:
        return []
    if wanted not in (None, loaded.version):
        versions = f"the kernel module that is loaded is {loaded.version}, the driver's libraries are {wanted}"
        return [f"driver/library version mismatch: {versions}: {_remedy(report)}"]
    running = report.find(report.running)
    if running is not None and running.flavour not in (None, loaded.flavour):
        return [
            f"the {loaded.flavour} kernel modules are loaded, the {running.flavour} ones installed: {_remedy(report)}"
        ]
    return []


def _held_by_rival(cards: Sequence[Card], report: KernelReport) -> list[str]:
    return [
        f"the driver {card.driver} holds the card {card.address}: {_remedy(report)}"
        for card in cards
        if card.held_by_rival
    ]


def _remedy(report: KernelReport) -> str:
    """Which reboot would mend it."""
    following = report.find(report.next.kernel)
    if following is not None and following.good:
        return f"reboot into {following.kernel.release}, which boots next and has {following.version}"
    good = [each for each in report.bootable if each.good]
    if good:
        return f"reboot into {good[-1].kernel.release}, which has {good[-1].version}, and does not boot next by itself"
    return "no installed kernel has the driver's modules of that version, so a reboot alone does not mend it"
