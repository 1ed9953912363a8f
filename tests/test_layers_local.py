"""Locally connected layers against a slow twin, a convolution, and each other."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from placewise.errors import SettingsError, ShapeError
from placewise.graph import capture
from placewise.layers import _products
from placewise.layers import local as module
from placewise.layers._products import plain_products, products
from placewise.layers.convolution import Convolution
from placewise.layers.local import LocallyConnected
from placewise.ops import COUNTS
from placewise.paddings import PADDINGS
from plain_walks import backward

WAYS = ("dense", "gathered", "in parts")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The three ways in which a layer calculates, which must not differ."""
    monkeypatch.setattr(module, "DENSE", 2**40 if request.param == "dense" else 0)
    monkeypatch.setattr(_products, "CHUNK", 200 if request.param == "in parts" else 2**40)
    return request.param


def slowly(layer: LocallyConnected, maps: torch.Tensor, before: tuple[int, ...]) -> torch.Tensor:
    """Slow twin: windows of the padded maps, weight by weight."""
    after, windows = layer.size_after(layer.input_size), layer.windows
    padded = maps if layer.clamped else windows.pad(maps)
    result = maps.new_empty(maps.shape[0], layer.out_channels, *after)
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for number, place in enumerate(product(*(range(n) for n in after))):
        start = [p * s - b for p, s, b in zip(place, windows.stride, before, strict=True)]
        if layer.clamped:
            room = zip(start, layer.input_size, windows.extents, strict=True)
            start = [min(max(first, 0), n - extent) for first, n, extent in room]
        taps = list(product(*(range(k) for k in windows.kernel_size)))
        for out in range(layer.out_channels):
            total = layer.bias[(out, *place)]
            for number_of_tap, tap in enumerate(taps):
                read = zip(start, tap, windows.dilation, strict=True)
                at = tuple(first + t * step for first, t, step in read)
                for channel in range(inputs):
                    weight = layer.weight[number, out, number_of_tap * inputs + channel]
                    source = out // outputs * inputs + channel
                    total = total + weight * padded[(slice(None), source, *at)]
            result[(slice(None), out, *place)] = total
    return result


CASES = [
    ((7,), {"kernel_size": 3}),
    ((6,), {"kernel_size": 2, "stride": 2, "dilation": 3}),
    ((5,), {"kernel_size": 4, "padding_mode": "reflect"}),
    ((4, 5), {"kernel_size": 3}),
    ((4, 5), {"kernel_size": (3, 2), "stride": (1, 2), "groups": 2}),
    ((4, 3), {"kernel_size": 3, "padding_mode": "zeros", "dilation": (1, 2)}),
    ((4, 3), {"kernel_size": 3, "padding_mode": "valid"}),
    ((3, 2), {"kernel_size": 2, "padding_mode": "full", "groups": 2}),
    ((3, 3, 2), {"kernel_size": 2}),
    ((2, 3, 2), {"kernel_size": 3, "padding_mode": "circular", "stride": 2}),
]


def build(sides: tuple[int, ...], settings: dict, **more: object) -> LocallyConnected:
    settings = {**settings, **more}
    layer = LocallyConnected(2, 4, sides, settings.pop("kernel_size"), **settings).double()
    nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize("sides, settings", CASES, ids=str)
def test_is_what_the_slow_twin_says(way, sides, settings):
    layer = build(sides, settings)
    assert (layer.entries is not None) == (way == "dense")
    maps = torch.randn(2, 2, *sides, dtype=torch.float64)
    before = tuple((extent - 1) // 2 if layer.clamped else 0 for extent in layer.windows.extents)
    assert torch.allclose(layer(maps), slowly(layer, maps, before), atol=1e-12)


@pytest.mark.parametrize("sides, settings", CASES, ids=str)
def test_gradients_are_exact(way, sides, settings):
    layer = build(sides, settings)
    maps = torch.randn(1, 2, *sides, dtype=torch.float64, requires_grad=True)
    inputs = (maps, *layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), inputs, fast_mode=len(sides) > 1)


def test_second_gradients_are_exact(way):
    layer = build((3, 3), {"kernel_size": 2})
    maps = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    inputs = (maps, *layer.parameters())
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x), inputs, fast_mode=True)


