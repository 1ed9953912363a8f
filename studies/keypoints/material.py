"""The data sets of the study: all images of a set scaled alike, and fewer of them to learn from.

Heads that read maps may learn from windows at a finer scale, others must see whole images. So
that all see the same, images are scaled here, once, and every head gets them whole.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from placewise.errors import SettingsError
from placewise.formats import read_dataset, write_dataset
from placewise.geometry import FloatArray, ratio_of, rescale
from placewise.images import resize
from placewise.labels import KeypointDataset, KeypointSample, of_split, split_images
from placewise.metrics import mean_position_baseline
from placewise.model import scaled_size
from placewise.tasks.keypoints.demo import write_images
from studies._material import missing_files

DIGITS = "digits"
MICE = ("openfield_mouse", "mirror_mouse")

SPLIT_SEED = 0
"""Draws the validation images of sets that name none: the same at each size."""


def missing(data: Path | None) -> str:
    """Why the mice cannot be used; empty if they can."""
    return missing_files(data, [f"{name}/points.csv" for name in MICE])


def original(name: str, data: Path | None, folder: Path, images: int, seed: int) -> KeypointDataset:
    """A data set as it is; the digits are drawn where they are not yet.

    Args:
        name: `DIGITS`, or one of `MICE`.
        data: folder of data sets.
        folder: for the digits.
        images: how many images with digits.
        seed: of the digits.
    """
    if data is not None and name != DIGITS:
        return points_of(data / name / "points.csv")
    place = folder / DIGITS
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            write_images(Path(work, DIGITS), images=images, seed=seed)
            Path(work, DIGITS).rename(place)
    return points_of(place / "points.csv")


def points_of(file: Path) -> KeypointDataset:
    """Labels of points.

    Raises:
        SettingsError: the file holds labels of another kind.
    """
    labels = read_dataset(file)
    if not isinstance(labels, KeypointDataset):
        raise SettingsError(f"{file} holds {labels.what}; the study needs points on images")
    return labels


def longest(labels: KeypointDataset) -> int:
    """Longest side of all images, in pixels."""
    return max(max(sample.size) for sample in labels.samples)


def scaled(labels: KeypointDataset, side: int, folder: Path) -> Path:
    """A copy of a data set, all images scaled by one factor, never enlarged.

    Args:
        labels: the data set.
        side: longest side of the largest image afterwards, in pixels.
        folder: gets `images/` and `points.csv`, which is written last and so says that the rest
            is there.

    Returns:
        Path of `points.csv`, in which every image has a split.
    """
    file = folder / "points.csv"
    if file.is_file():
        return file
    (folder / "images").mkdir(parents=True, exist_ok=True)
    factor = min(1.0, side / longest(labels))
    samples = []
    for number, (sample, split) in enumerate(
        zip(labels.samples, split_images(labels, SPLIT_SEED), strict=True)
    ):
        size = scaled_size(sample.size, factor)
        pixels = resize(labels.image(sample.image), size)
        image = f"images/{number:04d}.png"
        Image.fromarray(np.squeeze(pixels, -1) if pixels.shape[2] == 1 else pixels).save(
            folder / image
        )
        points = rescale(sample.points, ratio_of(sample.size, size))
        samples.append(KeypointSample(image, size, points, sample.visibility, split))
    copy = replace(labels, root=folder, samples=tuple(samples), skeleton=(), source=None)
    write_dataset(copy, file, overwrite=True)
    return file


def fewer(file: Path, count: int, seed: int) -> Path:
    """The same labels with fewer training images, beside the file.

    The few are among the many: see `nested`.

    Args:
        file: labels in which every image has a split.
        count: training images that are kept.
        seed: of the order in which they are taken.
    """
    place = file.with_name(f"points-{count}.csv")
    if not place.is_file():
        labels = points_of(file)
        kept = {sample.image for sample in nested(part(labels, "train"), seed)[:count]}
        samples = [s for s in labels.samples if s.split != "train" or s.image in kept]
        write_dataset(replace(labels, samples=tuple(samples)), place, overwrite=True)
    return place


def nested(samples: tuple[KeypointSample, ...], seed: int) -> list[KeypointSample]:
    """Samples in a random order of which any beginning has its share of each size of image.

    So the frame that a head is tied to is the same for few images as for many.

    Example:
        >>> none = np.full((1, 1, 2), np.nan), np.zeros((1, 1), np.int8)
        >>> samples = [KeypointSample(f"{i}", (8, 8 + i % 2), *none) for i in range(8)]
        >>> sorted(sample.size[1] for sample in nested(tuple(samples), 0)[:4])
        [8, 8, 9, 9]
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    shuffled = [samples[i] for i in order]
    sizes = [sample.size for sample in shuffled]
    shares = [(sizes[:i].count(size) + 0.5) / sizes.count(size) for i, size in enumerate(sizes)]
    return [shuffled[i] for i in np.argsort(shares, kind="stable")]


def part(labels: KeypointDataset, split: str) -> tuple[KeypointSample, ...]:
    """The samples of a split."""
    return of_split(labels, [sample.split or "" for sample in labels.samples], split)


def truth_of(samples: tuple[KeypointSample, ...]) -> tuple[FloatArray, FloatArray]:
    """(images, points, 2) places, NaN where not located, and (images, 2) sizes."""
    sizes = np.array([sample.size for sample in samples], np.float64)
    return np.stack([sample.points[0] for sample in samples]), sizes


def baseline(labels: KeypointDataset) -> float:
    """Mean error in pixels of always answering a point's mean place on the training images."""
    found = mean_position_baseline(
        *truth_of(part(labels, "train")), *truth_of(part(labels, "test"))
    )
    return float("nan") if found is None else found
