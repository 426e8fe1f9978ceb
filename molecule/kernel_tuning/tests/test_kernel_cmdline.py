"""The kernel command line: what the drop-in makes of GRUB's menu, and what is said when something is in the way."""

import pytest

DROP_IN = "/etc/default/grub.d/zz-mlrig.cfg"
MENU = "/boot/grub/grub.cfg"
TASK = "Set the kernel command line of every boot"
TUNABLES = "Set kernel tunables, now and for every boot"
OTHERS = "net.ifnames=0 console=tty1 console=ttyS0"


def tokens(host):
    amd = ["amd_pstate=active"] if host.file("/proc/cpuinfo").contains("AuthenticAMD") else []
    return " ".join([*amd, "pcie_aspm=off", "iommu=pt", "transparent_hugepage=always", "nowatchdog"])


def lines(host):
    """What the entries of the menu give to the kernel: twice the normal one, and that of the recovery mode."""
    return [line.partition(" ro ")[2] for line in host.check_output(f"grep linux.*root= {MENU}").splitlines()]


def test_drop_in_appends(host):
    header, line = host.file(DROP_IN).content_string.splitlines()
    assert header.startswith("# Managed by mlrig.workstation")
    assert line == f'GRUB_CMDLINE_LINUX_DEFAULT="${{GRUB_CMDLINE_LINUX_DEFAULT}} {tokens(host)}"'


def test_menu_has_the_tokens_last_and_the_recovery_mode_has_none(host):
    assert lines(host) == [*[f"{OTHERS} {tokens(host)}"] * 2, "single net.ifnames=0"]


def records(run, name):
    return {(each["id"], each["plane"]): each for each in run.results[name][TASK]["settings"]}


def test_the_running_line_is_reported_to_need_a_reboot(role, hosts):
    run = role.run()
    assert run.code == 0, run.errors
    for name in hosts:
        assert records(run, name)["nowatchdog", "boot"]["action"] == "reboot"
        assert run.results[name][TASK]["reboot_required"]
        assert run.changed(name) == set()


def test_drift_is_reported_then_mended_then_gone(role, hosts):
    for host in hosts.values():
        host.check_output(f"rm {DROP_IN}")
        host.check_output("""sed -i 's/net.ifnames=0/& iommu=off/' /etc/default/grub""")
        host.check_output(f"echo set >{MENU}.new")  # as an update leaves it that is killed
    reported, mended, afterwards = role.run("--check"), role.run(), role.run()
    for run in (reported, mended, afterwards):
        assert run.code == 0, run.errors
    for name, host in hosts.items():
        assert reported.changed(name) == mended.changed(name) == {TASK}
        assert records(reported, name) == records(mended, name)
        assert records(mended, name)[MENU, "persisted"]["actual"] == "left by an update that did not end"
        conflict = records(afterwards, name)["iommu", "persisted"]
        assert (conflict["action"], conflict["actual"]) == ("none", "iommu=pt")
        assert conflict["reason"].startswith("/etc/default/grub line 4 has iommu=off: remove it there")
        assert afterwards.changed(name) == set()
        assert lines(host)[0] == f"net.ifnames=0 iommu=off console=tty1 console=ttyS0 {tokens(host)}"
        host.check_output("sed -i 's/ iommu=off//' /etc/default/grub")
    assert role.run().code == 0


@pytest.fixture(params=["read-only", "full"])
def hindered(request, hosts, role):
    """The folder of drop-ins, with a drop-in of another content, is read-only, or full."""
    for host in hosts.values():
        host.check_output(f"sed -i s/nowatchdog/watchdog/ {DROP_IN}")
        if request.param == "read-only":
            host.check_output("mount --bind /etc/default/grub.d /etc/default/grub.d")
            host.check_output("mount -o remount,bind,ro /etc/default/grub.d")
        else:
            host.check_output("cp -r /etc/default/grub.d /run/drop-ins")
            host.check_output("mount -t tmpfs -o size=8k none /etc/default/grub.d")
            host.check_output("cp /run/drop-ins/*.cfg /etc/default/grub.d")
            host.run("cat /dev/zero >/etc/default/grub.d/full")
    yield request.param
    for host in hosts.values():
        host.check_output("umount /etc/default/grub.d")
    assert role.run().code == 0


def test_what_cannot_be_written_is_told_and_nothing_is_lost(role, hosts, hindered):
    before = {name: host.file(DROP_IN).content_string for name, host in hosts.items()}
    run = role.run()
    assert run.code != 0
    for name, host in hosts.items():
        cause = "its file system is read-only" if hindered == "read-only" else "No space left on device"
        assert run.results[name][TASK]["msg"] == f"cannot write {DROP_IN}: {cause}"
        assert host.file(DROP_IN).content_string == before[name]
        assert lines(host)[0] == f"{OTHERS} {tokens(host)}"


def test_what_cannot_be_followed_is_refused(role, hosts):
    for host in hosts.values():
        host.check_output("echo 'test -e /nowhere || GRUB_CMDLINE_LINUX=a' >>/etc/default/grub")
    run = role.run()
    for name, host in hosts.items():
        assert run.results[name][TASK]["msg"].startswith(
            "/etc/default/grub line 5 sets GRUB_CMDLINE_LINUX under a condition"
        )
        host.check_output("sed -i '$ d' /etc/default/grub")
    assert role.run().code == 0


def test_the_energy_preference_has_one_owner(role, hosts):
    for host in hosts.values():
        host.check_output("systemd-run --unit=tuned sleep infinity")
    run = role.run()
    assert run.code != 0
    for name in hosts:
        message = run.results[name][TUNABLES]["msg"]
        assert message.startswith("tuned.service is active, and sets /sys/devices/system/cpu/cpufreq/policy*/")
        assert "Choose: leave it to tuned (kernel_tuning_cpu_energy_preference: unmanaged" in message
    unmanaged = role.run("--extra-vars", "kernel_tuning_cpu_energy_preference=unmanaged")
    assert unmanaged.code == 0, unmanaged.errors
    for host in hosts.values():
        assert not host.file("/etc/tmpfiles.d/mlrig.conf").contains("energy_performance_preference")
        host.check_output("systemctl stop tuned")
    assert role.run().code == 0
