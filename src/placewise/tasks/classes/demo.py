"""The demo of classes: one drawn shape on each image, anywhere, of any size and turned."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.files import write_text
from placewise.geometry import FloatArray, Size
from placewise.labels import Dataset
from placewise.made import Demo, Made
from placewise.tasks._made import begin, save, split_of

SIZES: tuple[Size, ...] = ((40, 48), (48, 48), (44, 52))
NAMES = ("cross", "disc", "ring", "square", "triangle")
RADII = (8.0, 12.0)
"""Least and greatest distance in pixels of a shape's outline from its middle, about."""

README = """placewise demo images of classes
================================

images/     one drawn shape on each image, anywhere, turned and of several sizes
labels.csv  which shape it is

Columns of labels.csv:
  image  file, relative to this folder
  class  cross, disc, ring, square or triangle
  split  train, val or test

To train on this folder:  placewise train THIS_FOLDER --out RUN
Your own folder may look just like it; the column split may be left out. A folder of images for
each class, named like the class, needs no table.
"""


def write_images(folder: Path, *, images: int = 400, seed: int = 0) -> Path:
    """Write images, `labels.csv` and a README into a new folder.

    Image number i depends on (seed, i) alone. Of ten images, six are for training and two each for
    validation and test.

    Args:
        folder: new or empty folder.
        images: number of images.
        seed: everything that is drawn follows from it.

    Returns:
        Path of `labels.csv`.

    Raises:
        SettingsError: the folder is not empty.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     print(write_images(Path(folder, "shapes"), images=2).read_text()[:30])
        image,class,split
        images/000.p
    """
    begin(folder, images, "images")
    rows = ["image,class,split"]
    for number in range(images):
        pixels, name = _scene(np.random.default_rng([seed, number]))
        rows.append(f"{save(folder, number, pixels)},{name},{split_of(number)}")
    write_text(folder / "README.txt", README)
    write_text(folder / "labels.csv", "\n".join(rows) + "\n")
    return folder / "labels.csv"


def _scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], str]:
    """An image and the name of the shape on it."""
    size = SIZES[rng.integers(len(SIZES))]
    name = NAMES[rng.integers(len(NAMES))]
    down, across = np.indices(size, dtype=float)
    slope = rng.uniform(-30, 30, 2)
    image = 130 + slope[0] * down / size[0] + slope[1] * across / size[1]
    radius, turn = rng.uniform(*RADII), rng.uniform(-np.pi, np.pi)
    place = rng.uniform(radius, np.array(size[::-1]) - radius)
    x, y = across - place[0], down - place[1]
    off = _off(
        name, x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn), radius
    )
    ink = rng.choice([-1, 1]) * rng.uniform(40, 90)
    noisy = image + ink * np.clip(0.5 - off, 0, 1) + rng.normal(0, 9, size)
    return np.rint(noisy).clip(0, 255).astype(np.uint8), name


def _off(name: str, x: FloatArray, y: FloatArray, radius: float) -> FloatArray:
    """(height, width) distance in pixels from the edge of a shape, negative inside, about."""
    if name == "disc":
        return np.asarray(np.hypot(x, y) - 0.9 * radius)
    if name == "ring":
        return np.asarray(np.abs(np.hypot(x, y) - 0.8 * radius) - 0.2 * radius)
    if name == "square":
        return np.asarray(np.maximum(np.abs(x), np.abs(y)) - 0.75 * radius)
    if name == "triangle":
        sides = [x * np.cos(a) + y * np.sin(a) for a in 2 * np.pi / 3 * np.arange(3)]
        return np.asarray(np.maximum.reduce(sides) - 0.55 * radius)
    arms = [np.maximum(np.abs(x) - 0.28 * radius, np.abs(y) - radius) for x, y in ((x, y), (y, x))]
    return np.asarray(np.minimum(*arms))


def said(predictions: Path, dataset: Dataset[Any]) -> tuple[str, dict[str, float]]:
    """How many test images get the right class, as a sentence and as a number.

    Args:
        predictions: `predictions.csv` of an evaluation.
        dataset: the truth.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        given = {row["image"]: row["class"] for row in csv.DictReader(file)}
    test = [sample for sample in dataset.samples if sample.split == "test"]
    right = sum(given.get(one.image) == dataset.names[one.label] for one in test)
    return f"{right} of {len(test)} test images got the right class", {"right": right / len(test)}


DEMO = Demo({2: Made("images with drawn shapes", 400, 1.0, write_images)}, "classes", said)
