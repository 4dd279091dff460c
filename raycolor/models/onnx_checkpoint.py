"""A checkpoint folder of an imported network: checkpoint.json and model.onnx."""

from __future__ import annotations

import hashlib
import json

from raycolor import __version__
from raycolor.models.card import Card
from raycolor.models.checkpoints import FORMAT, FORMAT_VERSION, JSON_FILE, ONNX_FILE, ONNX_METHOD


def to_files(data: bytes, card: Card) -> dict[str, bytes]:
    """Return the checkpoint as its files, in the order in which they are to be written.

    Args:
        data: the ONNX file, complete in itself.
        card: what it reads and answers, its license, source and citation.
    """
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "raycolor_version": __version__,
        "method": ONNX_METHOD,
        "network": {"name": "onnx", "config": card.model_dump(mode="json")},
        "training": {},
        "dataset": {},
        "metrics": {},
        "weights": {"file": ONNX_FILE, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)},
    }
    # The description goes last: its hash makes a half-written pair recognizable.
    return {ONNX_FILE: data, JSON_FILE: (json.dumps(description, indent=2) + "\n").encode()}
