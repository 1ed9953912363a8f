"""The figures of an audit: what each shows, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from placewise.auditing._counted import Counted, some_of
from placewise.auditing._measured import Measured
from placewise.auditing._numbers import block_means, cells, ratio, relative_of
from placewise.auditing._words import corner_names, sides_of
from placewise.auditing.alignment import SizeAlignment
from placewise.auditing.receptive_field import pixels_read
from placewise.geometry import FloatArray
from placewise.report import layers, maps
from placewise.report.spoken import said
from placewise.report.style import Theme
from placewise.wording import number, share

DEPTHS = 6
"""Layers whose maps or curves are drawn in one figure."""

CELLS = 32
"""Cells per axis of a measured map that is drawn; a finer map shows only noise."""

NAMES = (
    "paths paths_by_layer ratio_by_layer sizes support padding sensitivity effective_field phases "
    "places equivariance border_swap position"
).split()
"""Names of all figures that an audit can have."""


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        name: of its file, without an ending.
        caption: what it shows, and what to do.
        alt: its content for readers who cannot see it.
        draw: gives the bytes of a PNG in the colours of a theme.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[Theme], bytes]


def _drawn(figure: Callable[..., bytes], *values: object) -> Callable[[Theme], bytes]:
    """A figure of these values in any theme, drawn only once in each."""
    return cache(partial(figure, *values))


def counted_drawings(
    counted: Counted, sizes: Sequence[SizeAlignment], unit: str = "px"
) -> Iterator[Drawing]:
    """Figures of what was counted, the most important first; `unit` is what pixels are called."""
    yield _path_map(counted)
    if len(counted.layers) > 1:
        yield from _by_layer(counted, unit)
    if not counted.alignment.missed and any(one.misaligned_layers for one in sizes):
        yield _size_chart(sizes, counted.alignment.size, unit)
    yield from _padding_maps(counted, unit)


def measured_drawings(
    measured: Measured, counted: Counted | None, unit: str = "px"
) -> Iterator[Drawing]:
    """Figures of what was measured, the most important first."""
    yield from _sensitivity(measured, counted, unit)
    yield from _shifts(measured, unit)
    yield from _borders(measured, unit)


def _path_map(counted: Counted) -> Drawing:
    paths = counted.paths
    cross = " (the cross)" if len(paths.sides) > 1 else ""
    deep = " Of the first axis, only the middle is shown." if len(paths.sides) == 3 else ""
    corners = ", ".join(
        f"{name} {maps.fraction(float(count / (paths.maximum or 1)))}"
        for name, count in zip(corner_names(len(paths.sides)), paths.corners, strict=True)
    )
    return Drawing(
        "paths",
        "How many paths lead from each pixel to the last feature map, relative to the best-served "
        f"pixel{cross}. Where there are few, the network has little to learn from: keep what is "
        f"important away from there, or add real surroundings to the image.{deep}",
        f"Map of path counts; corners {corners}",
        _drawn(maps.path_map, relative_of(paths.packed)),
    )


def _by_layer(counted: Counted, unit: str) -> Iterator[Drawing]:
    shown = [
        (
            f"{counted.name(layer.node)}\n{sides_of(counted.sides(layer.node))}",
            relative_of(layer.paths.packed),
        )
        for layer in some_of(counted.layers, DEPTHS)
    ]
    names = ", ".join(counted.name(layer.node) for layer in some_of(counted.layers, DEPTHS))
    yield Drawing(
        "paths_by_layer",
        "The same for the paths to earlier layers, from the first to the last. The differences "
        "grow with depth; if they do so at one side only, a layer drops padding there.",
        f"Maps of path counts to {len(shown)} layers: {names}",
        _drawn(maps.depth_maps, shown),
    )
    best = [layer.paths.max_over_corner for layer in counted.layers]
    worst = [ratio(layer.paths.maximum, min(layer.paths.corners)) for layer in counted.layers]
    curves = {"best corner": best, "worst corner": worst}
    yield Drawing(
        "ratio_by_layer",
        "Paths of the best-served pixel over those of the corners, layer by layer. A steady rise "
        "is the effect of padding; if two curves separate, the size is not stride-aligned.",
        f"Curves that end at {number(best[-1])} for the best corner and {number(worst[-1])} "
        "for the worst",
        _drawn(
            layers.depth_curves,
            [counted.name(layer.node) for layer in counted.layers],
            [(said(name, unit), ratios) for name, ratios in curves.items()],
            said("best-served pixel over corner", unit),
        ),
    )


def _size_chart(sizes: Sequence[SizeAlignment], own: Sequence[int], unit: str) -> Drawing:
    aligned = [one.size for one in sizes if one.aligned]
    rows = [(one.size, one.misaligned_layers) for one in sizes if one.possible]
    known = ", ".join(map(str, aligned[:12])) or "none"
    caption = [
        "How many layers treat the two sides of an axis differently at each size of the image."
    ]
    square = len(set(own)) == 1
    if square:
        caption.append("The audited size is highlighted.")
    if aligned:
        caption.append(
            "Green lines are sizes that may be stride-aligned, by the strides of the audited size; "
            "the network may refuse those that were not tried on it."
        )
    return Drawing(
        "sizes",
        " ".join(caption),
        f"Bars of misaligned layers by size; sizes that may be stride-aligned: {known}",
        _drawn(layers.sizes_chart, rows, own[-1] if square else None, unit),
    )


def _padding_maps(counted: Counted, unit: str) -> Iterator[Drawing]:
    padded = counted.padding.share
    if padded.ndim != len(counted.paths.sides) or not padded.any():
        return
    support = relative_of(counted.padding.parts[1])
    yield Drawing(
        "support",
        "How many paths reach each place of the last feature map from the image, relative to the "
        "best-served place. Where there are few, zeros replace image content: trust the output at "
        "the border less, or add real surroundings to the image.",
        f"Map of the paths to each place, from {share(float(support.min()))} of the best",
        _drawn(maps.share_map, support, said("paths from the image", unit)),
    )
    yield Drawing(
        "padding",
        "Share of the paths to each place of the last feature map that begin in padding. Through "
        "these paths zeros show the network how far it is to the border; reflected or replicated "
        "padding does not.",
        f"Map of the share of paths that begin in padding, from {share(float(padded.min()))} "
        f"to {share(float(padded.max()))}",
        _drawn(maps.share_map, padded, "paths that begin in padding"),
    )


def _sensitivity(measured: Measured, counted: Counted | None, unit: str) -> Iterator[Drawing]:
    shown: list[tuple[str, FloatArray]] = []
    if measured.sensitivity is not None:
        shown.append(("small noise", _coarse(measured.sensitivity.map)))
    if measured.occlusion is not None:
        shown.append(("covered", measured.occlusion.map))
    if shown:
        if counted is not None:
            shown.append(("predicted by the paths", _coarse(relative_of(counted.paths.packed))))
        against = ", compared with the number of paths" if counted else ""
        yield Drawing(
            "sensitivity",
            f"How much the output changes when one place of the image changes{against}; 1 is the "
            "map’s mean. If the measured maps are flatter than the paths, the weights compensate "
            "for the structure; where they are low the network overlooks what is there.",
            f"Maps of sensitivity by position: {', '.join(name for name, _ in shown)}",
            _drawn(maps.beside, shown, "relative to the map’s mean"),
        )
    if (field := measured.effective_field) is not None:
        box = pixels_read(counted.graph).box if counted else ()
        squares = (
            "The solid square is as large as the effective field, the dashed box is everything "
            "that the place can read. "
            if field.energy.ndim > 1
            else ""
        )
        yield Drawing(
            "effective_field",
            "How strongly each pixel changes the middle place of the last map, averaged over the "
            f"{measured.source}. {squares}What is much larger than the effective field is read in "
            "parts only.",
            f"Map of the effective receptive field, {number(field.size)} px wide",
            _drawn(maps.field_map, field.energy, field.size, box),
        )


def _shifts(measured: Measured, unit: str) -> Iterator[Drawing]:
    if (phases := measured.phases) is not None:
        yield Drawing(
            "phases",
            "How much of the output’s variance is made by a shift below a stride, by the size of "
            f"the shift, beyond the {share(phases.beyond)} that a whole stride makes by new "
            "content at the border; 100: two crops of one image differ as much as two images. If "
            "the numbers are large, the output depends on the grid at which the network samples: "
            "blur before striding, or train on shifted images.",
            f"Map of the share of variance by shift, up to {share(phases.largest)}",
            _drawn(
                maps.grid_map,
                100 * phases.share,
                phases.offsets,
                "share of the variance (%)",
                "moved by",
                unit,
            ),
        )
    if (places := measured.places) is not None:
        yield Drawing(
            "places",
            f"How strongly the output reacts to a patch of {sides_of(places.object)} px at each "
            "place on a uniform ground; 100 is the mean. If numbers at the border are low, the "
            "network reacts less to what is there.",
            f"Map of the response by place, from {number(100 * places.response.min())} to "
            f"{number(100 * places.response.max())}",
            _drawn(
                maps.grid_map,
                100 * places.response,
                places.offsets,
                "response (% of the mean)",
                "patch begins at",
                unit,
            ),
        )


def _borders(measured: Measured, unit: str) -> Iterator[Drawing]:
    label = "difference, in spreads of the features"
    if measured.equivariance:
        yield Drawing(
            "equivariance",
            "How far each layer’s map fails to move with the image, by distance from the border. "
            "If a curve falls to 0, the layer treats all places alike except near the border; if "
            "it stays high, it does so nowhere.",
            "Curves of the equivariance error by distance from the border",
            _drawn(layers.border_curves, _curves(measured.equivariance), label, unit),
        )
    if measured.border_swap:
        yield Drawing(
            "border_swap",
            "How far features under padding differ from those with real image around, by distance "
            "from the border. The distance at which a curve reaches 0 is the margin to add to "
            "images, or to ignore in the output.",
            "Curves of the effect of the border by distance from it",
            _drawn(layers.border_curves, _curves(measured.border_swap), label, unit),
        )
    if measured.position:
        rows = [
            {
                "layer": one.layer,
                "read": float(np.mean(one.r2)),
                "image": float(np.mean(one.raw_r2)),
            }
            for one in measured.position
        ]
        best = max(float(np.mean(one.r2)) for one in measured.position)
        yield Drawing(
            "position",
            "How well the position can be read off the features at one place, layer by layer. What "
            "goes beyond the image’s own share comes from the padding: such a network can learn "
            "where things usually are instead of what they are.",
            f"Bars of the share of the position that can be read, at most {share(max(0.0, best))}",
            _drawn(layers.probe_bars, rows, unit),
        )


def _curves(found: Sequence[Any]) -> list[tuple[str, FloatArray]]:
    places = np.linspace(0, len(found) - 1, min(DEPTHS, len(found))).round().astype(int)
    return [(found[place].layer, found[place].relative) for place in places]


def _coarse(values: FloatArray) -> FloatArray:
    """Means over at most `CELLS` cells along each axis."""
    return block_means(values, [cells(side, CELLS) for side in values.shape])
