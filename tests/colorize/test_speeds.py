"""What a device and a photograph cost, measured before a job chooses where its network runs."""

import time

import numpy as np
import photographs

from raycolor.colorize.speeds import measure_network, measure_photographs
from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Predicted
from raycolor.sources import Reader, open_source


class Sleeping:
    """A network that takes as long as it is told for each pass, wherever it runs."""

    ahead = 2

    def __init__(self, places, pass_s):
        self.places, self._pass_s, self._free = places, pass_s, 0.0

    def begin(self, planes):
        self._free = max(self._free, time.monotonic()) + self._pass_s
        end = self._free

        def wait():
            time.sleep(max(0.0, end - time.monotonic()))
            return [Predicted(np.zeros((1, 1, 2), np.float32), None) for _ in planes]

        return wait


def test_the_rate_is_that_of_full_passes(untrained):
    """Planes a second; on a machine that is busy fewer, never more."""
    rate = measure_network(lambda config, device: Sleeping(32, 0.05), ColorizerConfig(checkpoint=untrained), "cuda")
    assert 32 < rate < 640 * 1.05


def test_a_photograph_costs_its_network_and_the_rest(tmp_path, untrained):
    """Larger ones cost more beside the network; what cannot be colorized is passed over, and alone it costs nothing."""
    files = {
        "bad.jpg": b"no photograph",
        "blue.png": photographs.encoded(photographs.color_pixels()),
        "large.jpg": photographs.encoded(photographs.gray_pixels(1000, 1500)),
        "small.jpg": photographs.encoded(photographs.gray_pixels(64, 64)),
    }
    photographs.write_all(tmp_path, files)
    inputs = {info.key: info for info in open_source(str(tmp_path)).inputs(str(tmp_path / "out"))}
    config, reader = ColorizerConfig(checkpoint=untrained), Reader(str(tmp_path))
    none = measure_photographs(config, reader, [inputs["bad.jpg"], inputs["blue.png"]])
    small = measure_photographs(config, reader, [inputs["bad.jpg"], inputs["small.jpg"]])
    large = measure_photographs(config, reader, [inputs["large.jpg"]])
    assert none[1] == 0.0
    assert 0.0 < small[1] < large[1]
    assert all(network_s > 0 for network_s, _ in (none, small, large))
