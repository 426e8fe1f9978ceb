# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An apt source: its key, its files, and what it takes over from others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.plugins.module_utils._apt import Output
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_lists import active, find, location, matcher
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_source import make_plan
from ansible_collections.mlrig.workstation.plugins.module_utils._apt_source_request import parse_request
from ansible_collections.mlrig.workstation.plugins.module_utils._key_download import (
    download,
    find_proxies,
    parse_apt_proxies,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import (
    InputError,
    RequestError,
    Settings,
    SettingsError,
    converge,
)

from .apt_host import FakeApt
from .conftest import Host
from .test_openpgp import ARMOURED, FINGERPRINT, PACKETS, SUBKEY

DEFAULTS: dict[str, Any] = {
    "name": "nvidia",
    "state": "present",
    "uris": ["https://example.invalid/repos/ubuntu2404/x86_64"],
    "suites": ["/"],
    "components": [],
    "architectures": [],
    "key": None,
    "key_url": None,
    "fingerprints": [],
    "proxy": None,
    "takes_over": [],
}
FOLDER = "/etc/apt/sources.list.d"
SOURCE = f"{FOLDER}/mlrig-nvidia.sources"
KEY_FILE = "/etc/apt/keyrings/mlrig-nvidia.gpg"
TEXT = """\
# Managed by mlrig.workstation (apt_source): what is edited here is undone by its next run.
Types: deb
URIs: https://example.invalid/repos/ubuntu2404/x86_64
Suites: /
Signed-By: /etc/apt/keyrings/mlrig-nvidia.gpg
"""
ROW = "deb [arch=amd64 signed-by=/k.gpg] http://example.invalid/repos/ubuntu2404/x86_64/ /"


def source(apt: FakeApt, *, check_mode: bool = False, **options: Any) -> Settings:
    if not {"key", "key_url"} & options.keys() and options.get("state") != "absent":
        options["key"] = ARMOURED
    request = parse_request(DEFAULTS | options)
    return converge(lambda: make_plan(request, apt, apt.host.root), check_mode=check_mode)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"name": "../x"}, "name"),
        ({"uris": []}, "uris"),
        ({"uris": ["ftp://x/y"]}, r"uris\[0\]"),
        ({"uris": ["https://x/y z"]}, r"uris\[0\]"),
        ({"suites": []}, "suites"),
        ({"suites": ["/", "noble"]}, "suites"),
        ({"suites": ["noble"]}, "suites"),
        ({"components": ["main"]}, "suites"),
        ({"key": None}, "key, key_url"),
        ({"key_url": "https://x/k"}, "key, key_url"),
        ({"key": "relative.asc"}, "key"),
        ({"key": None, "key_url": "https://x/k"}, "fingerprints"),
        ({"key": None, "key_url": "gopher://x/k", "fingerprints": [FINGERPRINT]}, "key_url"),
        ({"fingerprints": [FINGERPRINT[-16:]]}, r"fingerprints\[0\]"),
        ({"proxy": "proxy:3128"}, "proxy"),
    ],
)
def test_wrong_input_is_refused(options: dict[str, Any], where: str) -> None:
    with pytest.raises(InputError, match=f"^{where} "):
        parse_request(DEFAULTS | {"key": ARMOURED} | options)


def test_a_source_is_written_with_its_key(host: Host) -> None:
    apt = FakeApt(host)
    assert len(source(apt).differing) == 2
    assert host.read(SOURCE) == TEXT
    assert host.path(KEY_FILE).read_bytes() == PACKETS
    before = host.texts()
    commands = len(apt.commands)
    assert not source(apt).differing
    assert (host.texts(), len(apt.commands)) == (before, commands)


def test_a_source_that_is_not_flat(host: Host) -> None:
    source(FakeApt(host), suites=["noble"], components=["main", "extra"], architectures=["amd64"])
    assert "Suites: noble\nComponents: main extra\nArchitectures: amd64\nSigned-By" in host.read(SOURCE)


def test_check_mode_writes_nothing_and_asks_no_network(host: Host) -> None:
    key = {"key_url": "http://127.0.0.1:1/key", "fingerprints": [FINGERPRINT]}
    assert len(source(FakeApt(host), check_mode=True, **key).differing) == 2
    assert host.texts() == {}


