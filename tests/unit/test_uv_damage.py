# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage to an environment, and what of it sizes and hashes find."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_damage import find_damage

from .uv_host import install, record_line

FILES = {"alpha/__init__.py": "x = 1\n", "alpha/core.py": "y = 22\n", "../../../bin/alp": "#!/bin/sh\n"}


@pytest.fixture
def info(tmp_path: Path) -> Path:
    """The folder of metadata of a package that is whole, beside another one that is whole, too."""
    install(tmp_path, "Beta_Two", "2.0", {"beta.py": ""})
    return install(tmp_path, "alpha", "1.0", FILES)


def found_in(environment: Path, *, hashes: bool = False) -> dict[str, list[str]]:
    return {name: each.faults for name, each in find_damage(environment, hashes=hashes).items()}


def edit(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def append_record(info: Path, line: str) -> None:
    with (info / "RECORD").open("a") as stream:
        stream.write(line)


GONE = "alpha-1.0.dist-info/RECORD is gone"
# What is done, what sizes tell of it, and what hashes tell.
DAMAGES: dict[str, tuple[Callable[[Path], object], list[str], list[str] | None]] = {
    "nothing": (lambda _info: None, [], None),
    "file deleted": (lambda info: (info.parent / "alpha/core.py").unlink(), ["alpha/core.py is gone"], None),
    "script deleted": (
        lambda info: (info.parent / "../../../bin/alp").unlink(),
        ["../../../bin/alp is gone"],
        None,
    ),
    "file truncated": (
        lambda info: os.truncate(info.parent / "alpha/core.py", 3),
        ["alpha/core.py has 3 bytes instead of 7"],
        None,
    ),
    "file edited, of the same size": (
        lambda info: edit(info.parent / "alpha/core.py", b"y = 23\n"),
        [],
        ["alpha/core.py has another content"],
    ),
    "folder in place of a file": (
        lambda info: ((info.parent / "alpha").rename(info.parent / "x"), (info.parent / "alpha").write_text("")),
        ["alpha/__init__.py: Not a directory", "alpha/core.py: Not a directory"],
        None,
    ),
    "link to nowhere": (
        lambda info: ((info / "WHEEL").unlink(), (info / "WHEEL").symlink_to("/nowhere")),
        ["alpha-1.0.dist-info/WHEEL is gone"],
        None,
    ),
    "METADATA deleted": (
        lambda info: (info / "METADATA").unlink(),
        ["alpha-1.0.dist-info/METADATA is gone"],
        None,
    ),
    "RECORD deleted": (lambda info: (info / "RECORD").unlink(), [GONE], None),
    "RECORD empty": (lambda info: edit(info / "RECORD", b""), ["alpha-1.0.dist-info/RECORD is empty"], None),
    "RECORD cut off": (
        lambda info: edit(info / "RECORD", (info / "RECORD").read_bytes()[:70]),
        ["alpha-1.0.dist-info/RECORD is cut off"],
        None,
    ),
    "RECORD of zeros": (
        lambda info: edit(info / "RECORD", bytes(50)),
        ["alpha-1.0.dist-info/RECORD cannot be read", "alpha-1.0.dist-info/RECORD is empty"],
        None,
    ),
    "RECORD not UTF-8": (
        lambda info: edit(info / "RECORD", b"\xff,,\n"),
        ["alpha-1.0.dist-info/RECORD cannot be read", "alpha-1.0.dist-info/RECORD is empty"],
        None,
    ),
    "Python's cache": (lambda info: append_record(info, "alpha/__pycache__/core.cpython-311.pyc,,\n"), [], None),
    "what cannot be read": (
        lambda info: append_record(info, "alpha,sha256=x,\n"),
        [],
        ["alpha: Is a directory"],
    ),
    "a module without its source deleted": (
        lambda info: append_record(info, "alpha/closed.pyc,,7\n"),
        ["alpha/closed.pyc is gone"],
        None,
    ),
    "outside of the environment": (
        lambda info: append_record(info, "/bin/sh,,\n/nowhere/alp,,\n../../../../nowhere,,\n"),
        ["/nowhere/alp is gone", "../../../../nowhere is gone"],
        None,
    ),
    "a separator of lines in a name": (
        lambda info: (edit(info.parent / "a\u2028b.py", b"1"), append_record(info, "a\u2028b.py,,1\n")),
        [],
        None,
    ),
    "a folder of several packages": (
        lambda info: (
            install(info.parents[3], "gamma", "1", {"alpha/gamma.py": "1"}),
            append_record(info, "alpha/,,\n"),
        ),
        [],
        None,
    ),
    "a comma in a name": (
        lambda info: (edit(info.parent / "a,b.py", b"1"), append_record(info, '"a,b.py",,1\n')),
        [],
        None,
    ),
    "an unknown algorithm": (
        lambda info: append_record(info, "alpha/core.py,sha999=x,7\nalpha/core.py,,7\n"),
        [],
        None,
    ),
    "dist-info deleted": (lambda info: [each.unlink() for each in info.iterdir()] and info.rmdir(), [], None),
    "rest of pip": (lambda info: info.with_name("~lpha-1.0.dist-info").mkdir(), [], None),
}


@pytest.mark.parametrize(("act", "sizes", "hashes"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named(
    tmp_path: Path, info: Path, act: Callable[[Path], object], sizes: list[str], hashes: list[str] | None
) -> None:
    act(info)
    assert found_in(tmp_path) == ({"alpha": sizes} if sizes else {})
    wanted = sizes if hashes is None else hashes
    assert found_in(tmp_path, hashes=True) == ({"alpha": wanted} if wanted else {})


@pytest.mark.parametrize("content", [b"# a\n", b"# bb\n"], ids=["of the first", "of the second"])
def test_a_file_of_two_packages_is_right_as_one_of_them_had_it(tmp_path: Path, content: bytes) -> None:
    first = install(tmp_path, "alpha", "1.0", {"shared/__init__.py": "# a\n"})
    install(tmp_path, "beta", "1.0", {"shared/__init__.py": "# bb\n"})
    edit(first.parent / "shared/__init__.py", content)
    assert found_in(tmp_path, hashes=True) == {}
    edit(first.parent / "shared/__init__.py", b"")
    fault = ["shared/__init__.py has 0 bytes instead of 4 or 5"]
    assert found_in(tmp_path) == {"alpha": fault, "beta": fault}
    edit(first.parent / "shared/__init__.py", b"####")
    fault = ["shared/__init__.py has another content"]
    assert found_in(tmp_path, hashes=True) == {"alpha": fault, "beta": fault}


def test_few_files_are_told_and_the_others_counted(tmp_path: Path) -> None:
    install(tmp_path, "alpha", "1.0", {f"a{number}.py": "" for number in range(9)})
    for number in range(9):
        (tmp_path / f"lib/python3.11/site-packages/a{number}.py").unlink()
    package = find_damage(tmp_path, hashes=False)["alpha"]
    assert package.summary == "a0.py is gone, a1.py is gone, a2.py is gone and 6 more"
    assert package.actual == "1.0, with damage to 9 files"


def test_without_an_environment_there_is_no_damage(tmp_path: Path) -> None:
    assert found_in(tmp_path) == {}


def test_names_are_those_that_uv_uses(tmp_path: Path, info: Path) -> None:
    (info.parent / "beta.py").unlink()
    assert found_in(tmp_path) == {"beta-two": ["beta.py is gone"]}


def test_a_record_line_is_as_uv_writes_it() -> None:
    assert record_line("x", b"") == "x,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"
