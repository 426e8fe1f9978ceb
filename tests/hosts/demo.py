"""The main job on a throwaway rig: bring it up, configure it twice over SSH, tell what that did and what it cost.

The rig plays one machine of inventory/reference (RIG=name): its variables, on a simulated Ubuntu 24.04.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
DEMO = CHECKOUT / ".cache/demo"
CONNECTION = DEMO / "inventory/hosts.yml"
REFERENCE = CHECKOUT / "inventory/reference/hosts.yml"
ENGINE = CHECKOUT / "tests/hosts/engine"
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


class DemoError(Exception):
    """What stops the demo; the text is for the user."""


@dataclass(frozen=True)
class Run:
    """One run of site.yml: seconds, changed tasks, and module executions that the host's own log counted."""

    seconds: float
    changed: int
    executions: int


def rigs() -> list[str]:
    groups = yaml.safe_load(REFERENCE.read_text())["all"]["children"]
    return [host for group in groups.values() for host in group["hosts"]]


def playbook(*arguments: str) -> str:
    """Run ansible-playbook, show what it prints, and return it."""
    command = [str(ANSIBLE_PLAYBOOK), *arguments]
    print(f"\n$ {' '.join(map(os.path.basename, command))}", flush=True)
    output = []
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        for line in process.stdout:
            print(line, end="", flush=True)
            output.append(line)
    if process.returncode:
        raise DemoError(f"{arguments[-1]} failed with exit code {process.returncode}")
    return "".join(output)


def test_host(action: str, rig: str) -> None:
    """Create or destroy the rig's container, by the playbook that Molecule uses too."""
    variables = (
        f'{{"test_hosts_scope": "demo", "test_hosts_directory": "{DEMO}",'
        f' "test_hosts": [{{"name": "{rig}", "image": "ubuntu2404"}}]}}'
    )
    playbook("--extra-vars", variables, f"tests/hosts/{action}.yml")


def ssh_command(*remote: str) -> list[str]:
    """The ssh command that runs something on the rig, or opens a shell there."""
    if not CONNECTION.exists():
        raise DemoError("there is no rig: make demo brings one up")
    inventory = yaml.safe_load(CONNECTION.read_text())["all"]
    options, (host,) = inventory["vars"], inventory["hosts"].values()
    return [
        "ssh",
        *options["ansible_ssh_common_args"].split(),
        *("-i", options["ansible_ssh_private_key_file"]),
        f"{options['ansible_user']}@{host['ansible_host']}",
        *remote,
    ]


def executions_so_far() -> int:
    """How many modules Ansible has started on the rig: with pipelining each is one sudo in the rig's journal."""
    journal = "sudo journalctl --quiet --output=cat _COMM=sudo | grep --count BECOME-SUCCESS || true"
    return int(subprocess.run(ssh_command(journal), check=True, capture_output=True, text=True).stdout)


def site(rig: str) -> Run:
    before = executions_so_far()
    start = time.monotonic()
    output = playbook("-i", str(REFERENCE), "-i", str(CONNECTION), "--limit", rig, "playbooks/site.yml")
    seconds = time.monotonic() - start
    recap = re.search(rf"^{rig}\s*: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)
    if recap is None:
        raise DemoError("ansible-playbook printed no recap for the rig")
    return Run(seconds, int(recap[1]), executions_so_far() - before)


def up(rig: str) -> None:
    if rig not in rigs():
        raise DemoError(f"RIG must be one of: {', '.join(rigs())}; got: {rig!r}")
    subprocess.run([ENGINE, "up"], check=True)
    test_host("destroy", rig)
    test_host("create", rig)
    first, second = site(rig), site(rig)
    print(f"\ndemo: {rig} plays a machine of inventory/reference on a simulated Ubuntu 24.04 in a container")
    print("demo: make demo-ssh opens a shell on it, make demo-down removes it")
    for name, run in (("first run", first), ("second run", second)):
        print(
            f"demo: {name}: {run.seconds:.1f} s, changed={run.changed}, {run.executions} module executions on the host"
        )
    if second.changed:
        raise DemoError(f"the second run changed {second.changed} tasks; it must change nothing")
    print(
        f"demo: converged in {first.seconds:.1f} s, changed={first.changed};"
        f" again in {second.seconds:.1f} s, changed={second.changed}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["up", "ssh", "down"])
    parser.add_argument("--rig", default="plonter", help="a host of inventory/reference")
    arguments = parser.parse_args()
    try:
        if arguments.action == "up":
            up(arguments.rig)
        elif arguments.action == "ssh":
            return subprocess.run(ssh_command(), check=False).returncode
        else:
            test_host("destroy", arguments.rig)
            subprocess.run([ENGINE, "down"], check=True)
    except (DemoError, subprocess.CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
