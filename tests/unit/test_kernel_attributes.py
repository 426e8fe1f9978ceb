# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the running kernel has, says, and takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_attributes import (
    same_value,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

from .conftest import Host, full_disk

SCHEDULER = "/sys/block/sda/queue/scheduler"
SWAPPINESS = "/proc/sys/vm/swappiness"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (SWAPPINESS, [SWAPPINESS]),
        ("/proc/sys/vm", []),
        ("/proc/sys/vm/missing", []),
        ("/proc/sys/nothing/there", []),
        ("/proc/sys/vm/swappiness/below", []),
        ("/sys/block/*/queue/scheduler", [SCHEDULER, "/sys/block/sdb/queue/scheduler"]),
        ("/sys/block/sd[!a]/queue/scheduler", ["/sys/block/sdb/queue/scheduler"]),
        ("/sys/block/nvme*/queue/scheduler", []),
        ("/sys/block/*", []),
        ("/sys/**/scheduler", []),
        ("/sys/block/s**/queue/***", [SCHEDULER, "/sys/block/sdb/queue/scheduler"]),
    ],
)
def test_find(host: Host, pattern: str, found: list[str]) -> None:
    host.write_all({SWAPPINESS: "60\n", SCHEDULER: "none\n", "/sys/devices/sdb/queue/scheduler": "none\n"})
    host.link("/sys/block/sdb", "../devices/sdb")  # a device's folder is a link, as in sysfs
    assert host.attributes.find(pattern) == found


def test_dangling_link_is_not_found(host: Host) -> None:
    host.link(SCHEDULER, "/nowhere")
    assert host.attributes.find(SCHEDULER) == []


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/proc/sys/vm/swapiness", "there is no /proc/sys/vm/swapiness (did you mean swappiness?)"),
        ("/proc/sys/kernl/panic", "there is no /proc/sys/kernl/panic (did you mean kernel?)"),
        ("/proc/sys/vm/zzz", "(a module that provides it may not be loaded)"),
        ("/proc/sys/vm", "/proc/sys/vm is a folder"),
        ("/proc/sys/vm/swappiness/below", "there is no /proc/sys/vm/swappiness/below"),
    ],
)
def test_explain_missing(host: Host, path: str, part: str) -> None:
    host.write_all({SWAPPINESS: "60\n", "/proc/sys/kernel/panic": "0\n"})
    assert part in host.attributes.explain_missing(path)


@pytest.mark.parametrize(
    ("path", "content", "value"),
    [
        (SWAPPINESS, "60\n", "60"),
        ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n", "4096 131072 6291456"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n", "madvise"),
        (SCHEDULER, "[none] mq-deadline\n", "none"),
        (SCHEDULER, "none\n", "none"),
        ("/proc/sys/kernel/core_pattern", "[x] %p\n", "[x] %p"),
        ("/sys/a/several", "one 1\ntwo 2\n", "one 1 two 2"),
        ("/sys/a/empty", "", ""),
        ("/sys/a/binary", b"\xff\x01\n", "\ufffd\x01"),
    ],
)
def test_read(host: Host, path: str, content: str | bytes, value: str) -> None:
    host.write(path, content)
    assert host.attributes.read(path) == value


def test_an_attribute_that_cannot_be_read_is_named(host: Host) -> None:
    host.path(SCHEDULER).mkdir(parents=True)
    with pytest.raises(SettingsError, match=f"{SCHEDULER} cannot be read, so its state cannot be kept: Is a dir"):
        host.attributes.read(SCHEDULER)


def test_a_write_only_attribute_needs_root_first(
    open_host: Host, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    open_host.write(SWAPPINESS, "60\n").chmod(0o200)
    message = as_nobody(lambda: open_host.attributes.read(SWAPPINESS))
    assert message == f"{SWAPPINESS} cannot be read, so its state cannot be kept: that needs root"


def test_missing_rights_are_told_before_a_write(
    open_host: Host, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    open_host.write(SWAPPINESS, "60\n").chmod(0o464)  # its owner, who may be running this, cannot write it either
    message = as_nobody(lambda: open_host.attributes.read_only_reason(SWAPPINESS))
    assert message == f"{SWAPPINESS} cannot be written: that needs root"


def test_writable_attribute_has_no_obstacle(host: Host) -> None:
    host.write(SWAPPINESS, "60\n")
    assert host.attributes.read_only_reason(SWAPPINESS) is None


def test_read_only_attribute_is_an_error(host: Host) -> None:
    host.write(SWAPPINESS, "60\n").chmod(0o444)
    with pytest.raises(SettingsError, match=f"{SWAPPINESS} is offered by the kernel for reading only"):
        host.attributes.read_only_reason(SWAPPINESS)


def test_read_only_mount_is_a_reason(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write(SWAPPINESS, "60\n").chmod(0o444)
    monkeypatch.setattr(os, "statvfs", lambda _file: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert host.attributes.read_only_reason(SWAPPINESS) == f"{SWAPPINESS} is on a read-only mount, as in a container"


def test_write_replaces_the_value(host: Host) -> None:
    file = host.write(SCHEDULER, "mq-deadline\n")
    host.attributes.write(SCHEDULER, "none")
    assert file.read_text() == "none\n"


def test_the_kernels_refusal_names_attribute_value_and_reason(host: Host) -> None:
    host.write(SWAPPINESS, "60\n")
    with full_disk(), pytest.raises(SettingsError, match=f"^{SWAPPINESS}: the kernel refuses '1': File too large"):
        host.attributes.write(SWAPPINESS, "1")


@pytest.mark.parametrize(
    ("path", "one", "other", "same"),
    [
        (SWAPPINESS, "10", "10", True),
        (SWAPPINESS, "10", "11", False),
        (SWAPPINESS, "0x10", "16", True),
        (SWAPPINESS, "-0X1f", "-31", True),
        (SWAPPINESS, "1 2  3", "1\t0x2\t3", True),
        (SWAPPINESS, "1 2", "12", False),
        (SWAPPINESS, "1_0", "10", False),
        (SWAPPINESS, "0b1", "1", False),
        (SWAPPINESS, "010", "10", False),
        (SWAPPINESS, "٣", "3", False),
        (SWAPPINESS, "+1", "1", False),
        (SWAPPINESS, "Y", "1", False),
        ("/sys/module/m/parameters/p", "1", "Y", True),
        ("/sys/module/m/parameters/p", "n", "N", True),
        ("/sys/module/m/parameters/p", "Y", "N", False),
        (SCHEDULER, "None", "none", False),
    ],
)
def test_same_value(path: str, one: str, other: str, *, same: bool) -> None:
    assert same_value(path, one, other) is same
