"""Who may talk to the page: one browser on this computer, and nothing that it is lured to.

Other pages in the same browser can send requests to this computer, and a name of theirs can be made
to mean it (DNS rebinding). So a request must name this very host and port, come from our own page,
and where it reads or changes anything carry the token that the terminal has shown.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY = 1 << 20
"""Bytes of a request's body at most."""

TOKEN = b"x-placewise-token"

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; img-src 'self' blob:; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_LOG = logging.getLogger(__name__)


class Guard:
    """Lets through what our own page asks, and nothing else; every answer gets `HEADERS`.

    Args:
        app: what answers.
        host: exactly what a request must name, e.g. "127.0.0.1:8765".
        token: what requests under `/api/` must carry.
    """

    def __init__(self, app: App, host: str, token: str) -> None:
        self._app, self._host, self._token = app, host.encode(), token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket: none is served
            await send({"type": "websocket.close", "code": 1008})
            return
        begun = False

        async def sealed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *_SEALS]
            await send(message)

        refused = self._refused(scope)
        if refused:
            await _answer(sealed, *refused)
            return
        try:
            body = await _body(receive)
            if body is None:
                await _answer(sealed, 413, f"the request has more than {BODY} bytes")
                return
            await self._app(scope, _given(body, receive), sealed)
        except Exception:  # whatever it is, it is told in the terminal and nowhere else
            _LOG.exception("the page asked for something that went wrong")
            if not begun:
                await _answer(sealed, 500, "something went wrong; the terminal says what")

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason where a request is refused."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        named: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            named.setdefault(name.lower(), []).append(value)
        origin, site = named.get(b"origin", []), named.get(b"sec-fetch-site", [])
        if named.get(b"host") != [self._host] or not scope["path"].startswith("/"):
            return 400, "this host is not served"
        if origin and origin != [b"http://" + self._host]:
            return 403, "other pages may not ask"
        if site and site not in ([b"same-origin"], [b"none"]):
            return 403, "other pages may not ask"
        if not scope["path"].startswith("/api/"):
            return None if scope["method"] in ("GET", "HEAD") else (405, "this is only read")
        tokens = named.get(TOKEN, [])
        if len(tokens) != 1 or not hmac.compare_digest(tokens[0], self._token):
            return 401, "the token is missing or wrong; open the address that the terminal shows"
        if scope["method"] not in ("GET", "HEAD"):
            kind = named.get(b"content-type", [b""])
            if len(kind) != 1 or kind[0].split(b";")[0].strip().lower() != b"application/json":
                return 415, "changes are sent as application/json"
        return None


_SEALS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


async def _body(receive: Receive) -> bytes | None:
    """The whole body of a request; None where it is too long."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > BODY:
            return None
        parts.append(part)
        more = message["type"] == "http.request" and message.get("more_body", False)
    return b"".join(parts)


def _given(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return left.pop() if left else await receive()

    return give


async def _answer(send: Send, status: int, reason: str) -> None:
    """Refuse a request in one line of JSON."""
    data = json.dumps({"error": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
