"""Charts as SVG by matplotlib: lines, points, parallel coordinates, in colors that suit light and dark paper."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from markupsafe import Markup, escape

from raycolor.progress import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Middle lightness throughout, so that each stands out from white and from near-black paper.
_RAMP: Final = ((47, 111, 208), (31, 158, 137), (201, 151, 24), (209, 73, 60))
_WORDS: Final = ("#2f6fd0", "#c97a18", "#1f9e70", "#b0489e", "#d1493c", "#6a7a8c")

# matplotlib knows fixed colors only: these stand for the page's own and are exchanged in the finished SVG.
_INK, _LINE = "#010203", "#030201"
_NAME_PT: Final = 9
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched, and takes the page's font
    "svg.hashsalt": "raycolor",  # the same chart gives the same bytes
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "grid.color": _LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


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
            return 0.5 if len(self.words) < 2 else self.words.index(str(value)) / (len(self.words) - 1)
        if self.kind == "log":
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return float((value - self.low) / (self.high - self.low))

    def number(self, value: Any) -> float:
        """Return what matplotlib draws for a value: its place among the words, or itself."""
        return float(self.words.index(str(value))) if self.kind == "words" else float(value)


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
class Named:
    """One point with its 95% intervals, named beside it."""

    name: str
    x: tuple[float, float, float]
    """Value, low end, high end."""
    y: tuple[float, float, float]
    color: str
    hint: str


@dataclass(frozen=True)
class ParallelLine:
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
    """Draw curves; the last point of each is a dot, so that a curve of one point is one."""
    with _Chart() as chart:
        axes = chart.axes(x, y)
        for line in lines:
            a, b = zip(*((x.number(a), y.number(b)) for a, b in line.points), strict=True)
            style = "--" if line.dashed else "-"
            axes.plot(a, b, style, color=line.color, linewidth=1.6, gid=chart.hint(line.hint))
            axes.plot(a[-1:], b[-1:], "o", color=line.color, markersize=4, gid=chart.hint(line.hint))
        return chart.svg()


def scatter(dots: Sequence[Dot], x: Axis, y: Axis, front: Sequence[tuple[Any, Any]] = ()) -> Markup:
    """Draw points, and a line through those of a Pareto front."""
    with _Chart() as chart:
        axes = chart.axes(x, y)
        if len(front) > 1:
            a, b = zip(*sorted((x.number(a), y.number(b)) for a, b in front), strict=True)
            axes.plot(a, b, "--", color=_INK, linewidth=1)
        for dot in dots:
            place = [x.number(dot.x)], [y.number(dot.y)]
            if dot.ringed:
                axes.plot(*place, "o", markersize=14, markerfacecolor="none", markeredgecolor=_INK, markeredgewidth=1.6)
            face = "none" if dot.hollow else dot.color
            axes.plot(
                *place, "o", markersize=7, markerfacecolor=face, markeredgecolor=dot.color, gid=chart.hint(dot.hint)
            )
        return chart.svg()


def named_points(points: Sequence[Named], x: Axis, y: Axis, mark: tuple[float, str] | None = None) -> Markup:
    """Draw points with their intervals and names, and an upright line where x has a value to compare with."""
    with _Chart() as chart:
        axes = chart.axes(x, y)
        if mark is not None:
            axes.axvline(mark[0], color=_INK, linewidth=1, linestyle="--")
            axes.annotate(
                mark[1], (mark[0], 1), (-4, -10), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="right", size=9,
            )  # fmt: skip
        for point in points:
            across = [[point.x[0] - point.x[1]], [point.x[2] - point.x[0]]]
            along = [[point.y[0] - point.y[1]], [point.y[2] - point.y[0]]]
            axes.errorbar(
                point.x[:1], point.y[:1], along, across, fmt="none", ecolor=point.color, elinewidth=1, alpha=0.6
            )
            axes.plot(point.x[:1], point.y[:1], "o", color=point.color, markersize=6, gid=chart.hint(point.hint))
        _name(chart.figure, axes, points)
        return chart.svg()


def _name(figure: Figure, axes: Axes, points: Sequence[Named]) -> None:
    """Write the names beside their points, each at the nearest place where it covers no other name and no point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # settles where the axes lie
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    font, per_pt = FontProperties(size=_NAME_PT), figure.dpi / 72
    places = [axes.transData.transform((point.x[0], point.y[0])) for point in points]
    taken = [Bbox.from_bounds(x - 4 * per_pt, y - 4 * per_pt, 8 * per_pt, 8 * per_pt) for x, y in places]
    inside = axes.get_window_extent(renderer)
    for point, (x, y) in zip(points, places, strict=True):
        width, height, _ = renderer.get_text_width_height_descent(point.name, font, ismath=False)
        width, height = 1.1 * width, 1.1 * height  # the page's own font may be wider
        best = None
        for up in (5, -14, 18, -27, 31, -40, 44, -53):  # points of type above the dot; then ever farther
            for left in (6 * per_pt, -6 * per_pt - width):
                box = Bbox.from_bounds(x + left, y + up * per_pt, width, height)
                free = not any(box.overlaps(other) for other in taken)
                if free and box.x0 >= inside.x0 and box.x1 <= figure.bbox.x1 and inside.y0 <= box.y0 <= inside.y1:
                    best = box
                    break
            if best is not None:
                break
        best = best or Bbox.from_bounds(x + 6 * per_pt, y + 5 * per_pt, width, height)
        taken.append(best)
        shift = ((best.x0 - x) / per_pt, (best.y0 - y) / per_pt)
        far = abs(shift[1]) > 15
        line = {"arrowstyle": "-", "color": point.color, "linewidth": 0.7} if far else None
        axes.annotate(
            point.name, (point.x[0], point.y[0]), shift, textcoords="offset points", size=_NAME_PT, arrowprops=line
        )


