"""The shape that a set of points has on all images, and what it tells of single ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray

CLEARLY = 2.0
"""How many times nearer the swapped pair must lie before it is worth a look."""

SELDOM = 0.25
"""Share of a pair's images up to which those with the swapped pair nearer are the odd ones."""

ROUNDS = 10
"""Alignments of all images to their median shape; the shape stands still before that."""

ComplexArray = NDArray[np.complex128]


def left_right_swaps(
    points: FloatArray, pairs: Sequence[tuple[int, int]]
) -> list[tuple[int, int, float]]:
    """Images on which a pair of labels would fit much better with left and right swapped.

    All images are laid on their median shape. Then, for an image and a pair, other points say
    where the pair should lie: the similarity (shift, turn and scale, but no mirror) that takes the
    median shape to them best, in least squares (Procrustes; Gower 1975). These are the points of
    no pair where at least two are located, so that an image with all its pairs swapped is found,
    and else all but the pair. The ratio is the distance of the pair from there as labelled, over
    the distance when swapped. From 2 on it stands out.

    An image is judged where the pair and two more points are located. A pair is judged where
    three images can be, where half of them are clearly right (ratio ≤ ½), and where no more than
    a quarter would stand out: of a person seen now from the front, now from behind, left lies on
    either side, and neither is odd.

    Args:
        points: (N, K, 2), NaN where not located.
        pairs: indices (left, right) of points.

    Returns:
        (image, index of the pair, ratio) for all that stand out, the clearest first.

    Example:
        >>> shape = np.array([[0.0, 0.0], [0.0, 9.0], [-3.0, 2.0], [3.0, 2.0]])
        >>> points = np.stack([shape, shape + 5, shape * 2, shape[[0, 1, 3, 2]]])
        >>> [(image, pair) for image, pair, _ in left_right_swaps(points, [(2, 3)])]
        [(3, 0)]
    """
    places = points[..., 0] + 1j * points[..., 1]
    shape = _median_shape(places)
    unpaired = np.ones(len(shape), bool)
    unpaired[[index for pair in pairs for index in pair]] = False
    found = []
    for number, pair in enumerate(pairs):
        ratios = _ratios(places, shape, list(pair), unpaired)
        known = ratios[~np.isnan(ratios)]
        odd = np.flatnonzero(ratios >= CLEARLY)
        usual = len(known) >= 3 and np.median(known) <= 1 / CLEARLY
        if usual and len(odd) <= SELDOM * len(known):
            found += [(int(image), number, float(ratios[image])) for image in odd]
    return sorted(found, key=lambda swap: -swap[2])


def turns(points: FloatArray) -> FloatArray:
    """How far each image's points are turned against their median shape.

    The angle of the similarity (shift, turn and scale) that takes the median shape to the points
    best, in least squares.

    Args:
        points: (N, K, axes), NaN where not located.

    Returns:
        (N,) degrees in −180 … 180, clockwise on the screen; NaN where fewer than two are located,
        and for signals and volumes.

    Example:
        >>> shape = np.array([[0.0, 0.0], [0.0, 9.0], [-3.0, 2.0]])
        >>> quarter = shape[:, ::-1] * [-1, 1]
        >>> np.ptp(turns(np.stack([shape, shape + 5, quarter]))).round(6)
        np.float64(90.0)
    """
    if points.shape[-1] != 2:
        return np.full(len(points), np.nan)
    places = points[..., 0] + 1j * points[..., 1]
    shape = _median_shape(places)
    turn, _ = _similarities(shape, places, np.ones(len(shape), bool))
    return np.degrees(np.angle(turn))


def _ratios(
    places: ComplexArray, shape: ComplexArray, pair: list[int], unpaired: NDArray[np.bool_]
) -> FloatArray:
    """(N,) distance of a pair from its place as labelled over that when swapped."""
    others = np.ones(len(shape), bool)
    others[pair] = False
    enough = (~np.isnan(places) & unpaired).sum(1, keepdims=True) >= 2
    turn, shift = _similarities(shape, places, np.where(enough, unpaired, others))
    expected = turn[:, None] * shape[pair] + shift[:, None]
    straight = _length(places[:, pair] - expected)
    swapped = _length(places[:, pair[::-1]] - expected)
    hundredth = 0.01 * np.abs(expected[:, 0] - expected[:, 1])
    nearest = np.maximum(swapped, hundredth)
    return np.asarray(straight / np.where(nearest > 0, nearest, np.nan))


def _median_shape(places: ComplexArray) -> ComplexArray:
    """(K,) median of all images' points, each laid on it by a similarity; NaN where unknown."""
    if not len(places):
        return np.full(places.shape[1], np.nan + 0j)
    shape: ComplexArray = places[np.argmax((~np.isnan(places)).sum(1))]
    for _ in range(ROUNDS):
        turn, shift = _similarities(shape, places, np.ones(len(shape), bool))
        laid = _divide(places - shift[:, None], turn[:, None])
        shape = _median(laid.real) + 1j * _median(laid.imag)
    return shape


def _similarities(
    shape: ComplexArray, places: ComplexArray, chosen: NDArray[np.bool_]
) -> tuple[ComplexArray, ComplexArray]:
    """Least-squares z ≈ a·m + b from a shape m to each image's points z, as complex numbers.

    A complex a = s·e^{iφ} is a scale and a turn and can be no mirror. a = Σ m̄′z′ / Σ |m′|² with
    m′, z′ relative to their means; b takes mean to mean.

    Args:
        shape: (K,) m.
        places: (N, K) z.
        chosen: (K,) or (N, K) which points count.

    Returns:
        (N,) a and (N,) b; NaN where fewer than two chosen points are known.
    """
    used = chosen & ~np.isnan(shape) & ~np.isnan(places)
    count = used.sum(1).clip(1)
    middles = np.where(used, shape, 0).sum(1) / count
    centres = np.where(used, places, 0).sum(1) / count
    of_shape = np.where(used, shape - middles[:, None], 0)
    of_places = np.where(used, places - centres[:, None], 0)
    turn = _divide((of_shape.conj() * of_places).sum(1), (np.abs(of_shape) ** 2).sum(1))
    return turn, centres - turn * middles


def _divide(above: ComplexArray, below: ComplexArray | FloatArray) -> ComplexArray:
    """Quotient, NaN where the divisor is 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(above / np.where(below == 0, np.nan, below))


def _length(pairs: ComplexArray) -> FloatArray:
    return np.asarray(np.sqrt((np.abs(pairs) ** 2).sum(1)))


def _median(columns: FloatArray) -> FloatArray:
    """(K,) median of each column's numbers, NaN where it has none."""
    known = [column[~np.isnan(column)] for column in columns.T]
    return np.array([np.median(column) if len(column) else np.nan for column in known])
