"""Labels that say where points lie on images: states and samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from placewise.errors import DataError, Fault, LabelError, SettingsError
from placewise.geometry import FloatArray, Size
from placewise.labels.dataset import SPLITS, Dataset, Pixels, check_part
from placewise.labels.names import repeated, shown, why_unfit
from placewise.labels.sources import part_named


class Visibility(IntEnum):
    """What is known of a point on an image.

    The three states of the design never mix: not labelled (no loss), located (visible or hidden,
    drawn), and absent (known not to be on the image: an empty map).

    Example:
        >>> Visibility.HIDDEN >= Visibility.HIDDEN, Visibility.ABSENT >= Visibility.HIDDEN
        (True, False)
    """

    UNLABELLED = 0
    ABSENT = 1
    HIDDEN = 2
    VISIBLE = 3


@dataclass(frozen=True)
class Ignored:
    """A box on an image in which points of a name may lie that nobody has labelled one by one.

    Attributes:
        name: of the point.
        low: (x, y, …) of the lowest corner in pixels.
        high: (x, y, …) of the highest corner.

    Example:
        >>> Ignored("cell", (0.0, 0.0), (9.0, 4.0)).name
        'cell'
    """

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class KeypointSample:
    """One image with its labels.

    Attributes:
        image: path of the image relative to the root of the labels, with forward slashes.
        size: in pixels of the image as it is shown (EXIF orientation applied), in the order of an
            array's axes: (height, width); (length) of a signal, (depth, height, width) of a volume.
        points: (instances, points, axes) float64, (x), (x, y) or (x, y, z) in pixels; NaN where not
            located. There is at least one instance: an image without labels has one of unlabelled
            points.
        visibility: (instances, points) int8 of `Visibility`; located means HIDDEN or VISIBLE.
        split: "train", "val", "test", or None where the labels do not say.
        scores: (instances, points) of predicted points, 0..1 or NaN; None for labels.
        tracks: (instances,) which object over the images each one is, −1 where not known; None
            where the labels do not say.
        areas: (instances,) px² of each object, NaN where not known; None where the labels do not
            say.
        ignored: boxes in which it is not known where points lie.

    Raises:
        SettingsError: the parts do not fit each other.

    Example:
        >>> points = np.array([[[3.0, 4.5], [np.nan, np.nan]]])
        >>> sample = KeypointSample("a.png", (8, 8), points, np.array([[3, 1]], dtype=np.int8))
        >>> sample.located.tolist()
        [[True, False]]
    """

    image: str
    size: Size
    points: FloatArray
    visibility: NDArray[np.int8]
    split: str | None = None
    scores: FloatArray | None = None
    tracks: NDArray[np.int64] | None = None
    areas: FloatArray | None = None
    ignored: tuple[Ignored, ...] = ()

    def __post_init__(self) -> None:
        shape = self.points.shape
        axes = len(self.size)
        if len(shape) != 3 or shape[-1] != axes or 0 in shape:
            reason = f"has points of shape {shape}, needed are (instances, points, {axes})"
        elif self.visibility.shape != shape[:2]:
            reason = f"has states of shape {self.visibility.shape}, needed are {shape[:2]}"
        elif not np.isin(self.visibility, list(Visibility)).all():
            reason = f"has states other than {[int(state) for state in Visibility]}"
        elif not np.isfinite(self.points[self.located]).all():
            reason = "has located points without finite coordinates; give them another state"
        elif not np.isnan(self.points[~self.located]).all():
            reason = "has coordinates where nothing is located; write NaN there"
        elif self.scores is not None and self.scores.shape != shape[:2]:
            reason = f"has scores of shape {self.scores.shape}, needed are {shape[:2]}"
        elif any(one is not None and one.shape != shape[:1] for one in (self.tracks, self.areas)):
            reason = f"has tracks or areas of another number than its {shape[0]} instances"
        elif self.split not in (None, *SPLITS):
            reason = f"has the split {self.split!r}, which must be one of {SPLITS} or None"
        else:
            return
        raise SettingsError(f"sample {shown(self.image)} {reason}")

    @property
    def located(self) -> NDArray[np.bool_]:
        """(instances, points): which points have coordinates."""
        return np.asarray(self.visibility >= Visibility.HIDDEN)


@dataclass(frozen=True)
class KeypointDataset(Dataset[KeypointSample]):
    """The labels of a folder of images.

    Attributes:
        root: folder that the samples' `image` is relative to.
        names: the points' names, in the order of the arrays.
        samples: one for each image, in the order of the file.
        symmetry: pairs of names that change places when an image is mirrored.
        skeleton: pairs of names that are drawn joined.
        source: the file that was read, None where the labels were made in memory.
        pixels: what the numbers of that file count from; see `Dataset`.

    Raises:
        SettingsError: the parts do not fit each other.

    Example:
        >>> KeypointDataset(Path("mice"), ("nose", "tail"), ()).instances
        0
    """

    task = "keypoints"
    what = "keypoints"
    has_keypoints = True

    root: Path
    names: tuple[str, ...]
    samples: tuple[KeypointSample, ...]
    symmetry: tuple[tuple[str, str], ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    source: Path | None = None
    pixels: Pixels = "center"

    def __post_init__(self) -> None:
        _check_names(self.names)
        _check_pairs("symmetry", self.symmetry, self.names)
        _check_pairs("skeleton", self.skeleton, self.names)
        twice = repeated(name for pair in self.symmetry for name in pair)
        if twice is not None:
            raise SettingsError(f"the symmetry names {shown(twice)} twice; a point has one partner")
        image = repeated(sample.image for sample in self.samples)
        if image is not None:
            raise SettingsError(f"two samples are of {shown(image)}; make them instances of one")
        for sample in self.samples:
            if sample.points.shape[1] != len(self.names):
                raise SettingsError(
                    f"sample {shown(sample.image)} has {sample.points.shape[1]} points, the labels "
                    f"name {len(self.names)}; give one for each name"
                )

    def counted_from(self, pixels: Pixels) -> Self:
        """The same labels, where the numbers of their file count from something else.

        A place is half a pixel less along each axis where numbers count from the corner.

        Args:
            pixels: what they count from.

        Example:
            >>> nose = KeypointSample("a", (9, 9), np.array([[[3.0, 4.0]]]), np.array([[3]]))
            >>> labels = KeypointDataset(Path(), ("nose",), (nose,))
            >>> labels.counted_from("corner").samples[0].points.tolist()
            [[[2.5, 3.5]]]
        """
        shift = {"center": 0.0, "corner": -0.5}
        by = shift[pixels] - shift[self.pixels]
        samples = tuple(replace(one, points=one.points + by) for one in self.samples)
        return replace(self, samples=samples, pixels=pixels)

    @cached_property
    def has_ignored(self) -> bool:
        """Whether any image has a region in which points are not labelled one by one."""
        return any(sample.ignored for sample in self.samples)

    def for_task(self, task: str) -> KeypointDataset:
        """The same keypoints for the task "keypoints", "poses" or "spots".

        Example:
            >>> KeypointDataset(Path("mice"), ("nose",), ()).for_task("spots").task
            'spots'
        """
        if task not in _BY_TASK:
            super().for_task(task)
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return _BY_TASK[task](**held)

    def part(self, sample: KeypointSample, start: int, stop: int) -> KeypointSample:
        """A part of a signal with its points, which are counted from its start.

        Example:
            >>> beat = KeypointSample("a.wav", (90,), np.array([[[50.0]]]), np.array([[3]], "i1"))
            >>> part = KeypointDataset(Path(), ("beat",), (beat,)).part(beat, 40, 60)
            >>> part.image, part.points.tolist()
            ('a.wav[40:60]', [[[10.0]]])
        """
        check_part(sample.image, sample.size, start, stop)
        points = sample.points - start
        away = sample.located & ((points < -0.5) | (points >= stop - start - 0.5))[..., 0]
        points = np.where(away[..., None], np.nan, points)
        visibility = np.where(away, np.int8(Visibility.ABSENT), sample.visibility)
        kept = np.flatnonzero(~away.any(1) | (visibility >= Visibility.HIDDEN).any(1))
        kept = kept if len(kept) else np.array([0])
        name, scores = part_named(sample.image, start, stop), sample.scores
        return replace(
            sample,
            image=name,
            size=(stop - start,),
            points=points[kept],
            visibility=visibility[kept],
            scores=None if scores is None else scores[kept],
        )

    def ordered(self, names: tuple[str, ...]) -> KeypointDataset:
        """The keypoints of a model, in its order; see `Dataset.ordered`. Others are left out.

        Example:
            >>> KeypointDataset(Path("mice"), ("nose", "tail"), ()).ordered(("tail",)).names
            ('tail',)
        """
        if self.names == names:
            return self
        missing = [name for name in names if name not in self.names]
        if missing:
            raise DataError(
                f"the labels lack the keypoints {', '.join(missing)} of the run; they have "
                f"{', '.join(self.names)}: rename them, or train on these labels"
            )
        order = [self.names.index(name) for name in names]
        samples = tuple(
            replace(s, points=s.points[:, order], visibility=s.visibility[:, order])
            for s in self.samples
        )
        kept = set(names)
        pairs = (
            tuple(pair for pair in held if set(pair) <= kept)
            for held in (self.symmetry, self.skeleton)
        )
        symmetry, skeleton = pairs
        return replace(self, names=names, samples=samples, symmetry=symmetry, skeleton=skeleton)

    def ignoring(self, regions: Mapping[str, Sequence[Ignored]]) -> Self:
        """The same with regions of images that are ignored.

        Args:
            regions: of each image that has some, by its name.
        """
        if not regions:
            return self
        samples = (replace(s, ignored=tuple(regions.get(s.image, ()))) for s in self.samples)
        return replace(self, samples=tuple(samples))

    @property
    def instances(self) -> int:
        """Most instances on one image."""
        return max((len(sample.points) for sample in self.samples), default=0)

    @property
    def scored(self) -> bool:
        """Whether there are scores: predictions have them, labels do not."""
        return any(sample.scores is not None for sample in self.samples)

    def above(self, threshold: float) -> KeypointDataset:
        """The same with points absent where their score is lower than a threshold.

        Example:
            >>> sample = KeypointSample("a.png", (8, 8), np.ones((1, 2, 2)),
            ...     np.full((1, 2), Visibility.VISIBLE, np.int8), scores=np.array([[0.9, 0.2]]))
            >>> dataset = KeypointDataset(Path(), ("nose", "tail"), (sample,)).above(0.5)
            >>> dataset.samples[0].visibility.tolist()
            [[3, 1]]
        """
        samples = []
        for sample in self.samples:
            low = np.zeros(sample.visibility.shape, bool)
            if sample.scores is not None:
                low = sample.located & (sample.scores < threshold)
            visibility = np.where(low, np.int8(Visibility.ABSENT), sample.visibility)
            points = np.where(low[..., None], np.nan, sample.points)
            samples.append(replace(sample, points=points, visibility=visibility))
        return replace(self, samples=tuple(samples))


@dataclass(frozen=True)
class PoseDataset(KeypointDataset):
    """Keypoints of several objects on an image: each instance is one of them."""

    task = "poses"


@dataclass(frozen=True)
class SpotDataset(KeypointDataset):
    """Many keypoints of a kind: each instance is one spot, of the kind that is located in it.

    A kind that is absent in some instance of an image, and located in none, is known not to be on
    it; a kind of which an image says nothing is not labelled there.
    """

    task = "spots"
    what = "kinds of spots"

    def kinds(self, sample: KeypointSample) -> tuple[FloatArray, NDArray[np.intp]]:
        """(n, axes) places of the spots of an image, and (n,) numbers of their kinds."""
        instance, kind = np.nonzero(sample.located)
        return sample.points[instance, kind], kind

    def known(self, sample: KeypointSample) -> NDArray[np.bool_]:
        """(kinds,) whether it is known of each kind where it is on an image, if anywhere."""
        return np.asarray((sample.visibility != Visibility.UNLABELLED).any(0))

    @property
    def axes(self) -> int:
        """Axes of the images: 1 for signals, 2 for images, 3 for volumes."""
        return len(self.samples[0].size) if self.samples else 2

    @cached_property
    def seconds(self) -> float | None:
        """Seconds between two samples of a signal; None where they are not known."""
        known = [self.images.spacing(self.samples[0].image)] if self.axes == 1 else [None]
        return None if known[0] is None else float(known[0][0])

    @cached_property
    def distances(self) -> FloatArray:
        """(n,) pixels from each spot to the nearest one of its kind, where there is another."""
        nearest = [np.empty(0)]
        for sample in self.samples:
            for column in range(len(self.names)):
                nearest.append(nearest_distances(sample.points[sample.located[:, column], column]))
        return np.concatenate(nearest)

    @cached_property
    def near(self) -> float | None:
        """Median of `distances`; None where nothing is known."""
        return float(np.median(self.distances)) if len(self.distances) else None

    @cached_property
    def tolerance(self) -> float:
        """Pixels within which a found spot is a labelled one, where nobody says otherwise.

        2.5 % of the diagonal of the median image, or `BEAT` of a signal, but at most half of
        `near`, so that a spot is not taken for its neighbour; to two digits.
        """
        diagonals = [math.hypot(*sample.size) for sample in self.samples]
        share = TOLERANCE * float(np.median(diagonals)) if diagonals else 1.0
        share = BEAT / self.seconds if self.seconds else share
        near = share if self.near is None else min(share, self.near / 2)
        return float(f"{max(near, 0.5):.2g}")


BEAT = 0.15
"""Seconds within which a found event of a signal is a labelled one (ANSI/AAMI EC57)."""

TOLERANCE = 0.025
"""Share of an image's diagonal within which a found spot is a labelled one; see `SpotDataset`."""


