# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kernel_cmdline, run by run: what is reported, what is mended, and what is left when something fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils import _kernel_cmdline, _settings
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._cmdline_request import parse_cmdline
from ansible_collections.mlrig.workstation.plugins.module_utils._kernel_cmdline import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError, SettingsError

from .conftest import Host, full_disk
from .grub_host import DROP_IN, GRUB, KERNEL, MENU, GrubHost, drop_in

TOKENS = ["iommu=pt", "transparent_hugepage=always"]
LINE = "quiet iommu=pt transparent_hugepage=always"
DEFAULT = "GRUB_CMDLINE_LINUX_DEFAULT"
LATER = "/etc/default/grub.d/zzz.cfg"


class KilledError(BaseException):
    """The process ends, whatever it was about."""


@pytest.fixture
def machine(host: Host) -> GrubHost:
    return GrubHost(host)


@pytest.fixture
def converged(machine: GrubHost) -> GrubHost:
    """Also booted with it."""
    machine.converge(TOKENS)
    machine.boot(LINE)
    machine.calls.clear()
    return machine


def test_first_run_reports_what_it_does(machine: GrubHost) -> None:
    before = machine.host.texts()
    checked = machine.converge(TOKENS, check_mode=True)
    assert machine.host.texts() == before
    assert machine.calls == []
    done = machine.converge(TOKENS)
    assert done.as_result() == checked.as_result()
    assert [tuple(each.as_dict().values()) for each in done.records] == [
        ("iommu", "persisted", "iommu=pt", None, "changed"),
        ("transparent_hugepage", "persisted", "transparent_hugepage=always", None, "changed"),
        (MENU, "persisted", "up to date", None, "changed"),
        ("iommu", "boot", "iommu=pt", None, "reboot"),
        ("transparent_hugepage", "boot", "transparent_hugepage=always", None, "reboot"),
    ]
    assert done.as_result()["reboot_required"]
    assert machine.host.path(DROP_IN).stat().st_mode & 0o777 == 0o644


def test_nothing_is_left_to_do_after_a_reboot(converged: GrubHost) -> None:
    before = converged.host.texts()
    settings = converged.converge(TOKENS)
    assert {each.action for each in settings.records} == {"none"}
    assert not settings.as_result()["reboot_required"]
    assert converged.calls == []
    assert converged.host.texts() == before


def update(machine: GrubHost) -> None:
    machine.run("update-grub")
    time.sleep(0.02)  # within a tick of the kernel's clock, what came after is not told from what came before


def edit(machine: GrubHost, file: str, old: str, new: str) -> None:
    text = machine.host.read(file)
    assert old in text
    machine.host.write(file, text.replace(old, new))


def date_back(machine: GrubHost) -> None:
    """The menu becomes older than all that it is made of, and says the same."""
    os.utime(machine.host.path(MENU), (1e9, 1e9))


