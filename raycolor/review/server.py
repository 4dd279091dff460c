"""The server behind the page: on 127.0.0.1 alone, for one browser that knows this session's secret address."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast, get_args

from aiohttp import web

from raycolor.colorize.review_list import Verdict
from raycolor.errors import RaycolorError
from raycolor.pages.render import render
from raycolor.review.photographs import PAGE, Filter, Row
from raycolor.review.session import LARGE_PX, SMALL_PX, Session

_MOST_BYTES: Final = 100_000  # of a request
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the address holds the secret
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ReviewServer:
    """Serves a session.

    Every address begins with a random token, which only whoever started it knows: another user of this machine, or a
    page of another site, does not. Requests under another host name are refused, so that no site can have its own name
    lead here (DNS rebinding).

    Args:
        session: is used in threads.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.token = session, secrets.token_urlsafe(24)
        self._hosts: frozenset[str] = frozenset()
        self._app = web.Application(client_max_size=_MOST_BYTES, middlewares=[self._guard])
        base = "/{token}"
        self._app.add_routes(
            [
                web.get(f"{base}/", self._page),
                web.get(f"{base}/photographs", self._photographs),
                web.get(rf"{base}/photographs/{{id:\d+}}", self._photograph),
                web.get(rf"{base}/photographs/{{id:\d+}}/{{kind:before|after}}", self._picture),
                web.post(rf"{base}/photographs/{{id:\d+}}/rendering", self._rendering),
                web.post(rf"{base}/photographs/{{id:\d+}}/decision", self._decision),
            ]
        )

    async def serve(self, port: int, on_ready: Callable[[str], None]) -> None:
        """Serve until the task is cancelled.

        Args:
            port: 0 for a free one.
            on_ready: gets the page's address.

        Raises:
            OSError: the port is taken.
        """
        runner = web.AppRunner(self._app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            number = runner.addresses[0][1]
            self._hosts = frozenset({f"127.0.0.1:{number}", f"localhost:{number}"})
            on_ready(f"http://127.0.0.1:{number}/{self.token}/")
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse strangers; make one line of what goes wrong."""
        answer: web.StreamResponse
        token = request.match_info.get("token", "")
        origin = request.headers.get("Origin")
        if request.host not in self._hosts or (origin is not None and origin[7:] not in self._hosts):
            answer = web.Response(status=403, text="this server answers to 127.0.0.1 only\n")
        elif not hmac.compare_digest(token.encode(), self.token.encode()):
            answer = web.Response(status=403, text="open the address that raycolor review has printed\n")
        else:
            try:
                answer = await handler(request)
            except web.HTTPException as exc:
                answer = web.Response(status=exc.status, text=f"{exc.reason}\n")
            except RaycolorError as exc:
                answer = web.json_response({"error": " ".join(str(exc).split())}, status=409)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    async def _page(self, _: web.Request) -> web.StreamResponse:
        nonce = secrets.token_urlsafe(16)
        start = {**await asyncio.to_thread(self.session.start), "page": PAGE}
        text = render("review/page.html", title="Review", nonce=nonce, start=start)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src 'self' data: blob:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def _photographs(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        wanted = Filter(**{name: asked.get(name, "") for name in Filter._fields})
        offset = asked.get("offset", "0")
        number = int(offset) if offset.isdecimal() and len(offset) < 15 else 0
        return web.json_response(await asyncio.to_thread(self.session.page, wanted, number))

    async def _photograph(self, request: web.Request) -> web.StreamResponse:
        row = await self._row(request)
        return web.json_response({"hints": await asyncio.to_thread(self.session.known_hints, row)})

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        row, side = await self._row(request), LARGE_PX if "large" in request.query else SMALL_PX
        jpeg = await asyncio.to_thread(self.session.picture, row, request.match_info["kind"], side)
        return web.Response(body=jpeg, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})

    async def _rendering(self, request: web.Request) -> web.StreamResponse:
        row, asked = await self._row(request), await _json(request)
        choice, hints = self._choice(asked)
        jpeg = await asyncio.to_thread(self.session.rendering, row, choice, hints)
        return web.Response(body=jpeg, content_type="image/jpeg")

    async def _decision(self, request: web.Request) -> web.StreamResponse:
        row, asked = await self._row(request), await _json(request)
        choice, hints = self._choice(asked)
        if asked.get("decision") not in get_args(Verdict):
            raise web.HTTPBadRequest
        verdict = cast(Verdict, asked["decision"])
        # A browser that goes away meanwhile takes no decision with it.
        writing = asyncio.to_thread(self.session.decide, row, verdict, choice, hints)
        decision = await asyncio.shield(writing)
        counts = await asyncio.to_thread(self.session.photographs.counts)
        return web.json_response({"decision": decision.decision, "changes": decision.changes, "counts": counts})

    async def _row(self, request: web.Request) -> Row:
        number = request.match_info["id"]
        row = await asyncio.to_thread(self.session.photographs.get, int(number)) if len(number) < 15 else None
        if row is None:
            raise web.HTTPNotFound
        return row

    def _choice(self, asked: dict[str, Any]) -> tuple[int, list[Any]]:
        choice, hints = asked.get("choice", 0), asked.get("hints", [])
        if type(choice) is not int or not 0 <= choice < len(self.session.choices) or not isinstance(hints, list):
            raise web.HTTPBadRequest
        return choice, hints


async def _json(request: web.Request) -> dict[str, Any]:
    # A form of another site cannot say that it is JSON.
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    try:
        asked = json.loads(await request.read())
    except ValueError as exc:
        raise web.HTTPBadRequest from exc
    if not isinstance(asked, dict):
        raise web.HTTPBadRequest
    return asked
