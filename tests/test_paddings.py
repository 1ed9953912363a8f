"""Padding rules, pixel by pixel; what all rules share is in contracts/test_paddings.py."""

from __future__ import annotations

import pytest
import torch

from placewise.paddings import Circular, PaddingRule, Reflect, Replicate, Zeros

ROW = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "rule, expected",
    [
        (Zeros(), [0, 0, 1, 2, 3, 4, 0]),
        (Replicate(), [1, 1, 1, 2, 3, 4, 4]),
        (Reflect(), [3, 2, 1, 2, 3, 4, 3]),
        (Circular(), [3, 4, 1, 2, 3, 4, 1]),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_a_row(rule: PaddingRule, expected: list[int]):
    assert rule.pad(torch.tensor([[ROW]]), [(2, 1)])[0, 0].tolist() == expected


@pytest.mark.parametrize("rule", [Zeros(), Replicate(), Reflect(), Circular()])
def test_index_formulas(rule: PaddingRule):
    """Slow twin: each padded pixel by its formula, for the rules that copy pixels."""
    length, before, after = 5, 4, 3
    row = torch.rand(length, dtype=torch.float64)
    padded = rule.pad(row[None, None], [(before, after)])[0, 0]
    for place in range(-before, length + after):
        source = {
            "zeros": place if 0 <= place < length else None,
            "replicate": min(max(place, 0), length - 1),
            "reflect": (length - 1) - abs((length - 1) - abs(place)),
            "circular": place % length,
        }[rule.mode]
        assert padded[place + before] == (0 if source is None else row[source])


@pytest.mark.parametrize("rule", [Replicate(), Reflect(), Circular()])
def test_constant_map_stays_constant(rule: PaddingRule):
    assert (rule.pad(torch.full((1, 1, 4, 4), 7.0), [(2, 2), (3, 3)]) == 7).all()


def test_only_zeros_darken_the_border():
    assert Zeros().pad(torch.ones(1, 1, 4), [(1, 1)])[0, 0].tolist() == [0, 1, 1, 1, 1, 0]
