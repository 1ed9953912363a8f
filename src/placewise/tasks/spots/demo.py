"""The demo of spots: drawn cells of two kinds, some of them touching, on an uneven ground.

The same is drawn in recordings and volumes: what is a ring on an image is a pair of dips in a
recording, and a hollow ball in a volume.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.files import write_text
from placewise.geometry import FloatArray, Size
from placewise.labels import Dataset
from placewise.made import Demo, Made
from placewise.metrics import match
from placewise.tasks._made import RATE, begin, save, split_of
from placewise.wording import IMAGES_OF

SIZES: dict[int, tuple[Size, ...]] = {
    1: ((1200,), (1500,), (1350,)),
    2: ((128, 160), (144, 144), (120, 168)),
    3: ((24, 44, 48), (28, 48, 44), (24, 48, 52)),
}
"""Sizes by the number of axes."""

KINDS = {1: ("pair", "dip"), 2: ("ring", "grain"), 3: ("shell", "grain")}
"""What is hollow and what is full, by the number of axes."""

RADII = {1: (7.0, 10.0), 2: (7.0, 10.0), 3: (5.0, 7.0)}
"""Least and greatest radius of what is hollow, in pixels."""

NEAR = 4.0
"""Pixels within which a found spot is on its cell."""

README = {
    1: f"""placewise demo recordings of spots
==================================

recordings/  drawn signals with pairs of shallow dips and, more rarely, single deep dips, in several
             lengths; numpy files (.npz) with the arrays signal and fs, which is the number of
             samples in a second ({RATE})
points.csv   where their middles are: one row for each pair and each single dip

Columns of points.csv:
  recording   file, relative to this folder
  split       train, val or test
  keypoint    the kind: pair or dip
  x           middle in samples; the first sample is 0

A kind without a row on a recording is not in it. All pairs and dips of a recording are labelled.
""",
    2: """placewise demo images of spots
==============================

images/   drawn cells: rings and, more rarely, small dark grains, in several sizes
points.csv  where their middles are: one row for each cell

Columns of points.csv:
  image       file, relative to this folder
  split       train, val or test
  keypoint    the kind: ring or grain
  x, y        middle in pixels: x to the right, y down, the centre of the first pixel is 0, 0

A kind without a row on an image is not on it. All cells of an image are labelled.
""",
    3: """placewise demo volumes of spots
===============================

volumes/  drawn cells: hollow balls (shells) and, more rarely, small full ones (grains), in several
          sizes; numpy files (.npz) with the arrays image (depth, height, width) and spacing_mm
points.csv  where their middles are: one row for each cell

Columns of points.csv:
  volume      file, relative to this folder
  split       train, val or test
  keypoint    the kind: shell or grain
  x, y, z     middle in voxels: along the width, the height and the depth; the centre of the first
              voxel is 0, 0, 0

A kind without a row on a volume is not in it. All cells of a volume are labelled.
""",
}
LAST = """
To train on this folder:  placewise train THIS_FOLDER --out RUN
Your own folder may look just like it; the column split may be left out.
"""


def write_images(folder: Path, *, images: int = 120, seed: int = 0, axes: int = 2) -> Path:
    """Write images, recordings or volumes, `points.csv` and a README into a new folder.

    Number i depends on (seed, i) alone. Of ten, six are for training and two each for validation
    and test.

    Args:
        folder: new or empty folder.
        images: number of images.
        seed: everything that is drawn follows from it.
        axes: 1 for recordings, 2 for images, 3 for volumes.

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
    begin(folder, images, IMAGES_OF[axes])
    rows = [",".join([IMAGES_OF[axes].removesuffix("s"), "split", "keypoint", *"xyz"[:axes]])]
    for number in range(images):
        pixels, spots = _scene(np.random.default_rng([seed, number]), axes)
        image = save(folder, number, pixels)
        for kind, place in spots:
            at = ",".join(f"{one:.2f}" for one in place)
            rows.append(f"{image},{split_of(number)},{kind},{at}")
    write_text(folder / "README.txt", README[axes] + LAST)
    write_text(folder / "points.csv", "\n".join(rows) + "\n")
    return folder / "points.csv"


def _scene(
    rng: np.random.Generator, axes: int
) -> tuple[NDArray[np.uint8], list[tuple[str, FloatArray]]]:
    """An image and the (x, y, …) of the cells on it, with their kinds."""
    size = SIZES[axes][rng.integers(len(SIZES[axes]))]
    places = np.indices(size, dtype=float)
    slope = rng.uniform(-25, 25, axes)
    image = 190 + sum(s * at / side for s, at, side in zip(slope, places, size, strict=True))
    spots: list[tuple[str, FloatArray]] = []
    for _ in range(rng.integers(6, 22)):
        hollow, full = KINDS[axes]
        kind = full if rng.random() < 0.35 else hollow
        radius = rng.uniform(*RADII[axes]) if kind == hollow else rng.uniform(3, 4)
        place = rng.uniform(-0.5, np.array(size[::-1]) - 0.5)
        if any(np.linalg.norm(place - other) < radius + 4 for _, other in spots):
            continue
        apart = places - place[::-1].reshape(-1, *[1] * axes)
        off = np.sqrt((apart**2).sum(0)) - radius
        if kind == hollow:
            image -= 70 * np.exp(-((off / 1.8) ** 2)) + 18 * (off < 0)
        else:
            image -= 110 / (1 + np.exp(2 * off.clip(-9, 9)))
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
        axes = len(sample.size)
        for number, name in enumerate(dataset.names):
            mine = [r for r in rows if (r["image"], r["keypoint"]) == (sample.image, name)]
            at = [[float(row[axis]) for axis in "xyz"[:axes]] for row in mine]
            truth = sample.points[sample.located[:, number], number]
            if sample.split == "test":
                found = np.array(at).reshape(-1, axes)
                hits, total = hits + len(match(truth, found, NEAR)), total + len(truth)
    sentence = (
        f"{hits} of {total} spots on the test images are found within {NEAR:g} px; "
        f"{len(rows) - hits} spots are found where there is none"
    )
    return sentence, {"found": hits / max(1, total), "false": float(len(rows) - hits)}


DEMO = Demo(
    {
        1: Made("recordings with drawn dips", 120, 1.0, partial(write_images, axes=1)),
        2: Made("images with drawn cells", 120, 1.0, write_images),
        3: Made("volumes with drawn cells", 40, 2.0, partial(write_images, axes=3)),
    },
    "spots",
    said,
)
