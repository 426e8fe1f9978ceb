# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kernel_tunables, run by run, on a host made of files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_attributes import KernelAttributes
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_tunables import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    RequestError,
    Settings,
    SettingsError,
    converge,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._tunable_files import (
    SYSCTL_FILE,
    TMPFILES_FILE,
    _precedence,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._tunable_request import parse_tunables

from .conftest import Host

SWAPPINESS = "/proc/sys/vm/swappiness"
MAPS = "/proc/sys/vm/max_map_count"
HUGEPAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
CONF = "/proc/sys/net/ipv4/conf"
WANTED: list[dict[str, Any]] = [
    {"name": "vm.swappiness", "value": 10},
    {"name": "vm.max_map_count", "value": 1048576},
    {"name": HUGEPAGES, "value": "always"},
]


@dataclass(frozen=True)
class Kernel(KernelAttributes):
    """The files of a host as a kernel: choices show all words; some attributes answer in their own way.

    answers: what an attribute becomes when it is written, or the error. read_only: paths on a read-only mount.
    """

    answers: Callable[[str, str], str | OSError] | None = None
    read_only: tuple[str, ...] = ()

    def read_only_reason(self, path: str) -> str | None:
        if path in self.read_only:
            return f"{path} is on a read-only mount, as in a container"
        return super().read_only_reason(path)

    def write(self, path: str, value: str) -> None:
        answer = self.answers(path, value) if self.answers else value
        if isinstance(answer, OSError):
            raise SettingsError(f"{path}: the kernel refuses {value!r}: {answer.strerror}") from answer
        super().write(path, answer)


@pytest.fixture
def rig(host: Host) -> Host:
    """A host as it was installed, with some files of others."""
    host.write_all(
        {
            SWAPPINESS: "60\n",
            MAPS: "65530\n",
            HUGEPAGES: "always [madvise] never\n",
            **{f"{CONF}/{name}/arp_notify": "0\n" for name in ("all", "lo", "eth0.7")},
            **{f"/sys/block/{name}/queue/scheduler": "[mq-deadline] none\n" for name in ("sda", "sdb")},
            "/etc/sysctl.d/10-theirs.conf": "# theirs\nvm.swappiness = 60\nkernel.panic = 1\n",
            "/etc/tmpfiles.d/theirs.conf": "d /run/theirs\n",
        }
    )
    return host


def run(
    rig: Host,
    tunables: list[dict[str, Any]],
    *,
    check_mode: bool = False,
    kernel: Kernel | None = None,
    purge: bool = False,
) -> Settings:
    kernel = kernel or Kernel(rig.root)
    return converge(lambda: make_plan(parse_tunables(tunables), kernel, purge=purge), check_mode=check_mode)


def actions(settings: Settings) -> dict[tuple[str, str], str]:
    return {(record.id, record.plane): record.action for record in settings.records}


def changed(settings: Settings) -> list[tuple[str, str, str | None, str | None]]:
    return [(record.id, record.plane, record.actual, record.expected) for record in settings.differing]


def lines(rig: Host, file: str) -> list[str]:
    header, *rest = rig.read(file).splitlines()
    assert header.startswith("# Managed by mlrig.workstation")
    return rest


def test_first_run_sets_everything_and_says_what_was_there(rig: Host) -> None:
    assert changed(run(rig, WANTED)) == [
        ("vm.swappiness", "persisted", None, "10"),
        ("vm.max_map_count", "persisted", None, "1048576"),
        (HUGEPAGES, "persisted", None, "always"),
        ("vm.swappiness", "live", "60", "10"),
        ("vm.max_map_count", "live", "65530", "1048576"),
        (HUGEPAGES, "live", "madvise", "always"),
    ]
    assert lines(rig, SYSCTL_FILE) == ["vm.max_map_count = 1048576", "vm.swappiness = 10"]
    assert lines(rig, TMPFILES_FILE) == [f"w {HUGEPAGES} - - - - always"]
    assert (rig.read(SWAPPINESS), rig.read(MAPS), rig.read(HUGEPAGES)) == ("10\n", "1048576\n", "always\n")


def test_second_run_changes_nothing(rig: Host) -> None:
    run(rig, WANTED)
    before = rig.texts()
    settings = run(rig, list(reversed(WANTED)))
    assert set(actions(settings).values()) == {"none"}
    assert settings.as_result()["diff"] == {"before": "", "after": ""}
    assert rig.texts() == before


def _edit(rig: Host, file: str, old: str, new: str) -> None:
    text = rig.read(file)
    assert old in text
    rig.write(file, text.replace(old, new))


DRIFTS: dict[str, tuple[Callable[[Host], object], list[tuple[str, str]]]] = {
    "bare host": (lambda rig: [rig.path(file).unlink() for file in (SYSCTL_FILE, TMPFILES_FILE)], [
        ("vm.swappiness", "persisted"), ("vm.max_map_count", "persisted"), (HUGEPAGES, "persisted"),
    ]),
    "value edited": (lambda rig: _edit(rig, SYSCTL_FILE, "= 10\n", "= 60\n"), [("vm.swappiness", "persisted")]),
    "line removed": (lambda rig: _edit(rig, SYSCTL_FILE, "vm.swappiness = 10\n", ""), [("vm.swappiness", "persisted")]),
    "line commented": (lambda rig: _edit(rig, SYSCTL_FILE, "vm.sw", "#vm.sw"), [("vm.swappiness", "persisted")]),
    "sysfs value edited": (lambda rig: _edit(rig, TMPFILES_FILE, "always", "never"), [(HUGEPAGES, "persisted")]),
    "comment edited": (lambda rig: _edit(rig, SYSCTL_FILE, "Managed", "Mangled"), [(SYSCTL_FILE, "persisted")]),
    "comment added": (lambda rig: _edit(rig, SYSCTL_FILE, "vm.sw", "# x\nvm.sw"), [(SYSCTL_FILE, "persisted")]),
    "line repeated": (
        lambda rig: _edit(rig, SYSCTL_FILE, "vm.sw", "vm.swappiness = 1\nvm.sw"), [(SYSCTL_FILE, "persisted")],
    ),
    "line repeated below": (
        lambda rig: _edit(rig, SYSCTL_FILE, "= 10\n", "= 10\nvm/swappiness=1\n"), [("vm.swappiness", "persisted")],
    ),
    "sysfs line repeated below": (
        lambda rig: rig.write(TMPFILES_FILE, f"{rig.read(TMPFILES_FILE)}w {HUGEPAGES} - - - - never\n"),
        [(TMPFILES_FILE, "persisted")],
    ),
    "key excluded": (
        lambda rig: _edit(rig, SYSCTL_FILE, "= 10\n", "= 10\n-vm.swappiness\n"), [("vm.swappiness", "persisted")],
    ),
    "other spacing": (lambda rig: _edit(rig, SYSCTL_FILE, " = ", "="), [(SYSCTL_FILE, "persisted")]),
    "not UTF-8": (lambda rig: rig.write(SYSCTL_FILE, b"vm.swappiness = \xff\nvm.max_map_count=1048576\n"), [
        ("vm.swappiness", "persisted"),
    ]),
    "file emptied": (lambda rig: rig.write(TMPFILES_FILE, ""), [(HUGEPAGES, "persisted")]),
    "file masked": (lambda rig: rig.link(TMPFILES_FILE, "/dev/null"), [(HUGEPAGES, "persisted")]),
    "file is a dangling link": (lambda rig: rig.link(TMPFILES_FILE, "/nowhere"), [(HUGEPAGES, "persisted")]),
    "live": (lambda rig: rig.write(MAPS, "1\n"), [("vm.max_map_count", "live")]),
    "live choice": (lambda rig: rig.write(HUGEPAGES, "always madvise [never]\n"), [(HUGEPAGES, "live")]),
}  # fmt: skip


@pytest.mark.parametrize("purge", [False, True], ids=["keep", "purge"])
@pytest.mark.parametrize(("drift", "found"), DRIFTS.values(), ids=DRIFTS)
def test_drift_is_found_exactly_and_mended(
    rig: Host, drift: Callable[[Host], object], found: list[tuple[str, str]], *, purge: bool
) -> None:
    run(rig, WANTED, purge=purge)
    good = {name: " ".join(text.split(b"[")[0].decode().split()) for name, text in rig.texts().items()}
    drift(rig)
    checked = run(rig, WANTED, purge=purge, check_mode=True)
    assert [(record.id, record.plane) for record in checked.differing] == found
    assert run(rig, WANTED, purge=purge).as_result() == checked.as_result()
    assert not run(rig, WANTED, purge=purge).differing
    assert {name: " ".join(text.split(b"[")[0].decode().split()) for name, text in rig.texts().items()} == good


@pytest.mark.parametrize(("drift", "_found"), DRIFTS.values(), ids=DRIFTS)
def test_check_mode_changes_nothing(rig: Host, drift: Callable[[Host], object], _found: object) -> None:
    run(rig, WANTED)
    drift(rig)
    before = rig.texts()
    run(rig, WANTED, check_mode=True)
    assert rig.texts() == before


def test_without_purge_an_added_line_is_kept(rig: Host) -> None:
    run(rig, WANTED)
    _edit(rig, SYSCTL_FILE, "vm.max", "kernel.panic = 5\nvm.max")
    assert not run(rig, WANTED).differing
    run(rig, [*WANTED, {"name": "net.ipv4.conf.all.arp_notify", "value": 1}])
    assert lines(rig, SYSCTL_FILE) == [
        "kernel.panic = 5",
        "net.ipv4.conf.all.arp_notify = 1",
        "vm.max_map_count = 1048576",
        "vm.swappiness = 10",
    ]


def test_of_repeated_lines_the_one_that_counts_is_kept(rig: Host) -> None:
    rig.write(SYSCTL_FILE, "kernel.panic = 1\nkernel/panic = 2\n")
    rig.write(TMPFILES_FILE, "w /sys/a - - - - 1\nw /sys/a - - - - 2\n")
    run(rig, WANTED)
    assert "kernel.panic = 2" in lines(rig, SYSCTL_FILE)
    assert "w /sys/a - - - - 1" in lines(rig, TMPFILES_FILE)


def test_with_purge_an_added_line_is_removed(rig: Host) -> None:
    run(rig, WANTED)
    _edit(rig, SYSCTL_FILE, "vm.max", "kernel.panic = 5\nvm.max")
    assert changed(run(rig, WANTED, purge=True)) == [("kernel.panic", "persisted", "5", None)]
    assert lines(rig, SYSCTL_FILE) == ["vm.max_map_count = 1048576", "vm.swappiness = 10"]


def test_purge_of_everything_removes_the_files(rig: Host) -> None:
    before = rig.texts()
    run(rig, WANTED)
    run(rig, [], purge=True)
    assert rig.texts().keys() == before.keys()
    assert not run(rig, [], purge=True).records


def test_absent_removes_what_was_persisted_and_leaves_the_kernel(rig: Host) -> None:
    run(rig, WANTED)
    absent = [{"name": "vm/swappiness", "state": "absent"}]
    assert changed(run(rig, absent)) == [("vm.swappiness", "persisted", "10", None)]
    assert lines(rig, SYSCTL_FILE) == ["vm.max_map_count = 1048576"]
    assert rig.read(SWAPPINESS) == "10\n"
    assert actions(run(rig, absent)) == {("vm.swappiness", "persisted"): "none"}


def test_absent_needs_no_such_key(rig: Host) -> None:
    assert actions(run(rig, [{"name": "gone.key", "state": "absent"}])) == {("gone.key", "persisted"): "none"}
    assert not rig.path(SYSCTL_FILE).exists()


def test_files_of_others_are_never_touched(rig: Host) -> None:
    before = rig.texts()
    run(rig, WANTED, purge=True)
    after = rig.texts()
    assert {name: after[name] for name in before if "/etc/" in name} == {
        name: text for name, text in before.items() if "/etc/" in name
    }


@pytest.mark.parametrize(
    ("name", "matching", "missing"),
    [
        ("/sys/block/nvme*/queue/scheduler", [], True),
        ("/sys/block/*a/queue/scheduler", ["sda"], False),
        ("/sys/block/sd?/queue/scheduler", ["sda", "sdb"], False),
    ],
    ids=["none", "one", "many"],
)
def test_globs(rig: Host, name: str, matching: list[str], *, missing: bool) -> None:
    wanted = [{"name": name, "value": "none"}]
    run(rig, wanted)
    assert lines(rig, TMPFILES_FILE) == [f"w {name} - - - - none"]
    for device in ("sda", "sdb"):
        scheduler = rig.read(f"/sys/block/{device}/queue/scheduler")
        assert scheduler == ("none\n" if device in matching else "[mq-deadline] none\n")
    settings = run(rig, wanted)
    assert not settings.differing
    assert ((name, "live") in actions(settings)) is missing


def test_precedence_puts_the_more_particular_name_last() -> None:
    names = ["/sys/b", "/sys/a", "/sys/[ab]", "/sys/*"]
    assert sorted(names, key=_precedence) == ["/sys/*", "/sys/[ab]", "/sys/a", "/sys/b"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize(
    ("names", "values"),
    [
        (
            ["net.ipv4.conf.*.arp_notify", "net.ipv4.conf.[el]*.arp_notify", "net/ipv4/conf/eth0.7/arp_notify"],
            {f"{CONF}/all/arp_notify": "1\n", f"{CONF}/lo/arp_notify": "2\n", f"{CONF}/eth0.7/arp_notify": "3\n"},
        ),
        (
            ["/sys/block/s*/queue/scheduler", "/sys/block/[a-z]*/queue/scheduler", "/sys/block/sda/queue/scheduler"],
            {"/sys/block/sda/queue/scheduler": "3\n", "/sys/block/sdb/queue/scheduler": "2\n"},
        ),
    ],
    ids=["sysctl", "sysfs"],
)
def test_of_several_names_the_most_particular_wins(
    rig: Host, order: tuple[int, ...], names: list[str], values: dict[str, str]
) -> None:
    wanted = [{"name": names[index], "value": index + 1} for index in order]
    settings = run(rig, wanted)
    assert settings.warnings == []
    assert {path: rig.read(path) for path in values} == values
    assert not run(rig, wanted).differing


def test_two_tasks_with_overlapping_names_do_not_fight(rig: Host) -> None:
    one = [{"name": "net.ipv4.conf.*.arp_notify", "value": 1}]
    other = [{"name": "net.ipv4.conf.lo.arp_notify", "value": 2}]
    for wanted in (one, other):
        run(rig, wanted)
    assert not run(rig, one).differing
    assert not run(rig, other).differing
    assert rig.read(f"{CONF}/lo/arp_notify") == "2\n"


def test_what_overrides_a_name_that_does_not_decide_is_not_told(rig: Host) -> None:
    rig.write("/etc/sysctl.d/99-zz.conf", "net.ipv4.conf.lo.arp_notify = 2")
    wanted = [{"name": "net.ipv4.conf.*.arp_notify", "value": 1}, {"name": "net.ipv4.conf.l*.arp_notify", "value": 2}]
    assert run(rig, wanted).warnings == []


def test_interface_with_a_dot(rig: Host) -> None:
    run(rig, [{"name": "net.ipv4.conf.eth0/7.arp_notify", "value": 1}])
    assert lines(rig, SYSCTL_FILE) == ["net/ipv4/conf/eth0.7/arp_notify = 1"]
    assert rig.read(f"{CONF}/eth0.7/arp_notify") == "1\n"
    assert not run(rig, [{"name": "net/ipv4/conf/eth0.7/arp_notify", "value": 1}]).differing


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("vm.swapiness", ["tunables[0] must name", "did you mean swappiness?", "got: 'vm.swapiness'"]),
        ("vm", ["tunables[0] must name a single setting", "got: 'vm'"]),
        ("/sys/nothing", ["tunables[0] must name", "there is no /sys/nothing"]),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_unknown_name_is_refused_before_any_change(rig: Host, name: str, parts: list[str], *, check_mode: bool) -> None:
    before = rig.texts()
    with pytest.raises(SettingsError) as caught:
        run(rig, [{"name": name, "value": 1}, *WANTED], check_mode=check_mode)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert rig.texts() == before


def test_all_unknown_names_are_told_at_once(rig: Host) -> None:
    with pytest.raises(SettingsError, match=r"tunables\[0\].*a\.b.*tunables\[1\].*c\.d"):
        run(rig, [{"name": "a.b", "value": 1}, {"name": "c.d", "value": 1}])


def test_what_is_not_required_is_persisted_and_skipped(rig: Host) -> None:
    wanted = [{"name": "vm.later", "value": 1, "required": False}]
    assert actions(run(rig, wanted)) == {("vm.later", "persisted"): "changed", ("vm.later", "live"): "skipped"}
    assert run(rig, wanted).records[-1].reason == "this host has no /proc/sys/vm/later"
    assert lines(rig, SYSCTL_FILE) == ["vm.later = 1"]


def test_read_only_mount_is_skipped_and_persisted(rig: Host) -> None:
    container = Kernel(rig.root, read_only=(SWAPPINESS,))
    first = run(rig, WANTED, kernel=container)
    assert actions(first)["vm.swappiness", "live"] == "skipped"
    assert rig.read(SWAPPINESS) == "60\n"
    assert "vm.swappiness = 10" in lines(rig, SYSCTL_FILE)
    second = run(rig, WANTED, kernel=container)
    assert not second.differing
    assert [record.as_dict() for record in second.records if record.action == "skipped"] == [
        {
            "id": "vm.swappiness",
            "plane": "live",
            "expected": "10",
            "actual": "60",
            "action": "skipped",
            "reason": f"{SWAPPINESS} is on a read-only mount, as in a container",
        }
    ]


def test_read_only_mount_with_the_wanted_value_is_fine(rig: Host) -> None:
    container = Kernel(rig.root, read_only=(SWAPPINESS,))
    assert actions(run(rig, [{"name": "vm.swappiness", "value": 60}], kernel=container))["vm.swappiness", "live"] == (
        "none"
    )


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_read_only_attribute_is_refused_before_any_change(rig: Host, *, check_mode: bool) -> None:
    rig.path(MAPS).chmod(0o444)
    before = rig.texts()
    with pytest.raises(SettingsError, match=f"{MAPS} is offered by the kernel for reading only"):
        run(rig, WANTED, check_mode=check_mode)
    assert rig.texts() == before


def test_what_the_kernel_refuses_is_named_and_not_persisted(rig: Host) -> None:
    strict = Kernel(rig.root, answers=lambda _path, value: OSError(22, "Invalid argument") if value == "10" else value)
    with pytest.raises(SettingsError, match=f"{SWAPPINESS}: the kernel refuses '10': Invalid argument"):
        run(rig, WANTED, kernel=strict)
    assert not rig.path(SYSCTL_FILE).exists()
    assert not rig.path(TMPFILES_FILE).exists()


def test_all_refusals_are_told_at_once(rig: Host) -> None:
    strict = Kernel(rig.root, answers=lambda _path, _value: OSError(1, "Operation not permitted"))
    with pytest.raises(SettingsError) as caught:
        run(rig, WANTED, kernel=strict)
    assert all(path in str(caught.value) for path in (SWAPPINESS, MAPS, HUGEPAGES))


def test_value_that_does_not_take_is_named(rig: Host) -> None:
    clamping = Kernel(rig.root, answers=lambda path, value: "100" if path == SWAPPINESS else value)
    (failed,) = run(rig, WANTED, kernel=clamping).failed
    assert (failed.id, failed.plane) == ("vm.swappiness", "live")
    assert failed.reason == "did not take: set to '10', reads '100'"


def test_kernel_that_answers_in_its_own_words_is_understood(rig: Host) -> None:
    parameter = "/sys/module/m/parameters/p"
    rig.write_all({parameter: "N\n", "/proc/sys/net/core/mem": "1\t2\n", "/proc/sys/kernel/mask": "0\n"})
    wanted = [
        {"name": parameter, "value": 1},
        {"name": "net.core.mem", "value": "3  4"},
        {"name": "kernel.mask", "value": "0x10"},
    ]
    words = {"1": "Y", "3 4": "3\t4", "0x10": "16"}
    kernel = Kernel(rig.root, answers=lambda _path, value: words[value])
    assert len(run(rig, wanted, kernel=kernel).differing) == 6
    assert not run(rig, wanted, kernel=kernel).differing


THEIRS = "/etc/sysctl.d/99-zz.conf"
EARLY = "/etc/tmpfiles.d/a.conf"
OVERRIDES: dict[str, tuple[dict[str, Any], dict[str, str], str | None]] = {
    "later file": (WANTED[0], {THEIRS: "\nvm/swappiness=60\n"}, f"{THEIRS} line 2 sets {SWAPPINESS} to '60' at boot"),
    "later exclusion": (WANTED[0], {THEIRS: "-vm.swappiness"}, f"{THEIRS} line 1 keeps {SWAPPINESS} from being set"),
    "later file, same value": (WANTED[0], {THEIRS: "vm.swappiness = 0xa"}, None),
    "later file, other key": (WANTED[0], {THEIRS: "vm.swappiness2 = 60"}, None),
    "later glob": (WANTED[0], {THEIRS: "vm.swap* = 60"}, None),
    "earlier file": (WANTED[0], {"/etc/sysctl.d/00.conf": "vm.swappiness = 60"}, None),
    "masked namesake": (WANTED[0], {"/usr/lib/sysctl.d/99-mlrig.conf": "vm.swappiness = 60"}, None),
    "masked later file": (
        WANTED[0],
        {"/usr/lib/sysctl.d/99-zz.conf": "vm.swappiness = 60", THEIRS: ""},
        None,
    ),
    "later file in another folder": (
        WANTED[0],
        {"/usr/lib/sysctl.d/99-zz.conf": "vm.swappiness = 60"},
        "/usr/lib/sysctl.d/99-zz.conf line 1 sets",
    ),
    "plain key against our glob": (
        {"name": "net.ipv4.conf.*.arp_notify", "value": 1},
        {"/etc/sysctl.d/00.conf": "net.ipv4.conf.lo.arp_notify = 2"},
        f"/etc/sysctl.d/00.conf line 1 sets {CONF}/lo/arp_notify to '2' at boot",
    ),
    "exclusion against our glob": (
        {"name": "net.ipv4.conf.*.arp_notify", "value": 1},
        {"/etc/sysctl.d/00.conf": "-net.ipv4.conf.all.arp_notify"},
        f"/etc/sysctl.d/00.conf line 1 keeps {CONF}/all/arp_notify from being set",
    ),
    "exclusion of our glob": (
        {"name": "net.ipv4.conf.*.arp_notify", "value": 1},
        {THEIRS: "-net.ipv4.conf.*.arp_notify"},
        f"{THEIRS} line 1 keeps {CONF}/all/arp_notify from being set",
    ),
    "later glob against our glob": (
        {"name": "net.ipv4.conf.*.arp_notify", "value": 1},
        {THEIRS: "net.ipv4.conf.l*.arp_notify = 2"},
        f"{THEIRS} line 1 sets {CONF}/lo/arp_notify to '2' at boot",
    ),
    "earlier tmpfiles line": (WANTED[2], {EARLY: f"w {HUGEPAGES} - - - - never"}, f"{EARLY} line 1 sets"),
    "later tmpfiles line": (WANTED[2], {"/etc/tmpfiles.d/z.conf": f"w {HUGEPAGES} - - - - never"}, None),
    "earlier tmpfiles glob": (WANTED[2], {EARLY: "w /sys/kernel/mm/*/enabled - - - - never"}, None),
    "later tmpfiles glob": (
        WANTED[2],
        {"/etc/tmpfiles.d/z.conf": "w /sys/kernel/mm/*/enabled - - - - never"},
        f"/etc/tmpfiles.d/z.conf line 1 sets {HUGEPAGES} to 'never' at boot",
    ),
}


@pytest.mark.parametrize(("tunable", "files", "reason"), OVERRIDES.values(), ids=OVERRIDES)
def test_overriding_file_is_told(rig: Host, tunable: dict[str, Any], files: dict[str, str], reason: str | None) -> None:
    rig.write_all(files)
    first = run(rig, [tunable])
    second = run(rig, [tunable])
    for settings, action in ((first, "changed"), (second, "skipped" if reason else "none")):
        [record] = [record for record in settings.records if record.plane == "persisted"]
        assert record.action == action
        if reason is None:
            assert (record.reason, settings.warnings) == (None, [])
        else:
            assert (record.reason or "").startswith(reason)
            assert settings.warnings == [f"{tunable['name']}: {record.reason}"]
    assert not second.differing


@pytest.fixture
def others_rig(open_host: Host) -> Iterator[Host]:
    open_host.write_all({SWAPPINESS: "60\n", SYSCTL_FILE: "vm.swappiness = 10\n"})
    for path in (SWAPPINESS, SYSCTL_FILE):
        open_host.path(path).chmod(0o644)
    yield open_host
    open_host.path(SYSCTL_FILE).parent.chmod(0o755)


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_without_root_nothing_is_done_by_halves(
    others_rig: Host, as_nobody: Callable[[Callable[[], object]], str], *, check_mode: bool
) -> None:
    others_rig.path(SYSCTL_FILE).parent.chmod(0o555)
    others_rig.path(SWAPPINESS).chmod(0o666)
    before = others_rig.texts()
    message = as_nobody(lambda: run(others_rig, [{"name": "vm.swappiness", "value": 10}], check_mode=check_mode))
    assert message == f"cannot write {others_rig.path(SYSCTL_FILE)}: that needs root"
    assert others_rig.texts() == before


def test_drafts_of_a_killed_run_do_no_harm(rig: Host) -> None:
    draft = rig.write("/etc/sysctl.d/.99-mlrig.conf.mlrig", "vm.swappiness = 1\n")
    run(rig, WANTED)
    assert not draft.exists()
    assert not run(rig, WANTED).differing


def test_the_running_kernel_can_be_read(host: Host) -> None:
    """A value that this kernel has already: one real round of /proc, with an /etc that anyone may write."""
    host.link("/proc", "/proc")
    value = Path(SWAPPINESS).read_text(encoding="ascii").strip()
    settings = run(host, [{"name": "vm.swappiness", "value": value}])
    assert actions(settings) == {("vm.swappiness", "persisted"): "changed", ("vm.swappiness", "live"): "none"}


GOVERNOR = "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
STATUS = "/sys/devices/system/cpu/*_pstate/status"
POWERSAVE = [{"name": GOVERNOR, "value": "powersave", "condition": {"name": STATUS, "value": "active"}}]


@pytest.fixture
def cpus(host: Host) -> Host:
    """Two CPUs under AMD's driver in its active mode."""
    for number in range(2):
        host.write(GOVERNOR.replace("*", str(number)), "performance\n")
    host.write(STATUS.replace("*", "amd"), "active\n")
    return host


def test_where_the_condition_holds_it_is_set(cpus: Host) -> None:
    assert {each.action for each in run(cpus, POWERSAVE).records} == {"changed"}
    assert lines(cpus, TMPFILES_FILE) == [f"w {GOVERNOR} - - - - powersave"]
    assert cpus.read(GOVERNOR.replace("*", "1")) == "powersave\n"
    assert not run(cpus, POWERSAVE).differing


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("passive\n", "/sys/devices/system/cpu/amd_pstate/status is passive"),
        (None, "there is none"),
    ],
)
def test_where_the_condition_does_not_hold_it_is_neither_set_nor_persisted(
    cpus: Host, status: str | None, said: str
) -> None:
    run(cpus, POWERSAVE)
    file = cpus.path(STATUS.replace("*", "amd"))
    file.unlink()
    if status is not None:
        cpus.write(STATUS.replace("*", "amd"), status)
    cpus.write(GOVERNOR.replace("*", "0"), "schedutil\n")
    settings = run(cpus, POWERSAVE)
    assert changed(settings) == [(GOVERNOR, "persisted", "powersave", None)]
    assert [(each.id, each.plane, each.reason) for each in settings.records if each.action == "skipped"] == [
        (GOVERNOR, "live", f"{GOVERNOR} is left alone unless {STATUS} is active, and {said}")
    ]
    assert not cpus.path(TMPFILES_FILE).exists()
    assert cpus.read(GOVERNOR.replace("*", "0")) == "schedutil\n"
    assert not run(cpus, POWERSAVE).differing


