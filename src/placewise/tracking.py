"""Identities of objects over the frames of a video.

Frame by frame, each object that was followed so far is expected where its last frames suggest
(constant velocity), and is compared with each object that was found there; who is whom is one
assignment problem. What is new gets a new identity, and what was not found for a while is given up.

The identities are a pure function of the sequence of keypoints, and nothing is drawn at random.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError, ShapeError
from placewise.geometry import FloatArray, Size
from placewise.metrics import most_alike, object_areas

P = TypeVar("P")

WINDOW = 5
"""Frames from which the velocity of an object is taken, and beyond which it is not continued."""

PATIENCE = 30
"""Frames for which an object that is not found is not given up: a second of most videos."""

SOFTNESS = 0.25
"""σ of the OKS between frames: half of an object's size apart, two objects have 0.61."""

GATE = 0.1
"""OKS below which two objects are not the same: about one size apart."""


@dataclass
class _Followed:
    """An object with its identity and its last places.

    Attributes:
        identity: its number.
        seen: (frame, keypoints) of the last frames in which it was found, the oldest first.
        pose: (K, axes) of each keypoint where it was last seen.
    """

    identity: int
    seen: deque[tuple[int, FloatArray]]
    pose: FloatArray

    def expected(self, frame: int) -> FloatArray:
        """(K, axes) where the object should be: its last place, moved on with its velocity."""
        (first, old), (last, new) = self.seen[0], self.seen[-1]
        both = np.isfinite(old).all(-1) & np.isfinite(new).all(-1)
        if first == last or not both.any():
            return self.pose
        velocity = np.median(new[both] - old[both], axis=0) / (last - first)
        return self.pose + velocity * min(frame - last, WINDOW)

    def found(self, frame: int, keypoints: FloatArray, reach: int) -> None:
        """Go on from here; what is missing here stays where it would have moved to."""
        missing = ~np.isfinite(keypoints).all(-1, keepdims=True)
        self.pose = np.where(missing, self.expected(frame), keypoints)
        self.seen.append((frame, keypoints))
        while self.seen[0][0] < frame - reach:
            self.seen.popleft()


