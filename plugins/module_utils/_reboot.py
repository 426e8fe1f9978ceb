# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host needs a reboot, whether it would come back with its GPUs, and whether somebody is using it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, lockf
from pathlib import Path
from typing import Any, Literal

from ._apt import Runner
from ._apt_packages import was_interrupted
from ._cmdline_request import split_tokens
from ._containers import container_kind
from ._files import read_if_there
from ._host_use import gpu_processes, graphical_sessions
from ._nvidia_kernels import KernelReport, read_kernels, reboot_needed, reboot_safe
from ._running_cmdline import VT_HANDOFF, find_drift, read_running

Policy = Literal["never", "when_idle", "always"]
POLICIES = ("never", "when_idle", "always")

# What Ubuntu's packages leave, and Debian's unattended-upgrades.
_REQUIRED = "run/reboot-required"
_LOCK = "var/lib/dpkg/lock-frontend"
# The kernel's number for a process that no login has started, such as a login screen, which is no use of the GPU.
_NO_LOGIN = "4294967295"
_DISPLAY_SERVERS = ("Xorg", "Xwayland", "lightdm-gtk-gre", "gnome-shell", "gdm-x-session", "sddm-greeter")


@dataclass(frozen=True)
class RebootReport:
    """needed: what is true only after a reboot. unsafe: why it would end badly. busy: who uses the host.

    All are empty where there is nothing to say.
    """

    needed: tuple[str, ...] = ()
    unsafe: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()

    def as_dict(self, policy: Policy, *, local: bool) -> dict[str, Any]:
        """What the module returns. reason: why a reboot that is needed does not come now."""
        reason = self._why_not(policy, local=local) if self.needed else None
        return {
            "needed": list(self.needed),
            "unsafe": list(self.unsafe),
            "busy": list(self.busy),
            "reboot": bool(self.needed) and reason is None,
            "reason": reason,
        }

    def _why_not(self, policy: Policy, *, local: bool) -> str | None:
        if self.unsafe:
            return f"it is not safe: {'; '.join(self.unsafe)}"
        if policy == "never":
            return "reboot_policy is never"
        if local:
            return "Ansible runs on this host, and would not see the end of it"
        if policy == "when_idle" and self.busy:
            return f"it is in use: {'; '.join(self.busy)}"
        return None


def read_report(root: Path, run: Runner) -> RebootReport:
    """Reads everything; changes nothing. A container, whose kernel is another host's, needs no reboot."""
    if container_kind(root):
        return RebootReport()
    kernels = read_kernels(root, run)
    return RebootReport(tuple(_needed(root, kernels)), tuple(_unsafe(root, kernels)), tuple(_busy(root)))


def _needed(root: Path, report: KernelReport) -> Iterator[str]:
    following = report.next.kernel
    if None not in (report.running, following) and report.running != following:
        yield f"{report.running} runs, and {following} boots next ({report.next.reason})"
    running = read_running(root)
    # Of several ways in which an entry loads its kernel, one that fits will do.
    ways = [[word for word in split_tokens(each) if word != VT_HANDOFF] for each in report.next.arguments]
    drifts = [find_drift(running, words, (), ()) for words in ways]
    if drifts and all(drifts):
        for name, (expected, actual) in drifts[0].items():
            yield f"the kernel runs with {actual or f'no {name}'}, and boots next with {expected or f'no {name}'}"
    yield from reboot_needed(report).reasons
    if read_if_there(root / _REQUIRED) is not None:
        packages = sorted(set((read_if_there(root / f"{_REQUIRED}.pkgs") or "").split()))
        yield f"the distribution's packages ask for one: {', '.join(packages) or 'they do not say which'}"


def _unsafe(root: Path, report: KernelReport) -> Iterator[str]:
    safe = reboot_safe(report)
    if not safe.holds:
        yield from safe.reasons
    if was_interrupted(root):
        yield "dpkg was interrupted, and has not been finished: sudo dpkg --configure --pending"
    if _is_locked(root / _LOCK):
        yield "apt or dpkg is at work"


def _is_locked(file: Path) -> bool:
    """Whether another process holds it, as apt and dpkg do while they work."""
    try:
        with file.open("r+b") as opened:
            lockf(opened, LOCK_EX | LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _busy(root: Path) -> Iterator[str]:
    for user in graphical_sessions(root):
        yield f"{user} is logged in graphically"
    for process in gpu_processes(root):
        login = (read_if_there(root / f"proc/{process.pid}/loginuid") or "").strip()
        if process.name not in _DISPLAY_SERVERS or login != _NO_LOGIN:
            yield f"{process} has a GPU open"
