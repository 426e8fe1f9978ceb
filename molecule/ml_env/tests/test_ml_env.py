"""The role alone, with a small project: what it leaves, its drift, projects of others, and what is refused.

The tests go on from each other, in their order: what one leaves is what the next one finds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

FOLDER = "/home/rig/small"
SITE = f"{FOLDER}/.venv/lib/python3.13/site-packages"  # both hosts are Debian inside
PROJECTS = "Keep the projects locked, in step and whole"
TOOLS = "Have uv and its tools"


def wants(**variables):
    return ("--extra-vars", json.dumps(variables))


def records(run, host, task):
    return {each["id"]: each for each in run.results[host][task]["settings"]}


def test_uv_is_there_for_all_users(host):
    assert host.check_output("sudo -u nobody uv --version").startswith("uv 0.13.8 ")
    assert host.file("/usr/local/bin/uv").linked_to == "/opt/mlrig/uv/bin/uv"


def test_a_tool_is_there_for_all_users(host):
    assert host.check_output("sudo -u nobody nvitop --version") == "nvitop 1.7.2"
    assert host.check_output("UV_TOOL_DIR=/opt/mlrig/tools uv tool list").splitlines()[0] == "nvitop v1.7.2"


def test_the_project_is_the_users(host):
    assert host.check_output(f"find {FOLDER} /srv/cache/rig ! -user rig") == ""
    assert (
        host.check_output(f"sudo -u rig {FOLDER}/.venv/bin/python -c 'import packaging; print(packaging.__version__)'")
        == "26.3"
    )
    assert host.file(f"{SITE}/idna").exists is False
    assert host.run(f"sudo -u rig uv lock --check --offline --project {FOLDER}").rc == 0


def test_shells_know_the_caches(host):
    said = host.check_output("su --login rig --command 'echo $HF_HOME $UV_CACHE_DIR'")
    assert said == "/srv/cache/rig/huggingface /srv/cache/rig/uv"
    assert host.file("/srv/cache/rig/uv").is_directory
    assert host.file("/srv/cache/rig").mode == 0o700
    assert host.check_output("su --login root --command 'echo $HF_HOME'") == ""


def test_a_users_run_has_a_scope_of_the_users_manager(host):
    # The one that runs is older than the package by which it can be asked.
    host.check_output("loginctl enable-linger rig && systemctl restart user@$(id --user rig)")
    place = host.check_output("sudo -u rig mlrig run --gpus none -- cat /proc/self/cgroup")
    assert re.search(r"/user@[0-9]+\.service/.*/mlrig-run-[^/]+\.scope$", place), place


def test_a_run_without_changes_costs_11_module_executions(role, hosts, executions):
    before = {name: executions(host) for name, host in hosts.items()}
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert run.changed(name) == set()
        assert executions(host) - before[name] == 11


def test_drift_is_named_in_check_mode_and_mended(role, hosts):
    for host in hosts.values():
        host.check_output(f"truncate --size=9 {SITE}/packaging/version.py")
        host.check_output("rm -r /opt/mlrig/tools/nvitop/lib/python3.13/site-packages/psutil /usr/local/bin/uv")
        host.check_output("rm /etc/profile.d/mlrig-ml-env.sh; chmod 755 /srv/cache/rig")
    checked = role.run("--check")
    assert checked.code == 0, checked.errors
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        wanted = {
            PROJECTS,
            TOOLS,
            "Have a place for each owner, whose tokens may lie there",
            "Tell shells where caches are",
        }
        assert checked.changed(name) == run.changed(name) == wanted
        damage = records(checked, name, PROJECTS)[f"{FOLDER}/.venv/packaging"]
        assert damage["actual"] == "26.3, with damage to 1 file"
        assert damage["reason"].startswith("packaging/version.py has 9 bytes instead of ")
        found = records(checked, name, TOOLS)
        assert "psutil/" in found["/opt/mlrig/tools/nvitop"]["reason"]
        assert found["/usr/local/bin/uv"]["actual"] is None
        assert host.check_output("nvitop --version") == "nvitop 1.7.2"
    again = role.run()
    assert all(again.changed(name) == set() for name in hosts)


def test_a_lock_and_a_pyproject_of_the_user_are_kept_in_step(role, hosts):
    for host in hosts.values():
        host.check_output(f"sed -i 's/packaging==26.3/packaging>=25/' {FOLDER}/pyproject.toml")
    texts = {name: host.file(f"{FOLDER}/pyproject.toml").content_string for name, host in hosts.items()}
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert records(run, name, PROJECTS)[f"{FOLDER}/uv.lock"]["action"] == "changed"
        assert host.file(f"{FOLDER}/pyproject.toml").content_string == texts[name]
        assert host.file(f"{SITE}/packaging-26.3.dist-info").exists  # the lock keeps what still fits


def test_several_users_and_projects(role, hosts):
    """The second one is another user's, with an extra, and comes beside the first."""
    for host in hosts.values():
        assert host.file("/srv/cache").mode == 0o755
        host.check_output("id ada 2>/dev/null || useradd --create-home ada")
    [small] = yaml.safe_load(Path("variables.yml").read_text())["ml_env_projects"]
    projects = [small, {**small, "path": "~/work", "owner": "ada", "extras": ["more"]}]
    run = role.run(*wants(ml_env_projects=projects))
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert {PROJECTS} <= run.changed(name)
        assert host.check_output("find /home/ada/work ! -user ada") == ""
        assert host.file("/home/ada/work/.venv/lib/python3.13/site-packages/idna").is_directory
        assert host.file("/srv/cache/ada/uv").user == "ada"


