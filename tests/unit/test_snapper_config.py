# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""snapper_config, run by run: what is reported, what is mended, and what is left when something fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import RequestError, SettingsError
from ansible_collections.mlrig.workstation.plugins.module_utils._snapper_config import PROGRAM

from .conftest import Host, full_disk
from .snapper_host import CONFIG, DEFAULTS, HOOK, SETTINGS, SNAPSHOTS, WANTED, Act, SnapperHost, by_id, mount

CONFIG_AS_WANTED = """\
# subvolume to snapshot
SUBVOLUME="/"

FSTYPE="btrfs"
QGROUP=""

# limit for number cleanup
NUMBER_LIMIT="4-20"
TIMELINE_CREATE="no"
FREE_LIMIT="0.1"
"""


SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class KilledError(BaseException):
    """The process ends, whatever it was about."""


@pytest.fixture
def machine(host: Host, monkeypatch: pytest.MonkeyPatch) -> SnapperHost:
    return SnapperHost(host, monkeypatch)


@pytest.fixture
def converged(machine: SnapperHost) -> SnapperHost:
    machine.converge()
    machine.calls.clear()
    return machine


def test_first_run_reports_what_it_does(machine: SnapperHost) -> None:
    before = machine.host.texts()
    checked = machine.converge(check_mode=True)
    assert machine.host.texts() == before
    assert machine.calls == []
    done = machine.converge()
    assert done.as_result() == checked.as_result()
    assert [(each.id, each.expected, each.actual, each.action) for each in done.records] == [
        ("snapper", "installed", "installed", "none"),
        (SNAPSHOTS, "subvolume", None, "changed"),
        ("root/SUBVOLUME", "/", None, "changed"),
        ("root/FSTYPE", "btrfs", None, "changed"),
        ("root/NUMBER_LIMIT", "4-20", None, "changed"),
        ("root/FREE_LIMIT", "0.1", None, "changed"),
        ("root/TIMELINE_CREATE", "no", None, "changed"),
        ("SNAPPER_CONFIGS", "root", "", "changed"),
        ("DISABLE_APT_SNAPSHOT", "no", "no", "none"),
    ]
    assert {each.plane for each in done.records} == {"persisted"}
    assert machine.host.read(CONFIG) == CONFIG_AS_WANTED
    assert machine.calls == [
        ("btrfs", "subvolume", "create", str(machine.host.path(SNAPSHOTS))),
        ("systemctl", "try-restart", "snapperd.service"),
        ("snapper", "--config=root", "list", "--disable-used-space"),
    ]


def test_second_run_changes_nothing(converged: SnapperHost) -> None:
    before = converged.host.texts()
    settings = converged.converge()
    assert {each.action for each in settings.records} == {"none"}
    assert converged.calls == []
    assert converged.host.texts() == before


def test_a_new_config_comes_from_the_administrators_template_where_there_is_one(machine: SnapperHost) -> None:
    machine.host.write("/etc/snapper/config-templates/default", 'ALLOW_GROUPS="sudo" # ours\n')
    machine.converge()
    lines = machine.host.read(CONFIG).splitlines()
    assert lines[:3] == ['ALLOW_GROUPS="sudo" # ours', 'SUBVOLUME="/"', 'FSTYPE="btrfs"']


def replace(machine: SnapperHost, name: str, old: str, new: str) -> None:
    text = machine.host.read(name)
    assert old in text
    machine.host.write(name, text.replace(old, new))


