"""Images with keypoints on them, contact sheets, and their bytes.

An image keeps its place in its drawing: it begins at the first row and column, and the drawing's
pixels follow the rule of `placewise.geometry`, so a keypoint at an integer stands on the middle of
its pixel also where the image was enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from placewise.errors import ImageError, SettingsError
from placewise.geometry import FloatArray, Size, ratio_of, rescale
from placewise.report.letters import font_of
from placewise.report.marks import (
    BLACK,
    WHITE,
    Overlay,
    draw_circle,
    draw_cross,
    draw_keypoint,
    draw_line,
)
from placewise.report.sheets import GAP, legend_of
from placewise.report.slices import grey_volume, shown_sides, slices
from placewise.report.style import DARK, LIGHT, POINT_COLOURS, RGB, Theme, mark, object_shape
from placewise.report.traces import TITLE, rows_of

SIDE = (480, 1280)
"""Least and most pixels of the longer side of a drawing."""

FAR = 1e6
"""Pixels beyond which nothing is drawn."""

PANEL = 320
"""Pixels of the longest side of a volume on a drawing, about."""

OBJECT_MARK = 4.0
"""Radius of a keypoint's mark where several objects have many, in units of the drawing."""


def keypoints(
    image: NDArray[np.generic],
    points: ArrayLike,
    names: Sequence[str],
    *,
    truth: ArrayLike | None = None,
    radii: ArrayLike | None = None,
    scores: ArrayLike | None = None,
    threshold: float = 0.5,
    skeleton: Sequence[tuple[str, str]] = (),
    crop: bool = False,
    legend: bool = False,
    side: tuple[int, int] = SIDE,
    identities: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
) -> Overlay:
    """Draw keypoints on an image.

    A keypoint is a filled mark, hollow where its score is low; a thin line leads from it to a cross
    at the truth, and a circle holds 90 % of truths. Small images are enlarged by a whole number, so
    that a mark does not hide what it marks. Where objects have identities, each has its colour and
    its number, and the shape of a mark says which keypoint it is.

    Args:
        image: (height, width, channels) uint8, uint16 or float in 0..1; (length, channels) of a
            signal, which is drawn as lines; or (depth, height, width, channels) of a volume, of
            which three slices are shown through the middle of the keypoints.
        points: (points, axes) or (instances, points, axes) of (x, y, …) in pixels; NaN is not
            drawn.
        names: the points' names.
        truth: where the points are, shaped like `points`, or (other instances, points, 2) with
            identities.
        radii: radius `r90` in pixels of each point.
        scores: probability of each point that it is there.
        threshold: score below which a keypoint is hollow.
        skeleton: pairs of names to join.
        crop: show only the surroundings of the keypoints.
        legend: write the names on a strip below the image.
        side: least and most pixels of the longer side of the drawing.
        identities: number of each instance.
        spacing: distance of the pixels along the axes, of a signal in seconds; None: not known.

    Returns:
        (height, width, 3) uint8.

    Raises:
        SettingsError: the arrays do not fit the names, or the image is not an image.

    Example:
        >>> keypoints(np.zeros((60, 80, 1), np.uint8), [[0, 0]], ["nose"], side=(160, 160)).shape
        (120, 160, 3)
    """
    loose = identities is not None and truth is not None
    shape = len(names), image.ndim - 1
    marks = _marks(shape, points, None if loose else truth, radii, scores, threshold)
    if loose:
        marks = replace(marks, truth=_far_left_out(np.asarray(truth, np.float64)))
    if image.ndim != 3:
        planes = planes_of(image, marks.focus(), side, spacing)
        for plane in planes:
            _draw(plane.canvas, marks.on(plane), names, skeleton if image.ndim == 4 else ())
        canvas = joined(planes)
        return np.concatenate([canvas, legend_of(names, canvas.shape[1])]) if legend else canvas
    shown = as_rgb(image)
    if crop:
        left, top, right, bottom = _surroundings(marks, (shown.shape[0], shown.shape[1]))
        shown, marks = shown[top:bottom, left:right], marks.shifted(left, top)
    canvas = at_size(shown, side)
    marks = marks.scaled(ratio_of(shown.shape[:2], canvas.shape[:2]))
    if identities is None:
        _draw(canvas, marks, names, skeleton)
    else:
        _draw_objects(canvas, marks, names, skeleton, identities)
    strip = (
        legend_of(names, canvas.shape[1], DARK, identities is not None) if legend else canvas[:0]
    )
    return np.concatenate([canvas, strip])


