"""How QEMU is run: the hardware of the machine, and whether the processor's own virtualisation works (KVM)."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[2] / ".cache/vm"
EMULATION = "tcg,thread=multi"
# Without what costs emulation time: a fifth level of page tables, rep movsb byte for byte, guards of memory.
PROCESSOR = "max,la57=off,erms=off,fsrm=off,smap=off,smep=off,umip=off,pku=off,svm=off"
SECONDS_FOR_KVM = 30
# For a disk that is plugged in while the system runs.
FREE_SLOT = "free-slot"
FIRMWARE = Path("/usr/share/OVMF")
PACKAGES = ("ovmf", "qemu-system-x86", "qemu-utils")


def say(text: str) -> None:
    print(f"vm: {text}", flush=True)


@dataclass(frozen=True)
class Kernel:
    """What a machine boots when no boot loader is asked."""

    folder: Path
    command_line: str

    def arguments(self) -> list[str | Path]:
        files: list[str | Path] = ["-kernel", self.folder / "vmlinuz", "-initrd", self.folder / "initrd.img"]
        return [*files, "-append", self.command_line]


@contextmanager
def alone(lock: str) -> Generator[None]:
    """While one process is in here, another waits for it."""
    with (CACHE / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def require() -> None:
    """Install QEMU and the firmware where they are missing."""
    programs = all(map(shutil.which, ("qemu-system-x86_64", "qemu-img")))
    if not (programs and (FIRMWARE / "OVMF_CODE_4M.fd").exists()):
        subprocess.run([HERE.parent / "install-packages", "vm", *PACKAGES], check=True)


def new_variables(path: Path) -> None:
    """What the firmware remembers: nothing yet."""
    shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", path)


def command(accelerator: str, processors: int = 2) -> list[str | Path]:
    """A machine without disks; its files are in the folder in which this runs."""
    return [
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "q35", "-accel", accelerator),
        *("-cpu", PROCESSOR, "-smp", str(processors), "-m", "4096"),
        *("-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}"),
        *("-drive", "if=pflash,format=raw,file=variables.fd"),
        *("-device", "virtio-rng-pci", "-device", f"pcie-root-port,id={FREE_SLOT}"),
        *("-chardev", "file,id=serial,path=serial.log,append=on", "-serial", "chardev:serial"),
    ]


def disk(name: str, place: int) -> Iterator[str]:
    """An NVMe disk; nvme-QEMU_NVMe_Ctrl_mlrig-NAME is its link in /dev/disk/by-id.

    What the system has flushed is in the file then, and outlives QEMU; only a crash of this machine could lose it.
    """
    yield from ("-drive", f"if=none,id={name},format=qcow2,cache=unsafe,discard=unmap,file={name}.qcow2")
    yield from ("-device", f"nvme,drive={name},serial=mlrig-{name},bootindex={place}")


def network_and_screen() -> Iterator[str]:
    # QEMU chooses a port of this machine for the guest's sshd. Without a ROM the firmware does not boot from the net.
    yield from ("-netdev", "user,id=network,hostfwd=tcp:127.0.0.1:0-:22")
    yield from ("-device", "virtio-net-pci,netdev=network,romfile=", "-vga", "virtio")


def accelerator(image: Path) -> str:
    """KVM where it works, software emulation elsewhere. It is tried once for each boot of this machine."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = CACHE / "accelerator.json"
    with alone("accelerator.lock"):
        if answer.exists():
            known = json.loads(answer.read_text())
            if known["boot"] == boot:
                return str(known["accelerator"])
        started = time.monotonic()
        found = "kvm" if kvm_works(image) else EMULATION
        works = "KVM works" if found == "kvm" else "KVM does not work"
        say(f"{works} here (tried for {time.monotonic() - started:.0f} s)")
        answer.write_text(json.dumps({"boot": boot, "accelerator": found}))
    return found


def kvm_works(image: Path) -> bool:
    """A kernel boots, and its first program restarts the machine. That /dev/kvm exists says nothing."""
    if not Path("/dev/kvm").exists():
        return False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        new_variables(folder / "variables.fd")
        kernel = Kernel(image, "console=ttyS0 panic=-1 rdinit=/bin/reboot -- -f")
        try:
            done = subprocess.run(
                [*command("kvm"), "-no-reboot", *kernel.arguments()],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=SECONDS_FOR_KVM,
            )
        except subprocess.TimeoutExpired:
            return False
        log = (folder / "serial.log").read_bytes() if (folder / "serial.log").exists() else b""
        return done.returncode == 0 and b"Run /bin/reboot" in log and b"Kernel panic" not in log
