"""Whether a card fits an ONNX file: by what the file says of itself, and by what it answers."""

from __future__ import annotations

from raycolor.exchange.probe import Answers, Listing, Port
from raycolor.models.card import BUILT_IN, Card, ExtraInput

_LARGEST_AB = 200.0  # Lab units; sRGB ends at 108
_LEAST_AB = 0.5  # Lab units that any colorizer gives somewhere
_RGB_MARGIN = 0.5  # beyond 0..1


def adapted(card: Card, listing: Listing) -> Card:
    """Return a built-in card with what the file says for itself: a fixed size, a batch of 1, inputs for hints."""
    changes: dict[str, object] = {}
    given, extra = _inputs(card, listing)
    if given is not None and len(given.shape) == 4:
        height, width = given.shape[2:]
        if height is not None and height == width and height != card.size.fixed_px:
            changes["size"] = card.size.model_copy(update={"fixed_px": height, "default_px": height})
            changes["fit"] = "stretch"
        if given.shape[0] is not None:
            changes["batch"] = 1
    hints = {port.shape[1] for port in extra if len(port.shape) == 4}
    if card.name == "siggraph17" and hints == {1, 2}:
        changes["extra"] = tuple(
            ExtraInput(name=port.name, channels=port.shape[1], takes="ab" if port.shape[1] == 2 else "mask")
            for port in extra
        )
    return card.model_copy(update=changes)


def misfit(card: Card, listing: Listing) -> str | None:
    """Return why a card cannot be that of a file, or None if it may be."""
    given, others = _inputs(card, listing)
    if given is None:
        return f"it has no input {card.input_name!r}, but {_names(listing.inputs)}"
    unknown = [port for port in others if port.name not in {one.name for one in card.extra}]
    if unknown:
        return f"nothing is known of its input {unknown[0].name!r} {_shape(unknown[0])}"
    missing = [one.name for one in card.extra if one.name not in {port.name for port in others}]
    if missing:
        return f"it has no input {missing[0]!r}, but {_names(listing.inputs)}"
    if len(given.shape) != 4 or given.shape[1] not in (None, card.channels):
        return f"its input {given.name!r} is {_shape(given)}, not (B, {card.channels}, H, W)"
    if given.dtype != card.dtype:
        return f"its input {given.name!r} is {given.dtype}, not {card.dtype}"
    for side in given.shape[2:]:
        if side is not None and side != card.size.fixed_px:
            return f"it takes {given.shape[3]}x{given.shape[2]} px only, not {card.size.fixed_px or 'any size'}"
    output = _output(card, listing)
    wanted = card.output_channels
    if output is None:
        return f"it has no output {card.output_name!r}, but {_names(listing.outputs)}"
    if len(output.shape) != 4 or output.shape[1] not in (None, wanted):
        return f"its output {output.name!r} is {_shape(output)}, not {card.output} (B, {wanted}, h, w)"
    if card.confidence is not None and card.confidence not in {port.name for port in listing.outputs}:
        return f"it has no output {card.confidence!r}, but {_names(listing.outputs)}"
    return None


def contradiction(card: Card, answers: Answers) -> str | None:
    """Return why a network's answers cannot be what a card says, or None."""
    between = f"{answers.low:.3g} to {answers.high:.3g}"
    if not answers.finite:
        return "it answers NaN"
    if answers.same:
        return "it answers the same whatever the photograph"
    if card.output_stride is not None and answers.output_px * card.output_stride != answers.input_px:
        return (
            f"it answers {answers.output_px} px to {answers.input_px} px where the card says output_stride "
            f"{card.output_stride}"
        )
    if card.output == "rgb":
        if answers.low < -_RGB_MARGIN or answers.high > 1 + _RGB_MARGIN:
            return f"it answers {between} where the card says RGB of 0 to 1"
        if answers.high < 0.05:
            return f"it answers {between} where the card says RGB of 0 to 1: black"
    elif card.output == "ab":
        largest = max(abs(answers.low), abs(answers.high))
        if largest > _LARGEST_AB:
            return f"it answers {between} where the card says ab in Lab units, -110 to 110"
        if largest < _LEAST_AB:
            return f"it answers {between} where the card says ab in Lab units, -110 to 110: gray"
    return None


def proposals(listing: Listing, besides: str = "") -> str:
    """Name the built-in cards whose inputs, sizes and outputs fit a file."""
    found = [name for name, card in BUILT_IN.items() if name != besides and not misfit(adapted(card, listing), listing)]
    return " or ".join(f"--card {name}" for name in found) or "a card of its own (docs/formats.md)"


def _inputs(card: Card, listing: Listing) -> tuple[Port | None, list[Port]]:
    """Return the input that takes lightness, and the others."""
    name = card.input_of([port.name for port in listing.inputs])
    given = next((port for port in listing.inputs if port.name == name), None)
    return given, [port for port in listing.inputs if port.name != name]


def _output(card: Card, listing: Listing) -> Port | None:
    name = card.output_of([port.name for port in listing.outputs])
    return next((port for port in listing.outputs if port.name == name), None)


def _names(ports: tuple[Port, ...]) -> str:
    return ", ".join(f"{port.name!r} {_shape(port)}" for port in ports)[:300]


def _shape(port: Port) -> str:
    return f"({', '.join('?' if side is None else str(side) for side in port.shape)})"
