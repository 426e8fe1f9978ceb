# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program mlrig as it comes to a host: packed by the lookup, put there by the module, and run without Ansible."""

from __future__ import annotations

import ast
import base64
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Any

import pynvml
import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.mlrig.workstation.plugins.lookup import program as lookup
from ansible_collections.mlrig.workstation.plugins.module_utils import _program_files
from ansible_collections.mlrig.workstation.plugins.module_utils._program_files import (
    LIBRARY,
    LINK,
    PROGRAM,
    make_plan,
    pack,
    unpack,
)
from ansible_collections.mlrig.workstation.plugins.module_utils._settings import Settings, SettingsError, converge
from ansible_collections.mlrig.workstation.tests.simgpu.simulated import SimulatedMachine

from .conftest import Host

CHECKOUT = Path(__file__).parents[2]
ENGINES = CHECKOUT / "plugins/module_utils"
FILES = CHECKOUT / "roles/program/files"
MODULE = f"{LIBRARY}/mlrig/_program.py"
UNIT = "etc/systemd/system/mlrig-gpu.service"
WANTED = {PROGRAM: "#!/usr/bin/python3\nprint(1)\n", MODULE: "ü = 1\n", UNIT: "[Unit]\n"}


def install(host: Host, files: Mapping[str, str], *, check_mode: bool = False) -> Settings:
    return converge(lambda: make_plan(files, host.root), check_mode=check_mode)


def changed(settings: Settings) -> list[str]:
    return [record.id for record in settings.differing]


def mode(host: Host, name: str) -> int:
    return host.path(name).stat().st_mode & 0o7777


@pytest.mark.parametrize(
    "files", [{}, WANTED, {"a": "", "b/c": "line\r\nother\n", "d": "\udcff"}, {"long": "x" * 1_000_000}]
)
def test_what_is_packed_can_be_unpacked(files: dict[str, str]) -> None:
    archive = pack(files)
    assert archive.isascii()
    assert " " not in archive
    assert unpack(archive) == files
    assert pack(dict(reversed(files.items()))) == archive


