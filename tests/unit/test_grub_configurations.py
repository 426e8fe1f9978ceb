# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GRUB configurations, ordinary and odd: which drop-in they get, and that nothing else is lost, moved or changed."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._grub_configuration import read_scripts
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError

from .conftest import Host
from .grub_host import DROP_IN, GRUB, GrubHost, drop_in

FOUR = "amd_pstate=active pcie_aspm=off iommu=pt transparent_hugepage=always"
FOLDER = "/etc/default/grub.d"


class Case(NamedTuple):
    """files: besides the drop-in, by name in /etc/default or its grub.d. others: the words that are not ours.

    before: what the drop-in holds already. warning: what is said of them.
    """

    files: dict[str, str | bytes]
    others: str
    tokens: str = FOUR
    before: str | None = None
    warning: str | None = None


DEBIAN = """\
# If you change this file or any /etc/default/grub.d/*.cfg file,
# run 'update-grub' afterwards to update /boot/grub/grub.cfg.

GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${NAME} )`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""

# If your computer has multiple operating systems installed, then you
# probably want to run os-prober. However, if your computer is a host
#GRUB_DISABLE_OS_PROBER=false
#GRUB_BADRAM="0x01234567,0xfefefefe,0x89abcdef,0xefefefef"
"""
UBUNTU = """\
GRUB_DEFAULT=0
GRUB_TIMEOUT_STYLE=hidden
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Ubuntu} ) 2>/dev/null || echo Ubuntu`
GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"
GRUB_CMDLINE_LINUX=""
"""
CLOUD = """\
# Cloud Image specific Grub settings for Generic Cloud Images
# CLOUD_IMG: This file was created/modified by the Cloud Image build process

# Set the recordfail timeout
GRUB_RECORDFAIL_TIMEOUT=0

# Do not wait on grub prompt
GRUB_TIMEOUT=0

# Set the default commandline
GRUB_CMDLINE_LINUX_DEFAULT="console=tty1 console=ttyS0"

# Set the grub console type
GRUB_TERMINAL=console
"""
XEN = """\
echo "Including Xen overrides from /etc/default/grub.d/xen.cfg"
#XEN_OVERRIDE_GRUB_DEFAULT=0
if [ "$XEN_OVERRIDE_GRUB_DEFAULT" = "" ]; then
    echo "WARNING: GRUB_DEFAULT changed to boot into Xen by default!"
    XEN_OVERRIDE_GRUB_DEFAULT=1
fi
if [ "$XEN_OVERRIDE_GRUB_DEFAULT" = "1" ]; then
    GRUB_DEFAULT=$( \\
        printf "%s, with Xen hypervisor" \\
        "$(echo Debian GNU/Linux | sed 's,>,>>,g')")
fi
"""
DEFAULT = "GRUB_CMDLINE_LINUX_DEFAULT"

