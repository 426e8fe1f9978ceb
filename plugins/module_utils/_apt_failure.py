# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why apt failed, in a few lines; and its lists, whose update may fail in part."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ._apt import Runner, run_unlocked
from ._dkms_status import first_error

_LINES = 12
_TELLING = re.compile(r"E: |dpkg: error|Error! |Err:|The following packages have unmet dependencies|.*[uU]nmet depend")
_NOISE = re.compile(
    r"W: |N: |\(Reading|Reading |Building |Get:|Hit:|Ign:|Selecting |Preparing |Unpacking |Processing trig"
)
_DKMS_KERNEL = re.compile(r"Error! Bad return status for module build on kernel: (\S+)")
_DKMS_LOG = re.compile(r"Consult (\S+/make\.log)")


def explain(text: str, root: Path) -> str:
    """The lines of apt's output that tell why it failed; for a failed DKMS build the kernel and the first error."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    first = next((number for number, line in enumerate(lines) if _TELLING.match(line)), max(0, len(lines) - 5))
    told = lines[first:]
    if len(told) > _LINES:
        told = [*told[: _LINES // 2], "...", *told[-_LINES // 2 :]]
    return "\n".join([*_explain_dkms(text, root), *told]) or "it said nothing"


def update_lists(run: Runner, root: Path) -> tuple[str, ...]:
    """Update what apt knows. One source that cannot be reached keeps no other from being used: it is a warning."""
    output = run_unlocked(run, "apt-get", "update")
    if output.code or "W: Failed to fetch" in output.text:
        return (f"apt-get update: {explain(output.text, root)}",)
    return ()


def _explain_dkms(text: str, root: Path) -> Iterator[str]:
    logs = _DKMS_LOG.findall(text)
    for number, kernel in enumerate(dict.fromkeys(_DKMS_KERNEL.findall(text))):
        yield f"the driver's module could not be built for kernel {kernel}"
        if number < len(logs):
            error = first_error(root / logs[number].lstrip("/"))
            yield f"log: {logs[number]}" + (f": {error}" if error else "")
