"""The demo of spots: drawn cells of two kinds, some of them touching, on an uneven ground."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from placewise.errors import SettingsError
from placewise.files import claim_folder, write_text
from placewise.geometry import FloatArray, Size
from placewise.labels import Dataset
from placewise.metrics import match
from placewise.task import Demo

SIZES: tuple[Size, ...] = ((128, 160), (144, 144), (120, 168))
KINDS = ("ring", "grain")
NEAR = 4.0
"""Pixels within which a found spot is on its cell."""

README = """placewise demo images of spots
==============================

images/   drawn cells: rings and, more rarely, small dark grains, in several sizes
points.csv  where their middles are: one row for each cell

Columns of points.csv:
  image       file, relative to this folder
  split       train, val or test
  keypoint    the kind: ring or grain
  x, y        middle in pixels: x to the right, y down, the centre of the first pixel is 0, 0

A kind without a row on an image is not on it. All cells of an image are labelled.

To train on this folder:  placewise train THIS_FOLDER --out RUN
Your own folder may look just like it; the column split may be left out.
"""


def write_images(folder: Path, *, images: int = 120, seed: int = 0) -> Path:
    """Write images, `points.csv` and a README into a new folder.

    Image number i depends on (seed, i) alone. Of ten images, six are for training and two each for
    validation and test.

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
        ...     print(write_images(Path(folder, "cells"), images=2).read_text()[:40])
        image,split,keypoint,x,y
        images/000.png,...
    """
    if images < 1:
        raise SettingsError(f"cannot write {images} images; ask for at least 1")
    claim_folder(folder, "")
    (folder / "images").mkdir(parents=True)
    rows = ["image,split,keypoint,x,y"]
    for number in range(images):
        pixels, spots = _scene(np.random.default_rng([seed, number]))
        image = f"images/{number:03d}.png"
        Image.fromarray(pixels).save(folder / image)
        split = "train" if number % 10 < 6 else "val" if number % 10 < 8 else "test"
        rows += [f"{image},{split},{kind},{x:.2f},{y:.2f}" for kind, (x, y) in spots]
    write_text(folder / "README.txt", README)
    write_text(folder / "points.csv", "\n".join(rows) + "\n")
    return folder / "points.csv"


def _scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[str, FloatArray]]]:
    """An image and the (x, y) of the cells on it, with their kinds."""
    size = SIZES[rng.integers(len(SIZES))]
    down, across = np.indices(size, dtype=float)
    slope = rng.uniform(-25, 25, 2)
    image = 190 + slope[0] * down / size[0] + slope[1] * across / size[1]
    spots: list[tuple[str, FloatArray]] = []
    for _ in range(rng.integers(6, 22)):
        kind = KINDS[int(rng.random() < 0.35)]
        radius = rng.uniform(7, 10) if kind == "ring" else rng.uniform(3, 4)
        place = rng.uniform(-0.5, np.array(size[::-1]) - 0.5)
        if any(np.hypot(*(place - other)) < radius + 4 for _, other in spots):
            continue
        off = np.hypot(across - place[0], down - place[1]) - radius
        if kind == "ring":
            image -= 70 * np.exp(-((off / 1.8) ** 2)) + 18 * (off < 0)
        else:
            image -= 110 / (1 + np.exp(2 * off))
        spots.append((kind, place))
    noisy = image + rng.normal(0, 7, size)
    return np.rint(noisy).clip(0, 255).astype(np.uint8), spots


def said(predictions: Path, dataset: Dataset[Any]) -> tuple[str, dict[str, float]]:
    """How many cells of the test images are found, as a sentence and as numbers.

    Args:
        predictions: `predictions.csv` of an evaluation.
        dataset: the truth.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    hits = total = 0
    for sample in dataset.samples:
        for number, name in enumerate(dataset.names):
            mine = [r for r in rows if (r["image"], r["keypoint"]) == (sample.image, name)]
            found = np.array([[float(r["x"]), float(r["y"])] for r in mine]).reshape(-1, 2)
            truth = sample.points[sample.located[:, number], number]
            if sample.split == "test":
                hits, total = hits + len(match(truth, found, NEAR)), total + len(truth)
    number_ = len(rows)
    sentence = (
        f"{hits} of {total} cells on the test images are found within {NEAR:g} px; "
        f"{number_ - hits} spots are found where there is none"
    )
    return sentence, {"found": hits / max(1, total), "false": float(number_ - hits)}


DEMO = Demo("images with drawn cells", 120, 1.0, "spots", write_images, said)
