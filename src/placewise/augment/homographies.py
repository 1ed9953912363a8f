"""The named homographies: each a matrix, in pixels, about the middle of the image.

With pixel centres at integers the middle is ((W − 1)/2, (H − 1)/2), and mirroring is
x → W − 1 − x. `perspective` and `crop` are of images (two axes) alone; all others are of signals,
images and volumes. A volume is turned and sheared in each plane of two axes, in the order of
`planes`: (x, y), (x, z), (y, z); a signal has no such plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from placewise.augment.warps import Homography, require_plane
from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size


def flip(size: Size) -> Homography:
    """Left and right change places.

    Args:
        size: of source and output in pixels.

    Example:
        >>> flip((4, 6)).forward(np.array([[0.0, 1.0]]))
        array([[5., 1.]])
    """
    matrix = np.eye(len(size) + 1)
    matrix[0, 0] = -1
    return _about_middle(size, matrix)


def planes(axes: int) -> list[tuple[int, int]]:
    """Pairs of axes in which a turn or a shear takes place, by the numbers of their coordinates.

    Example:
        >>> planes(1), planes(2), planes(3)
        ([], [(0, 1)], [(0, 1), (0, 2), (1, 2)])
    """
    return list(combinations(range(axes), 2))


def rotate(size: Size, degrees: float | Sequence[float]) -> Homography:
    """Turn about the middle, anticlockwise as it is seen.

    Args:
        size: of source and output in pixels.
        degrees: angle in each of the `planes`, which are turned one after the other; a number
            where there is one plane.

    Example:
        >>> rotate((5, 5), 90).forward(np.array([[4.0, 2.0]])).round(9)
        array([[2., 0.]])
        >>> rotate((5, 5, 5), (0, 90, 0)).forward(np.array([[4.0, 2.0, 2.0]])).round(9)
        array([[2., 2., 0.]])
    """
    matrix: FloatArray = np.eye(len(size) + 1)
    for (one, other), angle in _by_plane("a rotation", size, degrees):
        turn = np.eye(len(size) + 1)
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        turn[one, one], turn[one, other], turn[other, one], turn[other, other] = cos, sin, -sin, cos
        matrix = turn if len(size) == 2 else turn @ matrix
    return _about_middle(size, matrix)


def scale(size: Size, factor: float | Sequence[float]) -> Homography:
    """Enlarge (> 1) or shrink about the middle, within the same frame.

    Args:
        size: of source and output in pixels.
        factor: output pixels for one source pixel; one number or (x, y, …), above 0.

    Example:
        >>> scale((5, 5), 2.0).forward(np.array([[3.0, 2.0]]))
        array([[4., 2.]])
    """
    factors = factor if isinstance(factor, Sequence) else [factor] * len(size)
    if not all(each > 0 for each in factors):
        raise SettingsError(f"a scale of {factor}; needed factors above 0; take flip to mirror")
    return _about_middle(size, np.diag([*factors, 1.0]))


def shear(size: Size, degrees: float | Sequence[float], vertical: float = 0.0) -> Homography:
    """Slant about the middle.

    Args:
        size: of source and output in pixels.
        degrees: angle by which upright lines lean; x → x + tan(degrees) · y. Of a volume one angle
            for each of the `planes`: x by y, x by z, and y by z.
        vertical: angle by which level lines of an image lean; y → y + tan(vertical) · x.

    Example:
        >>> shear((5, 5), 45).forward(np.array([[2.0, 4.0]])).round(9)
        array([[4., 4.]])
    """
    if vertical:
        require_plane("a vertical shear", size)
    matrix: FloatArray = np.eye(len(size) + 1)
    for (one, other), angle in _by_plane("a shear", size, degrees):
        matrix[one, other], down = np.tan(np.deg2rad([angle, vertical]))
        if vertical:
            matrix[other, one] = down
    return _about_middle(size, matrix)


def translate(size: Size, *shift: float) -> Homography:
    """Shift along each axis: to the right, down, and so on.

    Args:
        size: of source and output in pixels.
        shift: pixels along x, y, ….

    Example:
        >>> translate((5, 5), 1.5, 0).forward(np.array([[2.0, 4.0]]))
        array([[3.5, 4. ]])
    """
    matrix = np.eye(len(size) + 1)
    matrix[:-1, -1] = shift
    return Homography(matrix, size)


def perspective(size: Size, across: float, down: float) -> Homography:
    """Tilt the image: the side that is named by the sign goes away from the viewer.

    A point's distance becomes 1 + across · (x − middle)/(W/2) + down · (y − middle)/(H/2).

    Args:
        size: (height, width) of source and output in pixels.
        across: share by which the right edge is farther away.
        down: share by which the lower edge is farther away.

    Example:
        >>> perspective((5, 5), 0.2, 0).forward(np.array([[4.5, 2.0]])).round(4)
        array([[4.0833, 2.    ]])
    """
    require_plane("a perspective", size)
    matrix = np.eye(3)
    matrix[2, :2] = across / (size[1] / 2), down / (size[0] / 2)
    return _about_middle(size, matrix)


def crop(size: Size, top: float, left: float, out_size: Size) -> Homography:
    """Cut a frame out.

    Args:
        size: (height, width) of the source in pixels.
        top: row of the source that becomes row 0.
        left: column of the source that becomes column 0.
        out_size: (height, width) of the output in pixels.

    Raises:
        SettingsError: the frame shows nothing of the image.

    Example:
        >>> crop((8, 8), 2, 3, (4, 4)).forward(np.array([[3.0, 3.0]]))
        array([[0., 1.]])
    """
    require_plane("a crop", size)
    if not (-out_size[0] < top < size[0] and -out_size[1] < left < size[1]):
        raise SettingsError(
            f"a crop from row {top} and column {left} of {out_size} out of an image of {size}; "
            "needed one that shows some of it; move it"
        )
    return translate(out_size, -left, -top)


def frame(
    size_in: Size,
    size_out: Size,
    focus: Sequence[float] | None = None,
    share: Sequence[float] | None = None,
) -> Homography:
    """Lay the image into a frame without scaling, by whole pixels.

    Along an axis on which the image fits, it comes into the middle. On one where it is larger,
    the frame is a window: it shows the focus at a share of its side, but nothing beyond the
    image's border while there is image left to show.

    Args:
        size_in: of the source in pixels.
        size_out: of the output in pixels.
        focus: (x, y, …) in the source that a window shows; None: the middle.
        share: of the window's (width, height, …) at which the focus comes to lie, each 0 to 1;
            None: in its middle.

    Example:
        >>> frame((4, 4), (8, 7)).forward(np.array([[0.0, 0.0]]))
        array([[1., 2.]])
        >>> frame((9, 90), (9, 20), (70.0, 4.0), (0.25, 0.25)).forward(np.array([[70.0, 4.0]]))
        array([[5., 4.]])
    """
    places: Sequence[float | None] = [None] * len(size_in) if focus is None else focus
    shares = [0.5] * len(size_in) if share is None else share
    lengths = zip(size_in[::-1], size_out[::-1], places, shares, strict=True)
    return translate(size_out, *(_offset(*axis) for axis in lengths))


def _by_plane(
    what: str, size: Size, degrees: float | Sequence[float]
) -> list[tuple[tuple[int, int], float]]:
    """Each plane of an image with its angle.

    Raises:
        SettingsError: there are not as many angles as planes.
    """
    angles = degrees if isinstance(degrees, Sequence) else [degrees]
    pairs = planes(len(size))
    if len(angles) != len(pairs):
        raise SettingsError(
            f"{what} of size {size} by {degrees}; it needs {len(pairs)} angles, one for each pair "
            "of axes"
        )
    return list(zip(pairs, angles, strict=True))


def _offset(before: int, after: int, focus: float | None, share: float) -> int:
    """Where the first pixel of an axis comes to lie."""
    if focus is None or before <= after:
        return (after - before) // 2
    return -int(np.clip(round(focus - share * after), 0, before - after))


def _about_middle(size: Size, matrix: ArrayLike) -> Homography:
    """The matrix, with the middle of the image as its origin."""
    to_middle: FloatArray = np.eye(len(size) + 1)
    to_middle[:-1, -1] = [-(side - 1) / 2 for side in reversed(size)]
    from_middle: FloatArray = np.eye(len(size) + 1)
    from_middle[:-1, -1] = -to_middle[:-1, -1]
    return Homography(from_middle @ np.asarray(matrix, dtype=np.float64) @ to_middle, size)