@pytest.mark.parametrize(
    ("key", "fingerprints", "fault"),
    [
        (ARMOURED, ["0" * 40], f"wrong key: its fingerprint is {FINGERPRINT}, accepted is 0000"),
        (ARMOURED, [SUBKEY], f"accepted is a subkey; name its primary key, {FINGERPRINT}"),
        ("<html>login</html>", [FINGERPRINT], "this is no public key of OpenPGP"),
    ],
)
def test_a_wrong_key_is_refused_and_changes_nothing(host: Host, key: str, fingerprints: list[str], fault: str) -> None:
    host.write("/root/key", key)
    before = host.texts()
    for given in ({"key": "/root/key"}, {"key_url": f"file://{host.path('/root/key')}"}):
        with pytest.raises(RequestError, match=fault):
            source(FakeApt(host), fingerprints=fingerprints, **given)
    assert host.texts() == before


def test_one_wrong_key_beside_the_right_one_is_refused(host: Host) -> None:
    other = PACKETS.replace(b"\x04\x6b\x01\xa3\x37\x16", b"\x04\x6b\x01\xa3\x38\x16", 1)
    host.path("/key").write_bytes(PACKETS + other)
    with pytest.raises(RequestError, match="wrong key"):
        source(FakeApt(host), key="/key", fingerprints=[FINGERPRINT])


def test_an_accepted_key_is_not_downloaded_again(host: Host) -> None:
    url = host.write("/k", ARMOURED)
    spaced = " ".join(FINGERPRINT[at : at + 4] for at in range(0, 40, 4)).lower()
    source(FakeApt(host), key_url=f"file://{url}", fingerprints=["1" * 40, spaced])
    url.unlink()
    assert not source(FakeApt(host), key_url=f"file://{url}", fingerprints=["1" * 40, spaced]).differing
    host.write(KEY_FILE, "damaged")
    with pytest.raises(SettingsError, match=r"cannot download the key file://.*No such file"):
        source(FakeApt(host), key_url=f"file://{url}", fingerprints=[FINGERPRINT])


@pytest.mark.parametrize("there", [True, False])
def test_a_source_that_apt_cannot_use_leaves_the_host_as_it_was(host: Host, there: bool) -> None:  # noqa: FBT001
    if there:
        source(FakeApt(host), proxy="http://old:1")
        host.write(KEY_FILE, "another key")
    host.write(f"{FOLDER}/cuda.list", f"{ROW}\n")
    before = host.texts()
    fault = Output(100, "", "E: The repository 'https://example.invalid Release' does not have a Release file.\n")
    apt = FakeApt(host, answers={"apt-get update": [fault]})
    with pytest.raises(SettingsError, match=r"(?s)apt cannot use https://example.*does not have a Release file"):
        source(apt, proxy="http://new:2", suites=["other/"], takes_over=["https://example.invalid/*"])
    assert host.texts() == before


@pytest.mark.parametrize(
    ("old", "new", "tried"),
    [
        ({}, {}, []),
        ({}, {"proxy": "http://new:2"}, ["http://new:2"]),
        ({"proxy": "http://old:1"}, {"proxy": "DIRECT"}, ["DIRECT"]),
        ({"proxy": "http://old:1"}, {}, [""]),
        ({"proxy": "http://old:1"}, {"uris": ["https://else.invalid/"]}, []),
    ],
)
def test_a_source_is_tried_as_it_is_going_to_be(
    host: Host, old: dict[str, Any], new: dict[str, Any], tried: list[str]
) -> None:
    source(FakeApt(host), **old)
    host.write(KEY_FILE, "another key")
    seen: list[tuple[bytes, list[str]]] = []
    apt = FakeApt(host)

    def look(*command: str) -> Output:
        if command[0] == "apt-get":
            [draft] = [word.rpartition("=")[2] for word in command if "::sourcelist=" in word]
            fields = dict(line.split(": ", 1) for line in Path(draft).read_text().splitlines()[1:])
            key = Path(fields["Signed-By"]).read_bytes()
            proxies = [word.rpartition("=")[2] for word in command if "::Proxy::" in word]
            assert host.read(KEY_FILE) == "another key"
            seen.append((key, proxies))
        return apt(*command)

    request = parse_request(DEFAULTS | {"key": ARMOURED} | new)
    assert converge(lambda: make_plan(request, look, host.root), check_mode=False).differing
    assert seen == [(PACKETS, tried)]
    assert not [file for file in host.texts() if "/run/" in file]


