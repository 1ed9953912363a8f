"""How much of what an output reads is padding, place by place."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from placewise.auditing._structure import (
    Target,
    image_sides,
    in_units,
    numbers_of,
    over_image,
    rounded,
    shares,
    target_label,
)
from placewise.geometry import FloatArray
from placewise.graph import Graph
from placewise.ops import COUNTS, Grid


@dataclass(frozen=True, eq=False)
class Provenance:
    """Where the ways to each place of a target begin: in pixels or in padding.

    Each place that zero padding adds, to the image or to what is between two layers, begins a
    way of its own. Padding that repeats pixels (reflect, replicate, circular) is made of pixels,
    and what a pooling leaves out is not read.

    Attributes:
        target: what the ways lead to.
        padded: exact number of ways that begin in padding, by place: over the image's axes if
            the target is a map, else over the dimensions of its grid.
        pictured: exact number of ways that begin in the image.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> found = provenance(capture(nn.Conv1d(1, 1, 3, padding=1), (1, 4)))
        >>> found.padded.tolist(), found.pictured.tolist(), found.overall
        ([1, 0, 0, 1], [2, 3, 3, 2], Fraction(1, 6))
    """

    target: str
    padded: Grid
    pictured: Grid

    @cached_property
    def share(self) -> FloatArray:
        """Part of the ways to each place that begins in padding; 0 where there is no way."""
        pairs = zip(self.padded.flat, self.pictured.flat, strict=True)
        values = [float(_share(padded, pictured)) for padded, pictured in pairs]
        return np.array(values).reshape(self.padded.shape)

    @property
    def overall(self) -> Fraction:
        """Part of all ways to all places that begins in padding."""
        return _share(self.padded.sum(), self.pictured.sum())

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it, the map as means over blocks."""
        return {
            "target": self.target,
            "overall": rounded(float(self.overall)),
            "min": rounded(float(self.share.min())),
            "max": rounded(float(self.share.max())),
            "share": shares(self.share),
        }


def _share(padded: Any, pictured: Any) -> Fraction:
    ways = Fraction(padded) + Fraction(pictured)
    return Fraction(padded) / ways if ways else Fraction(0)


def provenance(graph: Graph, target: Target = None) -> Provenance:
    """Count for each place of a target the ways that begin in padding and in the image.

    Two passes forward: one in which each place that zero padding adds counts one and the image
    nothing, one the other way round.

    Args:
        graph: of the network.
        target: a node's number, name or submodule; "output" for the first output; the last feature
            map unless told.

    Raises:
        SettingsError: there is no such node.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(2)])
        >>> provenance(capture(net, (1, 6))).share.round(3).tolist()
        [0.286, 0.111, 0.0, 0.0, 0.111, 0.286]
    """
    number = numbers_of(graph, target)[0]
    layout, sides = graph.nodes[number].layout, image_sides(graph)
    image = graph.nodes[0].layout.grid
    unit = graph.unit
    padded = graph.forward(COUNTS.filled(image), COUNTS, fill=unit)[number]
    pictured = graph.forward(COUNTS.filled(image, unit), COUNTS)[number]
    return Provenance(
        target_label(graph, target),
        in_units(over_image(padded, layout, sides), unit),
        in_units(over_image(pictured, layout, sides), unit),
    )