def service(active: str, enabled: str) -> str:
    return f"ActiveState={active}\nUnitFileState={enabled}\n"


RIVALS = {"tuned.service": "Leave it to tuned.", "tlp.service": "Or to tlp."}
RIVALLED: list[dict[str, Any]] = [
    {"name": "vm.swappiness", "value": 10, "rivals": RIVALS},
    {"name": "vm.max_map_count", "value": 10, "rivals": {"tlp.service": ""}},
]


@pytest.mark.parametrize(
    ("tuned", "tlp", "message"),
    [
        (service("inactive", ""), service("inactive", "disabled"), None),
        (service("failed", "masked"), service("inactive", "static"), None),
        (
            service("active", "enabled"),
            service("inactive", ""),
            "tuned.service is active, and sets vm.swappiness too. Leave it to tuned.",
        ),
        (service("inactive", "enabled"), service("inactive", ""), "tuned.service is enabled, and sets vm.swappiness"),
        (
            service("inactive", ""),
            service("activating", "static"),
            "tlp.service is active, and sets vm.swappiness, vm.max_map_count too. Or to tlp.",
        ),
        (
            service("active", ""),
            service("inactive", "enabled-runtime"),
            "tuned.service is active, and sets vm.swappiness too. Leave it to tuned.; tlp.service is enabled, and sets",
        ),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_what_another_service_sets_is_refused(
    rig: Host, tuned: str, tlp: str, message: str | None, *, check_mode: bool
) -> None:
    def systemctl(*command: str) -> Output:
        assert command == ("systemctl", "show", "--property=ActiveState,UnitFileState", *RIVALS)
        return Output(0, f"{tuned}\n{tlp}")

    def converge_it() -> Settings:
        plan = parse_tunables(RIVALLED)
        return converge(lambda: make_plan(plan, Kernel(rig.root), systemctl), check_mode=check_mode)

    before = rig.texts()
    if message is None:
        assert converge_it().differing
        return
    with pytest.raises(RequestError) as refusal:
        converge_it()
    assert str(refusal.value).startswith(message)
    assert rig.texts() == before


def test_who_cannot_be_asked_about_services_is_told(rig: Host) -> None:
    with pytest.raises(SettingsError, match=r"systemctl does not tell whether tuned.service, tlp.service run: No bus"):
        make_plan(parse_tunables(RIVALLED), Kernel(rig.root), lambda *_command: Output(1, "", "No bus\n"))


def test_services_are_asked_only_for_what_is_to_be_set(rig: Host) -> None:
    absent = [{"name": "vm.swappiness", "state": "absent", "rivals": RIVALS}]
    unmet = [{**POWERSAVE[0], "rivals": RIVALS}]

    def nobody(*_command: str) -> Output:
        raise AssertionError

    make_plan(parse_tunables([*absent, *unmet]), Kernel(rig.root), nobody)
