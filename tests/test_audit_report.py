"""The report of an audit: all that was found is on it, legible, harmless and small."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from io import BytesIO
from itertools import cycle
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from placewise.auditing import Audit, _measured, audit
from placewise.auditing._drawings import NAMES
from placewise.auditing._page import audit_page
from placewise.report import canvas, layers, maps
from placewise.report.drawing import to_png
from placewise.report.style import DARK, LIGHT

RUN = "<script>window.ran=1</script><img src=http://127.0.0.1:9/x.png onerror=window.ran=1>"


def net(dimensions: int, channels: int) -> nn.Module:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[dimensions - 1]
    torch.manual_seed(0)
    body = [conv(channels, 4, 5, 2, 2), nn.ReLU(), conv(4, 4, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*body, pool(1), nn.Flatten(), nn.Linear(4, 3))


class Outside(nn.Module):
    """Leaves torch, so that it cannot be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.layer(x).detach().numpy().mean((2, 3)))


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Few images."""
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("MANY", 4), ("FEW", 2)):
            patch.setattr(_measured, name, count)
        yield


@pytest.fixture(scope="module")
def quick(few: None) -> Iterator[None]:
    """Few images, and figures of one keypoint."""
    pixel = to_png(np.zeros((1, 1, 3), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        for module in (maps, layers):
            patch.setattr(module, "png", lambda figure: pixel)
        yield


@pytest.fixture
def small(few: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, and figures of few keypoints."""
    monkeypatch.setattr(canvas, "DPI", 40)
    for module in (maps, layers):
        monkeypatch.setattr(module, "png", canvas.png)


@pytest.fixture(scope="module")
def found(quick: None) -> Audit:
    return audit(net(2, 3), (3, 32, 32), name=f"my {RUN} net", notes=[f"Note {RUN}"])


@pytest.fixture(scope="module")
def page(found: Audit) -> str:
    return audit_page(found)


class Tags(HTMLParser):
    """Elements, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.shown = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        links = {"src", "srcset", "href", "action", "data", "background", "poster"}
        self.links += [value or "" for name, value in attrs if name in links]
        self.alts += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        self.shown += data


def image(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: str) -> int:
    """How many pixels have about this colour."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - rgb).max(-1) < 12).sum())


# --- the page ----------------------------------------------------------------------------------


def test_a_page_begins_with_the_verdict_and_asks_for_nothing(found: Audit, page: str) -> None:
    tags = Tags(page)
    assert page.index(f"<h1>{found.verdict}</h1>") < page.index("<body>") + 60
    assert tags.links and all(link.startswith("data:") for link in tags.links)
    assert "Content-Security-Policy" in page and "default-src" in page
    assert "<script" not in page.lower() and "script" not in tags.opened
    assert tags.shown.count(RUN) >= 3, "the name and the note are shown as they are"
    for tag in set(tags.opened) - {"br", "img", "link", "meta", "source"}:
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_a_page_shows_every_figure_once_with_its_words(found: Audit, page: str) -> None:
    tags = Tags(page)
    assert set(found.drawings) == set(NAMES)
    assert tags.opened.count("img") == tags.opened.count("source") == len(NAMES)
    for drawing in found.drawings.values():
        assert tags.shown.count(drawing.caption) == 1, drawing.name
        assert drawing.alt in tags.alts and len(drawing.caption) > 80
    assert len(set(tags.alts)) == len(NAMES)


def test_a_page_names_what_is_misaligned_and_what_the_layers_are(found: Audit, page: str) -> None:
    shown = Tags(page).shown
    assert "32 is not stride-aligned; 33 was tried on the network, and is." in shown
    assert "Table of 2 layers" in shown
    assert all(left.layer in shown for left in found.counted.alignment.misaligned)
    assert "receptive field" in shown and "border swap" not in shown


def test_a_page_without_measurements_is_whole(quick: None) -> None:
    found = audit(net(2, 3), (3, 32, 32), measure=False)
    page = audit_page(found)
    assert Tags(page).opened.count("img") == len(found.drawings) == 6
    assert "What the output depends on" not in page


def test_a_page_of_what_could_not_be_followed(quick: None) -> None:
    found = audit(Outside(), (3, 16, 16))
    page = audit_page(found)
    assert "Why the network could not be followed" in page and found.verdict in page
    assert Tags(page).opened.count("img") == len(found.drawings) >= 5
    assert "Which sizes are stride-aligned" not in page


def test_what_was_not_measured_is_said(quick: None) -> None:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    page = audit_page(audit(net(2, 3), (3, 32, 32), images=images))
    assert "Not measured: border swap: " in Tags(page).shown


