"""The demo of objects: drawn nuclei, many of them touching, under an uneven light."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from placewise.files import write_text
from placewise.geometry import Size
from placewise.labels import Dataset
from placewise.made import Demo, Made
from placewise.tasks._made import begin, save, split_of

SIZES: tuple[Size, ...] = ((128, 160), (144, 144), (120, 168))

LEAST = 30
"""Pixels of a nucleus that are seen at least."""

README = """placewise demo images of objects
================================

images/     drawn nuclei, many of them touching, in several sizes
instances/  for each image one of the same name, of 16 bits: 0 is background, and each other number
            is one nucleus
split.csv   image, its instances, and the split: train, val or test

To train on this folder:  placewise train THIS_FOLDER --out RUN
Your own folder may look just like it; split.csv may be left out.
"""


def write_images(folder: Path, *, images: int = 100, seed: int = 0) -> Path:
    """Write images, their label maps, `split.csv` and a README into a new folder.

    Image number i depends on (seed, i) alone. Of ten images, six are for training and two each for
    validation and test.

    Args:
        folder: new or empty folder.
        images: number of images.
        seed: everything that is drawn follows from it.

    Returns:
        The folder.

    Raises:
        SettingsError: the folder is not empty.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     print(sorted(p.name for p in write_images(Path(folder, "a"), images=2).iterdir()))
        ['README.txt', 'images', 'instances', 'split.csv']
    """
    begin(folder, images, "images", "instances")
    rows = ["image,instances,split"]
    for number in range(images):
        pixels, labels = _scene(np.random.default_rng([seed, number]))
        image = save(folder, number, pixels)
        objects = image.replace("images", "instances")
        Image.fromarray(labels).save(folder / objects)
        rows.append(f"{image},{objects},{split_of(number)}")
    write_text(folder / "README.txt", README)
    write_text(folder / "split.csv", "\n".join(rows) + "\n")
    return folder


def _scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """An image and its label map; a nucleus lies beside or below those that are there already."""
    size = SIZES[rng.integers(len(SIZES))]
    down, across = np.indices(size, dtype=float)
    image, labels = np.full(size, 22.0), np.zeros(size, np.uint16)
    near = rng.uniform(0, size[::-1])
    for _ in range(rng.integers(6, 26)):
        alone = rng.random() < 0.5
        place = rng.uniform(0, size[::-1]) if alone else near + rng.uniform(-20, 20, 2)
        long, turn = rng.uniform(6, 11), rng.uniform(0, np.pi)
        x, y = across - place[0], down - place[1]
        along, beside = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        away = (along / long) ** 2 + (beside / (long * rng.uniform(0.6, 1.0))) ** 2
        own = (away < 1) & (labels == 0)
        if own.sum() < LEAST:
            continue
        near = place
        labels[own] = labels.max() + 1
        image[own] += rng.uniform(50, 170) * (1 - 0.35 * away[own])
    light = 1 + rng.uniform(-0.25, 0.25) * (across / size[1] - 0.5)
    noisy = image * light + rng.normal(0, 6, size)
    return np.rint(noisy).clip(0, 255).astype(np.uint8), labels


def said(predictions: Path, dataset: Dataset[Any]) -> tuple[str, dict[str, float]]:
    """How many nuclei of the test images are counted, as a sentence and as numbers.

    Args:
        predictions: `predictions.csv` of a prediction.
        dataset: the truth.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = [row["image"].rsplit("/", 1)[-1] for row in csv.DictReader(file)]
    off, total = [], 0
    for sample in dataset.samples:
        if sample.split == "test":
            _, kinds = dataset.instances(sample)  # type: ignore[attr-defined]
            total += len(kinds)
            off.append(abs(rows.count(sample.image.rsplit("/", 1)[-1]) - len(kinds)))
    mean = sum(off) / max(1, len(off))
    sentence = (
        f"{total} nuclei lie on the {len(off)} test images, and {len(rows)} were found; the number "
        f"on an image is off by {mean:.1f} on average"
    )
    return sentence, {"counting_mae": mean, "found": float(len(rows))}


DEMO = Demo({2: Made("images with drawn nuclei", 100, 1.0, write_images)}, "nuclei", said)
