"""The labelling page when things go wrong: servers that die, images that vanish, long names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import test_labelling_page as page_tests
from conftest import draw_squares
from placewise.errors import CheckpointError
from placewise.labelling.objects import Definition
from placewise.labelling.project import open_project
from placewise.labelling.server import bound
from test_labelling_page import NAMES, TOKEN, Desk, Open, Suggests, served

browser, desk = page_tests.browser, page_tests.desk


@contextmanager
def troubled(browser: Any, tmp_path: Path, suggester: Any = None, **how: Any) -> Iterator[Desk]:
    """The page on four images, in whose console errors may appear."""
    folder = draw_squares(tmp_path / "images", 4)
    (folder / "points.csv").unlink()
    definition = Definition(names=NAMES, **how)
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        with served(folder, definition, suggester) as (api, host):
            made = Desk(page, api, folder, f"http://{host}/#token={TOKEN}", [])
            page.goto(made.address)
            made.shown(1)
            yield made


def told(page: Any, text: str, where: str = "message") -> None:
    """Wait until a line holds some words."""
    page.wait_for_function(
        "([id, text]) => document.getElementById(id).textContent.includes(text)", arg=[where, text]
    )


COMMAND = [sys.executable, "-m", "placewise", "label", "--no-browser", "--keypoints", "nose,tail"]


@contextmanager
def process(folder: Path, port: int) -> Iterator[None]:
    """`placewise label` as a process of its own, which is killed at the end."""
    words = [*COMMAND, "--order", "name", "--port", str(port), "--token", TOKEN, str(folder)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        try:
            assert any("page: http" in line for line in server.stderr)
            yield
        finally:
            server.kill()


def test_edits_that_wait_for_a_killed_server_are_sent_to_the_next_one(
    browser: Any, tmp_path: Path
) -> None:
    folder = draw_squares(tmp_path / "images", 3)
    (folder / "points.csv").unlink()
    other = draw_squares(tmp_path / "other", 3)
    (other / "points.csv").unlink()
    with bound("127.0.0.1", 0, None) as free:
        port = free.getsockname()[1]
    with browser.new_context(viewport={"width": 1000, "height": 700}) as context:
        page = context.new_page()
        one = Desk(page, None, folder, f"http://127.0.0.1:{port}/#token={TOKEN}", [])
        with process(folder, port):
            page.goto(one.address)
            one.shown(1)
        one.click(20, 20)
        told(page, "Not saved", "saved")
        with process(other, port):
            told(page, "1 edit is not saved: another server answers now")
            assert "Not saved" in page.locator("#saved").text_content()
        with process(folder, port):
            told(page, "Saved", "saved")
            assert page.locator("#message").is_hidden()
            assert "placed" in page.locator("#keypoints").text_content()
    with open_project(folder) as project:
        assert list(project.session.objects(project.images[0])[0].points) == ["nose"]


def test_a_question_mark_opens_the_keys(desk: Open) -> None:
    one = desk()
    one.press("?")
    assert one.page.locator("#dialogTitle").text_content() == "Keys"
    assert "Show all keys" in one.page.locator("#dialog").text_content()


def test_suggestions_that_are_all_unsure_stay_and_are_told(desk: Open) -> None:
    suggests = Suggests()
    points = {name: [8.0 + 10 * i, 10.0, 0.2, 2.0] for i, name in enumerate(NAMES)}
    suggests.of = lambda *_: ({"objects": [{"points": points}], "hills": {}}, True)
    one = desk(suggester=suggests)
    one.page.wait_for_function(
        "() => document.getElementById('keypoints').textContent.includes('perhaps absent')"
    )
    one.press("Space")
    told(one.page, "Nothing accepted: 4 suggestions are not sure")
    told(one.page, "Nothing accepted", "live")
    one.shown(1)
    assert one.points(0) == {}


def test_messages_go_when_the_trouble_is_over(browser: Any, tmp_path: Path) -> None:
    with troubled(browser, tmp_path) as one:
        gone = one.folder / one.api.project.images[1]
        gone.rename(tmp_path / "aside.png")
        one.page.reload()  # the page has read it ahead
        one.shown(1)
        one.press("d")
        told(one.page, "is not there any more")
        told(one.page, "3 left", "done")
        one.press("d")
        one.shown(3)
        assert one.page.locator("#message").is_hidden()
        journal = one.api.project.session._journal
        append = journal.append

        def full(line: Any) -> None:
            raise CheckpointError("the disk is full")

        journal.append = full
        one.click(20, 20)
        told(one.page, "the disk is full")
        one.settled()
        there = "import('/view.js').then(({ view }) => view.hover)"
        one.page.mouse.move(*one.at(21, 20))
        assert one.page.evaluate(there) is None, "the keypoint was taken back, and its name tag"
        journal.append = append
        one.click(20, 20)
        one.settled()
        assert one.page.locator("#message").is_hidden()


def test_an_image_that_is_replaced_by_another_size_is_shown_anew(
    browser: Any, tmp_path: Path
) -> None:
    with troubled(browser, tmp_path) as one:
        name = one.api.project.images[0]
        Image.new("L", (30, 20)).save(one.folder / name)
        one.click(20, 20)
        told(one.page, "replaced by an image of 30 × 20 pixels")
        one.settled()
        assert one.points(0) == {}
        one.click(29, 19)
        assert one.points(0)["nose"] == pytest.approx((3, 29, 19), abs=0.1)


@pytest.mark.parametrize("width", [1280, 2560])
def test_long_names_push_nothing_out_of_sight(browser: Any, tmp_path: Path, width: int) -> None:
    names = (*(f"a very long keypoint {i:04d}" for i in range(16)), "q" * 255)
    with troubled(browser, tmp_path) as one:
        one.api.project.session.define(Definition(names=names, skeleton=tuple(pairwise(names))))
        one.page.set_viewport_size({"width": width, "height": width * 5 // 8})
        one.page.reload()
        one.shown(1)
        one.page.click("#define")
        outside = one.page.evaluate(
            """() => {
              const box = document.getElementById("keypointsDialog").getBoundingClientRect();
              const all = [...document.querySelectorAll("dialog :is(button, select, input)")];
              return [all.length, all.filter((one) =>
                one.getBoundingClientRect().right > box.right - 16).map((one) => one.textContent)];
            }"""
        )
        assert outside[0] > 60 and outside[1] == []


def test_keypoints_with_capital_names_are_placed_without_a_message(desk: Open) -> None:
    one = desk(("Nose", "Tail"))
    one.click(20, 20)
    told(one.page, "Nose placed", "live")
    assert one.page.locator("#message").is_hidden(), "what is for screen readers alone"


def test_a_training_says_how_many_images_it_learns_from(desk: Open) -> None:
    one = desk(("white", "red"), objects="many")
    one.click(20, 20)
    one.press("d")
    one.shown(2)
    one.page.locator("#train").click()
    assert "the image that is labelled, also in part" in one.page.locator("#dialog").text_content()
