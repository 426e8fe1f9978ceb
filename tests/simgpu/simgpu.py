"""Controls the simulated NVIDIA driver: its cards, whether it is loaded, and what goes wrong."""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROFILES = Path(__file__).resolve().parent / "profiles"
OF_THIS_HOST = Path("/var/lib/simgpu")
PROC = Path("/proc/driver")
ITEM_OF_A_RULE = re.compile(r'([A-Z]\w*(?:{[^}]*})?)\s*([-+:=!]?=)\s*("[^"]*")')
RULES = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d")

SLOTS = 8
PCI_BUSES = (0x01, 0x0A, 0x41, 0x61, 0x81, 0xA1, 0xC1, 0xE1)
EMPTY = "none"
# What a card has whatever its profile says; a profile may say otherwise.
EVERY_CARD = {
    "persistence_mode": "0",
    "compute_mode": "0",
    "display_attached": "0",
    "display_active": "0",
    "pcie_generation": "1",
    "pcie_replay_counter": "0",
    "memory_used": "1",
    "bar1_used": "1",
    "utilization_gpu": "0",
    "utilization_memory": "0",
    "performance_state": "8",
    "clocks_event_reasons": "0x1",
}
# The newest CUDA that a branch of the driver runs.
CUDA = {535: "12.2", 550: "12.4", 570: "12.8", 575: "12.9", 580: "13.0", 590: "13.1", 595: "13.2", 610: "13.3"}
FIRST_DRIVER = "595.71.05"
VERSION_FILES = {
    "open": """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@simulated)
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)
""",
    "proprietary": """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu Jan  1 00:00:00 UTC 2026
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)
""",
}


class Refused(Exception):  # noqa: N818
    """What was asked for cannot be done, and why."""


def read_profile(file: Path) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return {attribute: value.strip() for attribute, _space, value in (line.partition(" ") for line in lines if line)}


def profile_of(card: str) -> dict[str, str]:
    """A card is called by the name of its profile, or by its own."""
    known = {file.stem: read_profile(file) for file in sorted(PROFILES.glob("*.conf"))}
    for stem, profile in known.items():
        if card.casefold() in {stem, profile["name"].casefold()}:
            return profile
    raise Refused(f"no profile for the card '{card}'; there are: {', '.join(known)}")


