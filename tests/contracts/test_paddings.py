"""What every padding rule promises, over all rules, in 1, 2 and 3 dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from placewise.errors import SettingsError, ShapeError
from placewise.layers.convolution import Convolution
from placewise.paddings import PADDINGS, PaddingRule

NUMPY = {
    "zeros": "constant",
    "full": "constant",
    "partial": "constant",
    "replicate": "edge",
    "reflect": "reflect",
    "circular": "wrap",
    "symmetric": "symmetric",
}
"""numpy's names of the rules; a rule without an oracle has a slow twin in test_paddings.py."""

TORCH = ("zeros", "reflect", "replicate", "circular")

CASES = [
    ((6,), [(2, 3)]),
    ((6,), [(0, 5)]),
    ((3,), [(8, 7)]),
    ((5, 7), [(1, 2), (4, 0)]),
    ((5, 7), [(0, 0), (3, 3)]),
    ((4, 5, 6), [(1, 0), (2, 1), (0, 3)]),
    ((2, 2, 3), [(3, 3), (4, 4), (5, 5)]),
]
CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


@pytest.fixture(params=PADDINGS.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rule(name: str) -> PaddingRule:
    return PADDINGS[name](3) if name != "learned" else learned()


def learned() -> PaddingRule:
    """Not as it begins, which is `replicate`."""
    rule = PADDINGS["learned"](3).double()
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.copy_(torch.linspace(-0.4, 0.7, parameter.numel()).view_as(parameter))
    return rule


def maps(*axes: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, *axes, generator=generator, dtype=torch.float64)


def within_reach(rule: PaddingRule, axes: tuple[int, ...], widths: list[tuple[int, int]]) -> bool:
    reaches = [rule.reach(length) for length in axes]
    return all(r is None or max(pair) <= r for r, pair in zip(reaches, widths, strict=True))


def test_family_has_the_members_the_docs_name():
    assert PADDINGS.names() == (
        "circular",
        "distribution",
        "full",
        "learned",
        "partial",
        "reflect",
        "replicate",
        "symmetric",
        "valid",
        "zeros",
    )


@pytest.mark.parametrize("axes, widths", CASES, ids=str)
@pytest.mark.parametrize("name", NUMPY)
def test_is_what_numpy_does(name, axes, widths):
    given = maps(*axes)
    expected = np.pad(given.numpy(), [(0, 0), (0, 0), *widths], mode=NUMPY[name])
    assert np.array_equal(PADDINGS[name]().pad(given, widths).numpy(), expected)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_no_padding_changes_nothing(rule, dimensions):
    given = maps(*[4] * dimensions)
    assert torch.equal(rule.pad(given, [(0, 0)] * dimensions), given)


@pytest.mark.parametrize("axes, widths", CASES, ids=str)
def test_the_map_stands_in_the_middle_untouched(rule, axes, widths):
    if not within_reach(rule, axes, widths):
        pytest.skip("not within reach")
    given = maps(*axes)
    padded = rule.pad(given, widths)
    assert padded.shape[2:] == tuple(n + sum(pair) for n, pair in zip(axes, widths, strict=True))
    for dim, (before, _) in enumerate(widths, 2):
        padded = padded.narrow(dim, before, given.shape[dim])
    assert torch.equal(padded, given)


@pytest.mark.parametrize("axes, widths", CASES, ids=str)
def test_both_ends_and_all_axes_are_treated_alike(rule, axes, widths):
    """The mirror image is padded to the mirror image, and so are axes that change places."""
    if not within_reach(rule, axes, widths):
        pytest.skip("not within reach")
    given, dims = maps(*axes), tuple(range(2, 2 + len(axes)))
    padded = rule.pad(given, widths)
    mirrored = rule.pad(given.flip(dims), [pair[::-1] for pair in widths])
    assert torch.allclose(mirrored.flip(dims), padded, atol=1e-12)
    order = (0, 1, *dims[::-1])
    swapped = rule.pad(given.permute(order), widths[::-1])
    assert torch.allclose(swapped.permute(order), padded, atol=1e-12)


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
                assert padded.isfinite().all()
                if reach is not None:
                    widths[axis][side] += 1
                    with pytest.raises(ShapeError, match=f"axis {axis} of length {length} "):
                        rule.pad(maps(*axes), [tuple(pair) for pair in widths])


@pytest.mark.parametrize("name", ["valid", "reflect"])
def test_too_short_axis_says_what_to_do(name):
    with pytest.raises(ShapeError, match=rf"'{name}', which reaches \d; use 'zeros' or"):
        PADDINGS[name]().pad(maps(1), [(50, 0)])


def test_one_pair_of_widths_for_each_axis(rule):
    with pytest.raises(ValueError, match="zip"):
        rule.pad(maps(5, 5), [(0, 0)])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_marks_border_is_true_to_the_fact(name, dimensions):
    """No border is marked where results move with the map, or with where the map was cut."""
    layer = convolution(name, 3, dimensions)
    axes, given = tuple(range(2, 2 + dimensions)), maps(*[6] * dimensions)

    def moves(shift: tuple[int, ...]) -> bool:
        rolled, still = layer(given.roll(shift, axes)), layer(given).roll(shift, axes)
        return torch.allclose(rolled, still, atol=1e-12)

    def cut(results: torch.Tensor) -> torch.Tensor:
        for axis in axes:
            results = results.narrow(axis, 0, results.shape[axis] - 2)
        return results

    shifts = [(1,) * dimensions, (2, *[0] * (dimensions - 1)), (-1,) * dimensions]
    on_a_torus = [moves(shift) for shift in shifts]
    assert len(set(on_a_torus)) == 1
    after_a_cut = torch.allclose(layer(cut(given)), cut(layer(given)), atol=1e-12)
    assert PADDINGS[name].marks_border == (not on_a_torus[0] and not after_a_cut)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_uniform_paths_is_true_to_the_fact(name, dimensions):
    """All weights 1: how often each place is read, after three layers, is the gradient."""
    uniform = []
    for size in (3, 5):
        layer = convolution(name, size, dimensions, ones=True)
        given = maps(*[16] * dimensions, batch=1).requires_grad_()
        layer(layer(layer(given))).sum().backward()
        counts = given.grad
        uniform.append(bool((counts.amax() - counts.amin()) < 1e-9 * counts.amax()))
    assert PADDINGS[name].uniform_paths == all(uniform)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_keeps_size_is_true_to_the_fact(name, size, dimensions):
    before, after = PADDINGS[name]().margins(size)
    kept = before + after == size - 1
    assert kept == (PADDINGS[name].keeps_size or size == 1)
    given = maps(*[5] * dimensions)
    assert (convolution(name, size, dimensions)(given).shape == given.shape) == kept


def test_adds_zeros_is_true_to_the_fact(name, rule):
    if rule.reach(4) == 0:
        assert not rule.adds_zeros
        return
    given = maps(4, 4) + 1
    zeros = PADDINGS["zeros"]().pad(given, [(1, 2), (2, 0)])
    assert torch.equal(rule.pad(given, [(1, 2), (2, 0)]), zeros) == PADDINGS[name].adds_zeros


@pytest.mark.parametrize("layer", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
@pytest.mark.parametrize("name", TORCH)
def test_torch_knows_the_mode(name, layer):
    """A convolution with `padding_mode=rule.mode` pads as the rule does, to the bit."""
    dimensions = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[layer]
    rule = PADDINGS[name]()
    assert rule.mode == PADDINGS[name].mode == name
    theirs = layer(3, 2, 3, padding=1, padding_mode=rule.mode, dtype=torch.float64)
    given = maps(*[5] * dimensions)
    padded = rule.pad(given, [(1, 1)] * dimensions)
    expected = CONVOLUTIONS[dimensions](padded, theirs.weight, theirs.bias)
    assert torch.allclose(theirs(given), expected, atol=1e-12)
    assert torch.equal(Convolution.of(theirs, name)(given), theirs(given))


def test_a_rule_that_torch_does_not_know_says_where_to_use_it(name):
    if name in TORCH:
        pytest.skip("torch knows it")
    for member in (PADDINGS[name], PADDINGS[name]()):
        with pytest.raises(SettingsError, match=f"rule '{name}'; use 'zeros', .* placewise.layers"):
            _ = member.mode


@pytest.mark.parametrize("axes, widths", [((4,), [(2, 1)]), ((3, 2), [(2, 1), (1, 2)])], ids=str)
def test_gradients_are_exact(rule, axes, widths):
    if not within_reach(rule, axes, widths):
        pytest.skip("not within reach")
    given = maps(*axes, batch=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rule.pad(x, widths), given)


@pytest.mark.parametrize("axes, widths", CASES, ids=str)
def test_is_affine_so_that_the_audit_can_walk_it(rule, axes, widths):
    if not within_reach(rule, axes, widths):
        pytest.skip("not within reach")
    one, other = maps(*axes), maps(*axes).flip(0, 1)
    mixed = 0.3 * rule.pad(one, widths) + 0.7 * rule.pad(other, widths)
    assert torch.allclose(rule.pad(0.3 * one + 0.7 * other, widths), mixed, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_any_dtype(name, dtype, dimensions):
    given = maps(*[6] * dimensions)
    result = convolution(name, 3, dimensions).to(dtype)(given.to(dtype))
    assert result.dtype == dtype
    expected = convolution(name, 3, dimensions)(given)
    assert torch.allclose(result.double(), expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("sides", [(1, 1), (2, 1), (2, 3)], ids=str)
def test_maps_smaller_than_the_margin(name, sides):
    """Results of the promised size where that is possible, a clear error where it is not."""
    layer, given = convolution(name, 7, 2), maps(*sides)
    if name == "valid":
        with pytest.raises(ShapeError, match="7×7 places, and the map has"):
            layer(given)
    elif name == "reflect" and min(sides) == 1:
        with pytest.raises(ShapeError, match="of length 1 cannot be padded"):
            layer(given)
    else:
        result = layer(given)
        assert result.shape[2:] == layer.size_after(sides)
        assert result.isfinite().all()


@pytest.mark.parametrize(
    "dimensions", [2, *(pytest.param(d, marks=pytest.mark.slow) for d in (1, 3))]
)
def test_export(name, dimensions):
    """One exported program, for any batch and any size."""
    layer = convolution(name, 3, dimensions).eval()
    free = {0: torch.export.Dim.AUTO} | {2 + a: torch.export.Dim.AUTO for a in range(dimensions)}
    program = torch.export.export(layer, (maps(*[8] * dimensions),), dynamic_shapes=(free,))
    for given in (maps(*[8] * dimensions), maps(*range(9, 9 + dimensions), batch=3)):
        assert torch.allclose(program.module()(given), layer(given), atol=1e-12)


def convolution(name: str, size: int, dimensions: int, *, ones: bool = False) -> Convolution:
    layer = Convolution(
        3, 3, size, spatial_dims=dimensions, padding_mode=name, bias=not ones
    ).double()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) - 0.4)
        if ones:
            layer.weight.fill_(1)
        else:
            layer.bias.copy_(torch.tensor([0.5, -0.5, 1.0]))
    return layer
