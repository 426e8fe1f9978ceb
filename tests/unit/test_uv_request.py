# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask of uv_project, and what is refused before anything is read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_command import environment_of
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_request import parse_projects

from .uv_host import PYPROJECT

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"path": "relative"}, "projects[0].path must be an absolute path; got: 'relative'"),
    ({"path": "/srv/../etc"}, "projects[0].path must be an absolute path; got: '/srv/../etc'"),
    ({"path": "/"}, "projects[0].path must be a folder of its own, as all in it belongs to the project; got: '/'"),
    ({"path": "~/"}, "projects[0].path must not be below ~ without an owner, whose home that is; got: '~/'"),
    ({"path": "~/", "owner": "ada"}, "projects[0].path must be a folder of its own, as all in it belongs to the p"),
    ({"path": "~bob/x", "owner": "ada"}, "projects[0].path must begin with ~/ or /; whose home it is, is for owner"),
    ({"path": "/p", "owner": "a b"}, "projects[0].owner must be the name of a user; got: 'a b'"),
    ({"path": "/p", "extras": "all"}, "projects[0].extras must be a list of names; got: 'all'"),
    ({"path": "/p", "extras": ["a", "--x"]}, "projects[0].extras[1] must be a name of letters, digits and . _ -; got"),
    ({"path": "/p", "groups": [3]}, "projects[0].groups[0] must be a name of letters, digits and . _ -; got: 3"),
    ({"path": "/p", "python": 3.1}, 'projects[0].python must be a version in quotes, such as "3.12", or the path of'),
    ({"path": "/p", "python": "2.7"}, 'projects[0].python must be a version in quotes, such as "3.12", or the path'),
    ({"path": "/p", "python": "python3"}, 'projects[0].python must be a version in quotes, such as "3.12", or the'),
    ({"path": "/p", "pyproject": "[project"}, "projects[0].pyproject must be TOML (Expected ']' at the end of a tabl"),
    ({"path": "/p", "pyproject": "[tool.uv]\n"}, "projects[0].pyproject must have a table [project] with a name; got"),
    ({"path": "/p", "environment": {"A B": "1"}}, "projects[0].environment['A B'] must be the name of a variable"),
    ({"path": "/p", "environment": {"UV_PYTHON": "3"}}, "projects[0].environment['UV_PYTHON'] must not be set, as it"),
    ({"path": "/p", "environment": {"UV_OFFLINE": True}}, "projects[0].environment['UV_OFFLINE'] must be text of one"),
    ({"path": "/p", "environment": {"A": "1\n2"}}, "projects[0].environment['A'] must be text of one line, in quotes"),
]


@pytest.mark.parametrize(("entry", "message"), REFUSED, ids=[message[12:60] for _entry, message in REFUSED])
def test_what_is_wrong_is_named(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_projects([entry], {})
    assert str(refusal.value).startswith(message)


def test_variables_for_all_are_checked_where_they_stand() -> None:
    with pytest.raises(InputError, match=r"^environment\['HOME'\] must not be set, as it follows from owner; got: '/'"):
        parse_projects([], {"HOME": "/"})


def test_a_project_is_named_once() -> None:
    with pytest.raises(InputError, match=r"projects\[1\].path must not repeat projects\[0\]; got: '/p//'"):
        parse_projects([{"path": "/p"}, {"path": "/p//"}], {})


def test_what_is_asked_for_is_normalised() -> None:
    entry = {
        "path": "~/a//b/",
        "owner": "ada",
        "extras": ["Flash_Attn", "flash-attn"],
        "groups": None,
        "python": "3.12",
        "pyproject": PYPROJECT,
        "environment": {"UV_CACHE_DIR": "/data/ada", "UV_HTTP_TIMEOUT": 60},
    }
    [project] = parse_projects([entry], {"UV_CACHE_DIR": "/data/all", "UV_LINK_MODE": "copy"})
    assert (project.path, project.extras, project.groups) == ("~/a/b", ("flash-attn",), ())
    assert environment_of(project) == {
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": "/data/ada",
        "UV_LINK_MODE": "copy",
        "UV_HTTP_TIMEOUT": "60",
        "UV_PYTHON": "3.12",
    }


def test_two_users_may_have_the_same_path_below_their_homes() -> None:
    projects = parse_projects([{"path": "~/p", "owner": "ada"}, {"path": "~/p", "owner": "bob"}], {})
    assert [each.owner for each in projects] == ["ada", "bob"]
