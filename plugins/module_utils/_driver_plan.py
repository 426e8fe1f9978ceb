# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a host's driver: what is there, what is wanted, what is in the way. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any

from ._driver_archive import Archive
from ._driver_branches import Choice, Refusal, choose, parse_request
from ._driver_host import DriverHost, read_host
from ._driver_packages import pins_of, upstream_of
from ._driver_refusals import refusals
from ._driver_removal import names_of_all, names_to_remove
from ._driver_situation import Situation
from ._driver_table import parse_table
from ._driver_warnings import warnings
from ._kernel_packages import KernelPackages, kernel_packages, names_to_ask
from ._nvidia_cards import generations_to_serve

_NOTHING = KernelPackages({}, prebuilt=False)


@dataclass(frozen=True)
class Answers:
    """What a plan is made of beside the host: the options of the module, and the date of today."""

    options: Mapping[str, Any]
    today: date


def make_plan(root: Path, archive: Archive, answers: Answers) -> dict[str, Any]:
    """What the module returns. Raises InputError for wrong options, before the host is looked at."""
    parse_request(answers.options)
    parse_table(answers.options["branches"])
    return plan_for(read_host(root, archive.run), archive, answers)


def plan_for(host: DriverHost, archive: Archive, answers: Answers) -> dict[str, Any]:
    reason = _why_not(host, answers.options["state"])
    plan: dict[str, Any] = {
        "applies": reason is None,
        "reason": reason,
        "cards": [each.as_dict() for each in host.cards],
        "kernels": list(host.kernels),
        "installed": host.installed.as_dict(),
        "loaded": host.loaded and host.loaded.version,
    }
    if reason is not None:
        nothing: dict[str, Any] = {
            "choice": None,
            "packages": [],
            "kernel_packages": [],
            "prebuilt": False,
            "remove": [],
            "remove_pins": [],
        }
        return plan | nothing | {"change": False, "refusals": [], "warnings": []}
    situation = assess(host, archive, answers)
    choice = situation.choice
    return plan | {
        "choice": choice and choice.as_dict(),
        "packages": packages_to_have(situation),
        "kernel_packages": list(situation.kernel_packages.names),
        "prebuilt": situation.kernel_packages.prebuilt,
        "remove": list(situation.remove),
        "remove_pins": [each for each in pins_of(host.packages) if choice is not None and each != choice.pin],
        "change": situation.change,
        "refusals": [each.as_dict() for each in refusals(situation)],
        "warnings": [*archive.warnings, *warnings(situation)],
    }


def assess(host: DriverHost, archive: Archive, answers: Answers) -> Situation:
    """Compare what is wanted with what is there. Asks apt only where dpkg does not tell enough."""
    options = answers.options
    request = parse_request(options)
    broken = [each.name for each in host.unfinished if each.must_be_unpacked]
    if options["state"] == "absent":
        names = names_of_all(host.packages)
        candidates = archive.candidates(broken)
        change = bool(names or host.runfile)
        return Situation(host, request, "absent", None, None, _NOTHING, names, candidates, archive.is_known, change)

    coming = [name for name in options["kernels_to_come"] if not host.has(name)]
    candidates = dict(archive.candidates(coming))
    same_source = host.installed.source == request.source and not options["upgrade"]
    answer = choose(
        parse_table(options["branches"]),
        request,
        distribution=host.distribution,
        kernels=(*host.kernels, *(f"{candidates[name]} (of {name})" for name in coming if candidates.get(name))),
        generations=generations_to_serve(host.cards),
        today=answers.today,
        installed=host.installed.branch if same_source else None,
    )
    if isinstance(answer, Refusal):
        candidates |= archive.candidates(broken)
        known = archive.is_known
        return Situation(host, request, "present", None, answer, _NOTHING, (), candidates, known, change=True)

    # Of a version that is wanted and not known yet.
    newest = options["upgrade"] or host.installed.is_torn
    programs = [packages for name, packages in answer.programs.items() if name not in host.programs]
    ask = [*broken, *names_to_ask(host, answer), *chain(*programs)]
    if newest or not all(map(host.has, answer.driver)):
        ask.append(answer.candidate)
    candidates |= archive.candidates(ask)

    bringing = (next(filter(candidates.get, packages), None) for packages in programs)
    choice = replace(answer, driver=(*answer.driver, *filter(None, bringing)))
    kernel = kernel_packages(host, choice, candidates, archive)
    remove = tuple(names_to_remove(host.installed, choice, host.distribution, prebuilt=kernel.prebuilt))
    version = _version_to_have(choice, candidates.get(choice.candidate) if newest else None)
    change = bool(remove) or _is_incomplete(host, choice, version, kernel)
    known = archive.is_known
    return Situation(host, request, "present", choice, None, kernel, remove, candidates, known, change, version)


def _version_to_have(choice: Choice, candidate: str | None) -> str:
    """The glob for the driver's version: a certain one where there is a candidate of the branch, or any of it."""
    if candidate is not None and fnmatchcase(candidate, choice.version):
        return f"{upstream_of(candidate)}-*"
    return choice.version


def packages_to_have(situation: Situation) -> list[dict[str, Any]]:
    """The transaction of the driver, as the module apt_packages takes it."""
    choice, version = situation.choice, situation.version
    if choice is None:
        return []
    # In Debian's archive not all packages of the driver have its version, nor do programs of their own anywhere.
    of_one_version = (choice.candidate,) if choice.source == "debian" else choice.driver
    programs = {package for packages in choice.programs.values() for package in packages}
    packages: list[dict[str, Any]] = [
        {"name": name, "version": version} if name in of_one_version and name not in programs else {"name": name}
        for name in choice.driver
    ]
    if choice.source == "nvidia":  # whose dependencies allow newer ones, so that a way down would leave some behind
        lockstep = {each.name for each in situation.host.installed.packages if not each.is_one_version_only}
        others = lockstep - set(choice.driver) - set(situation.remove)
        packages += [{"name": name, "version": version} for name in sorted(others)]
    return [
        *packages,
        *(
            {"name": name, "allow": [situation.kernel_packages.allow]} | ({"version": wanted} if wanted else {})
            for name, wanted in situation.kernel_packages.versions.items()
        ),
    ]


def _is_incomplete(host: DriverHost, choice: Choice, version: str, kernel: KernelPackages) -> bool:
    """Whether a package is missing or unfinished, or of another branch, source or version under the same name."""
    wanted = [*choice.driver, *([choice.pin] if choice.pin else [])]
    driver = host.installed.packages
    return (
        not all(map(host.has, wanted))
        or any(not host.has(name, needed) for name, needed in kernel.versions.items())
        or any(not host.packages[each.name].installed for each in driver)
        or any(each.branch != choice.branch or each.origin != choice.source for each in driver)
        or any(not fnmatchcase(f"{each}-", version) for each in host.installed.versions)
        or any(each != choice.pin for each in host.installed.pins)
        or host.installed.is_torn
    )


def _why_not(host: DriverHost, state: str) -> str | None:
    """Why this host cannot have, or lose, a driver of its own."""
    if host.wsl:
        return "this is WSL, where Windows has the driver; a driver of Linux would replace its libraries"
    if host.container:
        return f"this is a container ({host.container}) without a kernel of its own: the driver is its host's"
    if state == "absent":
        return None
    if not host.cards:
        return "this host has no NVIDIA card, or none that its PCI bus shows"
    if all(each.passed_through for each in host.cards):
        return "all NVIDIA cards of this host are kept for virtual machines"
    return None
