"""What can be counted about keypoint labels and their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from placewise.findings import SetFacts, set_facts, splits_of
from placewise.geometry import FloatArray, border_distance
from placewise.labels import SPLITS, KeypointDataset, KeypointSample, Visibility, unpaired
from placewise.metrics import left_right_swaps

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


REPEATED_SHARE, REPEATED_LEAST = 0.1, 5
"""A place inside the image is suspect that so many of a keypoint's labels have to the bit."""

EDGE = 1.0
"""Pixels from the border, or beyond, up to which two equal places are suspect already."""


@dataclass(frozen=True)
class Repeated:
    """A place that several labels of a keypoint have to the bit.

    Attributes:
        keypoint: its name.
        place: (x, y, …) in pixels.
        count: labels there.
        labels: labels of the keypoint with a place.
    """

    keypoint: str
    place: tuple[float, ...]
    count: int
    labels: int


@dataclass(frozen=True)
class Facts(SetFacts):
    """What was counted; see `SetFacts`.

    Attributes:
        instances: images of each number of instances.
        by_keypoint: labels of each keypoint.
        empty: images without any located keypoint.
        swaps: left and right that seem to have changed places, the clearest first.
        repeated: places that look like a code for "missing".
        reach: largest x, y, … of all labels, as shares of the image's sides; None without labels.
        corner: different places in the top-left pixel, and labels there.
        collapsed: images with an instance whose keypoints all lie within a pixel.
        largest: largest coordinate of all labels in pixels; None without labels.
        unpaired: names with a side and without a partner, where other names have one.
        decode_floor_px: error left when the labels are encoded and decoded; None: not known.
    """

    instances: dict[int, int]
    by_keypoint: tuple[KeypointFacts, ...]
    empty: tuple[str, ...]
    swaps: tuple[Swap, ...]
    repeated: tuple[Repeated, ...]
    reach: tuple[float, ...] | None
    largest: float | None
    corner: tuple[int, int]
    collapsed: tuple[str, ...]
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
    reach, largest = _reach(dataset)
    return Facts(
        **set_facts(dataset, dataset, seed, progress),
        instances=dict(sorted(Counter(len(sample.points) for sample in dataset.samples).items())),
        by_keypoint=_by_keypoint(dataset, splits),
        empty=tuple(sample.image for sample in dataset.samples if not sample.located.any()),
        swaps=_swaps(dataset),
        repeated=tuple(_repeated(dataset)),
        reach=reach,
        largest=largest,
        corner=_corner(dataset),
        collapsed=tuple(s.image for s in dataset.samples if _is_collapsed(s)),
        unpaired=unpaired(dataset.names, dataset.symmetry) if dataset.symmetry else (),
        decode_floor_px=floor,
    )


def _repeated(dataset: KeypointDataset) -> Iterator[Repeated]:
    """Places that several labels of one keypoint share to the bit, the commonest of each.

    A place at the border or beyond is suspect from the second label on; one inside only where a
    good part of the labels, but not all, have it: something may stand still before a fixed camera.
    """
    for k, name in enumerate(dataset.names):
        places: Counter[tuple[float, ...]] = Counter()
        outside: set[tuple[float, ...]] = set()
        for sample in dataset.samples:
            for point in sample.points[:, k][sample.located[:, k]]:
                place = tuple(float(x) for x in point)
                places[place] += 1
                if border_distance(point, sample.size) < EDGE:
                    outside.add(place)
        total = sum(places.values())
        for place, count in places.most_common(1):
            inside = REPEATED_LEAST <= count < total and count >= REPEATED_SHARE * total
            if inside or (place in outside and count >= 2):
                yield Repeated(name, place, count, total)


def _reach(dataset: KeypointDataset) -> tuple[tuple[float, ...] | None, float | None]:
    """Largest x, y, … as shares of the image's sides, and the largest coordinate in pixels."""
    shares: list[FloatArray] = []
    largest: list[float] = []
    for sample in dataset.samples:
        points = sample.points[sample.located]
        if len(points):
            shares.append(((points + 0.5) / sample.size[::-1]).max(0))
            largest.append(float(points.max()))
    if not shares:
        return None, None
    return tuple(np.max(shares, axis=0).tolist()), max(largest)


def _corner(dataset: KeypointDataset) -> tuple[int, int]:
    """Different places in the top-left pixel, and labels there: fractions among pixels."""
    points = np.concatenate([s.points[s.located] for s in dataset.samples] or [np.zeros((0, 2))])
    inside = points[((points >= 0) & (points <= 1)).all(-1)]
    return len(np.unique(inside, axis=0)), len(inside)


def _is_collapsed(sample: KeypointSample) -> bool:
    """Whether all keypoints of an instance, two at least, lie within a pixel."""
    return any(
        known.sum() > 1 and bool((np.ptp(points[known], axis=0) < 1).all())
        for points, known in zip(sample.points, sample.located, strict=True)
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
