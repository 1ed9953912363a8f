"""The labelling page in a real browser: what each click and key does, and what no name can do."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import draw_squares
from placewise.formats import read_dataset
from placewise.labelling.api import Api
from placewise.labelling.objects import Definition
from placewise.labelling.project import open_project
from placewise.labelling.schedule import Schedule
from placewise.labelling.server import bound, host_of, server_of
from placewise.labels import Visibility

CHROMIUM = Path(os.environ.get("PLACEWISE_CHROMIUM", "/usr/bin/chromium"))
TOKEN = "t" * 40
NAMES = ("nose", "left ear", "right ear", "tail")


class Suggests:
    """Stands for a run: suggests the same on each image."""

    def __init__(self) -> None:
        self.run = SimpleNamespace(path=Path("run"))
        self.unsure: dict[str, float] = {}
        self.error = ""
        self.asked: set[str] = set()
        self.progress = (0, 0)

    def start(self) -> None:
        """Nothing to begin."""

    def stop(self) -> None:
        """Nothing to end."""

    def of(self, image: str, patience: float = 0.0) -> tuple[dict[str, Any] | None, bool]:
        """Four keypoints, of which the last is not sure, and maxima about the nose.

        Of each image they are not known when it is first asked for.
        """
        if image not in self.asked:
            self.asked.add(image)
            return None, False
        points = {name: [8.0 + 10 * i, 10.0, 0.95, 2.0] for i, name in enumerate(NAMES[:3])} | {
            NAMES[3]: [40.0, 30.0, 0.1, None]
        }
        hills = {"nose": [[8.0, 10.0], [20.0, 25.0]]}
        return {"objects": [{"points": points}], "hills": hills}, True


@dataclass
class Desk:
    """A page in a browser, and what it labels."""

    page: Any
    api: Api
    folder: Path
    address: str
    asked: list[str]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the image is in the window."""
        return tuple(
            self.page.evaluate(
                """([x, y]) => import("/view.js").then(({ toView }) => {
                  const box = document.getElementById("canvas").getBoundingClientRect();
                  const [vx, vy] = toView(x, y);
                  return [box.left + vx, box.top + vy];
                })""",
                [x, y],
            )
        )

    def click(self, x: float, y: float, **how: Any) -> None:
        self.page.mouse.click(*self.at(x, y), **how)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=4)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def points(self, image: int) -> dict[str, Any]:
        """What is labelled on an image, by name order; once the server has it."""
        self.settled()
        objects = self.api.project.session.objects(self.api.project.images[image])
        return dict(objects[0].points) if objects else {}

    def settled(self) -> None:
        """Wait until every edit is confirmed."""
        self.page.evaluate(
            """async () => {
              const { state } = await import("/store.js");
              while (state.pending || state.busy) await new Promise((go) => setTimeout(go, 5));
            }"""
        )

    def shown(self, number: int) -> None:
        """Wait until an image is shown, counted from 1."""
        self.page.wait_for_function(
            "(text) => document.getElementById('place').textContent.startsWith(text)",
            arg=f"{number} of",
        )
        self.settled()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}; set PLACEWISE_CHROMIUM")
    with playwright.sync_playwright() as started:
        rules = "--host-resolver-rules=MAP evil.test 127.0.0.1"
        launched = started.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", rules]
        )
        yield launched
        launched.close()


@contextmanager
def served(
    folder: Path, definition: Definition | None, suggester: Any = None, keys: Any = "dlc"
) -> Iterator[Any]:
    """A server in a thread; gives its address and the API behind it."""
    with bound("127.0.0.1", 0, None) as listening, open_project(folder, definition) as project:
        api = Api(project, Schedule(project.images, "name"), suggester, keys)
        server = server_of(api, listening, TOKEN)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        api.start()
        try:
            yield api, host_of(listening)
        finally:
            server.should_exit = True
            thread.join()
            api.stop()


Open = Callable[..., Desk]


def faulty(message: Any) -> bool:
    """Whether the console tells a fault: another tab that was faster is none."""
    return message.type == "error" and "412" not in message.text


