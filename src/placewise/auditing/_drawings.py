"""The figures of an audit: which there are, what each shows, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from placewise.auditing._count import Counted, layer_name, shares, some
from placewise.auditing._finding import block_means
from placewise.auditing._measure import Measured
from placewise.auditing._structure import ratio
from placewise.auditing._words import corner_names, sides_of
from placewise.auditing.evenness import SizeEvenness
from placewise.auditing.receptive_field import pixels_read
from placewise.geometry import FloatArray
from placewise.report import layers, maps
from placewise.report.style import Theme
from placewise.wording import number, share

DEPTHS = 6
"""Layers whose maps or curves stand beside each other."""

CELLS = 32
"""Cells per axis of a measured map that is drawn: finer, it is noise."""


NAMES = (
    "paths paths_by_layer ratio_by_layer sizes support padding sensitivity effective_field phases "
    "places equivariance border_swap position"
).split()
"""Of all figures that an audit can have."""


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: of its file, without an ending.
        caption: what it shows, and what to do.
        alt: the same for who cannot see it.
        draw: its bytes as a PNG in the colours of a theme.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[Theme], bytes]


def drawn(figure: Callable[..., bytes], *values: object) -> Callable[[Theme], bytes]:
    """A figure of these values in any theme, which is drawn once in each."""
    return cache(partial(figure, *values))


def all_drawings(
    counted: Counted | None, measured: Measured | None, sizes: Sequence[SizeEvenness]
) -> list[Drawing]:
    """All figures, the most telling first."""
    found: list[Drawing] = []
    if counted is not None:
        found += path_drawings(counted)
        if not counted.evenness.missed:
            found += size_drawings(sizes, counted.evenness.size)
        found += padding_drawings(counted)
    if measured is not None:
        found += sensitivity_drawings(measured, counted)
        found += field_drawings(measured, counted)
        found += shift_drawings(measured)
        found += border_drawings(measured)
        found += position_drawings(measured)
    return found


def path_drawings(counted: Counted) -> list[Drawing]:
    """The map of paths, the maps by depth and the curve."""
    paths = counted.paths
    deep = " Of the first axis the middle is shown." if paths.counts.ndim == 3 else ""
    found = [
        Drawing(
            "paths",
            "How many paths lead from each pixel to the last feature map, beside the best-served "
            "pixel (the cross). Dark borders are where the network has few ways to learn from "
            "what is there: keep what matters away from them, or pad the image with its "
            f"surroundings.{deep}",
            "Map of path counts; corners "
            + ", ".join(
                f"{name} {maps.fraction(float(count / (paths.maximum or 1)))}"
                for name, count in zip(corner_names(paths.counts.ndim), paths.corners, strict=True)
            ),
            drawn(maps.path_map, shares(paths.counts)),
        )
    ]
    if len(counted.layers) > 1:
        found += _depth_drawings(counted)
    return found


def _depth_drawings(counted: Counted) -> list[Drawing]:
    shown = [
        (
            f"{layer_name(counted.graph, layer.node)}\n{sides_of(counted.sides(layer.node))}",
            shares(layer.paths.counts),
        )
        for layer in some(counted.layers, DEPTHS)
    ]
    names = [layer_name(counted.graph, layer.node) for layer in counted.layers]
    said = ", ".join(layer_name(counted.graph, one.node) for one in some(counted.layers, DEPTHS))
    best = [layer.paths.max_over_corner for layer in counted.layers]
    worst = [ratio(layer.paths.maximum, min(layer.paths.corners)) for layer in counted.layers]
    return [
        Drawing(
            "paths_by_layer",
            "The same for the paths to earlier layers, from the first to the last. The border "
            "darkens with depth; where it darkens at one side only, a layer drops padding there.",
            f"Maps of path counts to {len(shown)} layers: {said}",
            drawn(maps.depth_maps, shown),
        ),
        Drawing(
            "ratio_by_layer",
            "How far the best-served pixel is ahead of the corners, layer by layer. A steady rise "
            "is padding at work; if two curves part, the image's size is uneven.",
            f"Curves that end at {number(best[-1])} for the best corner and {number(worst[-1])} "
            "for the worst",
            drawn(
                layers.depth_curves,
                names,
                [("best corner", best), ("worst corner", worst)],
                "best-served pixel over corner",
            ),
        ),
    ]


def size_drawings(sizes: Sequence[SizeEvenness], own: Sequence[int]) -> list[Drawing]:
    """The chart of evenness over sizes."""
    if not any(one.uneven_layers for one in sizes):
        return []
    even = [one.size for one in sizes if one.even]
    rows = [(one.size, one.uneven_layers) for one in sizes if one.possible]
    said = ", ".join(map(str, even[:12])) or "none"
    return [
        Drawing(
            "sizes",
            "How many layers drop a padded row or column at each size of the image; the size "
            "that was audited stands out, and green lines are the even sizes. Use one of these: "
            "at any other, the network treats left and right, or top and bottom, differently.",
            f"Bars of uneven layers by size; even sizes: {said}",
            drawn(layers.sizes_chart, rows, own[-1] if len(set(own)) == 1 else None),
        )
    ]


def padding_drawings(counted: Counted) -> list[Drawing]:
    """What each place of the last map rests on: image and padding."""
    padded, pictured = counted.padding.share, counted.padding.pictured
    if padded.ndim != counted.paths.counts.ndim or not padded.any():
        return []
    support = shares(pictured)
    return [
        Drawing(
            "support",
            "How many paths reach each place of the last feature map from the image, beside the "
            "best-served place. Where there are few, zeros stand in for image: trust what the "
            "network says of the border less, or give it more surroundings.",
            f"Map of the paths to each place, from {share(float(support.min()))} of the best",
            drawn(maps.share_map, support, "paths from the image"),
        ),
        Drawing(
            "padding",
            "Of the paths to each place of the last feature map, how many begin in padding. By "
            "these paths zeros tell the network where the border is; reflected or replicated "
            "padding would not.",
            f"Map of the share of paths that begin in padding, from {share(float(padded.min()))} "
            f"to {share(float(padded.max()))}",
            drawn(maps.share_map, padded, "paths that begin in padding"),
        ),
    ]


def field_drawings(measured: Measured, counted: Counted | None) -> list[Drawing]:
    """The effective receptive field."""
    found = measured.effective_field
    if found is None:
        return []
    box = pixels_read(counted.graph).box if counted else ()
    return [
        Drawing(
            "effective_field",
            "What the middle place of the last map listens to, averaged over the "
            f"{measured.source}. The solid square is as large as the effective field, the dashed "
            "frame is all that it could read. Objects much larger than the square are seen in "
            "parts only.",
            f"Map of the effective receptive field, {number(found.size)} px wide",
            drawn(maps.field_map, found.energy, found.size, box),
        )
    ]


def sensitivity_drawings(measured: Measured, counted: Counted | None) -> list[Drawing]:
    """Measured sensitivity beside what the paths predict."""
    shown: list[tuple[str, FloatArray]] = []
    if measured.sensitivity is not None:
        shown.append(("small noise", _coarse(measured.sensitivity.map)))
    if measured.occlusion is not None:
        shown.append(("painted over", measured.occlusion.map))
    if not shown:
        return []
    if counted is not None:
        shown.append(("predicted by the paths", _coarse(shares(counted.paths.counts))))
    against = ", beside the number of paths" if counted else ""
    return [
        Drawing(
            "sensitivity",
            f"How much the answer changes when a place of the image does{against}; 1 is the "
            "map’s mean. Where the measured maps are flatter than the paths, the weights make up "
            "for the structure; dark corners are places that the network overlooks.",
            f"Maps of sensitivity by position: {', '.join(name for name, _ in shown)}",
            drawn(maps.beside, shown, "relative to the map’s mean"),
        )
    ]


def shift_drawings(measured: Measured) -> list[Drawing]:
    """The answer's change by phase and by place."""
    found = []
    if (phases := measured.phases) is not None:
        found.append(
            Drawing(
                "phases",
                "How much of the differences between answers a small shift of the image makes, "
                "by how far it moves; the last row and column are a whole stride. High numbers "
                "mean that the answer hangs on the grid the network samples at: blur before "
                "striding, or train on shifted images.",
                f"Map of the answer’s change by shift, up to {share(float(phases.share.max()))}",
                drawn(
                    maps.grid_map,
                    100 * phases.share,
                    phases.offsets,
                    "of the answers’ variance (%)",
                    "moved by",
                ),
            )
        )
    if (places := measured.places) is not None:
        found.append(
            Drawing(
                "places",
                f"How strongly the answer reacts to an object of {sides_of(places.object)} px at "
                "each place on even ground; 100 is the mean. Low numbers at the border are "
                "objects that the network notices less there.",
                f"Map of the response by place, from {number(100 * places.response.min())} to "
                f"{number(100 * places.response.max())}",
                drawn(
                    maps.grid_map,
                    100 * places.response,
                    places.offsets,
                    "response (% of the mean)",
                    "object begins at",
                ),
            )
        )
    return found


