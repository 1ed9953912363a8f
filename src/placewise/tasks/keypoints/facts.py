"""What can be counted about keypoint labels and their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from placewise.findings import SetFacts, set_facts, splits_of
from placewise.geometry import border_distance
from placewise.labels import SPLITS, KeypointDataset, KeypointSample, Visibility, unpaired
from placewise.metrics import left_right_swaps
from placewise.tasks._places import Places, place_facts

NEAR = 0.05
"""A label is near the border within this share of the image's shorter side."""


@dataclass(frozen=True)
class KeypointFacts:
    """Labels of one keypoint.

    Attributes:
        keypoint: its name.
        visible: labels with a place, seen.
        hidden: labels with a place, not seen.
        absent: labels that say that the point is not on the image.
        unlabelled: images (instances) without a label.
        near_border: labels with a place within `NEAR` of the border.
        by_split: labels with a place of each split.
    """

    keypoint: str
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
class Facts(Places, SetFacts):
    """What was counted; see `SetFacts` and `Places`.

    Attributes:
        instances: images of each number of instances.
        by_keypoint: labels of each keypoint.
        empty: images without any located keypoint.
        swaps: left and right that seem to have changed places, the clearest first.
        unpaired: names with a side and without a partner, where other names have one.
        decode_floor_px: error left when the labels are encoded and decoded; None: not known.
    """

    instances: dict[int, int]
    by_keypoint: tuple[KeypointFacts, ...]
    empty: tuple[str, ...]
    swaps: tuple[Swap, ...]
    unpaired: tuple[str, ...]
    decode_floor_px: float | None

    @property
    def labels(self) -> int:
        """Labels with a place, of all keypoints."""
        return sum(one.located for one in self.by_keypoint)

    @property
    def near_border(self) -> int:
        """Labels with a place near the border, of all keypoints."""
        return sum(one.near_border for one in self.by_keypoint)


def gather(
    dataset: KeypointDataset,
    floor: float | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Facts:
    """Count; every image is read once."""
    splits, _ = splits_of(dataset, seed)
    return Facts(
        **set_facts(dataset, dataset, seed, progress),
        **place_facts(dataset),
        instances=dict(sorted(Counter(len(sample.points) for sample in dataset.samples).items())),
        by_keypoint=_by_keypoint(dataset, splits),
        empty=tuple(sample.image for sample in dataset.samples if not sample.located.any()),
        swaps=_swaps(dataset),
        unpaired=unpaired(dataset.names, dataset.symmetry) if dataset.symmetry else (),
        decode_floor_px=floor,
    )


def _by_keypoint(dataset: KeypointDataset, splits: Sequence[str]) -> tuple[KeypointFacts, ...]:
    count = len(dataset.names)
    visibility = {state: np.zeros(count, int) for state in Visibility}
    near = np.zeros(count, int)
    located = {split: np.zeros(count, int) for split in SPLITS}
    for sample, split in zip(dataset.samples, splits, strict=True):
        for state, total in visibility.items():
            total += (sample.visibility == state).sum(0)
        near += _near(sample).sum(0)
        located[split] += sample.located.sum(0)
    return tuple(
        KeypointFacts(
            keypoint=name,
            visible=int(visibility[Visibility.VISIBLE][k]),
            hidden=int(visibility[Visibility.HIDDEN][k]),
            absent=int(visibility[Visibility.ABSENT][k]),
            unlabelled=int(visibility[Visibility.UNLABELLED][k]),
            near_border=int(near[k]),
            by_split={split: int(located[split][k]) for split in SPLITS if split in splits},
        )
        for k, name in enumerate(dataset.names)
    )


def _near(sample: KeypointSample) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(instances, points): labels with a place within `NEAR` of the border, or outside."""
    return np.asarray(border_distance(sample.points, sample.size) <= NEAR * min(sample.size))


def _swaps(dataset: KeypointDataset) -> tuple[Swap, ...]:
    """Left and right that stand out; each instance counts as an image of its own."""
    pairs = [(dataset.names.index(a), dataset.names.index(b)) for a, b in dataset.symmetry]
    images = [sample.image for sample in dataset.samples for _ in sample.points]
    if not (pairs and images) or len(dataset.samples[0].size) != 2:
        return ()
    points = np.concatenate([sample.points for sample in dataset.samples])
    return tuple(
        Swap(images[instance], *dataset.symmetry[pair], round(ratio, 2))
        for instance, pair, ratio in left_right_swaps(points, pairs)
    )
