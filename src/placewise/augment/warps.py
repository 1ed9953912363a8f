"""Warps: the contract, and its three members, in 1, 2 and 3 dimensions.

A warp carries a source image to an output frame. It is written as a **pull**: from coordinates
in the output to the coordinates in the source that they show. Pixels are pulled on the open grid
of the output, points go through the same function, or through its inverse. `Elastic` is of images
(two axes) alone.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby, product
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size

Coordinates = NDArray[np.floating[Any]]
"""x, y or z coordinates in pixels, of any shape; those of one call broadcast."""

WORST = 1e12
"""Condition of a matrix from which its inverse is mostly rounding."""


class Warp(ABC):
    """One geometric change of an image and of the points on it.

    Attributes:
        size: of the output in pixels.
    """

    size: Size

    @abstractmethod
    def forward(self, points: FloatArray) -> FloatArray:
        """Where points of the source lie in the output.

        Args:
            points: (..., axes) of (x, y, …) in pixels of the source.

        Returns:
            (..., axes) in pixels of the output; NaN for a point that has no place there.
        """

    @abstractmethod
    def pull(self, *places: Coordinates) -> tuple[Coordinates, ...]:
        """Source coordinates that output coordinates show, in the precision of what is given.

        Args:
            places: output coordinates x, y, … in pixels; on an open grid of an image x is
                (1, width) and y is (height, 1).

        Returns:
            x, y, … in pixels of the source, which broadcast to the shape of all together.
        """

    def backward(self, points: FloatArray) -> FloatArray:
        """Where points (..., axes) of the output, in pixels, lie in the source."""
        points = np.asarray(points, dtype=np.float64)
        return np.stack(np.broadcast_arrays(*self.pull(*np.moveaxis(points, -1, 0))), -1)

    def shows(self, low: FloatArray, high: FloatArray) -> NDArray[np.bool_]:
        """(*size) whether each pixel of the output shows a place within a box of the source.

        Args:
            low: (axes,) of (x, y, …), the box's lowest corner.
            high: (axes,) its highest corner.
        """
        axes = [np.arange(side, dtype=np.float32) for side in self.size]
        source = self.pull(*np.meshgrid(*axes, indexing="ij", sparse=True)[::-1])
        within = [(a >= b) & (a <= c) for a, b, c in zip(source, low, high, strict=True)]
        whole = np.broadcast_arrays(*within, np.empty(self.size, bool))[:-1]
        return np.asarray(np.logical_and.reduce(whole))

    @property
    def mirrors(self) -> bool:
        """Whether left and right change places: the field's determinant is negative."""
        middle = (np.array(self.size[::-1]) - 1) / 2
        here, *beside = self.backward(middle + 0.5 * np.eye(len(middle) + 1, len(middle), -1))
        return bool(np.linalg.det(np.stack(beside) - here) < 0)