def word_color(place: int) -> str:
    """Return the color of the n-th of several names."""
    return _WORDS[place % len(_WORDS)]


def parallel(axes: Sequence[Axis], lines: Sequence[ParallelLine]) -> Markup:
    """Draw parallel coordinates: one upright scale per axis, one line per line."""
    with _Chart(width=max(6.0, 0.5 + 1.5 * len(axes))) as chart:
        plot = chart.figure.subplots()
        plot.axis("off")
        plot.set(xlim=(-0.4, len(axes) - 0.6), ylim=(-0.16, 1.03))
        for line in sorted(lines, key=lambda line: line.bold):
            points = [
                (place, axis.at(value))
                for place, (axis, value) in enumerate(zip(axes, line.values, strict=True))
                if value is not None
            ]
            a, b = zip(*points, strict=True) if points else ((), ())
            width, alpha = (3.2, 1.0) if line.bold else (1.3, 0.7)
            plot.plot(a, b, color=line.color, linewidth=width, alpha=alpha, gid=chart.hint(line.hint))
        for place, axis in enumerate(axes):
            plot.plot([place, place], [0, 1], color=_LINE, linewidth=1)
            for share, text in _marks(axis):
                plot.annotate(
                    text, (place, share), (-4, 0), textcoords="offset points", ha="right", va="center", size=8
                )
            # Long names of neighbors would run into each other on one line.
            plot.text(place, -0.06 if place % 2 == 0 else -0.13, axis.title, ha="center", va="center", size=9)
        return chart.svg()


class _Chart:
    """A figure in our style, and the hints of its parts."""

    def __init__(self, width: float = 6.0) -> None:
        # Half a second to import: pages without charts need not wait for it.
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._style = rc_context(_STYLE)
        self._style.__enter__()
        self.figure: Figure = Figure(figsize=(width, 3.5), layout="constrained")
        self._hints: list[str] = []

    def __enter__(self) -> _Chart:
        return self

    def __exit__(self, *_: object) -> None:
        self._style.__exit__(None, None, None)

    def axes(self, x: Axis, y: Axis) -> Axes:
        """Return axes with both scales set."""
        axes = self.figure.subplots()
        axes.grid(linewidth=0.6)
        for one, scale, limits, label in (
            (x, axes.set_xscale, axes.set_xlim, axes.set_xlabel),
            (y, axes.set_yscale, axes.set_ylim, axes.set_ylabel),
        ):
            label(one.title)
            if one.kind == "words":
                limits(-0.5, len(one.words) - 0.5)
                (axes.set_xticks if one is x else axes.set_yticks)(range(len(one.words)), one.words)
                continue
            scale(one.kind)
            limits(one.low, one.high)
            self._ticks(axes.xaxis if one is x else axes.yaxis, one)
        return axes

    @staticmethod
    def _ticks(axis: Any, scale: Axis) -> None:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        axis.set_major_locator(_locator(scale))
        if scale.kind == "log":
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))

    def hint(self, text: str) -> str:
        """Return the id under which a part gets a hint in the finished SVG."""
        self._hints.append(text)
        return f"hint-{len(self._hints) - 1}"

    def svg(self) -> Markup:
        """Return the figure as an element to stand in a page."""
        sink = io.StringIO()
        self.figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = sink.getvalue()
        text = text[text.index("<svg") :]
        # A style element would hold for the whole page.
        text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)  # inside HTML they say nothing
        text = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', ' role="img"', text, count=1)
        for number, hint in enumerate(self._hints):
            text = text.replace(f'<g id="hint-{number}">', f"<g><title>{escape(printable(hint))}</title>", 1)
        # Names that several charts of one page would share, and nothing in the chart refers to.
        text = re.sub(r'<g id="[^"]+">', "<g>", text)
        text = text.replace(_INK, "currentColor").replace(_LINE, "var(--line, #999)")
        return Markup(text)


def _locator(axis: Axis) -> Any:
    """Return what chooses the marks of a scale of numbers."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if axis.kind == "log":
        return LogLocator(subs=(1.0,) if math.log10(axis.high / axis.low) >= 3 else (1.0, 2.0, 5.0))
    return MaxNLocator(6, integer=axis.whole)


def _marks(axis: Axis) -> list[tuple[float, str]]:
    """Return places from 0 to 1 and texts for an upright scale of parallel coordinates."""
    if axis.kind == "words":
        return [(axis.at(word), word) for word in axis.words]
    values = _locator(axis).tick_values(axis.low, axis.high)
    return [(axis.at(value), number_text(value)) for value in values if axis.low <= value <= axis.high]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
