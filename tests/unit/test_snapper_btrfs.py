# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""snapper_config on a real btrfs, in a file: what a simulated one cannot show. Skipped where none can be mounted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import run as run_command
from ansible_collections.mlrig.workstation.plugins.module_utils._btrfs import is_subvolume
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, SettingsError, converge
from ansible_collections.mlrig.workstation.plugins.module_utils._snapper_config import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._snapper_request import parse_configs

from .conftest import Host
from .snapper_host import CONFIG, DEFAULTS, SNAPSHOTS, WANTED, install_snapper, mount

SWAP = "/swap"


def needed(*words: str | Path) -> None:
    """Runs what not every machine, user or container can."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no btrfs can be mounted here: {' '.join(map(str, words))}: {done.stderr.strip()}")


def btrfs(*words: str | Path) -> None:
    subprocess.run(["btrfs", "subvolume", *words], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Host]:
    """A host whose / is the subvolume @ of a small btrfs."""
    for program in ("mkfs.btrfs", "btrfs"):
        if shutil.which(program) is None:
            pytest.skip(f"no btrfs can be mounted here: there is no {program}")
    image, top = tmp_path / "btrfs.img", tmp_path / "top"
    with image.open("wb") as stream:
        stream.truncate(128 * 1024 * 1024)
    top.mkdir()
    needed("mkfs.btrfs", "--quiet", "--mixed", image)
    needed("mount", "-o", "loop", image, top)
    try:
        btrfs("create", top / "@")
        host = Host(top / "@")
        install_snapper(host)
        host.write("/proc/self/mountinfo", mount("/", "btrfs"))
        yield host
    finally:
        subprocess.run(["umount", top], check=True)


def run(*words: str) -> Output:
    """btrfs is asked in earnest; snapper and systemd would look at the machine's own root."""
    return run_command(*words) if words[0] == "btrfs" else Output(0)


def configure(host: Host, *, subvolume: str = "/") -> Settings:
    configs = parse_configs([{**WANTED[0], "subvolume": subvolume}])
    return converge(lambda: make_plan(configs, host.root, run), check_mode=False)


def test_a_subvolume_is_made_that_others_cannot_read(volume: Host) -> None:
    assert SNAPSHOTS in [each.id for each in configure(volume).differing]
    snapshots = volume.path(SNAPSHOTS)
    assert is_subvolume(snapshots)
    assert snapshots.stat().st_mode & 0o777 == 0o750
    btrfs("snapshot", "-r", volume.root, snapshots / "1")
    assert (snapshots / "1" / DEFAULTS.lstrip("/")).exists()
    assert not configure(volume).differing


def test_a_subvolume_that_is_there_is_taken(volume: Host) -> None:
    btrfs("create", volume.path(SNAPSHOTS))
    volume.write(f"{SNAPSHOTS}/1/info.xml", "mine")
    assert SNAPSHOTS not in [each.id for each in configure(volume).differing]
    assert volume.read(f"{SNAPSHOTS}/1/info.xml") == "mine"


def test_a_folder_is_no_subvolume(volume: Host) -> None:
    volume.path(SNAPSHOTS).mkdir()
    with pytest.raises(SettingsError, match="is in the way"):
        configure(volume)
    volume.path("/srv").mkdir()
    [record] = configure(volume, subvolume="/srv").records
    assert (record.reason or "").startswith("/srv is a folder within a subvolume of btrfs")


@pytest.mark.parametrize(("subvolume", "skipped"), [(SWAP, False), ("/unused", True)], ids=["own", "of /"])
def test_a_swap_file_may_be_in_a_subvolume_of_its_own(volume: Host, subvolume: str, *, skipped: bool) -> None:
    btrfs("create", volume.path(subvolume))
    volume.write(f"{SWAP}/file", "")
    volume.write("/proc/swaps", f"Filename Type Size Used Priority\n{SWAP}/file file 65532 0 -2\n")
    assert ([each.action for each in configure(volume).records] == ["skipped"]) is skipped


def fill(host: Host) -> None:
    with suppress(OSError), host.path("/full").open("wb", buffering=0) as stream:
        while True:
            stream.write(b"\xa5" * 1024 * 1024)
    for number in range(2000):
        try:
            host.write(f"/small/{number}", b"\xa5" * 512)
        except OSError:
            return


@pytest.mark.parametrize("configured", [False, True], ids=["new", "configured"])
def test_full_disk_loses_nothing(volume: Host, *, configured: bool) -> None:
    if configured:
        configure(volume)
        volume.path(CONFIG).write_text("ALLOW_USERS=ada\n")
    fill(volume)
    before = {name: volume.read(name) for name in (DEFAULTS, CONFIG) if volume.path(name).exists()}
    with pytest.raises(SettingsError, match="No space left on device"):
        configure(volume)
    assert {name: volume.read(name) for name in before} == before
    volume.path("/full").unlink()
    configure(volume)
    assert not configure(volume).differing
