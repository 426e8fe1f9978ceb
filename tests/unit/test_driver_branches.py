# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The branch that is chosen, by the role's own table, or why none is and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_branches import (
    Choice,
    Refusal,
    Request,
    choose,
    parse_request,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._driver_table import Branch, parse_table
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError

DEFAULTS = Path(__file__).parents[2] / "roles/nvidia_driver/defaults/main.yml"
UBUNTU, DEBIAN = "Ubuntu 24.04", "Debian 13"
TODAY = date(2026, 11, 21)
GA, HWE_OLD, HWE_EDGE, OEM = "6.8.0-88-generic", "6.14.0-37-generic", "6.17.0-35-generic", "6.17.0-1012-oem"
HWE = "7.0.0-29-generic"
GOOD, BROKEN, BACKPORT = "6.12.94+deb13-amd64", "6.12.107+deb13-amd64", "7.1.3+deb13-amd64"
BY_HAND = "7.3.0-custom"


class Case(NamedTuple):
    branch: str = ">=590"
    kernels: str = HWE
    cards: str = "blackwell"
    source: str = "nvidia"
    flavour: str = "auto"
    profile: str = "full"
    distribution: str = UBUNTU
    today: date = TODAY
    installed: str | None = None


@pytest.fixture(scope="module")
def table() -> Sequence[Branch]:
    return parse_table(yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["nvidia_driver_branches"])


def _answer(table: Sequence[Branch], case: Case) -> Choice | Refusal:
    options = {key: getattr(case, key) for key in ("branch", "source", "flavour", "profile")}
    return choose(
        table,
        parse_request(options),
        distribution=case.distribution,
        kernels=case.kernels.split(),
        generations=case.cards.split(),
        today=case.today,
        installed=case.installed,
    )


@pytest.mark.parametrize(
    ("case", "branch", "flavour"),
    [
        # the oldest living branch from 590 on: 590 is not listed any more, 595 is living
        (Case(), "595", "open"),
        (Case(kernels=GA), "595", "open"),
        (Case(kernels=f"{GA} {HWE_OLD} {HWE_EDGE} {HWE}"), "595", "open"),
        (Case(kernels=OEM, cards="turing"), "595", "open"),
        (Case(kernels="6.19.3-arch1"), "595", "open"),
        (Case(kernels="7.1.0-5-generic"), "595", "open"),
        (Case(cards="turing ampere ada hopper blackwell"), "595", "open"),
        (Case(cards="hopper", profile="compute"), "595", "open"),
        (Case(cards="ampere", flavour="proprietary"), "595", "proprietary"),
        (Case(kernels=BY_HAND), "615", "open"),
        (Case(branch=">=600"), "615", "open"),
        (Case(branch=">=620"), "620", "open"),
        (Case(branch=">=550", cards="ampere"), "580", "open"),
        (Case(branch=">=580", cards="pascal"), "580", "proprietary"),
        (Case(kernels=BROKEN, distribution=DEBIAN), "595", "open"),
        (Case(kernels=BACKPORT, distribution=DEBIAN, cards="ada"), "595", "open"),
        (Case(source="ubuntu"), "595", "open"),
        (Case(source="ubuntu", cards="ampere", flavour="proprietary"), "595", "proprietary"),
        # what time brings
        (Case(today=date(2027, 3, 31)), "595", "open"),
        (Case(today=date(2027, 4, 1)), "615", "open"),
        (Case(today=date(2026, 7, 1), branch=">=600"), "610", "open"),
        (Case(branch=">=550", cards="volta", today=date(2028, 6, 30)), "580", "proprietary"),
        # a driver that is there stays, where it is allowed and fits
        (Case(installed="615"), "615", "open"),
        (Case(installed="610"), "610", "open"),
        (Case(installed="590", kernels=GA), "590", "open"),
        (Case(installed="595", today=date(2027, 4, 1)), "595", "open"),
        (Case(installed="590"), "595", "open"),
        (Case(installed="580"), "595", "open"),
        (Case(installed="570"), "595", "open"),
        (Case(branch="595", installed="615"), "595", "open"),
        # exactly that
        (Case(branch="590", kernels=HWE_EDGE), "590", "open"),
        (Case(branch="590", kernels=BROKEN, distribution=DEBIAN), "590", "open"),
        (Case(branch="595"), "595", "open"),
        (Case(branch="610"), "610", "open"),
        (Case(branch="615", cards="turing"), "615", "open"),
        (Case(branch="580"), "580", "open"),
        (Case(branch="580", cards="maxwell"), "580", "proprietary"),
        (Case(branch="580", cards="volta", kernels=BACKPORT, distribution=DEBIAN), "580", "proprietary"),
        (Case(branch="580", cards="pascal", source="ubuntu", profile="compute"), "580", "proprietary"),
        (Case(branch="580", cards="pascal ampere"), "580", "proprietary"),
        (Case(branch="580", cards="ampere", flavour="proprietary"), "580", "proprietary"),
        (Case(branch="550", cards="ampere", source="debian", kernels=GOOD, distribution=DEBIAN), "550", "open"),
        (Case(branch="550", cards="pascal", source="debian", kernels=GOOD, distribution=DEBIAN), "550", "proprietary"),
        (Case(branch="620", cards="newer"), "620", "open"),
    ],
)
def test_choice(table: Sequence[Branch], case: Case, branch: str, flavour: str) -> None:
    answer = _answer(table, case)
    assert isinstance(answer, Choice), str(answer)
    assert (answer.branch, answer.flavour, answer.version) == (branch, flavour, f"{branch}.*")


