# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a host's driver: what is there, what is wanted, what is in the way. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ._apt import Runner, read_candidates
from ._driver_branches import Choice, Refusal, choose, parse_request
from ._driver_host import DriverHost, read_host
from ._driver_packages import names_to_remove
from ._driver_refusals import refusals
from ._driver_situation import Situation
from ._driver_table import parse_table
from ._driver_warnings import warnings
from ._kernel_packages import KernelPackages, kernel_packages, names_to_ask
from ._nvidia_cards import generations_to_serve

_NOTHING = KernelPackages((), prebuilt=False)


@dataclass(frozen=True)
class Answers:
    """What a plan is made of beside the host: the options of the module, and the date of today."""

    options: Mapping[str, Any]
    today: date


def make_plan(root: Path, run: Runner, answers: Answers) -> dict[str, Any]:
    """What the module returns. Raises InputError for wrong options, before the host is looked at."""
    parse_request(answers.options)
    parse_table(answers.options["branches"])
    host = read_host(root, run)
    return plan_for(host, run, answers)


def plan_for(host: DriverHost, run: Runner, answers: Answers) -> dict[str, Any]:
    reason = _why_not(host, answers.options["state"])
    plan: dict[str, Any] = {
        "applies": reason is None,
        "reason": reason,
        "cards": [each.as_dict() for each in host.cards],
        "kernels": list(host.kernels),
        "installed": host.installed.as_dict(),
        "loaded": host.loaded,
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
    situation = assess(host, run, answers)
    choice = situation.choice
    return plan | {
        "choice": choice and choice.as_dict(),
        "packages": packages_to_have(situation),
        "kernel_packages": list(situation.kernel_packages.names),
        "prebuilt": situation.kernel_packages.prebuilt,
        "remove": list(situation.remove),
        "remove_pins": [each for each in host.installed.pins if choice is None or each != choice.pin],
        "change": situation.change,
        "refusals": [each.as_dict() for each in refusals(situation)],
        "warnings": warnings(situation),
    }


def assess(host: DriverHost, run: Runner, answers: Answers) -> Situation:
    """Compare what is wanted with what is there. Asks apt only where dpkg does not tell enough."""
    options = answers.options
    request = parse_request(options)
    broken = [each.name for each in host.unfinished if each.reinstall or each.status == "half-installed"]
    if options["state"] == "absent":
        names = (*host.installed.names, *(each.name for each in host.installed.cuda_drivers))
        change = bool(names or host.installed.pins or host.runfile)
        candidates = read_candidates(run, broken)
        return Situation(host, request, "absent", None, None, _NOTHING, names, candidates, change)

    same_source = host.installed.source == request.source and not options["upgrade"]
    answer = choose(
        parse_table(options["branches"]),
        request,
        distribution=host.distribution,
        kernels=host.kernels,
        generations=generations_to_serve(host.cards),
        today=answers.today,
        installed=host.installed.branch if same_source else None,
    )
    if isinstance(answer, Refusal):
        candidates = read_candidates(run, broken)
        return Situation(host, request, "present", None, answer, _NOTHING, (), candidates, change=True)

    ask = [*names_to_ask(host, answer), *broken]
    if options["upgrade"] or not host.has(answer.candidate):
        ask.append(answer.candidate)
    candidates = read_candidates(run, sorted(set(ask)))
    kernel = kernel_packages(host, answer, candidates)
    remove = tuple(names_to_remove(host.installed, answer, host.distribution, prebuilt=kernel.prebuilt))
    candidate = candidates.get(answer.candidate)
    is_of_branch = candidate is not None and fnmatchcase(candidate, answer.version)
    newer = candidate if options["upgrade"] and is_of_branch and _differs(host, candidate, answer) else None
    change = newer is not None or bool(remove) or _is_incomplete(host, answer, kernel)
    return Situation(host, request, "present", answer, None, kernel, remove, candidates, change, newer)


def packages_to_have(situation: Situation) -> list[dict[str, Any]]:
    """The transaction of the driver, as the module apt_packages takes it."""
    choice = situation.choice
    if choice is None:
        return []
    version = choice.version
    if situation.newer is not None:
        version = situation.newer
    # In Debian's archive not all packages of the driver have its version.
    of_one_version = [choice.candidate] if choice.source == "debian" else choice.driver
    packages: list[dict[str, Any]] = [
        {"name": name, "version": version} if name in of_one_version else {"name": name} for name in choice.driver
    ]
    if choice.source == "nvidia":  # whose dependencies allow newer ones, so that a way down would leave some behind
        others = set(situation.host.installed.names) - set(choice.driver) - set(situation.remove)
        packages += [{"name": name, "version": version} for name in sorted(others)]
    return [*packages, *({"name": name, "allow": ["linux-"]} for name in situation.kernel_packages.names)]


def _is_incomplete(host: DriverHost, choice: Choice, kernel: KernelPackages) -> bool:
    """Whether a package is missing or unfinished, or of another branch under the same name."""
    wanted = [*choice.driver, *kernel.names, *([choice.pin] if choice.pin else [])]
    driver = host.installed.packages
    return (
        not all(map(host.has, wanted))
        or any(not host.packages[each.name].installed for each in driver)
        or any(each.branch != choice.branch or each.origin != choice.source for each in driver)
        or any(each != choice.pin for each in host.installed.pins)
    )


def _differs(host: DriverHost, candidate: str | None, choice: Choice) -> bool:
    installed = host.packages.get(choice.candidate)
    return candidate is not None and (installed is None or installed.version != candidate)


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
