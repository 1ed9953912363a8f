"""Who may talk to the labelling page, and what it answers to nonsense; one test has a socket."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import draw_squares
from placewise.errors import SettingsError
from placewise.labelling.api import Api
from placewise.labelling.guard import BODY, HEADERS
from placewise.labelling.objects import Definition
from placewise.labelling.project import open_project
from placewise.labelling.schedule import Schedule
from placewise.labelling.server import PAGE, application, bound, server_of, theme_css

HOST, TOKEN = "127.0.0.1:8765", "t" * 40

HOSTS: list[list[bytes]] = [
    [HOST.encode()],
    [b"localhost:8765"],
    [b"127.0.0.1:1"],
    [b"127.0.0.1"],
    [b"evil.test"],
    [b"evil.test:8765"],
    [b"127.0.0.1.evil.test:8765"],
    [b"127.0.0.1:8765.EVIL"],
    [b"user@127.0.0.1:8765"],
    [b"[::1]:8765"],
    [b"0.0.0.0:8765"],
    [b"127.1:8765"],
    [b"2130706433:8765"],
    [b"0x7f.1:8765"],
    [b"127.0.0.1.:8765"],
    [b"127.0.0.1:8765/"],
    [b"127.0.0.1:8765 "],
    [b""],
    [],
    [b"\xff"],
    [HOST.encode(), HOST.encode()],
]
ORIGINS: list[list[bytes]] = [
    [],
    [b"http://127.0.0.1:8765"],
    [b"null"],
    [b"http://evil.test"],
    [b"https://127.0.0.1:8765"],
    [b"http://127.0.0.1:1"],
    [b"file://"],
    [b"chrome-extension://abc"],
    [b"http://127.0.0.1:8765.evil.test"],
    [b"http://127.0.0.1:8765", b"http://evil.test"],
]
TOKENS: list[list[bytes]] = [[TOKEN.encode()], [b"u" * 40], []]
SITES: list[list[bytes]] = [[], [b"same-origin"], [b"none"], [b"cross-site"], [b"same-site"]]

WRITES = {
    "session": "", "state": "", "order": "", "images/ID/pixels": "", "images/ID/suggestion": "",
    "images/ID": "PUT", "keypoints": "PUT", "undo": "POST", "redo": "POST", "save": "POST",
    "train": "POST DELETE",
}  # fmt: skip
"""Routes below /api/, and the methods that change something."""

SENT = [
    ("GET", b"", b""),
    ("POST", b"text/plain", b"{}"),
    ("POST", b"application/x-www-form-urlencoded", b"a=1"),
    ("POST", b"application/json", b"{}"),
    ("PUT", b"application/json", b"{}"),
    ("PUT", b"text/plain", b"{}"),
    ("DELETE", b"application/json", b""),
    ("OPTIONS", b"", b""),
    ("PATCH", b"application/json", b"{}"),
]


class Caller:
    """Sends requests as bytes, as no client library would let us."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.app, self.loop = app, loop

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        query: bytes = b"",
    ) -> tuple[int, dict[str, str], bytes]:
        given = headers
        if given is None:
            given = [(b"host", HOST.encode()), (b"x-placewise-token", TOKEN.encode())]
            given.append((b"content-type", b"application/json"))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "method": method, "path": path, "raw_path": path.encode("utf-8", "replace"),
            "query_string": query, "headers": given, "root_path": "",
            "server": ("127.0.0.1", 8765), "client": ("127.0.0.1", 4),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        parts = [body[i : i + 100_000] for i in range(0, len(body), 100_000)] or [b""]

        async def receive() -> dict[str, Any]:
            if not parts:
                return {"type": "http.disconnect"}
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        self.loop.run_until_complete(self.app(scope, receive, send))
        named = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
        return sent[0]["status"], named, b"".join(m.get("body", b"") for m in sent[1:])

    def json(self, method: str, path: str, content: Any = None, tag: str = "") -> Any:
        headers = [(b"host", HOST.encode()), (b"x-placewise-token", TOKEN.encode())]
        headers += [(b"content-type", b"application/json"), (b"if-match", f'"{tag}"'.encode())]
        body = b"" if content is None else json.dumps(content).encode()
        status, _, answer = self(method, f"/api/{path}", body, headers)
        return {"status": status, **json.loads(answer)}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    folder = draw_squares(tmp_path / "images", 3)
    (folder / "points.csv").unlink()
    with open_project(folder, Definition(names=("nose", "tail"))) as project:
        yield Api(project, Schedule(project.images, "name"))