@pytest.mark.parametrize(
    ("case", "pin", "driver", "candidate", "module"),
    [
        (Case(), "595", "nvidia-open", "nvidia-driver-open", "nvidia-dkms-open"),
        (
            Case(profile="compute"),
            "595",
            "libnvidia-compute nvidia-dkms-open",
            "nvidia-driver-open",
            "nvidia-dkms-open",
        ),
        (Case(cards="ampere", flavour="proprietary"), "595", "nvidia-driver", "nvidia-driver", "nvidia-dkms"),
        (Case(branch="580"), "580", "nvidia-open-580", "nvidia-driver-580-open", "nvidia-dkms-580-open"),
        (Case(branch="580", cards="pascal"), "580", "nvidia-driver-580", "nvidia-driver-580", "nvidia-dkms-580"),
        (
            Case(branch="580", profile="compute"),
            "580",
            "libnvidia-compute-580 nvidia-dkms-580-open",
            "nvidia-driver-580-open",
            "nvidia-dkms-580-open",
        ),
        (Case(distribution=DEBIAN), "595", "nvidia-open", "nvidia-kernel-open-dkms", "nvidia-kernel-open-dkms"),
        (
            Case(branch="580", distribution=DEBIAN, profile="compute"),
            "580",
            "nvidia-driver-cuda nvidia-kernel-open-dkms",
            "nvidia-kernel-open-dkms",
            "nvidia-kernel-open-dkms",
        ),
        (
            Case(branch="580", distribution=DEBIAN, cards="pascal"),
            "580",
            "nvidia-driver nvidia-driver-cuda nvidia-kernel-dkms",
            "nvidia-driver-cuda",
            "nvidia-kernel-dkms",
        ),
        (Case(source="ubuntu"), None, "nvidia-driver-595-open", "nvidia-driver-595-open", "nvidia-dkms-595-open"),
        (
            Case(source="ubuntu", profile="compute"),
            None,
            "nvidia-headless-595-open nvidia-utils-595",
            "nvidia-driver-595-open",
            "nvidia-dkms-595-open",
        ),
        (
            Case("550", GOOD, "ampere", "debian", profile="compute", distribution=DEBIAN),
            None,
            "nvidia-open-kernel-dkms libcuda1 nvidia-smi nvidia-persistenced",
            "nvidia-open-kernel-dkms",
            "nvidia-open-kernel-dkms",
        ),
    ],
)
def test_packages(  # noqa: PLR0917
    table: Sequence[Branch], case: Case, pin: str | None, driver: str, candidate: str, module: str
) -> None:
    answer = _answer(table, case)
    assert isinstance(answer, Choice), str(answer)
    assert answer.pin == (pin and f"nvidia-driver-pinning-{pin}")
    assert answer.driver == tuple(driver.split())
    assert (answer.candidate, answer.module) == (candidate, module)


