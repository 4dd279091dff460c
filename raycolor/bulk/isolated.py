"""A colorizer in a child process: an image that makes a decoder crash or hang costs that image only.

Protocol on the child's standard input and output: two lengths as 8 bytes each, little endian, then a pickled object and
the bytes of a file as they are, so that neither end holds a large file twice. Both ends are raycolor itself; nothing of
an image is ever unpickled.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from raycolor.colorizer import Colorized, Colorizer, Predict, Predicted
from raycolor.errors import ImageError, RaycolorError
from raycolor.options import ColorizerOptions

logger = logging.getLogger(__name__)

# The kernel's out-of-memory killer, or a person, ends a child by SIGKILL: that may be the fault of a neighbor, so that
# the image gets a second try.
_TRIES_WHEN_KILLED = 2


class ChildDiedError(RaycolorError):
    """The child process died or hung on an image."""


class IsolatedColorizer:
    """Runs `Colorizer.colorize` in a child process, started when first needed and again after each death.

    Args:
        options: what the child makes its colorizer from.
        timeout_s: seconds after which an image has hung.
        predict: the network, where it runs elsewhere: the child asks for color then. By default the child loads it.
        command: the child; by default this module.
    """

    def __init__(
        self,
        options: ColorizerOptions,
        *,
        timeout_s: float,
        predict: Predict | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self._options, self._timeout_s, self._predict = options, timeout_s, predict
        self._command = command or [sys.executable, "-m", "raycolor.bulk.isolated"]
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> IsolatedColorizer:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def colorize(self, data: bytes) -> Colorized:
        """Colorize one photograph; as `Colorizer.colorize`.

        Raises:
            ImageError: as `Colorizer.colorize`.
            ChildDiedError: the child died of this image or took longer than the timeout.
        """
        for attempt in range(_TRIES_WHEN_KILLED):
            try:
                answer, made = self._ask(data)
            except _ChildGoneError as exc:
                self._end()
                if exc.code == -signal.SIGKILL and attempt + 1 < _TRIES_WHEN_KILLED:
                    continue
                raise ChildDiedError(exc.text) from exc
            if isinstance(answer, ImageError):
                raise answer
            if isinstance(answer, Colorized):
                return replace(answer, data=made)
            raise ChildDiedError(str(answer))
        raise AssertionError("unreachable")

    def _ask(self, data: bytes) -> tuple[Any, bytes]:
        child = self._start()
        answer, made = self._exchange(child, None, data)
        while isinstance(answer, list):
            # Lightness planes: the child asks for their color.
            assert self._predict is not None
            answer, made = self._exchange(child, self._predict(answer))
        return answer, made

    def _exchange(self, child: subprocess.Popen[bytes], thing: object, file: bytes = b"") -> tuple[Any, bytes]:
        """Send, and receive what comes back before the image has hung."""
        assert child.stdin is not None
        assert child.stdout is not None
        hung = threading.Event()

        def give_up() -> None:
            hung.set()
            child.kill()

        watch = threading.Timer(self._timeout_s, give_up)
        watch.start()
        try:
            _send(child.stdin, thing, file)
            return _receive(child.stdout)
        except (OSError, EOFError) as exc:
            code = child.wait()
            if hung.is_set():
                raise _ChildGoneError(0, f"the decoder hung for {self._timeout_s:.0f} s and was ended") from exc
            raise _ChildGoneError(code, f"the decoder died: {_death(code)}") from exc
        finally:
            watch.cancel()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._child.stdin is not None
            assert self._child.stdout is not None
            _send(self._child.stdin, (self._options, self._predict is not None))
            # Loading torch and the network takes seconds; that time is not the first image's.
            _receive(self._child.stdout)
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
            self._child = None


class _ChildGoneError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def _death(code: int) -> str:
    try:
        return f"{signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"


def _send(pipe: IO[bytes], thing: object, file: bytes = b"") -> None:
    payload = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(struct.pack("<QQ", len(payload), len(file)))
    pipe.write(payload)
    pipe.write(file)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[Any, bytes]:
    sizes = struct.unpack("<QQ", _read(pipe, 16))
    return pickle.loads(_read(pipe, sizes[0])), _read(pipe, sizes[1])


def _read(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve() -> None:
    """Be the child: answer every photograph with a `Colorized` or the error it ended in."""
    inbox, outbox = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Libraries that print must not write into the protocol.
    os.dup2(2, 1)
    options, asks = _receive(inbox)[0]

    def ask(L_small: Sequence[NDArray[np.float32]]) -> list[Predicted]:
        _send(outbox, list(L_small))
        predicted: list[Predicted] = _receive(inbox)[0]
        return predicted

    colorizer = Colorizer(options, ask) if asks else Colorizer(options)
    _send(outbox, "ready")
    while True:
        try:
            _, data = _receive(inbox)
        except EOFError:
            return
        answer: object
        made = b""
        try:
            result = colorizer.colorize(data)
            answer, made = replace(result, data=b""), result.data
            del result
        except ImageError as exc:
            answer = exc
        except Exception as exc:  # noqa: BLE001
            # Same boundary as in the worker: a defect of ours costs one image.
            answer = f"{type(exc).__name__}: {exc}"
        _send(outbox, answer, made)
        # The next photograph may be large, too.
        del data, answer, made


if __name__ == "__main__":
    serve()
