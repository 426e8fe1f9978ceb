# Copyright (c) 2026 The mlrig.workstation engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is a container, and of which kind."""

from __future__ import annotations

from pathlib import Path

from ._files import read_if_there


def container_kind(root: Path) -> str | None:
    """The kind of the container that this is: as its manager tells systemd, or from what it leaves in it."""
    if told := (read_if_there(root / "run/systemd/container") or "").strip():
        return told
    try:
        environment = (root / "proc/1/environ").read_bytes().split(b"\0")
    except OSError:
        environment = []
    for variable in environment:
        if variable.startswith(b"container="):
            return variable.removeprefix(b"container=").decode(errors="replace") or "container"
    marks = {".dockerenv": "docker", "run/.containerenv": "podman"}
    return next((kind for mark, kind in marks.items() if (root / mark).exists()), None)
