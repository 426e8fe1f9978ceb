# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owned files are replaced whole, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._files import (
    read_if_there,
    refuse_if_unwritable,
    replace,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

from .conftest import Host, full_disk

NAME = "/etc/sysctl.d/99-mlrig.conf"
DRAFT = "/etc/sysctl.d/.99-mlrig.conf.mlrig"


def test_missing_file_reads_as_none(host: Host) -> None:
    assert read_if_there(host.path(NAME)) is None


def test_dangling_link_reads_as_none(host: Host) -> None:
    assert read_if_there(host.link(NAME, "/nowhere/at/all")) is None


@pytest.mark.parametrize("made", ["folder", "below a file"])
def test_what_cannot_be_read_is_named(host: Host, made: str) -> None:
    if made == "folder":
        host.path(NAME).mkdir(parents=True)
    else:
        host.write("/etc/sysctl.d", "not a folder")
    with pytest.raises(SettingsError, match=r"cannot read .*99-mlrig.conf: .* directory"):
        read_if_there(host.path(NAME))


@pytest.mark.parametrize("content", [b"plain\n", b"", b"latin-1: \xe9\n", "utf-8: é\n".encode()])
def test_text_survives_being_read_and_written(host: Host, content: bytes) -> None:
    file = host.write(NAME, content)
    text = read_if_there(file)
    replace(file, None)
    replace(file, text)
    assert file.read_bytes() == content


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000], ids=["022", "077", "000"])
def test_file_can_be_read_by_all_whatever_the_umask(host: Host, mask: int) -> None:
    before = os.umask(mask)
    try:
        replace(host.path(NAME), "text\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(host.path(NAME).stat().st_mode) == 0o644


def test_replacing_leaves_only_the_file(host: Host) -> None:
    host.write(NAME, "old\n")
    replace(host.path(NAME), "new\n")
    assert [file.name for file in host.path("/etc/sysctl.d").iterdir()] == ["99-mlrig.conf"]
    assert host.read(NAME) == "new\n"


def test_draft_of_a_killed_run_is_overwritten(host: Host) -> None:
    host.write(DRAFT, "half of something much longer than the text\n")
    replace(host.path(NAME), "new\n")
    assert host.read(NAME) == "new\n"
    assert not host.path(DRAFT).exists()


def test_old_text_survives_a_write_that_fails(host: Host) -> None:
    host.write(NAME, "old\n")
    host.path(DRAFT).mkdir()  # the draft cannot be opened
    with pytest.raises(SettingsError, match=r"cannot write .*99-mlrig.conf: Is a directory"):
        replace(host.path(NAME), "new\n")
    assert host.read(NAME) == "old\n"


def test_old_text_survives_a_full_disk_and_no_draft_is_left(host: Host) -> None:
    host.write(NAME, "old\n")
    with full_disk(), pytest.raises(SettingsError, match=r"cannot write .*99-mlrig.conf: File too large"):
        replace(host.path(NAME), "new\n")
    assert host.texts() == {str(host.path(NAME)): b"old\n"}


def test_link_to_dev_null_is_replaced_by_a_file(host: Host) -> None:
    file = host.link(NAME, "/dev/null")
    replace(file, "new\n")
    assert not file.is_symlink()
    assert host.read(NAME) == "new\n"


def test_link_to_a_file_is_replaced_and_its_target_kept(host: Host) -> None:
    target = host.write("/etc/sysctl.conf", "theirs\n")
    replace(host.link(NAME, str(target)), "new\n")
    assert (host.read(NAME), host.read("/etc/sysctl.conf")) == ("new\n", "theirs\n")


def test_none_removes(host: Host) -> None:
    host.write(NAME, "old\n")
    replace(host.path(NAME), None)
    assert not host.path(NAME).exists()
    replace(host.path(NAME), None)


def test_none_makes_no_folder(host: Host) -> None:
    replace(host.path(NAME), None)
    assert not host.path("/etc").exists()


def test_missing_folders_are_made(host: Host) -> None:
    refuse_if_unwritable(host.path(NAME))
    replace(host.path(NAME), "new\n")
    assert host.read(NAME) == "new\n"


def test_missing_rights_are_told_before_anything_changes(
    open_host: Host, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    open_host.write(NAME, "old\n")
    open_host.path("/etc/sysctl.d").chmod(0o555)
    message = as_nobody(lambda: refuse_if_unwritable(open_host.path(NAME)))
    assert message == f"cannot write {open_host.path(NAME)}: that needs root"
