"""Runs that are killed (SIGKILL) in the middle of a task: the next one converges."""


def is_installing(host):
    """In the middle of it: many packages are unpacked and wait to be configured."""
    return int(host.run("dpkg-query --show --showformat='${db:Status-Status}\n' | grep --count unpacked").stdout) > 10


def test_killed_runs_are_finished_by_the_next(host, site):
    name = host.check_output("hostname")

    # As in a power cut: what works on the host dies too, and leaves packages half installed.
    assert site.kill_when(lambda: is_installing(host), "--limit", name)
    host.run("pkill --signal KILL --exact 'apt-get|dpkg|dpkg-deb'")
    assert host.check_output("dpkg --audit") != "", "nothing was interrupted"

    # Only the laptop dies: the host's apt goes on, and holds its lock.
    assert site.kill_when(lambda: is_installing(host), "--limit", name)

    converged = site.run("--limit", name)
    assert converged.code == 0, converged.errors
    assert host.check_output("dpkg --audit") == ""

    again = site.run("--limit", name)
    assert again.code == 0, again.errors
    assert again.changed(name) == set()