@pytest.mark.slow
def test_a_page_is_at_most_3_mb(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (maps, layers):
        monkeypatch.setattr(module, "png", canvas.png)
    deep = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(60)]
    found = audit(nn.Sequential(nn.Conv2d(3, 3, 7, 2, 3), *deep), (3, 448, 448))
    assert len(audit_page(found).encode()) < 3_000_000


# --- figures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("axes", "shape"), [(1, (1, 64)), (3, (1, 12, 14, 16))])
def test_every_figure_of_signals_and_volumes_can_be_drawn(
    small: None, axes: int, shape: tuple[int, ...]
) -> None:
    found = audit(net(axes, 1), shape)
    assert len(found.drawings) >= 12
    for drawing, theme in zip(found.drawings.values(), cycle([LIGHT, DARK]), strict=False):
        drawn = image(drawing.draw(theme))
        assert min(drawn.shape[:2]) > 40 and near(drawn, theme.paper) > 100
        assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 8, drawing.name


def test_unseen_pixels_have_a_colour_of_their_own(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "DPI", 80)
    shares = np.linspace(0.01, 1, 400).reshape(20, 20)
    blind = shares.copy()
    blind[:, 19] = 0
    assert near(image(maps.path_map(shares, LIGHT)), LIGHT.second) == 0
    column = near(image(maps.path_map(blind, LIGHT)), LIGHT.second)
    assert near(image(maps.path_map(np.where(blind > 0, 0, 1.0), LIGHT)), LIGHT.second) > column
    assert column > 100


def test_a_darker_corner_is_drawn_darker(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A square map lies as it lies: the first row on top, the first column on the left."""
    monkeypatch.setattr(canvas, "DPI", 80)
    shares = np.ones((9, 9))
    shares[:4, :4] = 0.01
    drawn = image(maps.path_map(shares, DARK)).astype(float)
    yellow = near(drawn[: len(drawn) // 3, : drawn.shape[1] // 3].astype(int), "#fde725")
    assert yellow < near(drawn[: len(drawn) // 3, drawn.shape[1] // 2 :].astype(int), "#fde725")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: maps.path_map(np.zeros((4, 5))),
        lambda: maps.path_map(np.ones((1, 7))),
        lambda: maps.path_map([1e-60, 1.0, 0.0]),
        lambda: maps.path_map(np.ones((2, 2, 2))),
        lambda: maps.depth_maps([("a $x^2", [[1.0]]), ("b\nc", [[0.5, 1.0]])]),
        lambda: maps.beside([("a", [[np.nan, 1.0]]), ("b", [[0.0, 0.0]])], "c"),
        lambda: maps.share_map([[0.0]], "x"),
        lambda: maps.share_map([0.1, 0.5], "x"),
        lambda: maps.field_map(np.zeros((5, 5)), 3.0),
        lambda: maps.field_map(np.ones(9), 3.0),
        lambda: maps.grid_map([1.0, 2.0], [[0, 4]], "x", "y"),
        lambda: layers.depth_curves([], [("a", [])], "x"),
        lambda: layers.depth_curves(["a", "b"], [("c", [np.inf, np.nan])], "x"),
        lambda: layers.sizes_chart([(5, 0)]),
        lambda: layers.border_curves([("", [0.0])], "x"),
        lambda: layers.border_curves([(f"layer{i}", np.ones(600)) for i in range(9)], "x"),
        lambda: layers.probe_bars([{"layer": "a" * 90, "read": -3.0, "image": None}]),
    ],
)
def test_figures_of_odd_things_are_drawn(small: None, draw: Callable[[], bytes]) -> None:
    assert image(draw()).size > 0


# --- a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, if this machine has one."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = which("chromium") or which("chromium-browser") or which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: install it to test pages in a browser")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_the_page_at_any_width(
    browser: Any, page: str, found: Audit, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    tab = context.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(file.as_uri())
    tab.wait_for_timeout(150)
    assert [url for url in asked if not url.startswith(("data:", file.as_uri()))] == []
    assert tab.evaluate("window.ran") is None
    assert tab.inner_text("h1") == found.verdict
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].filter(i => !i.naturalWidth).length") == 0
    folded = tab.locator("details").first
    assert not folded.locator("table").is_visible()
    folded.locator("summary").click()
    assert folded.locator("table").is_visible()
    context.close()


def test_a_logarithmic_axis_has_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "png", lambda figure: figure)
    figure: Any = layers.depth_curves(["a", "b"], [("corner", [3.2, 52.0])], "best over")
    figure.canvas.draw()
    said = [label.get_text() for label in figure.axes[0].get_yticklabels(which="both")]
    assert {"5", "10", "20"} <= set(said)
    assert not any("times" in word for word in said)