@pytest.fixture
def call(api: Api) -> Iterator[Caller]:
    loop = asyncio.new_event_loop()
    yield Caller(application(api, HOST, TOKEN), loop)
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def identity(call: Caller) -> str:
    return call.json("GET", "session")["images"][0]["id"]


# --- who may ask ---------------------------------------------------------------------------------


def test_only_the_own_page_with_the_token_passes(call: Caller, api: Api) -> None:
    """Host × Origin × token × route × method, and what passed has changed nothing unasked."""
    image, passed, tried = identity(call), set(), 0
    files = ["/", *(f"/{file.name}" for file in PAGE.iterdir() if file.name != "index.html")]
    assert len(files) > 5
    routes = [*files, *(f"/api/{route}".replace("ID", image) for route in WRITES)]
    refused = {400, 401, 403, 405, 415}
    for route in routes:
        for method, kind, body in SENT:
            hostile = [(h, o, t) for h in HOSTS for o in ORIGINS for t in TOKENS]
            if (method, kind) not in (("GET", b""), ("POST", b"application/json")):
                hostile = random.Random(f"{route}{method}").sample(hostile, 25)
            for host, origin, token in hostile:
                own = host == HOSTS[0] and origin in ORIGINS[:2]
                headers = [(b"host", h) for h in host] + [(b"origin", o) for o in origin]
                headers += [(b"x-placewise-token", t) for t in token]
                headers += [(b"content-type", kind)] if kind else []
                tried += 1
                if own and (token == TOKENS[0] or not route.startswith("/api/")):
                    continue  # these are the own passes, tested below
                status, sealed, answer = call(method, route, body, headers)
                assert status in refused, (route, method, host, origin, token, status)
                assert b"nose" not in answer and b"Traceback" not in answer
                assert sealed["cache-control"] == "no-store"
                passed.add(status)
    assert tried > 10_000 and {400, 401, 403} <= passed
    assert api.project.session.count == 0


@pytest.mark.parametrize("site", SITES)
def test_pages_of_other_sites_may_not_ask(call: Caller, site: list[bytes]) -> None:
    for path in ("/", "/api/session"):
        headers = [(b"host", HOST.encode()), (b"x-placewise-token", TOKEN.encode())]
        headers += [(b"sec-fetch-site", one) for one in site]
        status, _, _ = call("GET", path, headers=headers)
        assert status == (200 if site in SITES[:3] else 403)


def test_each_route_takes_its_methods_and_json_only(call: Caller) -> None:
    image = identity(call)
    for route, able in WRITES.items():
        path = f"/api/{route.replace('ID', image)}"
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            headers = [(b"host", HOST.encode()), (b"x-placewise-token", TOKEN.encode())]
            plain, _, _ = call(method, path, b"", [*headers, (b"content-type", b"text/plain")])
            assert (plain == 415) == (method != "GET"), (route, method, plain)
            status, _, _ = call(
                method, path, b"", [*headers, (b"content-type", b"application/json")]
            )
            readable = method == "GET" and route in (
                "images/ID",
                *(r for r in WRITES if not WRITES[r]),
            )
            assert (status != 405) == (readable or method in able.split()), (route, method, status)
            assert status < 500


def test_every_answer_is_sealed(call: Caller) -> None:
    for path in ("/", "/main.js", "/api/session", "/api/nothing", "/nothing", "/api/images/x"):
        _, headers, _ = call("GET", path)
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in headers and "set-cookie" not in headers


