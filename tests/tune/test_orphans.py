"""What a stopped trial held is given back."""

import time

import pytest

pytestmark = pytest.mark.ray


def test_a_group_is_freed_once_its_creator_is_dead(ray_local):
    """While the actor that made a placement group lives, the group stays; after its death it is removed, once."""
    import ray
    from ray.util.placement_group import placement_group, placement_group_table

    from raycolor.tune.callbacks import free_orphans

    @ray.remote(num_cpus=0)
    class Creator:
        def make(self):
            group = placement_group([{"CPU": 1}])
            ray.get(group.ready(), timeout=60)
            return group.id.hex()

    creator = Creator.remote()
    name = ray.get(creator.make.remote(), timeout=120)
    assert free_orphans() == 0
    ray.kill(creator)
    deadline = time.monotonic() + 60
    while not (freed := free_orphans()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert freed == 1
    while placement_group_table()[name]["state"] != "REMOVED" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert placement_group_table()[name]["state"] == "REMOVED"
    assert free_orphans() == 0