@final
class Homography(Warp):
    """A matrix in homogeneous coordinates; every affine or perspective change.

    With (u, v, w) = matrix · (x, y, 1), the source point (x, y) goes to (u/w, v/w); in 1 and 3
    dimensions alike.

    Args:
        matrix: (axes + 1, axes + 1), from source to output, in pixels.
        size: of the output in pixels.

    Raises:
        SettingsError: the matrix cannot be inverted, or its horizon crosses the output.

    Example:
        >>> half = Homography([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]], (2, 3))
        >>> half.forward(np.array([[0.5, 2.5]]))
        array([[0., 1.]])
    """

    def __init__(self, matrix: ArrayLike, size: Size) -> None:
        forward, side = np.asarray(matrix, dtype=np.float64), len(size) + 1
        if forward.shape != (side, side) or not np.isfinite(forward).all():
            raise SettingsError(
                f"a homography of {forward.tolist()}; needed {side} × {side} finite numbers; "
                "check the matrix"
            )
        backward = _inverse(forward)
        ends = [(-0.5, length - 0.5) for length in reversed(size)]
        corners = np.array([[*corner, 1.0] for corner in product(*ends)])
        depth = corners @ backward[-1]
        if not (depth * depth[0] > 0).all():
            raise SettingsError(
                "the horizon of the perspective crosses the output; needed one whose whole output "
                "lies in front of the viewer; lower the perspective"
            )
        self.size = size
        self._backward = backward / depth.mean()  # w > 0 in front of the viewer, 1 where affine
        self.matrix = forward * depth.mean()

    def forward(self, points: FloatArray) -> FloatArray:
        """Source points to the output; NaN where a point lies behind the viewer."""
        points = np.asarray(points, dtype=np.float64)
        moved = points @ self.matrix[:, :-1].T + self.matrix[:, -1]
        depth = np.where(moved[..., -1:] > 0, moved[..., -1:], np.nan)
        return np.asarray(moved[..., :-1] / depth)

    def pull(self, *places: Coordinates) -> tuple[Coordinates, ...]:
        """Output coordinates to the source."""
        *rows, tilt = self._backward.astype(places[0].dtype)
        source = tuple(_along(row, places) for row in rows)
        if not tilt[:-1].any():
            return source
        depth = 1 / _along(tilt, places)
        return tuple(place * depth for place in source)


def _along(row: Coordinates, places: Sequence[Coordinates]) -> Coordinates:
    """Row · (x, y, …, 1)."""
    total = row[0] * places[0] + row[-1]
    for factor, place in zip(row[1:-1], places[1:], strict=True):
        total = total + factor * place
    return np.asarray(total)


def _inverse(forward: FloatArray) -> FloatArray:
    """Inverse of a matrix whose condition, by its largest entries, is below `WORST`.

    Raises:
        SettingsError: there is none.
    """
    with contextlib.suppress(np.linalg.LinAlgError):
        backward: FloatArray = np.asarray(np.linalg.inv(forward), dtype=np.float64)
        if abs(forward).max() * abs(backward).max() < WORST:
            return backward
    raise SettingsError(
        f"the matrix {forward.tolist()} cannot be inverted; needed one that keeps all "
        "axes of the image; check its scales"
    )


@final
class Elastic(Warp):
    """A smooth displacement: a grid of cubic B-splines over the output.

    The source of an output point p is p + d(p), where d(x, y) = Σ c_kl · B(u − k) · B(v − l) with
    the uniform cubic B-spline B (De Boor, A Practical Guide to Splines) and u, v = x, y in cells.
    Beyond the frame d goes on as it is at the edge. No control point pushes farther than its
    length, and by the hull of the splines' derivatives |d(p) − d(q)| ≤ L |p − q| in the greatest
    coordinate, with L = `steepness`. L < 1 makes p + d(p) invertible, and the iteration
    q ← p − d(q) a contraction (Banach) that finds the inverse.

    Args:
        control: (2, rows + 3, columns + 3) pushes of (x, y) in pixels for rows × columns cells.
        size: (height, width) of source and output in pixels.

    Raises:
        SettingsError: the field is so steep that it may fold.

    Example:
        >>> push = Elastic(np.full((2, 4, 4), 1.5), (10, 20))
        >>> push.forward(np.array([[4.0, 4.0]])).round(6)
        array([[2.5, 2.5]])
    """

    limit = 0.6
    """Greatest steepness: each step of the iteration leaves at most 0.6 of the error."""

    def __init__(self, control: ArrayLike, size: Size) -> None:
        self.control: FloatArray = np.asarray(control, dtype=np.float64)
        if self.control.ndim != 3 or self.control.shape[0] != 2 or min(self.control.shape[1:]) < 4:
            raise SettingsError(
                f"an elastic field with control points {self.control.shape}; needed "
                "(2, rows + 3, columns + 3) for at least one row and one column of cells"
            )
        self.size = size
        if not (steep := steepness(self.control, size)) <= self.limit * (1 + 1e-9):
            raise SettingsError(
                f"an elastic field of steepness {steep:.2f}; needed at most {self.limit}, beyond "
                "which it may fold; lower its strength or take fewer cells"
            )

    def forward(self, points: FloatArray) -> FloatArray:
        """Source points to the output, by iteration to 2e-8 px; NaN stays NaN."""
        found = np.array(points, dtype=np.float64)
        finite = np.isfinite(found).all(-1)
        start = here = found[finite]
        for _ in range(64):
            step = start - self.backward(here)
            here = here + step
            if np.abs(step).max(initial=0) < 1e-8:
                break
        found[finite] = here
        return found

    def pull(self, *places: Coordinates) -> tuple[Coordinates, ...]:
        """Output coordinates to the source."""
        x, y = places
        control = self.control.astype(x.dtype)
        column, across = _spline(x, self.size[1], control.shape[2] - 3)
        row, down = _spline(y, self.size[0], control.shape[1] - 3)
        if x.ndim == 2 and x.shape[0] == 1 and y.shape[1] == 1:
            push = _on_open_grid(control, column[0], across, row[:, 0], down)
        else:
            push = _at_points(control, column, across, row, down)
        return x + push[0], y + push[1]