def test_a_target_with_a_host_and_websockets_are_refused(call: Caller) -> None:
    assert call("GET", "http://evil.test/api/session")[0] == 400
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    call.loop.run_until_complete(call.app({"type": "websocket", "path": "/"}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_body_is_limited_however_it_is_sent(call: Caller, api: Api) -> None:
    image = identity(call)
    assert call("PUT", f"/api/images/{image}", b"1" * (BODY + 1))[0] == 413
    assert call("PUT", f"/api/images/{image}", b" " * (BODY - 2) + b"{}")[0] == 428


@pytest.mark.parametrize(
    ("host", "token", "says"),
    [
        ("192.168.1.5", None, "other computers"),
        ("0.0.0.0", "x" * 40, "all networks"),
        ("::", "x" * 40, "all networks"),
        ("localhost", None, "give a number"),
        ("127.0.0.1", "short", "32 to 200"),
        ("127.0.0.1", "x" * 31 + "\n", "32 to 200"),
    ],
)
def test_other_addresses_need_a_token_and_all_at_once_are_never_served(
    host: str, token: str | None, says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        bound(host, 0, token)


def test_a_browser_that_comes_before_the_server_runs_waits(tmp_path: Path) -> None:
    folder = draw_squares(tmp_path / "images", 1)
    with bound("127.0.0.1", 0, None) as listening, open_project(folder) as project:
        server_of(Api(project, Schedule(project.images, "name"), None, "dlc"), listening, TOKEN)
        with socket.create_connection(listening.getsockname(), timeout=5) as early:
            assert early.getpeername() == listening.getsockname()


# --- hostile requests ----------------------------------------------------------------------------


def hostile_ids() -> list[str]:
    bits = [
        "..",
        "%2e%2e",
        "/",
        "\\",
        "%00",
        "\0",
        "etc/passwd",
        "C:",
        "~",
        "'",
        '"',
        "<script>",
        "é",
    ]
    rng = random.Random(0)
    made = ["".join(rng.choice(bits) for _ in range(rng.randint(1, 6))) for _ in range(180)]
    more = ["0" * 24, "f" * 24, "A" * 10_000, "", " ", "\n", "000.png", "images/000.png", "../"]
    more += ["..\\..\\windows", "%252e%252e%252f", "\u202e", "\u2028", "con", "nul", "$(id)"]
    return [*made, *more, "`id`", "{{7*7}}", "-1", "0x0", "NaN"]


def test_two_hundred_hostile_ids_find_nothing(call: Caller) -> None:
    ids = hostile_ids()
    assert len(ids) >= 200
    for id in ids:
        for path in (f"/api/images/{id}", f"/api/images/{id}/pixels"):
            status, _, answer = call("GET", path)
            assert status in (404, 405), (id, status)
            assert b"root:" not in answer and answer[:2] != b"BM"
            assert call("PUT", path, b'{"objects": []}')[0] in (404, 405)


def fuzzed(rng: random.Random, image: str) -> tuple[str, str, bytes]:
    """A request that is wrong in some way, and often nearly right."""
    wrong: list[Any] = [[3, 1], [1, 2, 3], [9], [3, "a", None], [3, 1e309, 1], [3, -1e5, 2], {}]
    wrong += [None, [2, 10**400, 0], [3, 1, 2, 3], "3", [True, 1, 2], [3.5, 1, 2]]
    point = rng.choice([[3, 1, 2], [1], *wrong])
    name = rng.choice(["nose", "tail", "", "x" * 300, "\0", "nöse", "__proto__", "nose\n"])
    contents: list[Any] = [
        {"objects": [{"points": {name: point}}]},
        {"objects": [{"points": {name: point}, "track": rng.choice([0, -1, 2**60, "a", None])}]},
        {"objects": rng.choice([[], {}, None, 3, [[]], [{}] * 50, "objects"])},
        {"definition": {"names": rng.choice([[], ["a", "a"], ["nose"], [""], "nose", [1], None])}},
        {"definition": {"names": ["a"], "skeleton": rng.choice([[["a", "b"]], [["a"]], 1])}},
        {"definition": {"names": ["a", "b"], "objects": rng.choice(["one", "none", 1])}},
        {"minutes": rng.choice([0, -1, 1e9, "2", None])},
        {"renamed": {"nose": "tail"}, "definition": {"names": ["tail"]}},
        rng.choice([[], "x", 3, None, True, {"a": {"b": {"c": []}}}]),
    ]
    text = json.dumps(rng.choice(contents)).encode()
    how = rng.random()
    if how < 0.2:
        place = rng.randrange(len(text))
        text = text[:place] + bytes([rng.randrange(256)]) + text[place + 1 :]
    elif how < 0.25:
        text = rng.choice([b"[" * 100_000, b"NaN", b"\xff\xfe", b"9" * 10_000, b'{"a":1}{', b"{"])
    route = rng.choice([*WRITES, f"images/{image}", "nothing", "images"])
    method = rng.choice(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"])
    return method, f"/api/{route}".replace("ID", image), text


@pytest.mark.parametrize(
    "count", [pytest.param(600, id="600"), pytest.param(10_000, id="10000", marks=pytest.mark.slow)]
)
def test_fuzzed_requests_are_answered_and_never_with_5xx(
    call: Caller, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda file: None)
    rng, image, seen = random.Random(0), identity(call), set()
    for _ in range(count):
        method, path, body = fuzzed(rng, image)
        headers = [(b"host", HOST.encode()), (b"x-placewise-token", TOKEN.encode())]
        headers += [(b"content-type", b"application/json")]
        if rng.random() < 0.7:
            tag = call.json("GET", f"images/{image}")["tag"]
            headers += [(b"if-match", rng.choice([tag, "x", '"', "*"]).encode())]
        status, _, answer = call(method, path, body, headers)
        seen.add(status)
        assert status < 500, (method, path, body[:200], answer)
        assert b"Traceback" not in answer and b"/images/" not in answer
    assert {200, 400, 404, 405, 412} <= seen


def test_an_error_that_nobody_expected_tells_the_page_nothing(
    call: Caller, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("/home/me/secret")

    monkeypatch.setattr(api, "state", broken)
    status, headers, answer = call("GET", "/api/state")
    assert status == 500 and b"secret" not in answer and b"RuntimeError" not in answer
    assert headers["x-frame-options"] == "DENY" and "secret" in caplog.text


# --- what it answers -----------------------------------------------------------------------------


def test_an_edit_needs_the_tag_of_what_was_there(call: Caller) -> None:
    image = identity(call)
    labels = call.json("GET", f"images/{image}")
    nose = {"objects": [{"points": {"nose": [3, 1, 2]}}]}
    assert call.json("PUT", f"images/{image}", nose)["status"] == 428
    assert call.json("PUT", f"images/{image}", nose, "other")["status"] == 412
    first = call.json("PUT", f"images/{image}", nose, labels["tag"])
    assert first["status"] == 200 and first["left"] == 1 and first["undo"] == 1
    late = call.json("PUT", f"images/{image}", {"objects": []}, labels["tag"])
    assert late["status"] == 412 and late["objects"] == nose["objects"]
    assert call.json("POST", "undo")["image"] == image
    assert call.json("GET", f"images/{image}")["objects"] == []
    assert call.json("POST", "redo")["objects"] == nose["objects"]
    assert call.json("POST", "redo")["image"] is None


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ([{"points": {"nose": [3, 1000, 2]}}], "px beyond the image"),
        ([{"points": {"ear": [1]}}], "no keypoint 'ear'"),
        ([{"points": {"nose": [3, 1]}}], "the keypoint 'nose' is not understood"),
        ([{"points": {"nose": [3, "1", 2]}}], "with numbers in pixels"),
        ([{"points": {"n" * 300: [1]}}], "has 300 characters; a name has 255 at most"),
        ([{"points": {}, "track": "1"}], "a whole number"),
        ([{"points": {}, "x": 1}], "'x' is not known"),
    ],
)
def test_labels_that_cannot_be_are_refused_in_one_line(
    call: Caller, objects: Any, says: str
) -> None:
    image = identity(call)
    tag = call.json("GET", f"images/{image}")["tag"]
    answer = call.json("PUT", f"images/{image}", {"objects": objects}, tag)
    assert answer["status"] == 400 and says in answer["error"] and "\n" not in answer["error"]
    assert "literal" not in answer["error"] and "uple" not in answer["error"]


def test_pixels_are_those_that_a_training_sees(call: Caller, api: Api) -> None:
    import io

    import numpy as np
    from PIL import Image

    image = identity(call)
    status, headers, data = call("GET", f"/api/images/{image}/pixels")
    assert status == 200 and headers["content-type"] == "image/bmp"
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    assert (pixels == api.project.read(api.project.images[0])[..., 0]).all()


def test_a_training_needs_labels_and_its_state_is_told(call: Caller) -> None:
    answer = call.json("POST", "train", {"minutes": 1})
    assert answer["status"] == 400 and "label at least 5" in answer["error"]
    assert call.json("GET", "state")["training"] == {"state": "idle"}


def test_the_page_asks_nobody_else_and_is_small() -> None:
    files = [file for file in PAGE.iterdir() if file.is_file()]
    texts = {file.name: file.read_text("utf-8") for file in files}
    assert sum(len(text) for text in texts.values()) + len(theme_css()) <= 150_000
    for name, text in texts.items():
        found = text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in found and "https:" not in found and "//cdn" not in found, name
        assert "innerHTML" not in text and "eval(" not in text, name