def border_drawings(measured: Measured) -> list[Drawing]:
    """What the border does to feature maps."""
    found = []
    label = "difference, in spreads of the features"
    if measured.equivariance:
        found.append(
            Drawing(
                "equivariance",
                "How far each layer’s map fails to move with the image, by distance from the "
                "border. Curves that fall to 0 are layers that treat all places alike but for the "
                "border; what stays high never does.",
                "Curves of the equivariance error by distance from the border",
                drawn(layers.border_curves, _curves(measured.equivariance), label),
            )
        )
    if measured.border_swap:
        found.append(
            Drawing(
                "border_swap",
                "How far features under padding differ from those with real image around, by "
                "distance from the border. The distance at which a curve reaches 0 is how wide a "
                "margin to add to images, or to leave out of what is read off them.",
                "Curves of the border’s effect by distance from it",
                drawn(layers.border_curves, _curves(measured.border_swap), label),
            )
        )
    return found


def position_drawings(measured: Measured) -> list[Drawing]:
    """How well the place can be read off each layer."""
    if not measured.position:
        return []
    rows = [
        {
            "layer": one.layer,
            "read": float(np.mean(one.r2)),
            "image": float(np.mean(one.raw_r2)),
        }
        for one in measured.position
    ]
    best = max(row["read"] for row in rows if isinstance(row["read"], float))
    return [
        Drawing(
            "position",
            "How well a place can be told from the features at it alone, layer by layer. What goes "
            "beyond the image’s own share is leaked by the padding: such a network can learn "
            "where things use to be instead of what they are.",
            f"Bars of the share of the place that can be read, {share(max(0.0, best))} at most",
            drawn(layers.probe_bars, rows),
        )
    ]


def _curves(found: Sequence[Any]) -> list[tuple[str, FloatArray]]:
    places = np.linspace(0, len(found) - 1, min(DEPTHS, len(found))).round().astype(int)
    return [(found[place].layer, found[place].relative) for place in places]


def _coarse(values: FloatArray) -> FloatArray:
    """Means over so many cells at most along each axis."""
    cells = [min(side, CELLS) for side in values.shape]
    starts = [side * np.arange(n) // n for side, n in zip(values.shape, cells, strict=True)]
    return block_means(values, starts)
