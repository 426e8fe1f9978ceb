"""The virtual machine for developers: bring it up, open a shell on it, cut its power, take it down."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys

from .image import SHAPES, image
from .machine import Machine, MachineError
from .monitor import MonitorError
from .qemu import CACHE, say


def machine_of(shape: str) -> Machine:
    return Machine(CACHE / "machines" / shape)


def up(machine: Machine, shape: str) -> None:
    """A new machine, or the one that is there, as it is."""
    if machine.pid is not None:
        say(f"the machine {shape} runs already")
    else:
        if not machine.exists:
            machine.create(image(shape))
        say(f"the machine {shape} answers after {machine.start():.0f} s")
    print(
        f"\n  a shell     {shlex.join(machine.ssh_command())}"
        f"\n  Ansible     ansible-playbook -i {os.path.relpath(machine.inventory)} playbooks/site.yml"
        f"\n  serial log  {os.path.relpath(machine.serial_log)}"
    )


def running(machine: Machine) -> Machine:
    if machine.pid is None:
        raise MachineError("there is no machine: make vm-up brings one up")
    return machine


def act(action: str, shape: str) -> int:
    machine = machine_of(shape)
    match action:
        case "up":
            up(machine, shape)
        case "ssh":
            return subprocess.run(running(machine).ssh_command(), check=False).returncode
        case "power-cut":
            running(machine).cut_power()
            say("its power is cut; 'up' switches it on again")
        case "screenshot":
            running(machine).screenshot(machine.folder / "screen.png")
            say(f"written: {os.path.relpath(machine.folder / 'screen.png')}")
        case "down":
            for folder in CACHE.glob("machines/*"):
                Machine(folder).remove()
                say(f"the machine {folder.name} is removed")
            shutil.rmtree(CACHE / "machines", ignore_errors=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["up", "ssh", "power-cut", "screenshot", "down"])
    parser.add_argument("--shape", default=SHAPES[0], choices=SHAPES, help="the type of the root file system")
    arguments = parser.parse_args()
    try:
        return act(arguments.action, arguments.shape)
    except (MachineError, MonitorError, subprocess.CalledProcessError) as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
