"""Runs on the machine, as root: `python3 tripwire.py FILE` holds the first program that opens a file, for ever.

What wants to write or run that file then stands still at this very point until the power is cut. It says "armed" when
it watches, and "reached" when one is held. The kernel asks before it opens a file of a watched folder: fanotify(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

FAN_CLASS_CONTENT = 0x4
FAN_CLOEXEC = 0x1
FAN_MARK_ADD = 0x1
FAN_OPEN_PERM = 0x10000
FAN_EVENT_ON_CHILD = 0x08000000
FAN_ALLOW = 0x1
AT_FDCWD = -100
EVENT = struct.Struct("IBBHQii")
ANSWER = struct.Struct("iI")


def watch(folder: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, os.O_RDONLY | os.O_LARGEFILE))
    mask = ctypes.c_uint64(FAN_OPEN_PERM | FAN_EVENT_ON_CHILD)
    if descriptor < 0 or libc.fanotify_mark(descriptor, FAN_MARK_ADD, mask, AT_FDCWD, os.fsencode(folder)):
        raise OSError(ctypes.get_errno(), f"fanotify: {os.strerror(ctypes.get_errno())}")
    return descriptor


def opened_files(descriptor: int) -> list[int]:
    events, opened = os.read(descriptor, 64 * EVENT.size), []
    while events:
        length, _version, _reserved, _metadata, _mask, opened_file, _pid = EVENT.unpack_from(events)
        opened.append(opened_file)
        events = events[length:]
    return opened


def main(path: Path) -> None:
    descriptor = watch(path.parent)
    print("armed", flush=True)
    reached = False
    while True:
        for opened_file in opened_files(descriptor):
            if Path(f"/proc/self/fd/{opened_file}").readlink() == path:
                if not reached:
                    print("reached", flush=True)
                reached = True
            else:
                os.write(descriptor, ANSWER.pack(opened_file, FAN_ALLOW))
            os.close(opened_file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
