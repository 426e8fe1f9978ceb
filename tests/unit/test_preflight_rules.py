# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule of the role preflight, evaluated for hosts that keep it and hosts that break it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).parents[2] / "roles/preflight"

FACTS = {
    "distribution": "Debian",
    "distribution_version": "13.7",
    "distribution_major_version": "13",
    "architecture": "x86_64",
    "service_mgr": "systemd",
    "python_version": "3.13.5",
}
PROBE = ["root", " Avail", " 90000", " 900"]


def refusals(facts: dict[str, str], probe: list[str], connection: str = "ssh") -> list[str]:
    loader = DataLoader()
    variables: dict[str, Any] = {
        **loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "ansible_facts": {**FACTS, **facts},
        "_preflight_probe": {"stdout_lines": probe},
        "ansible_connection": connection,
    }
    result: list[str] = Templar(loader, variables=variables).template(variables["_preflight_refusals"])
    return result


@pytest.mark.parametrize(
    "facts",
    [{}, {"distribution": "Ubuntu", "distribution_version": "24.04", "python_version": "3.12.3"}],
    ids=["Debian 13", "Ubuntu 24.04"],
)
@pytest.mark.parametrize("connection", ["ssh", "local", "ansible.builtin.local"])
def test_a_good_host_is_not_refused(facts: dict[str, str], connection: str) -> None:
    assert refusals(facts, PROBE, connection) == []


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"distribution_major_version": "12"}, "must run one of: Ubuntu 24.04, Debian 13; got: Debian 12"),
        ({"distribution": "Ubuntu", "distribution_version": "24.10"}, "Debian 13; got: Ubuntu 24.10"),
        ({"architecture": "aarch64"}, "must be an x86_64 machine; got: aarch64"),
        ({"service_mgr": "sysvinit"}, "must be started by systemd; got: sysvinit"),
        ({"python_version": "3.9.2"}, "must have Python 3.11 or newer; got: 3.9.2"),
    ],
)
def test_a_wrong_system_is_refused(facts: dict[str, str], refusal: str) -> None:
    [found] = refusals(facts, PROBE)
    assert refusal in found


@pytest.mark.parametrize(
    ("probe", "refusal"),
    [
        (["me", *PROBE[1:]], "must let the user become root (become: true, and a user who may use sudo); got: me"),
        (["root", "Avail", " 1024", " 900"], "must have 5 GiB free on / (preflight_free_space); got: 1.0 GiB"),
        (
            ["root", "Avail", " 90000", " 100"],
            "must have 256 MiB free on /boot (preflight_free_boot_space); got: 100 MiB",
        ),
    ],
)
def test_a_wrong_user_or_a_full_disk_is_refused(probe: list[str], refusal: str) -> None:
    assert refusals({}, probe) == [refusal]


def test_another_connection_is_refused() -> None:
    [found] = refusals({}, PROBE, "community.docker.docker")
    assert found == "must be reached over SSH or be the machine that Ansible runs on; got: community.docker.docker"


def test_all_refusals_are_told_at_once() -> None:
    assert len(refusals({"architecture": "riscv64", "service_mgr": "runit"}, PROBE)) == 2
