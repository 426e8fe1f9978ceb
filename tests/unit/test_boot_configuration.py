# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd does at boot: by tables of what it was seen to do, and next to the real systemd-tmpfiles."""

from __future__ import annotations

import os
import random
import shutil
import subprocess

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._boot_configuration import (
    BootConfiguration,
    parse_sysctl,
    parse_tmpfiles,
    path_matches,
    read_sysctl,
    read_tmpfiles,
    render_tmpfiles,
    sysctl_key,
    sysctl_path,
)

from .conftest import Host

CONF = "/proc/sys/net/ipv4/conf"


@pytest.mark.parametrize(
    ("key", "path", "spelling"),
    [
        ("vm.swappiness", "/proc/sys/vm/swappiness", "vm.swappiness"),
        ("vm/swappiness", "/proc/sys/vm/swappiness", "vm.swappiness"),
        ("/vm/swappiness", "/proc/sys/vm/swappiness", "vm.swappiness"),
        ("vm//./swappiness", "/proc/sys/vm/swappiness", "vm.swappiness"),
        ("net/ipv4/conf/eth0.100/arp_notify", f"{CONF}/eth0.100/arp_notify", "net/ipv4/conf/eth0.100/arp_notify"),
        ("net.ipv4.conf.eth0/100.arp_notify", f"{CONF}/eth0.100/arp_notify", "net/ipv4/conf/eth0.100/arp_notify"),
        ("net.ipv4.conf.*.arp_notify", f"{CONF}/*/arp_notify", "net.ipv4.conf.*.arp_notify"),
    ],
)
def test_all_spellings_of_a_key_are_one(key: str, path: str, spelling: str) -> None:
    assert sysctl_path(key) == path
    assert sysctl_key(path) == spelling
    assert sysctl_path(spelling) == path


@pytest.mark.parametrize(
    ("line", "assignment"),
    [
        ("a.b = 1", ("a.b", "1")),
        ("  a.b=1  ", ("a.b", "1")),
        ("a.b = 1 2\t3", ("a.b", "1 2\t3")),
        ("a.b = x=y", ("a.b", "x=y")),
        ("a.b =", ("a.b", "")),
        ("a.b = 1 # no comment", ("a.b", "1 # no comment")),
        ("a.b = |/bin/x %p", ("a.b", "|/bin/x %p")),
        ("-a.b = 1", ("a.b", "1")),
        ("- a.b = 1", ("a.b", "1")),
        ("-a.b", ("a.b", None)),
        ("- a.b", ("a.b", None)),
        ("a.b = 1\r", ("a.b", "1")),
        ("a.b = 1\x0c", ("a.b", "1\x0c")),
        ("# a.b = 1", None),
        ("; a.b = 1", None),
        ("a.b", None),
        ("", None),
    ],
)
def test_sysctl_line(line: str, assignment: tuple[str, str | None] | None) -> None:
    found = list(parse_sysctl(f"# first\n{line}\n"))
    assert found == ([] if assignment is None else [(2, *assignment)])


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("w /sys/a - - - - 1", ("/sys/a", "1")),
        ("  w\t/sys/a  -  -  -  -   1 2  ", ("/sys/a", "1 2")),
        ("w! /sys/a - - - - 1", ("/sys/a", "1")),
        ("w- /sys/a 0644 root root 10d 1", ("/sys/a", "1")),
        ('w "/sys/a" - - - - 1', ("/sys/a", "1")),
        ("w '/sys/a b' - - - \"-\" 1", ("/sys/a b", "1")),
        (r"w /sys/\x61 - - - - 1", ("/sys/a", "1")),
        ("w /sys//./a/ - - - - 1", ("/sys/a", "1")),
        ('w /sys/a - - - - "1" # \'', ("/sys/a", '"1" # \'')),
        (r"w /sys/a - - - - x\ny\\%%z\x25", ("/sys/a", "x\ny\\%z%")),
        (r"w /sys/a - - - - \x2d\s\101", ("/sys/a", "- A")),
        ("w /sys/a - - - - -", None),
        ("w /sys/a - - - - ", None),
        ("w /sys/a - - - 1", None),
        (r"w /sys/a - - - - 1\q", None),
        (r"w /sys/a - - - - 1\7", None),
        ("w /sys/a - - - - 1\\", None),
        ("wx /sys/a - - - - 1", None),
        ("f /sys/a - - - - 1", None),
        ("# w /sys/a - - - - 1", None),
        ("", None),
    ],
)
def test_tmpfiles_line(line: str, written: tuple[str, str] | None) -> None:
    found = list(parse_tmpfiles(f"# first\n{line}\n"))
    assert found == ([] if written is None else [(2, False, *written)])


