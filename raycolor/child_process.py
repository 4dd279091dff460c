"""A child process for what may die or hang: decoders. It does one task, named as `package.module:function`.

Protocol on the child's standard input and output: two lengths as 8 bytes each, little endian, then a pickled object and
the bytes of a file as they are, so that neither end holds a large file twice. Both ends are raycolor itself; nothing of
an image is ever unpickled.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from raycolor.errors import RaycolorError

Ask = Callable[[Any], Any]
Work = Callable[[Any, bytes], tuple[Any, bytes]]
"""What a task's function returns: request and file in, answer and file out."""

# The kernel's out-of-memory killer, or a person, ends a child by SIGKILL: that may be the fault of a neighbor, so that
# the image gets a second try.
_TRIES_WHEN_KILLED: Final = 2
_START_TRIES: Final = 2
_START_S: Final = 300.0
"""For loading torch and a network: 7 s, on a machine that is busy and reads from a network ten times that."""

# A child dies with the thread that started it (PR_SET_PDEATHSIG), so that has to be one that lives as long as we do.
_STARTER: Final = ThreadPoolExecutor(1, "child-starter")


class ChildDiedError(RaycolorError):
    """The child process died or hung on an image."""


class ChildStartError(RaycolorError):
    """The child process does not start; no image caused this."""


class Child:
    """Runs a task in a child process, started when first needed and again after each death. A context manager.

    Args:
        task: `package.module:function`; the function is called in the child with `options` and a function that asks the
            parent, and returns what answers requests.
        options: picklable.
        timeout_s: seconds after which a request has hung; the time of each question to the parent counts anew.
        command: the child; by default this module.
        started: a process of `start_process`, for the first start.
    """

    def __init__(
        self,
        task: str,
        options: object,
        *,
        timeout_s: float,
        command: Sequence[str] = (),
        started: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._task, self._options, self._timeout_s = task, options, timeout_s
        self._command, self._started = command, started
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(
        self, request: object, file: bytes = b"", *, answer: Ask | None = None, timeout_s: float | None = None
    ) -> tuple[Any, bytes]:
        """Send one request and return its answer.

        Args:
            request: picklable.
            file: bytes that go with it.
            answer: answers the child's questions.
            timeout_s: another limit for the time until the first question or the end.

        Raises:
            RaycolorError: as the task raises it.
            ChildDiedError: the child died of this request, took longer than the timeout, or met a defect of ours.
            ChildStartError: it does not start.
        """
        for attempt in range(_TRIES_WHEN_KILLED):
            child = self._start()
            try:
                kind, thing, made = self._exchange(child, request, file, timeout_s or self._timeout_s)
                while kind == "question":
                    assert answer is not None
                    kind, thing, made = self._exchange(child, answer(thing), b"", self._timeout_s)
            except _ChildGoneError as exc:
                self.close()
                if exc.code == -signal.SIGKILL and attempt + 1 < _TRIES_WHEN_KILLED:
                    continue
                raise ChildDiedError(f"its process {exc.text}") from exc
            except BaseException:
                # A question without an answer: the child still waits for it.
                self.close()
                raise
            if kind == "error":
                raise thing
            if kind == "defect":
                raise ChildDiedError(thing)
            return thing, made
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the child."""
        for process in (self._process, self._started):
            if process is not None:
                end_process(process)
        self._process = self._started = None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        why = ""
        for _ in range(_START_TRIES):
            try:
                self._process, self._started = self._started or start_process(command=self._command), None
                kind, thing, _file = self._exchange(self._process, (self._task, self._options), b"", _START_S)
            except (_ChildGoneError, OSError) as exc:
                self.close()
                why = str(exc)
                continue
            except BaseException:
                self.close()
                raise
            if kind == "error":
                self.close()
                raise thing
            return self._process
        raise ChildStartError(f"a child process does not start: it {why}: is there enough memory? see its output above")

    def _exchange(
        self, child: subprocess.Popen[bytes], thing: object, file: bytes, timeout_s: float
    ) -> tuple[str, Any, bytes]:
        """Send, and receive what comes back in time."""
        assert child.stdin is not None
        assert child.stdout is not None
        hung = threading.Event()

        def give_up() -> None:
            hung.set()
            child.kill()

        watch = threading.Timer(timeout_s, give_up)
        watch.daemon = True
        watch.start()
        try:
            _send(child.stdin, thing, file)
            (kind, answer), made = _receive(child.stdout)
            return kind, answer, made
        except (OSError, EOFError) as exc:
            code = child.wait()
            if hung.is_set():
                raise _ChildGoneError(0, f"hung for {timeout_s:.0f} s and was ended") from exc
            raise _ChildGoneError(code, f"died: {_death(code)}") from exc
        finally:
            watch.cancel()


def start_process(imports: str = "", command: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a child that waits for its task.

    Args:
        imports: a module that it imports first.
        command: the child; by default this module.
    """
    arguments = [*(command or [sys.executable, "-m", "raycolor.child_process"]), imports, str(os.getpid())]
    return _STARTER.submit(subprocess.Popen, arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE).result()


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a child."""
    # Leaving it closes its pipes, which may fail on what was not sent, and waits for it.
    with suppress(OSError), process:
        process.kill()


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


def _follow(parent: int) -> None:
    """End with the parent, even inside a decoder, and be the first that the kernel ends when memory is short."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != parent:
        os._exit(1)
    # A terminal's Ctrl-C reaches the whole group: the parent says what there is to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def serve() -> None:
    """Be the child: make the task, then answer every request until there are no more."""
    _follow(int(sys.argv[-1]))
    inbox, outbox = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Libraries that print must not write into the protocol.
    os.dup2(2, 1)
    if imports := sys.argv[-2]:
        importlib.import_module(imports)
    try:
        (task, options), _ = _receive(inbox)
    except EOFError:
        return

    def ask(question: object) -> Any:
        _send(outbox, ("question", question))
        return _receive(inbox)[0]

    module, _, function = task.partition(":")
    try:
        work: Work = getattr(importlib.import_module(module), function)(options, ask)
    except RaycolorError as exc:
        _send(outbox, ("error", exc))
        return
    _send(outbox, ("ready", None))
    while True:
        try:
            request, file = _receive(inbox)
        except EOFError:
            return
        made = b""
        answer: tuple[str, object]
        try:
            thing, made = work(request, file)
            answer = ("answer", thing)
        except RaycolorError as exc:
            answer = ("error", exc)
        except Exception as exc:  # noqa: BLE001
            # Same boundary as in the worker: a defect of ours costs one image.
            answer = ("defect", f"{type(exc).__name__}: {exc}")
        _send(outbox, answer, made)
        # The next file may be large, too.
        del file, answer, made


if __name__ == "__main__":
    serve()
