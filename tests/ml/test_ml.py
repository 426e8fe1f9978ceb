"""The tested set, installed for real, trains; and damage of eleven kinds to it is named in check mode and mended.

The tests go on from each other, in their order: what one leaves is what the next one finds.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from ansible_collections.mlrig.workstation.tests.hosts.playbook import CHECKOUT, Run, Site
from testinfra.host import Host

TESTED_SET = CHECKOUT / "roles/ml_env/vars/main/tested_set.yml"
TASK = "Keep the projects locked, in step and whole"
HOST = "debian13"
FOLDER = "/home/rig/ml-finetune"
PACKAGES = f"{FOLDER}/.venv/lib/python3.13/site-packages"
AS_RIG = f"cd {FOLDER} && sudo -u rig SSL_CERT_FILE=/opt/mlrig-test-host/ca-certificates.crt uv --no-progress"


def run_role(site: Site, *arguments: str) -> Run:
    run = site.run("--tags", "ml_env", *arguments)
    assert run.code == 0, run.errors
    return run


def differing(run: Run) -> dict[str, Mapping[str, Any]]:
    """The records that are not as wanted, by their ids."""
    return {each["id"]: each for each in run.results[HOST][TASK]["settings"] if each["action"] != "none"}


def test_the_full_set_is_installed(site: Site, host: Host) -> None:
    run = run_role(site)
    assert {f"{FOLDER}/pyproject.toml", f"{FOLDER}/uv.lock", f"{FOLDER}/.venv"} <= differing(run).keys()
    assert host.check_output(f"{FOLDER}/.venv/bin/python --version").startswith("Python 3.13.")


def test_the_lock_is_the_one_that_was_tested(host: Host) -> None:
    tested = set(yaml.safe_load(TESTED_SET.read_text())["_ml_env_tested_set"]["constraints"])
    locked = tomllib.loads(host.file(f"{FOLDER}/uv.lock").content_string)["package"]
    assert {f"{each['name']}=={each['version']}" for each in locked if "registry" in each["source"]} == tested


def test_a_second_run_changes_nothing(site: Site) -> None:
    assert run_role(site).changed(HOST) == set()


def test_it_trains(host: Host) -> None:
    found = host.run("sudo -u rig mlrig verify --json")
    assert found.rc == 0, found.stdout
    checks = {each["id"]: each for each in json.loads(found.stdout)["checks"]}
    trained = {name: each for name, each in checks.items() if name.startswith("training/")}
    print("\n", {name: each["actual"] for name, each in trained.items()})
    assert trained.pop("training/unsloth")["status"] == "skipped"  # it takes a GPU
    assert {each["status"] for each in trained.values()} == {"passed"}
    assert {"training/steps", "training/layers_in_4_bits", "training/loss", "training/bitsandbytes"} <= trained.keys()


@dataclass(frozen=True)
class Damage:
    """command: what does it. names: the record by which check mode names it, and what that says was found."""

    command: str
    names: str
    actual: str | None
    reason: str | None = None


DAMAGES = {
    "a package missing": Damage(f"{AS_RIG} pip uninstall idna", ".venv/idna", None),
    "an extra package": Damage(f"{AS_RIG} pip install colorama==0.4.6", ".venv/colorama", "0.4.6"),
    "another version": Damage(f"{AS_RIG} pip install --no-config idna==3.10", ".venv/idna", "3.10"),
    "the metadata of a package gone": Damage(f"rm -r {PACKAGES}/peft-*.dist-info", ".venv/peft", None),
    "a file deleted": Damage(
        f"rm {PACKAGES}/torch/version.py", ".venv/torch", "2.10.0, with damage to 1 file", "torch/version.py is gone"
    ),
    "a file truncated": Damage(
        f"truncate --size=100 {PACKAGES}/transformers/trainer.py",
        ".venv/transformers",
        "5.17.0, with damage to 1 file",
        "transformers/trainer.py has 100 bytes instead of",
    ),
    "pyproject.toml edited": Damage(
        rf"sed -i 's/^dependencies = \[/&\n    \"einops\",/' {FOLDER}/pyproject.toml",
        "uv.lock",
        "not in step with pyproject.toml",
    ),
    "the lock deleted": Damage(f"rm {FOLDER}/uv.lock", "uv.lock", None),
    "the lock corrupt": Damage(f"echo '[[package' >> {FOLDER}/uv.lock", "uv.lock", "corrupt"),
    "the environment deleted": Damage(f"rm -r {FOLDER}/.venv", ".venv", None),
    "the interpreter gone": Damage(
        f"ln -sf /usr/bin/python3.99 {FOLDER}/.venv/bin/python", ".venv", "without its interpreter"
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_in_check_mode_and_mended(site: Site, host: Host, damage: Damage) -> None:
    host.check_output(damage.command)
    for arguments in (("--check",), ()):
        record = differing(run_role(site, *arguments))[f"{FOLDER}/{damage.names}"]
        assert (record["action"], record["actual"]) == ("changed", damage.actual)
        assert (damage.reason or "") in record.get("reason", "")
    assert run_role(site).changed(HOST) == set()


def test_it_still_trains(host: Host) -> None:
    assert host.run("sudo -u rig mlrig verify --only training").rc == 0
