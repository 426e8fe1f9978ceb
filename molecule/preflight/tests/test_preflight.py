"""The role alone passes on a good host (converge) and leaves nothing behind; molecule/bare has what it refuses."""


def test_nothing_is_left_on_the_host(host):
    ours = "find /etc /opt /usr/local /var/lib /run -xdev -name '*mlrig*' -not -name '*mlrig-test-host*'"
    assert host.check_output(ours) == ""