WARNINGS = {
    "unlisted": "NVIDIA does not list driver branch 590 any more: it gets no more fixes",
    "ended": "driver branch 610 reached its end of life on 2026-08-31: it gets no more fixes",
    "ends": "driver branch 595 reaches its end of life on 2027-03-31",
    "unknown": "of driver branch 615 little is known: ",
    "newer": "a card is newer than this collection: whether driver branch 595 supports it is not known",
    "kernel": "whether driver branch 595 builds for kernel mine is not known: no version in its name",
}


@pytest.mark.parametrize(
    ("case", "warnings"),
    [
        (Case(), []),
        (Case(branch="580", cards="pascal"), []),
        (Case(branch="590", kernels=GA), ["unlisted"]),
        (Case(branch="610"), ["ended"]),
        (Case(installed="610"), ["ended"]),
        (Case(today=date(2027, 1, 30)), []),
        (Case(today=date(2027, 1, 31)), ["ends"]),
        (Case(branch="615"), ["unknown"]),
        (Case(branch="595", cards="ada newer"), ["newer"]),
        (Case(kernels="mine"), ["kernel"]),
    ],
)
def test_warnings(table: Sequence[Branch], case: Case, warnings: list[str]) -> None:
    answer = _answer(table, case)
    assert isinstance(answer, Choice), str(answer)
    assert len(answer.warnings) == len(warnings)
    for said, expected in zip(answer.warnings, warnings, strict=True):
        assert said.startswith(WARNINGS[expected])


VFIO = "(give it to virtual machines, bound to vfio-pci, or take it out), then"


