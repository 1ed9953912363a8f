"""Maps made larger or smaller: which places have a weight that is not zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import floor

import numpy as np

from placewise.ops.axes import gather, taps
from placewise.ops.axis_map import AxisMap
from placewise.ops.rules.everything import everything
from placewise.ops.table import Call, Operand, Outcome, Status, alone, outcome, rule

SMOOTH = 1 << 20
"""Scales are taken for fractions of a denominator up to this."""


@rule(
    "resize",
    *"""
    _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d
    """.split(),
)
def resizing(call: Call) -> Outcome:
    """Each axis by itself."""
    route = call.route()
    for axis, scale in enumerate(_scales(call), 2):
        read, written = route.layout.shape[axis], call.shape[axis]
        if read == written == 1:
            continue
        aligned = bool(call.get("align_corners", default=False))
        if "nearest" in call.op:
            relation = nearest(read, written, scale, centred="exact" in call.op)
        elif call.op.endswith("_aa"):
            relation = antialiased(read, written, scale, cubic="cubic" in call.op, aligned=aligned)
        else:
            relation = interpolated(read, written, scale, cubic="cubic" in call.op, aligned=aligned)
        route.along(axis, relation)
    return alone(call, route)


def _scales(call: Call) -> list[float | None]:
    """The factors that were asked for; None where the sizes say all."""
    factors = call.get("scale_factors")
    if factors is not None:
        return [float(factor) for factor in factors]
    names = (("scales_d",), ("scales_h",), ("scales_w", "scales"))
    return [call.get(*name) for name in names[5 - len(call.shape) :]]


@lru_cache(maxsize=1024)
def nearest(
    read: int, written: int, scale: float | None = None, *, centred: bool = False
) -> AxisMap:
    """Each place reads one: ⌊j·step⌋, or ⌊(j + ½)·step⌋ if centred.

    In single precision, as torch computes it, because rounding decides at ties.

    Example:
        >>> [i for _, i in nearest(2, 4).pairs()]
        [0, 0, 1, 1]
    """
    step = np.float32(1 / scale) if scale else np.float32(read) / np.float32(written)
    places = np.arange(written, dtype=np.float32) + np.float32(0.5 if centred else 0)
    ins = np.floor(places * step).astype(np.int64).clip(0, read - 1)
    found = gather(read, ins, "nearest")
    return grown(found, scale, lambda n, m: nearest(n, m, scale, centred=centred))


def step_of(read: int, written: int, scale: float | None, aligned: bool) -> Fraction:
    """How far apart in the map that is read two places of the result are.

    Args:
        read: length of the axis that is read.
        written: length of the result.
        scale: the factor that was asked for, if it was not a size.
        aligned: whether the centres of the first and last places are kept.

    Example:
        >>> step_of(4, 8, None, False), step_of(4, 7, None, True)
        (Fraction(1, 2), Fraction(1, 2))
    """
    if aligned:
        return Fraction(read - 1, written - 1) if written > 1 else Fraction(0)
    if scale:
        return 1 / Fraction(scale).limit_denominator(SMOOTH)
    return Fraction(read, written)


@lru_cache(maxsize=1024)
def interpolated(
    read: int,
    written: int,
    scale: float | None = None,
    *,
    cubic: bool = False,
    aligned: bool = False,
) -> AxisMap:
    """Two or four neighbours; beyond the border, those at the border are used.

    Place j has its centre at (j + ½)·step − ½ of the map that is read, or at j·step if aligned. In
    fractions, so that a weight that is zero is left out.

    Example:
        >>> interpolated(2, 4).pairs()
        [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 1)]
    """
    step = step_of(read, written, scale, aligned)
    half = Fraction(0 if aligned else 1, 2)
    matrix = np.zeros((written, read), bool)
    for place in range(written):
        centre = (place + half) * step - half
        centre = centre if cubic else max(centre, Fraction(0))
        weights: dict[int, Fraction] = {}
        for tap in range(floor(centre) - 1, floor(centre) + 3):
            inside = min(max(tap, 0), read - 1)
            weight = keys(centre - tap, Fraction(-3, 4)) if cubic else hat(centre - tap)
            weights[inside] = weights.get(inside, Fraction(0)) + weight
        matrix[place, [tap for tap, weight in weights.items() if weight]] = True
    return grown(
        taps(matrix, "interpolation"),
        scale,
        lambda n, m: interpolated(n, m, scale, cubic=cubic, aligned=aligned),
    )


@lru_cache(maxsize=1024)
def antialiased(
    read: int,
    written: int,
    scale: float | None = None,
    *,
    cubic: bool = False,
    aligned: bool = False,
) -> AxisMap:
    """A filter as wide as the step where that is more than 1, cut off at the border.

    Example:
        >>> [i for _, i in antialiased(4, 2).pairs()]
        [0, 1, 2, 1, 2, 3]
    """
    step = step_of(read, written, scale, aligned)
    width = max(step, Fraction(1))
    reach = (2 if cubic else 1) * width
    half = Fraction(1, 2)
    matrix = np.zeros((written, read), bool)
    for place in range(written):
        centre = step * (place + half)
        first, end = floor(centre - reach + half), floor(centre + reach + half)
        for tap in range(max(first, 0), min(end, read)):
            offset = (tap - centre + half) / width
            matrix[place, tap] = (keys(offset, -half) if cubic else hat(offset)) != 0
    return grown(
        taps(matrix, "antialiased resize"),
        scale,
        lambda n, m: antialiased(n, m, scale, cubic=cubic, aligned=aligned),
    )


def grown(relation: AxisMap, scale: float | None, make: Callable[[int, int], AxisMap]) -> AxisMap:
    """A resize that goes on at other sizes where a factor was asked for and not a size."""
    if not scale:
        return relation
    return replace(relation, resized=lambda n: make(n, floor(n * scale)))


def hat(x: Fraction) -> Fraction:
    """Weight of linear interpolation, 1 − |x| within 1.

    Example:
        >>> hat(Fraction(1, 4)), hat(Fraction(3))
        (Fraction(3, 4), Fraction(0, 1))
    """
    return max(1 - abs(x), Fraction(0))


def keys(x: Fraction, a: Fraction) -> Fraction:
    """Weight of cubic convolution with parameter a (Keys 1981).

    Example:
        >>> keys(Fraction(1), Fraction(-1, 2)), keys(Fraction(1, 2), Fraction(-1, 2))
        (Fraction(0, 1), Fraction(9, 16))
    """
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((x - 5) * x + 8) * x * a - 4 * a if x < 2 else Fraction(0)


@rule("sample", "cudnn_grid_sampler", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def sampling(call: Call) -> Outcome:
    """Any place of the map may be read; of the grid, its own."""
    tensor, grid = call.get("input", "self"), call["grid"]
    if not isinstance(grid, Operand):
        return everything(call)
    last = len(grid.shape) - 1
    own = call.route(grid).reduce(last).permute([0, last, *range(1, last)])
    routes = [(grid, own.spread(1, call.shape[1]))]
    if isinstance(tensor, Operand):
        routes.append((tensor, call.route(tensor).everywhere(own.layout)))
    return outcome(routes, Status.AT_MOST)
