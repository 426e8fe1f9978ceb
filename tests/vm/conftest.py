"""A virtual machine of each shape, fresh for the first test, and what it leaves behind when a test fails.

A boot takes a minute: so the tests of a shape share one machine, in the order of their files. Each file stands by
itself, but what test_faults and test_machine find is as the image has it. The disk that carries data is looked at after
every test, whatever that was about.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlrig.workstation.tests.hosts.playbook import Site
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
        metafunc.parametrize("shape", [chosen] if chosen else SHAPES, scope="session")


@pytest.fixture(scope="session")
def uncaptured(request: pytest.FixtureRequest) -> Uncaptured:
    """A context whose output is seen: waiting is long here, and its length of interest."""
    capture: Any = request.config.pluginmanager.getplugin("capturemanager")
    context: Uncaptured = capture.global_and_fixture_disabled
    return context


@pytest.fixture(scope="session")
def machine(shape: str, request: pytest.FixtureRequest, uncaptured: Uncaptured) -> Machine:
    """A machine that was switched on for the first time."""
    # With one processor, as `make test-vm` has a machine of each shape at the same time.
    machine = Machine(CACHE / "machines" / f"test-{shape}", processors=1)
    request.config.stash[MACHINE] = machine
    # Not before the report of a failure.
    request.addfinalizer(machine.remove)  # noqa: PT021
    with uncaptured():
        machine.create(image(shape))
        say(f"{shape}: SSH answers after {machine.start():.0f} s")
    return machine


@pytest.fixture
def site(machine: Machine) -> Site:
    """Runs site.yml on the machine."""
    return Site(str(machine.inventory), Path(__file__).with_name("variables.yml"))


@pytest.fixture(autouse=True)
def data_are_as_they_were(machine: Machine) -> Generator[None]:
    assert machine.was_never_written("data")
    yield
    assert machine.was_never_written("data")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (machine := item.config.stash.get(MACHINE, None)):
        kept = machine.save_evidence(FAILED / re.sub(r"\W+", "-", item.name).strip("-"))
        report.sections.append(("virtual machine", f"kept in {kept}"))
    return report