@pytest.mark.parametrize("chunk", [1, 300, 10**9])
def test_products_do_not_depend_on_the_parts(chunk, monkeypatch):
    monkeypatch.setattr(_products, "CHUNK", chunk)
    rows = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    index = torch.randint(0, 7, (11, 4))
    weight = torch.randn(11, 2, 12, dtype=torch.float64, requires_grad=True)
    ours, plain = products(rows, index, weight), plain_products(rows, index, weight)
    assert torch.allclose(ours, plain, atol=1e-12)
    seed = torch.randn_like(plain).transpose(0, 1).contiguous().transpose(0, 1)
    gradients = torch.autograd.grad(ours, (rows, weight), seed)
    for one, other in zip(gradients, torch.autograd.grad(plain, (rows, weight), seed), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("padding", PADDINGS.names())
def test_begins_as_a_convolution(way, padding, dimensions):
    """The same weights at every place are a convolution, with every padding rule."""
    shared = Convolution(
        4, 6, 3, spatial_dims=dimensions, groups=2, stride=2, padding_mode=padding
    ).double()
    sides = (5, 6, 4)[:dimensions]
    maps = torch.randn(2, 4, *sides, dtype=torch.float64)
    assert torch.allclose(LocallyConnected.of(shared, sides)(maps), shared(maps), atol=1e-12)


def test_its_gradient_sums_to_that_of_the_convolution(way):
    shared = Convolution(3, 4, 3, padding_mode="symmetric").double()
    own, maps = LocallyConnected.of(shared, (5, 4)), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    for layer in (shared, own):
        layer(maps).square().sum().backward()
    summed = own.weight.grad.sum(0).view(4, 9, 3).transpose(1, 2).reshape(4, 3, 3, 3)
    assert torch.allclose(summed, shared.weight.grad, atol=1e-10)
    assert torch.allclose(own.bias.grad.sum((1, 2)), shared.bias.grad, atol=1e-10)


def test_clamped_windows_are_those_of_valid_moved_inside():
    """In the middle both read the same; at the border the outermost window is read again."""
    layer = build((5, 6), {"kernel_size": 3})
    rows = layer.index.view(5, 6, 9)
    valid = LocallyConnected(2, 4, (5, 6), 3, padding_mode="valid").index.view(3, 4, 9)
    assert torch.equal(rows[1:-1, 1:-1], valid)
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[:, -1], rows[:, -2])
    assert all(len(set(window.tolist())) == 9 for window in rows.flatten(0, 1))


@pytest.mark.parametrize("padding", sorted({"clamped", *PADDINGS.names()} - {"distribution"}))
def test_results_begin_with_the_variance_of_he(padding):
    """Weights count what their window truly reads, so the border is as loud as the middle.

    The means of `distribution` are quieter than values, which no weight can know.
    """
    layer = LocallyConnected(8, 64, (6, 6), 3, bias=False, padding_mode=padding)
    variance = layer(torch.randn(200, 8, 6, 6)).detach().square().mean((0, 1))
    assert variance.shape == layer.size_after((6, 6))
    for part in (variance, variance[0], variance[:, -1], variance[0, 0]):
        assert float(part.mean()) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize("padding", ["clamped", "zeros", "symmetric"])
@pytest.mark.parametrize("sides", [(6,), (6, 5)], ids=str)
def test_the_audit_counts_what_each_place_reads(sides, padding):
    """Small layers too, whose dense matrix would hide it."""
    layer = LocallyConnected(1, 1, sides, 3, bias=False, padding_mode=padding).double()
    nn.init.ones_(layer.weight)
    given = torch.zeros(1, 1, *sides, dtype=torch.float64, requires_grad=True)
    layer(given).sum().backward()
    graph = capture(layer, (1, *sides))
    assert not graph.unknown
    (output,) = graph.outputs
    seed = COUNTS.filled(graph.nodes[output].layout.grid, 1)
    counts = backward(graph, {output: seed}, COUNTS)[0]
    assert counts.ravel().tolist() == given.grad.flatten().tolist()


def test_state_has_weights_alone():
    assert list(build((4, 4), {"kernel_size": 3}).state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("entries", [True, False])
def test_only_small_layers_are_dense(entries):
    side = 4 if entries else 16
    assert (LocallyConnected(4, 4, (side, side), 3).entries is not None) == entries


def test_another_size_says_what_to_do():
    layer = build((4, 5), {"kernel_size": 3})
    with pytest.raises(ShapeError, match=r"maps of 4×5 places; it got 5×4\. Bring .* Convolution"):
        layer(torch.zeros(1, 2, 5, 4).double())


@pytest.mark.parametrize("padding", ["clamped", "valid"])
def test_a_window_larger_than_the_maps_is_refused(padding):
    with pytest.raises(ShapeError, match="reaches over 5×5 places, and the map has 4×6"):
        LocallyConnected(2, 2, (4, 6), 3, dilation=2, padding_mode=padding)


@pytest.mark.parametrize(
    "given, settings, says",
    [
        ((3, 4, (4, 4), 3), {"groups": 2}, "in_channels is 3, out_channels 4 and groups 2"),
        ((2, 0, (4, 4), 3), {}, "in_channels is 2, out_channels 0"),
        ((2, 2, (4, 4), (3, 3, 3)), {}, r"kernel_size is \(3, 3, 3\); it must be .* or 2 of them"),
        ((2, 2, (4, 4), 0), {}, "kernel_size is 0"),
        ((2, 2, (4, 4), 3), {"stride": 0}, "stride is 0"),
        ((2, 2, (4, 4, 4, 4), 3), {}, "spatial_dims is 4; a layer has 1, 2 or 3 axes"),
    ],
)
def test_impossible_settings_are_refused(given, settings, says):
    with pytest.raises(SettingsError, match=says):
        LocallyConnected(*given, **settings)
