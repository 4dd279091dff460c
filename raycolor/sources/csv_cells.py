"""Guard CSV cells so that a spreadsheet shows file names as text and runs no formula."""

from __future__ import annotations

import re
from typing import Final

FORMULA: Final = r"\A'*[=+\-@\t\r]"
"""What a spreadsheet may read as the beginning of a formula, behind apostrophes that we or others put there."""
_FORMULA = re.compile(FORMULA)
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def guard(text: str) -> str:
    """Return text with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """Invert `guard`."""
    return text[1:] if _GUARDED.match(text) else text
