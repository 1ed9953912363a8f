"""The demo: handwritten digits at known places on photographs.

The digits and the photographs come with scikit-learn. Each image shows a few of the ten digits,
some of them cut by the border; the other digits are labelled absent. Training, validation and test
share neither a digit nor a part of a photograph. The folder is also an example of the long CSV
format.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from placewise.errors import SettingsError
from placewise.files import claim_folder, write_text
from placewise.geometry import FloatArray, Size, inside
from placewise.labels import Dataset
from placewise.made import Demo, Made

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES: tuple[Size, ...] = ((80, 128), (88, 120), (96, 128), (97, 113), (104, 136), (104, 112))
NEAR, PRESENT = 3.0, 0.5
"""Pixels within which a keypoint is on its digit, and the least score of a digit that is there."""

LEAST_INK = 0.85
"""Share of a digit's ink that is on the image at least."""

_PATCH = 48
_LIGHT = ((255, 255, 255), (255, 246, 214), (224, 246, 255), (255, 232, 120))
_DARK = ((10, 10, 16), (12, 22, 72), (72, 6, 28), (4, 46, 40))

README = """placewise demo images
=======================

images/   photographs with handwritten digits on them, in several sizes
points.csv  where the digits are: one row for each of the ten keypoints of each image

Columns of points.csv:
  image       file, relative to this folder
  split       train, val or test
  keypoint    zero, one, ... nine
  x, y        centre of gravity of the digit's ink in pixels: x to the right, y down, the centre of
              the first pixel is 0, 0; empty where the digit is absent
  visibility  visible, or absent: this digit is not on this image

Digits may be cut by the border, but the keypoint itself is always on the image. No digit and no
part of a photograph of the test images occurs in the others.

To train on this folder:  placewise train THIS_FOLDER --out RUN
Your own folder may look just like it; the columns split and visibility may be left out.

Digits and photographs: scikit-learn (load_digits, load_sample_images).
"""


@dataclass(frozen=True)
class _Stock:
    """What a split's images are made of.

    Attributes:
        photos: parts of photographs, (height, width, 3) of 0 ... 255.
        digits: for each kind, (count, 8, 8) of ink 0 ... 1.
    """

    photos: list[FloatArray]
    digits: list[FloatArray]


@dataclass(frozen=True)
class _Glyph:
    """A digit as it is drawn.

    Attributes:
        ink: (_PATCH, _PATCH) opacity 0 ... 1.
        centre: (x, y) centre of gravity of the ink, in pixels of the patch. Unlike the middle of
            the box around it, it stays with the digit when the image is turned or sheared.
    """

    ink: FloatArray
    centre: FloatArray


def write_images(folder: Path, *, images: int = 600, seed: int = 0) -> Path:
    """Write images, `points.csv` and a README into a new folder.

    Image number i depends on (seed, i) alone. Of twenty images, fourteen are for training and
    three each for validation and test.

    Args:
        folder: new or empty folder.
        images: number of images.
        seed: everything that is drawn follows from it.

    Returns:
        Path of `points.csv`.

    Raises:
        SettingsError: the folder is not empty, or scikit-learn is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     print(write_images(Path(folder, "digits"), images=2).read_text()[:72])
        image,split,keypoint,x,y,visibility
        images/0000.png,train,zero,...
    """
    if images < 1:
        raise SettingsError(f"cannot write {images} images; ask for at least 1")
    claim_folder(folder, "")
    stocks = _stocks()
    (folder / "images").mkdir(parents=True)
    rows = ["image,split,keypoint,x,y,visibility"]
    for number in range(images):
        split = split_of(number)
        pixels, points = _scene(stocks[split], np.random.default_rng([seed, number]))
        image = f"images/{number:04d}.png"
        Image.fromarray(pixels).save(folder / image)
        rows += [f"{image},{split},{name},{_cells(points.get(name))}" for name in NAMES]
    write_text(folder / "README.txt", README)
    write_text(folder / "points.csv", "\n".join(rows) + "\n")
    return folder / "points.csv"


