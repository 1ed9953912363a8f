"""Paths, counted exactly: along one axis for any padding rule, and through any net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import nn

from placewise.auditing.paths import Paths, count_paths
from placewise.geometry import FloatArray
from placewise.graph import capture
from placewise.ops import COUNTS, FLOATS, AxisMap, Grid
from placewise.ops.axes import pad, window
from studies._findings import significant

Layer = Callable[[int], list[AxisMap]]
"""From the length of an axis to the relations that a layer makes along it."""


def ratio(above: Any, below: Any) -> float | None:
    """A quotient of counts to three digits; None over zero."""
    return significant(int(above) / int(below)) if below else None


# --- layers along one axis -----------------------------------------------------------------------


def padded(rule: str, size: int) -> Layer:
    """Windows of an odd size in steps of one, with a rule for what stands beyond the border.

    Example:
        >>> [len(backward(chain(5, padded(rule, 3), 1))) for rule in ("zeros", "full", "valid")]
        [5, 5, 5]
    """
    mode = "zeros" if rule == "full" else rule
    margin = size - 1 if rule == "full" else 0 if rule == "valid" else size // 2

    def layer(side: int) -> list[AxisMap]:
        border = [pad(side, margin, margin, mode)] if margin else []
        return [*border, window(side + 2 * margin, size)]

    return layer


def chain(side: int, layer: Layer, layers: int) -> list[AxisMap]:
    """The relations of the same layer several times, one after the other."""
    maps: list[AxisMap] = []
    for _ in range(layers):
        maps += layer(maps[-1].written if maps else side)
    return maps


def backward(maps: Sequence[AxisMap]) -> Grid:
    """Paths from each place of the first axis to all places of the last.

    Example:
        >>> backward(chain(5, padded("zeros", 3), 2)).tolist()
        [5, 8, 9, 8, 5]
    """
    paths = COUNTS.filled((maps[-1].written,), 1)
    for relation in reversed(maps):
        paths = relation.adjoint(paths, 0, COUNTS)
    return paths


def limit(layer: Layer, side: int) -> FloatArray:
    """The shape that the paths take when layers go on for ever, 1 in the middle.

    It is the leading eigenvector of one layer, taken against the direction of the net.
    """
    matrix = np.eye(side)
    for relation in reversed(layer(side)):
        matrix = relation.adjoint(matrix, 0, FLOATS)
    values, vectors = np.linalg.eig(matrix)
    shape = np.abs(vectors[:, values.real.argmax()].real)
    return np.asarray(shape / shape[side // 2])


# --- through a net -------------------------------------------------------------------------------


def paths_of(net: nn.Module, shape: Sequence[int]) -> FloatArray:
    """Paths from each place to the net's last map, as shares of the largest.

    Example:
        >>> paths_of(nn.Conv1d(1, 1, 2), (1, 4)).tolist()
        [0.5, 1.0, 1.0, 0.5]
    """
    counts = count_paths(capture(net, shape)).counts
    top = int(counts.max())
    return np.array([float(Fraction(int(c), top)) for c in counts.flat]).reshape(counts.shape)


def spots(paths: Paths) -> dict[str, Any]:
    """Paths from the middle, from the middle of the worst edge and from the worst corner."""
    edge, corner = min(min(pair) for pair in paths.edges), min(paths.corners)
    return {
        "middle": str(paths.maximum),
        "edge": str(edge),
        "corner": str(corner),
        "over_edge": ratio(paths.maximum, edge),
        "over_corner": ratio(paths.maximum, corner),
    }
