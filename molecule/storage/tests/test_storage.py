"""The role alone: /etc/fstab byte for byte, the rule for NVMe disks, what is skipped, drift, and what is refused."""

import json
from pathlib import Path

import pytest

FSTAB = "/etc/fstab"
RULE = "/etc/udev/rules.d/90-mlrig-nvme.rules"
BEFORE = Path(__file__).parents[1].joinpath("fstab").read_text()
AFTER = (
    BEFORE.replace("errors=remount-ro", "errors=remount-ro,noatime,nodiratime")
    .replace("subvol=@home,relatime,nofail", "subvol=@home,nofail,noatime,nodiratime")
    .replace("xfs noatime,nofail", "xfs noatime,nofail,nodiratime,nodev")
)
MODULES = "mlrig.workstation."


def module(host, name, *, check=True, **options):
    return host.ansible(f"{MODULES}{name}", json.dumps(options), check=check, become=True)


def name_of(host):
    return host.check_output("hostname")


def test_options_are_edited_and_nothing_else(host):
    assert AFTER.count("noatime,nodiratime") == 2
    assert host.file(FSTAB).content_string == AFTER
    assert host.file(FSTAB).mode == 0o640
    assert host.file(f"{FSTAB}.mlrig.save").content_string == BEFORE


def test_the_rule_is_one_that_udev_reads(host):
    lines = host.file(RULE).content_string.splitlines()
    assert lines[0].startswith("# Managed by mlrig.workstation")
    assert lines[1].endswith('ATTR{queue/scheduler}="none", ATTR{queue/read_ahead_kb}="2048"')
    if not host.exists("udevadm"):
        pytest.skip("this host has no udev")
    host.check_output(f"udevadm verify {RULE}")


def test_what_a_container_cannot_have_is_skipped_with_the_reason(host, role):
    run = role.run("--limit", name_of(host))
    assert run.code == 0, run.errors
    assert run.changed(name_of(host)) == set()
    said = run.results[name_of(host)]["Say what this host cannot have"]["msg"]
    assert "this is a container (docker), whose mounts are its manager's" in said
    assert "this is a container (docker), whose disks are its manager's" in said
    assert "this is a container (docker), whose swap is its host's" in said
    assert not host.file("/swap").exists
    assert not host.file("/data").exists


@pytest.fixture
def fstab(host):
    """Edits the file, and gives back what it was."""

    def write(text):
        host.check_output("printf %s '{}' > {}".format(text.replace("'", "'\\''"), FSTAB))

    before = host.file(FSTAB).content_string
    yield write
    write(before)


@pytest.mark.parametrize("file", [FSTAB, RULE])
def test_drift_is_mended_and_nothing_else(host, role, fstab, file):
    if file == FSTAB:
        fstab(AFTER.replace("nofail,noatime,nodiratime", "nofail,relatime,nodiratime"))
    else:
        host.check_output(f"sed -i s/none/bfq/ {RULE}")
    run = role.run("--limit", name_of(host), "--check")
    task = {FSTAB: "Keep the options of mounts, now and for every boot",
            RULE: "Set NVMe disks, now and whenever one comes"}[file]  # fmt: skip
    assert run.changed(name_of(host)) == {task}
    (drift,) = [each for each in run.results[name_of(host)][task]["settings"] if each["action"] == "changed"]
    assert drift["id"] == {FSTAB: "/home", RULE: RULE}[file]
    run = role.run("--limit", name_of(host))
    assert run.changed(name_of(host)) == {task}
    assert '"none"' in host.file(RULE).content_string
    expected = AFTER.replace("nofail,noatime,nodiratime", "nofail,nodiratime,noatime") if file == FSTAB else AFTER
    assert host.file(FSTAB).content_string == expected


def test_a_syntax_error_is_told_and_nothing_lost(host, role, fstab):
    broken = AFTER.replace("/swap.img\tnone", "/swap.img")
    fstab(broken.replace("swap\tsw\t0\t0", "swap"))
    before = host.file(FSTAB).content_string
    run = role.run("--limit", name_of(host))
    assert run.code != 0
    assert "/etc/fstab line 8 must have a source, a path and a type at least" in run.errors
    assert host.file(FSTAB).content_string == before


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("mount_options", {"mounts": [{"path": "/hoem", "options": "ro"}]}, ["mounts[0].path", "did you mean /home?"]),
        ("mount_options", {"mounts": [{"path": "/", "options": "a b"}]}, ["mounts[0].options", "without spaces"]),
        ("data_disks", {"disks": [{"id": "/dev/sda", "path": "/data"}]}, ["disks[0].id", "/dev/disk/by-id/"]),
        ("swap_file", {"path": "/swap/mlrig.swap", "size": "16"}, ["size must be 0, or a size with its unit"]),
        ("nvme_queues", {"read_ahead_kb": -1}, ["read_ahead_kb must be a number of KB"]),
    ],
    ids=["unknown path", "space", "name that changes", "size without unit", "negative"],
)
def test_bad_input_is_refused(host, name, options, parts):
    result = module(host, name, **options)
    assert all(part in result["msg"] for part in parts), result["msg"]


@pytest.fixture
def other(host):
    """A file of another machine, and one that no mount has to do with."""
    path = "/root/fstab"
    host.check_output(f"printf 'LABEL=a /mnt ext4 relatime 0 2' > {path}")
    yield path
    host.check_output(f"rm {path}*")


def test_another_file_can_be_edited(host, other):
    options = {"mounts": [{"path": "/mnt", "options": "noatime"}], "fstab": other, "live": False}
    assert module(host, "mount_options", **options)["changed"]
    assert host.file(other).content_string == "LABEL=a /mnt ext4 relatime 0 2"
    assert module(host, "mount_options", check=False, **options)["changed"]
    assert host.file(other).content_string == "LABEL=a /mnt ext4 noatime 0 2"
