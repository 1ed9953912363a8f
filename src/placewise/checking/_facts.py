"""What can be counted about labels and their images."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.data import split_images
from placewise.errors import ImageError, SettingsError
from placewise.geometry import border_distance
from placewise.labels import SPLITS, Dataset, KeypointDataset, KeypointSample, Visibility
from placewise.metrics import left_right_swaps

NEAR = 0.05
"""A label is near the border within this share of the image's shorter side."""


@dataclass(frozen=True)
class PointFacts:
    """Labels of one point.

    Attributes:
        point: its name.
        visible: labels with a place, seen.
        hidden: labels with a place, not seen.
        absent: labels that say that the point is not on the image.
        unlabelled: images (instances) without a label.
        near_border: labels with a place within `NEAR` of the border.
        by_split: labels with a place of each split.
    """

    point: str
    visible: int
    hidden: int
    absent: int
    unlabelled: int
    near_border: int
    by_split: dict[str, int]

    @property
    def located(self) -> int:
        """Labels with a place."""
        return self.visible + self.hidden


@dataclass(frozen=True)
class Swap:
    """A pair of labels that seem to have changed places.

    Attributes:
        image: the image.
        left: name of one point.
        right: name of the other.
        ratio: how many times nearer to their usual places they lie when swapped.
    """

    image: str
    left: str
    right: str
    ratio: float


@dataclass(frozen=True)
class Facts:
    """What was counted.

    Attributes:
        source: the file of labels.
        images: number of images.
        splits: images of each split, as training would use them.
        split_drawn: whether some of the split is drawn by the seed.
        split_fault: why no split can be made; empty where one can.
        sizes: images of each size "width×height", the most frequent first.
        instances: images of each number of instances.
        by_point: labels of each point.
        empty: images without any located point.
        damaged: images that cannot be read, and why.
        copies: groups of images that are the same byte by byte.
        leaks: those of the groups that stand in several splits.
        swaps: left and right that seem to have changed places, the clearest first.
        decode_floor_px: error left when the labels are encoded and decoded; None: not known.
    """

    source: str
    images: int
    splits: dict[str, int]
    split_drawn: bool
    split_fault: str
    sizes: dict[str, int]
    instances: dict[int, int]
    by_point: tuple[PointFacts, ...]
    empty: tuple[str, ...]
    damaged: dict[str, str]
    copies: tuple[tuple[str, ...], ...]
    leaks: tuple[tuple[str, ...], ...]
    swaps: tuple[Swap, ...]
    decode_floor_px: float | None

    @property
    def labels(self) -> int:
        """Labels with a place, of all points."""
        return sum(point.located for point in self.by_point)

    @property
    def near_border(self) -> int:
        """Labels with a place near the border, of all points."""
        return sum(point.near_border for point in self.by_point)


def gather(
    labels: KeypointDataset,
    floor: float | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Facts:
    """Count; every image is read once."""
    splits, fault = splits_of(labels, seed)
    damaged, copies = read_all(labels, progress)
    of = dict(zip((sample.image for sample in labels.samples), splits, strict=True))
    sizes = Counter(f"{width}×{height}" for height, width in (s.size for s in labels.samples))
    return Facts(
        source=str(labels.source or labels.root),
        images=len(labels.samples),
        splits={split: splits.count(split) for split in SPLITS if split in splits},
        split_drawn=any(s.split != split for s, split in zip(labels.samples, splits, strict=True)),
        split_fault=fault,
        sizes=dict(sizes.most_common()),
        instances=dict(sorted(Counter(len(sample.points) for sample in labels.samples).items())),
        by_point=_by_point(labels, splits),
        empty=tuple(sample.image for sample in labels.samples if not sample.located.any()),
        damaged=damaged,
        copies=copies,
        leaks=tuple(group for group in copies if len({of[image] for image in group}) > 1),
        swaps=_swaps(labels),
        decode_floor_px=floor,
    )


def splits_of(labels: Dataset[Any], seed: int) -> tuple[list[str], str]:
    """Split of each sample, and why training could not be split."""
    try:
        return split_images(labels, seed), ""
    except SettingsError as error:
        return [sample.split or "train" for sample in labels.samples], str(error)


def read_all(
    labels: Dataset[Any], progress: Callable[[int, int], None] | None
) -> tuple[dict[str, str], tuple[tuple[str, ...], ...]]:
    """Images that cannot be read with the reason, and groups with the same content."""
    damaged: dict[str, str] = {}
    same: dict[bytes, list[str]] = defaultdict(list)
    for number, sample in enumerate(labels.samples):
        try:
            same[labels.images.digest(sample.image)].append(sample.image)
            labels.image(sample.image)
        except ImageError as error:
            damaged[sample.image] = str(error)
        if progress:
            progress(number + 1, len(labels.samples))
    return damaged, tuple(tuple(images) for images in same.values() if len(images) > 1)


def _by_point(labels: KeypointDataset, splits: Sequence[str]) -> tuple[PointFacts, ...]:
    count = len(labels.names)
    visibility = {state: np.zeros(count, int) for state in Visibility}
    near = np.zeros(count, int)
    located = {split: np.zeros(count, int) for split in SPLITS}
    for sample, split in zip(labels.samples, splits, strict=True):
        for state, total in visibility.items():
            total += (sample.visibility == state).sum(0)
        near += _near(sample).sum(0)
        located[split] += sample.located.sum(0)
    return tuple(
        PointFacts(
            point=name,
            visible=int(visibility[Visibility.VISIBLE][k]),
            hidden=int(visibility[Visibility.HIDDEN][k]),
            absent=int(visibility[Visibility.ABSENT][k]),
            unlabelled=int(visibility[Visibility.UNLABELLED][k]),
            near_border=int(near[k]),
            by_split={split: int(located[split][k]) for split in SPLITS if split in splits},
        )
        for k, name in enumerate(labels.names)
    )


def _near(sample: KeypointSample) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(instances, points): labels with a place within `NEAR` of the border, or outside."""
    return np.asarray(border_distance(sample.points, sample.size) <= NEAR * min(sample.size))


def _swaps(labels: KeypointDataset) -> tuple[Swap, ...]:
    """Left and right that stand out; each instance counts as an image of its own."""
    pairs = [(labels.names.index(a), labels.names.index(b)) for a, b in labels.symmetry]
    images = [sample.image for sample in labels.samples for _ in sample.points]
    if not (pairs and images):
        return ()
    points = np.concatenate([sample.points for sample in labels.samples])
    return tuple(
        Swap(images[instance], *labels.symmetry[pair], round(ratio, 2))
        for instance, pair, ratio in left_right_swaps(points, pairs)
    )
