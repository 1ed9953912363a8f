"""Padding rules one layer and ten layers deep, against plain numpy and the published tables."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest

from placewise.errors import SettingsError
from placewise.ops import COUNTS, EXISTS, Along, Grid, Operator, Step
from placewise.ops.axes import pad, window
from placewise.ops.route import Scale

KEEPING = ("zeros", "partial", "reflect", "symmetric", "replicate", "circular")
"""Rules that keep the size; \"valid\" and \"full\" make it smaller and larger."""

NUMPY = {"reflect": "reflect", "symmetric": "symmetric", "replicate": "edge", "circular": "wrap"}

EDGE = {
    (3, "zeros"): "2 3 3",
    (3, "reflect"): "2 4 3",
    (3, "partial"): "5/2 7/2 3",
    (3, "circular"): "3 3 3",
    (3, "symmetric"): "3 3 3",
    (3, "replicate"): "3 3 3",
    (5, "zeros"): "3 4 5",
    (5, "reflect"): "3 6 6 5",
    (5, "replicate"): "6 4 5",
}

DEEP = {
    "zeros": (0.293, 0.239),
    "reflect": (0.576, 0.544),
    "partial": (0.734, 0.664),
    "replicate": (1.0, 1.315),
    "circular": (1.0, 1.0),
    "symmetric": (1.0, 1.0),
}


def layer(shape: Sequence[int], size: int, rule: str) -> Operator:
    """Windows of stride 1 along all axes, padded by a rule, made of the package's relations.

    "partial" divides what a window reads by the share of it that lies within the map, so that a
    place counts k/valid times for each window (partial convolution, Liu et al. 2018).
    """
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


def slowly(length: int, size: int, rule: str) -> list[Fraction]:
    """Paths from each place to the next layer, by the contents of each window."""
    places = np.arange(length)
    margin = size // 2
    beyond = np.full(margin, -1)
    padded = np.concatenate([beyond, places, beyond])
    if rule in NUMPY:
        padded = np.pad(places, margin, mode=NUMPY[rule])
    ways = [Fraction(0)] * length
    for first in range(length):
        inside = [place for place in padded[first : first + size] if place >= 0]
        for place in inside:
            ways[place] += Fraction(size, len(inside)) if rule == "partial" else 1
    return ways


@pytest.mark.parametrize(("size", "rule"), EDGE)
def test_the_edge_of_one_layer(size: int, rule: str):
    ways = layer((16,), size, rule).adjoint(COUNTS.filled((16,), 1), COUNTS)
    expected = [Fraction(number) for number in EDGE[size, rule].split()]
    assert ways[: len(expected)].tolist() == expected
    assert ways[::-1].tolist() == ways.tolist() == slowly(16, size, rule)


@pytest.mark.parametrize("rule", DEEP)
def test_the_edge_after_ten_layers(rule: str):
    for size, ratio in zip((3, 5), DEEP[rule], strict=True):
        grid = COUNTS.filled((64,), 1)
        for _ in range(10):
            grid = layer((64,), size, rule).adjoint(grid, COUNTS)
        assert round(float(Fraction(grid[0]) / Fraction(grid[32])), 3) == ratio


@pytest.mark.parametrize("rule", KEEPING)
def test_two_axes_are_the_product_of_one_and_one(rule: str):
    ones = COUNTS.filled((5, 7), 1)
    both = layer((5, 7), 3, rule).adjoint(ones, COUNTS)
    expected = np.multiply.outer(
        np.array(slowly(5, 3, rule), dtype=object), np.array(slowly(7, 3, rule), dtype=object)
    )
    assert (both == expected).all()


def test_valid_is_smaller_and_full_larger():
    assert layer((6,), 3, "valid").adjoint(COUNTS.filled((4,), 1), COUNTS).tolist() == [
        *(1, 2, 3, 3, 2, 1)
    ]
    assert layer((6,), 3, "full").adjoint(COUNTS.filled((8,), 1), COUNTS).tolist() == [3] * 6


def test_shares_change_no_more_than_numbers():
    seen = layer((6,), 3, "partial").forward(EXISTS.filled((6,), True), EXISTS)
    assert seen.dtype == bool and seen.all()


def test_an_unknown_rule_says_what_there_is():
    with pytest.raises(SettingsError, match="'mirror'; use zeros"):
        pad(6, 1, 1, "mirror")
