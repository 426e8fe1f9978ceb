"""The main job on a throwaway rig: bring it up, configure it twice over SSH, tell what that did and what it cost.

The rig plays one machine of inventory/reference (RIG=name): its variables, and its cards in a simulated NVIDIA driver,
on the test host ubuntu2404.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.mlrig.workstation.tests.hosts.playbook import COUNT_EXECUTIONS

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGE = "ubuntu2404"
# It exists as long as the rig does.
DEMO = CHECKOUT / ".cache/demo"
CONNECTION = DEMO / "inventory/hosts.yml"
REFERENCE = CHECKOUT / "inventory/reference/hosts.yml"
SIMULATED_DRIVER = "tests/simgpu/install.yml"
# Where the rig has the simulated repository of NVIDIA's container toolkit.
SIMULATED_TOOLKIT = {
    "containers_repository": "file:///opt/mlrig-test-host/repository/nvidia/toolkit/",
    "containers_repository_key": "/opt/mlrig-test-host/repository/key.asc",
}
ENGINE = CHECKOUT / "tests/hosts/engine"
IMAGES = CHECKOUT / "tests/hosts/images.py"
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


def environment() -> dict[str, str]:
    """Without the user's own settings of Ansible; the Makefile sets two."""
    kept = {"ANSIBLE_HOME", "ANSIBLE_SSH_CONTROL_PATH_DIR"}
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith("ANSIBLE_")}


def playbook(*arguments: str) -> str:
    """Run ansible-playbook, show what it prints, and return it."""
    command = [str(ANSIBLE_PLAYBOOK), *arguments]
    print(f"\n$ {shlex.join(command)}".replace(f"{CHECKOUT}/", ""), flush=True)
    output = []
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        for line in process.stdout:
            print(line, end="", flush=True)
            output.append(line)
    if process.returncode:
        raise DemoError(f"{arguments[-1]} failed with exit code {process.returncode}")
    return "".join(output)


def test_host(action: str, rig: str) -> None:
    """Create or destroy the rig's container, by the playbook that Molecule uses too."""
    variables = {
        "test_hosts_scope": "demo",
        "test_hosts_directory": str(DEMO),
        "test_hosts": [{"name": rig, "image": IMAGE, "variables": SIMULATED_TOOLKIT}],
    }
    playbook("--extra-vars", json.dumps(variables), f"tests/hosts/{action}.yml")


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


def what_is_simulated() -> str:
    """What the rig says of itself; an official image has nothing to say."""
    command = ssh_command("head --lines=1 /etc/mlrig-test-host 2>/dev/null || true")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def executions_so_far() -> int:
    command = ssh_command(f"sudo sh -c {shlex.quote(COUNT_EXECUTIONS)}")
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def on_rig(rig: str, name: str) -> str:
    return playbook("-i", str(REFERENCE), "-i", str(CONNECTION), "--limit", rig, name)


def gpu_status() -> str:
    return subprocess.run(ssh_command("mlrig gpu status"), check=True, capture_output=True, text=True).stdout


def site(rig: str) -> Run:
    before = executions_so_far()
    start = time.monotonic()
    output = on_rig(rig, "playbooks/site.yml")
    seconds = time.monotonic() - start
    recap = re.search(rf"^{rig}\s*: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)
    if recap is None:
        raise DemoError("ansible-playbook printed no recap for the rig")
    return Run(seconds, int(recap[1]), executions_so_far() - before)


def up(rig: str) -> None:
    if rig not in rigs():
        raise DemoError(f"RIG must be one of: {', '.join(rigs())}; got: {rig!r}")
    subprocess.run([ENGINE, "up"], check=True)
    # create.yml would do it without a word, and the first time takes minutes.
    subprocess.run([sys.executable, IMAGES, IMAGE], check=True, stdout=subprocess.DEVNULL)
    DEMO.mkdir(parents=True, exist_ok=True)
    test_host("destroy", rig)
    test_host("create", rig)
    on_rig(rig, SIMULATED_DRIVER)
    first, second = site(rig), site(rig)
    print(f"\ndemo: {rig} plays a machine of inventory/reference, in a container")
    if simulated := what_is_simulated():
        print(f"demo: {simulated}")
    print(f"demo: its NVIDIA driver is simulated; mlrig gpu status says there:\n{gpu_status()}")
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


def down(rig: str) -> None:
    if DEMO.exists():
        subprocess.run([ENGINE, "up"], check=True)
        test_host("destroy", rig)
        shutil.rmtree(DEMO)
    else:
        print("demo: there is no rig")
    subprocess.run([ENGINE, "down"], check=True)


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
            down(arguments.rig)
    except (DemoError, subprocess.CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
