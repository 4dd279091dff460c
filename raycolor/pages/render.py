"""Templates that all pages share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from raycolor import __version__
from raycolor.progress import printable


def _shown(value: Any) -> Any:
    """Show text of unknown origin, keys above all, without characters that hide or move others."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)


_ENVIRONMENT = Environment(
    loader=PackageLoader("raycolor", ""),
    finalize=_shown,
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _thousands(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.1f}"


def _lines(text: str) -> Markup:
    """Keep the lines of a text that is made of some."""
    return Markup("\n").join(escape(printable(line)) for line in text.split("\n"))


_ENVIRONMENT.filters["thousands"] = _thousands
_ENVIRONMENT.filters["lines"] = _lines


@dataclass(frozen=True)
class Figure:
    """One chart and its caption."""

    caption: str
    svg: Markup


def render(template: str, **values: Any) -> str:
    """Fill a template; every value is escaped."""
    return _ENVIRONMENT.get_template(template).render(raycolor_version=__version__, **values)