CASES: dict[str, Case] = {
    "Debian": Case({"grub": DEBIAN}, "quiet"),
    "Ubuntu": Case({"grub": UBUNTU}, "quiet splash"),
    "Ubuntu's cloud image": Case(
        {"grub": UBUNTU, "50-cloudimg-settings.cfg": CLOUD, "40-force-partuuid.cfg": "GRUB_FORCE_PARTUUID=5c3a\n"},
        "console=tty1 console=ttyS0",
    ),
    "kdump": Case(
        {"grub": UBUNTU, "kdump-tools.cfg": f'{DEFAULT}="${DEFAULT} crashkernel=2G-4G:320M,4G-32G:512M"\n'},
        "quiet splash crashkernel=2G-4G:320M,4G-32G:512M",
    ),
    "Xen": Case({"grub": DEBIAN, "xen.cfg": XEN}, "quiet"),
    "curtin and a swapped order": Case(
        {"99-late.cfg": f'{DEFAULT}="${{{DEFAULT}}} late"\n', "50-curtin-settings.cfg": f'{DEFAULT}="early"\n'},
        "early late",
    ),
    "no file but ours": Case({}, ""),
    "empty files": Case({"grub": "", "50-a.cfg": ""}, ""),
    "comments only": Case({"grub": f'#{DEFAULT}="quiet"\n  # {DEFAULT}=splash\n'}, ""),
    "no end of the last line": Case({"grub": f'{DEFAULT}="quiet"'}, "quiet"),
    "encrypted root": Case(
        {"grub": 'GRUB_CMDLINE_LINUX="cryptdevice=UUID=aa-bb:root root=/dev/mapper/root"\n'},
        "cryptdevice=UUID=aa-bb:root root=/dev/mapper/root",
    ),
    "both variables": Case(
        {"grub": f'GRUB_CMDLINE_LINUX="net.ifnames=0 biosdevname=0"\n{DEFAULT}="quiet"\n'},
        "net.ifnames=0 biosdevname=0 quiet",
    ),
    "single quotes": Case({"grub": f"{DEFAULT}='quiet splash'\n"}, "quiet splash"),
    "no quotes": Case({"grub": f"{DEFAULT}=quiet\n"}, "quiet"),
    "quotes within a word": Case({"grub": f"{DEFAULT}=qu'iet 's\"plash\"\n"}, "quiet splash"),
    "escaped blank": Case({"grub": f"{DEFAULT}=quiet\\ splash\n"}, "quiet splash"),
    "escaped quotes": Case(
        {"grub": f'GRUB_CMDLINE_LINUX="dyndbg=\\"file drivers/usb/* +p\\""\n{DEFAULT}=quiet\n'},
        'dyndbg="file drivers/usb/* +p" quiet',
    ),
    "escaped dollar": Case({"grub": f'{DEFAULT}="memmap=10M\\\\\\$1G quiet"\n'}, "memmap=10M\\$1G quiet"),
    "backslash that escapes nothing": Case({"grub": f'{DEFAULT}="a=\\b quiet"\n'}, "a=\\b quiet"),
    "continued lines": Case({"grub": f'{DEFAULT}="quiet \\\nsplash\\\n=1"\n'}, "quiet splash=1"),
    "blanks and tabs": Case({"grub": f'\t{DEFAULT}="  quiet\t\tsplash  "  # why\n'}, "quiet splash"),
    "several on one line": Case({"grub": f"A=1; B=2 {DEFAULT}=quiet GRUB_CMDLINE_LINUX=ro\n"}, "ro quiet"),
    "assigned twice": Case({"grub": f'{DEFAULT}="a"\n{DEFAULT}="b"\n'}, "b"),
    "exported": Case({"grub": f'export {DEFAULT}="quiet"\nexport GRUB_CMDLINE_LINUX\n'}, "quiet"),
    "unset": Case({"grub": f'{DEFAULT}="quiet"\nunset {DEFAULT}\n'}, ""),
    "other variables": Case({"grub": f'CONSOLE=ttyS1\n{DEFAULT}="console=${{CONSOLE}},115200 quiet"\n'}, (
        "console=ttyS1,115200 quiet"
    )),
    "put before": Case({"grub": f'{DEFAULT}="quiet"\n', "90.cfg": f'{DEFAULT}="first ${DEFAULT}"\n'}, "first quiet"),
    "one variable in the other": Case(
        {"grub": f'GRUB_CMDLINE_LINUX="a=1"\n{DEFAULT}="$GRUB_CMDLINE_LINUX b=2"\n'}, "a=1 a=1 b=2"
    ),
    "repeated keys": Case({"grub": f'{DEFAULT}="console=tty0 console=ttyS0,115200n8 quiet"\n'}, (
        "console=tty0 console=ttyS0,115200n8 quiet"
    )),
    "conditions that do not matter": Case(
        {"grub": f"if [ -e /nowhere ]; then\n  GRUB_TIMEOUT=1\nelse GRUB_TIMEOUT=2; fi\n{DEFAULT}=quiet\n"}, "quiet"
    ),
    "a condition that is replaced": Case(
        {"grub": f"[ -e /nowhere ] && {DEFAULT}=a || true\n", "50.cfg": f'{DEFAULT}="b"\n'}, "b"
    ),
    "case, loop and function": Case(
        {"grub": f"case x in x) A=1;; *) A=2;; esac\nfor i in 1 2; do A=$i; done\nf() {{ A=3; }}\n{DEFAULT}=quiet\n"},
        "quiet",
    ),
    "redirections": Case({"grub": f"echo hello > /dev/null 2>&1\n{DEFAULT}=quiet\n"}, "quiet"),
    "files that GRUB does not read": Case(
        {"grub": DEBIAN, "50.cfg.dpkg-old": f"{DEFAULT}=old\n", ".50.cfg": f"{DEFAULT}=hidden\n", "README": "not (sh"},
        "quiet",
    ),
    "not UTF-8": Case({"grub": b'# caf\xe9\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'}, "quiet"),
    "not ASCII": Case({"grub": f'{DEFAULT}="quiet x=\u00e9\u00a0\u2028y"\n'}, "quiet x=\u00e9\u00a0\u2028y"),
    "ours, by hand": Case({"grub": f'{DEFAULT}="quiet iommu=pt"\n'}, "quiet iommu=pt"),
    "ours, of another value": Case(
        {"grub": f'{DEFAULT}="quiet iommu=off"\n'}, "quiet iommu=off",
        warning=f"iommu=pt: {GRUB} line 1 has iommu=off: remove it there",
    ),
    "ours, of another value and spelling": Case(
        {"grub": f'\n\n{DEFAULT}="quiet\\\n a transparent-hugepage=never"\n'},
        "quiet a transparent-hugepage=never",
        warning=f"transparent_hugepage=always: {GRUB} line 4 has transparent-hugepage=never: remove it there",
    ),
    "ours, of another value in the other variable": Case(
        {"grub": UBUNTU, "60-a.cfg": 'A=1\nGRUB_CMDLINE_LINUX="pcie_aspm=force"\n'}, "pcie_aspm=force quiet splash",
        warning=f"pcie_aspm=off: {FOLDER}/60-a.cfg line 2 has pcie_aspm=force: remove it there",
    ),
    "a token that was taken out of the list": Case({"grub": DEBIAN}, "quiet", "iommu=pt", drop_in(FOUR)),
    "a token that was added to the list": Case({"grub": DEBIAN}, "quiet", FOUR, drop_in("iommu=pt")),
    "another value": Case({"grub": DEBIAN}, "quiet", "transparent_hugepage=madvise nomodeset", drop_in(FOUR)),
    "ours, edited by hand": Case({"grub": DEBIAN}, "quiet", FOUR, drop_in(FOUR) + f"{DEFAULT}=mine\n"),
    "ours, made unreadable by hand": Case({"grub": DEBIAN}, "quiet", FOUR, f'{DEFAULT}="open\n'),
}  # fmt: skip


