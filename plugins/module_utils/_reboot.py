# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host needs a reboot, whether it would come back with its GPUs, and whether somebody is using it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ._apt import Runner
from ._cmdline_request import split_tokens
from ._container import find_container
from ._files import read_if_there
from ._host_use import gpu_processes, graphical_sessions
from ._nvidia_kernels import KernelReport, read_kernels, reboot_needed, reboot_safe
from ._running_cmdline import find_drift, read_running

Policy = Literal["never", "when_idle", "always"]
POLICIES = ("never", "when_idle", "always")

# What Ubuntu's packages leave, and Debian's unattended-upgrades.
_REQUIRED = "run/reboot-required"
# They have the GPU open while nobody is logged in: a login screen is no use of it.
_DISPLAY_SERVERS = ("Xorg", "Xwayland", "lightdm-gtk-gre", "gnome-shell", "gdm-x-session", "sddm-greeter")


@dataclass(frozen=True)
class RebootReport:
    """needed: what is true only after a reboot. unsafe: why the kernel that boots next has no GPUs. busy: who uses it.

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
            return f"it would not come back with its GPUs: {'; '.join(self.unsafe)}"
        if policy == "never":
            return "reboot_policy is never"
        if local:
            return "Ansible runs on this host, and would not see the end of it"
        if policy == "when_idle" and self.busy:
            return f"it is in use: {'; '.join(self.busy)}"
        return None


def read_report(root: Path, run: Runner) -> RebootReport:
    """Reads everything; changes nothing. A container, whose kernel is another host's, needs no reboot."""
    if find_container(root):
        return RebootReport()
    kernels = read_kernels(root, run)
    safe = reboot_safe(kernels)
    return RebootReport(tuple(_needed(root, kernels)), () if safe.holds else safe.reasons, tuple(_busy(root)))


def _needed(root: Path, report: KernelReport) -> Iterator[str]:
    following = report.next.kernel
    if None not in (report.running, following) and report.running != following:
        yield f"{report.running} runs, and {following} boots next ({report.next.reason})"
    running = read_running(root)
    # Of several ways in which an entry loads its kernel, one that fits will do.
    drifts = [find_drift(running, split_tokens(each), (), ()) for each in report.next.arguments]
    if drifts and all(drifts):
        for name, (expected, actual) in drifts[0].items():
            yield f"the kernel runs with {actual or f'no {name}'}, and boots next with {expected or f'no {name}'}"
    yield from reboot_needed(report).reasons
    if read_if_there(root / _REQUIRED) is not None:
        packages = sorted(set((read_if_there(root / f"{_REQUIRED}.pkgs") or "").split()))
        yield f"the distribution's packages ask for one: {', '.join(packages) or 'they do not say which'}"


def _busy(root: Path) -> Iterator[str]:
    for user in graphical_sessions(root):
        yield f"{user} is logged in graphically"
    for process in gpu_processes(root):
        if process.name not in _DISPLAY_SERVERS:
            yield f"{process} has a GPU open"
