"""One layer of windows under any padding rule, torch's and others', as exact relations."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import reduce

import numpy as np

from placewise.errors import SettingsError
from placewise.ops.algebra import Grid
from placewise.ops.axes import pad, window
from placewise.ops.route import Along, Operator, Scale, Step

KEEPING = ("zeros", "partial", "reflect", "symmetric", "replicate", "circular")
"""Rules that keep the size; "valid" and "full" make it smaller and larger."""


def layer(shape: Sequence[int], size: int, rule: str) -> Operator:
    """Windows of stride 1 along all axes, padded by a rule.

    "partial" divides what a window reads by the share of it that lies within the map, so that a
    place counts k/valid times for each window (partial convolution, Liu et al. 2018); its counts
    are fractions.

    Args:
        shape: lengths of the axes.
        size: taps of a window along each axis.
        rule: of `KEEPING`, "valid" (no padding) or "full" (each window that reads anything).

    Raises:
        SettingsError: no rule has that name.

    Example:
        >>> from placewise.ops.algebra import COUNTS
        >>> for rule in ("zeros", "reflect", "partial"):
        ...     ones = COUNTS.filled((6,), 1)
        ...     print(*layer((6,), 3, rule).adjoint(ones, COUNTS)[:3])
        2 3 3
        2 4 3
        5/2 7/2 3
    """
    if rule not in (*KEEPING, "valid", "full"):
        raise SettingsError(
            f"no padding rule is named '{rule}'; use {', '.join(KEEPING)}, valid or full"
        )
    before, after = {"valid": (0, 0), "full": (size - 1, size - 1)}.get(
        rule, ((size - 1) // 2, size // 2)
    )
    mode = rule if rule in KEEPING and rule != "partial" else "zeros"
    pads = [pad(length, before, after, mode) for length in shape]
    steps: list[Step] = [Along(axis, relation, axis) for axis, relation in enumerate(pads)]
    for axis, relation in enumerate(pads):
        steps.append(Along(axis, window(relation.written, size), axis))
    if rule == "partial":
        steps.append(Scale(_shares([(length, size, before) for length in shape])))
    return Operator(tuple(steps))


def _shares(axes: Sequence[tuple[int, int, int]]) -> Grid:
    """How many times larger a window is than what of it lies within the map."""
    factors = []
    for length, size, before in axes:
        first = np.arange(length) - before
        valid = np.minimum(first + size, length) - np.maximum(first, 0)
        factors.append(np.array([Fraction(size, int(n)) for n in valid], dtype=object))
    return np.asarray(reduce(np.multiply.outer, factors), dtype=object)
