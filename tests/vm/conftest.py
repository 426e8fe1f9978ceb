"""A fresh virtual machine of each shape for every file of tests, and what it leaves behind when a test fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.tests.hosts.vm.image import SHAPES, image
from ansible_collections.mlrig.workstation.tests.hosts.vm.machine import Machine
from ansible_collections.mlrig.workstation.tests.hosts.vm.qemu import CACHE, say

Uncaptured = Callable[[], AbstractContextManager[None]]
FAILED = CACHE / "failed"
MACHINE = pytest.StashKey[Machine]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shape", choices=SHAPES, help="only on machines with this root file system")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "shape" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("shape")
        metafunc.parametrize("shape", [chosen] if chosen else SHAPES, scope="module")


@pytest.fixture(scope="session")
def uncaptured(request: pytest.FixtureRequest) -> Uncaptured:
    """A context whose output is seen: waiting is long here, and its length of interest."""
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    context: Uncaptured = capture.global_and_fixture_disabled
    return context


@pytest.fixture(scope="module")
def machine(shape: str, request: pytest.FixtureRequest, uncaptured: Uncaptured) -> Machine:
    """A machine that was switched on for the first time."""
    machine = Machine(CACHE / "machines" / f"test-{shape}")
    request.node.stash[MACHINE] = machine
    # Not before the report of a failure.
    request.addfinalizer(machine.remove)  # noqa: PT021
    with uncaptured():
        machine.create(image(shape))
        say(f"{shape}: SSH answers after {machine.start():.0f} s")
    return machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    module = item.getparent(pytest.Module)
    if report.failed and module and (machine := module.stash.get(MACHINE, None)):
        kept = machine.save_evidence(FAILED / re.sub(r"\W+", "-", item.name).strip("-"))
        report.sections.append(("virtual machine", f"kept in {kept}"))
    return report
