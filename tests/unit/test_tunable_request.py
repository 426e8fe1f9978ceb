# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask for, and how what is wrong is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError
from ansible_collections.mlrig.workstation.plugins.module_utils._tunable_request import (
    Tunable,
    parse_tunables,
    parse_values,
)

CONF = "net.ipv4.conf"


@pytest.mark.parametrize(
    ("name", "key", "path"),
    [
        ("vm.swappiness", "vm.swappiness", "/proc/sys/vm/swappiness"),
        (" vm/swappiness ", "vm.swappiness", "/proc/sys/vm/swappiness"),
        ("/proc/sys/vm/swappiness", "vm.swappiness", "/proc/sys/vm/swappiness"),
        ("net.ipv4.conf.eth0/7.arp_notify", "net/ipv4/conf/eth0.7/arp_notify", None),
        ("net/ipv4/conf/eth0.7/arp_notify", "net/ipv4/conf/eth0.7/arp_notify", None),
        (
            "net.ipv4.conf.[el]*.arp_notify",
            "net.ipv4.conf.[el]*.arp_notify",
            "/proc/sys/net/ipv4/conf/[el]*/arp_notify",
        ),
        ("/sys/block/sd?/queue/scheduler", "/sys/block/sd?/queue/scheduler", "/sys/block/sd?/queue/scheduler"),
        ("/sys/bus/pci/devices/0000:01:00.0/power/control",) + ("/sys/bus/pci/devices/0000:01:00.0/power/control",) * 2,
        ("/sys/a/./b", "/sys/a/b", "/sys/a/b"),
    ],
)
def test_names(name: str, key: str, path: str | None) -> None:
    [tunable] = parse_tunables([{"name": name, "value": 1}])
    assert (tunable.key, tunable.path) == (key, path or f"/proc/sys/{key}")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "/sys",
        "/sys/",
        "/sys/a/",
        "/sys//a",
        "/sys/../etc/passwd",
        "/proc/version",
        "/proc/sys/../version",
        "vm..swappiness",
        "vm.",
        ".vm",
        "-vm.swappiness",
        "#vm.swappiness",
        "vm.swappiness = 1",
        "vm.swap\npiness",
        "vm.{a,b}",
        "/sys/%v/x",
        "/sys/a b",
        "/sys/a\\b",
        '/sys/"a"',
    ],
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^tunables\[0\]\.name must be a sysctl key such as vm.swappiness, or a path"):
        parse_tunables([{"name": name, "value": 1}])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10, "10"),
        (-1, "-1"),
        (0, "0"),
        ("10", "10"),
        (" 10\n", "10"),
        ("4096  131072\t6291456", "4096 131072 6291456"),
        ("on", "on"),
        ("off", "off"),
        ("-", "-"),
        ("|/bin/handler %p #1", "|/bin/handler %p #1"),
        ("0.5", "0.5"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert parse_tunables([{"name": "a.b", "value": value}])[0].value == text


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (True, "must not be a YAML boolean"),
        (False, "must not be a YAML boolean"),
        ("True", "must not be a YAML boolean"),
        ("False", "must not be a YAML boolean"),
        (None, r"is missing \(state: absent removes a tunable\)"),
        (0.5, "must be a whole number or text"),
        (["1"], "must be a whole number or text"),
        ({"a": 1}, "must be a whole number or text"),
        ("", "must be one line of printable text"),
        ("  ", "must be one line of printable text"),
        ("1\n2", "must be one line of printable text"),
        ("a\x00b", "must be one line of printable text"),
        ("a\x1b[31m", "must be one line of printable text"),
        ("caf\udce9", "must be one line of printable text"),
    ],
)
def test_values_that_are_refused(value: object, rule: str) -> None:
    with pytest.raises(InputError, match=rf"^tunables\[1\]\.value {rule}") as caught:
        parse_tunables([{"name": "a.a", "value": 1}, {"name": "a.b", "value": value}])
    assert str(caught.value).endswith(f"; got: {value!r}")


def test_the_boolean_rule_says_what_to_write_instead() -> None:
    with pytest.raises(InputError, match=r'write 1 or 0, or the word in quotes, such as "on"; got: True'):
        parse_tunables([{"name": "a.b", "value": True}])


def test_absent_has_no_value() -> None:
    assert parse_tunables([{"name": "a.b", "state": "absent"}]) == [
        Tunable("tunables[0]", "a.b", "a.b", "/proc/sys/a/b", None)
    ]
    with pytest.raises(InputError, match=r"tunables\[0\].value must not be given together with state: absent; got: 1"):
        parse_tunables([{"name": "a.b", "state": "absent", "value": 1}])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("vm.swappiness", "vm.swappiness"),
        ("vm.swappiness", "vm/swappiness"),
        ("vm.swappiness", "/proc/sys/vm/swappiness"),
        (f"{CONF}.eth0/7.arp_notify", "net/ipv4/conf/eth0.7/arp_notify"),
        ("/sys/a/b", "/sys/a/./b"),
    ],
)
def test_a_repeated_name_is_refused_in_every_spelling(one: str, other: str) -> None:
    with pytest.raises(InputError, match=r"tunables\[1\].name must not repeat tunables\[0\]; got: "):
        parse_tunables([{"name": one, "value": 1}, {"name": other, "value": 2}])


def test_a_mapping_of_values_passes() -> None:
    parse_values({"vm.swappiness": 10, "vm.laptop_mode": None, "/sys/a/b": "on"}, "role_sysctl")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vm.swappiness": True}, r"role_sysctl\['vm.swappiness'\] must not be a YAML boolean.*; got: True"),
        ({"vm/swappiness": 1}, r"role_sysctl\['vm/swappiness'\] must be spelled vm.swappiness; got: 'vm/swappiness'"),
        ({"vm/swappiness": None}, "must be spelled vm.swappiness"),
        ({"/etc/passwd": 1}, r"role_sysctl\['/etc/passwd'\] must be a sysctl key"),
    ],
    ids=["boolean", "spelling", "spelling of null", "other path"],
)
def test_a_mapping_of_values_is_checked(values: dict[Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_values(values, "role_sysctl")


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ({"condition": {"name": "/etc/a", "value": 1}}, "tunables[0].condition.name must be a sysctl key such as"),
        ({"condition": {"name": "vm.x", "value": True}}, "tunables[0].condition.value must not be a YAML boolean"),
        ({"condition": {"name": "vm.x", "value": None}}, "tunables[0].condition.value is missing"),
        (
            {"rivals": {"tuned": ""}},
            "tunables[0].rivals must be names of services, such as tuned.service; got: 'tuned'",
        ),
        ({"rivals": {"--all.service x": ""}}, "tunables[0].rivals must be names of services"),
    ],
)
def test_wrong_conditions_and_rivals(further: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_tunables([{"name": "vm.swappiness", "value": 1, **further}])
    assert str(refusal.value).startswith(message)
