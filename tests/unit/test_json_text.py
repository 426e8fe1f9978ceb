# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._json_text import parse_object, read_value, set_value
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import RequestError

TIGHT = '{"b":1,"a":[1,2]}'
RUNTIME = {"path": "", "args": []}


@pytest.mark.parametrize(
    ("text", "path", "value", "expected"),
    [
        ("", ["a"], "x", '{\n    "a": "x"\n}\n'),
        (" \n", ["a"], True, '{\n    "a": true\n}\n'),
        ("{}", ["a"], 1, '{\n    "a": 1\n}'),
        ("{ }\n", ["a", "b"], 1, '{\n    "a": {\n        "b": 1\n    }\n}\n'),
        ('{"a": 1.0e3}', ["a"], 2, '{"a": 2}'),
        (TIGHT, ["c"], {"d": []}, '{"b":1,"a":[1,2], "c": {"d": []}}'),
        (TIGHT, ["b"], None, '{"b":null,"a":[1,2]}'),
        # Its own indentation, numbers and escapes stay; a comma comes where the next member does.
        (
            '{\r\n\t"z": 1e3,\r\n\t"\\u0061": "\\u00e4"\r\n}',
            ["b"],
            "ö",
            '{\r\n\t"z": 1e3,\r\n\t"\\u0061": "\\u00e4",\r\n\t"b": "ö"\r\n}',
        ),
        ('{"\\u0061": 1}', ["a"], 2, '{"\\u0061": 2}'),
        (
            '{\n  "runtimes": {\n    "kata": {}\n  }\n}',
            ["runtimes", "nvidia"],
            RUNTIME,
            '{\n  "runtimes": {\n    "kata": {},\n    "nvidia": {\n      "path": "",\n      "args": []\n    }\n  }\n}',
        ),
        ('{\n  "o": {}\n}', ["o", "k"], "v", '{\n  "o": {\n    "k": "v"\n  }\n}'),
        ('{"a": 1, "a": 2}', ["a"], 3, '{"a": 1, "a": 3}'),
        ('{"a": "}", "b": {"c": "{,"}}', ["b", "c"], 0, '{"a": "}", "b": {"c": 0}}'),
    ],
)
def test_one_value_is_set_and_every_other_byte_stays(text: str, path: list[str], value: object, expected: str) -> None:
    done = set_value(text, path, value)
    assert done == expected
    assert read_value(parse_object(done, "it"), path, "it") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,}', "daemon.json is no JSON: line 1, column 9: "),
        ('{\n  // mine\n  "a": 1\n}', "daemon.json is no JSON: line 2, column 3: Expecting property name"),
        ('{"a": 1', "daemon.json is no JSON: line 1, column 8: "),
        ("[1]", r"daemon.json must hold a JSON object; got: \[1\]"),
    ],
)
def test_what_is_no_object_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        parse_object(text, "daemon.json")


def test_what_is_in_the_way_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^daemon.json: log-opts must be an object; got: \"few\"$"):
        read_value({"log-opts": "few"}, ["log-opts", "max-size"], "daemon.json")


@pytest.mark.parametrize("document", [{}, {"a": {"b": {"c": 1}}, "d": [{}, []]}, {"runtimes": {"nvidia": RUNTIME}}])
@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_any_layout_can_be_edited(document: dict[str, Any], indent: int | str | None) -> None:
    text = json.dumps(document, indent=indent)
    for path in (["a", "b", "x"], ["log-driver"], ["runtimes", "other"]):
        text = set_value(text, path, "new")
        assert read_value(parse_object(text, "it"), path, "it") == "new"
    assert all(parse_object(text, "it")[key] for key in document)
