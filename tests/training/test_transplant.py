"""Laws of docs/training/transplant.py."""

import runpy
from pathlib import Path

import pytest
import torch

from raycolor.models.build import build_model

TRANSPLANT = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "training" / "transplant.py"))
BINS = {"head": "bins", "widths": [16, 16, 8, 8], "convs": 1}


class Mixed(torch.nn.Module):
    """An encoder whose features are those of another, scaled and shifted: what a linear map can undo."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        """Return the features at five sizes."""
        return [features * 2 + 3 for features in self.encoder(x)]


def test_a_decoder_reads_another_encoder_through_the_maps(monkeypatch, capsys):
    """Where the old features are a linear map of the new ones, the grafted network gives the old one's colors."""
    torch.manual_seed(0)
    old, new = build_model("unet", BINS).eval(), build_model("unet", BINS).eval()
    new.encoder.load_state_dict(old.encoder.state_dict())
    batch = type(
        "Batch",
        (),
        {"ids": ["a", "b"], "L_net": torch.nn.functional.interpolate(torch.rand(2, 1, 48, 48) * 2 - 1, scale_factor=4)},
    )
    monkeypatch.setitem(TRANSPLANT["fit"].__globals__, "batches", lambda *_, **__: iter([batch]))
    monkeypatch.setitem(TRANSPLANT["fit"].__globals__, "RIDGE", 1e-6)
    maps = TRANSPLANT["fit"](Mixed(old.encoder), new.encoder, None, 2)
    assert capsys.readouterr().out.count("explain 1.000 of") == 5
    trained = old.state_dict()
    new.load_state_dict(TRANSPLANT["fold"](new, trained, maps))
    with torch.no_grad():
        *skips, deepest = Mixed(old.encoder)(batch.L_net)
        x = deepest
        for level, skip in zip(old.levels, reversed(skips), strict=True):
            x = level(x, skip)
        expected = old.head(x)
        found = new.head(new.features(batch.L_net))
    inside = (slice(None), slice(None), slice(20, -20), slice(20, -20))  # edges are padded: see `fold`
    assert found[inside].numpy() == pytest.approx(expected[inside].numpy(), abs=0.02)
    assert float((found - expected).abs().max()) > 0
