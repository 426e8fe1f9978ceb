"""Check mode on a bare host: it runs to its end, reports what would change, and changes nothing."""


def test_check_mode_reports_everything_and_changes_nothing(host, site, files):
    name = host.check_output("hostname")
    host.check_output("rm -rf /var/lib/apt/lists/*")  # as a cloud image comes
    assert not host.package("python3-apt").is_installed
    before = files(host)
    run = site.run("--check", "--diff", "--limit", name)
    assert run.code == 0, run.errors
    assert run.changed(name) == {
        "Install what is missing",
        "Configure unattended upgrades",
        "Set NVMe disks, now and whenever one comes",
        "Set kernel tunables, now and for every boot",
        "Install the program mlrig",
        "Set the GPUs, now and for every boot",
        "Install Docker, and NVIDIA's container toolkit for GPUs",
        "Keep Docker's configuration",
    }
    assert files(host) == before
