"""Charts as SVG: lines, points, parallel coordinates. Every text is escaped; colors suit light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from markupsafe import Markup, escape

WIDTH: Final = 560
HEIGHT: Final = 330
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 46
# Middle lightness throughout, so that each stands out from white and from near-black paper.
_RAMP: Final = ((47, 111, 208), (31, 158, 137), (201, 151, 24), (209, 73, 60))
_WORDS: Final = ("#2f6fd0", "#c97a18", "#1f9e70", "#b0489e", "#d1493c", "#6a7a8c")


@dataclass(frozen=True)
class Axis:
    """One scale.

    Attributes:
        title: its name.
        kind: `linear`, `log` or `words`.
        low: at its start; unused for words.
        high: at its end.
        words: at equal distances.
        whole: mark whole numbers only.
    """

    title: str
    kind: Literal["linear", "log", "words"]
    low: float = 0.0
    high: float = 1.0
    words: tuple[str, ...] = ()
    whole: bool = False

    def at(self, value: Any) -> float:
        """Return where a value lies, from 0 to 1."""
        if self.kind == "words":
            count = len(self.words)
            return 0.5 if count < 2 else 0.05 + 0.9 * self.words.index(str(value)) / (count - 1)
        if self.kind == "log":
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return float((value - self.low) / (self.high - self.low))

    def ticks(self) -> list[tuple[float, str]]:
        """Return places and their texts."""
        if self.kind == "words":
            return [(self.at(word), word) for word in self.words]
        values = _log_ticks(self.low, self.high) if self.kind == "log" else _ticks(self.low, self.high, self.whole)
        return [(self.at(value), number_text(value)) for value in values]


@dataclass(frozen=True)
class Line:
    """One curve: its points, color and what a hint says."""

    points: Sequence[tuple[float, float]]
    color: str
    hint: str
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """One point: hollow where it was stopped early, ringed where it is the best."""

    x: Any
    y: Any
    color: str
    hint: str
    hollow: bool = False
    ringed: bool = False


@dataclass(frozen=True)
class Strand:
    """One line of parallel coordinates: a value per axis, None where it has none."""

    values: Sequence[Any]
    color: str
    hint: str
    bold: bool = False


def axis_of(title: str, values: Sequence[Any], *, log: bool = False) -> Axis:
    """Return a scale that holds the values: words where one is no number."""
    numbers = [float(value) for value in values if _is_number(value)]
    if len(numbers) < len(values) or not values:
        return Axis(title, "words", words=tuple(sorted({str(value) for value in values})))
    low, high = min(numbers), max(numbers)
    if log and low > 0:
        margin = max(1.02, (high / low) ** 0.04)
        return Axis(title, "log", low / margin, high * margin)
    margin = 0.04 * (high - low) or abs(high) * 0.05 or 1.0
    return Axis(title, "linear", low - margin, high + margin, whole=all(isinstance(value, int) for value in values))


def ramp(share: float) -> str:
    """Return a color between blue (0) and red (1)."""
    place = min(max(share, 0.0), 1.0) * (len(_RAMP) - 1)
    at = min(int(place), len(_RAMP) - 2)
    mixed = [round(a + (b - a) * (place - at)) for a, b in zip(_RAMP[at], _RAMP[at + 1], strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def color_of(axis: Axis, value: Any) -> str:
    """Return the color of a value: along the ramp, or one per word."""
    if axis.kind == "words":
        return _WORDS[axis.words.index(str(value)) % len(_WORDS)]
    return ramp(axis.at(value))


def number_text(value: float) -> str:
    """Write a number short: four digits, plain where that is readable."""
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value:.4g}"


def line_chart(lines: Sequence[Line], x: Axis, y: Axis) -> Markup:
    """Draw curves; a curve of one point is a dot."""
    marks = []
    for line in lines:
        points = [(_px(x.at(a)), _py(y.at(b))) for a, b in line.points]
        dash = Markup(' stroke-dasharray="4 3"') if line.dashed else ""
        if len(points) > 1:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            marks.append(
                Markup(
                    '<polyline points="{}" fill="none" stroke="{}" stroke-width="1.6"{}><title>{}</title></polyline>'
                ).format(path, line.color, dash, line.hint)
            )
        for a, b in points[-1:]:
            marks.append(_circle(a, b, 2.5, line.color, line.hint))
    return _chart(marks, x, y)


def scatter(dots: Sequence[Dot], x: Axis, y: Axis, front: Sequence[tuple[Any, Any]] = ()) -> Markup:
    """Draw points, and a step line through those of a Pareto front."""
    marks = []
    if len(front) > 1:
        path = " ".join(f"{_px(x.at(a)):.1f},{_py(y.at(b)):.1f}" for a, b in sorted(front))
        marks.append(Markup('<polyline points="{}" fill="none" class="front" stroke-dasharray="5 4"/>').format(path))
    for dot in dots:
        a, b = _px(x.at(dot.x)), _py(y.at(dot.y))
        if dot.ringed:
            marks.append(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="9" class="ring"/>').format(a, b))
        marks.append(_circle(a, b, 4.5, dot.color, dot.hint, hollow=dot.hollow))
    return _chart(marks, x, y)


def parallel(axes: Sequence[Axis], strands: Sequence[Strand]) -> Markup:
    """Draw parallel coordinates: one upright scale per axis, one line per strand."""
    width = max(WIDTH, 40 + 130 * len(axes))
    step = (width - 130) / max(1, len(axes) - 1)
    places = [65 + step * number for number in range(len(axes))]
    marks = []
    for strand in sorted(strands, key=lambda strand: strand.bold):
        points = [
            f"{place:.1f},{_py(axis.at(value)):.1f}"
            for place, axis, value in zip(places, axes, strand.values, strict=True)
            if value is not None
        ]
        marks.append(
            Markup(
                '<polyline points="{}" fill="none" stroke="{}" stroke-width="{}" stroke-opacity="{}">'
                "<title>{}</title></polyline>"
            ).format(
                " ".join(points), strand.color, 3.5 if strand.bold else 1.4, 1 if strand.bold else 0.7, strand.hint
            )
        )
    for number, (place, axis) in enumerate(zip(places, axes, strict=True)):
        marks.append(_segment(place, TOP, place, HEIGHT - BOTTOM, "axis"))
        for share, text in axis.ticks():
            marks.append(_text(place - 5, _py(share) + 4, text, "end", small=True))
        # Long names of neighbors would run into each other on one line.
        marks.append(_text(place, HEIGHT - BOTTOM + (20 if number % 2 == 0 else 36), axis.title, "middle"))
    return _svg(marks, width)


def _chart(marks: Sequence[Markup], x: Axis, y: Axis) -> Markup:
    frame = []
    for share, text in x.ticks():
        frame.append(_segment(_px(share), TOP, _px(share), HEIGHT - BOTTOM, "grid"))
        frame.append(_text(_px(share), HEIGHT - BOTTOM + 16, text, "middle", small=True))
    for share, text in y.ticks():
        frame.append(_segment(LEFT, _py(share), WIDTH - RIGHT, _py(share), "grid"))
        frame.append(_text(LEFT - 6, _py(share) + 4, text, "end", small=True))
    frame.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x.title, "middle"))
    height = (TOP + HEIGHT - BOTTOM) / 2
    frame.append(
        Markup('<text x="13" y="{:.1f}" text-anchor="middle" transform="rotate(-90 13 {:.1f})">{}</text>')
        .format(height, height, y.title)
    )  # fmt: skip
    return _svg([*frame, *marks], WIDTH)


def _svg(marks: Sequence[Markup], width: float) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img">{}</svg>').format(width, HEIGHT, Markup("").join(marks))


def _px(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _py(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    line = Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>')
    return line.format(x1, y1, x2, y2, kind)


def _text(x: float, y: float, text: str, anchor: str, *, small: bool = False) -> Markup:
    size = Markup(' class="small"') if small else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}"{}>{}</text>').format(x, y, anchor, size, escape(text))


def _circle(x: float, y: float, radius: float, color: str, hint: str, *, hollow: bool = False) -> Markup:
    return Markup(
        '<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}" stroke="{}" stroke-width="1.5"><title>{}</title></circle>'
    ).format(x, y, radius, "transparent" if hollow else color, color, hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ticks(low: float, high: float, whole: bool) -> list[float]:
    """Return about five round numbers within a range."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten within a range, and 2 and 5 times them where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**power for power in powers if low <= 10.0**power <= high]
    if len(tens) >= 3:
        return tens
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [value for value in fine if low <= value <= high] or [low, high]
