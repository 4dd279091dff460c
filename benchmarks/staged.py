"""How busy does a staged job keep a GPU, whose photographs are of mixed sizes? Modelled: no GPU is needed.

    python benchmarks/staged.py [--ways before now] [--workers 127] [--per-s 700] [--stretch 4] [--json FILE]

A card that sleeps as long as an L4 is expected to compute (`--per-s` planes of 256 x 256 a second, in passes of
`--gpu-batch` places, filled or not), and workers that sleep for decoding and encoding. Between them all is real: Ray,
the actor with its queues, calls, planes and colors. `before` is how it was: a call for each photograph in float32, no
call before the last has ended, copies and computing in turns, in each call as many passes as there are sizes.

Two cores have to play 128, so that all that sleeps is stretched: what Ray costs counts for less by that factor, for
`before` most of all. Shares are of the time that was measured. `busy` is the card's time in passes, `filled` the share
of their places that held a photograph, `useful` both: photographs a second as a share of what the card could do.
"""

import argparse
import json
import queue
import random
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import common
import numpy as np

SHAPES = {(224, 320): 40, (320, 224): 14, (224, 288): 15, (288, 224): 9, (256, 256): 6, (256, 288): 5, (288, 256): 5,
          (192, 352): 3, (192, 320): 2, (160, 416): 1}  # fmt: skip
"""Sizes at which a network sees photographs, and how many of a hundred: most archives hold 3:2, 4:3 and 5:4."""
COPY_BYTES_S = 12e9  # PCI Express 4.0 x16, as measured in general; a card's own bus is no part of this
PHOTOGRAPHS = 16  # that a worker has on their way


@dataclass(frozen=True)
class Model:
    """What is played."""

    places: int
    per_s: float
    stretch: float
    folder: str

    def pass_s(self, shape: tuple[int, int]) -> float:
        """Return the seconds of one pass."""
        return self.stretch * self.places * shape[0] * shape[1] / 65536 / self.per_s

    def copy_s(self, shape: tuple[int, int], size: int) -> float:
        """Return the seconds of the copies of one pass there and back; `size` bytes for a number."""
        return self.stretch * self.places * shape[0] * shape[1] * (1 + 2 / 4) * size / COPY_BYTES_S