def test_a_proxy_is_for_the_hosts_of_the_source_alone(host: Host) -> None:
    source(FakeApt(host), proxy="http://proxy:3128")
    text = host.read("/etc/apt/apt.conf.d/52mlrig-nvidia-proxy")
    assert text.splitlines()[1:] == ['Acquire::https::Proxy::example.invalid "http://proxy:3128";']
    source(FakeApt(host))
    assert not host.path("/etc/apt/apt.conf.d/52mlrig-nvidia-proxy").exists()


def test_absent_takes_all_its_files(host: Host) -> None:
    host.write(f"{FOLDER}/docker.list", "deb https://docker.invalid noble stable\n")
    before = host.texts()
    source(FakeApt(host), proxy="DIRECT")
    assert source(FakeApt(host), state="absent").differing
    assert host.texts() == before
    assert not source(FakeApt(host), state="absent").differing


STANZAS = """\
# by hand
Types: deb
URIs: https://example.invalid/repos/ubuntu2404/x86_64/
 https://other.invalid/debian
Suites: /

Types: deb
Enabled: no
URIs: https://example.invalid/repos/ubuntu2404/x86_64
Suites: /

Types: deb
URIs: https://example.invalid/repos
Suites: ubuntu2404/x86_64/
"""
LEFT = """\
# by hand
Types: deb
URIs: https://other.invalid/debian
Suites: /

Types: deb
Enabled: no
URIs: https://example.invalid/repos/ubuntu2404/x86_64
Suites: /

"""


@pytest.mark.parametrize(
    ("file", "text", "rest"),
    [
        ("a.list", f"{ROW}\n", None),
        ("a.list", f"# comment\n{ROW}\n", None),
        ("a.list", f"deb http://a.invalid x y\n  {ROW} # why\n# end\n", "deb http://a.invalid x y\n# end\n"),
        ("a.list", f"# deb http://a.invalid x y\n{ROW}\n", "# deb http://a.invalid x y\n"),
        ("a.list", "deb-src https://EXAMPLE.invalid/repos/ubuntu2404/x86_64 ./\n", None),
        ("a.list", "deb https://example.invalid/repos ubuntu2404/x86_64/\n", None),
        ("a.sources", STANZAS, LEFT),
        ("a.sources", TEXT, None),
    ],
)
def test_what_others_say_of_the_repository_is_taken_over(host: Host, file: str, text: str, rest: str | None) -> None:
    host.write(f"{FOLDER}/{file}", text)
    assert f"{FOLDER}/{file}" in {each.id for each in source(FakeApt(host), check_mode=True).differing}
    source(FakeApt(host))
    path = host.path(f"{FOLDER}/{file}")
    assert (path.read_text() if path.exists() else None) == rest
    assert host.read(f"{FOLDER}/{file}.mlrig-nvidia.save") == text
    assert not source(FakeApt(host)).differing


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.list", f"# {ROW}\n"),
        ("a.list", "deb https://example.invalid/repos/ubuntu2604/x86_64 /\n"),
        ("a.list.mlrig-nvidia.save", f"{ROW}\n"),
        ("a.sources", "Types: deb\nURIs: https://example.invalid/repos/ubuntu2604/x86_64\nSuites: /\n"),
    ],
)
def test_other_repositories_are_left_alone(host: Host, file: str, text: str) -> None:
    host.write(f"{FOLDER}/{file}", text)
    source(FakeApt(host))
    assert host.read(f"{FOLDER}/{file}") == text


def test_other_addresses_can_count_as_the_same(host: Host) -> None:
    host.write("/etc/apt/sources.list", f"{ROW}\ndeb http://mirror.invalid/nvidia/ubuntu2404 /\ndeb http://a/b /\n")
    source(FakeApt(host), takes_over=["https://mirror.invalid/nvidia/*"])
    assert host.read("/etc/apt/sources.list") == "deb http://a/b /\n"


CUDA = f"{FOLDER}/cuda.list"
BACKUPS = [f"{CUDA}.mlrig-nvidia.save", f"{CUDA}.mlrig-nvidia.2.save", f"{CUDA}.mlrig-nvidia.3.save"]
EDITED = f"# edited\n{ROW}\n"
PACKAGE = {"installed": {"cuda-keyring": "1"}, "owners": {CUDA: "cuda-keyring"}}


