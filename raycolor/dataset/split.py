"""Which photograph is in which split: a function of its key and a seed."""

from __future__ import annotations

import hashlib
from typing import Final

SPLITS: Final = ("train", "val")
VAL_ONE_IN: Final = 6  # 500 of 3,000, the share in the report

SPLIT_RULE: Final = (
    "h = SHA-256(seed ':' key), seed in decimal, key in UTF-8; val if h[0:8] as a big-endian number is divisible "
    f"by {VAL_ONE_IN}, else train; the lowest h[8:16] of each split are taken"
)
KEPT_SPLIT_RULE: Final = (
    "the first folder of the key, train/ or val/; the lowest h[8:16] of h = SHA-256(seed ':' key) are taken"
)


def _digest(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def split_of(key: str, seed: int, *, keep_splits: bool = False) -> str | None:
    """Return `train` or `val`: the same for ever, whatever other photographs there are.

    With `keep_splits` the first folder of the key decides; None for a key below neither folder.
    """
    if keep_splits:
        folder = key.partition("/")[0] if "/" in key else ""
        return folder if folder in SPLITS else None
    return "val" if int.from_bytes(_digest(key, seed)[:8], "big") % VAL_ONE_IN == 0 else "train"


def order_key(key: str, seed: int) -> tuple[bytes, str]:
    """Return what photographs of one split are sorted by: of N wanted, the first N good ones are taken."""
    return _digest(key, seed)[8:16], key