def nearest_distances(points: FloatArray) -> FloatArray:
    """(n,) distance from each point to the nearest other one; (0,) where there is no other.

    Example:
        >>> nearest_distances(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])).tolist()
        [5.0, 1.0, 1.0]
    """
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return np.empty(0)
    distance, _ = cKDTree(points).query(points, k=2)
    return np.asarray(distance[:, 1], np.float64)


_BY_TASK = {one.task: one for one in (KeypointDataset, PoseDataset, SpotDataset)}


def as_told(dataset: KeypointDataset) -> KeypointDataset:
    """The labels for the task that they suggest.

    Images with several instances are of poses where instances have two keypoints or more, and of
    spots where each has one.

    Example:
        >>> points = np.array([[[1.0, 2.0]], [[3.0, 1.0]]])
        >>> two = KeypointSample("a.png", (8, 8), points, np.full((2, 1), 3, np.int8))
        >>> as_told(KeypointDataset(Path(), ("cell",), (two,))).task
        'spots'
    """
    if dataset.instances < 2:
        return dataset
    several = [sample.located for sample in dataset.samples if len(sample.points) > 1]
    alone = all((located.sum(1) < 2).all() for located in several)
    return dataset.for_task("spots" if alone else "poses")


def _check_names(names: tuple[str, ...]) -> None:
    if not names:
        raise SettingsError("labels without a point; give at least one name")
    for name in names:
        if why_unfit(name):
            raise SettingsError(f"a point's name {why_unfit(name)}: {shown(name)}; rename it")
    twice = repeated(names)
    if twice is not None:
        raise SettingsError(f"two points are named {shown(twice)}; rename one")


def _check_pairs(what: str, pairs: tuple[tuple[str, str], ...], names: tuple[str, ...]) -> None:
    for pair in pairs:
        if len(set(pair)) != 2 or not set(pair) <= set(names):
            raise SettingsError(
                f"the {what} holds {shown(pair)}; a pair is two names of: {', '.join(names)}"
            )


def single(sample: KeypointSample, source: Path | None) -> tuple[FloatArray, NDArray[np.int8]]:
    """Points (K, axes) and states (K,) of an image that shows each point at most once.

    Raises:
        LabelError: the image has several instances.
    """
    if len(sample.points) > 1:
        fault = Fault(
            str(source or "labels"),
            0,
            sample.image,
            f"{len(sample.points)} instances on one image",
            "a run places each point once; crop the images to one instance each, or give the "
            "instances names of their own",
        )
        raise LabelError([fault])
    return sample.points[0], sample.visibility[0]