def test_tmpfiles_line_that_appends() -> None:
    assert list(parse_tmpfiles("w+! /sys/a - - - - 1")) == [(1, True, "/sys/a", "1")]


AWKWARD = ["1", "-", "-1", "%", "%%", "%v", "a%", "\\", "\\n", "\\x41", "a\\", '"q"', "'", "#", "# x", "=", "é", "- -"]


@pytest.mark.parametrize("value", AWKWARD)
def test_rendered_line_is_read_as_the_same_value(value: str) -> None:
    assert list(parse_tmpfiles(render_tmpfiles("/sys/a", value))) == [(1, False, "/sys/a", value)]


@pytest.mark.parametrize(
    ("path", "pattern", "matches"),
    [
        ("/sys/a/b", "/sys/a/b", True),
        ("/sys/a/b", "/sys/*/b", True),
        ("/sys/a/b", "/sys/*", False),
        ("/sys/a/b", "/sys/**", False),
        ("/sys/a/b", "/sys/?/[ab]", True),
        ("/sys/a/b", "/sys/a/[!b]", False),
        ("/sys/a/b", "/sys/a/[^b]", False),
        ("/sys/a/b", "/sys/{a,c}/b", True),
        ("/sys/c/b", "/sys/{a,{d,c}}/*", True),
        ("/sys/b/b", "/sys/{a,c}/b", False),
        ("/sys/[x]", "/sys/[x]", True),
        ("/sys/*/b", "/sys/*/*", True),
    ],
)
def test_path_matches(path: str, pattern: str, *, matches: bool) -> None:
    assert path_matches(path, pattern) is matches


def _decided(boot: BootConfiguration, path: str) -> str | None:
    deciding = boot.deciding(path)
    return None if deciding is None else f"{deciding.file}:{deciding.line} {deciding.value}"


# Each row was seen in the kernel's values after a run of systemd-sysctl 257.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net.ipv4.conf.lo.x=1\nnet.ipv4.conf.*.x=0\nnet.ipv4.conf.all.x=1", {"lo": "1", "all": "1", "eth0": "0"}),
        ("net.ipv4.conf.*.x=1\n-net.ipv4.conf.lo.x", {"lo": None, "all": "1"}),
        ("net.ipv4.conf.lo.x=1\n-net.ipv4.conf.lo.x\nnet.ipv4.conf.*.x=1", {"lo": None, "all": "1"}),
        ("-net.ipv4.conf.lo.x\nnet.ipv4.conf.lo.x=1", {"lo": "1"}),
        ("net.ipv4.conf.*.x=1\n-net.ipv4.conf.l*.x", {"lo": "1", "all": "1"}),
        ("net.ipv4.conf.*.x=1\n-net.ipv4.conf.*.x", {"lo": None, "all": None}),
        ("net.ipv4.conf.*.x=1\nnet.ipv4.conf.l*.x=0", {"lo": "0", "all": "1"}),
        ("net.ipv4.conf.l*.x=0\nnet.ipv4.conf.*.x=1", {"lo": "1", "all": "1"}),
        ("net.ipv4.conf.l*.x=0\nnet.ipv4.conf.*.x=1\nnet.ipv4.conf.l*.x=0", {"lo": "1"}),
        ("net/ipv4/conf/lo/x=1\n-net.ipv4.conf.all.x = 2", {"lo": "1", "all": "2"}),
        ("net.ipv4.conf.[^l]*.x=1", {"lo": None, "all": "1"}),
        ("net.ipv4.conf.{lo,all}.[x]=1", {"lo": "1", "all": "1", "eth0": None}),
        ("net.ipv4.conf.{lo,all}.x=1", {"lo": None, "all": None}),
        ("net.**.x=1", {"lo": None}),
    ],
)
def test_sysctl_order(host: Host, text: str, expected: dict[str, str | None]) -> None:
    host.write("/etc/sysctl.d/a.conf", text)
    boot = read_sysctl(host.root, {})
    found = {name: boot.deciding(f"{CONF}/{name}/x") for name in expected}
    assert {name: each and each.value for name, each in found.items()} == expected