def test_a_link_in_a_cache_gives_no_folder_of_root_away(role, hosts):
    host = hosts["debian13"]
    host.check_output("mkdir /srv/roots; mv /srv/cache/rig /srv/kept; ln -s /srv/roots /srv/cache/rig")
    run = role.run("--limit", "debian13")
    found = host.file("/srv/roots")
    assert (found.user, found.mode) == ("root", 0o755)
    assert run.code != 0
    assert "/srv/cache/rig already exists as a link" in run.errors
    host.check_output("rm /srv/cache/rig; mv /srv/kept /srv/cache/rig; rmdir /srv/roots")


def test_another_program_of_that_name_stays(role, hosts):
    host = hosts["debian13"]
    host.check_output("printf '#!/bin/sh\\necho mine\\n' > /usr/local/bin/gpustat; chmod +x /usr/local/bin/gpustat")
    tools = [{"name": "nvitop", "version": "1.7.2"}, {"name": "gpustat", "version": "1.1.1"}]
    run = role.run("--limit", "debian13", *wants(ml_env_tools=tools))
    assert run.code == 0, run.errors
    record = records(run, "debian13", TOOLS)["/opt/mlrig/tools/gpustat"]
    assert record["action"] == "skipped"
    assert record["reason"] == "/usr/local/bin/gpustat is another program: remove it, or leave gpustat out"
    assert host.check_output("gpustat") == "mine"
    host.check_output("rm /usr/local/bin/gpustat")


def test_a_tool_that_nobody_wants_goes(role, hosts):
    run = role.run(*wants(ml_env_tools=[]))
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert run.changed(name) == {TOOLS}
        assert not host.file("/opt/mlrig/tools/nvitop").exists
        assert not host.file("/usr/local/bin/nvitop").exists


WRONG = {
    "an owner who is not there": (
        {"ml_env_projects": [{"path": "~/x", "owner": "nobody-here"}]},
        ["projects[0].owner must be a user of this host", "'nobody-here'"],
    ),
    "a path that is none": ({"ml_env_projects": [{"path": "x"}]}, ["ml_env_projects[0].path must be an absolute path"]),
    "a Python that is no version": ({"ml_env_python": "three"}, ["ml_env_python must be a version in quotes"]),
    "a version of a tool that is none": (
        {"ml_env_tools": [{"name": "nvitop", "version": "latest"}]},
        ["ml_env_tools[0].version must be one exact version"],
    ),
    "text that is no TOML": (
        {"ml_env_projects": [{"path": "~/x", "pyproject": "x"}]},
        ["ml_env_projects[0].pyproject must be TOML"],
    ),
    "a cache that is no path": ({"ml_env_uv_cache": "cache"}, ["ml_env_uv_cache must be an absolute path"]),
    "an unknown variable": ({"ml_env_project": []}, ["ml_env_project", "did you mean ml_env_projects"]),
    "a Python that is not there": ({"ml_env_python": "3.9"}, ["3.9"]),
}


@pytest.mark.parametrize(("variables", "parts"), WRONG.values(), ids=WRONG)
def test_wrong_variables_are_refused(role, variables, parts):
    run = role.run("--limit", "debian13", *wants(**variables))
    assert run.code != 0
    assert run.changed("debian13") == set()
    assert all(part in run.errors for part in parts), run.errors
