"""The network apart from the codecs: passes of a GPU, and what goes wrong there."""

import numpy as np
import pytest
import torch

from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Predictor
from raycolor.errors import ConfigError, ShapeError


def planes(count, height=64, width=64):
    """Return lightness planes that differ."""
    return [np.random.default_rng(i).uniform(0, 100, (height, width)).astype(np.float32) for i in range(count)]


@pytest.fixture(scope="module")
def predictor():
    """The report's regression, as shipped."""
    return Predictor(ColorizerConfig(checkpoint="regression"))


def test_a_gpus_passes_are_always_full(monkeypatch):
    """Whatever the number and the sizes, each pass has the same places and one size, and each plane its own color."""
    predictor = Predictor(ColorizerConfig(checkpoint="regression"), places=4)
    shapes = []
    color = predictor._color
    monkeypatch.setattr(predictor, "_color", lambda L: shapes.append(tuple(L.shape)) or color(L))
    mixed = [*planes(5), *planes(3, 64, 96), *planes(1, 96, 64)]
    together = predictor.predict(mixed)
    assert sorted(shapes) == [(4, 1, 64, 64), (4, 1, 64, 64), (4, 1, 64, 96), (4, 1, 96, 64)]
    single = Predictor(ColorizerConfig(checkpoint="regression"))
    for plane, found in zip(mixed, together, strict=True):
        alone = single.predict([plane])[0]
        assert found.ab.shape == alone.ab.shape
        assert np.abs(found.ab - alone.ab).mean() < 0.2  # bf16 in another order; another plane's would be far off


def test_a_pass_takes_one_size(predictor):
    """What does not go together is refused, not padded."""
    with pytest.raises(ShapeError, match="2 planes, 1 sizes: a pass takes 1 to 1 of one size"):
        predictor.begin(planes(2))


def test_a_batch_beyond_the_gpus_memory_names_its_flag(predictor, monkeypatch):
    """Flag, present value and size of the planes in one line; another error stays what it is."""

    def out_of_memory(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.62 GiB. GPU 0 has a total capacity of")

    monkeypatch.setattr(predictor.net, "color_with", out_of_memory)
    with pytest.raises(ConfigError, match=r"^--gpu-batch 32: .* of 96 x 64 px at once: give a smaller --gpu-batch$"):
        predictor.predict(planes(1, 64, 96))

    def broken(*_):
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(predictor.net, "color_with", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        predictor.predict(planes(1))


def test_a_gpu_that_is_not_there_is_one_line(monkeypatch):
    """Said when the network is made, not by the first photograph."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="no GPU that works here"):
        Predictor(ColorizerConfig(checkpoint="regression"), device="cuda")
