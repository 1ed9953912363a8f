"""What every padding rule promises, over all rules, in 1, 2 and 3 dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.paddings import PADDINGS, PaddingRule

NUMPY = {"zeros": "constant", "replicate": "edge", "reflect": "reflect", "circular": "wrap"}
"""numpy's names of the rules; a rule without an oracle here fails."""

CASES = [
    ((6,), [(2, 3)]),
    ((6,), [(0, 5)]),
    ((5, 7), [(1, 2), (4, 0)]),
    ((5, 7), [(0, 0), (3, 3)]),
    ((4, 5, 6), [(1, 0), (2, 1), (0, 3)]),
    ((4, 5, 6), [(3, 3), (4, 4), (5, 5)]),
]
CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@pytest.fixture(params=PADDINGS.names())
def rule(request: pytest.FixtureRequest) -> PaddingRule:
    return PADDINGS[request.param]()


def maps(*axes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, *axes, generator=generator, dtype=torch.float64)


def test_family_has_the_members_the_docs_name():
    assert PADDINGS.names() == ("circular", "reflect", "replicate", "zeros")


@pytest.mark.parametrize("axes, widths", CASES, ids=str)
def test_is_what_numpy_does(rule, axes, widths):
    given = maps(*axes)
    expected = np.pad(given.numpy(), [(0, 0), (0, 0), *widths], mode=NUMPY[rule.mode])
    assert np.array_equal(rule.pad(given, widths).numpy(), expected)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_no_padding_changes_nothing(rule, dimensions):
    given = maps(*[4] * dimensions)
    assert torch.equal(rule.pad(given, [(0, 0)] * dimensions), given)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_reach_is_exact(rule, dimensions):
    """As much as `reach` says can be padded, on either side, and not one pixel more."""
    for axis in range(dimensions):
        for length in (1, 2, 5):
            axes = [4] * dimensions
            axes[axis] = length
            reach = rule.reach(length)
            for side in (0, 1):
                widths = [[0, 0] for _ in axes]
                widths[axis][side] = 9 if reach is None else reach
                padded = rule.pad(maps(*axes), [tuple(pair) for pair in widths])
                assert padded.shape[2 + axis] == length + widths[axis][side]
                if reach is not None:
                    widths[axis][side] += 1
                    with pytest.raises(SettingsError, match=f"axis {axis} of length {length} "):
                        rule.pad(maps(*axes), [tuple(pair) for pair in widths])


def test_too_short_axis_says_what_to_do(rule):
    if rule.reach(3) is None:
        assert rule.pad(maps(3), [(50, 50)]).shape[-1] == 103
        return
    with pytest.raises(SettingsError, match=rf"'{rule.mode}', which reaches \d; use 'zeros' or"):
        rule.pad(maps(3), [(50, 0)])


def test_one_pair_of_widths_for_each_axis(rule):
    with pytest.raises(ValueError, match="zip"):
        rule.pad(maps(5, 5), [(1, 1)])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_marks_border_is_true_to_the_fact(rule, dimensions):
    """Padding and convolution commute with every shift if, and only if, no border is marked."""
    given = maps(*[6] * dimensions)
    kernel = torch.rand(4, 3, *[3] * dimensions, dtype=torch.float64)

    def layer(inputs: torch.Tensor) -> torch.Tensor:
        return CONVOLUTIONS[dimensions](rule.pad(inputs, [(1, 1)] * dimensions), kernel)

    axes = tuple(range(2, 2 + dimensions))
    shifts = [(1,) * dimensions, (2, *[0] * (dimensions - 1)), (-1,) * dimensions]
    equal = [
        torch.allclose(layer(given.roll(shift, axes)), layer(given).roll(shift, axes), atol=1e-12)
        for shift in shifts
    ]
    assert equal == [not rule.marks_border] * len(shifts)


@pytest.mark.parametrize("layer", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_torch_knows_the_mode(rule, layer):
    """A convolution with `padding_mode=rule.mode` pads as the rule does."""
    dimensions = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[layer]
    convolution = layer(3, 2, 3, padding=1, padding_mode=rule.mode, dtype=torch.float64)
    given = maps(*[5] * dimensions)
    padded = rule.pad(given, [(1, 1)] * dimensions)
    expected = CONVOLUTIONS[dimensions](padded, convolution.weight, convolution.bias)
    assert torch.allclose(convolution(given), expected, atol=1e-12)


def test_gradient_goes_through(rule):
    given = maps(4, 4).requires_grad_()
    rule.pad(given, [(2, 1), (1, 2)]).sum().backward()
    assert given.grad is not None
    assert given.grad.sum() == (2 * 3 * 16 if rule.mode == "zeros" else 2 * 3 * 49)
