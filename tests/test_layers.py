"""Each layer against torch, a slow twin, or a law of its own; locally connected ones elsewhere."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import nn

from placewise.errors import SettingsError
from placewise.layers import LAYERS
from placewise.layers.blur import BlurPool
from placewise.layers.convolution import Convolution
from placewise.layers.coordinates import Coordinates
from placewise.layers.multi_scale import MultiScale
from placewise.layers.on_off import OnOff, difference_of_gaussians
from placewise.layers.polyphase import Polyphase
from placewise.layers.pooling import Pooling
from placewise.paddings import PADDINGS

SIDES = (7, 6, 5)
EVEN_KEEPING = ("circular", "distribution", "learned", "reflect", "replicate", "symmetric")
"""Rules by which a constant map stays constant."""


def maps(dimensions: int, channels: int = 3, sides: tuple[int, ...] = SIDES) -> torch.Tensor:
    return torch.randn(2, channels, *sides[:dimensions], dtype=torch.float64)


def test_family_has_the_members_the_docs_name():
    ours = {"blur", "convolution", "coordinates", "local", "multi_scale", "on_off", "polyphase"}
    assert ours | {"pooling"} <= set(LAYERS.names())


# --- convolution ---------------------------------------------------------------------------------

TORCHS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate", "circular"])
def test_convolution_is_torchs_own_to_the_bit(dimensions: int, padding: str):
    """The same seed gives the same weights, and these the same results."""
    settings = {"stride": 2, "dilation": 2, "groups": 3, "bias": True}
    torch.manual_seed(3)
    ours = Convolution(3, 6, 3, spatial_dims=dimensions, padding_mode=padding, **settings)
    torch.manual_seed(3)
    theirs = TORCHS[dimensions](3, 6, 3, padding=2, padding_mode=padding, **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    given = maps(dimensions).float()
    assert torch.equal(ours(given), theirs(given))
    copied = Convolution.of(theirs, padding)
    assert torch.equal(copied(given), theirs(given))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("size", [2, 4, (2, 3)], ids=str)
def test_an_even_window_has_one_place_more_after(size):
    """As torch's padding="same"."""
    ours = Convolution(3, 2, size).double()
    theirs = nn.Conv2d(3, 2, size, padding="same").double()
    theirs.load_state_dict(ours.state_dict())
    given = maps(2)
    assert torch.allclose(ours(given), theirs(given), atol=1e-12)


def test_full_is_a_transposed_convolution_with_the_kernel_turned():
    ours = Convolution(3, 2, 3, padding_mode="full", bias=False).double()
    given = maps(2)
    turned = ours.weight.flip(2, 3).transpose(0, 1)
    assert torch.allclose(ours(given), nn.functional.conv_transpose2d(given, turned), atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_weights_of_flat_volumes_learn_in_bfloat16_what_they_learn_in_float32(depth: int):
    """Torch adds memory that nobody has written to the gradient of maps flatter than the window."""
    ours = Convolution(16, 16, 3, bias=False, spatial_dims=3)
    given = torch.randn(2, 16, depth, 5, 6, generator=torch.Generator().manual_seed(0))
    found = []
    for lower in (False, True, True, True, True):
        dirty = [torch.full((count,), torch.nan) for count in (64, 512, 1000, 4096, 20000)]
        del dirty  # what is taken next is not clean
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            loss = ours(given).float().square().sum()
        found.append(*torch.autograd.grad(loss, [ours.weight]))
    for one in found[1:]:
        assert (one - found[0]).abs().max() < 0.05 * found[0].abs().max()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", PADDINGS.names())
def test_of_copies_and_leaves_the_original(padding: str, bias: bool):
    theirs = nn.Conv2d(4, 6, (3, 5), stride=2, groups=2, bias=bias, dtype=torch.bfloat16)
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    ours = Convolution.of(theirs, padding)
    assert ours.weight.dtype == torch.bfloat16
    with torch.no_grad():
        ours.weight.zero_()
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())