def as_rgb(image: NDArray[np.generic]) -> Overlay:
    """An image as it is shown: 8 bits, three channels; a signal as lines, a volume as slices.

    16-bit images are stretched between their 0.1 and 99.9 percent of brightness, because many
    cameras and scanners fill only a small part of the 16 bits.

    Args:
        image: (height, width, 1, 3 or 4 channels) uint8, uint16 or float in 0..1; a signal
            (length, channels), or a volume (depth, height, width, channels), of any numbers.

    Raises:
        SettingsError: the array is not an image.

    Example:
        >>> as_rgb(np.array([[[0.0], [1.0]]])).tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    if image.ndim == 2 and image.size:
        return stacked([row.canvas for row in rows_of(image)])
    if image.ndim == 4 and image.size:
        return side_by_side(
            [(panel_of(one.image, image), one.title) for one in slices(grey_volume(image))]
        )
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise SettingsError(
            f"got an image of shape {image.shape}; needed is (height, width, channels) with "
            "1, 3 or 4 channels and at least one pixel"
        )
    plain = image[..., :3]
    if plain.dtype != np.uint8:
        values = np.nan_to_num(plain.astype(np.float64))
        low, high = (0.0, 1.0) if plain.dtype.kind == "f" else np.percentile(values, [0.1, 99.9])
        span = max(float(high - low), 1e-9)
        plain = np.rint(np.clip((values - low) / span, 0, 1) * 255)
    three = np.repeat(plain, 3, axis=2) if plain.shape[2] == 1 else plain
    return three.astype(np.uint8)


def to_png(image: Overlay) -> bytes:
    """A drawing as the bytes of a PNG file.

    Example:
        >>> to_png(np.zeros((2, 2, 3), np.uint8))[1:4]
        b'PNG'
    """
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def save_image(path: Path, image: Overlay) -> None:
    """Write a drawing as a PNG file, in place of an older one.

    Raises:
        ImageError: the system refused, e.g. because the disk is full.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_image(Path(folder, "a.png"), np.zeros((2, 3, 3), np.uint8))
        ...     Path(folder, "a.png").read_bytes()[1:4]
        b'PNG'
    """
    try:
        path.write_bytes(to_png(image))
    except OSError as error:
        raise ImageError(
            f"{path} could not be written: {error.strerror or error}; make sure that its folder "
            "exists, is writable and has free space"
        ) from error


def to_jpeg(pixels: Overlay, longest: int, quality: int = 85) -> bytes:
    """A drawing as the bytes of a JPEG file whose longer side has at most `longest` pixels.

    Example:
        >>> to_jpeg(np.zeros((20, 40, 3), np.uint8), 16)[:2].hex()
        'ffd8'
    """
    image, buffer = Image.fromarray(pixels), BytesIO()
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Marks:
    """What is drawn: points and truth (instances, points, axes), the rest (instances, points)."""

    points: FloatArray
    truth: FloatArray
    radii: FloatArray
    hollow: NDArray[np.bool_]

    def shifted(self, left: int, top: int) -> _Marks:
        corner = np.array([left, top])
        return replace(self, points=self.points - corner, truth=self.truth - corner)

    def focus(self) -> FloatArray:
        """(n, axes) places that are drawn: found ones, and of volumes labelled ones too."""
        axes = self.points.shape[-1]
        both = [self.points] if axes == 1 else [self.points, self.truth]
        places = np.concatenate(both).reshape(-1, axes)
        return places[np.isfinite(places).all(-1)]

    def on(self, plane: Plane) -> _Marks:
        """The same on a part of a signal or a slice of a volume."""
        points, truth = (
            plane.at(one.reshape(-1, one.shape[-1])).reshape(*one.shape[:-1], 2)
            for one in (self.points, self.truth)
        )
        return replace(self, points=points, truth=truth, radii=self.radii * plane.ratio)

    def scaled(self, ratio: Sequence[float]) -> _Marks:
        radii = self.radii * _mean(ratio)
        points, truth = rescale(self.points, ratio), rescale(self.truth, ratio)
        return _Marks(points, truth, radii, self.hollow)


def _marks(
    shape: tuple[int, int],
    points: ArrayLike,
    truth: ArrayLike | None,
    radii: ArrayLike | None,
    scores: ArrayLike | None,
    threshold: float,
) -> _Marks:
    found, (count, axes) = np.asarray(points, dtype=np.float64), shape
    if found.shape[-2:] != shape or found.ndim not in (2, 3):
        raise SettingsError(
            f"got points of shape {found.shape} for {count} names; needed is ({count}, {axes}) or "
            f"(instances, {count}, {axes}), as the image has {axes} axes beside its channels"
        )
    return _Marks(
        _like(found.shape, "points", found).reshape(-1, *shape),
        _like(found.shape, "truth", truth).reshape(-1, *shape),
        _like(found.shape[:-1], "radii", radii).reshape(-1, count),
        _like(found.shape[:-1], "scores", scores).reshape(-1, count) < threshold,
    )


def _like(shape: tuple[int, ...], name: str, value: ArrayLike | None) -> FloatArray:
    """The value as an array of this shape, NaN where there is no number that can be drawn."""
    array = np.full(shape, np.nan) if value is None else np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise SettingsError(f"got {name} of shape {array.shape}; with these points it is {shape}")
    return _far_left_out(array)


def _far_left_out(array: FloatArray) -> FloatArray:
    return np.where(np.abs(array) < FAR, array, np.nan)


def panel_of(
    image: Overlay, volume: NDArray[np.generic], spacing: Sequence[float] | None = None
) -> Overlay:
    """A slice enlarged by the whole number that suits all slices of its volume.

    Args:
        image: (rows, columns, channels) of a `Slice`.
        volume: which it is cut from.
        spacing: with which it was cut.
    """
    zoom = max(1, round(PANEL / max(shown_sides(volume.shape[:3], spacing))))
    return np.ascontiguousarray(as_rgb(image).repeat(zoom, 0).repeat(zoom, 1))


@dataclass(frozen=True)
class Plane:
    """A canvas that shows an image, a part of a signal, or a slice of a volume.

    Attributes:
        canvas: (height, width, 3), which marks are drawn on.
        at: (n, axes) places on the image to (n, 2) of (x, y) on the canvas; NaN where a place is
            not on it.
        ratio: pixels of the canvas for one of the image, on average over its axes.
        title: of a slice.
        off: of a slice of a volume, (n, axes) places to their (n,) distances in voxels from it.
    """

    canvas: Overlay
    at: Callable[[FloatArray], FloatArray]
    ratio: float
    title: str = ""
    off: Callable[[FloatArray], FloatArray] | None = None


def planes_of(
    image: NDArray[np.generic],
    focus: FloatArray,
    side: tuple[int, int] = SIDE,
    spacing: Sequence[float] | None = None,
) -> list[Plane]:
    """What an image is drawn on: one canvas, rows of a signal, three slices of a volume.

    Args:
        image: (*size, channels) of 1, 2 or 3 axes.
        focus: (n, axes) places that parts and slices should show, the most important first.
        side: least and most pixels of the longer side of an image's canvas.
        spacing: distance of the pixels along the axes, of a signal in seconds; None: not known.

    Example:
        >>> (plane,) = planes_of(np.zeros((40, 80, 1), np.uint8), np.empty((0, 2)), (160, 160))
        >>> plane.at(np.array([[0.0, 1.0]]))
        array([[0.5, 2.5]])
    """
    if image.ndim == 2:
        rows = rows_of(image, focus[:, 0].tolist(), spacing[0] if spacing else None)
        return [Plane(row.canvas, row.places, row.ratio) for row in rows]
    if image.ndim == 3:
        canvas = at_size(as_rgb(image), side)
        ratio = ratio_of(image.shape[:2], canvas.shape[:2])
        return [Plane(canvas, partial(rescale, ratio=ratio), _mean(ratio))]
    planes = []
    place = focus.mean(0).tolist() if len(focus) else None
    for one in slices(grey_volume(image), place, spacing):
        canvas = panel_of(one.image, image, spacing)
        ratio, axes = ratio_of(one.size, canvas.shape[:2]), list(one.axes)
        at = partial(_along, axes=axes, ratio=ratio)
        off = partial(_off, axis=one.through, at=one.at)
        zoom = ratio_of(one.image.shape[:2], canvas.shape[:2])[0]
        usual = zoom * _mean(ratio_of(image.shape[:3], shown_sides(image.shape[:3], spacing)))
        planes.append(Plane(canvas, at, usual, one.title, off))
    return planes


def _off(places: FloatArray, axis: int, at: int) -> FloatArray:
    return np.asarray(np.abs(places[:, axis] - at))


def _along(places: FloatArray, axes: Sequence[int], ratio: tuple[float, ...]) -> FloatArray:
    return rescale(places[:, axes], ratio)


def _mean(ratio: Sequence[float]) -> float:
    return float(np.prod(ratio) ** (1 / len(ratio)))


def joined(planes: Sequence[Plane]) -> Overlay:
    """The canvases as one picture: rows below each other, slices side by side."""
    if planes[0].title:
        return side_by_side([(one.canvas, one.title) for one in planes])
    return stacked([one.canvas for one in planes])


def stacked(rows: Sequence[Overlay]) -> Overlay:
    """Pictures of one width below each other, with a line between them."""
    line = np.full((1, rows[0].shape[1], 3), 200, np.uint8)
    return np.concatenate([part for one in rows for part in (line, one)][1:])


def side_by_side(panels: Sequence[tuple[Overlay, str]], theme: Theme = LIGHT) -> Overlay:
    """Pictures next to each other, each under its title, on one page."""
    font = font_of(13)
    widths = [max(one.shape[1], int(font.getlength(title)) + 4) for one, title in panels]
    high = max(one.shape[0] for one, _ in panels) + TITLE
    page = Image.new("RGB", (sum(widths) + GAP * (len(panels) - 1), high), theme.paper)
    left = 0
    for (one, title), width in zip(panels, widths, strict=True):
        ImageDraw.Draw(page).text((left, 2), title, theme.muted, font)
        page.paste(Image.fromarray(one), (left, TITLE))
        left += width + GAP
    return np.array(page)


def _surroundings(marks: _Marks, size: Size) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a square about the points, moved to lie on the image."""
    both = np.concatenate([marks.points.reshape(-1, 2), marks.truth.reshape(-1, 2)])
    known = both[np.isfinite(both).all(-1)]
    limit = np.array([size[1], size[0]])
    if not len(known):
        return 0, 0, size[1], size[0]
    low, high = known.min(0), known.max(0)
    side = np.ceil(max(1.5 * float((high - low).max()), 0.16 * max(size), 48.0))
    sides = np.minimum(side, limit)
    corner = np.clip(np.round((low + high - sides) / 2), 0, limit - sides).astype(int)
    left, top = corner.tolist()
    return left, top, left + int(sides[0]), top + int(sides[1])


