# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv 0.13.8 said when it failed, and what a user is told. Recorded, but for the names of hosts and paths."""

from __future__ import annotations

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import SettingsError
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_failure import (
    InterpreterBrokenError,
    InterpreterMissingError,
    failure,
    lacks_network,
    refuse_ignored_settings,
)

NO_PYTHON = """\
error: No interpreter found for Python ==3.12.* in managed installations or search path

hint: A managed Python download is available for Python ==3.12.*, but Python downloads are set to 'never'
"""
BROKEN_PYTHON = "error: Querying Python at `/p/.venv/bin/python` failed with exit status exit status: 3\n"
NOT_A_PYTHON = """\
error: Failed to inspect Python interpreter from provided path at `/usr/bin/true`
  cause: Querying Python at `/usr/bin/true` returned an invalid response: EOF while parsing a value at line 1 column 0
"""
UNREACHABLE = """\
error: Request failed after 3 retries in 7.2s
  cause: Failed to fetch: https://index.example/simple/packaging/
  cause: error sending request for url (https://index.example/simple/packaging/)
  cause: client error (Connect)
  cause: dns error
  cause: error resolving DNS
  cause: failed to lookup address information: Name or service not known
"""
OFFLINE = """\
error: Failed to download `idna==3.20`
  cause: Network connectivity is disabled, but the requested data wasn't found in the cache: https://files.example/idna

hint: `idna` (v3.20) was included because `p1` (v0.1.0) depends on `idna`
"""
OFFLINE_GIT = """\
   Updating https://git.example/gp (HEAD)
error: Failed to download and build `gp @ git+https://git.example/gp@848ed212b9f574f57bbbaf44d797314226045930`
  cause: Git operation failed
  cause: failed to clone into: /c/git-v1/db/793538591bb6e695
  cause: failed to fetch commit `848ed212b9f574f57bbbaf44d797314226045930`
  cause: Remote Git fetches are not allowed because network connectivity is disabled (i.e., with `--offline`)

hint: `gp` was included because `fine` (v1) depends on `gp`
"""
OFFLINE_RESOLUTION = """\
error: No solution found when resolving dependencies
  cause: Because sniffio was not found in the cache and your project depends on sniffio, we can conclude that your \
project's requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled. When the network is disabled, registry packages may \
only be read from the cache.
"""
IMPOSSIBLE = """\
Using CPython 3.11.2 interpreter at: /usr/bin/python3
error: No solution found when resolving dependencies
  cause: Because only sniffio<=1.3.1 is available and your project depends on sniffio>=99, we can conclude that your \
project's requirements are unsatisfiable.
"""
NO_DATES = """\
warning: `alpha-1.0-py3-none-any.whl` is missing an upload date, but user provided: 2026-11-21T00:00:00Z
error: No solution found when resolving dependencies
  cause: Because there are no versions of alpha and your project depends on alpha, we can conclude that your project's \
requirements are unsatisfiable.

hint: `alpha` was filtered by `exclude-newer` to only include packages uploaded before 2026-11-21T00:00:00Z.
"""
BROKEN_PYPROJECT = """\
warning: Failed to parse `pyproject.toml` during settings discovery:
  TOML parse error at line 10, column 9
     |
  10 | [project
     |         ^
  unclosed table, expected `]`

error: Failed to parse: pyproject.toml
  cause: TOML parse error at line 10, column 9
            |
         10 | [project
            |         ^
         unclosed table, expected `]`
"""
IGNORED_SETTINGS = """\
warning: Failed to parse `pyproject.toml` during settings discovery:
  TOML parse error at line 11, column 1
     |
  11 | nonsense=1
     | ^^^^^^^^
  unknown field `nonsense`, expected one of `required-version`

Resolved 6 packages in 0.97ms
"""
DISK_FULL = """\
Using CPython 3.11.2 interpreter at: /usr/bin/python3
Creating virtual environment at: .venv
Prepared 1 package in 94ms
warning: Failed to hardlink files; falling back to full copy. This may lead to degraded performance.
error: Failed to install: idna-3.20-py3-none-any.whl (idna==3.20)
  cause: Failed to copy to `/p/.venv/lib/python3.11/site-packages/idna/uts46data.py`
  cause: failed to copy file from /c/idna/uts46data.py to /p/.tmpRHWHRT: No space left on device (os error 28)
"""
NOT_WRITABLE = """\
Using CPython 3.11.2 interpreter at: /usr/bin/python3
Resolved 6 packages in 123ms
error: Permission denied (os error 13) at path "/p/.tmpkrc9f3"
"""
NEWER_LOCK = (
    "error: The lockfile at `uv.lock` uses an unsupported schema version (v2, but only v1 is supported). Downgrade to "
    "a compatible uv version, or remove the `uv.lock` prior to running `uv lock` or `uv sync`.\n"
)
FOREIGN_PYTHON = """\
Using CPython 3.11.2 interpreter at: /usr/bin/python3.11
error: The requested interpreter resolved to Python 3.11.2, which is incompatible with the project's Python \
requirement: `==3.12.*` (from `project.requires-python`)
"""
NO_EXTRA = """\
Would use project environment at: .venv
error: Extra `nope` is not defined in the `optional-dependencies` table for `p1`
"""
HASH = """\
error: Failed to download `idna==3.20`
  cause: Hash mismatch for `idna==3.20`

         Expected:
           sha256:007a

         Computed:
           sha256:ab7a
"""