# Seen in what systemd-tmpfiles 252 and 257 wrote.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("w /sys/a - - - - 1\nw /sys/a - - - - 2", "1"),
        ("w /sys/a - - - - 1\nw+ /sys/a - - - - 2", "1"),
        ("w+ /sys/a - - - - 1\nw /sys/a - - - - 2", "1"),
        ("w+ /sys/a - - - - 1\nw+ /sys/a - - - - 2", "2"),
        ("w+ /sys/a - - - - 1\nw /sys/* - - - - 3\nw+ /sys/a - - - - 2", "3"),
        ("w /sys/a - - - - 1\nw /sys/* - - - - 2", "2"),
        ("w /sys/* - - - - 2\nw /sys/a - - - - 1", "1"),
        ("w /sys/* - - - - 2\nw /sys/a - - - - 1\nw /sys/* - - - - 2", "1"),
        ("w /sys/{a,b} - - - - 1", "1"),
    ],
)
def test_tmpfiles_order(host: Host, text: str, value: str) -> None:
    host.write("/etc/tmpfiles.d/a.conf", text)
    deciding = read_tmpfiles(host.root, {}).deciding("/sys/a")
    assert deciding is not None
    assert deciding.value == value


LOW, HIGH = "/usr/lib/sysctl.d/a.conf", "/etc/sysctl.d/a.conf"


@pytest.mark.parametrize(
    ("files", "decided"),
    [
        ({LOW: "a.b=1", "/usr/local/lib/sysctl.d/a.conf": "a.b=2", "/run/sysctl.d/a.conf": "a.b=3"}, "/run"),
        ({LOW: "a.b=1", HIGH: "a.b=2"}, "/etc"),
        ({LOW: "a.b=1", HIGH: ""}, None),
        ({HIGH: "a.b=1", "/usr/lib/sysctl.d/b.conf": "a.b=2"}, "/usr/lib"),
        ({LOW: "a.b=1", "/etc/sysctl.d/b.conf.bak": "a.b=2", "/etc/sysctl.d/.z.conf": "a.b=3"}, "/usr/lib"),
    ],
    ids=["run", "etc", "empty file hides", "later name", "not read"],
)
def test_which_file_counts(host: Host, files: dict[str, str], decided: str | None) -> None:
    host.write_all(files)
    deciding = read_sysctl(host.root, {}).deciding("/proc/sys/a/b")
    assert (deciding and deciding.file.partition("/sysctl.d")[0]) == decided


@pytest.mark.parametrize("what", ["/dev/null", "/nowhere", "folder"])
def test_a_name_without_text_hides_others(host: Host, what: str) -> None:
    host.write(LOW, "a.b=1")
    if what == "folder":
        host.path(HIGH).mkdir(parents=True)
    else:
        host.link(HIGH, what)
    assert read_sysctl(host.root, {}).deciding("/proc/sys/a/b") is None


def test_link_to_a_file_is_read(host: Host) -> None:
    host.write("/etc/sysctl.conf", "# defaults\na.b=1\n")
    host.link("/etc/sysctl.d/99-sysctl.conf", "../sysctl.conf")
    assert _decided(read_sysctl(host.root, {}), "/proc/sys/a/b") == "/etc/sysctl.d/99-sysctl.conf:2 1"