class Card:
    """Sleeps as long as a GPU computes; one pass is copied while another computes. Its counts stand in a file."""

    ahead = 2

    def __init__(self, model, config=None, device="cuda"):
        self._model, self.places, self._free = model, model.places, 0.0
        self._counts = {"busy_s": 0.0, "planes": 0, "passes": 0}

    def begin(self, planes):
        shape = planes[0].shape
        copied = time.time() + self._model.copy_s(shape, 2)
        self._free = max(self._free, copied) + self._model.pass_s(shape)
        return partial(self._wait, self._free, planes)

    def _wait(self, end, planes):
        time.sleep(max(0.0, end - time.time()))
        return self._counted(planes)

    def _counted(self, planes):
        from raycolor.colorizer.predict import Predicted

        height, width = planes[0].shape
        self._counts["busy_s"] += self._model.pass_s((height, width))
        self._counts["planes"] += len(planes)
        self._counts["passes"] += 1
        (Path(self._model.folder) / "counts.new").write_text(json.dumps(self._counts))
        (Path(self._model.folder) / "counts.new").rename(Path(self._model.folder) / "counts.json")
        return [Predicted(np.zeros((height // 2, width // 2, 2), np.float32), 0.5) for _ in planes]

    def predict(self, planes):
        """Be as before: a pass for each size that has come, one after the other."""
        results = {}
        for shape in {plane.shape for plane in planes}:
            members = [i for i, plane in enumerate(planes) if plane.shape == shape]
            for start in range(0, len(members), self.places):
                some = members[start : start + self.places]
                time.sleep(self._model.copy_s(shape, 4) + self._model.pass_s(shape))
                results.update(zip(some, self._counted([planes[i] for i in some]), strict=True))
        return [results[i] for i in range(len(planes))]


class ActorBefore:
    """The actor as it was: threads that wait, and one that takes what has come, whatever its size."""

    def __init__(self, model):
        self._card, self._waiting = Card(model), queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def predict(self, L_small):
        answer = Future()
        self._waiting.put((L_small, answer))
        return answer.result()

    def _serve(self):
        while True:
            taken = [self._waiting.get()]
            while sum(len(planes) for planes, _ in taken) < self._card.places and not self._waiting.empty():
                taken.append(self._waiting.get())
            results = iter(self._card.predict([plane for planes, _ in taken for plane in planes]))
            for planes, answer in taken:
                answer.set_result([next(results) for _ in planes])


class NetworkBefore:
    """Asks it: a call for each photograph."""

    def __init__(self, actor):
        self._actor = actor

    def __call__(self, L_small):
        import ray

        return ray.get(self._actor.predict.remote(list(L_small)))


class Workers:
    """Some workers in one process: each computes one photograph at a time, and has several on their way."""

    def __init__(self, asks, cpu_s, seed):
        self._asks, self._cpu_s, self._draw, self.done = asks, cpu_s, random.Random(seed), 0

    def begin(self):
        """Begin to work."""
        for ask in self._asks:
            computing = threading.Lock()
            for _ in range(PHOTOGRAPHS):
                threading.Thread(target=self._work, args=[ask, computing], daemon=True).start()

    def _work(self, ask, computing):
        shapes, weights = list(SHAPES), list(SHAPES.values())
        while True:
            plane = np.zeros(self._draw.choices(shapes, weights)[0], np.float32)
            with computing:
                time.sleep(self._cpu_s / 2)
            ask([plane])
            with computing:
                time.sleep(self._cpu_s / 2)
            self.done += 1

    def count(self):
        """Return photographs that are done."""
        return self.done


def measure(way, given, folder):
    """Return rates and shares of one way."""
    import ray

    from raycolor.colorize.execution import Execution
    from raycolor.colorize.network_actor import start_networks
    from raycolor.colorizer.config import ColorizerConfig

    model = Model(given.gpu_batch, given.per_s, given.stretch, folder)
    if way == "now":
        config = ColorizerConfig(gpu_batch=given.gpu_batch)
        ask = start_networks(Execution("cuda", 1), config, 600.0, partial(Card, model))
        actors = ask._actors
    else:
        actors = [ray.remote(ActorBefore).options(num_gpus=1, num_cpus=0, max_concurrency=4096).remote(model)]
        ask = NetworkBefore(actors[0])
    kind, cpu_s = ray.remote(Workers), given.stretch * given.photograph_ms / 1000
    shares = [len(range(i, given.workers, given.processes)) for i in range(given.processes)]
    # Each worker asks for itself, as a process of its own would.
    processes = [
        kind.options(num_cpus=0, max_concurrency=4).remote([_again(ask) for _ in range(share)], cpu_s, seed)
        for seed, share in enumerate(shares)
    ]
    ray.get([process.begin.remote() for process in processes])
    while not _counts(folder)["passes"]:  # processes are starting
        time.sleep(0.1)
    time.sleep(given.warm_s)
    before, begun, done = _counts(folder), time.time(), sum(ray.get([one.count.remote() for one in processes]))
    time.sleep(given.seconds)
    after, seconds = _counts(folder), time.time() - begun
    photographs = sum(ray.get([one.count.remote() for one in processes])) - done
    for one in [*processes, *actors]:
        ray.kill(one)
    passes, planes = after["passes"] - before["passes"], after["planes"] - before["planes"]
    area = sum(h * w * share for (h, w), share in SHAPES.items()) / sum(SHAPES.values()) / 65536
    rate = photographs * given.stretch / seconds
    return {
        "images_per_s": rate,
        "busy": (after["busy_s"] - before["busy_s"]) / seconds,
        "filled": planes / (passes * given.gpu_batch) if passes else 0.0,
        "useful": rate * area / given.per_s,
        "passes": passes,
        "seconds": seconds,
    }


def _again(ask):
    """Return what asks the same actors by itself."""
    kind, arguments = ask.__reduce__() if hasattr(ask, "_timeout_s") else (type(ask), (ask._actor,))
    return kind(*arguments)


def _counts(folder):
    path = Path(folder) / "counts.json"
    return json.loads(path.read_text()) if path.exists() else {"busy_s": 0.0, "planes": 0, "passes": 0}


def main() -> None:
    """Play each way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", default=["before", "now"], choices=["before", "now"])
    parser.add_argument("--workers", type=int, default=127, metavar="N", help="CPUs that decode and encode")
    parser.add_argument("--photograph-ms", type=float, default=14.0, metavar="MS", help="of a CPU, but for the network")
    parser.add_argument("--per-s", type=float, default=700.0, metavar="N", help="planes a second of the card")
    parser.add_argument("--gpu-batch", type=int, default=32, metavar="N")
    parser.add_argument("--stretch", type=float, default=4.0, metavar="X", help="how much slower all is played")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="that play the workers")
    parser.add_argument("--warm-s", type=float, default=10.0, metavar="S", help="before the measurement")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="of the measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    given = parser.parse_args()
    from raycolor.cluster import session  # sets what Ray reads when it is imported

    del session
    import ray

    about, rows = common.machine(), {}
    resources = {"num_cpus": given.processes + 2, "num_gpus": 1}
    ray.init("local", **resources, include_dashboard=False, log_to_driver=False, configure_logging=False)
    print(f"modelled: {given.workers} CPUs, one card of {given.per_s:.0f} planes/s; played on {common.told(about)}")
    for way in given.ways:
        with tempfile.TemporaryDirectory(prefix="raycolor-bench-") as folder:
            row = rows[way] = measure(way, given, folder)
        told = f"busy {row['busy']:.2f}, filled {row['filled']:.2f}, useful {row['useful']:.2f}"
        print(f"{way:7s} {row['images_per_s']:7.0f} photographs/s, {told}", flush=True)
    ray.shutdown()
    settings = {key: value for key, value in vars(given).items() if key != "json"}
    common.write(given.json, "staged", {"machine": about, "settings": settings, "rows": rows})


if __name__ == "__main__":
    main()
