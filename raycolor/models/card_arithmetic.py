"""Compute as a card says: lightness to a network's inputs, its outputs to color; without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raycolor.color.arrays import lab_to_linear, rgb_to_lab, srgb_encode
from raycolor.errors import CheckpointError
from raycolor.models.card import Card, ExtraInput
from raycolor.models.onnx_file import dtype_of


def run_network(
    session: Any, card: Card, L: NDArray[np.float32], source: str, hints: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Run a network.

    Args:
        session: of onnxruntime.
        card: of the network.
        L: (B, H, W), 0..100, of a size that it takes.
        source: what messages call the network.
        hints: (B, 3, H, W): a and b in Lab units, and 1 where there is a hint.

    Returns:
        Its output (B, 2, 3 or Q, h, w) after `output_scale` and `output_offset`, and confidence (B,) in 0..1, None
        without such an output.

    Raises:
        CheckpointError: onnxruntime cannot run it, or it answers something else than its card says.
    """
    if card.batch == 1 and len(L) > 1:
        each = (None if hints is None else hints[i : i + 1] for i in range(len(L)))
        made = (run_network(session, card, plane[None], source, one) for plane, one in zip(L, each, strict=True))
        planes, ranks = zip(*made, strict=True)
        return np.concatenate(planes), None if ranks[0] is None else np.concatenate(ranks)
    known = {given.name: given for given in session.get_inputs()}
    extra = {one.name: _extra(known, one, L.shape, hints) for one in card.extra}
    outputs = [card.output_of([output.name for output in session.get_outputs()])]
    outputs += [card.confidence] if card.confidence else []
    try:
        found = session.run(outputs, {card.input_of(list(known)): network_input(card, L), **extra})
    except Exception as exc:
        # onnxruntime's exceptions share no base but this one.
        raise CheckpointError(
            f"{source}: onnxruntime cannot run it ({' '.join(str(exc).split())[:200]}): import it with another card"
        ) from exc
    scaled = scaled_output(card, np.asarray(found[0]), source)
    if len(scaled) != len(L):
        raise CheckpointError(f"{source}: answers {len(scaled)} planes for {len(L)}: its card must say batch: 1")
    if len(found) == 1:
        return scaled, None
    confidence = np.asarray(found[1], np.float32).reshape(len(scaled), -1).mean(axis=1)
    return scaled, np.clip(confidence, 0, 1).astype(np.float32)


def network_input(card: Card, L: NDArray[np.float32]) -> NDArray[Any]:
    """Return what a network is given for lightness planes.

    Args:
        card: of the network.
        L: (B, H, W), 0..100.

    Returns:
        (B, channels, H, W), of the card's type.
    """
    value = L if card.input == "L" else neutral_gray(L)
    channels = np.repeat(value[:, None].astype(np.float32), card.channels, axis=1)
    mean, std = (np.asarray(numbers, np.float32)[None, :, None, None] for numbers in (card.mean, card.std))
    made = (channels * np.float32(card.scale) + np.float32(card.offset) - mean) / std
    if card.dtype == "uint8":
        made = np.clip(np.rint(made), 0, 255)
    return np.ascontiguousarray(made.astype(card.dtype))


def neutral_gray(L: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the gamma-encoded sRGB, 0..1, of grays of lightness L, 0..100; any shape."""
    lab = np.zeros((*L.shape, 3))
    lab[..., 0] = L
    return np.clip(srgb_encode(lab_to_linear(lab)[..., 0]), 0, 1).astype(np.float32)


def scaled_output(card: Card, values: NDArray[Any], source: str) -> NDArray[np.float32]:
    """Return a network's output (B, 2, 3 or Q, h, w) after `output_scale` and `output_offset`.

    Raises:
        CheckpointError: another shape than the card's output has.
    """
    wanted = card.output_channels
    if values.ndim != 4 or values.shape[1] != wanted or 0 in values.shape:
        raise CheckpointError(
            f"{source}: answers {tuple(values.shape)}, and its card says {card.output}, (B, {wanted}, h, w): import it "
            "with another card"
        )
    made: NDArray[np.float32] = values.astype(np.float32) * np.float32(card.output_scale) + np.float32(
        card.output_offset
    )
    return made


def color_of(card: Card, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read a network's scaled output as color.

    Args:
        card: of the network.
        scaled: (B, 2, h, w) ab, (B, 3, h, w) RGB, or (B, Q, h, w) logits.

    Returns:
        (B, 2, h, w), Lab units; a NaN stays one.
    """
    if card.output == "ab_logits":
        made = scaled / np.float32(card.temperature)
        share = np.exp(made - made.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        centers = np.asarray(card.bins, np.float32)
        mean: NDArray[np.float32] = np.einsum("bqhw,qc->bchw", share, centers).astype(np.float32)
        return mean
    if card.output == "rgb":
        rgb = np.clip(scaled, 0, 1).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(rgb_to_lab(rgb)[..., 1:].transpose(0, 3, 1, 2), np.float32)
    return np.ascontiguousarray(scaled)


def _extra(
    known: dict[str, Any], one: ExtraInput, L: tuple[int, ...], hints: NDArray[np.float32] | None
) -> NDArray[Any]:
    """Return what an extra input is given: its constant, or hints."""
    if one.name not in known:
        raise CheckpointError(f"extra input {one.name!r} of the card: the file has {', '.join(known)}: mend the card")
    kind = dtype_of(known[one.name].type)
    if one.takes != "constant" and hints is not None:
        part = hints[:, :2] if one.takes == "ab" else hints[:, 2:]
        return (one.value + one.scale * part).astype(kind)
    # A free batch is the lightness's own; other free sides are those of its plane.
    sides = [L[0], one.channels or 1, *L[1:]]
    if one.channels is not None:
        return np.full(sides, one.value, kind)
    shape = [
        side if isinstance(side, int) else (sides[axis] if axis < len(sides) else 1)
        for axis, side in enumerate(known[one.name].shape)
    ]
    return np.full(shape, one.value, kind)
