"""The role in containers, which have no kernel of their own to reboot."""

from __future__ import annotations

BOOT_ID = "cat /proc/sys/kernel/random/boot_id; stat --format=%Y /proc/1"


def test_a_container_is_not_rebooted(role, hosts):
    started = {name: host.check_output(BOOT_ID) for name, host in hosts.items()}
    for host in hosts.values():
        host.check_output("touch /run/reboot-required")
    run = role.run("-e", "reboot_policy=always")
    assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert run.changed(name) == set()
        assert host.check_output(BOOT_ID) == started[name]
        host.check_output("rm /run/reboot-required")


def test_a_wrong_policy_is_refused(role):
    run = role.run("-e", "reboot_policy=sometimes")
    assert run.code != 0
    assert "reboot_policy must be one of: never, when_idle, always; got: 'sometimes'" in run.errors