@final
class Chain(Warp):
    """Warps one after the other, sampled as one.

    Homographies that stand side by side become one matrix, and chains within it are opened. What
    leaves a frame in between is not lost: only the last frame cuts.

    Args:
        warps: at least one, in the order in which they are applied to the image.

    Raises:
        SettingsError: there is none, or one of them is not a `Warp`.

    Example:
        >>> double = Homography([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]], (8, 8))
        >>> chain = Chain(double, double)
        >>> len(chain.warps), chain.forward(np.array([0.0, 1.0]))
        (1, array([1.5, 5.5]))
    """

    warps: tuple[Warp, ...]

    def __init__(self, *warps: Warp) -> None:
        parts: list[Warp] = []
        for warp in warps:
            parts += warp.warps if isinstance(warp, Chain) else (require_warp(warp),)
        merged: list[Warp] = []
        for _, group in groupby(parts, lambda part: isinstance(part, Homography)):
            alike = list(group)
            matrices = [part for part in alike if isinstance(part, Homography)]
            merged += [_product(matrices)] if matrices else alike
        if not merged:
            raise SettingsError("a chain of no warps; needed at least one; take a frame to copy")
        self.warps = tuple(merged)
        self.size = merged[-1].size

    def forward(self, points: FloatArray) -> FloatArray:
        """Source points through every warp."""
        for warp in self.warps:
            points = warp.forward(points)
        return points

    def pull(self, *places: Coordinates) -> tuple[Coordinates, ...]:
        """Output coordinates back through every warp."""
        for warp in reversed(self.warps):
            places = warp.pull(*places)
        return places


def _product(parts: Sequence[Homography]) -> Homography:
    """Homographies one after the other, as one."""
    if len(parts) == 1:
        return parts[0]
    matrix = parts[0].matrix
    for part in parts[1:]:
        matrix = part.matrix @ matrix
    return Homography(matrix, parts[-1].size)


def require_warp(warp: object) -> Warp:
    """The warp, if it is one.

    Raises:
        SettingsError: it is something else, which would leave points behind.

    Example:
        >>> require_warp("blur")
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: 'blur' is not a warp; needed a placewise.augment.Warp, ...
    """
    if not isinstance(warp, Warp):
        raise SettingsError(
            f"{warp!r} is not a warp; needed a placewise.augment.Warp, which moves pixels and "
            "points alike; write its `forward` and `pull`"
        )
    return warp


def require_plane(what: str, size: Size) -> None:
    """Refuse what is of images alone where there are not two axes.

    Raises:
        SettingsError: says what was got and what is expected.
    """
    if len(size) != 2:
        raise SettingsError(
            f"{what} of size {size}; it is of images of two axes; take flip, scale, translate or a "
            "Homography of your own"
        )


