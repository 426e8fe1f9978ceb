# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DKMS says of NVIDIA's driver, and why a build of it failed.

The shapes are those of dkms 2.2 to 3.2, from its sources (dell/dkms, which `do_status` and `module_status_built_extra`
print them), and as Debian 13's 3.2.2 printed them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._apt import Runner
from ._files import read_if_there
from ._settings import SettingsError

_TREE = "var/lib/dkms"
_PROGRAM = "usr/sbin/dkms"
# nvidia (NVIDIA, Ubuntu), nvidia-srv (Ubuntu), nvidia-current-open, nvidia-tesla-535... (Debian). These are not the
# driver: nvidia-fs is GPUDirect Storage, the other is a module of the driver that Ubuntu once built alone.
_DRIVER = re.compile(r"nvidia(?!-fs$|-peermem$|-peer-memory$)(-.*)?")
_LINE = re.compile(
    r"""
    (?P<module>[^,/\s:]+) (?: / | ,\s*) (?P<version>[^,/\s:]+)
    (?: ,\s* (?P<kernel>[^,\s:]+) ,\s* (?P<architecture>[^,\s:]+) )?
    : \s* (?P<state>added|built|installed-weak|installed|broken) \b
    (?: \s+from\s+ (?P<origin>\S+) )?
    (?P<remarks> (?: \s*\([^()]*\) )*) \s*
    """,
    re.VERBOSE,
)
_REMARK = re.compile(r"\(([^()]*)\)")
_LOG_OF = re.compile(r"make\.log for (?P<driver>\S+) for kernel (?P<kernel>\S+)")
_ERROR = re.compile(r"\S+: (?:fatal )?error: .+|.*\bcommand not found|.*No space left on device.*")
_LACK = re.compile(r"command not found|No space left on device|No such file or directory")


@dataclass(frozen=True)
class DkmsBuild:
    """One line of `dkms status`: a module of one version, and, where it is built, for which kernel.

    state: `added` (its source is known, and there is no build), `built`, `installed`, `installed-weak` (from the build
    for another kernel), or `broken` (its source is gone). remarks: what dkms adds in parentheses.
    """

    module: str
    version: str
    kernel: str | None
    architecture: str | None
    state: str
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "module": self.module,
            "version": self.version,
            "kernel": self.kernel,
            "architecture": self.architecture,
            "state": self.state,
            "remarks": list(self.remarks),
        }


def parse_dkms_status(text: str) -> tuple[DkmsBuild, ...]:
    """The builds of NVIDIA's driver; other modules, and what dkms says beside its lines, are left out."""
    return tuple(each for each in _builds(text) if _DRIVER.fullmatch(each.module))


def _builds(text: str) -> Iterator[DkmsBuild]:
    for line in text.splitlines():
        if found := _LINE.fullmatch(line.strip()):
            remarks = tuple(_REMARK.findall(found["remarks"]))
            if found["origin"]:
                remarks = (f"from {found['origin']}", *remarks)
            yield DkmsBuild(
                found["module"], found["version"], found["kernel"], found["architecture"], found["state"], remarks
            )


def read_dkms(root: Path, run: Runner) -> tuple[DkmsBuild, ...]:
    """The builds of NVIDIA's driver on this host; dkms itself, which is slow, is asked only where it has one."""
    known = [folder.name for folder in (root / _TREE).glob("nvidia*") if _DRIVER.fullmatch(folder.name)]
    if not known or not (root / _PROGRAM).exists():
        return ()
    output = run("dkms", "status")
    if output.code:
        raise SettingsError(f"dkms status failed: {output.stderr.strip() or output.code}")
    return parse_dkms_status(output.stdout)


@dataclass(frozen=True)
class FailedBuild:
    """What a build left behind that did not end well: where its log is, and the first error in it, if one is found."""

    kernel: str
    log: str
    error: str | None

    @property
    def would_fail_again(self) -> bool:
        """Whether the source does not fit the kernel; what the host lacked may be there by now."""
        return self.error is not None and _LACK.search(self.error) is None

    def __str__(self) -> str:
        return f"its build failed: {self.error} ({self.log})" if self.error else f"its build failed: see {self.log}"


def find_failed_build(root: Path, module: str, version: str, kernel: str) -> FailedBuild | None:
    """The failed build of a module for a kernel. dkms keeps the log of the last one only, whatever the kernel."""
    found = _read_failed_build(root, root / _TREE / module / version / "build/make.log")
    return found if found is not None and found.kernel == kernel else None


def find_failed_builds(root: Path) -> tuple[FailedBuild, ...]:
    """The last builds of the driver that failed, one for each module and version."""
    logs = sorted((root / _TREE).glob("nvidia*/*/build/make.log"))
    found = (_read_failed_build(root, log) for log in logs if _DRIVER.fullmatch(log.parents[2].name))
    return tuple(filter(None, found))


def _read_failed_build(root: Path, log: Path) -> FailedBuild | None:
    subject = _LOG_OF.search((read_if_there(log) or "").partition("\n")[0])
    if subject is None:
        return None
    on_host = Path("/", log.relative_to(root))
    error = first_error(log)
    return FailedBuild(subject["kernel"], str(on_host), error and error.replace(f"{on_host.parent}/", ""))


def first_error(log: Path) -> str | None:
    """The first line of a build's log that says why it failed; None where there is none, or no log to read."""
    try:
        text = read_if_there(log) or ""
    except SettingsError:
        return None
    return next((found[0].strip() for line in text.splitlines() if (found := _ERROR.match(line))), None)
