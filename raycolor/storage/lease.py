"""One living job per destination: a lease that is refreshed while its holder lives."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from raycolor.errors import ManifestError, StorageError
from raycolor.storage import ObjectStore, get_if_there

LEASE_KEY: Final = "_raycolor/lease.json"
_SETTLE_S = 0.2
_LOOK_S = 1.0
_STOPS_WITHIN_S = 30.0

logger = logging.getLogger(__name__)


class Lease:
    """Hold a destination while a job runs.

    The holder rewrites the lease every `refresh_s`. A lease of a process that no longer lives on this machine is
    taken over at once; one of another machine or container after it has stood still for `stale_s`, measured here, so
    that clocks that disagree do no harm. A holder that slept meanwhile sees within a second that it has lost the
    lease: the main thread is interrupted, and what it had still to write stays unwritten.

    Attributes:
        lost: whether another job has taken the destination over.

    Raises:
        ManifestError: on entering, when another living job holds the destination; on leaving, when one has taken it.
    """

    def __init__(self, dest: ObjectStore, *, refresh_s: float = 10.0, stale_s: float = 45.0) -> None:
        self._dest, self._refresh_s, self._stale_s = dest, refresh_s, stale_s
        self.lost = False
        self._beats = 0
        self._holder = {
            "holder": secrets.token_hex(8),
            "host": socket.gethostname(),
            "boot": _boot_id(),
            "pids": _pid_namespace(),
            "pid": os.getpid(),
            "process_started": _process_started(os.getpid()),
        }
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        if not self._dest.put(LEASE_KEY, self._bytes(), only_if_absent=True):
            self._take_over()
        self._thread = threading.Thread(target=self._refresh, name="raycolor-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        current = self._read()
        if self.lost and isinstance(value, KeyboardInterrupt):
            raise ManifestError(
                f"{self._dest.uri}: {_name(current or {})} took the job over while this one was suspended: leave it to "
                "that one"
            ) from value
        if current is not None and current.get("holder") == self._holder["holder"]:
            self._dest.delete(LEASE_KEY)

    def _bytes(self) -> bytes:
        self._beats += 1
        return json.dumps({**self._holder, "beats": self._beats}).encode()

    def _read(self) -> dict[str, Any] | None:
        data = get_if_there(self._dest, LEASE_KEY)
        if data is None:
            return None
        try:
            loaded = json.loads(data)
        except ValueError:
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def _take_over(self) -> None:
        first = self._read()
        if first is not None and not self._is_dead_here(first):
            if self._knows_processes_of(first):
                self._refuse(first)
            logger.info(
                "%s is held by a job on %s: waiting to see whether it is alive", self._dest.uri, first.get("host")
            )
            deadline = time.monotonic() + self._stale_s
            while time.monotonic() < deadline:
                time.sleep(min(1.0, self._stale_s / 10))
                now = self._read()
                if now is None:
                    break
                if now != first:
                    self._refuse(now)
        # Two jobs may find the same lease stale. Each looks once more before it deletes, only one creates, and the
        # one whose fresh lease was deleted all the same sees that after a moment.
        last = self._read()
        if last is not None and last != first:
            self._refuse(last)
        self._dest.delete(LEASE_KEY)
        won = self._dest.put(LEASE_KEY, self._bytes(), only_if_absent=True)
        time.sleep(_SETTLE_S)
        now = self._read() or {}
        if not won or now.get("holder") != self._holder["holder"]:
            self._refuse(now)

    def _refuse(self, other: dict[str, Any]) -> None:
        raise ManifestError(
            f"{self._dest.uri}: another raycolor job is writing there ({_name(other)}): wait for it, stop it, or give "
            "another DEST"
        )

    def _knows_processes_of(self, other: dict[str, Any]) -> bool:
        """Whether the holder ran where process ids mean what they mean here: same machine, start, and container."""
        return all(other.get(name, self._holder[name]) == self._holder[name] for name in ("boot", "host", "pids"))

    def _is_dead_here(self, other: dict[str, Any]) -> bool:
        """Whether the holder ran on this machine, since its last start, and is gone."""
        if not other or not self._knows_processes_of(other):
            return not other
        started = _process_started(int(other.get("pid", 0)))
        return started is None or started != other.get("process_started")

    def _refresh(self) -> None:
        beat = _now_s()
        while not self._stop.wait(min(_LOOK_S, self._refresh_s)):
            if _now_s() - beat < self._refresh_s:
                continue
            late = _now_s() - beat > self._stale_s
            try:
                current = self._read()
                # Only somebody who slept may find that another job has come, and ended already.
                if late if current is None else current.get("holder", "") not in ("", self._holder["holder"]):
                    self._lose(current or {})
                    return
                self._dest.put(LEASE_KEY, self._bytes(), only_if_absent=current is None)
                beat = _now_s()
            except StorageError as exc:
                logger.warning("the lease on %s was not refreshed: %s", self._dest.uri, exc)

    def _lose(self, other: dict[str, Any]) -> None:
        self.lost = True
        logger.warning("the lease on %s was taken by %s: stopping", self._dest.uri, _name(other))
        # What runs in the background of a shell is deaf to Ctrl-C.
        number = signal.SIGINT if callable(signal.getsignal(signal.SIGINT)) else signal.SIGTERM
        signal.pthread_kill(threading.main_thread().ident or 0, number)
        if not self._stop.wait(_STOPS_WITHIN_S):
            os._exit(1)  # the main thread hears no signals


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder.get('host')}" if "pid" in holder else "another job"


def _now_s() -> float:
    """Return seconds that go on while the machine sleeps, where that can be had."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _pid_namespace() -> str:
    """Return what tells the process ids of one container from those of another."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _process_started(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, or None if it is gone.

    A process id alone may be another process's by now.
    """
    if not Path("/proc/self/stat").exists():  # no Linux: only tell whether some process has that id
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return "unknown"
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
