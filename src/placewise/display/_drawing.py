"""A network drawn as a row of volumes: maps as stacked sheets, vectors as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from placewise.display._rows import Row, maps_of
from placewise.report.canvas import canvas, png
from placewise.report.style import Theme
from placewise.wording import IMAGES_OF

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 12
"""Largest number of volumes in a drawing."""

SHEETS = 8
"""Largest number of sheets in a volume."""

STEP, SHIFT, HIGH, INCH = 1.9, 0.055, 2.7, 0.62
"""Distance of volumes, distance of sheets and height of the drawing, in sides of the largest sheet;
and inches per side."""

WORDS = {
    "convolution": "convolution",
    "pooling": "pooling",
    "fully connected": "fully\nconnected",
    "locally connected": "locally\nconnected",
    "proximity": "proximity",
}
"""Names of types of layers; other layers are called by what they are."""


class Volume(NamedTuple):
    """What is drawn for a layer."""

    shape: tuple[int, ...]
    type: str
    filters: str
    times: int


def volumes(shape: Sequence[int], rows: Sequence[Row]) -> list[Volume]:
    """The image and the layers; equal layers in sequence are one volume.

    Layers that keep the size and have no type of their own (norms, sums) are left out.

    Args:
        shape: (channels, *space) of the image.
        rows: of the network.

    Example:
        >>> [volume.times for volume in volumes((1, 8), [Row("a", "b", "convolution", (2, 8))] * 3)]
        [1, 3]
    """
    image = IMAGES_OF.get(len(shape) - 1, "images").removesuffix("s")
    made = [Volume(tuple(shape), image, "", 1)]
    for row in rows:
        last = made[-1]
        if row.type not in WORDS and math.prod(row.shape) == math.prod(last.shape):
            continue
        type_ = WORDS.get(row.type, row.what.partition(",")[0].replace("_", "\n", 1))
        filters = row.filters.rpartition(" of ")[2]
        if (last.shape, last.type) == (row.shape, type_):
            alike = filters if filters == last.filters else _window(filters, last.filters)
            made[-1] = last._replace(times=last.times + 1, filters=alike)
        else:
            made.append(Volume(row.shape or (1,), type_, filters, 1))
    return made


def _window(one: str, other: str) -> str:
    """The window of two filters along the axes of the map, if it is the same."""
    first, second = (filters.split("×")[:2] for filters in (one, other))
    return "×".join(first) if first == second else ""


def drawing(shape: Sequence[int], rows: Sequence[Row], theme: Theme) -> bytes:
    """The bytes of a PNG.

    Args:
        shape: (channels, *space) of the image.
        rows: of the network.
        theme: colours.
    """
    shown = volumes(shape, rows)
    if len(shown) > MOST:
        step = (len(shown) - 1) / (MOST - 1)
        shown = [shown[round(step * n)] for n in range(MOST)]
    figure, (axes,) = canvas(HIGH * INCH, theme)
    figure.set_size_inches(len(shown) * STEP * INCH, HIGH * INCH)
    axes.axis("off")
    longest = max(max(volume.shape[1:], default=1) for volume in shown)
    for number, volume in enumerate(shown):
        _draw(axes, number * STEP, volume, longest, theme)
        if number:
            before = (number - 0.5) * STEP
            axes.plot([before - 0.1, before + 0.1], [0, 0], color=theme.muted, linewidth=1)
    axes.set_xlim(-STEP / 2, (len(shown) - 0.5) * STEP)
    axes.set_ylim(-1.1, HIGH - 1.1)
    return png(figure)


def _draw(axes: Axes, middle: float, volume: Volume, longest: int, theme: Theme) -> None:
    """One volume, with its name above and its shape below."""
    from matplotlib.patches import Rectangle

    colour = {one.removesuffix("s"): theme.muted for one in IMAGES_OF.values()}
    colour |= {"pooling": theme.muted, "fully\nconnected": theme.second}
    own = colour.get(volume.type, theme.third if volume.type in WORDS.values() else theme.first)
    own = theme.first if volume.type == "convolution" else own
    wide, high = _sides(volume.shape, longest)
    count = min(SHEETS, volume.shape[0]) if len(volume.shape) > 1 else 1
    for sheet in reversed(range(count)):
        offset = (sheet - (count - 1) / 2) * SHIFT
        corner = (middle - wide / 2 + offset, -high / 2 + offset)
        axes.add_patch(
            Rectangle(corner, wide, high, facecolor=own, edgecolor=theme.paper, linewidth=0.7)
        )
    words = volume.type if volume.times == 1 else f"{volume.times} × {volume.type}"
    top = f"{words}\n{volume.filters}".rstrip()
    style: dict[str, Any] = {"ha": "center", "color": theme.ink, "fontsize": 7}
    axes.text(middle, 0.85, top, va="bottom", **style)
    axes.text(middle, -0.85, maps_of(volume.shape), va="top", **style)


def _sides(shape: Sequence[int], longest: int) -> tuple[float, float]:
    """Width and height of a sheet: square roots of its sides, so that small maps are visible."""
    if len(shape) == 1:
        return 0.14, 0.25 + 1.15 * min(1.0, (shape[0] / 150) ** 0.5)
    wide, high = shape[-1], shape[-2] if len(shape) > 2 else longest / 12
    return 0.15 + 1.0 * (wide / longest) ** 0.5, 0.15 + 1.0 * (high / longest) ** 0.5
