"""What the simulated packages of NVIDIA's kernel modules do instead of building: postinst and prerm of each.

Kernels get modules that modinfo reads, and that contain nothing, or lose them again: dpkg says `configure` or `remove`.
A package for DKMS serves every installed kernel; one of Ubuntu's prebuilt modules that of its name, where they are put
together on the host as well. The flavour is that of the package's name.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

MODULES = ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm")
PREBUILT = re.compile(r"linux-modules-nvidia-(?P<branch>(?P<number>\d+)(-open)?)-(?P<kernel>\d.*)")
LICENCES = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}


def module(fields: dict[str, str]) -> bytes:
    """An ELF relocatable file with nothing but a .modinfo."""
    information = b"".join(f"{key}={value}\0".encode() for key, value in fields.items())
    names = b"\0.modinfo\0.shstrtab\0"
    header = 64
    table = header + len(information) + len(names)
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 1, 62, 1, 0, 0, table, 0, header, 0, 0, header, 3, 2)

    def section(name: int, kind: int, flags: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, flags, 0, offset, size, 0, 0, 1, 0)

    sections = section(0, 0, 0, 0, 0)
    sections += section(1, 1, 2, header, len(information))
    sections += section(10, 3, 0, header + len(information), len(names))
    return elf + information + names + sections


def version_of(package: str) -> str:
    """The driver's."""
    shown = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", package], check=True, capture_output=True, text=True
    )
    return shown.stdout.partition("-")[0]


def folders(package: str) -> tuple[str, dict[str, Path]]:
    """The version of the modules, and where they lie in each kernel."""
    if prebuilt := PREBUILT.fullmatch(package):
        folder = Path("/lib/modules", prebuilt["kernel"], "kernel", f"nvidia-{prebuilt['branch']}")
        return version_of(f"nvidia-kernel-common-{prebuilt['number']}"), {prebuilt["kernel"]: folder}
    kernels = [image.name.removeprefix("vmlinuz-") for image in sorted(Path("/boot").glob("vmlinuz-*"))]
    return version_of(package), {kernel: Path("/lib/modules", kernel, "updates/dkms") for kernel in kernels}


def main(action: str) -> None:
    package = os.environ["DPKG_MAINTSCRIPT_PACKAGE"]
    flavour = "open" if "open" in package else "proprietary"
    version, places = folders(package)
    for kernel, folder in places.items():
        folder.mkdir(parents=True, exist_ok=True)
        for name in MODULES:
            file = folder / f"{name}.ko"
            file.unlink(missing_ok=True)
            if action == "configure":
                magic = f"{kernel} SMP preempt mod_unload modversions "
                fields = {"version": version, "license": LICENCES[flavour], "name": name.replace("-", "_")}
                file.write_bytes(module({**fields, "vermagic": magic, "description": "simulated"}))
        subprocess.run(["depmod", kernel], check=True)


if __name__ == "__main__" and sys.argv[1] in ("configure", "remove"):
    main(sys.argv[1])
