"""What the simulated package of NVIDIA's container toolkit has as nvidia-ctk: simulated, and says so in its version.

It does to Docker's configuration what the source of the real one does (pkg/config/engine/docker, 1.18): keys sorted,
four blanks, no end of line. Descriptions of GPUs have their names alone, as the real one forms them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

CDI = "/var/run/cdi/nvidia.yaml"
DOCKER = "/etc/docker/daemon.json"
KIND = "nvidia.com/gpu"


def configure(options: argparse.Namespace) -> None:
    file = Path(options.config)
    config = json.loads(file.read_text()) if file.exists() else {}
    config.setdefault("runtimes", {})["nvidia"] = {"path": "nvidia-container-runtime", "args": []}
    if options.enabled:
        config.setdefault("features", {})["cdi"] = True
    text = json.dumps(config, indent=4, sort_keys=True, ensure_ascii=False)
    if options.dry_run:
        sys.stdout.write(text)
    else:
        file.write_text(text)


def generate(options: argparse.Namespace) -> None:
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], check=True, capture_output=True, text=True).stdout
    gpus = re.findall(r"^GPU (\d+): .*\(UUID: (GPU-[0-9a-f-]+)\)", listing, re.MULTILINE)
    names = [index for index, _uuid in gpus] + [uuid for _index, uuid in gpus] + ["all"]
    file = Path(options.output)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": KIND, "devices": [{"name": name} for name in names]}))


def list_devices(_options: argparse.Namespace) -> None:
    files = [file for folder in ("/etc/cdi", "/var/run/cdi") for file in sorted(Path(folder).glob("*.yaml"))]
    devices = [device["name"] for file in files for device in json.loads(file.read_text())["devices"]]
    sys.stderr.write(f"INFO[0000] Found {len(devices)} CDI devices\n")
    sys.stdout.write("".join(f"{KIND}={name}\n" for name in devices))


def main() -> None:
    parser = argparse.ArgumentParser(prog="nvidia-ctk", description="simulated")
    parser.add_argument(
        "--version", action="version", version="NVIDIA Container Toolkit CLI version 1.18.2 (simulated)"
    )
    groups = parser.add_subparsers(required=True)
    action = groups.add_parser("runtime").add_subparsers(required=True).add_parser("configure")
    action.add_argument("--runtime", choices=["docker"], default="docker")
    action.add_argument("--config", default=DOCKER)
    action.add_argument("--cdi.enabled", dest="enabled", action="store_true")
    action.add_argument("--dry-run", action="store_true")
    action.set_defaults(act=configure)
    cdi = groups.add_parser("cdi").add_subparsers(required=True)
    action = cdi.add_parser("generate")
    action.add_argument("--output", default=os.environ.get("NVIDIA_CTK_CDI_OUTPUT_FILE_PATH", CDI))
    action.set_defaults(act=generate)
    cdi.add_parser("list").set_defaults(act=list_devices)
    options = parser.parse_args()
    options.act(options)


if __name__ == "__main__":
    main()
