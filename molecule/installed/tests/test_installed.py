"""The collection as a user has it: built, installed, and used with ansible-core of the user's own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[3]
REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"

Run = Callable[..., str]


def run(*command: str | Path, cwd: Path = CHECKOUT, **environment: str) -> str:
    """The output of a command, which knows nothing of the settings of the Ansible that runs this test."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(command, cwd=cwd, env=inherited | environment, check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nvidia_ml_py_metadata() -> str:
    """The folder by which Python knows that nvidia-ml-py is installed."""
    return f"nvidia_ml_py-{version('nvidia-ml-py')}.dist-info"


def changed(output: str, host: str) -> int:
    recap = re.search(rf"^{host}\s*: ok=\d+\s+changed=(\d+).* failed=0 ", output, re.MULTILINE)
    assert recap, output
    return int(recap[1])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    run("ansible-galaxy", "collection", "build", "--output-path", folder, ANSIBLE_HOME=str(folder / "home"))
    [archive] = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def ansible(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of the oldest supported ansible-core, which has no collection but the installed one."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", folder / "venv")
    run(folder / "venv/bin/python", "-m", "pip", "install", "-qq", "--require-hashes", "--requirement", REQUIREMENTS)

    def run_ansible(program: str, *arguments: str | Path) -> str:
        folders = {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_HOME": str(folder / "home")}
        return run(folder / "venv/bin" / program, *arguments, cwd=folder, **folders)

    run_ansible("ansible-galaxy", "collection", "install", archive, "--offline", "--collections-path", folder)
    return run_ansible


def test_only_what_users_need_is_built(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        built = {member.name for member in tar if member.isfile()} - {"MANIFEST.json", "FILES.json"}
    repository = set(run("git", "ls-files", "-co", "--exclude-standard").splitlines())
    assert built <= repository
    assert {path.partition("/")[0] for path in built} <= {
        *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md"),
        *("changelogs", "docs", "inventory", "meta", "playbooks", "plugins", "roles"),
    }


def test_ansible_core_is_the_oldest_supported(ansible: Run) -> None:
    assert "core 2.18." in ansible("ansible", "--version")
    assert '">=2.18.0"' in (CHECKOUT / "meta/runtime.yml").read_text()


def test_documentation_is_found(ansible: Run) -> None:
    assert "KERNEL_TUNABLES" in ansible("ansible-doc", "mlrig.workstation.kernel_tunables").upper()


def test_site_converges_over_ssh(ansible: Run, site, hosts) -> None:
    site_by_name = ("ansible-playbook", "--inventory", site.inventory, "mlrig.workstation.site")
    first, second = ansible(*site_by_name), ansible(*site_by_name)
    for name in hosts:
        assert changed(first, name) > 0
        assert changed(second, name) == 0


def test_site_converges_over_a_local_connection(archive: Path, site, hosts) -> None:
    """On the machine itself, with its distribution's own ansible-core, which Ubuntu's stand-in does not have."""
    debian = hosts["debian13"]
    debian.check_output("apt-get install --yes --quiet=2 --no-install-recommends ansible-core")
    options = yaml.safe_load(Path(site.inventory).read_text())["all"]
    run(
        *("scp", "-r", "-i", options["vars"]["ansible_ssh_private_key_file"]),
        *options["vars"]["ansible_ssh_common_args"].split(),
        archive,
        *(distribution("nvidia-ml-py").locate_file(file) for file in ("pynvml.py", nvidia_ml_py_metadata())),
        f"rig@{options['hosts']['debian13']['ansible_host']}:",
    )
    debian.check_output(f"ansible-galaxy collection install --offline /home/rig/{archive.name}")
    # Without the variables of the test hosts, of which this one must be said: it is a large download.
    variables = shlex.quote(json.dumps({"ml_env_enabled": False}))
    site_here = (
        f"ansible-playbook --connection local --inventory localhost, --extra-vars {variables} mlrig.workstation.site"
    )
    without = debian.run(site_here)
    assert without.rc != 0
    assert "nvidia-ml-py is missing where Ansible runs" in without.stdout + without.stderr
    debian.check_output("mv /home/rig/pynvml.py /home/rig/nvidia_ml_py-* /usr/local/lib/python3.13/dist-packages/")
    debian.check_output(site_here)  # this nvidia-ml-py may be of another version
    debian.check_output("rm /etc/sysctl.d/99-mlrig.conf")
    assert changed(debian.check_output(site_here), "localhost") == 1
    assert changed(debian.check_output(site_here), "localhost") == 0
