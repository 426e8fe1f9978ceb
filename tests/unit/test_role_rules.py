# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._role_rules import RULES
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError

HUGEPAGE = "/sys/kernel/mm/transparent_hugepage/enabled"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("base_packages", ["git", "libstdc++6", "libc6:i386", "tmux=3.5a-3", "gcc-14"]),
        ("base_unattended_upgrades_blacklist", ["^docker-(ce|cli)$", r"libc6\b"]),
        ("kernel_tuning_sysctl", {"vm.swappiness": 1, "vm.max_map_count": None}),
        ("kernel_tuning_sysfs", {"/sys/block/nvme*/queue/scheduler": "none"}),
    ],
)
def test_right_values_pass(variable: str, value: object) -> None:
    RULES[variable](value, variable)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("base_packages", ["git", "git tmux"], "base_packages[1] must be the name of a package; got: 'git tmux'"),
        ("base_packages", ["--purge"], "base_packages[0] must be the name of a package; got: '--purge'"),
        ("base_packages_defaults", [""], "base_packages_defaults[0] must be the name of a package; got: ''"),
        ("base_unattended_upgrades_blacklist", ["a", "b("], "[1] must be a Python regular expression (missing )"),
        ("base_unattended_upgrades_blacklist", ['a"; b'], "[0] must be printable text without double quotes"),
        ("base_unattended_upgrades_blacklist", ["a\nb"], "[0] must be printable text without double quotes"),
        ("kernel_tuning_sysfs", {HUGEPAGE: "never"}, "variable of its own, kernel_tuning_transparent_hugepage"),
        ("kernel_tuning_sysctl", {"kernel.sysrq": True}, "must not be a YAML boolean"),
    ],
)
def test_wrong_values_are_refused(variable: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        RULES[variable](value, variable)
    assert message in str(refusal.value)