# What is done to a converged host, and what then differs: id, and what was found.
DRIFTS: dict[str, tuple[Act, list[tuple[str, str | None]]]] = {
    "value": (lambda machine: replace(machine, CONFIG, '"4-20"', '"50"'), [("root/NUMBER_LIMIT", "50")]),
    "without quotes": (lambda machine: replace(machine, CONFIG, '"4-20"', "50"), [("root/NUMBER_LIMIT", "50")]),
    "key commented out": (lambda machine: replace(machine, CONFIG, "NUMBER", "#NUMBER"), [("root/NUMBER_LIMIT", None)]),
    "key twice": (
        lambda machine: machine.host.write(CONFIG, f'{CONFIG_AS_WANTED}NUMBER_LIMIT="9"\n'),
        [("root/NUMBER_LIMIT", "4-20 and also 9")],
    ),
    "config deleted": (lambda machine: machine.host.path(CONFIG).unlink(), [
        ("root/SUBVOLUME", None), ("root/FSTYPE", None), ("root/NUMBER_LIMIT", None), ("root/FREE_LIMIT", None),
        ("root/TIMELINE_CREATE", None),
    ]),
    "not in the list": (
        lambda machine: replace(machine, DEFAULTS, '"root"', '"home"'), [("SNAPPER_CONFIGS", "home")],
    ),
    "apt's hook switched off": (
        lambda machine: replace(machine, DEFAULTS, 'SNAPSHOT="no"', "SNAPSHOT='yes'"),
        [("DISABLE_APT_SNAPSHOT", "yes")],
    ),
    "emptied by snapper on a full disk": (lambda machine: machine.host.write(DEFAULTS, ""), [
        ("SNAPPER_CONFIGS", None), ("DISABLE_APT_SNAPSHOT", None),
    ]),
    "defaults deleted": (lambda machine: machine.host.path(DEFAULTS).unlink(), [
        ("SNAPPER_CONFIGS", None), ("DISABLE_APT_SNAPSHOT", None),
    ]),
    "snapshots gone": (lambda machine: machine.host.path(SNAPSHOTS).rmdir(), [(SNAPSHOTS, None)]),
}  # fmt: skip


@pytest.mark.parametrize(("act", "differs"), DRIFTS.values(), ids=DRIFTS)
def test_drift_is_mended(converged: SnapperHost, act: Act, differs: list[tuple[str, str | None]]) -> None:
    act(converged)
    assert converged.differing(check_mode=True) == differs
    assert converged.differing() == differs
    assert converged.differing() == []


def test_every_other_byte_stays_and_the_first_text_is_kept(machine: SnapperHost) -> None:
    text = '#\tmine\r\n\nNUMBER_LIMIT=7 # few\n NUMBER_MIN_AGE="1"\n\nSUBVOLUME="/"\nNUMBER_LIMIT=\'8\'\nlast'
    machine.host.write(CONFIG, text).chmod(0o640)
    machine.converge()
    wanted = text.replace("NUMBER_LIMIT=7 #", 'NUMBER_LIMIT="4-20" #').replace("='8'", '="4-20"')
    added = '\nFSTYPE="btrfs"\nFREE_LIMIT="0.1"\nTIMELINE_CREATE="no"\n'
    assert machine.host.path(CONFIG).read_bytes().decode() == wanted + added
    assert machine.host.path(CONFIG).stat().st_mode & 0o777 == 0o640
    machine.converge([{**WANTED[0], "settings": {"NUMBER_LIMIT": 3}}])
    assert machine.host.path(f"{CONFIG}.mlrig.save").read_bytes().decode() == text


def test_null_and_what_is_not_named_are_left_alone(converged: SnapperHost) -> None:
    replace(converged, CONFIG, '"4-20"', '"50"')
    assert converged.differing([{**WANTED[0], "settings": {"NUMBER_LIMIT": None}}]) == []
    assert converged.differing([{"name": "root", "subvolume": "/"}]) == []


def test_configs_of_others_stay_in_the_list(machine: SnapperHost) -> None:
    replace(machine, DEFAULTS, '""', '"home data"')
    machine.host.write("/etc/snapper/configs/home", 'SUBVOLUME="/home"\n')
    machine.converge()
    assert 'SNAPPER_CONFIGS="home data root"\n' in machine.host.read(DEFAULTS)
    assert machine.host.read("/etc/snapper/configs/home") == 'SUBVOLUME="/home"\n'


def test_several_configs(machine: SnapperHost) -> None:
    machine.make_subvolume("/home")
    configs = [*WANTED, {"name": "home", "subvolume": "/home"}]
    machine.converge(configs)
    assert machine.differing(configs) == []
    assert 'SNAPPER_CONFIGS="root home"\n' in machine.host.read(DEFAULTS)
    assert machine.host.path("/home/.snapshots").is_dir()
    assert 'SUBVOLUME="/home"\n' in machine.host.read("/etc/snapper/configs/home")


def test_apt_can_be_told_to_take_none(converged: SnapperHost) -> None:
    assert converged.differing(apt=False) == [("DISABLE_APT_SNAPSHOT", "no")]
    assert 'DISABLE_APT_SNAPSHOT="yes"\n' in converged.host.read(DEFAULTS)


