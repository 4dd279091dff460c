"""The one place where the image libraries' exceptions become DecodeError."""

from __future__ import annotations

import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image

from raycolor.errors import DecodeError, Reason

ReasonOf = Callable[[str], Reason]

# What is raised for damaged bytes and for nothing else: by Pillow, by functions in C that leave no line of
# their own in a traceback.
_DAMAGE: Final[tuple[type[Exception], ...]] = (
    OSError,
    EOFError,
    SyntaxError,
    UnicodeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# What libraries also raise on damaged files, and what a mistake of ours raises as well: which of the two it is, is told
# by whose code raised it.
_EITHER: Final[tuple[type[Exception], ...]] = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
)
_OURS: Final = str(Path(__file__).resolve().parents[1])
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
    """Tell a truncated file from a damaged one by the library's message."""
    low = message.lower()
    return "truncated" if any(word in low for word in _TRUNCATION_WORDS) else "decode_error"


def _raised_by_us(exc: BaseException) -> bool:
    """Say whether the innermost line of the traceback is one of raycolor's."""
    last = exc.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_code.co_filename.startswith(_OURS)


def _damage() -> tuple[type[Exception], ...]:
    """Return `_DAMAGE`, and tifffile's own if a TIFF has been read: its import takes a third of a second."""
    tifffile = sys.modules.get("tifffile")
    return _DAMAGE if tifffile is None else (*_DAMAGE, tifffile.TiffFileError)


@contextmanager
def guard(what: str, reason_of: ReasonOf = by_words) -> Iterator[None]:
    """Turn an exception that a library raises inside into DecodeError; a defect of raycolor's own code stays one.

    Args:
        what: the format or the step, the first word of the detail.
        reason_of: message to reason; by default the words for a cut file give `truncated`, all else `decode_error`.

    Raises:
        DecodeError: with the reason, and the library's message as a one-line detail. MemoryError is `too_large`.
        OSError: what the operating system refused goes on its way: no photograph is the reason of that.
        Exception: what our own code raised, as it was: the bulk job calls it `internal_error`.
    """
    try:
        yield
    except DecodeError:
        raise
    except MemoryError as exc:
        raise DecodeError("too_large", f"{what}: not enough memory") from exc
    except (*_damage(), *_EITHER) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # the system's, not the file's: what is decoded lies in memory
        if not isinstance(exc, _damage()) and _raised_by_us(exc):
            raise
        message = one_line(exc) or type(exc).__name__
        raise DecodeError(reason_of(message), f"{what}: {message}") from exc


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
