"""What the verification of several scenarios needs: a run of site.yml, and a picture of a host's files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import testinfra
import yaml
from testinfra.host import Host

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Run:
    """One run of a playbook: exit code, text of all errors, and the results of its tasks by host and task name."""

    code: int
    errors: str
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def changed(self, host: str) -> set[str]:
        return {task for task, result in self.results[host].items() if result.get("changed")}


@dataclass(frozen=True)
class Site:
    """Runs a playbook on the hosts of the scenario, with the variables of the scenario if it has any."""

    inventory: str
    scenario: Path
    playbook: str = "playbooks/site.yml"

    def command(self, *arguments: str) -> list[str]:
        variables = self.scenario / "variables.yml"
        extra = ["--extra-vars", f"@{variables}"] if variables.exists() else []
        return ["ansible-playbook", "-i", self.inventory, *extra, *arguments, self.playbook]

    def run(self, *arguments: str) -> Run:
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            self.command(*arguments), cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )
        report = json.loads(done.stdout[done.stdout.index("{") :])
        results: dict[str, dict[str, Any]] = {host: {} for host in report["stats"]}
        for play in report["plays"]:
            for task in play["tasks"]:
                for host, result in task["hosts"].items():
                    results[host][task["task"]["name"].split(" : ")[-1]] = result
        messages = [r["msg"] for tasks in results.values() for r in tasks.values() if r.get("failed") and "msg" in r]
        return Run(done.returncode, "\n".join(map(str, messages)), results)

    def kill_when(self, condition: Callable[[], bool], *arguments: str) -> bool:
        """Start a run and kill it (SIGKILL) once a condition holds; False when it never did."""
        mark = f"MLRIG_TEST_RUN={uuid4()}"
        with subprocess.Popen(
            ["env", mark, *self.command(*arguments)],
            cwd=CHECKOUT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                if condition():
                    _kill_all(mark)
                    return True
        return False


def _kill_all(mark: str) -> None:
    """Kill all processes with this in their environment: Ansible's workers leave the process group of their parent."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    return Site(request.config.getoption("--ansible-inventory"), Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]))


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