def test_without_apts_hook_it_is_told_what_to_do(converged: SnapperHost) -> None:
    converged.host.path(HOOK).unlink()
    [failed] = converged.converge().failed
    assert (failed.id, failed.actual) == (HOOK, None)
    assert "apt-get install --reinstall --option=DPkg::Options::=--force-confmiss snapper" in (failed.reason or "")
    assert not converged.converge(apt=False).failed


def no_snapper(machine: SnapperHost) -> None:
    for name in (PROGRAM, HOOK, DEFAULTS, "/usr/share/snapper/config-templates/default"):
        machine.host.path(name).unlink()


def test_before_snapper_is_installed(machine: SnapperHost) -> None:
    no_snapper(machine)
    assert machine.differing(check_mode=True)[0] == ("snapper", None)
    before = machine.host.texts()
    with pytest.raises(SettingsError, match=f"there is no {PROGRAM}: install the package snapper first"):
        machine.converge()
    assert machine.host.texts() == before
    assert machine.calls == []


def test_after_snapper_was_removed(converged: SnapperHost) -> None:
    converged.host.path(PROGRAM).unlink()
    assert converged.differing(check_mode=True) == [("snapper", None)]


def in_container(machine: SnapperHost) -> None:
    machine.host.write("/run/systemd/container", "docker\n")


def swap_on(machine: SnapperHost) -> None:
    machine.host.write("/my swap", "")
    machine.host.write("/proc/swaps", f"{SWAPS}/my\\040swap\tfile\t\t65532\t\t0\t\t-2\n")


NO_SNAPSHOT = (
    "and btrfs takes no snapshot of a subvolume with an active swap file: swap it off, and make one in a subvolume of "
    "its own"
)
BTRFS_IS_CHOSEN = "and snapshots take btrfs, which is chosen when the system is installed"
SKIPPED: dict[str, tuple[Act, str]] = {
    "ext4": (
        lambda machine: machine.host.write("/proc/self/mountinfo", mount("/", "ext4") + mount("/home", "btrfs")),
        f"/ is on ext4, {BTRFS_IS_CHOSEN}",
    ),
    "mounted over": (
        lambda machine: machine.host.write("/proc/self/mountinfo", mount("/", "btrfs") + mount("/", "overlay")),
        f"/ is on overlay, {BTRFS_IS_CHOSEN}",
    ),
    "unknown": (
        lambda machine: machine.host.path("/proc/self/mountinfo").unlink(),
        f"/ is on an unknown file system, {BTRFS_IS_CHOSEN}",
    ),
    "container": (in_container, "this is a container (docker): snapshots of it are taken on its machine"),
    "swap file": (
        swap_on,
        f"/my swap is in use, {NO_SNAPSHOT}",
    ),
    "folder": (
        lambda machine: machine.subvolumes.clear(),
        "/ is a folder within a subvolume of btrfs, and snapshots are taken of whole subvolumes",
    ),
}


@pytest.mark.parametrize(("act", "reason"), SKIPPED.values(), ids=SKIPPED)
def test_a_host_without_btrfs_is_skipped(machine: SnapperHost, act: Act, reason: str) -> None:
    no_snapper(machine)
    act(machine)
    before = machine.host.texts()
    [record] = machine.converge().records
    assert (record.id, record.action, record.expected, record.reason) == ("root", "skipped", "/", reason)
    assert machine.host.texts() == before


@pytest.mark.parametrize("swap", ["/dev/zram0 partition 1 0 100", r"/gone\040(deleted) file 1 0 -2"])
def test_other_swap_is_in_nobodys_way(machine: SnapperHost, swap: str) -> None:
    machine.host.write_all({"/proc/swaps": f"{SWAPS}{swap}\n", "/dev/zram0": ""})
    machine.converge()
    assert machine.differing() == []


@pytest.mark.parametrize(
    ("path", "file_system"),
    [("/", "btrfs"), ("/home", "xfs"), ("/home/ada", "xfs"), ("/homes", "btrfs"), ("/my data", "ext4")],
)
def test_the_innermost_mount_counts(machine: SnapperHost, path: str, file_system: str) -> None:
    table = mount("/", "btrfs") + mount("/home", "xfs") + mount(r"/my\040data", "ext4")
    machine.host.write("/proc/self/mountinfo", table)
    machine.make_subvolume(path if path != "/" else "/unused")
    records = by_id(machine.converge([{"name": "it", "subvolume": path}]))
    if file_system == "btrfs":
        assert records["it/FSTYPE"].action == "changed"
    else:
        assert (records["it"].reason or "").startswith(f"{path} is on {file_system}, ")


