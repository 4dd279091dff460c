"""Outputs of a bulk job: what they are called, and how they are written without replacing anybody's file."""

from __future__ import annotations

import re

_ADDED = re.compile(r"\.raycolor\.[a-z0-9]+\Z")
# A part of a key that a folder would take for a half-written file, or that has been made so from one.
_LIKE_HALF_WRITTEN = re.compile(r"(?<![^/])(?:\.|%(?:25)*2E)(?=raycolor-[0-9a-f]{8}-[0-9a-f]{16}(?:/|\Z))")


def name_output(key: str, extension: str | None) -> str:
    """Return the key of an input's output: the input's, with `.raycolor.EXT` where the format had to change.

    An input whose key ends so already gets the same once more, or it would share its output with another input. A
    name like those of half-written files begins with `%2E` instead of the dot, with `%252E` where it came so.
    """
    key = _LIKE_HALF_WRITTEN.sub(lambda found: "%2E" if found[0] == "." else f"%25{found[0][1:]}", key)
    if extension:
        return f"{key}.raycolor{extension}"
    added = _ADDED.search(key)
    return key + added[0] if added else key
