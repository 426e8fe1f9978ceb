"""What the simulated package of Docker's own has as dockerd and as docker: simulated, without containers.

It reads its configuration as the real one does: log-driver when it starts, live-restore on a reload too. The number of
containers that it says are running is that in /run/simulated-containers; they end with it unless live-restore is on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

CONFIGURATION = Path("/etc/docker/daemon.json")
CONTAINERS = Path("/run/simulated-containers")
STATE = Path("/run/simulated-docker.json")
KEYS = {"debug", "features", "labels", "live-restore", "log-driver", "log-opts", "runtimes"}
LOG_DRIVERS = ("json-file", "local", "journald")
OPTIONS_OF_LOCAL = {"max-size", "max-file", "compress"}


def load(file: Path) -> dict[str, Any]:
    config = json.loads(file.read_text() or "{}") if file.exists() else {}
    if unknown := config.keys() - KEYS:
        names = ", ".join(sorted(unknown))
        raise SystemExit(
            f"unable to configure the Docker daemon with file {file}: the following directives don't match any "
            f"configuration option: {names}"
        )
    return config


def start() -> dict[str, Any]:
    config = load(CONFIGURATION)
    driver = config.get("log-driver", "json-file")
    unknown = set(config.get("log-opts", {})) - OPTIONS_OF_LOCAL if driver == "local" else set()
    if driver not in LOG_DRIVERS or unknown:
        raise SystemExit(f"failed to start daemon: logger {driver}: unknown log opt {', '.join(sorted(unknown))}")
    return {"log-driver": driver, "live-restore": config.get("live-restore", False)}


def serve() -> None:
    state = start()
    STATE.write_text(json.dumps(state))
    subprocess.run(["systemd-notify", "--ready"], check=True)
    while True:
        if signal.sigwait({signal.SIGHUP, signal.SIGTERM}) == signal.SIGTERM:
            break
        state["live-restore"] = load(CONFIGURATION).get("live-restore", False)
        STATE.write_text(json.dumps(state))
    if not state["live-restore"]:
        CONTAINERS.unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    match arguments:
        case ["--validate", option]:
            load(Path(option.partition("=")[2]))
        case ["info", _format]:
            containers = CONTAINERS.read_text().strip() if CONTAINERS.exists() else "0"
            print(str(json.loads(STATE.read_text())["live-restore"]).lower(), containers, "inactive")
        case []:
            serve()
        case _:
            raise SystemExit(f"simulated, and does not know {arguments}")


if __name__ == "__main__":
    main(sys.argv[1:])