class Tracker:
    """Gives objects their identities, frame by frame.

    Two objects are alike by the OKS of their common keypoints, with σ = 0.25 (the mean of
    exp(−d² / (2 · size² · (2σ)²))); where they have no keypoint in common, by their middles.

    Args:
        size: of the objects in pixels, the square root of their area; None: of each object, from
            its keypoints. Objects with a single keypoint need it.
        window: frames from which a velocity is taken.
        patience: frames for which an object that is not found is not given up.

    Raises:
        SettingsError: a number that cannot be.

    Example:
        >>> tracker = Tracker(size=10.0)
        >>> first, second = np.array([[[0.0, 0.0]]]), np.array([[[50.0, 0.0]], [[1.0, 0.0]]])
        >>> tracker.step(first).tolist(), tracker.step(second).tolist()
        ([0], [1, 0])
    """

    def __init__(
        self, size: float | None = None, *, window: int = WINDOW, patience: int = PATIENCE
    ) -> None:
        if window < 1 or patience < 0 or (size is not None and not 0 < size < np.inf):
            raise SettingsError(
                f"got size {size}, window {window} and patience {patience}; the size must be above "
                "0, the window 1 frame or more, and the patience 0 or more"
            )
        self.size, self.window, self.patience = size, window, patience
        self.frame = 0
        self._followed: list[_Followed] = []
        self._next = 0

    def step(self, keypoints: FloatArray) -> NDArray[np.int64]:
        """Identities of the objects on the next frame.

        Args:
            keypoints: (objects, K, axes) of (x, y, …) in pixels, NaN where a keypoint is missing.

        Returns:
            (objects,) numbers from 0, each once.

        Raises:
            ShapeError: this is no such array.
        """
        if keypoints.ndim != 3:
            raise ShapeError(
                f"got keypoints of shape {keypoints.shape}; a frame has (objects, keypoints, axes)"
            )
        known = np.asarray(np.isfinite(_middles(keypoints)).all(-1))
        self._followed = [
            one for one in self._followed if self.frame - one.seen[-1][0] <= self.patience + 1
        ]
        alike = self._alike(keypoints)
        identities = np.full(len(keypoints), -1, np.int64)
        for row, column in zip(*most_alike(np.where(alike >= GATE, alike, 0.0)), strict=True):
            one = self._followed[column]
            one.found(self.frame, keypoints[row], self.window)
            identities[row] = one.identity
        for row in np.flatnonzero(identities < 0):
            identities[row] = self._next
            if known[row]:
                seen = deque([(self.frame, keypoints[row])])
                self._followed.append(_Followed(self._next, seen, keypoints[row]))
            self._next += 1
        self.frame += 1
        return identities

    def _alike(self, keypoints: FloatArray) -> FloatArray:
        """(objects, followed) OKS of those found with those expected."""
        if not len(keypoints) or not self._followed:
            return np.zeros((len(keypoints), len(self._followed)))
        expected = np.stack([one.expected(self.frame) for one in self._followed])
        areas = self._areas(keypoints, expected)
        apart = ((keypoints[:, None] - expected[None]) ** 2).sum(-1)
        middles = _middles(keypoints)[:, None] - _middles(expected)[None]
        far = (middles**2).sum(-1)
        scale = 2 * areas * (2 * SOFTNESS) ** 2
        common = np.isfinite(apart)
        near = np.where(common, np.exp(-apart / scale[..., None]), 0.0)
        mean = near.sum(-1) / common.sum(-1).clip(1)
        alike: FloatArray = np.where(common.any(-1), mean, np.nan_to_num(np.exp(-far / scale)))
        return alike

    def _areas(self, keypoints: FloatArray, expected: FloatArray) -> FloatArray:
        """(objects, followed) px²: the larger of the two, of which one may be seen in part."""
        if self.size is not None:
            return np.full((len(keypoints), len(expected)), self.size**2)
        areas = np.fmax(object_areas(keypoints)[:, None], object_areas(expected)[None])
        if np.isnan(areas).all():
            raise SettingsError(
                "objects with a single keypoint have no size that could be measured; give it in "
                "pixels: Tracker(size=…)"
            )
        return np.where(np.isnan(areas), np.nanmedian(areas), areas)


class Follower(ABC, Generic[P]):
    """Gives the objects of images their identities, image by image, in order.

    Attributes:
        column: of the table that holds the identities; it is the last one.
    """

    column: ClassVar[str]

    @abstractmethod
    def follow(self, one: P) -> P:
        """The prediction of the next image, with identities; `rows` then has one more cell.

        Args:
            one: the prediction.
        """

    @abstractmethod
    def replay(self, image: str, size: Size, rows: Sequence[Sequence[str]]) -> None:
        """Go on behind an image that was followed before, and then interrupted.

        Args:
            image: its name.
            size: of the image.
            rows: cells of its rows; none where nothing was found on it.
        """


def _middles(keypoints: FloatArray) -> FloatArray:
    """(objects, axes) mean of each object's keypoints; NaN where it has none."""
    known = np.isfinite(keypoints).all(-1, keepdims=True)
    count = known.sum(1)
    mean: FloatArray = np.where(
        count > 0, np.where(known, keypoints, 0).sum(1) / count.clip(1), np.nan
    )
    return mean


def track(frames: Iterable[FloatArray], size: float | None = None) -> list[NDArray[np.int64]]:
    """Identities of the objects on each of many frames.

    Args:
        frames: (objects, K, axes) of each, in order.
        size: see `Tracker`.

    Example:
        >>> moving = [np.array([[[x, 0.0], [x + 9, 9.0]]]) for x in (0.0, 2.0, 4.0)]
        >>> [identities.tolist() for identities in track(moving)]
        [[0], [0], [0]]
    """
    tracker = Tracker(size)
    return [tracker.step(keypoints) for keypoints in frames]