class State:
    """The state folder: a file per value."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.live = root / "live"
        self.loaded = root / "driver" / "loaded"

    def read(self, name: str) -> str | None:
        try:
            return (self.root / name).read_text().rstrip("\n")
        except FileNotFoundError:
            return None

    def write(self, name: str, value: str) -> None:
        file = self.root / name
        self.make_folder(file.parent)
        temporary = file.with_name(f"{file.name}.{os.getpid()}")
        temporary.write_text(f"{value}\n")
        temporary.chmod(0o644)
        temporary.replace(file)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def make_folder(self, folder: Path) -> None:
        """Everyone may write: what the real driver does in the kernel, the processes that use it do here."""
        before = os.umask(0)
        folder.resolve().mkdir(mode=0o777, parents=True, exist_ok=True)
        os.umask(before)

    def empty(self, folder: Path) -> None:
        """The folder itself stays, as it may be a link."""
        for entry in folder.glob("*"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def slots(self) -> list[int]:
        return sorted(int(folder.parent.name) for folder in self.root.glob("gpus/*/name"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        self.make_folder(self.root)
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def pci_address(slot: int) -> str:
    return f"0000:{PCI_BUSES[slot]:02x}:00.0"


@dataclass(frozen=True)
class Copy:
    """One of the cards of a model."""

    model: str
    number: int

    @property
    def uuid(self) -> str:
        return f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{self.number}.{self.model}.simulated')}"


class Cards:
    """Finds out which copy of its model each card of a machine is: one that was there before is the same one."""

    def __init__(self, state: State) -> None:
        self.before = {slot: self.copy_in(state, slot) for slot in state.slots()}
        self.taken: set[Copy] = set()

    @staticmethod
    def copy_in(state: State, slot: int) -> Copy:
        return Copy(state.read(f"gpus/{slot}/name") or "", int(state.read(f"gpus/{slot}/copy") or 0))

    def choose(self, cards: list[str]) -> dict[int, tuple[Copy, dict[str, str]]]:
        """First the cards that stay where they are, so that none of them is given to another slot."""
        wanted = {}
        for slot, card in enumerate(cards):
            if card != EMPTY:
                called, _sign, number = card.partition("#")
                wanted[slot] = (profile_of(called), number)
        chosen: dict[int, tuple[Copy, dict[str, str]]] = {}

        def stays(slot: int) -> bool:
            profile, number = wanted[slot]
            return not number and slot in self.before and self.before[slot].model == profile["name"]

        for slot in sorted(wanted, key=lambda slot: (not wanted[slot][1], not stays(slot))):
            profile, number = wanted[slot]
            if number:
                copy = Copy(profile["name"], int(number))
            else:
                copy = self.before[slot] if stays(slot) else self.next_copy(profile["name"])
            if copy in self.taken:
                raise Refused(f"copy {copy.number} of {copy.model} is in two slots")
            self.taken.add(copy)
            chosen[slot] = (copy, profile)
        return chosen

    def next_copy(self, model: str) -> Copy:
        staying = [copy for copy in self.before.values() if copy.model == model]
        return next(
            copy for copy in (*staying, *(Copy(model, number) for number in range(2 * SLOTS))) if copy not in self.taken
        )


class Kernel:
    """What the kernel and udev of a test host add. Elsewhere there is nothing but the state folder."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.is_here = state.root == OF_THIS_HOST and os.geteuid() == 0

    def load(self) -> None:
        if not self.is_here:
            return
        self.unload()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0555", "simgpu", str(PROC)], check=True)
        flavour, version = self.state.read("driver/flavour") or "open", self.state.read("driver/module_version")
        file = PROC / "nvidia" / "version"
        file.parent.mkdir()
        # Whoever compares it sees that this is another load: a tmpfs counts its files, so the number is a new one.
        for _again in range(self.count_load()):
            file.touch()
            file.unlink()
        file.write_text(VERSION_FILES[flavour].format(version))

    def count_load(self) -> int:
        loads = int(self.state.read("driver/loads") or 0) + 1
        self.state.write("driver/loads", str(loads))
        return loads

    def unload(self) -> None:
        if self.is_here:
            while os.path.ismount(PROC):
                subprocess.run(["umount", str(PROC)], check=True)

    def announce(self) -> None:
        """A container gets no uevents: do what udev would do on hearing that the driver was added."""
        if not self.is_here:
            return
        for rule in self.rules():
            if not {'ACTION=="add"', 'DEVPATH=="/bus/pci/drivers/nvidia"'} <= set(rule):
                continue
            for item in rule:
                if command := re.fullmatch(r'RUN(?:\{program\})?\+?="(.*)"', item):
                    self.run(shlex.split(command[1]))
                elif units := re.fullmatch(r'ENV\{SYSTEMD_WANTS\}\+?="(.*)"', item):
                    self.run(["systemctl", "start", "--no-block", *units[1].split()])

    @staticmethod
    def rules() -> Iterator[list[str]]:
        """Each rule as its items. Of two files with one name, that of the earlier folder counts."""
        files: dict[str, Path] = {}
        for folder in reversed(RULES):
            files |= {file.name: file for file in Path(folder).glob("*.rules")}
        for _name, file in sorted(files.items()):
            for line in file.read_text().replace("\\\n", " ").splitlines():
                if not line.lstrip().startswith("#"):
                    yield ["".join(item) for item in ITEM_OF_A_RULE.findall(line)]

    @staticmethod
    def run(command: list[str]) -> None:
        ended = subprocess.run(command, check=False)
        if ended.returncode:
            print(f"simgpu: '{shlex.join(command)}', which a udev rule asked for, ended with {ended.returncode}")