TOLD = {
    "no interpreter": (
        NO_PYTHON,
        "there is no interpreter for it: wanted is Python ==3.12.*, this host has 3.11.2 (/usr/bin/python3)",
    ),
    "no interpreter at a path": (
        "error: No interpreter found at path `/nowhere/python`\n",
        "there is no interpreter for it: wanted is Python /nowhere/python, this host has 3.11.2 (/usr/bin/python3)",
    ),
    "broken interpreter": (
        BROKEN_PYTHON,
        "the interpreter does not work: Querying Python at `/p/.venv/bin/python` failed with exit status exit status",
    ),
    "not an interpreter": (NOT_A_PYTHON, "the interpreter does not work: Failed to inspect Python interpreter from"),
    "interpreter that does not fit": (
        FOREIGN_PYTHON,
        "that Python is not for this project: The requested interpreter resolved to Python 3.11.2, which is incompat",
    ),
    "index unreachable": (
        UNREACHABLE,
        "the index cannot be reached, and the cache does not suffice: Request failed after 3 retries in 7.2s\n  cause:",
    ),
    "not in the cache": (OFFLINE, "the index cannot be reached, and the cache does not suffice: Failed to download"),
    "impossible": (
        IMPOSSIBLE,
        "no set of versions satisfies pyproject.toml: No solution found when resolving dependencies\n  cause: Because",
    ),
    "an index without dates": (
        NO_DATES,
        "the index tells no dates of uploads, which exclude-newer takes: No solution found when resolving dependencies",
    ),
    "pyproject broken": (
        BROKEN_PYPROJECT,
        "pyproject.toml is broken: Failed to parse: pyproject.toml\n  cause: TOML parse error at line 10, column 9\n  ",
    ),
    "settings ignored": (
        IGNORED_SETTINGS,
        "uv cannot read its settings, and would go on without them: Failed to parse `pyproject.toml` during settings d",
    ),
    "disk full": (
        DISK_FULL,
        "the disk is full, or a quota is used up: Failed to install: idna-3.20-py3-none-any.whl (idna==3.20)\n",
    ),
    "not writable": (NOT_WRITABLE, "it cannot be written or read by its owner: Permission denied (os error 13) at pa"),
    "lock of a newer uv": (NEWER_LOCK, "uv.lock was written by another version of uv: The lockfile at `uv.lock` uses"),
    "extra that is not there": (NO_EXTRA, "pyproject.toml has no such thing: Extra `nope` is not defined in the"),
    "another hash": (HASH, "what the index serves is not what uv.lock names: Failed to download `idna==3.20`\n"),
    "something new": ("error: The moon is in the way\nhint: Wait\n", "uv failed: The moon is in the way"),
    "nothing": ("", "uv failed: it said nothing"),
}


@pytest.mark.parametrize(("said", "told"), TOLD.values(), ids=TOLD)
def test_each_cause_has_a_message_of_its_own(said: str, told: str) -> None:
    error = failure(Output(2, "", said), lambda: ("3.11.2 (/usr/bin/python3)",))
    assert str(error).startswith(told)
    assert "hint" not in str(error)


def test_pictures_of_where_are_left_out() -> None:
    told = str(failure(Output(2, "", BROKEN_PYPROJECT), lambda: ()))
    assert told.splitlines()[1:] == [
        "  cause: TOML parse error at line 10, column 9",
        "         unclosed table, expected `]`",
    ]


def test_messages_differ() -> None:
    first = [told.partition(":")[0] for _said, told in TOLD.values()]
    assert len(set(first)) == len(TOLD) - 4  # two for each of interpreter, broken one, index, and uv failed


def test_long_answers_are_cut() -> None:
    said = "error: no\n" + "".join(f"  cause: {number}{'x' * 300}\n" for number in range(50))
    lines = str(failure(Output(2, "", said), lambda: ())).splitlines()
    assert len(lines) == 11
    assert max(map(len, lines)) < 220
    assert lines[-1].startswith("  cause: 49x")


@pytest.mark.parametrize(
    ("said", "code", "lacks"),
    [
        (UNREACHABLE, 2, True),
        (OFFLINE, 1, True),
        (OFFLINE_GIT, 1, True),
        (OFFLINE_RESOLUTION, 1, True),
        (OFFLINE_RESOLUTION, 0, False),
        (IMPOSSIBLE, 1, False),
        (HASH, 1, False),
    ],
)
def test_whether_it_was_the_network(said: str, code: int, *, lacks: bool) -> None:
    assert lacks_network(Output(code, "", said)) is lacks


def test_which_interpreter_it_was() -> None:
    broken, missing = (failure(Output(2, "", said), lambda: ()) for said in (BROKEN_PYTHON, NO_PYTHON))
    assert isinstance(broken, InterpreterBrokenError)
    assert broken.interpreter == "/p/.venv/bin/python"
    assert isinstance(missing, InterpreterMissingError)
    assert missing.wanted == "==3.12.*"
    assert str(missing).endswith("this host has none")


def test_settings_that_uv_ignores_are_an_error() -> None:
    with pytest.raises(SettingsError, match="would go on without them"):
        refuse_ignored_settings(Output(0, "", IGNORED_SETTINGS))
    refuse_ignored_settings(Output(0, "", "Resolved 6 packages in 1ms\n"))
