"""The screenshots of docs/label.md and docs/guide.md, in a real browser.

    python benchmarks/label_figures.py [--run RUN] [--keep FOLDER]

Draws frames with a mouse, labels the first 20, trains on them (a few minutes on two cores; `--run`
takes a former run), and takes pictures of the page. Needs the extra `label`, playwright and Chromium.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Page, sync_playwright

import placewise as pw
from labelling import labelled, settled
from placewise.labelling.objects import Definition, read_objects
from placewise.labelling.project import open_project

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
NAMES = ("nose", "left ear", "right ear", "tail base")
SKELETON = (
    ("nose", "left ear"),
    ("nose", "right ear"),
    ("left ear", "tail base"),
    ("right ear", "tail base"),
)
COUNT, BEGUN, STEPS = 60, 20, 220


def frame(rng: np.random.Generator) -> tuple[Image.Image, dict[str, list[float]]]:
    """A dark mouse in a light box, 640 × 480, and where its keypoints are."""
    shade = np.linspace(196, 214, 640)[None] + rng.normal(0, 4, (480, 640))
    image = Image.fromarray(shade.clip(0, 255).astype(np.uint8)).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.rectangle((24, 20, 616, 460), outline=(120, 124, 128), width=7)
    x, y, turn = rng.uniform(160, 480), rng.uniform(140, 340), rng.uniform(0, 2 * math.pi)
    bend = rng.uniform(-0.5, 0.5)

    def at(along: float, across: float, extra: float = 0.0) -> tuple[float, float]:
        c, s = math.cos(turn + extra), math.sin(turn + extra)
        return x + along * c - across * s, y + along * s + across * c

    def blob(place: tuple[float, float], r: float, colour: tuple[int, int, int]) -> None:
        draw.ellipse((place[0] - r, place[1] - r, place[0] + r, place[1] + r), fill=colour)

    fur = (52, 46, 44)
    tail = [at(-58 - 5 * i, 9 * math.sin(i / 5 + bend * 4)) for i in range(24)]
    draw.line(tail, fill=(112, 92, 88), width=5, joint="curve")
    for along in range(-54, 30, 3):
        blob(at(along, 0), 15 + 15 * math.sin((along + 66) / 100 * math.pi), fur)
    for along in range(26, 66, 2):
        blob(at(along, 0, bend * 0.3), 19 - (along - 26) * 0.38, fur)
    ears = [at(36, side, bend * 0.3) for side in (-17, 17)]
    for ear in ears:
        blob(ear, 9, (96, 84, 80))
    nose = at(67, 0, bend * 0.3)
    blob(nose, 4, (150, 108, 104))
    places = dict(zip(NAMES, (nose, *ears, at(-56, 0)), strict=True))
    soft = image.filter(ImageFilter.GaussianBlur(1.2))
    return soft, {name: [3, round(px, 2), round(py, 2)] for name, (px, py) in places.items()}


def folder_of(home: Path) -> tuple[Path, dict[str, dict[str, list[float]]]]:
    """Frames of a box, and their truth."""
    folder, truth = home / "mouse", {}
    folder.mkdir()
    for number in range(COUNT):
        image, truth[f"img{number:03d}.png"] = frame(np.random.default_rng(number))
        image.save(folder / f"img{number:03d}.png")
    return folder, truth


def picture(page: Page, name: str) -> None:
    page.wait_for_timeout(500)
    page.screenshot(path=FIGURES / f"label_{name}.png")


def click(page: Page, place: list[float]) -> None:
    x, y = page.evaluate(
        """([x, y]) => import("/view.js").then(({ toView }) => {
          const box = document.getElementById("canvas").getBoundingClientRect();
          const at = toView(x, y);
          return [box.left + at[0], box.top + at[1]];
        })""",
        place[1:],
    )
    page.mouse.click(x, y)


def begin(page: Page, folder: Path, truth: dict[str, dict[str, list[float]]]) -> None:
    """The start screen, and an image on which two keypoints are placed."""
    with labelled(folder, "--order", "name") as (address, _):
        page.goto(address)
        page.wait_for_selector("#names:focus")
        page.keyboard.type(", ".join(NAMES))
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Join in order").click()
        picture(page, "start")
        page.click("#save")
        page.wait_for_selector("#place:not(:empty)")
        settled(page)
        for name in NAMES[:2]:
            click(page, truth["img000.png"][name])
        settled(page)
        page.mouse.move(640, 40)
        picture(page, "place")


def suggested(page: Page, folder: Path, run: Path) -> None:
    """An image with suggestions."""
    with labelled(folder, "--order", "name", "--run", str(run)) as (address, _):
        page.goto(address)
        page.wait_for_function(
            "() => document.getElementById('keypoints').textContent.includes('suggested')",
            timeout=300_000,
        )
        page.mouse.move(640, 40)
        picture(page, "suggest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--keep", type=Path, help="folder in which frames and run stay")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as started:
        home = given.keep or Path(temporary)
        home.mkdir(exist_ok=True)
        folder, truth = folder_of(home)
        browser = started.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        begin(page, folder, truth)
        definition = Definition(names=NAMES, skeleton=SKELETON, symmetry=(NAMES[1:3],))
        with open_project(folder) as project:
            project.session.define(definition)
            for image in project.images[:BEGUN]:
                project.session.edit(image, read_objects([{"points": truth[image]}]))
            project.save()
        run = given.run or home / "run"
        if given.run is None:
            pw.train(pw.read_dataset(folder), run, max_steps=STEPS, backbone_settings={"width": 48})
        suggested(page, folder, run)
        browser.close()


if __name__ == "__main__":
    main()