class Machine:
    """A machine with simulated cards and the simulated driver."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.kernel = Kernel(state)

    def install_driver(self, version: str, module: str | None, flavour: str | None, cuda: str | None) -> None:
        branch = int(version.partition(".")[0])
        before = self.module()
        newest = max((known for known in CUDA if known <= branch), default=min(CUDA))
        self.state.write("driver/version", version)
        self.state.write("driver/module_version", module or version)
        self.state.write("driver/flavour", flavour or self.state.read("driver/flavour") or "open")
        self.state.write("driver/cuda", cuda or CUDA[newest])
        if self.state.loaded.exists() and self.module() != before:
            self.unload()
            self.load()

    def module(self) -> tuple[str | None, str | None]:
        return self.state.read("driver/module_version"), self.state.read("driver/flavour")

    def put_in(self, cards: list[str]) -> None:
        """As with a real machine, only after it was switched off; then it is as loaded as before."""
        if len(cards) > SLOTS:
            raise Refused(f"there are {SLOTS} slots")
        if self.state.read("driver/version") is None:
            self.install_driver(FIRST_DRIVER, None, None, None)
        was_loaded = self.state.loaded.exists()
        chosen = Cards(self.state).choose(cards)
        self.unload()
        self.state.empty(self.state.root / "gpus")
        for minor, slot in enumerate(sorted(chosen)):
            copy, profile = chosen[slot]
            attributes = {
                **EVERY_CARD,
                **profile,
                "pcie_width": profile["pcie_width_max"],
                "pci_address": pci_address(slot),
                "minor_number": str(minor),
                "uuid": copy.uuid,
                "copy": str(copy.number),
            }
            for attribute, value in attributes.items():
                self.state.write(f"gpus/{slot}/{attribute}", value)
        if was_loaded and chosen:
            self.load()

    def load(self) -> None:
        if self.state.loaded.exists():
            return
        if not self.state.slots():
            raise Refused("could not insert 'nvidia': No such device")
        for slot in self.state.slots():
            self.state.make_folder(self.state.live / str(slot))
        self.state.write("live/clients", "")
        self.kernel.load()
        self.state.write("driver/loaded", "")
        self.kernel.announce()

    def unload(self) -> None:
        """Whatever was set is forgotten."""
        self.state.loaded.unlink(missing_ok=True)
        self.state.empty(self.state.live)
        self.kernel.unload()


def machine(command: argparse.Namespace, state: State) -> None:
    Machine(state).put_in(command.card)


def driver(command: argparse.Namespace, state: State) -> None:
    Machine(state).install_driver(command.version, command.module, command.flavour, command.cuda)


def load(_arguments: argparse.Namespace, state: State) -> None:
    Machine(state).load()


def unload(_arguments: argparse.Namespace, state: State) -> None:
    Machine(state).unload()


def reload(_arguments: argparse.Namespace, state: State) -> None:
    Machine(state).unload()
    Machine(state).load()


def reboot(_arguments: argparse.Namespace, state: State) -> None:
    Machine(state).unload()
    if state.slots():
        Machine(state).load()


def fail(command: argparse.Namespace, state: State) -> None:
    if command.what not in {"hang", "ignored"} and not command.what.isdecimal():
        raise Refused(f"'{command.what}' is not the number of an NVML error, 'hang' or 'ignored'")
    state.write(f"failures/{command.whose}/{command.function}", command.what)


def heal(_arguments: argparse.Namespace, state: State) -> None:
    state.empty(state.root / "failures")


def process(command: argparse.Namespace, state: State) -> None:
    name = f"live/{command.slot}/processes"
    line = f"{command.pid} {command.type} {command.mib} {command.name}"
    state.write(name, "\n".join(filter(None, [state.read(name), line])))


def set_attribute(command: argparse.Namespace, state: State) -> None:
    state.write(f"{'gpus' if command.hardware else 'live'}/{command.slot}/{command.attribute}", command.value)


def unset_attribute(command: argparse.Namespace, state: State) -> None:
    state.remove(f"live/{command.slot}/{command.attribute}")
    if command.hardware:
        state.remove(f"gpus/{command.slot}/{command.attribute}")


def show(_arguments: argparse.Namespace, state: State) -> None:
    """`driver/version 595.71.05` and so on, a line per value."""
    for folder in ("driver", "failures", "gpus", "live"):
        for file in sorted((state.root / folder).resolve().rglob("*")):
            if file.is_file():
                name = file.relative_to((state.root / folder).resolve())
                print(f"{folder}/{name} {file.read_text().rstrip()}".rstrip())


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, act: Callable[[argparse.Namespace, State], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        return command

    one = add("machine", machine, "put cards into the slots, and take all others out")
    one.add_argument("card", nargs="*", help=f"a profile or a card's name; #N at its end: its N-th copy; or '{EMPTY}'")
    one = add("driver", driver, "install another driver")
    one.add_argument("version")
    one.add_argument("--module", help="the version of the kernel module, if it is another one")
    one.add_argument("--flavour", choices=list(VERSION_FILES))
    one.add_argument("--cuda", help="the version of CUDA, if it is not that of the branch")
    add("load", load, "load the driver")
    add("unload", unload, "unload the driver, which forgets what was set")
    add("reload", reload, "unload the driver and load it again")
    add("reboot", reboot, "what booting does: nothing is set, and the driver is loaded if there is a card")
    one = add("fail", fail, "let a function of NVML fail from now on")
    one.add_argument("whose", metavar="SLOT|driver", choices=["driver", *map(str, range(SLOTS))])
    one.add_argument("function", help="a function of NVML, or 'all'")
    one.add_argument("what", metavar="ERROR|hang|ignored", help="the number of an NVML error (15: the GPU is lost)")
    add("heal", heal, "let nothing fail any more")
    one = add("process", process, "let a process use a GPU")
    one.add_argument("slot", type=int, choices=range(SLOTS))
    one.add_argument("pid", type=int)
    one.add_argument("name")
    one.add_argument("type", choices=["C", "G", "C+G"])
    one.add_argument("mib", type=int)
    for name, act, text in (
        ("set", set_attribute, "override an attribute of a GPU until the driver is unloaded"),
        ("unset", unset_attribute, "end that; with --hardware, let the GPU not tell it at all"),
    ):
        one = add(name, act, text)
        one.add_argument("slot", type=int, choices=range(SLOTS))
        one.add_argument("attribute")
        if act is set_attribute:
            one.add_argument("value")
        one.add_argument("--hardware", action="store_true", help="of the card itself: for good")
    add("show", show, "print the whole state")
    return parser.parse_args(arguments)


def run(arguments: list[str], root: Path) -> None:
    command = parse(arguments)
    state = State(root)
    with state.locked():
        command.act(command, state)


def main() -> None:
    try:
        run(sys.argv[1:], Path(os.environ.get("SIMGPU") or OF_THIS_HOST))
    except (Refused, OSError) as error:
        sys.exit(f"simgpu: {error}")


if __name__ == "__main__":
    main()
