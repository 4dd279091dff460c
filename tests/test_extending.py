"""docs/extending.md, followed: a metric and a format are added as it says, and used."""

import struct

import numpy as np
import pytest
import torch

from raycolor.codecs import decode, encode, formats, header, photograph
from raycolor.colorizer.api import Colorizer
from raycolor.errors import DecodeError
from raycolor.evaluate import examples
from raycolor.models import metrics
from raycolor.models.metrics import MetricSums
from raycolor.pages import tables


def test_a_metric_is_a_function_a_name_and_a_column(monkeypatch):
    """`MEASURES`, `FULL` and `COLUMNS`: the metric has value and interval, and each photograph its own."""
    monkeypatch.setitem(metrics.MEASURES, "worst_pixel", lambda batch: batch.distance.amax((1, 2)))
    for module in (metrics, examples):
        monkeypatch.setattr(module, "FULL", (*metrics.FULL, "worst_pixel"))
    column = tables.Column("worst_pixel", "worst pixel", "lower", "Largest distance of a pixel, Lab units.")
    monkeypatch.setattr(examples, "COLUMNS", (*tables.COLUMNS, column))
    sums = MetricSums()
    truth = torch.rand(3, 2, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    sums.add(torch.zeros(3, 1, 16, 16), torch.zeros_like(truth), truth, ["a", "b", "c"])
    expected = (110 * truth).norm(dim=1).amax((1, 2))
    assert sums.result()["worst_pixel"]["value"] == pytest.approx(float(expected.mean()))
    assert examples.per_image(sums)["worst_pixel"] == pytest.approx(expected.numpy())


SIGNATURE = b"TOY!"


def read_toy_header(data):
    """Read width, height and number of channels."""
    if len(data) < 9:
        raise DecodeError("truncated", f"{len(data)} bytes")
    width, height, channels = struct.unpack("<HHB", data[4:9])
    gray = channels == 1
    return photograph.Header("toy", width, height, 8, channels, color="gray" if gray else "rgb")


def decode_toy(data, about):
    """Decode raw pixels."""
    shape = (about.height, about.width) if about.gray else (about.height, about.width, 3)
    if len(data) != 9 + int(np.prod(shape)):
        raise DecodeError("truncated", f"{len(data)} bytes")
    pages = [np.frombuffer(data[9:], np.uint8).reshape(shape)]
    return photograph.Photograph(about, pages, [None], photograph.Metadata())


def encode_toy(photo, pages, provenance, quality):
    """Write raw pixels."""
    page = np.asarray(pages[0])
    return SIGNATURE + struct.pack("<HHB", page.shape[1], page.shape[0], 3) + page.tobytes()


def test_a_format_is_three_functions_and_their_names(monkeypatch):
    """Signature, header, decoder, encoder, suffixes: a file of the format is colorized, and a cut one refused."""
    monkeypatch.setattr(header, "_MAGIC", (*header._MAGIC, (SIGNATURE, "toy")))
    monkeypatch.setitem(header._READERS, "toy", read_toy_header)
    monkeypatch.setitem(formats._DECODERS, "toy", decode_toy)
    monkeypatch.setitem(formats._ENCODERS, "toy", encode_toy)
    monkeypatch.setitem(photograph.SUFFIXES, "toy", (".toy",))
    gray = np.tile(np.arange(64, 192, dtype=np.uint8), (96, 1))
    data = SIGNATURE + struct.pack("<HHB", 128, 96, 1) + gray.tobytes()
    photo = decode(data)
    assert (photo.pages[0] == gray).all()
    colored = decode(encode(photo, [np.repeat(gray[..., None], 3, axis=2)], provenance=None))
    assert colored.pages[0].shape == (96, 128, 3)
    made = Colorizer("regression")(data)
    assert decode(made.data).pages[0].shape == (96, 128, 3)
    with pytest.raises(DecodeError, match="bytes"):
        decode(data[:-1])
