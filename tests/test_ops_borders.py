"""Padding rules one layer and ten layers deep, against plain numpy and the published tables."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from placewise.errors import SettingsError
from placewise.ops import COUNTS, EXISTS, layer
from placewise.ops.borders import KEEPING

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


def slowly(length: int, size: int, rule: str) -> list[Fraction]:
    """Ways from each place to the next layer, by what stands in each window."""
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
    with pytest.raises(SettingsError, match="'mirror'; use zeros, partial"):
        layer((6,), 3, "mirror")
