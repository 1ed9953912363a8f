"""The server of the page: Starlette and uvicorn on this computer alone."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placewise.errors import PlacewiseError, SettingsError
from placewise.labelling.api import Answer, Api, status_of
from placewise.labelling.guard import App, Guard
from placewise.report.style import DARK, LIGHT, Theme

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PAGE = Path(__file__).parent / "page"

KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Media types of the page's files by their endings."""

_LOG = logging.getLogger(__name__)


def application(api: Api, host: str, token: str) -> App:
    """The page and what it asks, behind a guard.

    Args:
        api: what answers.
        host: exactly what a request must name, e.g. "127.0.0.1:8765".
        token: what requests for data must carry.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    def route(path: str, call: Callable[[Request, Any], Answer], method: str) -> Route:
        return Route(f"/api/{path}", _endpoint(call), methods=[method])

    def shown(file: Path) -> Route:
        name = "" if file.name == "index.html" else file.name
        return Route(f"/{name}", _static(file), methods=["GET"])

    one = "images/{id}"
    made = Starlette(
        routes=[
            *(shown(file) for file in sorted(PAGE.iterdir()) if file.suffix in KINDS),
            route("session", lambda request, _: api.session(), "GET"),
            route("state", lambda request, _: api.state(), "GET"),
            route("order", lambda request, _: api.order(), "GET"),
            route(one, lambda request, _: api.image(request.path_params["id"]), "GET"),
            route(one, lambda request, sent: _write(api, request, sent), "PUT"),
            route(f"{one}/pixels", lambda request, _: api.pixels(request.path_params["id"]), "GET"),
            route(
                f"{one}/suggestion",
                lambda request, _: api.suggestion(request.path_params["id"]),
                "GET",
            ),
            route("keypoints", lambda request, sent: api.define(sent), "PUT"),
            route("undo", lambda request, _: api.undo(), "POST"),
            route("redo", lambda request, _: api.redo(), "POST"),
            route("save", lambda request, _: api.save(), "POST"),
            route("train", lambda request, sent: api.train(sent), "POST"),
            route("train", lambda request, _: api.halt(), "DELETE"),
        ]
    )
    made.router.redirect_slashes = False
    return Guard(made, host, token)


def _write(api: Api, request: Request, sent: Any) -> Answer:
    tag = request.headers.get("if-match", "").strip('"')
    return api.write(request.path_params["id"], sent, tag)


def _endpoint(call: Callable[[Request, Any], Answer]) -> Any:
    """A handler that reads JSON, answers in a thread, and tells errors of ours in one line."""

    async def handle(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        try:
            sent = _read(await request.body()) if request.method != "GET" else None
            answer = await run_in_threadpool(call, request, sent)
        except PlacewiseError as error:
            answer = Answer(status_of(error), {"error": str(error)})
        return _response(answer.status, answer.body, answer.kind)

    return handle


def _read(body: bytes) -> Any:
    """JSON of a request; nothing is an empty object.

    Raises:
        SettingsError: it is none.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number) if body else {}
    except (ValueError, RecursionError) as error:
        raise SettingsError("the request is no JSON; send an object") from error


def _no_number(word: str) -> Any:
    raise ValueError(word)


def _response(status: int, body: bytes, kind: str) -> Response:
    from starlette.responses import Response

    return Response(body, status, media_type=kind)


def _static(file: Path) -> Any:
    """A handler that gives a file of the page."""
    data = (theme_css() if file.suffix == ".css" else "").encode() + file.read_bytes()

    async def handle(request: Request) -> Response:
        return _response(200, data, KINDS[file.suffix])

    return handle


def theme_css() -> str:
    """The colours of the reports as variables of CSS, light and dark."""

    def variables(theme: Theme) -> str:
        return " ".join(f"--{name}: {value};" for name, value in vars(theme).items())

    return (
        f":root {{ color-scheme: light dark; {variables(LIGHT)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {variables(DARK)} }} }}\n"
    )


def bound(host: str, port: int, token: str | None) -> socket.socket:
    """A socket on an address that may be served.

    Args:
        host: a number; of another computer's view only where a token was given for it.
        port: 0 takes a free one.
        token: what the user has chosen as the token; None: it is drawn.

    Raises:
        SettingsError: the address may not be served, or is in use.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise SettingsError(f"got the host {host!r}; give a number such as 127.0.0.1") from error
    if address.is_unspecified:
        raise SettingsError(f"{host} means all networks; give the one address that is to be served")
    if not address.is_loopback and not token:
        raise SettingsError(
            f"{host} can be reached by other computers, without encryption: the page is shown to "
            "this computer only (127.0.0.1). If you trust the network, choose a --token of 32 "
            "characters or more"
        )
    if token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{32,200}", token):
        raise SettingsError("the token has 32 to 200 letters, digits, - and _; choose another")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two servers have one port
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # at once after a crash
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise SettingsError(
            f"{host}:{port} cannot be used: {error.strerror or error}; leave --port out"
        ) from error
    return made


def server_of(api: Api, listening: socket.socket, token: str) -> Any:
    """The server that answers on a socket, a `uvicorn.Server`; its `run` takes the socket too.

    From here on the socket takes connections: a browser that comes before `run` waits.

    Args:
        api: what answers.
        listening: where.
        token: what requests for data must carry.
    """
    uvicorn: Any = needed("uvicorn")
    listening.listen()
    return uvicorn.Server(
        uvicorn.Config(
            application(api, host_of(listening), token),
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            http="h11",
            loop="asyncio",
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )


def serve(api: Api, listening: socket.socket, token: str, ready: Callable[[str], None]) -> None:
    """Serve the page until Ctrl+C.

    Args:
        api: what answers.
        listening: where.
        token: what requests for data must carry.
        ready: called with the address of the page.
    """
    server = server_of(api, listening, token)
    ready(f"http://{host_of(listening)}/#token={token}")
    api.start()
    try:
        server.run(sockets=[listening])
    finally:
        api.stop()


def host_of(listening: socket.socket) -> str:
    """Host and port of a socket, as a browser names them."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def needed(name: str) -> Any:
    """A library of the extra `label`.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise SettingsError(
            f'{name} is not installed; run: pip install "placewise[label]"'
        ) from error