def elastic(size: Size, rng: np.random.Generator, strength_px: float, cells: int = 5) -> Elastic:
    """A random smooth displacement, the same frame in and out.

    Args:
        size: (height, width) of source and output in pixels.
        rng: where the pushes come from.
        strength_px: greatest push of a control point in x and in y, in pixels; lowered where the
            field would be steeper than `Elastic.limit`.
        cells: cells along the longer side; along the shorter one they have about the same length.

    Raises:
        SettingsError: a negative strength or no cells.

    Example:
        >>> warp = elastic((48, 64), np.random.default_rng(0), 3.0)
        >>> warp.control.shape
        (2, 7, 8)
    """
    if not strength_px >= 0 or cells < 1:
        raise SettingsError(
            f"an elastic field of strength {strength_px} px with {cells} cells; needed a strength "
            "of at least 0 and at least one cell"
        )
    require_plane("an elastic field", size)
    control = rng.uniform(-strength_px, strength_px, control_shape(size, cells))
    return Elastic(control * min(1.0, Elastic.limit / max(steepness(control, size), 1e-9)), size)


def control_shape(size: Size, cells: int = 5) -> tuple[int, int, int]:
    """Shape of the control points of an `elastic` field of an image.

    Example:
        >>> control_shape((48, 64))
        (2, 7, 8)
    """
    rows, columns = (max(1, round(cells * side / max(size))) for side in size)
    return 2, rows + 3, columns + 3


def steepness(control: FloatArray, size: Size) -> float:
    """Upper bound of |d(p) − d(q)| / |p − q| in the greatest coordinate.

    The slope of a B-spline curve lies in the hull of the slopes between its control points, so
    |∂d/∂x| ≤ max |c_k,l+1 − c_kl| / cell width; the rows of the Jacobian are summed.

    Example:
        >>> steepness(np.zeros((2, 4, 5)), (10, 10))
        0.0
    """
    slopes = np.zeros(2)
    for axis in (1, 2):
        cell = size[axis - 1] / (control.shape[axis] - 3)
        slopes += np.abs(np.diff(control, axis=axis)).max((1, 2)) / cell
    return float(slopes.max())


def _on_open_grid(
    control: Coordinates,
    column: NDArray[np.intp],
    across: Coordinates,
    row: NDArray[np.intp],
    down: Coordinates,
) -> Coordinates:
    """Pushes (2, height, width) of the splines, axis after axis.

    No matrix library takes part: one may add up in another order when it has more threads.
    """
    rows = np.zeros((2, control.shape[1], len(column)), control.dtype)
    push = np.zeros((2, len(row), len(column)), control.dtype)
    for k in range(4):
        rows += control[:, :, column + k] * across[k]
    for k in range(4):
        push += np.take(rows, row + k, axis=1) * down[k]
    return push


def _at_points(
    control: Coordinates,
    column: NDArray[np.intp],
    across: Coordinates,
    row: NDArray[np.intp],
    down: Coordinates,
) -> Coordinates:
    """Pushes (2, ...) of the splines at single places, each from its 4 × 4 control points."""
    wide, near = control.shape[2], np.arange(4)
    first = np.asarray(row * wide + column)
    steps = (near[:, None] * wide + near).reshape(16, *[1] * first.ndim)
    hull = np.take(control.reshape(2, -1), first + steps, axis=1)
    weights = (down[:, None] * across).reshape(16, *first.shape)
    return np.asarray(np.einsum("ck...,k...->c...", hull, weights))


def _spline(place: Coordinates, length: int, cells: int) -> tuple[NDArray[np.intp], Coordinates]:
    """First of the four control points that act on each place of an axis; (4, ...) weights."""
    share = np.clip((place + place.dtype.type(0.5)) * (cells / length), 0, cells)
    first = np.minimum(share.astype(np.intp), cells - 1)
    t = (share - first).astype(place.dtype)
    s = 1 - t
    weights = (s**3, 3 * t**3 - 6 * t**2 + 4, 3 * s**3 - 6 * s**2 + 4, t**3)
    return first, np.stack(weights) / 6