def at_size(image: Overlay, side: tuple[int, int]) -> Overlay:
    """An image enlarged by a whole number, or made smaller.

    Args:
        image: (height, width, 3) uint8.
        side: least and most pixels of its longer side.

    Example:
        >>> at_size(np.zeros((4, 6, 3), np.uint8), (10, 20)).shape
        (8, 12, 3)
    """
    height, width = image.shape[:2]
    least, most = side
    longest = max(height, width)
    if longest > most:
        size = max(1, round(width * most / longest)), max(1, round(height * most / longest))
        return np.array(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    zoom = max(1, min(-(-least // longest), most // longest))
    return np.ascontiguousarray(image.repeat(zoom, 0).repeat(zoom, 1))


def _draw(
    canvas: Overlay, marks: _Marks, names: Sequence[str], skeleton: Sequence[tuple[str, str]]
) -> None:
    """Draw everything in the order in which it may cover what is below."""
    unit = max(1.0, float(np.hypot(*canvas.shape[:2])) / 800)
    radius = 4.0 * unit
    place = {name: index for index, name in enumerate(names)}
    for points in marks.points:
        for first, second in skeleton:
            if first in place and second in place:
                draw_line(canvas, points[place[first]], points[place[second]], WHITE, unit)
    each = [(i, k) for i in range(len(marks.points)) for k in range(len(names))]
    for i, k in each:
        colour = mark(k)[0]
        draw_circle(canvas, marks.points[i, k], float(marks.radii[i, k]), colour, unit)
        draw_line(canvas, *_outside(marks.points[i, k], marks.truth[i, k], radius), colour, unit)
    for i, k in each:
        draw_keypoint(canvas, marks.points[i, k], k, radius, hollow=bool(marks.hollow[i, k]))
    for i, k in each:
        draw_cross(canvas, marks.truth[i, k], unit)


def _draw_objects(
    canvas: Overlay,
    marks: _Marks,
    names: Sequence[str],
    skeleton: Sequence[tuple[str, str]],
    identities: Sequence[int],
) -> None:
    """Draw objects, each in its colour and with its number; crosses stand where the labels are."""
    unit = max(1.0, float(np.hypot(*canvas.shape[:2])) / 800)
    place = {name: index for index, name in enumerate(names)}
    joints = [(place[a], place[b]) for a, b in skeleton if a in place and b in place]
    colours = [POINT_COLOURS[identity % len(POINT_COLOURS)] for identity in identities]
    radius = OBJECT_MARK * unit
    for points, colour in zip(marks.points, colours, strict=True):
        for a, b in joints:
            draw_line(canvas, points[a], points[b], colour, unit)
    for truth in marks.truth.reshape(-1, 2):
        draw_cross(canvas, truth, 0.8 * unit)
    for points, hollow, colour in zip(marks.points, marks.hollow, colours, strict=True):
        for k, point in enumerate(points):
            shape = object_shape(k)
            draw_keypoint(
                canvas, point, k, radius, hollow=bool(hollow[k]), colour=colour, shape=shape
            )
    for points, identity, colour in zip(marks.points, identities, colours, strict=True):
        _number(canvas, points, str(identity), colour, unit)


def _number(canvas: Overlay, points: FloatArray, words: str, colour: RGB, unit: float) -> None:
    """Write an object's number above its highest keypoint, on the canvas."""
    known = points[np.isfinite(points).all(-1)]
    if not len(known):
        return
    font = font_of(round(16 * unit))
    top = known[known[:, 1].argmin()]
    wide, high = font.getlength(words), 18 * unit
    x = float(np.clip(top[0] - wide / 2, 2, max(2, canvas.shape[1] - wide - 2)))
    y = float(np.clip(top[1] - high - 7 * unit, 2, max(2, canvas.shape[0] - high - 2)))
    image = Image.fromarray(canvas)
    ImageDraw.Draw(image).text(
        (x, y), words, colour, font, stroke_width=max(1, round(1.5 * unit)), stroke_fill=BLACK
    )
    canvas[:] = np.asarray(image)


def _outside(point: FloatArray, truth: FloatArray, radius: float) -> tuple[FloatArray, FloatArray]:
    """Both ends of the line from a mark's rim to the truth; none where the truth is within it."""
    along = truth - point
    share = radius / max(float(np.hypot(*along)), 1e-9)
    return point + along * (share if share < 1 else np.nan), truth