def pack_anything(value: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


GARBAGE = {
    "nothing": "",
    "text": "text",
    "not ASCII": "ü",
    "not base64": "!" * 40,
    "not compressed": base64.b64encode(b"not compressed").decode(),
    "not JSON": base64.b64encode(zlib.compress(b"no JSON")).decode(),
    "not UTF-8": base64.b64encode(zlib.compress(b"\xff\xfe")).decode(),
    "cut off": pack(WANTED)[:-20],
    "a list": pack_anything([]),
    "null": pack_anything(None),
    "a string": pack_anything("text"),
    "a number for a file": pack_anything({"file": 7}),
    "null for a file": pack_anything({"file": None}),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused(garbage: str) -> None:
    with pytest.raises(SettingsError, match=r"^archive must be what the lookup mlrig\.workstation\.program returns"):
        unpack(garbage)


def test_everything_is_installed(host: Host) -> None:
    settings = install(host, WANTED)
    names = [f"/{name}" for name in (*WANTED, LINK)]
    assert (changed(settings), settings.failed) == (names, [])
    assert {(record.plane, record.actual) for record in settings.records} == {("persisted", None)}
    assert {name: host.read(name) for name in WANTED} == WANTED
    assert [mode(host, name) for name in WANTED] == [0o755, 0o644, 0o644]
    assert str(host.path(LINK).readlink()) == f"/{PROGRAM}"


def test_second_run_changes_nothing(host: Host) -> None:
    install(host, WANTED)
    before = host.texts()
    settings = install(host, WANTED)
    assert changed(settings) == []
    assert len(settings.records) == len(WANTED) + 1
    assert host.texts() == before


def test_check_mode_tells_the_same_and_changes_nothing(host: Host) -> None:
    host.write(MODULE, "old = 1\n")
    host.write(f"{LIBRARY}/old.py", "")
    before = host.texts()
    checked = install(host, WANTED, check_mode=True)
    assert host.texts() == before
    assert not host.path(LINK).is_symlink()
    assert checked.as_result() == install(host, WANTED).as_result()


def test_the_library_is_compiled_at_once(host: Host) -> None:
    """Not by the first run of the program, which may be one that must not change anything."""
    install(host, WANTED)
    assert list(host.path(f"{LIBRARY}/mlrig/__pycache__").glob("_program.*.pyc"))


@pytest.mark.parametrize(
    "drift",
    ["", "ü = 2\n", "ü = 1", "ü = 1\r\n", "ü = 1\n\n", b"\xff"],
    ids=["empty", "other", "no end of line", "ends of lines", "more", "no text"],
)
@pytest.mark.parametrize("name", [MODULE, PROGRAM, UNIT])
def test_drift_of_text_is_mended(host: Host, name: str, drift: str | bytes) -> None:
    wanted = dict.fromkeys(WANTED, "ü = 1\n")
    install(host, wanted)
    host.write(name, drift)
    settings = install(host, wanted)
    assert (changed(settings), settings.failed) == ([f"/{name}"], [])
    assert host.path(name).read_bytes() == "ü = 1\n".encode()
    assert changed(install(host, wanted)) == []


@pytest.mark.parametrize(("name", "wanted"), [(PROGRAM, 0o755), (MODULE, 0o644), (UNIT, 0o644)])
@pytest.mark.parametrize("drift", [0o600, 0o666, 0o777, 0o4755])
def test_drift_of_mode_is_mended(host: Host, name: str, wanted: int, drift: int) -> None:
    install(host, WANTED)
    host.path(name).chmod(drift)
    settings = install(host, WANTED)
    [record] = settings.differing
    assert (record.id, settings.failed) == (f"/{name}", [])
    assert (record.actual or "").startswith(f"{drift:04o} ")
    assert (record.expected or "").startswith(f"{wanted:04o} ")
    assert mode(host, name) == wanted


def test_everyone_may_run_it_whatever_the_umask(host: Host) -> None:
    before = os.umask(0o077)
    try:
        install(host, WANTED)
    finally:
        os.umask(before)
    folders = ["/opt", "/opt/mlrig", "/opt/mlrig/bin", f"/{LIBRARY}", f"/{LIBRARY}/mlrig", "/usr/local/bin"]
    assert {name: oct(mode(host, name)) for name in folders} == dict.fromkeys(folders, "0o755")
    assert [oct(mode(host, name)) for name in WANTED] == ["0o755", "0o644", "0o644"]


def test_what_does_not_belong_into_the_library_is_removed(host: Host) -> None:
    install(host, WANTED)
    strangers = [f"/{LIBRARY}/mlrig/_old.py", f"/{LIBRARY}/pynvml/__init__.py"]
    for name in strangers:
        host.write(name, "")
    for name in ("/opt/mlrig/bin/theirs.py", f"/{LIBRARY}/data.txt", "/opt/other/lib/x.py"):
        host.write(name, "theirs")
    settings = install(host, WANTED)
    assert sorted(changed(settings)) == sorted(strangers)
    assert {(record.expected, record.action) for record in settings.differing} == {(None, "changed")}
    assert [host.path(name).exists() for name in strangers] == [False, False]
    for name in ("/opt/mlrig/bin/theirs.py", f"/{LIBRARY}/data.txt", "/opt/other/lib/x.py"):
        assert host.read(name) == "theirs"


@pytest.mark.parametrize("target", ["/usr/bin/python3", "/nowhere", "../../../opt/mlrig/bin/old"])
def test_a_link_to_something_else_is_mended(host: Host, target: str) -> None:
    install(host, WANTED)
    host.link(LINK, target)
    [record] = install(host, WANTED).differing
    assert (record.id, record.actual, record.expected) == (f"/{LINK}", target, f"/{PROGRAM}")
    assert str(host.path(LINK).readlink()) == f"/{PROGRAM}"


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_file_of_others_in_the_link_s_place_is_refused_before_anything_changes(
    host: Host, kind: str, *, check_mode: bool
) -> None:
    host.write(LINK if kind == "file" else f"{LINK}/readme", "theirs")
    before = host.texts()
    with pytest.raises(SettingsError, match=r"^/usr/local/bin/mlrig is not a link to this program: move it away$"):
        install(host, WANTED, check_mode=check_mode)
    assert host.texts() == before


def test_a_folder_in_a_file_s_place_is_refused_before_anything_changes(host: Host) -> None:
    host.path(UNIT).mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"mlrig-gpu\.service: Is a directory"):
        install(host, WANTED)
    assert host.texts() == {}


class Killed(BaseException):
    """As by a signal: nothing more is done."""


@pytest.mark.parametrize("after", range(len(WANTED) + 1))
def test_a_run_that_is_killed_is_finished_by_the_next(host: Host, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    done: list[Path] = []
    replace = _program_files.replace

    def replace_or_die(path: Path, text: str | None, mode: int) -> None:
        if len(done) == after:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.mlrig").write_text((text or "")[:3])
            raise Killed
        done.append(path)
        replace(path, text, mode)

    def die(_path: Path) -> None:
        host.write(f"{Path(LINK).parent}/.mlrig.mlrig", "")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(_program_files, "replace", replace_or_die)
        patch.setattr(_program_files, "_make_link", die)
        with pytest.raises(Killed):
            install(host, WANTED)
    settings = install(host, WANTED)
    assert changed(settings) == [f"/{name}" for name in [*WANTED, LINK][after:]]
    assert settings.failed == []
    assert {name: host.read(name) for name in WANTED} == WANTED
    assert changed(install(host, WANTED)) == []
    assert not [name for name in host.texts() if name.endswith(".mlrig")]


@pytest.fixture(scope="module")
def archive() -> dict[str, str]:
    [packed] = lookup.LookupModule().run([])
    return dict(unpack(packed))


def engines(name: str = "_program") -> set[str]:
    """What is imported from beside it, and from there, found in another way than the lookup's."""
    found, waiting = set(), {name}
    while waiting:
        module = waiting.pop()
        found.add(module)
        tree = ast.parse((ENGINES / f"{module}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                names = [node.module] if node.module else [each.name for each in node.names]
                waiting |= {str(each) for each in names} - found
    return found


def test_exactly_what_the_program_needs_is_packed(archive: dict[str, str]) -> None:
    own = {str(file.relative_to(FILES)) for file in FILES.rglob("*") if file.is_file()}
    library = {f"{LIBRARY}/mlrig/{name}.py" for name in (*engines(), "__init__")}
    assert archive.keys() == own | library | {f"{LIBRARY}/pynvml.py"}
    assert {"_gpu_run", "_watchdog", "_pci_address"} <= engines()
    assert {PROGRAM, UNIT} <= own
    for name in engines():
        assert archive[f"{LIBRARY}/mlrig/{name}.py"] == (ENGINES / f"{name}.py").read_text()
    for name in own:
        assert archive[name] == (FILES / name).read_text()
    assert archive[f"{LIBRARY}/mlrig/__init__.py"] == ""
    assert archive[f"{LIBRARY}/pynvml.py"] == Path(pynvml.__file__).read_text()


def test_only_what_every_host_has_is_imported(archive: dict[str, str]) -> None:
    for path, text in archive.items():
        if path.startswith(f"{LIBRARY}/mlrig/"):
            for node in ast.walk(ast.parse(text)):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names = [str(node.module)]
                assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize("missing", ["distribution", "module"])
def test_nvidia_ml_py_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def version(name: str) -> str:
        if missing == "distribution":
            raise metadata.PackageNotFoundError(name)
        return "13.615.71"

    monkeypatch.setattr(lookup.metadata, "version", version)
    monkeypatch.setattr(util, "find_spec", lambda _: None)
    with pytest.raises(AnsibleLookupError, match="nvidia-ml-py is missing where Ansible runs: install it"):
        lookup.LookupModule().run([])


@pytest.fixture
def installed(archive: dict[str, str], host: Host) -> Host:
    install(host, archive)
    return host


def run_program(host: Host, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """As the program itself does it, in a Python that has nothing but its own library."""
    script = host.read(PROGRAM).replace("/opt/mlrig/lib", str(host.path(LIBRARY)))
    script = script.replace("/usr/bin/python3 -I", f"{sys.executable} -I -S -B")
    return subprocess.run(
        ["/bin/sh", "-c", script, "mlrig", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_the_program_as_it_is_installed(installed: Host) -> None:
    ended = run_program(installed, "gpu", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "exit status:" in ended.stdout


def test_the_program_needs_no_nvml_to_tell_what_is_missing(installed: Host) -> None:
    ended = run_program(installed, "gpu", "status", "--config", str(installed.path("/none.json")))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"mlrig: {installed.path('/none.json')} does not exist: the role gpu_tuning writes it\n"


def test_the_program_on_a_host_with_gpus(installed: Host) -> None:
    machine = SimulatedMachine(installed.path("/var/lib/simgpu"), "rtx-3090", "rtx-4060-ti")
    wanted: dict[str, Any] = {"match": "all", "persistence_mode": True, "power_limit": "80%"}
    configuration = installed.write("/etc/mlrig/gpu.json", json.dumps({"gpus": [wanted]}))
    before = installed.texts()
    command = ("gpu", "status", "--config", str(configuration))
    ended = run_program(installed, *command, **machine.environment)
    assert (ended.returncode, ended.stderr) == (3, "")
    assert "GPU 1 (NVIDIA GeForce RTX 4060 Ti)" in ended.stdout
    document = json.loads(run_program(installed, *command, "--json", **machine.environment).stdout)
    assert [(each["expected"], each["actual"]) for each in document["settings"]] == [
        ("enabled", "disabled"),
        ("280 W", "350 W"),
        ("enabled", "disabled"),
        ("132 W", "165 W"),
    ]
    assert installed.texts() == before
    for slot, limit in ((0, 280000), (1, 132000)):
        machine.write(f"live/{slot}/persistence_mode", "1")
        machine.write(f"live/{slot}/power_limit", str(limit))
    assert run_program(installed, *command, **machine.environment).returncode == 0
