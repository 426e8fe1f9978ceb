"""Talks to QEMU over its monitor socket, in QMP."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

SECONDS_TO_ANSWER = 30


class MonitorError(Exception):
    """QEMU refuses a command."""


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path of a socket may be no longer than 107 characters, and a checkout's may be."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def execute(monitor: Path, command: str, **arguments: str | int) -> Any:
    with _short(monitor) as address, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS_TO_ANSWER)
        connection.connect(address)
        with connection.makefile("rw") as stream:
            stream.readline()  # who it is
            _ask(stream, {"execute": "qmp_capabilities"})
            return _ask(stream, {"execute": command, "arguments": arguments})


def _ask(stream: TextIO, request: dict[str, Any]) -> Any:
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    # Events may come in between.
    for line in stream:
        message = json.loads(line)
        if "error" in message:
            raise MonitorError(message["error"]["desc"])
        if "return" in message:
            return message["return"]
    raise MonitorError("QEMU hung up")
