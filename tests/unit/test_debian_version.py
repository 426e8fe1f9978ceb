# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise, product

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._debian_version import is_at_least

# From the oldest to the newest; those of one row are the same to dpkg.
VERSIONS = [
    ["1.18"],
    ["1.18.2~"],
    ["1.18.2~rc.1-1"],
    ["1.18.2", "1.18.2-0", "1.18.02", "0:1.18.2"],
    ["1.18.2-1~deb13u1"],
    ["1.18.2-1", "1.18.2-01"],
    ["1.18.2-1+b1"],
    ["1.18.2a-1"],
    ["1.18.2+b1"],
    ["1.18.10-1"],
    ["26.1.5+dfsg1-9+b9"],
    ["5:28.0.1-1~ubuntu.24.04~noble"],
]
RANKS = {version: rank for rank, row in enumerate(VERSIONS) for version in row}


@pytest.mark.parametrize(("one", "other"), list(product(RANKS, RANKS)))
def test_versions_are_ordered(one: str, other: str) -> None:
    assert is_at_least(one, other) == (RANKS[one] >= RANKS[other])


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="there is no dpkg on this machine")
def test_dpkg_orders_them_so_too() -> None:
    for older, newer in pairwise(RANKS):
        relation = "eq" if RANKS[older] == RANKS[newer] else "lt"
        assert subprocess.run(["dpkg", "--compare-versions", older, relation, newer], check=False).returncode == 0
