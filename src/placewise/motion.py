"""Keypoints over the frames of a video: smoothing, jumps, gaps, and the frames that need a look.

A track is one object: a place and a score for each keypoint on each frame, NaN where there is
none. Nothing is filled in: where a keypoint has no place, it has none after smoothing either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.geometry import FloatArray

LEAST_JUMP = 20.0
"""Pixels that a keypoint moves at least from one frame to the next in a jump."""

JUMP_STEPS = 5.0
"""Times the usual step that it moves at least."""

NOISE = 1e-6
"""px² that a place is uncertain by at least: networks that agree may both be a bit off."""

WANDERING = np.logspace(-4, 2, 13)
"""How much an object moves, in units of the variance of its seen steps, that are tried."""

FAR = 0.1
"""A radius of this share of the image's diagonal says as little as can be."""

APART = 10
"""Frames between two of the worst frames at least, where there are enough."""


@dataclass(frozen=True)
class Track:
    """One object over the frames, from the first to the last on which it was found.

    Attributes:
        places: (T, K, 2) float64 of (x, y) in pixels; NaN where a keypoint has no place.
        scores: (T, K) 0..1; NaN where the object was not found.
        radii: (T, K) pixels within which 90 % of truths lie; NaN where that is not known.
        identity: its number; None where there is one object only.
        start: place of its first frame among all frames.
    """

    places: FloatArray
    scores: FloatArray
    radii: FloatArray
    identity: int | None = None
    start: int = 0

    @property
    def stop(self) -> int:
        """Place of the first frame behind it."""
        return self.start + len(self.places)

    @property
    def there(self) -> NDArray[np.bool_]:
        """(T, K) which keypoints have a place."""
        return np.asarray(np.isfinite(self.places).all(-1))

    def unsure(self, threshold: float, far: float) -> NDArray[np.bool_]:
        """(T, K) which keypoints have no place, a low score, or a place that may be far off.

        Args:
            threshold: score below which a keypoint is not sure.
            far: pixels of the radius above which it is not, see `FAR`.

        Example:
            >>> scores, radii = np.array([[0.9], [0.2], [0.9]]), np.array([[1.0], [1.0], [70.0]])
            >>> one = Track(np.zeros((3, 1, 2)), scores, radii)
            >>> one.unsure(0.5, far=40).ravel().tolist()
            [False, True, True]
        """
        low = ~(self.scores >= threshold)
        return np.asarray(~self.there | low | (self.radii > far))

    def moved(self, places: FloatArray) -> Track:
        """The same at other places, for which the radii do not hold."""
        return replace(self, places=places, radii=np.full_like(self.radii, np.nan))

    def gated(self, least: float) -> Track:
        """The same without the keypoints of a lower score.

        Example:
            >>> one = Track(np.zeros((2, 1, 2)), np.array([[0.9], [0.2]]), np.ones((2, 1)))
            >>> one.gated(0.5).there.tolist()
            [[True], [False]]
        """
        low = ~(self.scores >= least)
        places = np.where(low[..., None], np.nan, self.places)
        return replace(self, places=places, radii=np.where(low, np.nan, self.radii))


