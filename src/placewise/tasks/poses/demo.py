"""The demo of poses: drawn fish that cross each other, each with five keypoints and an identity."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from placewise.files import write_text
from placewise.geometry import FloatArray, Size
from placewise.labels import Dataset
from placewise.made import Demo, Made
from placewise.metrics import assigned, object_areas, oks_matrix
from placewise.tasks._made import begin

NAMES = ("mouth", "fin_left", "fin_right", "back", "tail")
BODY = np.array([[24.0, 0], [6, -9], [6, 9], [-6, 0], [-24, 0]])
"""(x, y) of the keypoints of a fish that swims to the right, in pixels."""

SIZES: tuple[Size, ...] = ((144, 192), (168, 168), (160, 184))
NEAR = 3.0
"""Pixels within which a keypoint is on its fish."""

README = """placewise demo images of poses
==============================

images/   drawn fish, two or three on an image, which may lie over each other
points.csv  where their keypoints are: one row for each keypoint of each fish

Columns of points.csv:
  image       file, relative to this folder
  split       train, val or test
  instance    number of the fish on its image, from 0
  keypoint    mouth, fin_left, fin_right, back, tail
  x, y        in pixels: x to the right, y down, the centre of the first pixel is 0, 0; empty where
              the keypoint is not on the image
  visibility  visible, or absent: not on the image

To train on this folder:  placewise train THIS_FOLDER --out RUN
Your own folder may look just like it; the columns split and visibility may be left out.
"""


def write_images(folder: Path, *, images: int = 160, seed: int = 0) -> Path:
    """Write images, `points.csv` and a README into a new folder.

    Image number i depends on (seed, i) alone. Of ten images, seven are for training, one is for
    validation and two are for test.

    Args:
        folder: new or empty folder.
        images: number of images.
        seed: everything that is drawn follows from it.

    Returns:
        Path of `points.csv`.

    Raises:
        SettingsError: the folder is not empty.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     print(write_images(Path(folder, "fish"), images=1).read_text()[:44])
        image,split,instance,keypoint,x,y,visibility
    """
    begin(folder, images, "images")
    rows = ["image,split,instance,keypoint,x,y,visibility"]
    for number in range(images):
        pixels, fish = _scene(np.random.default_rng([seed, number]))
        image = f"images/{number:03d}.png"
        Image.fromarray(pixels).save(folder / image)
        split = "train" if number % 10 < 7 else "val" if number % 10 < 8 else "test"
        for instance, points in enumerate(fish):
            cells = [_cells(point, pixels.shape[:2]) for point in points]
            start = f"{image},{split},{instance}"
            rows += [f"{start},{name},{cell}" for name, cell in zip(NAMES, cells, strict=True)]
    write_text(folder / "README.txt", README)
    write_text(folder / "points.csv", "\n".join(rows) + "\n")
    return folder / "points.csv"


def _cells(point: FloatArray, size: Size) -> str:
    """The columns x, y and visibility."""
    x, y = point
    inside = -0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5
    return f"{x:.2f},{y:.2f},visible" if inside else ",,absent"


def _scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[FloatArray]]:
    """An image and the (keypoints, 2) of the fish on it."""
    size = SIZES[rng.integers(len(SIZES))]
    down, across = np.indices(size, dtype=float)
    waves = 9 * np.sin(across / rng.uniform(9, 15)) * np.cos(down / rng.uniform(9, 15))
    image = 150 + waves[..., None] + rng.uniform(-12, 12, 3)
    fish: list[FloatArray] = []
    while len(fish) < rng.integers(2, 4):
        middle = rng.uniform(8, np.array(size[::-1]) - 8)
        if any(np.hypot(*(middle - other[3])) < 16 for other in fish):
            continue
        angle = rng.uniform(-np.pi, np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        scale = rng.uniform(0.85, 1.15)
        fish.append(middle + scale * BODY @ turn)
        _draw(image, (across - middle[0], down - middle[1]), turn, scale, rng)
    noisy = image + rng.normal(0, 6, image.shape)
    return np.rint(noisy).clip(0, 255).astype(np.uint8), fish


def _draw(
    image: FloatArray,
    places: tuple[FloatArray, FloatArray],
    turn: FloatArray,
    scale: float,
    rng: np.random.Generator,
) -> None:
    """Paint a fish: a body, two fins, a forked tail, and a bright mouth."""
    x = (places[0] * turn[0, 0] + places[1] * turn[0, 1]) / scale
    y = (places[0] * turn[1, 0] + places[1] * turn[1, 1]) / scale
    body = np.hypot((x - 2) / 22, y / 7) - 1
    fins = np.hypot((x - 5 + 0.5 * np.abs(y)) / 4, y / 10) - 1
    tail = np.maximum(np.maximum(-x - 26, x + 14), np.abs(y) - 1 + (x + 16) * 0.8) / 6
    shape = np.minimum(np.minimum(body, fins), tail)
    ink = rng.uniform(30, 90) + np.array([rng.uniform(-25, 25), 0.0, rng.uniform(-25, 25)])
    cover = (1 / (1 + np.exp(12 * shape)))[..., None]
    image += (ink - image) * cover
    mouth = np.exp(-(((x - 24) ** 2 + y**2) / 8))[..., None]
    image += (235 - image) * mouth


def said(predictions: Path, dataset: Dataset[Any]) -> tuple[str, dict[str, float]]:
    """How many keypoints of the test images are found, as a sentence and as numbers.

    Args:
        predictions: `predictions.csv` of an evaluation.
        dataset: the truth.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    near = total = 0
    for sample in dataset.samples:
        if sample.split != "test":
            continue
        mine = [row for row in rows if row["image"] == sample.image]
        cells = [[float(row[axis] or "nan") for axis in ("x", "y")] for row in mine]
        found = np.array(cells).reshape(-1, len(dataset.names), 2)
        own = assigned(oks_matrix(found, sample.points, object_areas(sample.points))).tolist()
        for number, points in enumerate(sample.points):
            total += int(np.isfinite(points).all(-1).sum())
            if number in own:
                apart = np.linalg.norm(found[own.index(number)] - points, axis=-1)
                near += int((apart <= NEAR).sum())
    sentence = f"{near} of {total} keypoints of the fish on the test images lie within {NEAR:g} px"
    return sentence, {"near": near / max(1, total)}


DEMO = Demo({2: Made("images with drawn fish", 160, 1.0, write_images)}, "poses", said)
