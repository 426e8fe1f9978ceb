"""A virtual machine in a folder: its disks, its serial log, its monitor's socket and its inventory."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import yaml

from . import monitor, qemu
from .qemu import Kernel

HOSTS = Path(__file__).resolve().parents[1]
KEY = HOSTS.parents[1] / ".cache/test_hosts/id_ed25519"
SECONDS_TO_LOG_IN = 60
# Everything takes longer here; and a connection to a system that was restarted would wait for an answer forever.
SSH_PATIENCE = f"-o ConnectTimeout={SECONDS_TO_LOG_IN} -o ServerAliveInterval=10 -o ServerAliveCountMax=6"
# The rest is what the containers' inventory says, too.
SSH_ARGUMENTS = (
    f"{SSH_PATIENCE} {yaml.safe_load((HOSTS / 'group_vars/all.yml').read_text())['test_hosts_ssh_arguments']}"
)
SECONDS_TO_BOOT = 300
SECONDS_TO_ANSWER = 20
SECONDS_TO_GREET = 5
SECONDS_TO_STOP = 90
BLANK_GB = 4


class MachineError(Exception):
    """What a machine does not do; the text is for the user."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Machine:
    """All it knows is in its folder, so that another process can go on with it."""

    def __init__(self, folder: Path, processors: int = 2) -> None:
        self.folder = folder
        self.processors = processors
        self.inventory = folder / "inventory/hosts.yml"
        self.serial_log = folder / "serial.log"
        self.monitor = folder / "monitor"

    @property
    def exists(self) -> bool:
        return (self.folder / "system.qcow2").exists()

    @property
    def image(self) -> Path:
        return (self.folder / "image").resolve()

    def create(self, image: Path) -> None:
        """A machine that was never started: what it writes goes to files over the image's."""
        self.remove()
        self.folder.mkdir(parents=True)
        (self.folder / "image").symlink_to(image)
        qemu.new_variables(self.folder / "variables.fd")
        new_disk = ("qemu-img", "create", "-q", "-f", "qcow2")
        run(*new_disk, self.folder / "blank.qcow2", f"{BLANK_GB}G")
        for name in ("data", "system"):
            run(*new_disk, "-F", "raw", "-b", image / f"{name}.raw", self.folder / f"{name}.qcow2")

    def was_never_written(self, disk: str) -> bool:
        """Whether a disk has its image's content, and not one block, even of the same content, of its own."""
        overlay, image = self.folder / f"{disk}.qcow2", self.image / f"{disk}.raw"
        run("qemu-img", "compare", "--force-share", "-f", "raw", "-F", "qcow2", image, overlay)
        blocks = json.loads(run("qemu-img", "map", "--force-share", "--output=json", overlay))
        return all(block["depth"] == 1 for block in blocks)

    @property
    def pid(self) -> int | None:
        """QEMU's, if it runs: another process may bear the number by now."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / "pid").read_text())
            if str(self.folder / "pid").encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
        return None

    def start(self, kernel: Kernel | None = None) -> float:
        """Switch it on, and return the seconds until SSH answers."""
        started = time.monotonic()
        run(
            *qemu.command(qemu.accelerator(self.image), self.processors),
            *qemu.disk("system", 1),
            *qemu.disk("blank", 2),
            *qemu.disk("data", 3),
            *qemu.network_and_screen(),
            *("-qmp", "unix:monitor,server=on,wait=off", "-daemonize", "-pidfile", self.folder / "pid"),
            *(kernel.arguments() if kernel else ()),
            cwd=self.folder,
        )
        self._write_inventory()
        self._wait_for_boot()
        return time.monotonic() - started

    def _write_inventory(self) -> None:
        host = {"ansible_host": "127.0.0.1", "ansible_port": self._forwarded_port()}
        inventory = {
            "all": {
                "vars": {
                    "ansible_user": "rig",
                    "ansible_ssh_private_key_file": str(KEY),
                    "ansible_ssh_common_args": SSH_ARGUMENTS,
                    # For sudo to begin, too, which takes ten seconds on a busy machine.
                    "ansible_ssh_timeout": SECONDS_TO_LOG_IN,
                },
                "hosts": {"vm": host},
            }
        }
        self.inventory.parent.mkdir(exist_ok=True)
        self.inventory.write_text(yaml.safe_dump(inventory, sort_keys=False))

    def _forwarded_port(self) -> int:
        """The port of this machine that QEMU has chosen for the guest's sshd."""
        table = monitor.execute(self.monitor, "human-monitor-command", **{"command-line": "info usernet"})
        rows: list[list[str]] = [line.split() for line in table.splitlines()]
        return next(int(row[3]) for row in rows if row and row[0] == "TCP[HOST_FORWARD]")

    @property
    def port(self) -> int:
        return int(yaml.safe_load(self.inventory.read_text())["all"]["hosts"]["vm"]["ansible_port"])

    def ssh_command(self, *remote: str) -> list[str]:
        return ["ssh", *SSH_ARGUMENTS.split(), "-i", str(KEY), "-p", str(self.port), "rig@127.0.0.1", *remote]

    def ssh(self, remote: str) -> str:
        """Run something there, and return what it printed."""
        done = self._run_ssh(remote)
        if done.returncode:
            raise MachineError(f"{remote!r} failed on the machine with exit code {done.returncode}: {done.stderr}")
        return done.stdout

    def boot_id(self) -> str | None:
        """What tells one boot from the next; nothing as long as SSH does not answer."""
        return self._try("cat /proc/sys/kernel/random/boot_id").strip() or None

    def _try(self, remote: str) -> str:
        """Run something short there that may fail, or be cut off by a restart."""
        try:
            return self._run_ssh(remote, timeout=SECONDS_TO_ANSWER).stdout
        except subprocess.TimeoutExpired:
            return ""

    def _run_ssh(self, remote: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        # With an input of its own: ssh makes its input non-blocking for all who share it, and Ansible refuses that.
        return subprocess.run(
            self.ssh_command(remote),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def _is_greeted(self) -> bool:
        """Whether sshd is there: QEMU takes every connection, and one to a system that is not up yet only waits."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), SECONDS_TO_GREET) as connection:
            return connection.recv(4) == b"SSH-"
        return False

    def _wait_for_boot(self) -> None:
        end = time.monotonic() + SECONDS_TO_BOOT
        while not self._is_greeted() or self.boot_id() is None:
            if self.pid is None:
                raise MachineError(f"QEMU has ended; the end of {self.serial_log}:\n{self.last_words()}")
            if time.monotonic() > end:
                raise MachineError(
                    f"no answer for {SECONDS_TO_BOOT} s; the end of {self.serial_log}:\n{self.last_words()}"
                )
            time.sleep(0.5)

    def last_words(self) -> str:
        return self.serial_log.read_text(errors="replace")[-3000:] if self.serial_log.exists() else "(nothing)"

    def plug_in_disk(self, name: str) -> None:
        """One more NVMe disk, while the system runs. It forgets what is written to it."""
        monitor.execute(self.monitor, "blockdev-add", driver="null-co", **{"node-name": name}, size=BLANK_GB << 30)
        monitor.execute(
            self.monitor, "device_add", driver="nvme", drive=name, serial=f"mlrig-{name}", bus=qemu.FREE_SLOT
        )

    def shut_down(self) -> None:
        self._try("sudo systemctl poweroff")
        end = time.monotonic() + SECONDS_TO_STOP
        while self.pid is not None:
            if time.monotonic() > end:
                raise MachineError(f"it does not shut down; the end of {self.serial_log}:\n{self.last_words()}")
            time.sleep(0.2)

    def cut_power(self) -> None:
        """End QEMU at once. What the system has not yet written to its disks is lost."""
        if pid := self.pid:
            process = os.pidfd_open(pid)
            signal.pidfd_send_signal(process, signal.SIGKILL)
            # Until all its threads are gone: one that is left holds its files, when the first is a zombie.
            select.select([process], [], [])
            os.close(process)
        self.monitor.unlink(missing_ok=True)

    def screenshot(self, to: Path) -> None:
        monitor.execute(self.monitor, "screendump", filename=str(to), format="png")

    def save_evidence(self, to: Path) -> str:
        """Keep the serial log, and a picture of the screen if there is one; returns what was kept."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        if self.serial_log.exists():
            shutil.copyfile(self.serial_log, to / "serial.log")
        try:
            self.screenshot(to / "screen.png")
        except (OSError, monitor.MonitorError) as error:
            return f"{to}: serial.log; no picture of the screen: {error}"
        return f"{to}: serial.log, screen.png"

    def remove(self) -> None:
        self.cut_power()
        shutil.rmtree(self.folder, ignore_errors=True)
