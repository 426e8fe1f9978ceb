# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask of snapper, and what is refused, with the place, the rule and the value."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError
from ansible_collections.mlrig.workstation.plugins.module_utils._snapper_request import parse_configs, parse_settings


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("NUMBER_LIMIT", 20, "20"),
        ("NUMBER_LIMIT", "4-20", "4-20"),
        ("NUMBER_LIMIT_IMPORTANT", "10-10", "10-10"),
        ("NUMBER_MIN_AGE", "0", "0"),
        ("TIMELINE_CREATE", False, "no"),
        ("TIMELINE_CREATE", True, "yes"),
        ("TIMELINE_CLEANUP", "yes", "yes"),
        ("FREE_LIMIT", 0.1, "0.1"),
        ("FREE_LIMIT", 0, "0"),
        ("SPACE_LIMIT", "50 GiB", "50 GiB"),
        ("ALLOW_USERS", "ada bob", "ada bob"),
        ("ALLOW_GROUPS", "", ""),
        ("QGROUP", "1/0", "1/0"),
    ],
)
def test_right_settings(key: str, value: object, text: str) -> None:
    assert parse_settings({key: value}, "settings") == {key: text}


def test_null_leaves_a_key_alone() -> None:
    assert parse_settings({"NUMBER_LIMIT": None, "NUMBER_CLEANUP": True}, "settings") == {"NUMBER_CLEANUP": "yes"}


UNKNOWN = "must be a key of snapper-configs(5) that may be set here"
COUNT = "must be a number of snapshots, or a range such as 4-20"
SPACE = "must be a fraction of the file system between 0 and 1, or a size such as 50 GiB"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("NUMBER_LIMITS", 3, f"{UNKNOWN} (did you mean NUMBER_LIMIT?); got: 'NUMBER_LIMITS'"),
        ("number_limit", 3, f"{UNKNOWN} (did you mean NUMBER_LIMIT?); got: 'number_limit'"),
        ("SUBVOLUME", "/", f"{UNKNOWN}; got: 'SUBVOLUME'"),
        ("FSTYPE", None, f"{UNKNOWN}; got: 'FSTYPE'"),
        ("NUMBER_LIMIT", "many", f"{COUNT}; got: 'many'"),
        ("NUMBER_LIMIT", True, f"{COUNT}; got: True"),
        ("NUMBER_LIMIT", -1, f"{COUNT}; got: -1"),
        ("NUMBER_LIMIT", "4-20\n", f"{COUNT}; got: '4-20\\n'"),
        ("NUMBER_LIMIT", "20-4", "must begin with the smaller number; got: '20-4'"),
        ("TIMELINE_CREATE", "off", "must be yes or no; got: 'off'"),
        ("TIMELINE_CREATE", 1, "must be yes or no; got: 1"),
        ("NUMBER_MIN_AGE", "1h", "must be a number of seconds; got: '1h'"),
        ("FREE_LIMIT", 20, f"{SPACE}; got: 20"),
        ("FREE_LIMIT", "20%", f"{SPACE}; got: '20%'"),
        ("ALLOW_USERS", 'a"; b', "must be names with a blank between them; got: 'a\"; b'"),
        ("QGROUP", "1", "must be a quota group of btrfs such as 1/0, or empty; got: '1'"),
    ],
)
def test_wrong_settings_are_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_settings({key: value}, "settings")
    assert str(refusal.value) == f"settings['{key}'] {message}"


ROOT = {"name": "a", "subvolume": "/"}
ABSOLUTE = "must be an absolute path without a slash at its end"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "a b", "subvolume": "/"}], "configs[0].name must be one word of letters, digits and _"),
        ([{"name": "../a", "subvolume": "/"}], "configs[0].name must be one word"),
        ([{"name": "", "subvolume": "/"}], "configs[0].name must be one word"),
        ([{"name": "a", "subvolume": "home"}], f"configs[0].subvolume {ABSOLUTE}; got: 'home'"),
        ([{"name": "a", "subvolume": "/home/"}], f"configs[0].subvolume {ABSOLUTE}; got: '/home/'"),
        ([{"name": "a", "subvolume": "/home/../etc"}], f"configs[0].subvolume {ABSOLUTE}"),
        ([ROOT, {"name": "a", "subvolume": "/b"}], "configs[1].name must not repeat configs[0].name; got: 'a'"),
        ([ROOT, {"name": "b", "subvolume": "/"}], "configs[1].subvolume must not repeat configs[0].subvolume"),
        ([{"name": "a", "subvolume": "/", "settings": {"X": 1}}], "configs[0].settings['X'] must be a key of"),
    ],
)  # fmt: skip
def test_wrong_configs_are_refused(entries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_configs(entries)
    assert str(refusal.value).startswith(message)
