"""What simulated packages that bring units do with them when they are configured: enabled and started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    package = os.environ["DPKG_MAINTSCRIPT_PACKAGE"]
    files = subprocess.run(["dpkg-query", "--listfiles", package], check=True, capture_output=True, text=True).stdout
    units = [Path(file).name for file in files.splitlines() if file.startswith("/usr/lib/systemd/system/")]
    if Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "--quiet", "enable", "--now", *units], check=True)


if __name__ == "__main__" and sys.argv[1] == "configure":
    main()
