"""Padding rules, pixel by pixel; what all rules share is in contracts/test_paddings.py."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
import torch
from torch import nn

from placewise.auditing.paths import padding_paths
from placewise.errors import ShapeError
from placewise.graph import capture
from placewise.layers.convolution import Convolution
from placewise.ops import COUNTS
from placewise.paddings import (
    PADDINGS,
    Circular,
    Distribution,
    Full,
    Learned,
    PaddingRule,
    Partial,
    Reflect,
    Replicate,
    Symmetric,
    Zeros,
)
from plain_walks import backward

ROW = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "rule, expected",
    [
        (Zeros(), [0, 0, 1, 2, 3, 4, 0]),
        (Full(), [0, 0, 1, 2, 3, 4, 0]),
        (Partial(), [0, 0, 1, 2, 3, 4, 0]),
        (Replicate(), [1, 1, 1, 2, 3, 4, 4]),
        (Reflect(), [3, 2, 1, 2, 3, 4, 3]),
        (Circular(), [3, 4, 1, 2, 3, 4, 1]),
        (Symmetric(), [2, 1, 1, 2, 3, 4, 4]),
        (Learned(), [1, 1, 1, 2, 3, 4, 4]),
        (Distribution(), [2, 2, 1, 2, 3, 4, 3]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_row(rule: PaddingRule, expected: list[int]):
    assert rule.pad(torch.tensor([[ROW]]), [(2, 1)])[0, 0].tolist() == expected


SOURCES = {
    Replicate: lambda place, n: min(max(place, 0), n - 1),
    Reflect: lambda place, n: [*range(n), *range(n - 2, 0, -1)][place % (2 * n - 2)],
    Circular: lambda place, n: place % n,
    Symmetric: lambda place, n: [*range(n), *range(n - 1, -1, -1)][place % (2 * n)],
}


@pytest.mark.parametrize("rule", [Replicate(), Reflect(), Circular(), Symmetric()])
@pytest.mark.parametrize("before, after", [(4, 3), (5, 0), (14, 13)])
def test_index_formulas(rule: PaddingRule, before: int, after: int):
    """Slow twin: each padded pixel by its formula, for the rules that copy pixels."""
    length = 5
    row = torch.rand(length, dtype=torch.float64)
    padded = rule.pad(row[None, None], [(before, after)])[0, 0]
    expected = [row[SOURCES[type(rule)](p, length)] for p in range(-before, length + after)]
    assert padded.tolist() == [float(value) for value in expected]


@pytest.mark.parametrize("name", PADDINGS.names())
def test_a_constant_map_stays_constant_but_by_zeros(name: str):
    rule = PADDINGS[name]()
    if name == "valid":
        pytest.skip("adds nothing")
    padded = rule.pad(torch.full((1, 1, 4, 4), 7.0), [(2, 2), (3, 3)])
    assert bool((padded - 7).abs().max() < 1e-5) == (not rule.adds_zeros)


def test_only_zeros_darken_the_border():
    assert Zeros().pad(torch.ones(1, 1, 4), [(1, 1)])[0, 0].tolist() == [0, 1, 1, 1, 1, 0]


# --- partial -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("stride, dilation, bias", [(1, 1, True), (2, 1, False), (1, 2, True)])
def test_partial_is_the_renormalised_sum(dimensions: int, stride: int, dilation: int, bias: bool):
    """Slow twin: for each window the sum over what is inside, times size over what is inside."""
    layer = Convolution(
        2, 1, 3, spatial_dims=dimensions, stride=stride, dilation=dilation, bias=bias,
        padding_mode="partial",
    ).double()  # fmt: skip
    sides = (5, 4, 3)[:dimensions]
    given = torch.rand(1, 2, *sides, dtype=torch.float64)
    result = layer(given)
    for place in product(*(range(n) for n in layer.size_after(sides))):
        total, inside = torch.zeros(()).double(), 0
        for tap in product(range(3), repeat=dimensions):
            read = [p * stride + (t - 1) * dilation for p, t in zip(place, tap, strict=True)]
            if all(0 <= r < n for r, n in zip(read, sides, strict=True)):
                inside += 1
                total = (
                    total + layer.weight[(0, slice(None), *tap)] @ given[(0, slice(None), *read)]
                )
        expected = total * 3**dimensions / inside + (layer.bias[0] if bias else 0)
        assert torch.isclose(result[(0, 0, *place)], expected)


def test_partial_gives_nothing_where_nothing_is_inside():
    layer = Convolution(1, 1, 2, spatial_dims=1, dilation=3, bias=False, padding_mode="partial")
    assert layer(torch.ones(1, 1, 1)).tolist() == [[[0.0]]]


# --- distribution --------------------------------------------------------------------------------


@pytest.mark.parametrize("length, before, after", [(7, 2, 2), (7, 1, 3), (4, 3, 0), (2, 2, 1)])
def test_distribution_stretches_the_means(length: int, before: int, after: int):
    """Slow twin of an axis: means of windows, then linear interpolation between their centres."""
    row = torch.rand(length, dtype=torch.float64)
    margin = max(before, after)
    window = min(2 * margin + 1, length - 1 + length % 2)
    means = [float(row[i : i + window].mean()) for i in range(length - window + 1)]
    expected = row.tolist()
    for place in (*range(-1, -before - 1, -1), *range(length, length + after)):
        wanted = (place + margin + 0.5) * len(means) / (length + 2 * margin) - 0.5
        wanted = min(max(wanted, 0), len(means) - 1)
        low = min(int(wanted), max(len(means) - 2, 0))
        high = min(low + 1, len(means) - 1)
        value = means[low] + (wanted - low) * (means[high] - means[low])
        expected = [value, *expected] if place < 0 else [*expected, value]
    padded = Distribution().pad(row[None, None], [(before, after)])[0, 0]
    assert torch.allclose(padded, torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def test_distribution_of_a_product_is_the_product_of_the_axes():
    """Means and interpolation are separable; beyond the corners both axes are stretched."""
    down, across = torch.rand(5).double(), torch.rand(6).double()
    padded = Distribution().pad(torch.outer(down, across)[None, None], [(1, 1), (2, 2)])[0, 0]
    sides = [
        Distribution().pad(row[None, None], [(m, m)])[0, 0] for row, m in ((down, 1), (across, 2))
    ]
    assert torch.allclose(padded[0, :2], sides[0][0] * sides[1][:2], atol=1e-12)
    assert torch.allclose(padded[-1, -2:], sides[0][-1] * sides[1][-2:], atol=1e-12)


# --- learned -------------------------------------------------------------------------------------


def set_to(rule: Learned, a: float, b: float, c: float) -> Learned:
    with torch.no_grad():
        rule.steps.copy_(torch.tensor([a, b]).expand_as(rule.steps))
        rule.offset.fill_(c)
    return rule


@pytest.mark.parametrize(
    "steps, same",
    [((1, 0, 0), Replicate()), ((0, 0, 0), Zeros()), ((0, 1, 0), Reflect())],
    ids=["replicate", "zeros", "reflect"],
)
def test_learned_can_become_other_rules(steps: tuple[int, int, int], same: PaddingRule):
    given = torch.rand(2, 3, 4, 5)
    margin = [(1, 1), (1, 1)] if isinstance(same, Reflect) else [(2, 3), (4, 0)]
    assert torch.allclose(set_to(Learned(3), *steps).pad(given, margin), same.pad(given, margin))


def test_learned_can_continue_a_line_and_a_constant():
    line = torch.arange(4.0)[None, None]
    assert set_to(Learned(), 2, -1, 0).pad(line, [(3, 2)])[0, 0].tolist() == list(range(-3, 6))
    assert set_to(Learned(), 0, 0, 9).pad(line, [(2, 0)])[0, 0, :2].tolist() == [9, 9]


def test_learned_is_learned_channel_by_channel():
    """Each channel continues by its own factor, which gradient descent approaches."""
    rule, factors = Learned(2).double(), torch.tensor([0.5, 1.5], dtype=torch.float64)
    signal = factors[:, None] ** torch.arange(6)
    losses = []
    for _ in range(300):
        loss = (rule.pad(signal[None, :, :4], [(0, 2)]) - signal[None]).square().sum()
        gradients = torch.autograd.grad(loss, list(rule.parameters()))
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for parameter, gradient in zip(rule.parameters(), gradients, strict=True):
                parameter -= 0.005 * gradient
    assert losses[-1] < 0.02 * losses[0]
    assert rule.steps[0].sum() < 1 < rule.steps[1].sum()


def test_learned_for_other_channels_says_so():
    with pytest.raises(ShapeError, match="learned for 2 channels, and the maps have 3; make"):
        Learned(2).pad(torch.rand(1, 3, 4), [(1, 1)])


# --- path counts ---------------------------------------------------------------------------------

EDGE_TO_CENTRE = {
    ("zeros", 3): 0.293, ("zeros", 5): 0.239,
    ("reflect", 3): 0.576, ("reflect", 5): 0.544,
    ("partial", 3): 0.734, ("partial", 5): 0.664,
    ("replicate", 3): 1, ("replicate", 5): 1.315,
    ("circular", 3): 1, ("circular", 5): 1,
    ("symmetric", 3): 1, ("symmetric", 5): 1,
    ("full", 3): 1, ("full", 5): 1,
}  # fmt: skip
"""After ten layers on 64 places: ways from an outermost place to all results, over those from the
middle."""


def stack(name: str, size: int, depth: int = 10) -> nn.Sequential:
    layers = [
        Convolution(1, 1, size, spatial_dims=1, padding_mode=name, bias=False).double()
        for _ in range(depth)
    ]
    for layer in layers:
        nn.init.ones_(layer.weight)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("name, size", EDGE_TO_CENTRE, ids=str)
def test_path_counts_as_gradients(name: str, size: int):
    """With all weights 1, ways are counted by the gradient."""
    given = torch.zeros(1, 1, 64, dtype=torch.float64, requires_grad=True)
    stack(name, size)(given).sum().backward()
    counts = given.grad[0, 0]
    assert float(counts[0] / counts[32]) == pytest.approx(EDGE_TO_CENTRE[name, size], abs=5e-4)


@pytest.mark.parametrize("name, size", EDGE_TO_CENTRE, ids=str)
def test_path_counts_by_the_audit(name: str, size: int):
    """The audit reads the rules' operations and counts the same ways in whole numbers."""
    graph = capture(stack(name, size), (1, 64))
    assert not graph.unknown
    (output,) = graph.outputs
    seed = COUNTS.filled(graph.nodes[output].layout.grid, 1)
    counts = backward(graph, {output: seed}, COUNTS)[0].ravel()
    ratio = Fraction(int(counts[0]), int(counts[32]))
    assert float(ratio) == pytest.approx(EDGE_TO_CENTRE[name, size], abs=5e-4)
    assert (ratio == 1) == (EDGE_TO_CENTRE[name, size] == 1)


@pytest.mark.parametrize("name", PADDINGS.names())
def test_facts_by_the_audit(name: str):
    """What a rule says of itself is what the audit finds in its operations."""
    rule, uniform = PADDINGS[name], []
    for size in (3, 5):
        graph = capture(stack(name, size, depth=3), (1, 16))
        (output,) = graph.outputs
        seed = COUNTS.filled(graph.nodes[output].layout.grid, 1)
        counts = backward(graph, {output: seed}, COUNTS)[0].ravel()
        uniform.append(len(set(counts.tolist())) == 1)
        assert not graph.unknown
        assert (graph.nodes[output].layout.grid[-1] == 16) == rule.keeps_size
        assert (padding_paths(graph).overall > 0) == rule.adds_zeros
    assert all(uniform) == rule.uniform_paths


def test_valid_counts_are_those_of_pascal():
    """32 places, ten layers: 57,882 ways from the middle to the 12 results, 1 from the edge."""
    given = torch.zeros(1, 1, 32, dtype=torch.float64, requires_grad=True)
    stack("valid", 3)(given).sum().backward()
    counts = given.grad[0, 0]
    assert counts[0] == counts[31] == 1
    assert counts[16] == 57882