def median_smoothed(places: FloatArray, window: int) -> FloatArray:
    """Each place by the median of its neighbours in time.

    At both ends, and nowhere else, the window shrinks to what lies on either side alike, so that a
    steady movement stays as it is. Places that are missing are left out of the medians and stay
    missing.

    Args:
        places: (T, …) float64; NaN where missing.
        window: frames, an odd number.

    Raises:
        SettingsError: no odd number above 0.

    Example:
        >>> median_smoothed(np.array([5.0, 5.0, 90.0, 5.0, 5.0]), 3).tolist()
        [5.0, 5.0, 5.0, 5.0, 5.0]
    """
    if window < 1 or window % 2 == 0:
        raise SettingsError(f"a median needs an odd number of frames, e.g. 5; got {window}")
    count, smooth = len(places), np.array(places, np.float64)
    columns, found = smooth.reshape(count, -1), np.array(places, np.float64).reshape(count, -1)
    for column in range(found.shape[1]):
        for half in range(1, min(window // 2, (count - 1) // 2) + 1):
            inside = slice(half, count - half) if half == window // 2 else [half, count - 1 - half]
            shown = np.lib.stride_tricks.sliding_window_view(found[:, column], 2 * half + 1)
            here = shown if half == window // 2 else shown[[0, -1]]
            columns[inside, column] = _nanmedian(here)
    columns[np.isnan(found)] = np.nan
    return smooth


def _nanmedian(windows: FloatArray) -> FloatArray:
    """(n,) medians of (n, window) numbers; NaN where all are missing."""
    ranked = np.sort(windows, axis=1)  # NaN come last
    known = np.isfinite(ranked).sum(1)
    rows = np.arange(len(ranked))
    low, high = ranked[rows, (known - 1).clip(0) // 2], ranked[rows, known // 2 * (known > 0)]
    low = np.where(known > 0, low, np.nan)
    middle: FloatArray = np.where(known % 2 == 1, low, (low + high) / 2)
    return middle


def ensemble(tracks: Sequence[Track]) -> Track:
    """The mean of what several networks say of one object on all frames, where any has a place.

    Example:
        >>> one, other = (Track(np.full((1, 1, 2), x), np.ones((1, 1)), np.ones((1, 1)))
        ...               for x in (3.0, 5.0))
        >>> ensemble([one, other]).places.tolist()
        [[[4.0, 4.0]]]
    """
    places = _mean(np.stack([one.places for one in tracks]))
    scores = _mean(np.stack([one.scores for one in tracks]))
    return Track(places, scores, np.full(scores.shape, np.nan))


def _mean(values: FloatArray) -> FloatArray:
    """Mean over the first axis of what is known."""
    known = np.isfinite(values)
    count = known.sum(0)
    mean: FloatArray = np.where(known, values, 0).sum(0) / np.where(count, count, np.nan)
    return mean


def ensemble_smoothed(tracks: Sequence[Track]) -> Track:
    """An ensemble Kalman smoother: what several networks say, smoothed where they differ.

    Each coordinate of each keypoint is a random walk, x(t) = x(t−1) + w with var w = q, of which
    the mean of the networks is seen with the noise r(t): the mean of the networks' variance on that
    frame and of its median over all frames, since few networks may agree by chance. The smoother
    is that of Rauch, Tung and Striebel; q is the one of `WANDERING`, times the variance of the
    seen steps, under which the means are most likely. After Biderman et al. 2024, *Lightning Pose*,
    Nature Methods 21; written anew.

    Args:
        tracks: of one object, each (T, K), by at least two networks.

    Raises:
        SettingsError: less than two.
    """
    if len(tracks) < 2:
        raise SettingsError("eks needs two runs or more, e.g. of two seeds; name them, or median=5")
    stacked = np.stack([one.places for one in tracks])
    mean = ensemble(tracks)
    seen = mean.places.reshape(len(mean.places), -1)
    apart = np.isfinite(stacked) * (np.nan_to_num(stacked) - np.nan_to_num(mean.places)) ** 2
    count = np.isfinite(stacked).sum(0)
    spread = np.where(count > 1, apart.sum(0) / (count - 1).clip(1), np.nan).reshape(seen.shape)
    usual = _median_of(spread)
    noise = np.maximum((np.where(np.isnan(spread), 2 * usual, spread) + usual) / 2, NOISE)
    smooth = kalman_smoothed(seen, noise)
    return mean.moved(np.where(np.isnan(seen), np.nan, smooth).reshape(mean.places.shape))


def _median_of(values: FloatArray) -> FloatArray:
    """(n,) median of each column of what is known; 0 where nothing is."""
    return np.nan_to_num(_nanmedian(values.T))


def kalman_smoothed(seen: FloatArray, noise: FloatArray) -> FloatArray:
    """(T, N) the most likely walks behind what was seen; see `ensemble_smoothed`.

    Args:
        seen: (T, N); NaN where nothing was.
        noise: (T, N) variances of what was seen.
    """
    usual = np.nan_to_num(_mean(np.diff(seen, axis=0) ** 2)).clip(NOISE)
    likely = np.stack([_filtered(seen, noise, usual * share)[2] for share in WANDERING])
    walk = usual * WANDERING[likely.argmax(0)]
    means, variances, _ = _filtered(seen, noise, walk)
    smooth, first = means.copy(), np.isfinite(seen).argmax(0)
    for t in range(len(seen) - 2, -1, -1):
        gain = np.where(t < first, 1.0, variances[t] / (variances[t] + walk))
        smooth[t] = means[t] + gain * (smooth[t + 1] - means[t])
    return smooth


def _filtered(
    seen: FloatArray, noise: FloatArray, walk: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(T, N) means and variances after each frame, and the (N,) log likelihood of what was seen.

    Nothing is assumed of the first place: it is where the first one was seen.
    """
    known = np.isfinite(seen)
    first = known.argmax(0)
    columns = np.arange(seen.shape[1])
    mean = np.nan_to_num(seen[first, columns])
    variance = noise[first, columns].copy()
    means, variances = np.empty_like(seen), np.empty_like(seen)
    likely = np.zeros(seen.shape[1])
    for t in range(len(seen)):
        ahead = variance + walk * (t > first)
        off = np.where(known[t] & (t > first), seen[t] - mean, 0.0)
        total = ahead + noise[t]
        used = known[t] & (t > first)
        gain = np.where(used, ahead / total, 0.0)
        mean, variance = mean + gain * off, ahead * (1 - gain)
        likely -= np.where(used, 0.5 * (np.log(total) + off**2 / total), 0.0)
        means[t], variances[t] = mean, variance
    return means, variances, likely


def steps_of(places: FloatArray) -> FloatArray:
    """(T, K) pixels that each keypoint has moved since the frame before; NaN where not known."""
    moved = np.full(places.shape[:2], np.nan)
    moved[1:] = np.linalg.norm(np.diff(places, axis=0), axis=-1)
    return moved


def jumps_of(places: FloatArray) -> NDArray[np.bool_]:
    """(T, K) whether a keypoint has jumped to where it is.

    It has moved by more than 20 px, and more than five times its median step.

    Args:
        places: (T, K, 2).

    Example:
        >>> still = np.zeros((6, 1, 2)); still[4:] = 30
        >>> jumps_of(still)[:, 0].tolist()
        [False, False, False, False, True, False]
    """
    moved = steps_of(places)
    least = np.maximum(LEAST_JUMP, JUMP_STEPS * _median_of(moved))
    return np.asarray(np.nan_to_num(moved) > least)


def longest(missing: NDArray[np.bool_]) -> tuple[int, int]:
    """(first frame, frames) of the longest stretch without a break; (0, 0) where there is none.

    Example:
        >>> longest(np.array([True, False, True, True, False]))
        (2, 2)
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    best = int((stops - starts).argmax())
    return int(starts[best]), int(stops[best] - starts[best])


def doubt(tracks: Sequence[Track], count: int, threshold: float, far: float) -> FloatArray:
    """(count,) how much each frame needs a look.

    That is the mean over its keypoints of 1 − score, and 1 more for each that is not sure, and for
    each that has jumped there.

    Args:
        tracks: of all objects.
        count: number of frames.
        threshold: score below which a keypoint is not sure.
        far: pixels of the radius above which it is not.
    """
    total, known = np.zeros(count), np.zeros(count)
    for one in tracks:
        told = np.isfinite(one.scores)
        scores = np.where(told, one.scores, 0.0)
        low = (scores < threshold) | (one.radii > far)
        part = (1 - scores) + low + jumps_of(one.places)
        total[one.start : one.stop] += np.where(told, part, 0).sum(1)
        known[one.start : one.stop] += told.sum(1)
    mean: FloatArray = total / np.where(known, known, 1)
    return mean


def worst_frames(doubts: FloatArray, number: int, apart: int = APART) -> list[int]:
    """Frames with the most doubt, the worst first, and not next to each other if that can be.

    Args:
        doubts: (T,) of each frame.
        number: of frames, at most.
        apart: frames between two of them at least.

    Example:
        >>> worst_frames(np.array([0.0, 3.0, 2.9, 0.1, 1.0]), 2, apart=2)
        [1, 4]
    """
    chosen: list[int] = []
    order = np.argsort(-doubts, kind="stable").tolist()
    for wanted in (apart, 1):
        for frame in order:
            if len(chosen) < number and all(abs(frame - other) >= wanted for other in chosen):
                chosen.append(frame)
    return sorted(chosen, key=lambda frame: (-doubts[frame], frame))