@pytest.fixture
def desk(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page on six images of 56 × 48 pixels; no error may appear in its console."""
    errors: list[str] = []
    with ExitStack() as stack:

        def opened(
            names: tuple[str, ...] | None = NAMES,
            *,
            suggester: Any = None,
            folder: Path | None = None,
            objects: str = "one",
            keys: str = "dlc",
            **how: Any,
        ) -> Desk:
            if folder is None:
                folder = draw_squares(tmp_path / "images", 6)
                (folder / "points.csv").unlink()
            definition = (
                Definition(
                    names=names,
                    objects=objects,
                    symmetry=(("left ear", "right ear"),) if "left ear" in names else (),
                )
                if names
                else None
            )
            api, host = stack.enter_context(served(folder, definition, suggester, keys))
            context = browser.new_context(viewport={"width": 1000, "height": 700}, **how)
            stack.callback(context.close)
            page, asked = context.new_page(), []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda m: errors.append(m.text) if faulty(m) else None)
            page.on("request", lambda request: asked.append(request.url))
            made = Desk(page, api, folder, f"http://{host}/#token={TOKEN}", asked)
            page.goto(made.address)
            if names:
                made.shown(1)
            return made

        yield opened
    assert errors == []


# --- clicks and keys -----------------------------------------------------------------------------


def test_k_clicks_place_k_keypoints_and_one_key_shows_the_next_image(desk: Open) -> None:
    one = desk()
    places = [(5.0, 6.0), (20.0, 7.0), (30.0, 40.0), (55.0, 47.0)]
    for image in range(2):
        for place in places:
            one.click(*place)
        found = one.points(image)
        assert list(found) == list(NAMES)
        for (state, *at), place in zip(found.values(), places, strict=True):
            assert state == Visibility.VISIBLE and at == pytest.approx(place, abs=0.1)
        one.press("d")
        one.shown(image + 2)
    assert one.api.project.session.undoable[0] == 2 * len(NAMES)
    assert one.page.locator("#done").text_content() == "2 done, 4 left"
    one.press("Control+s")
    one.page.wait_for_function(
        "() => document.getElementById('message').textContent.includes('Written to points.csv')"
    )
    assert len(read_dataset(one.folder).samples) == 2
    assert all(
        url.startswith(one.address.split("#")[0]) or url.startswith("blob:") for url in one.asked
    )


def test_suggestions_take_one_key_and_a_drag_for_each_that_moved(desk: Open) -> None:
    one = desk(suggester=Suggests())
    one.page.wait_for_function(
        "() => document.getElementById('keypoints').textContent.includes('suggested ±2.0 px')"
    )
    one.drag((8, 10), (19, 24))  # it snaps to the maximum of the map that is nearest
    assert one.points(0) == {"nose": (3, 20.0, 25.0)}
    one.press("Space")
    assert set(one.points(0)) == set(NAMES[:3]), "what is not sure is not accepted"
    assert one.page.locator("#place").text_content() == "1 of 6"
    one.click(50, 40)
    one.press("Space")
    one.shown(2)
    assert one.points(0)["nose"] == (3, 20.0, 25.0) and set(one.points(0)) == set(NAMES)
    assert one.points(0)["left ear"] == (3, 18.0, 10.0)
    assert one.api.project.session.undoable[0] == 3, "a drag, a key for all the rest, a click"


def test_hidden_absent_nudged_swapped_and_removed(desk: Open) -> None:
    one = desk()
    one.click(10, 10)
    one.press("q", "ArrowRight", "Shift+ArrowDown")
    one.page.wait_for_timeout(400)
    assert one.points(0)["nose"] == pytest.approx((2, 11, 20), abs=0.1)
    one.press("x")
    one.page.keyboard.down("Shift")
    one.click(30, 10)
    one.page.keyboard.up("Shift")
    assert one.points(0)["left ear"] == (1,) and one.points(0)["right ear"][0] == 2
    one.press("l")
    assert one.points(0)["right ear"] == (1,) and one.points(0)["left ear"][0] == 2
    one.press("1", "Delete")
    assert "nose" not in one.points(0)
    one.click(3, 3)  # the keypoint that was removed is still chosen
    assert one.points(0)["nose"] == pytest.approx((3, 3, 3), abs=0.1)


def test_undo_goes_back_over_images_and_after_a_restart(desk: Open, tmp_path: Path) -> None:
    one = desk(("nose",))
    one.click(10, 10)
    one.press("d")
    one.shown(2)
    one.click(20, 20)
    one.page.reload()
    one.shown(3)
    one.press("Control+z")
    one.shown(2)
    assert one.points(1) == {} and one.points(0)
    one.press("Control+z")
    one.shown(1)
    assert one.points(0) == {}
    one.press("Control+y", "Control+y")
    one.shown(2)
    assert one.points(0) and one.points(1)


def test_a_drag_beside_the_keypoints_moves_the_image_and_the_wheel_zooms(desk: Open) -> None:
    one = desk()
    before = one.at(10, 10)
    one.drag((40, 40), (30, 30))
    after = one.at(10, 10)
    assert after[0] < before[0] - 20 and one.points(0) == {}
    one.page.mouse.move(*one.at(20, 20))
    spot = one.at(20, 20)
    one.page.mouse.wheel(0, -300)
    one.page.wait_for_timeout(50)
    assert one.at(20, 20) == pytest.approx(spot, abs=1), "what is under the pointer stays"
    span = one.at(30, 20)[0] - one.at(20, 20)[0]
    one.press("d")
    one.shown(2)
    assert one.at(30, 20)[0] - one.at(20, 20)[0] == pytest.approx(span), "the zoom stays"
    one.press("g")
    assert one.at(10, 10) == pytest.approx(before, abs=1)


def test_the_keyboard_alone_is_enough(desk: Open) -> None:
    one = desk(None)
    one.page.wait_for_selector("#names:focus")
    one.page.keyboard.type("nose, tail")
    one.press("Enter")
    one.page.locator("#save").focus()
    one.press("Enter")
    one.shown(1)
    one.page.locator("#canvas").focus()
    one.press("Enter", "ArrowLeft", "Shift+ArrowUp", "Enter")
    x, y = one.points(0)["nose"][1:]
    assert (x, y) == pytest.approx((27, 14), abs=1), "the middle, and a step of 1 and one of 10"
    assert "nose placed, 1 of 2" in one.page.locator("#live").text_content()
    one.press("Escape", "x", "d")
    one.shown(2)
    assert one.points(0)["tail"] == (1,)
    rows = one.page.locator("#keypoints button")
    assert rows.count() == 2 and rows.nth(0).get_attribute("aria-current") == "true"


def test_several_objects_and_the_last_images_keypoints(desk: Open) -> None:
    one = desk(objects="several")
    for place in ((5, 5), (10, 5), (15, 5), (20, 5)):
        one.click(*place)
    one.press("n")
    one.click(40, 40)
    one.settled()
    image = one.api.project.images[0]
    assert [len(held.points) for held in one.api.project.session.objects(image)] == [4, 1]
    one.press("d")
    one.shown(2)
    one.press("v")
    one.settled()
    second = one.api.project.images[1]
    session = one.api.project.session
    assert session.objects(second) == session.objects(image)


def test_many_of_a_kind_take_a_click_each(desk: Open) -> None:
    one = desk(("cell", "dust"), objects="many")
    for x in (5, 15, 25):
        one.click(x, 10)
    one.press("2", "x")
    one.settled()
    held = one.api.project.session.objects(one.api.project.images[0])
    assert [list(spot.points) for spot in held] == [["cell"]] * 3 + [["dust"]]
    assert held[3].points == {"dust": (1,)}


def test_two_tabs_lose_nothing(desk: Open) -> None:
    one = desk(tuple(f"{tab}{i}" for tab in "ab" for i in range(6)))
    other = one.page.context.new_page()
    other.goto(one.address)
    two = Desk(other, one.api, one.folder, one.address, [])
    two.shown(1)
    other.locator("#keypoints button").nth(6).click()
    for i in range(6):
        one.click(4 + 5 * i, 10)
        two.click(4 + 5 * i, 30)
    two.settled()
    assert len(one.points(0)) == 12


# --- names, other hosts, fingers -----------------------------------------------------------------

PAYLOADS = [
    "<script>window.hit=1</script>",
    "<img src=x onerror='window.hit=1'>",
    "<svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "'\"><b onmouseover=window.hit=1>",
    "${window.hit=1}",
    "{{window.hit=1}}",
    "</style><script>window.hit=1</script>",
    "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "__proto__",
    "constructor",
    "a\u202eb",
]


def test_sixty_names_that_are_scripts_are_shown_and_not_run(desk: Open, tmp_path: Path) -> None:
    folder = draw_squares(tmp_path / "folder", 1)
    (folder / "points.csv").unlink()
    shutil.move(folder / "images" / "000.png", folder / "<img src=x onerror=window.hit=1>.png")
    names = tuple(f"{text}{i or ''}" for i in range(5) for text in PAYLOADS)
    assert len(names) == 60
    one = desk(names, folder=folder)
    for place in ((5, 5), (9, 9), (20, 20)):
        one.click(*place)
        one.page.mouse.move(*one.at(*place))
    for button in ("#help", "#list", "#define", "#train"):
        one.page.click(button)
        one.page.wait_for_timeout(50)
        one.press("Escape")
    one.press("Control+s")
    one.page.wait_for_timeout(200)
    assert one.page.evaluate("window.hit") is None
    shown = one.page.locator("#keypoints .name").all_text_contents()
    assert shown == list(names) and len(one.points(0)) == 3


def test_a_name_that_is_made_to_mean_this_computer_is_refused(browser: Any, desk: Open) -> None:
    one = desk()
    evil = one.page.context.new_page()
    port = one.address.split(":")[2].split("/")[0]
    answer = evil.goto(f"http://evil.test:{port}/")
    assert answer.status == 400
    found = evil.evaluate(
        """([port, token]) => Promise.all(["", "api/session"].map((path) =>
          fetch(`http://127.0.0.1:${port}/${path}`, { headers: { "X-Placewise-Token": token } })
            .then((answer) => answer.status, (error) => error.name)))""",
        [port, TOKEN],
    )
    assert found == ["TypeError", "TypeError"], "the browser itself is told nothing"


def test_without_the_token_nothing_is_shown(desk: Open) -> None:
    one = desk()
    other = one.page.context.new_page()
    other.goto(one.address.split("#")[0])
    other.wait_for_function(
        "() => document.getElementById('message').textContent.includes('token')"
    )
    assert other.locator("#name").text_content() == "placewise"


def test_a_dense_screen_is_drawn_sharp_at_rest_and_coarse_while_it_moves(desk: Open) -> None:
    one = desk(device_scale_factor=2)
    canvas = "document.getElementById('canvas')"
    ratio = f"{canvas}.width / {canvas}.clientWidth"
    one.page.wait_for_function(f"() => {ratio} === 2")
    one.page.mouse.move(*one.at(20, 20))
    moved = one.page.evaluate(
        f"""async () => {{
          const {{ pan }} = await import("/view.js");
          pan(5, 5);
          return {ratio};
        }}"""
    )
    assert moved == 1
    one.page.wait_for_function(f"() => {ratio} === 2")


@pytest.mark.parametrize(
    ("keys", "next_key", "back"), [("sleap", "ArrowRight", "ArrowLeft"), ("cvat", "f", "d")]
)
def test_keys_of_other_tools(desk: Open, keys: str, next_key: str, back: str) -> None:
    one = desk(keys=keys)
    one.press(next_key)
    one.shown(2)
    one.press(back)
    one.shown(1)
    one.press("o" if keys == "cvat" else "x")
    assert one.points(0) == {"nose": (1,)}
    one.click(20, 20)
    one.press("Alt+ArrowRight" if keys == "sleap" else "ArrowRight")
    one.page.wait_for_timeout(400)
    assert one.points(0)["left ear"] == pytest.approx((3, 21, 20), abs=0.1)


def test_fingers_find_targets_of_44_pixels_and_place_with_a_tap(desk: Open) -> None:
    one = desk(has_touch=True, is_mobile=True, device_scale_factor=2)
    boxes = [button.bounding_box() for button in one.page.locator("button:visible").all()]
    assert len(boxes) > 8
    assert all(box["height"] >= 44 and box["width"] >= 44 for box in boxes)
    one.page.touchscreen.tap(*one.at(10, 12))
    assert one.points(0)["nose"] == pytest.approx((3, 10, 12), abs=0.3)


def test_a_server_that_stops_loses_nothing_that_is_told_saved(browser: Any, tmp_path: Path) -> None:
    """The page says so, and sends the edit when the server is there again."""
    folder = draw_squares(tmp_path / "images", 3)
    (folder / "points.csv").unlink()
    with browser.new_context(viewport={"width": 1000, "height": 700}) as context:
        page = context.new_page()
        with served(folder, Definition(names=NAMES)) as (api, host):
            one = Desk(page, api, folder, f"http://{host}/#token={TOKEN}", [])
            page.goto(one.address)
            one.shown(1)
            one.click(10, 10)
            one.settled()
        one.click(20, 20)
        page.wait_for_function(
            "() => document.getElementById('saved').textContent.startsWith('Not saved')"
        )
        time.sleep(0.1)
    with open_project(folder) as project:
        assert list(project.session.objects(project.images[0])[0].points) == ["nose"]
