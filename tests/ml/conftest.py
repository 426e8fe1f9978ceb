"""A fresh Debian 13 test host for the tested set of packages, from the real package index."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import testinfra
from ansible_collections.mlrig.workstation.tests.hosts.playbook import CHECKOUT, Site
from testinfra.host import Host

NAME = "debian13"
DIRECTORY = CHECKOUT / ".cache" / "ml"


def _make_test_host(action: str) -> None:
    variables = {
        "test_hosts_scope": "ml",
        "test_hosts_directory": str(DIRECTORY),
        "test_hosts": [{"name": NAME, "image": NAME}],
    }
    command = ["ansible-playbook", "--extra-vars", json.dumps(variables), f"tests/hosts/{action}.yml"]
    subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=True)


@pytest.fixture(scope="session")
def site() -> Generator[Site]:
    """Runs site.yml on the host."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    _make_test_host("destroy")
    _make_test_host("create")
    yield Site(str(DIRECTORY / "inventory/hosts.yml"), Path(__file__).with_name("variables.yml"))
    _make_test_host("destroy")


@pytest.fixture(scope="session")
def host(site: Site) -> Host:
    return testinfra.get_host(f"ansible://{NAME}", ansible_inventory=site.inventory, sudo=True)
