"""The demo of masks: drawn threads, one to four pixels wide, on an uneven ground."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from placewise.errors import SettingsError
from placewise.files import claim_folder, write_text
from placewise.geometry import FloatArray, Size
from placewise.labels import Dataset
from placewise.metrics import counted, dice, thin_recall
from placewise.task import Demo
from placewise.tasks.masks.prediction import FOLDER

SIZES: tuple[Size, ...] = ((128, 160), (144, 144), (120, 168))
WIDTHS = (1.2, 4.0)
"""Least and greatest width of a thread in pixels."""

BENDS = 24
"""Straight pieces of a thread."""

README = """placewise demo images of threads
================================

images/   drawn threads, one to four pixels wide, on an uneven ground, in several sizes
masks/    images of the same names: 255 where a thread is, 0 elsewhere
split.csv which image is for training, validation and test

To train on this folder:  placewise train THIS_FOLDER --out RUN
Your own folder may look just like it; split.csv may be left out. A mask has the size of its image.
"""


def write_images(folder: Path, *, images: int = 60, seed: int = 0) -> Path:
    """Write images, masks, `split.csv` and a README into a new folder.

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
        ...     made = write_images(Path(folder, "threads"), images=2)
        ...     sorted(path.name for path in made.iterdir())
        ['README.txt', 'images', 'masks', 'split.csv']
    """
    if images < 1:
        raise SettingsError(f"cannot write {images} images; ask for at least 1")
    claim_folder(folder, "")
    rows = ["image,mask,split"]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(images):
        pixels, mask = _scene(np.random.default_rng([seed, number]))
        name = f"{number:03d}.png"
        Image.fromarray(pixels).save(folder / "images" / name)
        Image.fromarray(mask).save(folder / "masks" / name)
        split = "train" if number % 10 < 6 else "val" if number % 10 < 8 else "test"
        rows.append(f"images/{name},masks/{name},{split}")
    write_text(folder / "README.txt", README)
    write_text(folder / "split.csv", "\n".join(rows) + "\n")
    return folder


def _scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image, and 255 where a thread is."""
    size = SIZES[rng.integers(len(SIZES))]
    down, across = np.indices(size, dtype=float)
    slope, wave = rng.uniform(-40, 40, 2), rng.uniform(20, 60)
    image = 150 + slope[0] * down / size[0] + slope[1] * across / size[1]
    image += 10 * np.sin(across / wave + rng.uniform(0, 6)) * np.cos(down / wave)
    mask = np.zeros(size, np.uint8)
    for _ in range(rng.integers(4, 9)):
        width, dark = rng.uniform(*WIDTHS), rng.uniform(35, 70)
        away = _distance(_thread(size, rng), across, down) - width / 2
        image -= dark * np.clip(0.5 - away, 0, 1)
        mask[away <= 0] = 255
    noisy = image + rng.normal(0, 9, size)
    return np.rint(noisy).clip(0, 255).astype(np.uint8), mask


def _thread(size: Size, rng: np.random.Generator) -> FloatArray:
    """(bends, 2) corners (x, y) of a smooth line through the image."""
    ends = rng.uniform(-10, np.array(size[::-1]) + 10, (4, 2))
    t = np.linspace(0, 1, BENDS)[:, None]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)  # a Bézier curve
    return np.asarray(sum(w * end for w, end in zip(weights, ends, strict=True)))


def _distance(line: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """(height, width) distance in pixels from the nearest point of a line."""
    found = np.full(x.shape, np.inf)
    for (x0, y0), (x1, y1) in pairwise(line):
        along = np.array([x1 - x0, y1 - y0])
        length = max(float(along @ along), 1e-12)
        share = (((x - x0) * along[0] + (y - y0) * along[1]) / length).clip(0, 1)
        found = np.minimum(found, np.hypot(x - x0 - share * along[0], y - y0 - share * along[1]))
    return found


def said(predictions: Path, dataset: Dataset[Any]) -> tuple[str, dict[str, float]]:
    """How well the threads of the test images are covered, as a sentence and as numbers.

    Args:
        predictions: `predictions.csv` of an evaluation, with its masks beside it.
        dataset: the truth.
    """
    total = None
    for sample in dataset.samples:
        if sample.split != "test":
            continue
        with Image.open(predictions.parent / FOLDER / sample.image) as image:
            found = np.asarray(image) > 0
        fit = counted(dataset.mask(sample) > 0, found)  # type: ignore[attr-defined]
        total = fit if total is None else total + fit
    numbers = {"dice": 0.0, "thin": 0.0}
    if total is not None:
        numbers = {"dice": dice(total) or 0.0, "thin": thin_recall(total, 2) or 0.0}
    sentence = (
        f"Dice of the threads on the test images {numbers['dice']:.2f}; of the middle lines of "
        f"threads up to 2 px wide {100 * numbers['thin']:.0f} % are found"
    )
    return sentence, numbers


DEMO = Demo("images with drawn threads", 60, 1.5, "masks", write_images, said)