def write(host: Host, files: dict[str, str | bytes]) -> None:
    host.path(GRUB).unlink()
    for name, content in files.items():
        host.write(GRUB if name == "grub" else f"{FOLDER}/{name}", content)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_configurations(host: Host, case: Case) -> None:
    machine = GrubHost(host)
    write(host, case.files)
    if case.before is not None:
        host.write(DROP_IN, case.before)
    theirs = {name: text for name, text in host.texts().items() if "/etc/" in name and name != str(host.path(DROP_IN))}

    first = machine.converge(case.tokens.split())
    assert not first.failed, first.failed
    assert host.read(DROP_IN) == drop_in(case.tokens)
    assert machine.line() == f"{case.others} {case.tokens}".strip()
    assert machine.line(1) == machine.line()
    assert not {*case.tokens.split()} - {*case.others.split()} & {*machine.line(2).split(" ")}
    assert [each for each in first.warnings if case.warning is None or case.warning not in each] == []
    assert bool(first.warnings) is (case.warning is not None)

    after = host.texts()
    assert {name: text for name, text in after.items() if name in theirs} == theirs
    assert not machine.converge(case.tokens.split()).differing
    assert host.texts() == after
    assert machine.calls == [("update-grub",)]


REFUSED: dict[str, tuple[dict[str, str | bytes], str]] = {
    "condition": (
        {"grub": f'A=1\nif [ -e /x ]; then\n  {DEFAULT}="a"\nfi\n'},
        f"{GRUB} line 3 sets {DEFAULT} under a condition",
    ),
    "condition by and": (
        {"grub": f'[ -e /x ] && {DEFAULT}="a"\n'}, f"{GRUB} line 1 sets {DEFAULT} under a condition",
    ),
    "condition over lines": (
        {"grub": f'[ -e /x ] ||\n\n  {DEFAULT}="a"\n'}, f"{GRUB} line 3 sets {DEFAULT} under a condition",
    ),
    "loop": (
        {"a.cfg": f'for i in 1 2; do {DEFAULT}="${DEFAULT} $i"; done\n'},
        f"{FOLDER}/a.cfg line 1 sets {DEFAULT} under a condition",
    ),
    "part under a condition": (
        {"grub": f'if [ -e /x ]; then EXTRA=a; fi\n{DEFAULT}="$EXTRA"\n'},
        f"{GRUB} line 1 sets EXTRA under a condition",
    ),
    "substitution": ({"grub": f'{DEFAULT}="a $(cat /x)"\n'}, f"{GRUB} line 1 has $(cat /x)"),
    "backquotes": ({"grub": f"{DEFAULT}=`cat /x`\n"}, f"{GRUB} line 1 has `cat /x`"),
    "expansion": ({"grub": f'{DEFAULT}="${{A:-quiet}}"\n'}, f"{GRUB} line 1 has ${{A:-quiet}}"),
    "unknown variable": ({"grub": f'{DEFAULT}="a=$HOSTNAME"\n'}, f"{GRUB} line 1 has $HOSTNAME, which these files do"),
    "argument": ({"grub": f'{DEFAULT}="a=$1"\n'}, f"{GRUB} line 1 has $1"),
    "quotes missing": ({"grub": f"{DEFAULT}=quiet splash\n"}, f"{GRUB} line 1 has {DEFAULT} in a command: are quotes"),
    "blanks": ({"grub": f'\n{DEFAULT} = "quiet"\n'}, f"{GRUB} line 2 has {DEFAULT} in a command: are quotes missing"),
    "appended as in bash": ({"a.cfg": f'{DEFAULT}+=" a"\n'}, f"{FOLDER}/a.cfg line 1 has {DEFAULT}+=, which sh"),
    "another file": ({"grub": ". /etc/os-release\n"}, f"{GRUB} line 1 has the command '.', after which anything"),
    "eval": ({"a.cfg": "true && eval X=1\n"}, f"{FOLDER}/a.cfg line 1 has the command 'eval'"),
    "open quotes": ({"grub": f'A=1\n{DEFAULT}="quiet\nB=2\n'}, f'{GRUB} line 2 has a " without its end'),
    "open single quotes": ({"grub": "A='1\n"}, f"{GRUB} line 1 has a ' without its end"),
    "open brackets": ({"grub": "A=${B\n"}, f"{GRUB} line 1 has a {{ without its end"),
    "open block": ({"grub": "if true; then\nA=1\n"}, f"{GRUB} line 3 is the end of the file, within a block"),
    "block without beginning": ({"grub": "A=1\nfi\n"}, f"{GRUB} line 2 has a fi without its beginning"),
    "here-document": ({"grub": "cat <<END\nA=1\nEND\n"}, f"{GRUB} line 1 has a here-document"),
    "two lines": ({"grub": f'{DEFAULT}="quiet\nsplash"\n'}, f"{GRUB} line 1 puts the end of a line into {DEFAULT}"),
    "lines of DOS": ({"grub": f"{DEFAULT}=quiet\r\n"}, f"{GRUB} line 1 puts the end of a line into {DEFAULT}"),
}  # fmt: skip


