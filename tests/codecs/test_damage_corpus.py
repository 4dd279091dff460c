"""The law on damage, over ten ways of damage x every format and compression: `python tests/damaged.py` counts more."""

from __future__ import annotations

import damaged
import pytest

from raycolor.codecs import decode
from raycolor.errors import DecodeError

DRAWS = 3


def offenders(draws: int) -> list[tuple[str, str, float]]:
    """Return the damaged files that are taken although over 1% of pixels changed and a strict decoder notices it."""
    found = []
    for made in damaged.corpus(draws):
        try:
            page = decode(made.data).pages[0]
        except DecodeError as error:
            if error.reason not in ("truncated", "decode_error", "not_an_image", "too_large", "unsupported_format"):
                found.append((made.kind, made.way, error.reason))
            continue
        share = damaged.changed(made.kind, page)
        if share > damaged.VISIBLE and damaged.noticed(made.data, made.way):
            found.append((made.kind, made.way, share))
    return found


def test_no_damage_that_can_be_noticed_and_seen_is_taken():
    """A warning, a missing part or a checksum, and over 1% of pixels changed: such a file is refused."""
    assert offenders(DRAWS) == []


@pytest.mark.slow
def test_no_damage_of_many_draws_is_taken():
    """The same over many more places of damage."""
    assert offenders(40) == []


def test_the_undamaged_samples_are_taken_and_noticed_by_nobody():
    """What the law is tested with is whole to us and to the strict decoders: no file is refused for being refusable."""
    for kind, data in damaged.samples().items():
        assert damaged.changed(kind, decode(data).pages[0]) == 0
        assert not damaged.noticed(data, "none"), kind


def test_files_known_to_be_refused_are_noticed():
    """The strict decoders do notice: of each compression with a code or a checksum, most damage."""
    seen = {
        kind: [damaged.noticed(m.data, "none") for m in damaged.corpus(1) if m.kind == kind]
        for kind in ("png 8", "jpeg baseline")
    }
    assert all(sum(answers) > len(answers) / 2 for answers in seen.values())