def backups(host: Host) -> list[str]:
    found = [host.read(name) for name in BACKUPS if host.path(name).exists()]
    assert len(found) == len(list(host.path(FOLDER).glob("*.save")))
    return found


def test_every_text_that_was_taken_over_is_kept_once(host: Host) -> None:
    for text in (f"{ROW}\n", EDITED, f"{ROW}\n", EDITED, f"{ROW} # third\n"):
        host.write(CUDA, text)
        source(FakeApt(host))
        assert not host.path(CUDA).exists()
    assert backups(host) == [f"{ROW}\n", EDITED, f"{ROW} # third\n"]


def test_a_list_with_a_password_stays_its_owners(host: Host) -> None:
    host.write(CUDA, f"{ROW}\ndeb https://me:secret@a.invalid x y\n").chmod(0o600)
    source(FakeApt(host))
    for name in (CUDA, BACKUPS[0]):
        assert host.path(name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("rest", ["", "deb http://a.invalid x y\n"])
def test_what_a_package_brought_is_diverted(host: Host, rest: str) -> None:
    text = f"{ROW}\n{rest}"
    host.write(CUDA, text)
    apt = FakeApt(host, **PACKAGE)
    source(apt)
    assert apt.diversions == {CUDA: BACKUPS[0]}
    assert (host.read(CUDA) if host.path(CUDA).exists() else "") == rest
    assert backups(host) == [text]
    assert not source(apt).differing


def test_what_is_written_where_a_package_was_diverted_is_kept(host: Host) -> None:
    apt = FakeApt(host, **PACKAGE)
    for text in (f"{ROW}\n", EDITED):
        host.write(CUDA, text)
        source(apt)
    assert apt.diversions == {CUDA: BACKUPS[0]}
    assert backups(host) == [f"{ROW}\n", EDITED]


def test_a_package_is_diverted_to_a_name_that_is_free(host: Host) -> None:
    host.write(CUDA, EDITED)
    source(FakeApt(host))
    host.write(CUDA, f"{ROW}\n")
    apt = FakeApt(host, **PACKAGE)
    source(apt)
    assert apt.diversions == {CUDA: BACKUPS[1]}
    assert backups(host) == [EDITED, f"{ROW}\n"]


@pytest.mark.parametrize("diversions", [{}, {CUDA: BACKUPS[0]}])
def test_a_takeover_that_was_stopped_is_finished(host: Host, diversions: dict[str, str]) -> None:
    host.write(CUDA, f"{ROW}\n")
    host.write(BACKUPS[0], f"{ROW}\n")
    apt = FakeApt(host, diversions=diversions, **PACKAGE)
    source(apt)
    assert apt.diversions == {CUDA: BACKUPS[0]}
    assert backups(host) == [f"{ROW}\n"]
    assert not host.path(CUDA).exists()


GONE = {"installed": {}, "owners": {}}
REMOVED = {"installed": {"cuda-keyring": "1/config-files"}, "owners": {CUDA: "cuda-keyring"}}


@pytest.mark.parametrize(
    ("package", "files", "left"),
    [
        (PACKAGE, {BACKUPS[0]: ROW}, {CUDA: ROW}),
        (PACKAGE, {BACKUPS[0]: ROW, BACKUPS[1]: EDITED}, {CUDA: ROW, BACKUPS[1]: EDITED}),
        (PACKAGE, {}, {}),
        (PACKAGE, {CUDA: ROW}, {CUDA: ROW}),
        (PACKAGE, {CUDA: ROW, BACKUPS[0]: ROW}, {CUDA: ROW, BACKUPS[0]: ROW}),
        (GONE, {}, {}),
        (GONE, {CUDA: EDITED, BACKUPS[0]: ROW}, {CUDA: EDITED, BACKUPS[0]: ROW}),
        (REMOVED, {BACKUPS[0]: ROW}, {BACKUPS[0]: ROW}),
    ],
)
def test_absent_gives_a_package_its_file_back(
    host: Host, package: dict[str, Any], files: dict[str, str], left: dict[str, str]
) -> None:
    host.write_all(files)
    others = {"/etc/a": "/etc/a.distrib", "/etc/b": "/etc/b.mlrig-docker.save"}
    apt = FakeApt(host, diversions={CUDA: BACKUPS[0], **others}, **package)
    before = host.texts()
    [record] = source(apt, state="absent", check_mode=True).differing
    assert (record.id, record.actual) == (CUDA, f"diverted to {BACKUPS[0]}")
    assert host.texts() == before
    source(apt, state="absent")
    assert apt.diversions == others
    assert host.texts() == {str(host.path(name)): text.encode() for name, text in left.items()}
    assert not source(apt, state="absent").differing


def test_absent_does_not_write_over_what_someone_else_wrote(host: Host) -> None:
    host.write_all({CUDA: EDITED, BACKUPS[0]: ROW})
    apt = FakeApt(host, diversions={CUDA: BACKUPS[0]}, **PACKAGE)
    before = host.texts()
    [record] = [each for each in source(apt, state="absent").records if each.action == "skipped"]
    assert record.reason == (
        f"not given back to cuda-keyring: someone wrote another file of that name; the backup is {BACKUPS[0]}"
    )
    assert (apt.diversions, host.texts()) == ({CUDA: BACKUPS[0]}, before)


def test_a_location_has_one_spelling() -> None:
    assert location("HTTPS://A.b/x//y/", "./") == location("http://a.B/x", "y/") == "http://a.b/x/y"
    assert location("file:/r", "/") == location("file:///r/", "/")
    assert not list(find(Path("/nonexistent"), matcher(["http://x"], ["/"]), Path("/own")))


def test_every_active_repository_is_told_with_its_file(host: Host) -> None:
    host.write("/etc/apt/sources.list", "deb http://a.invalid/debian stable main\n# deb http://b.invalid x y\n")
    host.write(f"{FOLDER}/c.list", f"{ROW}\n{ROW}\n")
    host.write(f"{FOLDER}/c.list.save", "deb http://saved.invalid /\n")
    host.write(f"{FOLDER}/d.sources", STANZAS)
    assert list(active(host.root)) == [
        (host.path("/etc/apt/sources.list"), "http://a.invalid/debian"),
        (host.path(f"{FOLDER}/c.list"), "http://example.invalid/repos/ubuntu2404/x86_64"),
        (host.path(f"{FOLDER}/d.sources"), "http://example.invalid/repos/ubuntu2404/x86_64"),
        (host.path(f"{FOLDER}/d.sources"), "http://other.invalid/debian"),
    ]


DUMP = """\
Acquire::http::Proxy "http://all:1";
Acquire::http::Proxy::b.invalid "DIRECT";
Acquire::https::Proxy::a.invalid "http://only-a:2";
"""


@pytest.mark.parametrize(
    ("host_name", "proxies"),
    [
        ("a.invalid", {"http": "http://all:1", "https": "http://only-a:2"}),
        ("b.invalid", {}),
        ("c.invalid", {"http": "http://all:1"}),
    ],
)
def test_proxies_of_apt_are_understood(host_name: str, proxies: dict[str, str]) -> None:
    assert parse_apt_proxies(DUMP, host_name) == proxies


def test_which_proxy_counts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    apt = FakeApt(host, answers={"apt-config dump": [Output(0, DUMP)] * 9})
    url = "http://c.invalid/k"
    assert find_proxies(url, "http://mine:3", apt) == {"http": "http://mine:3", "https": "http://mine:3"}
    assert find_proxies(url, "DIRECT", apt) == {}
    assert find_proxies(url, None, apt) == {"http": "http://all:1"}
    monkeypatch.setenv("http_proxy", "http://environment:4")
    assert find_proxies(url, None, apt)["http"] == "http://environment:4"


@contextmanager
def serving(body: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server, which is a proxy too; and the addresses that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_download_goes_through_its_proxy() -> None:
    with serving(ARMOURED.encode()) as (address, asked):
        assert download("http://c.invalid/key", {"http": address}) == ARMOURED.encode()
    assert asked == ["http://c.invalid/key"]


def test_a_download_that_is_no_key_ends() -> None:
    with (
        serving(b"x" * ((1 << 20) + 1)) as (address, _asked),
        pytest.raises(SettingsError, match="more than 1048576 bytes"),
    ):
        download(f"{address}/key", {})


def test_a_download_that_fails_names_address_and_proxy() -> None:
    with pytest.raises(SettingsError, match=r"http://c.invalid/key through http://127.0.0.1:1: .*refused"):
        download("http://c.invalid/key", {"http": "http://127.0.0.1:1"})