def in_the_way(kind: str, machine: SnapperHost) -> None:
    match kind:
        case "folder":
            machine.host.path(SNAPSHOTS).mkdir()
        case "file":
            machine.host.write(SNAPSHOTS, "mine")
        case "link":
            machine.host.link(SNAPSHOTS, "/nowhere")


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_in_the_way_is_refused_before_any_change(machine: SnapperHost, kind: str, *, check_mode: bool) -> None:
    in_the_way(kind, machine)
    before = machine.host.texts()
    with pytest.raises(SettingsError, match=f"{SNAPSHOTS} is in the way, because snapper needs a subvolume of that"):
        machine.converge(check_mode=check_mode)
    assert machine.host.texts() == before
    assert machine.calls == []


@pytest.mark.parametrize(
    ("name", "subvolume", "message"),
    [
        ("root", "/srv", f"configs[0].subvolume must be /srv, which {CONFIG} has; got: '/'"),
        ("system", "/", "configs[0].name must be system, whose /etc/snapper/configs/system is for / already"),
    ],
)
def test_what_another_configuration_covers_is_refused(
    machine: SnapperHost, name: str, subvolume: str, message: str
) -> None:
    machine.host.write(f"/etc/snapper/configs/{name}", f'SUBVOLUME="{subvolume}"\n')
    replace(machine, DEFAULTS, '""', f'"{name}"')
    before = machine.host.texts()
    with pytest.raises(RequestError) as refusal:
        machine.converge()
    assert str(refusal.value).startswith(message)
    assert machine.host.texts() == before


@pytest.mark.parametrize(
    ("command", "said", "message"),
    [
        (
            "btrfs",
            "ERROR: cannot create subvolume: No space left on device",
            f"cannot make the subvolume {SNAPSHOTS}: E",
        ),
        ("snapper", "Failure (org.freedesktop.DBus.Error.NoServer).", "snapper cannot use its configuration root: F"),
    ],
)
def test_a_command_that_fails_is_told_and_tried_again(
    machine: SnapperHost, command: str, said: str, message: str
) -> None:
    machine.outputs[command] = Output(1, "", f"{said}\n")
    with pytest.raises(SettingsError) as failure:
        machine.converge()
    assert str(failure.value).startswith(message)
    assert said in str(failure.value)
    machine.outputs.clear()
    machine.converge()
    assert machine.differing() == []


def test_a_daemon_that_does_not_run_is_no_failure(machine: SnapperHost) -> None:
    machine.outputs["systemctl"] = Output(1, "", "System has not been booted with systemd")
    assert not machine.converge().failed


@pytest.mark.parametrize("moment", ["subvolume", "write", "flush to disk", "rename", "daemon"])
def test_killed_at_any_moment_the_next_run_converges(
    machine: SnapperHost, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = machine.host.read(DEFAULTS)

    def die(*_arguments: object, **_options: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        match moment:
            case "subvolume":
                patch.setattr(machine, "run", die)
            case "write":
                patch.setattr(os, "fchmod", die)
            case "flush to disk":
                patch.setattr(os, "fsync", die)
            case "rename":
                patch.setattr(Path, "replace", die)
            case "daemon":
                ran = machine.run
                patch.setattr(machine, "run", lambda *words: die() if words[0] == "systemctl" else ran(*words))
        with pytest.raises(KilledError):
            machine.converge()
    if moment != "daemon":
        assert machine.host.read(DEFAULTS) == defaults, "what is not whole is not in the list"
    machine.converge()
    assert machine.host.read(CONFIG) == CONFIG_AS_WANTED
    assert machine.differing() == []


def test_full_disk_loses_nothing(converged: SnapperHost) -> None:
    before = converged.host.texts()
    with full_disk(), pytest.raises(SettingsError, match=f"cannot write .*{CONFIG}"):
        converged.converge([{**WANTED[0], "settings": {**SETTINGS, "NUMBER_LIMIT": 5}}])
    after = converged.host.texts()
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("closed", [CONFIG, DEFAULTS, SNAPSHOTS])
def test_a_read_only_file_system_is_named_before_any_change(
    machine: SnapperHost, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    before = machine.host.texts()
    folder = next(each for each in machine.host.path(closed).parents if each.is_dir())
    monkeypatch.setattr(os, "access", lambda path, _mode: path != folder)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SettingsError, match="its file system is read-only"):
        machine.converge()
    assert machine.host.texts() == before
    assert machine.calls == []
