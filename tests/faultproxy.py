"""A small seeded HTTP proxy that stands in front of an S3 server and breaks answers, for tests.

Requests pass unchanged, Host header included, so their signatures stay valid.
"""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("503", "500", "403", "404", "archived", "expired", "skewed", "reset", "truncate", "stall", "lost")
"""`expired` and `skewed` are what S3 answers to old credentials and to a wrong clock; `archived` is what it answers for
Glacier; `truncate` cuts an answer's body in half; `lost` lets the server act and then drops the answer."""

_ERRORS = {"503": (503, "SlowDown"), "500": (500, "InternalError"), "403": (403, "AccessDenied")}
_ERRORS |= {"404": (404, "NoSuchKey"), "archived": (403, "InvalidObjectState")}
_ERRORS |= {"expired": (400, "ExpiredToken"), "skewed": (403, "RequestTimeTooSkewed")}


class FaultProxy:
    """Forward to `target` and break a share of the answers.

    Args:
        target: http://host:port of the real server.
        rate: share of requests that go wrong.
        kinds: which faults; one of them is drawn each time.
        seed: of the draws.
        stall_s: how long a stalled answer waits.
        methods: HTTP methods that may go wrong.
        latency_s: how much later every request reaches the server.
        script: if given, faults (or None) of the first requests one by one instead of draws; later ones pass.
    """

    def __init__(
        self,
        target,
        *,
        rate=0.0,
        kinds=("503",),
        seed=0,
        stall_s=5.0,
        methods=("GET", "PUT", "HEAD"),
        latency_s=0.0,
        script=None,
    ):
        self._target = urlsplit(target)
        self._rate, self._kinds, self._random = rate, tuple(kinds), random.Random(seed)
        self._stall_s, self._methods = stall_s, frozenset(methods)
        self._latency_s, self._at_once, self.most_at_once = latency_s, 0, 0
        self._script = None if script is None else list(script)
        self._lock = threading.Lock()
        self._is_down = False
        self.rule = None
        """If set, a function of (method, path) that returns a fault or None, asked before all else. It may be set anew
        at any time, so that an outage begins and ends while a job runs."""
        self.counts: Counter[str] = Counter()
        """Requests by what was done to them; `passed` for the whole ones."""

    def __enter__(self):
        self._listen(0)
        return self

    def down(self):
        """Refuse connections until `up`."""
        self._is_down = True  # connections that are kept open would be served on
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def up(self):
        """Listen at the same port again."""
        self._listen(self._server.server_port)
        self._is_down = False

    def _listen(self, port):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def log_message(self, *_):
                pass

            def _answer(self):
                proxy._serve(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __exit__(self, *_):
        self.down()

    def _draw(self, method, path):
        with self._lock:
            fault = "reset" if self._is_down else self.rule(method, path) if self.rule else None
            if fault is None and method in self._methods:
                if self._script is not None:
                    fault = self._script.pop(0) if self._script else None
                elif self._random.random() < self._rate:
                    fault = self._random.choice(self._kinds)
            self.counts[fault or "passed"] += 1
            return fault

    def _serve(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        fault = self._draw(handler.command, handler.path)
        if fault == "reset":
            return _reset(handler)
        if fault in _ERRORS:
            return _refuse(handler, *_ERRORS[fault])
        if fault == "stall":
            time.sleep(self._stall_s)
            return _reset(handler)
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        if self._latency_s:
            time.sleep(self._latency_s)
        with self._lock:
            self._at_once -= 1
        connection = http.client.HTTPConnection(self._target.hostname, self._target.port, timeout=60)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if fault == "lost":
            return _reset(handler)
        handler.send_response_only(answer.status)
        length = answer.getheader("Content-Length")
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", length if length is not None else str(len(data)))
        handler.end_headers()
        if fault == "truncate" and data:
            handler.wfile.write(data[: len(data) // 2])
            handler.wfile.flush()
            handler.close_connection = True
            return None
        handler.wfile.write(data)
        return None


def _reset(handler):
    # A linger time of zero makes close() send RST instead of FIN.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def _refuse(handler, status, code):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made up by a test</Message></Error>".encode()
    handler.send_response_only(status)
    handler.send_header("Content-Length", str(0 if handler.command == "HEAD" else len(body)))
    handler.send_header("Content-Type", "application/xml")
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
