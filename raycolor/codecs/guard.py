"""The one place where the image libraries' exceptions become DecodeError."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from PIL import Image

from raycolor.errors import DecodeError, Reason

Judge = Callable[[str], Reason]

# What PIL, tifffile, imagecodecs (whose errors are RuntimeErrors), simplejpeg and the standard library were seen to
# raise on damaged files. A list, not Exception: a bug of ours outside it stays visible as a bug.
LIBRARY_ERRORS: Final[tuple[type[Exception], ...]] = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_TRUNCATION_WORDS: Final = (
    "truncat",
    "premature",
    "too small",
    "not enough",
    "unexpected end",
    "incomplete",
    "eof",
    "cannot identify",
)
_pillow_lock = threading.RLock()


def one_line(text: object, limit: int = 160) -> str:
    """Return the text as one printable line of at most `limit` characters, as an outcome row holds it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def by_words(message: str) -> Reason:
    """Tell a cut file from a broken one by the words libraries use for it."""
    low = message.lower()
    return "truncated" if any(word in low for word in _TRUNCATION_WORDS) else "decode_error"


@contextmanager
def guard(what: str, judge: Judge = by_words) -> Iterator[None]:
    """Turn any exception a library raises inside into DecodeError.

    Args:
        what: the format or the step, the first word of the detail.
        judge: message to reason; by default the words for a cut file give `truncated`, all else `decode_error`.

    Raises:
        DecodeError: with the reason, and the library's message as a one-line detail. MemoryError is `too_large`.
        OSError: what the operating system refused goes on its way: no photograph is the reason of that.
    """
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as exc:
        raise DecodeError("too_large", f"{what}: not enough memory") from exc
    except LIBRARY_ERRORS as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # the system's, not the file's: what is decoded lies in memory
        message = one_line(exc) or type(exc).__name__
        raise DecodeError(judge(message), f"{what}: {message}") from exc


@contextmanager
def pillow(what: str) -> Iterator[None]:
    """Like `guard`, with Pillow's own size limit and warnings off: our limit was checked from the header before.

    Both are process-wide settings, so they are changed under a lock and put back.
    """
    with _pillow_lock, warnings.catch_warnings(), guard(what):
        warnings.simplefilter("ignore")
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
