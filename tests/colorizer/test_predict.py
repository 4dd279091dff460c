"""The network apart from the codecs: batches of many callers, and batches of a GPU."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Batcher, Predicted, Predictor
from raycolor.errors import ConfigError


def planes(count, height=64, width=64):
    """Return lightness planes that differ."""
    return [np.random.default_rng(i).uniform(0, 100, (height, width)).astype(np.float32) for i in range(count)]


@pytest.fixture(scope="module")
def predictor():
    """The report's regression, as shipped."""
    return Predictor(ColorizerConfig(checkpoint="regression"))


def test_a_gpus_batches_are_always_full(predictor, monkeypatch):
    """Whatever the number and the sizes, each batch has the same places, and each plane gets its own color."""
    sizes = []
    forward = predictor._forward
    monkeypatch.setattr(predictor, "_forward", lambda L: sizes.append(len(L)) or forward(L))
    mixed = [*planes(5), *planes(3, 64, 96), *planes(1, 96, 64)]
    together = predictor._in_batches(mixed, 4)
    assert sizes == [4] * 4
    for plane, found in zip(mixed, together, strict=True):
        alone = predictor.predict([plane])[0]
        assert found.ab.shape == alone.ab.shape
        assert np.abs(found.ab - alone.ab).mean() < 0.2  # bf16 in another order; another plane's would be far off


def test_every_caller_gets_his_own(predictor):
    """Many threads, one network, which no two of them use at a time."""
    busy = threading.Lock()

    def predict(L_small):
        assert busy.acquire(blocking=False)
        try:
            return [Predicted(np.full((1, 1, 2), plane[0, 0]), None) for plane in L_small]
        finally:
            busy.release()

    ask = Batcher(predict, 8)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: ask([np.full((2, 2), i), np.full((2, 2), -i)]), range(300)))
    assert [[float(one.ab[0, 0, 0]) for one in answer] for answer in answers] == [[i, -i] for i in range(300)]


def test_waiting_planes_share_a_call():
    """What gathers while one call runs goes into the next together, up to the most."""
    calls, gate = [], threading.Event()

    def predict(L_small):
        calls.append(len(L_small))
        gate.wait(20)
        return [Predicted(plane, None) for plane in L_small]

    ask = Batcher(predict, 4)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(ask, planes(1))
        while not calls:
            pass
        others = [pool.submit(ask, planes(1)) for _ in range(8)]
        while ask._waiting.qsize() < 8:
            pass
        gate.set()
        for answer in [first, *others]:
            assert len(answer.result()) == 1
    assert calls == [1, 4, 4]


def test_an_error_reaches_those_who_waited_and_no_other():
    """The next call works again."""

    def predict(L_small):
        if any(plane.ndim != 2 for plane in L_small):
            raise ValueError("no plane")
        return [Predicted(plane, None) for plane in L_small]

    ask = Batcher(predict, 4)
    with pytest.raises(ValueError, match="no plane"):
        ask([np.zeros(3)])
    assert len(ask(planes(2))) == 2


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
