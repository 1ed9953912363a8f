"""The data sets of the study: all pictures of a set scaled alike, and fewer of them to learn from.

Heads that read maps may learn from windows at a finer scale, others must see whole pictures. So
that all see the same, pictures are scaled here, once, and every head gets them whole.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from placewise.data import of_split, scaled_size, split_images
from placewise.demo import write_pictures
from placewise.errors import SettingsError
from placewise.formats import Labels, Sample, read_labels, write_labels
from placewise.geometry import FloatArray, ratio_of, rescale
from placewise.metrics import mean_position_baseline
from placewise.pictures import resize
from placewise.studies._material import missing_files

DIGITS = "digits"
MICE = ("openfield_mouse", "mirror_mouse")

SPLIT_SEED = 0
"""Draws the validation pictures of sets that name none: the same at each size."""


def missing(data: Path | None) -> str:
    """Why the mice cannot be used; empty if they can."""
    return missing_files(data, [f"{name}/points.csv" for name in MICE])


def original(name: str, data: Path | None, folder: Path, pictures: int, seed: int) -> Labels:
    """A data set as it is; the digits are drawn where they are not yet.

    Args:
        name: `DIGITS`, or one of `MICE`.
        data: folder of data sets.
        folder: for the digits.
        pictures: how many pictures with digits.
        seed: of the digits.
    """
    if data is not None and name != DIGITS:
        return points_of(data / name / "points.csv")
    place = folder / DIGITS
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            write_pictures(Path(work, DIGITS), pictures=pictures, seed=seed)
            Path(work, DIGITS).rename(place)
    return points_of(place / "points.csv")


def points_of(file: Path) -> Labels:
    """Labels of points.

    Raises:
        SettingsError: the file holds labels of another kind.
    """
    labels = read_labels(file)
    if not isinstance(labels, Labels):
        raise SettingsError(f"{file} holds {labels.what}; the study needs points on pictures")
    return labels


def longest(labels: Labels) -> int:
    """Longest side of all pictures, in pixels."""
    return max(max(sample.size) for sample in labels.samples)


def scaled(labels: Labels, side: int, folder: Path) -> Path:
    """A copy of a data set, all pictures scaled by one factor, never enlarged.

    Args:
        labels: the data set.
        side: longest side of the largest picture afterwards, in pixels.
        folder: gets `pictures/` and `points.csv`, which is written last and so says that the rest
            is there.

    Returns:
        Path of `points.csv`, in which every picture has a split.
    """
    file = folder / "points.csv"
    if file.is_file():
        return file
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    factor = min(1.0, side / longest(labels))
    samples = []
    for number, (sample, split) in enumerate(
        zip(labels.samples, split_images(labels, SPLIT_SEED), strict=True)
    ):
        size = scaled_size(sample.size, factor)
        picture = resize(labels.picture(sample.image), size)
        image = f"pictures/{number:04d}.png"
        Image.fromarray(np.squeeze(picture, -1) if picture.shape[2] == 1 else picture).save(
            folder / image
        )
        points = rescale(sample.points, ratio_of(sample.size, size))
        samples.append(Sample(image, size, points, sample.states, split))
    copy = replace(labels, root=folder, samples=tuple(samples), skeleton=(), source=None)
    write_labels(copy, file, overwrite=True)
    return file


def fewer(file: Path, count: int, seed: int) -> Path:
    """The same labels with fewer training pictures, beside the file.

    The few are among the many: see `nested`.

    Args:
        file: labels in which every picture has a split.
        count: training pictures that are kept.
        seed: of the order in which they are taken.
    """
    place = file.with_name(f"points-{count}.csv")
    if not place.is_file():
        labels = points_of(file)
        kept = {sample.image for sample in nested(part(labels, "train"), seed)[:count]}
        samples = [s for s in labels.samples if s.split != "train" or s.image in kept]
        write_labels(replace(labels, samples=tuple(samples)), place, overwrite=True)
    return place


def nested(samples: tuple[Sample, ...], seed: int) -> list[Sample]:
    """Samples in a random order of which any beginning has its share of each size of picture.

    So the frame that a head is tied to is the same for few pictures as for many.

    Example:
        >>> none = np.full((1, 1, 2), np.nan), np.zeros((1, 1), np.int8)
        >>> samples = [Sample(f"{i}", (8, 8 + i % 2), *none) for i in range(8)]
        >>> sorted(sample.size[1] for sample in nested(tuple(samples), 0)[:4])
        [8, 8, 9, 9]
    """
    order = np.random.default_rng(seed).permutation(len(samples))
    shuffled = [samples[i] for i in order]
    sizes = [sample.size for sample in shuffled]
    shares = [(sizes[:i].count(size) + 0.5) / sizes.count(size) for i, size in enumerate(sizes)]
    return [shuffled[i] for i in np.argsort(shares, kind="stable")]


def part(labels: Labels, split: str) -> tuple[Sample, ...]:
    """The samples of a split."""
    return of_split(labels, [sample.split or "" for sample in labels.samples], split)


def truth_of(samples: tuple[Sample, ...]) -> tuple[FloatArray, FloatArray]:
    """(pictures, points, 2) places, NaN where not located, and (pictures, 2) sizes."""
    sizes = np.array([sample.size for sample in samples], np.float64)
    return np.stack([sample.points[0] for sample in samples]), sizes


def baseline(labels: Labels) -> float:
    """Mean error in pixels of always answering a point's mean place on the training pictures."""
    found = mean_position_baseline(
        *truth_of(part(labels, "train")), *truth_of(part(labels, "test"))
    )
    return float("nan") if found is None else found