@pytest.mark.parametrize(
    ("case", "reason", "way_out"),
    [
        (
            Case(branch="590"),
            "590 builds for kernels 4.15 to 6.19, not for 7.0.0-29-generic: 590.48.01",
            'nvidia_driver_branch: "595"',
        ),
        (Case(branch="590"), "(open-gpu-kernel-modules#1041)", "only kernels 4.15 to 6.19 for 590"),
        (Case(branch="590", kernels=f"{GA} {HWE}"), "not for 7.0.0-29-generic:", "remove the others"),
        (Case(branch="595", kernels="4.9.0 3.2.0-x"), "595 builds for kernels 4.15 to 7.2, not for 4.9.0, 3.2.0-x", ""),
        (Case(branch="595", kernels=BY_HAND), "not for 7.3.0-custom", 'nvidia_driver_branch: "615"'),
        (
            Case(branch="580", cards="pascal", kernels=BY_HAND),
            "not for 7.3.0-custom",
            "only kernels 4.15 to 7.1 for 580",
        ),
        (
            Case("550", f"{GOOD} {BROKEN}", "ampere", "debian", distribution=DEBIAN),
            "550 builds for kernels 3.10 to 6.12.96, not for 6.12.107+deb13-amd64: 550.163.01",
            'nvidia_driver_branch: "580" and nvidia_driver_source: "nvidia"',
        ),
        (Case(cards="pascal"), "595 does not support pascal", 'nvidia_driver_branch: "580"'),
        (Case(branch="595", cards="volta"), "595 does not support volta", 'nvidia_driver_branch: "580"'),
        (Case(cards="pascal ampere"), "595 does not support pascal", 'nvidia_driver_branch: "580"'),
        (Case(cards="pascal ampere"), "", f"do without the pascal card {VFIO} 595 with open kernel modules fits"),
        (
            Case(cards="pascal blackwell"),
            "no one driver serves both pascal and blackwell",
            f"do without the pascal card {VFIO} 595 with open kernel modules fits",
        ),
        (
            Case(branch="580", cards="maxwell volta ampere blackwell"),
            "no one driver serves both maxwell, volta and blackwell",
            "a row of nvidia_driver_branches that says more",
        ),
        (
            Case(branch="580", cards="pascal blackwell"),
            "no one driver serves both pascal and blackwell",
            f"do without the blackwell card {VFIO} 580 with proprietary kernel modules fits",
        ),
        (Case(cards="volta newer"), "no one driver serves both volta and newer", ""),
        (Case(cards="kepler"), "no driver of nvidia_driver_branches serves kepler", "nouveau: leave out the role"),
        (
            Case(cards="kepler blackwell"),
            "no driver of nvidia_driver_branches serves kepler",
            "without the kepler card",
        ),
        (
            Case(branch="595", flavour="proprietary"),
            "the proprietary kernel modules of 595 do not support blackwell, the open ones do",
            'nvidia_driver_flavour: "auto"',
        ),
        (
            Case(branch="580", cards="pascal", flavour="open"),
            "the open kernel modules of 580 do not support pascal, the proprietary ones do",
            'nvidia_driver_flavour: "auto"',
        ),
        (
            Case(branch="615", cards="ampere", flavour="proprietary"),
            "the source nvidia has no proprietary kernel modules of 615",
            'nvidia_driver_branch: "595"',
        ),
        (
            Case(branch="590", source="ubuntu", kernels=GA),
            "in the source ubuntu, 590 is only a transitional name for 595",
            'nvidia_driver_branch: "595"',
        ),
        (Case(branch="590", source="ubuntu", kernels=GA), "", 'nvidia_driver_branch: "580"'),
        (
            Case(branch="615", source="ubuntu"),
            "the source ubuntu has no 615 for Ubuntu 24.04",
            'nvidia_driver_source: "nvidia"',
        ),
        (
            Case(source="debian", kernels=BROKEN, distribution=DEBIAN),
            "the source debian has no 595 for Debian 13",
            'nvidia_driver_branch: "595" and nvidia_driver_source: "nvidia"',
        ),
        (
            Case(branch="550", cards="blackwell", source="debian", kernels=GOOD, distribution=DEBIAN),
            "550 does not support blackwell",
            'nvidia_driver_source: "nvidia"',
        ),
        (
            Case(source="ubuntu", distribution=DEBIAN),
            "the source ubuntu has nothing for Debian 13",
            'nvidia_driver_source: "nvidia"',
        ),
        (
            Case(distribution="Ubuntu 26.04"),
            "the source nvidia has nothing for Ubuntu 26.04",
            "a row of nvidia_driver_",
        ),
        (Case(branch="600"), "nvidia_driver_branches has no 600, only 550, 580, 590", 'nvidia_driver_branch: "615"'),
        (Case(branch=">=700"), "nvidia_driver_branches ends with 620", 'nvidia_driver_branch: "595"'),
        (
            Case(source="ubuntu", branch=">=600"),
            "610 reached its end of life on 2026-08-31",
            'nvidia_driver_branch: "595"',
        ),
        (Case(source="ubuntu", today=date(2027, 4, 1)), "590 is not listed any more by NVIDIA", ""),
        (
            Case(cards="newer"),
            "whether 595 supports a card that is newer than this collection is not known",
            "nvidia_driver_branch set to a branch whose list of supported cards",
        ),
        (Case(branch="595", cards="newer", flavour="proprietary"), "595 does not support newer", 'flavour: "auto"'),
    ],
)
def test_refusal(table: Sequence[Branch], case: Case, reason: str, way_out: str) -> None:
    answer = _answer(table, case)
    assert isinstance(answer, Refusal), answer
    assert reason in "; ".join(answer.reasons)
    assert way_out in "; or ".join(answer.ways_out)


def test_a_refusal_names_the_question_its_values_and_the_ways_out(table: Sequence[Branch]) -> None:
    assert str(_answer(table, Case(branch="590", kernels=f"{GA} {HWE}", cards="ada blackwell"))) == (
        "no driver fits: nvidia_driver_branch '590', nvidia_driver_source 'nvidia', nvidia_driver_flavour 'auto', "
        "on Ubuntu 24.04 with the kernels 6.8.0-88-generic, 7.0.0-29-generic and the GPU generations ada, blackwell: "
        "590 builds for kernels 4.15 to 6.19, not for 7.0.0-29-generic: 590.48.01, its last driver, does not build for "
        "7.0 (open-gpu-kernel-modules#1041); it knows 6.19's interfaces. "
        "Ways out: only kernels 4.15 to 6.19 for 590 (every installed kernel counts, because each may be booted: "
        'remove the others); or nvidia_driver_branch: "595"; or nvidia_driver_branch: "580"; '
        'or nvidia_driver_branch: "615"; '
        "or a row of nvidia_driver_branches that says more, if NVIDIA's release notes do; "
        "or nouveau: leave out the role nvidia_driver."
    )


