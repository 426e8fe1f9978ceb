"""What the verification of several scenarios needs: a run of site.yml, its cost, and a picture of a host's files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import testinfra
import yaml
from ansible_collections.mlrig.workstation.tests.hosts.playbook import COUNT_EXECUTIONS, Site
from testinfra.host import Host


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    variables = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"], "variables.yml")
    return Site(request.config.getoption("--ansible-inventory"), variables)


@pytest.fixture(scope="session")
def role(site: Site) -> Site:
    """Runs only the role that the scenario is named after."""
    return replace(site, playbook="molecule/shared/converge.yml")


# Written by logging in and looking around, which is no change.
_VOLATILE = ("/var/log", "/var/lib/systemd", "/var/cache/ldconfig", "/tmp", "/var/tmp", "/home/rig/.ansible")


def list_files(host: Host) -> dict[str, str]:
    """Every file of a host with its type, owner, mode, the target of a link, and the checksum of a regular file."""
    # What timers start changes files at any time. The timers themselves run on, as the roles want them.
    host.check_output("systemctl mask --runtime $(systemctl show --property=Triggers --value '*.timer')")
    pruned = " -o ".join(f"-path {path}" for path in _VOLATILE)
    find = f"find / -xdev \\( {pruned} \\) -prune -o"
    described = host.check_output(f"{find} -printf '%p\\t%y %u:%g %m %l\\n'")
    checksums = host.check_output(f"{find} -type f -print0 | xargs --null --max-procs=2 -n 500 sha256sum")
    listing = dict(line.split("\t", 1) for line in described.splitlines())
    for line in checksums.splitlines():
        checksum, path = line.split("  ", 1)
        listing[path] += checksum
    return listing


@pytest.fixture(scope="session")
def hosts(site: Site) -> dict[str, Host]:
    """All hosts of the scenario at once, by name, for tests that are not about one of them."""
    names = yaml.safe_load(Path(site.inventory).read_text())["all"]["hosts"]
    return {
        name: testinfra.get_host(f"ansible://{name}", ansible_inventory=site.inventory, sudo=True) for name in names
    }


@pytest.fixture(scope="session")
def files() -> Callable[[Host], dict[str, str]]:
    return list_files


@pytest.fixture(scope="session")
def executions() -> Callable[[Host], int]:
    """How many modules Ansible has started on a host so far."""
    return lambda host: int(host.check_output(COUNT_EXECUTIONS))