def within(predictions: Path, dataset: Dataset[Any]) -> tuple[float, float]:
    """Shares of located test points whose keypoint is near, and near and said to be there.

    Args:
        predictions: `predictions.csv` of an evaluation.
        dataset: the truth.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        found = {(row["image"], row["keypoint"]): row for row in csv.DictReader(file)}
    near, said = [], []
    for sample in dataset.samples:
        for name, point, located in zip(
            dataset.names, sample.points[0], sample.located[0], strict=True
        ):
            row = found.get((sample.image, name))
            if row and located:
                off = math.hypot(float(row["x"]) - point[0], float(row["y"]) - point[1])
                near.append(off <= NEAR)
                said.append(off <= NEAR and float(row["score"]) >= PRESENT)
    return sum(near) / max(1, len(near)), sum(said) / max(1, len(said))


def said(predictions: Path, dataset: Dataset[Any]) -> tuple[str, dict[str, float]]:
    """How many digits have their keypoint near, as a sentence and as numbers; see `within`."""
    near, present = within(predictions, dataset)
    sentence = (
        f"{100 * near:.1f} % of the digits on the test images have their keypoint within {NEAR:g} "
        f"px, {100 * present:.1f} % with a score of {PRESENT:g} or more"
    )
    return sentence, {"within_3_px": near, "within_3_px_and_said": present}


def split_of(number: int) -> str:
    """Split of an image by its number.

    Example:
        >>> [split_of(number) for number in (0, 13, 14, 16, 17, 19, 20)]
        ['train', 'train', 'val', 'val', 'test', 'test', 'train']
    """
    return "train" if number % 20 < 14 else "val" if number % 20 < 17 else "test"


def _cells(point: FloatArray | None) -> str:
    """The columns x, y and visibility."""
    return ",,absent" if point is None else f"{point[0]:.2f},{point[1]:.2f},visible"


def _stocks() -> dict[str, _Stock]:
    """What each split's images are made of; no split shares a digit or a part of a photo.

    Digits come ten at a time in the order of the data set, where each ten hold about one of each
    kind: five tens for training, one for validation, one for test, and so on. Of the 640 columns of
    each photograph training has the left 288, validation the next 176 and test the last 176.
    """
    try:
        from sklearn.datasets import load_digits, load_sample_images
    except ImportError as error:
        raise SettingsError(
            "the demo's digits and photographs come with scikit-learn, which is not installed; "
            'run: pip install "placewise[demo]"'
        ) from error
    photos = [photo.astype(np.float64) for photo in load_sample_images().images]
    digits = load_digits()
    ten = np.arange(len(digits.target)) // 10 % 7
    shares = {
        "train": (ten < 5, slice(0, 288)),
        "val": (ten == 5, slice(288, 464)),
        "test": (ten == 6, slice(464, 640)),
    }
    return {
        split: _Stock(
            [photo[:, columns] for photo in photos],
            [digits.images[chosen & (digits.target == kind)] / 16 for kind in range(10)],
        )
        for split, (chosen, columns) in shares.items()
    }


def _scene(
    stock: _Stock, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], dict[str, FloatArray]]:
    """An image and the (x, y) of the digits on it."""
    size = SIZES[rng.integers(len(SIZES))]
    margin = ((_PATCH, _PATCH), (_PATCH, _PATCH))
    canvas = np.pad(_crop(stock, size, rng), (*margin, (0, 0)), mode="edge")
    shown = np.pad(np.ones(size, bool), margin)
    taken = np.zeros(shown.shape, bool)
    points = {}
    for kind in rng.permutation(10)[: rng.integers(3, 7)]:
        glyph = _glyph(stock.digits[kind][rng.integers(len(stock.digits[kind]))], rng)
        corner = _place(glyph, shown, taken, rng)
        if corner is not None:
            window = np.s_[corner[1] : corner[1] + _PATCH, corner[0] : corner[0] + _PATCH]
            _draw(canvas[window], glyph.ink, rng)
            taken[window] |= _box(glyph)
            points[NAMES[kind]] = corner + glyph.centre - _PATCH
    image = canvas[_PATCH:-_PATCH, _PATCH:-_PATCH]
    return np.rint(image).clip(0, 255).astype(np.uint8), points


def _crop(stock: _Stock, size: Size, rng: np.random.Generator) -> FloatArray:
    """A piece of one of the photographs, mirrored or not."""
    photo = stock.photos[rng.integers(len(stock.photos))]
    top, left = (
        rng.integers(full - part + 1) for full, part in zip(photo.shape, size, strict=False)
    )
    crop = photo[top : top + size[0], left : left + size[1]]
    return crop[:, ::-1] if rng.integers(2) else crop


def _glyph(digit: FloatArray, rng: np.random.Generator) -> _Glyph:
    """Enlarge a digit of 8 × 8 to 24 ... 28 px, turn it a little, and make its strokes crisp."""
    scale, angle = rng.uniform(3.0, 3.5), math.radians(rng.uniform(-10, 10))
    across, down = math.cos(angle) / scale, math.sin(angle) / scale
    x, y = _PATCH / 2 + rng.uniform(-0.5, 0.5, 2)  # where the middle of the 8 × 8 goes
    matrix = (across, down, 6 - across * x - down * y, -down, across, 6 + down * x - across * y)
    source = Image.fromarray(np.pad(digit, 2).astype(np.float32))
    grey = source.transform(
        (_PATCH, _PATCH), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    ink = ((np.asarray(grey, np.float64) - 0.3) * 2.5).clip(0, 1)
    places = np.arange(_PATCH)
    return _Glyph(ink, np.array([places @ ink.sum(axis) for axis in (0, 1)]) / ink.sum())


def _place(
    glyph: _Glyph, shown: NDArray[np.bool_], taken: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """A (x, y) corner of the patch where the digit is free and on the image, if one is found."""
    high, wide = shown.shape[0] - 2 * _PATCH, shown.shape[1] - 2 * _PATCH
    box = _box(glyph)
    for _ in range(100):
        corner = np.rint(rng.uniform(0, (wide, high)) - 0.5 - glyph.centre).astype(np.int64)
        if not inside(corner + glyph.centre, (high, wide)):
            continue
        corner += _PATCH
        window = np.s_[corner[1] : corner[1] + _PATCH, corner[0] : corner[0] + _PATCH]
        ink = (glyph.ink * shown[window]).sum() / glyph.ink.sum()
        if ink >= LEAST_INK and not (taken[window] & box).any():
            return corner
    return None


def _box(glyph: _Glyph) -> NDArray[np.bool_]:
    """Box around the ink with two pixels to spare."""
    rows, columns = np.nonzero(glyph.ink)
    box = np.zeros(glyph.ink.shape, bool)
    box[rows.min() - 2 : rows.max() + 3, columns.min() - 2 : columns.max() + 3] = True
    return box


def _draw(canvas: FloatArray, ink: FloatArray, rng: np.random.Generator) -> None:
    """Paint light strokes where the photograph is dark and dark ones where it is light."""
    light = float((canvas.mean(-1) * ink).sum() / ink.sum()) < 128
    paints, ground = (_LIGHT, 0.0) if light else (_DARK, 255.0)
    paint = np.array(paints[rng.integers(len(paints))], np.float64)
    soft = Image.fromarray((ink * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
    halo = np.asarray(soft, np.float64)[..., None] / 255 * 0.75
    canvas += (ground - canvas) * halo
    canvas += (paint - canvas) * ink[..., None]


DEMO = Demo({2: Made("images with handwritten digits", 600, 3.3, write_images)}, "keypoints", said)
