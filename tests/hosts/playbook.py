"""A run of site.yml on test hosts, read or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

CHECKOUT = Path(__file__).resolve().parents[2]

# How many modules Ansible has started on a host, asked there as root: with pipelining each is one sudo in the journal.
# This look at it may be another, which the pattern does not match.
COUNT_EXECUTIONS = (
    "journalctl --sync; journalctl --quiet --output=cat _COMM=sudo | grep --count 'echo BECOME-SUCCESS-[a-z]' || true"
)


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
    """Runs a playbook on the hosts of an inventory, with the file of variables if there is one."""

    inventory: str
    variables: Path
    playbook: str = "playbooks/site.yml"

    def command(self, *arguments: str) -> list[str]:
        extra = ["--extra-vars", f"@{self.variables}"] if self.variables.exists() else []
        return ["ansible-playbook", "-i", self.inventory, *extra, *arguments, self.playbook]

    def run(self, *arguments: str) -> Run:
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            self.command(*arguments),
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        _said, brace, report_text = done.stdout.partition("{")
        if not brace:
            raise RuntimeError(f"the playbook did not begin: {done.stderr or done.stdout}")
        report = json.loads(brace + report_text)
        results: dict[str, dict[str, Any]] = {host: {} for host in report["stats"]}
        for play in report["plays"]:
            for task in play["tasks"]:
                name = task["task"]["name"].split(" : ")[-1]
                for host, result in task["hosts"].items():
                    # A role that several others have is skipped when it comes again.
                    if name not in results[host] or not result.get("skipped"):
                        results[host][name] = result
        tried = [r for tasks in results.values() for task in tasks.values() for r in (task, *task.get("results", ()))]
        messages = [r["msg"] for r in tried if r.get("failed") and "msg" in r]
        return Run(done.returncode, "\n".join(map(str, messages)), results)

    def kill_when(self, condition: Callable[[], bool], *arguments: str) -> bool:
        """Start a run and kill it (SIGKILL) once a condition holds; False when it never did."""
        mark = f"MLRIG_TEST_RUN={uuid4()}"
        with subprocess.Popen(
            ["env", mark, *self.command(*arguments)],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
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