# What is done to a converged host, and what then differs: id, and what was found.
DRIFTS: dict[str, tuple[Callable[[GrubHost], object], list[tuple[str, str | None]]]] = {
    "drop-in deleted": (lambda machine: machine.host.path(DROP_IN).unlink(), [
        ("iommu", None), ("transparent_hugepage", None), (MENU, f"older than {Path(DROP_IN).parent}"),
    ]),
    "drop-in deleted, and the menu made": (
        lambda machine: [machine.host.path(DROP_IN).unlink(), update(machine)],
        [("iommu", None), ("transparent_hugepage", None), (MENU, f"without {' '.join(TOKENS)}")],
    ),
    "value edited": (lambda machine: edit(machine, DROP_IN, "iommu=pt", "iommu=off"), [
        ("iommu", "iommu=off"), (MENU, f"older than {DROP_IN}"),
    ]),
    "token taken out": (lambda machine: edit(machine, DROP_IN, " iommu=pt", ""), [
        ("iommu", None), (MENU, f"older than {DROP_IN}"),
    ]),
    "token added": (lambda machine: edit(machine, DROP_IN, "iommu=pt", "iommu=pt nosmt"), [
        ("nosmt", "nosmt"), (MENU, f"older than {DROP_IN}"),
    ]),
    "order changed": (lambda machine: machine.host.write(DROP_IN, drop_in(" ".join(reversed(TOKENS)))), [
        (DROP_IN, "edited by hand"), (MENU, f"older than {DROP_IN}"),
    ]),
    "order changed, and the menu made": (
        lambda machine: [machine.host.write(DROP_IN, drop_in(" ".join(reversed(TOKENS)))), update(machine)],
        [(DROP_IN, "edited by hand"), (MENU, "with another order of words")],
    ),
    "comment edited, and the menu made": (
        lambda machine: [edit(machine, DROP_IN, "Managed", "Mangled"), update(machine)],
        [(DROP_IN, "edited by hand"), (MENU, f"without the change of {DROP_IN}")],
    ),
    "token added elsewhere": (lambda machine: edit(machine, GRUB, "quiet", "quiet splash"), [(MENU, "without splash")]),
    "conflict added elsewhere": (lambda machine: edit(machine, GRUB, "quiet", "quiet iommu=off"), [
        (MENU, "without iommu=off"),
    ]),
    "token taken out elsewhere": (lambda machine: edit(machine, GRUB, "quiet", ""), [(MENU, f"older than {GRUB}")]),
    "file of others deleted": (
        lambda machine: [machine.host.write(LATER, "A=1\n"), update(machine), machine.host.path(LATER).unlink()],
        [(MENU, f"older than {Path(DROP_IN).parent}")],
    ),
    "menu deleted": (lambda machine: machine.host.path(MENU).unlink(), [(MENU, None)]),
    "menu emptied": (lambda machine: machine.host.write(MENU, ""), [(MENU, "without an entry for a kernel")]),
    "menu edited": (lambda machine: edit(machine, MENU, "iommu=pt", "iommu=off"), [(MENU, "without iommu=pt")]),
    "menu dated back": (date_back, [(MENU, "older than ")]),
    "menu not finished": (lambda machine: machine.host.write(f"{MENU}.new", "set"), [
        (MENU, "left by an update that did not end"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize(("drift", "found"), DRIFTS.values(), ids=DRIFTS)
def test_drift_is_found_exactly_and_mended(
    converged: GrubHost, drift: Callable[[GrubHost], object], found: list[tuple[str, str | None]]
) -> None:
    update(converged)
    drift(converged)
    converged.calls.clear()
    before = converged.host.texts()
    checked = converged.converge(TOKENS, check_mode=True)
    assert converged.host.texts() == before
    assert [each.id for each in checked.differing] == [name for name, _actual in found]
    for record, (_name, actual) in zip(checked.differing, found, strict=True):
        assert record.actual == actual or (actual and (record.actual or "").startswith(actual))
    mended = converged.converge(TOKENS)
    assert mended.as_result() == checked.as_result()
    assert converged.calls == [("update-grub",)]
    assert not converged.converge(TOKENS).differing
    assert converged.host.read(DROP_IN) == drop_in(" ".join(TOKENS))
    assert converged.line().endswith(" ".join(TOKENS))


def test_a_token_that_is_taken_out_of_the_list_goes_at_the_next_boot(converged: GrubHost) -> None:
    records = converged.records(TOKENS[:1])
    assert (records["transparent_hugepage", "persisted"].expected, converged.line()) == (None, "quiet iommu=pt")
    again = converged.records(TOKENS[:1])
    for each in (records, again):
        gone = each["transparent_hugepage", "boot"]
        assert (gone.expected, gone.actual, gone.action) == (None, TOKENS[1], "reboot")
    converged.boot("quiet iommu=pt")
    assert {each.action for each in converged.records(TOKENS[:1]).values()} == {"none"}


def test_an_empty_list_removes_the_drop_in(converged: GrubHost) -> None:
    assert [each.id for each in converged.converge([]).differing] == ["iommu", "transparent_hugepage", MENU]
    assert not converged.host.path(DROP_IN).exists()
    assert converged.line() == "quiet"
    assert converged.converge([]).records == []


# What runs, and what that differs in from the configured "quiet iommu=pt transparent_hugepage=always".
RUNNING: dict[str, tuple[str, dict[str, tuple[str | None, str | None]]]] = {
    "the same": (LINE, {}),
    "another order": (" ".join(reversed(LINE.split())), {}),
    "what GRUB and initramfs add": (f"{LINE} vt.handoff=7 -- systemd.x=1", {}),
    "another value": (LINE.replace("=pt", "=off"), {"iommu": ("iommu=pt", "iommu=off")}),
    "other spelling": (f"{LINE} transparent-hugepage=never", {
        "transparent_hugepage": ("transparent_hugepage=always", "transparent-hugepage=never"),
    }),
    "one missing": ("quiet iommu=pt", {"transparent_hugepage": ("transparent_hugepage=always", None)}),
    "one of others missing": (" ".join(TOKENS), {"quiet": ("quiet", None)}),
    "one too many": (f"{LINE} nosmt", {"nosmt": (None, "nosmt")}),
    "repeated": (f"{LINE} console=tty1 console=ttyS0", {"console": (None, "console=tty1 console=ttyS0")}),
    "recovery mode": ("single", {
        "iommu": ("iommu=pt", None),
        "transparent_hugepage": ("transparent_hugepage=always", None),
        "quiet": ("quiet", None),
        "single": (None, "single"),
    }),
    "quoted": (f'{LINE} "dyndbg=file x +p"', {}),
}  # fmt: skip


@pytest.mark.parametrize(("line", "drift"), RUNNING.values(), ids=RUNNING)
def test_the_running_line_is_compared(
    converged: GrubHost, line: str, drift: dict[str, tuple[str | None, str | None]]
) -> None:
    converged.boot(line)
    settings = converged.converge(TOKENS)
    assert not settings.differing
    assert {each.id: (each.expected, each.actual) for each in settings.records if each.action == "reboot"} == drift
    assert settings.as_result()["reboot_required"] is bool(drift)


def test_another_loader_is_asked_for_our_tokens_only(converged: GrubHost) -> None:
    converged.host.write("/proc/cmdline", "console=hvc0 root=/dev/vda iommu=pt\n")
    records = converged.records(TOKENS)
    assert [name for (name, plane), each in records.items() if each.action == "reboot"] == ["transparent_hugepage"]


def test_what_the_menu_adds_by_itself_is_no_drift(converged: GrubHost) -> None:
    text = converged.host.read(MENU).replace(" ro ", " ro rd.by.script=1 ").replace(LINE, f"{LINE} $vt_handoff")
    converged.host.write(MENU, text)
    converged.boot(f"rd.by.script=1 {LINE} vt.handoff=7")
    assert {each.action for each in converged.records(TOKENS).values()} == {"none"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'{DEFAULT}="mine"\n', f"{LATER} line 1 assigns {DEFAULT} after {DROP_IN}, without what that appends"),
        (f"unset {DEFAULT}\n", f"{LATER} line 1 assigns {DEFAULT} after {DROP_IN}, without what that appends"),
        (f'{DEFAULT}="${{{DEFAULT}}}d"\n', f"{LATER} line 1 assigns {DEFAULT} after {DROP_IN}, without what that"),
        (f'\n{DEFAULT}="${DEFAULT} {TOKENS[1]}d"\n', f"{LATER} line 2 has {TOKENS[1]}d after it, against {DROP_IN}"),
    ],
)
def test_a_file_that_sorts_after_ours_is_reported(converged: GrubHost, text: str, reason: str) -> None:
    converged.host.write(LATER, text)
    settings = converged.converge(TOKENS)
    assert f"{TOKENS[1]}: {reason}" in " ".join(settings.warnings)
    [record] = [each for each in settings.records if (each.id, each.plane) == ("transparent_hugepage", "persisted")]
    assert (record.action, record.reason) == ("skipped", next(each for each in (record.reason,) if reason in each))
    assert converged.host.read(LATER) == text
    converged.boot(converged.line())
    again = converged.converge(TOKENS)
    assert not again.differing
    assert not again.as_result()["reboot_required"], "no reboot would help"


def test_the_same_token_after_ours_is_nothing_to_report(converged: GrubHost) -> None:
    converged.host.write(LATER, f'{DEFAULT}="${DEFAULT} iommu=pt"\n')
    settings = converged.converge(TOKENS)
    assert settings.warnings == []
    assert not {each.reason for each in settings.records} - {None}


@pytest.mark.parametrize(
    ("cpu", "possible"),
    [("AuthenticAMD", ["amd_pstate=active"]), ("GenuineIntel", ["intel_iommu=on"]), ("", []), ("HygonGenuine", [])],
)
def test_tokens_of_other_vendors_are_skipped(machine: GrubHost, cpu: str, possible: list[str]) -> None:
    machine.host.write("/proc/cpuinfo", f"processor\t: 0\nvendor_id\t: {cpu}\n" if cpu else "")
    settings = machine.converge(["amd_pstate=active", "intel_iommu=on", "iommu=pt", "amd=1"])
    assert machine.host.read(DROP_IN) == drop_in(" ".join([*possible, "iommu=pt", "amd=1"]))
    skipped = {each.expected: each.reason for each in settings.records if each.action == "skipped"}
    assert skipped.keys() == {"amd_pstate=active", "intel_iommu=on"} - {*possible}
    assert all(f"and this one is of {cpu or 'an unknown vendor'}" in (each or "") for each in skipped.values())
    assert not machine.converge(["amd_pstate=active", "intel_iommu=on", "iommu=pt", "amd=1"]).differing


SKIPPED: dict[str, tuple[Callable[[Host], object], str]] = {
    "no update-grub": (
        lambda host: host.path("/usr/sbin/update-grub").unlink(),
        "GRUB, which has update-grub, is not on this host, as in a container",
    ),
    "no menu's folder": (
        lambda host: host.path("/boot/grub").rmdir(),
        "GRUB does not start this host: there is no /boot/grub",
    ),
    "systemd-boot": (
        lambda host: host.write("/boot/efi/loader/loader.conf", ""),
        "systemd-boot starts the kernel here, whose command line, in /etc/kernel/cmdline, is not looked after",
    ),
}


@pytest.mark.parametrize(("act", "reason"), SKIPPED.values(), ids=SKIPPED)
def test_a_host_that_grub_does_not_start_is_skipped(
    machine: GrubHost, act: Callable[[Host], object], reason: str
) -> None:
    act(machine.host)
    settings = machine.converge(TOKENS)
    assert {(each.action, each.reason) for each in settings.records} == {("skipped", reason)}
    assert [each.expected for each in settings.records] == TOKENS
    assert not machine.host.path(DROP_IN).exists()


def test_a_failing_update_is_told_and_tried_again(machine: GrubHost) -> None:
    machine.output = Output(1, "", "Generating grub configuration file ...\n/usr/sbin/grub-probe: error: no device\n")
    with pytest.raises(SettingsError, match=f"{MENU}: update-grub ended with 1: .*grub-probe: error: no device"):
        machine.converge(TOKENS)
    machine.output = None
    assert [each.id for each in machine.converge(TOKENS).differing] == [MENU]
    assert machine.line() == LINE


@pytest.mark.parametrize(("second", "action"), [(f"{LINE} panic=-1", "none"), ("quiet", "changed")])
def test_an_entry_may_load_its_kernel_in_two_ways(converged: GrubHost, second: str, action: str) -> None:
    """As on Ubuntu's cloud images, which try without an initramfs first."""
    menu = f"""\
menuentry 'Ubuntu' --class ubuntu $menuentry_id_option 'gnulinux-simple-0b7e' {{
\tif [ "${{initrdfail}}" = 1 ]; then
\t  linux\t/boot/vmlinuz-{KERNEL} root=UUID=0b7e ro {LINE}
\telse
\t  linux\t/boot/vmlinuz-{KERNEL} root=PARTUUID=5c3a ro {second}
\tfi
}}
menuentry 'Memory test' $menuentry_id_option 'memtest86+' {{
\tlinux\t/boot/memtest86+x64.bin
}}
"""
    converged.host.write(MENU, menu)
    converged.boot(f"{LINE} panic=-1")
    assert converged.records(TOKENS, check_mode=True)[MENU, "persisted"].action == action


def test_an_update_without_effect_has_failed(machine: GrubHost) -> None:
    machine.output = Output(0)
    [failed] = machine.converge(TOKENS).failed
    assert (failed.id, failed.reason) == (MENU, "did not take: set to 'up to date', reads None")


@pytest.mark.parametrize("moment", ["write", "flush to disk", "rename", "menu"])
def test_killed_at_any_moment_the_next_run_converges(
    machine: GrubHost, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.converge(["old=1"])
    booting = machine.host.read(MENU)

    def die(*_arguments: object, **_options: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        match moment:
            case "write":
                patch.setattr(os, "fchmod", die)
            case "flush to disk":
                patch.setattr(os, "fsync", die)
            case "rename":
                patch.setattr(Path, "replace", die)
            case "menu":
                patch.setattr(machine, "run", die)
        with pytest.raises(KilledError):
            machine.converge(TOKENS)
    assert machine.host.read(MENU) == booting, "it boots"
    assert machine.host.read(DROP_IN) == drop_in("old=1" if moment != "menu" else " ".join(TOKENS))
    if moment == "menu":
        assert [each.id for each in machine.converge(TOKENS, check_mode=True).differing] == [MENU]
    machine.converge(TOKENS)
    assert (machine.host.read(DROP_IN), machine.line()) == (drop_in(" ".join(TOKENS)), LINE)
    assert not machine.converge(TOKENS).differing


def test_killed_after_a_token_was_taken_out(converged: GrubHost) -> None:
    """The menu has all that is configured, and one word more."""
    converged.host.write(DROP_IN, drop_in("iommu=pt"))
    records = converged.records(["iommu=pt"])
    assert [each.id for each in records.values() if each.action == "changed"] == [MENU]
    assert records["transparent_hugepage", "boot"].action == "reboot"
    assert converged.line() == "quiet iommu=pt"


def test_full_disk_loses_nothing(converged: GrubHost) -> None:
    before = converged.host.texts()
    with full_disk(), pytest.raises(SettingsError, match=f"cannot write .*{DROP_IN}: "):
        converged.converge(["new=1"])
    after = converged.host.texts()
    assert {name: after[name] for name in before} == before
    assert converged.calls == []


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
def test_too_little_space_for_the_menu_is_refused_before_any_change(
    converged: GrubHost, monkeypatch: pytest.MonkeyPatch, *, check_mode: bool
) -> None:
    before = converged.host.texts()
    monkeypatch.setattr(_kernel_cmdline.os, "statvfs", lambda _path: SimpleNamespace(f_bavail=200, f_frsize=4096))
    with pytest.raises(SettingsError, match=f"cannot update {MENU}: its file system has less than 102[4-9] KiB free"):
        converged.converge(["new=1"], check_mode=check_mode)
    assert converged.host.texts() == before
    assert not converged.converge(TOKENS).differing, "what needs no change needs no space"


@pytest.mark.parametrize("closed", [DROP_IN, MENU])
def test_without_the_rights_nothing_is_changed(
    open_host: Host, as_nobody: Callable[[Callable[[], object]], str], closed: str
) -> None:
    machine = GrubHost(open_host)
    machine.converge(["old=1"])
    for folder in [open_host.root, *(each for each in open_host.root.rglob("*") if each.is_dir())]:
        folder.chmod(0o777)
    open_host.path(closed).parent.chmod(0o755)
    before = open_host.texts()
    assert f"{closed}: that needs root" in as_nobody(lambda: machine.converge(TOKENS))
    assert open_host.texts() == before


def test_a_read_only_file_system_is_named(machine: GrubHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = machine.host.texts()
    with pytest.raises(SettingsError, match=f"cannot write .*{DROP_IN}: its file system is read-only"):
        machine.converge(TOKENS)
    assert machine.host.texts() == before


RULE = "must be one word of letters"
BAD_TOKENS: list[tuple[list[str], str]] = [
    (["iommu=pt", "iommu=off"], "tokens[1] must not set what tokens[0] sets; got: 'iommu=off'"),
    (["a-b=1", "a_b=1"], "tokens[1] must not set what tokens[0] sets"),
    (["nomodeset", "nomodeset"], "tokens[1] must not set what tokens[0] sets"),
    (["ok", ""], f"tokens[1] {RULE}"),
    (["a b"], f"tokens[0] {RULE}"),
    (["a\n"], f"tokens[0] {RULE}"),
    (['a="b"'], f"tokens[0] {RULE}"),
    (["a='b'"], f"tokens[0] {RULE}"),
    (["memmap=10M$1G"], f"tokens[0] {RULE}"),
    (["a=`id`"], f"tokens[0] {RULE}"),
    (["a=\\b"], f"tokens[0] {RULE}"),
    (["a=1;b"], f"tokens[0] {RULE}"),
    (["=1"], f"tokens[0] {RULE}"),
    (["--"], f"tokens[0] {RULE}"),
    (["a=\u00e9"], f"tokens[0] {RULE}"),
    (["root=/dev/sda1"], "tokens[0] must not be one of BOOT_IMAGE, initrd, ro, root, rw: GRUB gives them itself"),
    (["ro"], "tokens[0] must not be one of"),
]


@pytest.mark.parametrize(("tokens", "message"), BAD_TOKENS)
def test_bad_tokens_are_refused(tokens: list[str], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_cmdline(tokens)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "etc/default/grub.d/a.cfg"}, "path must be an absolute path; got: 'etc/default/grub.d/a.cfg'"),
        ({"path": "/etc/default/grub.d/../a.cfg"}, "path must be an absolute path"),
        ({"path": "/etc/default/grub"}, "path must name a file *.cfg in a folder grub.d"),
        ({"path": "/etc/default/grub.d/mlrig.conf"}, "path must name a file *.cfg in a folder grub.d"),
        ({"path": "/etc/default/grub.d/.mlrig.cfg"}, "path must name a file *.cfg in a folder grub.d"),
        ({"menu": "grub.cfg"}, "menu must be an absolute path; got: 'grub.cfg'"),
        ({"update_command": []}, "update_command must have a program; got: []"),
    ],
)
def test_bad_options_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_cmdline(TOKENS, **options)
    assert message in str(refusal.value)


def test_options_make_it_testable_anywhere(machine: GrubHost) -> None:
    """No GRUB is needed: a folder, and a program that makes a menu."""
    host = machine.host
    host.write_all({"/try/grub": f'{DEFAULT}="a"\n', "/try/make-menu": ""})
    request = parse_cmdline(["b=1"], "/try/grub.d/zz.cfg", ["/try/make-menu", "-o", "/try/menu"], "/try/menu")

    def make_menu(*command: str) -> Output:
        assert command == ("/try/make-menu", "-o", "/try/menu")
        host.write("/try/menu", f"menuentry 'x' --id gnulinux-simple-x {{\n\tlinux /vmlinuz-{KERNEL} a b=1\n}}\n")
        return Output(0)

    def converge() -> list[str]:
        settings = _settings.converge(lambda: make_plan(request, host.root, make_menu), check_mode=False)
        assert not settings.failed
        return [each.id for each in settings.differing]

    assert converge() == ["b", "/try/menu"]
    assert host.read("/try/grub.d/zz.cfg") == drop_in("b=1")
    assert converge() == []


def test_a_given_program_must_be_there(machine: GrubHost) -> None:
    request = parse_cmdline(TOKENS, update_command=["/usr/sbin/update-menu"])
    with pytest.raises(InputError, match="update_command must begin with a program that is on this host; got: "):
        make_plan(request, machine.host.root, machine.run)
