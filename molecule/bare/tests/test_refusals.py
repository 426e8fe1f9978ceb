"""Wrong inventories and hosts: each is refused before any change, with the variable, the rule and the value."""

import json

import pytest

WRONG_VARIABLES = [
    ("unknown variable", {"base_pakages": ["tmux"]}, ["base_pakages", "did you mean base_packages", "['tmux']"]),
    ("unknown, nothing near", {"kernel_tuning_xyz": 1}, ["kernel_tuning_xyz", "is not a variable of role", "got: 1"]),
    ("text for a list", {"base_packages": "tmux"}, ["base_packages", "must be of type list", "'tmux'"]),
    ("list in a list", {"base_packages": [["tmux"]]}, ["base_packages[0]", "must be of type str", "['tmux']"]),
    ("no package name", {"base_packages": ["git tmux"]}, ["base_packages[0]", "name of a package", "'git tmux'"]),
    (
        "broken expression",
        {"base_unattended_upgrades_blacklist": ["linux-("]},
        ["base_unattended_upgrades_blacklist[0]", "regular expression", "'linux-('"],
    ),
    ("word for a boolean", {"base_kernel": "yes"}, ["base_kernel", "must be of type bool", "'yes'"]),
    ("not a choice", {"base_time_service": "ntpd"}, ["base_time_service", "one of: auto", "ntpd"]),
    (
        "not a page mode",
        {"kernel_tuning_transparent_hugepage": "sometimes"},
        ["kernel_tuning_transparent_hugepage", "one of: always", "sometimes"],
    ),
    (
        "boolean sysctl",
        {"kernel_tuning_sysctl": {"kernel.sysrq": True}},
        ["kernel_tuning_sysctl['kernel.sysrq']", "must not be a YAML boolean", "True"],
    ),
    (
        "fractional sysctl",
        {"kernel_tuning_sysctl": {"vm.swappiness": 0.5}},
        ["kernel_tuning_sysctl['vm.swappiness']", "must be a whole number or text", "0.5"],
    ),
    (
        "two lines in a sysctl",
        {"kernel_tuning_sysctl": {"kernel.domainname": "a\nb"}},
        ["kernel_tuning_sysctl['kernel.domainname']", "one line", "'a\\nb'"],
    ),
    (
        "list for a sysctl",
        {"kernel_tuning_sysctl": {"net.ipv4.tcp_rmem": [1, 2, 3]}},
        ["kernel_tuning_sysctl['net.ipv4.tcp_rmem']", "must be a whole number or text", "[1, 2, 3]"],
    ),
    (
        "path outside of /sys",
        {"kernel_tuning_sysfs": {"/etc/passwd": "x"}},
        ["kernel_tuning_sysfs['/etc/passwd']", "below /sys", "'/etc/passwd'"],
    ),
    (
        "boolean token of the command line",
        {"kernel_tuning_cmdline": {"pcie_aspm": False}},
        ["kernel_tuning_cmdline['pcie_aspm']", "must not be a YAML boolean", "False"],
    ),
    (
        "two tokens in one",
        {"kernel_tuning_cmdline": {"iommu": "pt nosmt"}},
        ["kernel_tuning_cmdline['iommu']", "must be one word of", "'iommu=pt nosmt'"],
    ),
    ("list for a mapping", {"kernel_tuning_sysfs": ["x"]}, ["kernel_tuning_sysfs", "must be of type dict", "['x']"]),
    ("empty variable", {"kernel_tuning_sysctl": None}, ["kernel_tuning_sysctl", "must be of type dict", "None"]),
]
# Told before all others, as the first role's own, or after them, by a question to the host.
WRONG_BY_ITSELF = [
    ("text for a number", {"preflight_free_space": "ten"}, ["preflight_free_space", "convert to int", "'ten'"]),
    (
        "unknown sysctl key",
        {"kernel_tuning_sysctl": {"vm.swapiness": 10}},
        ["vm.swapiness", "did you mean swappiness", "running kernel"],
    ),
    ("too little space", {"preflight_free_space": 10**6}, ["1000000 GiB free on /", "preflight_free_space", "GiB"]),
    ("not root", {"ansible_become": False}, ["become root", "got: rig"]),
    ("too little space in /boot", {"preflight_free_boot_space": 10**9}, ["1000000000 MiB free on /boot", "MiB"]),
]


@pytest.fixture(scope="module", autouse=True)
def nothing_changes(hosts, files):
    before = {name: files(host) for name, host in hosts.items()}
    yield
    for name, host in hosts.items():
        assert files(host) == before[name], f"a refused run changed something on {name}"


def in_few_runs(rows):
    """Rows of different variables share a run, which tells all that is wrong."""
    runs = []
    for row in rows:
        fits = (run for run in runs if not any(row[1].keys() & other[1].keys() for other in run))
        run = next(fits, None)
        if run is None:
            runs.append(run := [])
        run.append(row)
    return runs


@pytest.mark.parametrize(
    "rows",
    [*in_few_runs(WRONG_VARIABLES), *([row] for row in WRONG_BY_ITSELF)],
    ids=lambda rows: ", ".join(name for name, _variables, _parts in rows),
)
def test_wrong_variables(site, hosts, rows):
    variables = {name: value for _row, wrong, _parts in rows for name, value in wrong.items()}
    run = site.run("--extra-vars", json.dumps(variables))
    assert run.code != 0
    for name in hosts:
        assert run.changed(name) == set()
    for _row, _variables, parts in rows:
        assert any(all(part in line for part in parts) for line in run.errors.splitlines()), (parts, run.errors)


@pytest.fixture
def os_release(hosts):
    """Makes the host look like another system for one test."""
    host = hosts["debian13"]
    host.check_output("cp -a /usr/lib/os-release /usr/lib/os-release.test")

    def write(**fields):
        text = "".join(f'{key}="{value}"\\n' for key, value in fields.items())
        host.check_output(f"printf '{text}' > /usr/lib/os-release")

    yield write
    host.check_output("mv /usr/lib/os-release.test /usr/lib/os-release")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (
            {"ID": "ubuntu", "NAME": "Ubuntu", "VERSION_ID": "22.04", "PRETTY_NAME": "Ubuntu 22.04.5 LTS"},
            "Ubuntu 22.04",
        ),
        ({"ID": "fedora", "NAME": "Fedora Linux", "VERSION_ID": "43"}, "43"),
    ],
    ids=["old Ubuntu", "Fedora"],
)
def test_unsupported_system(site, os_release, fields, shown):
    os_release(**fields)
    run = site.run("--limit", "debian13")
    assert run.code != 0
    assert run.changed("debian13") == set()
    assert "must run one of: Ubuntu 24.04, Debian 13; got:" in run.errors
    assert shown in run.errors
