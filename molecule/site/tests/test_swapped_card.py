"""A card is swapped, and site.yml run again: it converges without an edit of anything."""

SET = "Set the GPUs, now and for every boot"
COMPOSE = "Put a compose file there to start from"
POWER_LIMITS = "nvidia-smi --query-gpu=name,power.limit --format=csv,noheader,nounits"


def test_a_second_card_is_set_up_without_an_edit(site, hosts):
    for host in hosts.values():
        assert host.check_output(POWER_LIMITS) == "NVIDIA GeForce RTX 5060 Ti, 180.00"
        host.check_output("rm /etc/mlrig/gpu.json")  # so that the unit leaves the new card to the playbook
        host.check_output("simgpu machine 'NVIDIA GeForce RTX 5090' 'NVIDIA GeForce RTX 5060 Ti'")
    swapped, again = site.run(), site.run()
    assert swapped.code == 0, swapped.errors
    for name, host in hosts.items():
        assert host.check_output(POWER_LIMITS).splitlines() == [
            "NVIDIA GeForce RTX 5090, 500.00",
            "NVIDIA GeForce RTX 5060 Ti, 180.00",
        ]
        assert swapped.changed(name) == {SET, COMPOSE}  # it names the first card without a display
        assert again.changed(name) == set()