def test_of_many_branches_one_reason_each_is_given(table: Sequence[Branch]) -> None:
    refusal = _answer(table, Case(branch=">=610", cards="pascal", kernels="4.9.0"))
    assert isinstance(refusal, Refusal)
    assert refusal.reasons == (
        "615 does not support pascal",
        "620 does not support pascal",
        "610 reached its end of life on 2026-08-31",
    )


def test_branches_that_ended_are_not_proposed_beside_living_ones(table: Sequence[Branch]) -> None:
    refusal = _answer(table, Case(branch="600", kernels=GA, today=date(2027, 4, 1)))
    assert isinstance(refusal, Refusal)
    assert [way for way in refusal.ways_out if ": " in way][:3] == [
        'nvidia_driver_branch: "580"',
        'nvidia_driver_branch: "615"',
        'nvidia_driver_branch: "620"',
    ]


REFUSED = [
    Case(branch="590"),
    Case(cards="pascal"),
    Case(branch="590", source="ubuntu", kernels=GA),
    Case(branch="595", flavour="proprietary"),
    Case("550", BROKEN, "ampere", "debian", distribution=DEBIAN),
    Case(branch=">=700"),
    Case(source="debian", distribution=DEBIAN, flavour="proprietary"),
    Case(branch="615", cards="turing", flavour="proprietary", source="ubuntu"),
    Case(source="ubuntu", branch=">=600"),
]


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_are_proposed_do(table: Sequence[Branch], case: Case) -> None:
    refusal = _answer(table, case)
    assert isinstance(refusal, Refusal)
    proposed = [way for way in refusal.ways_out if ': "' in way]
    assert proposed
    for way in proposed:
        options = dict(part.split(": ") for part in way.split(" and "))
        changes = {name.removeprefix("nvidia_driver_"): value.strip('"') for name, value in options.items()}
        assert isinstance(_answer(table, case._replace(**changes)), Choice), way


@pytest.mark.parametrize(
    ("branch", "expected"),
    [(">=590", ("590", True)), (">= 590", ("590", True)), ("590", ("590", False)), (580, ("580", False))],
)
def test_request(branch: Any, expected: tuple[str, bool]) -> None:
    options = {"branch": branch, "source": "nvidia", "flavour": "auto", "profile": "compute"}
    assert parse_request(options) == Request(*expected, "nvidia", "auto", "compute")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("branch", ">590", 'nvidia_driver_branch must be a branch such as "595", or ">=590"'),
        ("branch", "595.71.05", "nvidia_driver_branch must be a branch"),
        ("branch", "latest", "nvidia_driver_branch must be a branch"),
        ("branch", None, "nvidia_driver_branch must be a branch"),
        ("branch", True, "nvidia_driver_branch must be a branch"),
        ("source", "ppa", "nvidia_driver_source must be one of nvidia, ubuntu, debian; got: 'ppa'"),
        ("flavour", "closed", "nvidia_driver_flavour must be one of auto, open, proprietary"),
        ("profile", "headless", "nvidia_driver_profile must be one of full, compute"),
    ],
)
def test_wrong_requests_are_refused(option: str, value: Any, message: str) -> None:
    options = {"branch": ">=590", "source": "nvidia", "flavour": "auto", "profile": "full", option: value}
    with pytest.raises(InputError) as refusal:
        parse_request(options)
    assert message in str(refusal.value)
    with pytest.raises(InputError, match=f"^{option} "):
        parse_request(options, prefix="")


def test_the_choice_can_be_sent(table: Sequence[Branch]) -> None:
    answer = _answer(table, Case(branch="590", kernels=GA))
    assert isinstance(answer, Choice)
    assert answer.as_dict() == {
        "branch": "590",
        "source": "nvidia",
        "flavour": "open",
        "profile": "full",
        "pin": "nvidia-driver-pinning-590",
        "driver": ["nvidia-open"],
        "candidate": "nvidia-driver-open",
        "version": "590.*",
        "module": "nvidia-dkms-open",
        "warnings": [WARNINGS["unlisted"]],
    }
