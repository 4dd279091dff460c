"""Networks on GPUs that no machine has: Ray is told that there are some, and a network sleeps as long as they compute.

Run as a program it starts such a Ray, does what its argument names, and prints what came of it as JSON.
"""

import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

PLACES, PASS_S = 8, 0.02
HANGS = 13.0
SIZES = [(32, 48), (48, 32), (32, 32)]


class Sleeping:
    """Takes `PASS_S` for a pass, whoever fills it; of a plane with `HANGS` in it a pass never ends."""

    places, ahead = PLACES, 2

    def __init__(self, config=None, device="cuda"):
        assert device == "cuda"
        self._free = 0.0

    def begin(self, planes):
        from raycolor.colorizer.predict import Predicted

        self._free = max(self._free, time.monotonic()) + PASS_S
        end = self._free

        def wait():
            while any(plane[0, 0] == HANGS for plane in planes):
                time.sleep(0.1)
            time.sleep(max(0.0, end - time.monotonic()))
            return [Predicted(np.stack([plane, plane / 2], -1), float(plane[0, 0])) for plane in planes]

        return wait


def plane(value, size):
    """Return a plane with a value that float16 holds exactly."""
    return np.full(size, value, np.float32)


def is_right(predicted, value, size):
    """Whether color is what `Sleeping` gives for a plane."""
    return predicted.ab.shape == (*size, 2) and predicted.ab[0, 0].tolist() == [value, value / 2]


def networks(gpus=2, timeout_s=600.0):
    """Start networks on fake GPUs."""
    from raycolor.colorize.execution import Execution
    from raycolor.colorize.network_actor import start_networks
    from raycolor.colorizer.config import ColorizerConfig

    return start_networks(Execution("cuda", gpus), ColorizerConfig(), timeout_s, Sleeping)


KILLS = 4


def killed():
    """Ask for color from many threads while actors are killed; return what is wrong, and the number of kills."""
    import chaos

    ask, draw = networks(), random.Random(0)
    wrong, asked, over = [], [0], []

    def work(thread):
        while not over:
            value, size = float(draw.randrange(64) + 100), SIZES[thread % 3]
            (found,) = ask([plane(value, size)])
            asked[0] += 1
            if not is_right(found, value, size):
                wrong.append(value)

    kills = 0
    with ThreadPoolExecutor(24) as pool:
        done = [pool.submit(work, i) for i in range(24)]
        try:
            for _ in range(KILLS):
                _until(lambda before=asked[0]: asked[0] > before + 100)
                kills += chaos.kill_actor(draw, "ray::NetworkActor")
            _until(lambda before=asked[0]: asked[0] > before + 500)
        finally:
            over.append(True)
        for one in done:
            one.result()
    return {"wrong": wrong, "kills": kills, "asked": asked[0]}


def _until(is_so, seconds=200.0):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hung():
    """Ask for a plane over which the network hangs, among others; return what became of each."""
    from raycolor.errors import RaycolorError

    ask = networks(timeout_s=3.0)

    def one(i):
        value = HANGS if i == 20 else float(i + 100)
        try:
            return is_right(ask([plane(value, SIZES[0])])[0], value, SIZES[0])
        except RaycolorError as exc:
            return f"{type(exc).__name__}: {exc}"

    with ThreadPoolExecutor(40) as pool:
        return list(pool.map(one, range(40)))


def measured(checkpoint):
    """Measure on a fake GPU; return its rate, the CPU's seconds, and GPUs that are free afterwards."""
    from raycolor.cluster.placement import free_gpus
    from raycolor.colorize.network_actor import measure
    from raycolor.colorizer.config import ColorizerConfig
    from raycolor.sources import Reader

    speeds = measure(ColorizerConfig(checkpoint=checkpoint), Reader("."), [], make=Sleeping)
    deadline = time.monotonic() + 60
    while free_gpus() < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    return {**speeds._asdict(), "free": free_gpus()}


def placed():
    """Start networks; return the CPUs and GPUs that are left, and answers of one actor without a place beside them."""
    import ray

    ask = networks(gpus=3)
    found = ask([plane(120.0, SIZES[0])])[0]
    left = ray.available_resources()
    return {"right": is_right(found, 120.0, SIZES[0]), "GPU": left.get("GPU", 0.0), "CPU": left.get("CPU", 0.0)}


def main():
    """Do what is named, and leave nothing behind."""
    from raycolor.cluster import session  # sets what Ray reads when it is imported

    del session
    import chaos
    import ray

    start = {"num_cpus": 4, "num_gpus": 2, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    quiet = {"log_to_driver": False, "configure_logging": False}
    chaos.patiently(lambda: ray.init(address="local", **start, **quiet))
    try:
        found = {"killed": killed, "hung": hung, "measured": measured, "placed": placed}[sys.argv[1]](*sys.argv[2:])
        print(json.dumps(found), flush=True)
    finally:
        ray.shutdown()
    os._exit(0)  # whatever still asks


if __name__ == "__main__":
    main()
