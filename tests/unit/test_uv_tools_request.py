# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask of uv_tools, and what is refused before anything is read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import InputError
from ansible_collections.mlrig.workstation.plugins.module_utils._uv_tools_request import Tool, parse_tools

from .uv_tools_host import HASH, options_of

EXACT = "must be one exact version, such as 1.2.3; got: "
NAME = "must be a name of letters, digits and . _ -; got: "
DIGITS = "must be sha256: and 64 digits of a hexadecimal number; got: "
DATE = "exclude_newer must be a date, such as 2026-11-20; got: "
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"version": "latest"}, f"version {EXACT}'latest'"),
    ({"version": ">=0.13"}, f"version {EXACT}'>=0.13'"),
    ({"version": "0.13.*"}, f"version {EXACT}'0.13.*'"),
    ({"version": "0.13.8\n"}, f"version {EXACT}'0.13.8\\n'"),
    ({"version": ""}, f"version {EXACT}''"),
    ({"hashes": []}, "hashes must name a wheel of uv; got: []"),
    ({"hashes": [HASH, HASH[:-1]]}, f"hashes[1] {DIGITS}'{HASH[:-1]}'"),
    ({"hashes": [HASH.removeprefix("sha256:")]}, f"hashes[0] {DIGITS}'aaa"),
    ({"hashes": [f"{HASH} --index-url=x"]}, f"hashes[0] {DIGITS}'sha256:aaa"),
    ({"tools": [{"name": "-x", "version": "1"}]}, f"tools[0].name {NAME}'-x'"),
    ({"tools": [{"name": "../x", "version": "1"}]}, f"tools[0].name {NAME}'../x'"),
    ({"tools": [{"name": "a[b]", "version": "1"}]}, f"tools[0].name {NAME}'a[b]'"),
    ({"tools": [{"name": "", "version": "1"}]}, f"tools[0].name {NAME}''"),
    ({"tools": [{"name": "x", "version": "1 2"}]}, f"tools[0].version {EXACT}'1 2'"),
    (
        {"tools": [{"name": "A_b", "version": "1"}, {"name": "a-B", "version": "2"}]},
        "tools[1].name must not be there twice; got: 'a-B'",
    ),
    (
        {"tools": [{"name": "UV", "version": "1"}]},
        "tools[0].name must not be uv, which is there without that; got: 'UV'",
    ),
    ({"exclude_newer": "yesterday"}, f"{DATE}'yesterday'"),
    ({"exclude_newer": "20261120"}, f"{DATE}'20261120'"),
    ({"exclude_newer": "2026-02-30"}, f"{DATE}'2026-02-30'"),
    ({"exclude_newer": "2026-11-20T25:00:00Z"}, f"{DATE}'2026-11-20T25:00:00Z'"),
    ({"index": "the-usual"}, "index must be an address, such as https://mirror.example/simple; got: 'the-usual'"),
    ({"environment": {"A B": "1"}}, "environment['A B'] must be the name of a variable, of letters, digits and _; g"),
    ({"environment": {"HOME": "/"}}, "environment['HOME'] must not be set, as it follows from who runs this; got"),
    ({"environment": {"UV_TOOL_DIR": "/t"}}, "environment['UV_TOOL_DIR'] must not be set, as it follows from where th"),
    ({"environment": {"A": None}}, "environment['A'] must be text of one line, in quotes; got: None"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message[:60] for _options, message in REFUSED])
def test_what_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse_tools(options_of(**options))
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("version", ["1", "0.13.8", "1.0rc1", "2.0b3.post1"])
def test_exact_versions(version: str) -> None:
    assert parse_tools(options_of(version=version)).uv == version


@pytest.mark.parametrize("date", ["2026-11-20", "2026-11-20T12:00:00Z"])
def test_dates(date: str) -> None:
    assert parse_tools(options_of(exclude_newer=date)).exclude_newer == date


def test_what_is_asked_for_is_normalised() -> None:
    request = parse_tools(options_of("Some_Tool==1.0", index="", exclude_newer="", environment={"UV_HTTP_TIMEOUT": 60}))
    assert request.tools == (Tool("some-tool", "1.0"),)
    assert (request.index, request.exclude_newer, request.environment) == (None, None, {"UV_HTTP_TIMEOUT": "60"})
