"""The role in containers, whose snapshots are their machine's to take: skipped, with what it would take."""

import json

import pytest

LOOK = "Compare the host's snapshots with what is wanted"
REASON = "this is a container (docker): snapshots of it are taken on its machine"


def test_it_is_skipped_with_the_reason(role, hosts):
    run = role.run()
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert run.changed(name) == set()
        [record] = run.results[name][LOOK]["settings"]
        assert (record["id"], record["action"], record["reason"]) == ("root", "skipped", REASON)
        assert run.results[name]["Say what this host cannot have"]["msg"] == [REASON]
        assert not host.package("snapper").is_installed
        assert not host.file("/.snapshots").exists


def test_the_program_says_why_it_takes_none(host):
    done = host.run("mlrig snapshot 'before the run'")
    assert (done.rc, done.stdout) == (2, "")
    assert done.stderr == f"mlrig: no snapshot can be taken: {REASON}\n"
    assert json.loads(host.run("mlrig snapshot --json why").stdout) == {"error": done.stderr[7:].strip()}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"snapshots_settings": {"NUMBER_LIMITS": 3}}, "snapshots_settings['NUMBER_LIMITS'] must be a key of snapper-"),
        ({"snapshots_settings": {"TIMELINE_CREATE": "off"}}, "snapshots_settings['TIMELINE_CREATE'] must be yes or no"),
        ({"snapshots_apt": "sometimes"}, "snapshots_apt"),
    ],
    ids=["unknown key", "no switch", "no boolean"],
)
def test_wrong_variables_are_refused(role, variables, message):
    run = role.run("--extra-vars", json.dumps(variables))
    assert run.code != 0
    assert message in run.errors


def test_it_can_be_left_alone(role, hosts):
    run = role.run("--extra-vars", json.dumps({"snapshots_enabled": False}))
    assert run.code == 0, run.errors
    for name in hosts:
        assert run.changed(name) == set()
        assert run.results[name][LOOK].get("skipped")
