"""Drift by hand on converged hosts: the next run reports and mends exactly that, the one after changes nothing."""

KEEPALIVE = "net.ipv4.tcp_keepalive_time"
HUGEPAGE = "/sys/kernel/mm/transparent_hugepage/enabled"
ENERGY_PREFERENCE = "/sys/devices/system/cpu/cpufreq/policy*/energy_performance_preference"
TUNABLES = "Set kernel tunables, now and for every boot"

DRIFT = [
    "sysctl --write net.ipv4.tcp_keepalive_time=7200",
    "sed -i '/swappiness/s/10/60/' /etc/sysctl.d/99-mlrig.conf",
    "echo kernel.sysrq=1 >>/etc/sysctl.d/99-mlrig.conf",
    "rm /etc/tmpfiles.d/mlrig.conf",
    "sed -i /nvidia/d /etc/apt/apt.conf.d/52mlrig-unattended-upgrades",
    "apt-get --yes --quiet=2 -o DPkg::Lock::Timeout=300 purge tree",
    "systemctl disable --now apt-daily.timer",
    "rm /etc/udev/rules.d/90-mlrig-nvme.rules",
    "nvidia-smi -pl 150",
    "rm /etc/mlrig/gpu.json",
    "systemctl disable mlrig-gpu.service",
]
TASKS = {
    TUNABLES,
    "Set NVMe disks, now and whenever one comes",
    "Configure unattended upgrades",
    "Install what is missing",
    "Keep the clock and the daily upgrades running",
    "Set the GPUs, now and for every boot",
    "Have them set at boot, after a driver reload and after resume",
}
SETTINGS = {
    (KEEPALIVE, "live", "7200"),
    ("vm.swappiness", "persisted", "60"),
    ("kernel.sysrq", "persisted", "1"),
    (HUGEPAGE, "persisted", None),
    (ENERGY_PREFERENCE, "persisted", None),
}


def drifted_settings(run, name):
    records = run.results[name][TUNABLES]["settings"]
    return {(record["id"], record["plane"], record["actual"]) for record in records if record["action"] == "changed"}


def test_drift_is_reported_then_mended_then_gone(site, hosts):
    for host in hosts.values():
        for command in DRIFT:
            host.check_output(command)

    reported = site.run("--check")
    assert reported.code == 0, reported.errors
    mended = site.run()
    assert mended.code == 0, mended.errors
    afterwards = site.run()
    assert afterwards.code == 0, afterwards.errors

    for name, host in hosts.items():
        assert reported.changed(name) == mended.changed(name) == TASKS
        packages = reported.results[name]["Install what is missing"]["settings"]
        assert [record["id"] for record in packages if record["action"] == "changed"] == ["tree"]
        assert drifted_settings(reported, name) == drifted_settings(mended, name) == SETTINGS
        assert afterwards.changed(name) == set()
        assert host.check_output(f"sysctl --values {KEEPALIVE}") == "600"
        assert host.package("tree").is_installed
        assert host.service("apt-daily.timer").is_enabled
        assert host.service("mlrig-gpu.service").is_enabled
        assert host.check_output("nvidia-smi --query-gpu=power.limit --format=csv,noheader") == "180.00 W"
        assert host.service("apt-daily.timer").is_running