@pytest.mark.parametrize("check_mode", [False, True], ids=["real", "check"])
@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_what_only_running_it_would_tell_is_refused(
    host: Host, files: dict[str, str | bytes], message: str, *, check_mode: bool
) -> None:
    machine = GrubHost(host)
    write(host, files)
    before = host.texts()
    with pytest.raises(SettingsError) as refusal:
        machine.converge(FOUR.split(), check_mode=check_mode)
    assert str(refusal.value).startswith(message)
    assert host.texts() == before
    assert not machine.converge([], check_mode=check_mode).records, "who wants nothing is not kept from it"


def test_each_word_has_its_place() -> None:
    scripts = [
        ("grub", 'A="x\\\ny"\nGRUB_CMDLINE_LINUX_DEFAULT="a $A z"\n'),
        ("z.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="first\\\n$GRUB_CMDLINE_LINUX_DEFAULT" GRUB_CMDLINE_LINUX=b\n'),
    ]
    configuration = read_scripts(scripts)
    assert [(word.text, word.origin) for word in configuration.words] == [
        ("b", "z.cfg line 2"),
        ("firsta", "z.cfg line 1"),
        ("xy", "grub line 1"),
        ("z", "grub line 3"),
    ]
    assert configuration.assigned == "z.cfg line 1"