def test_files_in_any_encoding_are_read(host: Host) -> None:
    host.write(HIGH, b"# caf\xe9\na.b=\xff\nc.d=1\r\n")
    boot = read_sysctl(host.root, {})
    assert _decided(boot, "/proc/sys/c/d") == f"{HIGH}:3 1"
    assert _decided(boot, "/proc/sys/a/b") == f"{HIGH}:2 \udcff"


def test_planned_text_stands_for_the_file(host: Host) -> None:
    host.write(HIGH, "a.b=1")
    assert _decided(read_sysctl(host.root, {HIGH: "a.b=2"}), "/proc/sys/a/b") == f"{HIGH}:1 2"
    assert _decided(read_sysctl(host.root, {HIGH: None}), "/proc/sys/a/b") is None
    new = "/etc/sysctl.d/b.conf"
    assert _decided(read_sysctl(host.root, {new: "a.b=3"}), "/proc/sys/a/b") == f"{new}:1 3"


def test_planned_file_hides_its_namesake(host: Host) -> None:
    host.write(LOW, "a.b=1\nc.d=1")
    boot = read_sysctl(host.root, {HIGH: "a.b=2"})
    assert _decided(boot, "/proc/sys/a/b") == f"{HIGH}:1 2"
    assert boot.deciding("/proc/sys/c/d") is None


ATTRIBUTES = ["/sys/t/a", "/sys/t/b", "/sys/u/a"]
needs_tmpfiles = pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="needs systemd-tmpfiles")


def _boot(host: Host) -> dict[str, str]:
    """What the real program writes into each attribute, in order. A pipe keeps all writes, as the kernel sees them."""
    pipes = {}
    for path in ATTRIBUTES:
        host.path(path).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(host.path(path))
        pipes[path] = os.open(host.path(path), os.O_RDWR)
        os.write(pipes[path], b"|")  # so that there is always something to read
    subprocess.run(["systemd-tmpfiles", f"--root={host.root}", "--create", "--boot"], check=False, capture_output=True)
    written = {path: os.read(pipe, 65536).decode()[1:] for path, pipe in pipes.items()}
    for pipe in pipes.values():
        os.close(pipe)
    return written


def _random_files(seed: int) -> dict[str, str]:
    chance = random.Random(seed)  # noqa: S311
    paths = [*ATTRIBUTES, "/sys/t/*", "/sys/*/a", "/sys/?/[!b]", "/sys/t/{a,b}", "/sys//t/./b", '"/sys/u/a"', "/sys/**"]
    types = ["w", "w", "w", "w!", "w+", "w+", "wx", "#w", "f"]
    files = {}
    for _file in range(chance.randint(1, 4)):
        folder = chance.choice(["etc/tmpfiles", "run/tmpfiles", "usr/local/lib/tmpfiles", "usr/lib/tmpfiles"])
        name = chance.choice(["a.conf", "b.conf", "c.conf", ".d.conf", "e.conf.bak"])
        lines = (
            f"{chance.choice(types)} {chance.choice(paths)} - - - - {chance.randint(10, 13)}"
            for _line in range(chance.randint(0, 5))
        )
        files[f"/{folder}.d/{name}"] = "\n".join(lines)
    return files


@needs_tmpfiles
@pytest.mark.parametrize("seed", range(40))
def test_tmpfiles_order_is_that_of_the_real_program(host: Host, seed: int) -> None:
    host.write_all(_random_files(seed))
    predicted = {path: read_tmpfiles(host.root, {}).deciding(path) for path in ATTRIBUTES}
    last = {path: values[-2:] or None for path, values in _boot(host).items()}
    assert {path: each and each.value for path, each in predicted.items()} == last


@needs_tmpfiles
@pytest.mark.parametrize("value", AWKWARD)
def test_rendered_line_is_written_as_the_same_value(host: Host, value: str) -> None:
    host.write("/etc/tmpfiles.d/mlrig.conf", render_tmpfiles(ATTRIBUTES[0], value))
    assert _boot(host)[ATTRIBUTES[0]] == value