# --- pooling -------------------------------------------------------------------------------------

MAXIMA = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGES = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_is_torchs(dimensions: int, stride: int):
    given = maps(dimensions) - 3

    def ours(kind: str, padding: str) -> torch.Tensor:
        return Pooling(
            3, 3, spatial_dims=dimensions, stride=stride, kind=kind, padding_mode=padding
        )(given)

    largest, average = MAXIMA[dimensions], AVERAGES[dimensions]
    inside = {"count_include_pad": False}
    for result, theirs in [
        (ours("maximum", "valid"), largest(3, stride)),
        (ours("maximum", "partial"), largest(3, stride, padding=1)),
        (ours("average", "valid"), average(3, stride)),
        (ours("average", "zeros"), average(3, stride, padding=1)),
        (ours("average", "partial"), average(3, stride, padding=1, **inside)),
    ]:
        assert torch.allclose(result, theirs(given), atol=1e-12)
    assert torch.equal(
        ours("maximum", "zeros").clamp_min(0), ours("maximum", "partial").clamp_min(0)
    )


def test_pooling_of_another_kind_is_refused():
    with pytest.raises(SettingsError, match="kind is 'median'; it must be one of"):
        Pooling(1, 2, kind="median")


# --- blur ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_blur_is_repeated_averaging_of_neighbours(size: int, stride: int):
    """Slow twin: k − 1 times the mean of each place and the next, then every stride-th."""
    layer = BlurPool(3, size, spatial_dims=1, stride=stride, padding_mode="symmetric").double()
    given = maps(1)
    blurred = layer.windows.pad(given)
    for _ in range(size - 1):
        blurred = (blurred[..., 1:] + blurred[..., :-1]) / 2
    assert torch.allclose(layer(given), blurred[..., ::stride], atol=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_blur_is_separable(dimensions: int):
    """Slow twin: along one axis after the other."""
    layer = BlurPool(3, 4, spatial_dims=dimensions, padding_mode="reflect").double()
    result = given = maps(dimensions)
    line = BlurPool(3, 4, spatial_dims=1, padding_mode="reflect").double()
    for axis in range(2, 2 + dimensions):
        result = result.movedim(axis, -1)
        shape = result.shape
        rows = line(result.movedim(1, -2).reshape(-1, 3, shape[-1]))
        result = rows.view(2, *shape[2:-1], 3, -1).movedim(-2, 1).movedim(-1, axis)
    assert torch.allclose(layer(given), result, atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("maximum", [1, 2])
@pytest.mark.parametrize("padding", [*EVEN_KEEPING, "partial", "valid"])
def test_blur_keeps_a_constant_map(dimensions: int, size: int, maximum: int, padding: str):
    layer = BlurPool(
        1, size, spatial_dims=dimensions, maximum=maximum, padding_mode=padding
    ).double()
    given = torch.full((1, 1, *(9, 8, 7)[:dimensions]), 3.0, dtype=torch.float64)
    result = layer(given)
    assert torch.allclose(result, torch.full_like(result, 3.0), atol=1e-6)


def test_blur_kills_what_alternates():
    """The highest frequency, which sampling would fold onto a constant, is gone."""
    given = torch.tensor([1.0, -1.0]).repeat(8)[None, None]
    for size in (2, 3, 4, 5):
        assert BlurPool(1, size, spatial_dims=1, padding_mode="circular")(given).abs().max() < 1e-6


def test_max_blur_is_maximum_then_blur():
    layer = BlurPool(3, 4, maximum=3, padding_mode="circular").double()
    apart = nn.Sequential(
        Pooling(3, 3, stride=1, padding_mode="circular"), BlurPool(3, 4, padding_mode="circular")
    ).double()
    given = maps(2)
    assert torch.equal(layer(given), apart(given))


def test_blur_makes_pooling_less_sensitive_to_a_shift():
    """A shift of one place moves what is left after stride 2 less: mean over random maps."""
    given = torch.randn(64, 1, 16, 16)

    def change(layer: nn.Module) -> float:
        results, shifted = layer(given), layer(given.roll(1, 3))
        return float((results - shifted).square().mean() / results.var())

    plain = change(Pooling(1, 2))
    blurred = [change(BlurPool(1, k, maximum=2, padding_mode="circular")) for k in (2, 3, 5)]
    assert plain > blurred[0] > blurred[1] > blurred[2]


# --- adaptive polyphase sampling -----------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("order", [1.0, 2.0, math.inf])
def test_polyphase_takes_the_phase_of_the_largest_norm(dimensions: int, order: float):
    """Slow twin: every phase by a strided slice."""
    layer = Polyphase(3, spatial_dims=dimensions, order=order)
    given = maps(dimensions, sides=(8, 6, 4))
    result = layer(given)
    for one, taken in zip(given, result, strict=True):
        phases = [
            one[(slice(None), *(slice(s, None, 2) for s in start))]
            for start in product(range(2), repeat=dimensions)
        ]
        best = max(phases, key=lambda phase: float(phase.flatten().norm(order)))
        assert torch.equal(taken, best)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("stride", [2, 3])
def test_polyphase_is_exactly_consistent_on_a_torus(dimensions: int, stride: int):
    """A map that is shifted gives the same result, shifted: for every shift there is one."""
    layer = Polyphase(3, stride, spatial_dims=dimensions)
    sides = (2 * stride, 3 * stride, stride)[:dimensions]
    given, axes = maps(dimensions, sides=sides), tuple(range(2, 2 + dimensions))
    result = layer(given)
    rolls = list(product(*(range(n) for n in result.shape[2:])))
    for shift in product(range(stride + 1), repeat=dimensions):
        moved = layer(given.roll(shift, axes))
        for one, other in zip(result, moved, strict=True):
            dims = tuple(range(1, 1 + dimensions))
            assert any(torch.equal(one.roll(roll, dims), other) for roll in rolls)


def test_a_network_with_polyphase_and_circular_padding_does_not_see_a_shift():
    """ClassModel with two halvings: the same answer for all shifts; with strides it is not."""

    def network(halve: nn.Module) -> nn.Sequential:
        torch.manual_seed(0)
        first = Convolution(1, 4, 3, padding_mode="circular")
        second = Convolution(4, 4, 3, padding_mode="circular")
        layers = [first, nn.ReLU(), halve, second, nn.ReLU(), halve, nn.AdaptiveAvgPool2d(1)]
        return nn.Sequential(*layers).double()

    given = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    adaptive, strided = network(Polyphase(4)), network(nn.AvgPool2d(1, 2))
    shifts = list(product(range(4), repeat=2))
    for shift in shifts:
        moved = given.roll(shift, (2, 3))
        assert torch.allclose(adaptive(moved), adaptive(given), atol=1e-12)
    assert any(
        not torch.allclose(strided(given.roll(shift, (2, 3))), strided(given), atol=1e-3)
        for shift in shifts
    )


def test_two_ways_can_take_the_same_phase():
    layer, given = Polyphase(3), maps(2, sides=(6, 6))
    other = torch.randn_like(given)
    both = layer.take(torch.cat((given, other), 1), layer.phase(given))
    assert torch.equal(both[:, :3], layer(given))
    assert not torch.equal(both[:, 3:], layer(other))


def test_polyphase_needs_a_norm():
    with pytest.raises(SettingsError, match=r"order is 0\.5; a norm"):
        Polyphase(1, order=0.5)


# --- ON and OFF ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("radius, ratio", [(1.0, 0.5), (2.0, 2 / 3), (3.0, 0.8)])
def test_difference_of_gaussians(dimensions: int, radius: float, ratio: float):
    """Sums of 1 and −1; the sign changes at the radius; the formula of 2 dimensions."""
    kernel = difference_of_gaussians(radius, ratio, dimensions).double()
    half = kernel.shape[0] // 2
    assert half == math.ceil(radius / ratio) - 1 or dimensions == 1
    assert kernel.shape == (2 * half + 1,) * dimensions
    assert kernel.clamp_min(0).sum() == pytest.approx(1, abs=1e-6)
    assert kernel.clamp_max(0).sum() == pytest.approx(-1, abs=1e-6)
    for place in product(range(-half, half + 1), repeat=dimensions):
        distance = math.hypot(*place)
        if not math.isclose(distance, radius):
            assert (kernel[tuple(p + half for p in place)] > 0) == (distance < radius)
    if dimensions == 2:
        sigma = radius / (2 * ratio) * math.sqrt((1 - ratio**2) / -math.log(ratio))

        def value(distance: float) -> float:
            centre = math.exp(-(distance**2) / (2 * ratio**2 * sigma**2)) / ratio**2
            return centre - math.exp(-(distance**2) / (2 * sigma**2))

        for step in (s for s in range(1, half) if s < radius):
            ratio_of_values = kernel[half, half + step] / kernel[half, half]
            assert float(ratio_of_values) == pytest.approx(value(step) / value(0), rel=1e-5)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("learnable", [True, False])
def test_on_minus_off_is_the_response(dimensions: int, learnable: bool):
    layer = OnOff(3, spatial_dims=dimensions, learnable=learnable).double()
    given = maps(dimensions)
    on, off = layer(given).split(3, 1)
    assert torch.equal(on - off, layer.response(given))
    assert torch.equal(on * off, torch.zeros_like(on))
    assert (on >= 0).all() and (off >= 0).all()
    assert 0.5 <= float((layer(given) == 0).double().mean()) < 0.51


def test_response_is_the_filter_at_every_place():
    """Slow twin in the middle of a map."""
    layer, given = OnOff(2).double(), maps(2, 2, (9, 8))
    kernel = difference_of_gaussians(2.0, 2 / 3, 2).double()
    response = layer.response(given)
    for row, column in product(range(2, 7), range(2, 6)):
        window = given[:, :, row - 2 : row + 3, column - 2 : column + 3]
        assert torch.allclose(response[:, :, row, column], (window * kernel).sum((2, 3)))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("padding", EVEN_KEEPING)
def test_an_even_map_gives_nothing(dimensions: int, learnable: bool, padding: str):
    layer = OnOff(1, spatial_dims=dimensions, learnable=learnable, padding_mode=padding)
    if learnable:
        nn.init.normal_(layer.kernel)
    given = torch.full((1, 1, *SIDES[:dimensions]), 5.0)
    assert layer(given).abs().max() < 1e-4


def test_a_dark_image_is_on_where_a_bright_one_is_off():
    layer, given = OnOff(3).double(), maps(2)
    on, off = layer(given).split(3, 1)
    dark_on, dark_off = layer(-given).split(3, 1)
    assert torch.equal(dark_on, off) and torch.equal(dark_off, on)


@pytest.mark.parametrize("radius, ratio", [(0.5, 0.5), (2.0, 1.0), (2.0, 0.0)])
def test_a_filter_that_cannot_be_is_refused(radius: float, ratio: float):
    with pytest.raises(SettingsError, match=f"radius is {radius} and ratio is {ratio}; "):
        OnOff(1, radius=radius, ratio=ratio)


# --- coordinates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_coordinates_are_pixel_centres(dimensions: int):
    given = maps(dimensions)
    result = Coordinates(3, spatial_dims=dimensions, radius=True)(given)
    assert torch.equal(result[:, :3], given)
    for place in product(*(range(n) for n in SIDES[:dimensions])):
        here = [(p + 0.5) / n * 2 - 1 for p, n in zip(place, SIDES, strict=False)]
        wanted = torch.tensor([*here[::-1], math.hypot(*here)], dtype=torch.float64)
        found = result[(slice(None), slice(3, None), *place)]
        assert torch.allclose(found, wanted.expand(2, -1), atol=1e-12)


def test_coordinates_turn_with_the_map():
    """The mirror image has opposite coordinates, so no side is preferred."""
    added = Coordinates(1)(torch.zeros(1, 1, 5, 4))[0, 1:]
    assert torch.allclose(added.flip(1, 2), -added, atol=1e-6)
    x, y = added
    assert torch.equal(x, x[:1].expand(5, -1)) and (x.diff(dim=1) > 0).all()
    assert torch.equal(y, y[:, :1].expand(-1, 4)) and (y.diff(dim=0) > 0).all()


# --- several scales ------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_multi_scale_is_its_branches_side_by_side(dimensions: int, stride: int):
    layer = MultiScale(
        3,
        8,
        kernel_sizes=(1, 3, 4),
        spatial_dims=dimensions,
        stride=stride,
        padding_mode="symmetric",
    ).double()
    given = maps(dimensions)
    assert [branch.out_channels for branch in layer.branches] == [3, 3, 2]
    assert torch.equal(layer(given), torch.cat([branch(given) for branch in layer.branches], 1))


@pytest.mark.parametrize("sizes", [(), (1, 3, 5, 7)], ids=str)
def test_each_scale_needs_a_channel(sizes: tuple[int, ...]):
    with pytest.raises(SettingsError, match=f"has {len(sizes)} entries and out_channels is 3"):
        MultiScale(1, 3, kernel_sizes=sizes)


# --- padding by number ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [0, 1, 2, (2, 1)], ids=str)
def test_padding_is_torchs_where_torch_knows_the_rule(mode: str, padding):
    """The arguments of `torch.nn.Conv2d` in its order give its results."""
    torch.manual_seed(0)
    own = torch.nn.Conv2d(3, 4, 5, 2, padding, 1, 1, True, mode).double()
    ours = Convolution(3, 4, 5, 2, padding, 1, 1, True, mode).double()
    ours.load_state_dict(own.state_dict())
    given = torch.rand(2, 3, 11, 12, dtype=torch.float64)
    assert torch.allclose(ours(given), own(given), atol=1e-12)
    assert ours.size_after((11, 12)) == tuple(own(given).shape[2:])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_padding_may_differ_before_and_after(dimensions: int):
    """Pairs (before, after): the maps padded by hand, and no padding more."""
    pairs, sides = [(1, 0), (0, 2), (3, 1)][:dimensions], (6, 7, 5)[:dimensions]
    layer = Convolution(2, 3, 3, padding=pairs, spatial_dims=dimensions).double()
    plain = Convolution(2, 3, 3, padding=0, spatial_dims=dimensions).double()
    plain.load_state_dict(layer.state_dict())
    given = torch.rand(1, 2, *sides, dtype=torch.float64)
    by_hand = torch.nn.functional.pad(given, [n for pair in pairs[::-1] for n in pair])
    assert torch.allclose(layer(given), plain(by_hand), atol=1e-12)


@pytest.mark.parametrize("padding", [1, (1, 2)], ids=str)
def test_an_average_is_padded_as_torchs_is(padding):
    given = torch.rand(1, 2, 8, 9, dtype=torch.float64)
    ours = Pooling(2, 5, 2, padding, "zeros", kind="average")
    assert torch.allclose(ours(given), torch.nn.AvgPool2d(5, 2, padding)(given), atol=1e-12)


@pytest.mark.parametrize("padding", [-1, (1,), (1, 2, 3), [(1, 2)], [(1, 2, 3), (1, 2)], (1, -2)])
def test_padding_that_cannot_be_is_refused(padding):
    with pytest.raises(SettingsError, match=r"padding is .*; it must be a number of 0 or more"):
        Convolution(1, 1, 3, padding=padding)


def test_a_rule_that_adds_nothing_takes_no_padding():
    with pytest.raises(SettingsError, match="rule 'valid' adds nothing; leave padding out"):
        Pooling(2, 2, padding=1)
    assert Pooling(2, 2, padding=0).size_after((4, 4)) == (2, 2)
