"""Path counts: figures, laws, and two slow twins that walk and differentiate."""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audit_backbones import TORCH, Residual, conv, graph, graph_of
from audit_nets import NETS
from placewise.auditing.paths import (
    Paths,
    count_paths,
    padding_paths,
    paths_by_layer,
)
from placewise.auditing.receptive_field import pixels_read, receptive_fields
from placewise.auditing.unseen import unseen
from placewise.errors import SettingsError
from placewise.graph import capture
from placewise.ops import COUNTS, Packed
from plain_walks import backward


def plain(layers: int, side: int, **settings) -> list[int]:
    """Counts of a signal after a chain of windows."""
    net = nn.Sequential(*[nn.Conv1d(1, 1, bias=False, **settings) for _ in range(layers)])
    return count_paths(graph(net, 1, side)).counts.tolist()


# --- the slow twins ------------------------------------------------------------------------------


def walked(sides: tuple[int, ...], windows: list[dict[str, int]]) -> np.ndarray:
    """Follow each way from each pixel, one after the other, through windows on square maps."""
    lengths = list(sides)
    counts = {pixel: {pixel: 1} for pixel in itertools.product(*map(range, sides))}
    for one in windows:
        size, stride, pad, dilation = (one[key] for key in ("size", "stride", "pad", "dilation"))
        reach = dilation * (size - 1) + 1
        lengths = [(length + 2 * pad - reach) // stride + 1 for length in lengths]
        read: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for place in itertools.product(*map(range, lengths)):
            for taps in itertools.product(range(size), repeat=len(sides)):
                source = tuple(
                    p * stride + t * dilation - pad for p, t in zip(place, taps, strict=True)
                )
                read.setdefault(source, []).append(place)
        for pixel, ways in counts.items():
            after: dict[tuple[int, ...], int] = {}
            for source, number in ways.items():
                for place in read.get(source, []):
                    after[place] = after.get(place, 0) + number
            counts[pixel] = after
    found = np.array([sum(counts[p].values()) for p in sorted(counts)], dtype=object)
    return found.reshape(sides)


@pytest.mark.parametrize("seed", range(12))
def test_counts_are_those_of_a_walk(seed: int):
    rng = random.Random(seed)
    sides = [(rng.randint(14, 20),), (rng.randint(12, 14), 12), (10, 9, rng.randint(9, 10))][
        seed % 3
    ]
    windows = [
        {
            "size": rng.randint(1, 3),
            "stride": rng.randint(1, 2),
            "pad": rng.randint(0, 2),
            "dilation": rng.randint(1, 2),
        }
        for _ in range(3)
    ]
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][len(sides) - 1]
    layers = [kind(1, 1, w["size"], w["stride"], w["pad"], w["dilation"]) for w in windows]
    found = count_paths(graph(nn.Sequential(*layers), 1, *sides), "output")
    assert found.counts.shape == sides
    assert (found.counts == walked(sides, windows)).all()


def differentiated(net: nn.Module, *shape: int) -> list:
    """The gradient of the sum of all outputs where all weights are one and all biases zero."""
    for name, weight in net.double().named_parameters():
        nn.init.constant_(weight, 0.0 if name.endswith("bias") else 1.0)
    image = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    net(image).sum().backward()
    return image.grad[0].sum(0).long().tolist()


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "convnext_tiny", "mobilenet_v2"])
def test_counts_are_the_gradient_of_a_network_of_ones(name: str):
    class Sum(nn.Module):
        """The sum over windows: what an average of ones is, and a maximum is not."""

        def __init__(self, size: int, stride: int, padding: int) -> None:
            super().__init__()
            self.pool = nn.AvgPool2d(size, stride, padding, divisor_override=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(x)

    def summing(net: nn.Module) -> nn.Module:
        for place, child in net.named_children():
            if isinstance(child, nn.MaxPool2d | nn.AvgPool2d):
                setattr(net, place, Sum(child.kernel_size, child.stride, child.padding))
            else:
                summing(child)
        return net

    net = TORCH[name]()[:12]
    found = count_paths(graph(net, 1, 40, 40), "output")
    assert found.maximum < 2**53
    assert found.counts.tolist() == differentiated(summing(net), 1, 40, 40)


def test_channels_are_told_apart_on_request():
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(2, 3, 3, padding=1, bias=False)
            self.second = nn.Conv2d(3, 3, 3, 2, bias=False)
            self.grouped = nn.Conv2d(6, 4, 3, groups=2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x = torch.cat([x + 0 * x, x], 1)
            return self.grouped(x)

    net = Sums()
    aware = count_paths(capture(net, (2, 8, 9), per_channel=True, how="recorded"))
    assert aware.convention == "per channel"

    class Plain(Sums):
        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.grouped(torch.cat([x + x, x], 1))

    assert aware.counts.tolist() == differentiated(Plain(), 2, 8, 9)
    assert count_paths(graph(net, 2, 8, 9)).convention == "spatial"


def test_an_image_of_one_channel_does_not_hide_the_convention():
    found = capture(nn.Conv1d(1, 3, 3), (1, 9), per_channel=True, how="recorded")
    assert count_paths(found).convention == "per channel"
    assert count_paths(found).counts.tolist() == [3, 6, 9, 9, 9, 9, 9, 6, 3]


# --- figures -------------------------------------------------------------------------------------


def test_resnet18_at_224_and_225():
    found = count_paths(graph_of("resnet18", 224, 224))
    assert found.total == 21_371_777_627_496_398_075
    assert found.corners == (9616253250768, 1955023936268, 1955023936268, 397660071184)
    assert round(found.max_over_corner, 2) == 111.19
    assert [[round(r, 2) for r in pair] for pair in found.max_over_edge] == [[12.84, 63.13]] * 2
    assert all(one > 0.1 for one in found.asymmetry)
    even = count_paths(graph_of("resnet18", 225, 225))
    assert set(even.corners) == {9616253250768}
    assert [[round(r, 2) for r in pair] for pair in even.max_over_edge] == [[12.97, 12.97]] * 2
    assert even.asymmetry == (0.0, 0.0)


def test_resnet50_at_224_and_225():
    found = count_paths(graph_of("resnet50", 224, 224))
    assert round(found.corners[0] / found.corners[-1], 2) == 24.73
    assert [[round(r, 2) for r in pair] for pair in found.max_over_edge] == [[11.63, 57.88]] * 2
    even = count_paths(graph_of("resnet50", 225, 225))
    assert [[round(r, 2) for r in pair] for pair in even.max_over_edge] == [[11.66, 11.66]] * 2


def test_vgg_at_224():
    found = count_paths(graph_of("vgg16", 224, 224))
    assert (found.maximum, found.corners[0]) == (1_594_323**2, 115_374**2)
    assert round(found.max_over_corner, 2) == 190.96
    assert {round(r, 2) for pair in found.max_over_edge for r in pair} == {13.82}
    deeper = count_paths(graph_of("vgg19", 224, 224))
    assert [round(deeper.max_over_edge[0][0], 2), round(deeper.max_over_corner, 1)] == [
        16.27,
        264.8,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("channels", [False, True])
def test_resnet18_of_torchvision(channels: bool):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    net = models.resnet18(weights=None)
    found = count_paths(capture(net, (3, 224, 224), per_channel=channels))
    assert round(found.max_over_corner, 2) == (113.77 if channels else 111.19)
    assert len(str(found.maximum // (3 if channels else 1))) == (53 if channels else 16)


def test_ten_layers_on_32_pixels():
    valid = plain(10, 32, kernel_size=3)
    zeros = plain(10, 32, kernel_size=3, padding=1)
    full = plain(10, 32, kernel_size=3, padding=2)
    assert (valid[15], valid[0]) == (57_882, 1)
    assert (zeros[15], zeros[0]) == (59_049, 17_303)
    assert set(full) == {59_049}
    square = nn.Sequential(*[conv(3) for _ in range(10)])
    found = count_paths(graph(square, 1, 32, 32))
    assert (found.max_over_corner, found.centre) == (57_882**2, 57_882**2)


@pytest.mark.parametrize(
    ("mode", "size", "begins", "after_ten"),
    [
        ("zeros", 3, [2, 3, 3, 3], 0.293),
        ("reflect", 3, [2, 4, 3, 3], 0.576),
        ("circular", 3, [3, 3, 3, 3], 1.0),
        ("replicate", 3, [3, 3, 3, 3], 1.0),
        ("zeros", 5, [3, 4, 5, 5], 0.239),
        ("reflect", 5, [3, 6, 6, 5], 0.544),
        ("circular", 5, [5, 5, 5, 5], 1.0),
        ("replicate", 5, [6, 4, 5, 5], 1.315),
    ],
)
def test_padding_rules_near_the_edge(mode: str, size: int, begins: list[int], after_ten: float):
    settings = {"kernel_size": size, "padding": size // 2, "padding_mode": mode}
    assert plain(1, 20, **settings)[:4] == begins
    ten = plain(10, 100, **settings)
    assert ten == ten[::-1]
    assert round(ten[0] / ten[50], 3) == after_ten


def test_one_place_counts_binomials():
    net = nn.Sequential(*[nn.Conv1d(1, 1, 2) for _ in range(12)])
    found = count_paths(graph(net, 1, 20), place=(3,))
    expected = [math.comb(12, pixel - 3) if 3 <= pixel <= 15 else 0 for pixel in range(20)]
    assert found.counts.tolist() == expected


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_all_ways_are_those_to_each_place(name: str):
    found = graph_of(name, 64, 96)
    grid = found.nodes[found.last_map].layout.grid[2:]
    assert grid == (2, 3)
    places = [count_paths(found, place=p).counts for p in itertools.product(*map(range, grid))]
    assert (sum(places) == count_paths(found).counts).all()


def test_ways_to_all_outputs_are_those_to_each():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = conv(3), conv(5)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.one(x), self.two(x)

    found = graph(Two(), 1, 9, 9)
    both = count_paths(found, "output")
    assert both.target == "output"
    assert (
        count_paths(found, "one").counts + count_paths(found, "two").counts == both.counts
    ).all()
    assert (count_paths(found).counts == count_paths(found, "one").counts).all()


def test_a_turned_network_has_turned_counts():
    net = nn.Conv2d(1, 1, (3, 2), (2, 1), (1, 0))
    turned = nn.Conv2d(1, 1, (2, 3), (1, 2), (0, 1))
    one, other = count_paths(graph(net, 1, 10, 7)), count_paths(graph(turned, 1, 7, 10))
    assert (one.counts == other.counts.T).all()
    assert one.corners == tuple(other.corners[n] for n in (0, 2, 1, 3))
    assert (one.asymmetry, one.max_over_edge) == (other.asymmetry[::-1], other.max_over_edge[::-1])


def some_counts(*rows: list[int]) -> Paths:
    return Paths("spatial", "made up", Packed.of(np.array(rows, dtype=object)))


def test_figures_of_counts():
    found = some_counts([1, 2, 3], [4, 50, 6], [7, 8, 0])
    assert (found.total, found.maximum, found.centre, found.zeros) == (81, 50, 50, 1)
    assert found.corners == (1, 3, 7, 0)
    assert found.edges == ((2, 8), (4, 6))
    assert found.max_over_edge == ((25.0, 6.25), (12.5, 50 / 6))
    assert found.max_over_corner == 50 / 7
    assert found.asymmetry == ((6 - 15) / 21, (12 - 9) / 21)
    assert some_counts([1, 2, 3, 4]).centre == 3


@pytest.mark.parametrize("seed", range(5))
def test_gini_is_the_mean_difference(seed: int):
    rng = random.Random(seed)
    values = [rng.randrange(10**20) for _ in range(30)]
    mean = Fraction(sum(values), len(values))
    differences = sum(abs(a - b) for a in values for b in values)
    assert some_counts(values).gini == pytest.approx(float(differences / (2 * 30 * 30 * mean)))


def test_gini_at_its_ends():
    assert some_counts([7] * 10).gini == pytest.approx(0.0)
    assert some_counts([0] * 99 + [5]).gini == pytest.approx(0.99)
    assert some_counts([0, 0]).gini == 0.0


def test_counts_are_exact_beyond_any_float():
    layers = [nn.Conv2d(1, 1, 7, padding=3, padding_mode="circular")] * 190
    found = count_paths(graph(nn.Sequential(*layers), 1, 7, 7))
    assert set(found.counts.flat) == {49**190}
    assert (found.max_over_corner, found.gini) == (1.0, pytest.approx(0.0))
    assert found.to_dict()["log10_map"] == [[round(190 * math.log10(49), 3)] * 7] * 7


def test_without_a_way_to_the_corner_the_ratio_is_infinite():
    none = some_counts([0, 3, 0])
    assert none.max_over_corner == math.inf
    assert none.to_dict()["max_over_corner"] is None


@pytest.mark.parametrize("space", [(12,), (12, 9), (8, 7, 6)])
def test_one_to_three_axes(space: tuple[int, ...]):
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][len(space) - 1]
    found = count_paths(graph(nn.Sequential(kind(1, 1, 3, 2, 1), kind(1, 1, 2)), 1, *space))
    assert found.counts.shape == space
    assert len(found.corners) == 2 ** len(space)
    assert len(found.asymmetry) == len(found.edges) == len(space)


@pytest.mark.parametrize("name", NETS)
def test_findings_agree_with_each_other(name: str):
    """Backwards and forwards, by counts and by sets, on networks of many families."""
    constructor, shape = NETS[name]
    found = graph(constructor(), *shape)
    paths = count_paths(found, "output")
    unread, pathless = unseen(found).mask, paths.counts == 0
    read_besides = any(node.global_statistics for node in found.nodes)
    assert not (unread & ~pathless).any() and (read_besides or (unread == pathless).all())
    assert sum(padding_paths(found, n).imaged.sum() for n in found.outputs) == paths.total
    last = receptive_fields(found)[found.last_map]
    read = pixels_read(found)
    if last.status == "exact" and name not in ("reflect", "circular"):
        for axis, (first, final) in enumerate(read.box):
            assert final - first < last.size[axis]
            if last.padding[axis] is not None:
                start = read.place[axis] * last.stride[axis] - last.padding[axis]
                assert start <= first <= final < start + last.size[axis]


# --- the last feature map ------------------------------------------------------------------------


def head(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), *layers)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)],
        [nn.Flatten(), nn.Linear(2 * 6 * 7, 3)],
        [nn.Flatten(2), nn.Linear(42, 4)],
    ],
)
def test_the_last_map_comes_before_pooling_and_flattening(layers: list[nn.Module]):
    found = graph(head(*layers), 1, 6, 7)
    assert found.nodes[found.last_map].op == "relu"
    assert found.nodes[found.last_map].layout.grid == (1, 1, 6, 7)


def test_the_last_map_of_a_dense_network_is_its_output():
    found = graph(head(nn.Conv2d(2, 5, 1)), 1, 6, 7)
    assert found.last_map == found.outputs[0]


def test_a_network_that_does_not_read_the_image_is_refused():
    deaf = replace(graph(head(), 1, 6, 7), outputs=())
    for target in (None, "output"):
        with pytest.raises(SettingsError, match="no output of the network depends"):
            count_paths(deaf, target)


@pytest.mark.parametrize("target", [-1, 99, "layer9"])
def test_a_target_that_is_not_there(target: int | str):
    with pytest.raises(SettingsError, match="no node"):
        count_paths(graph(head(), 1, 6, 7), target)


# --- layer by layer ------------------------------------------------------------------------------


def test_layer_by_layer_the_ratio_grows():
    found = graph_of("resnet18", 225, 225)
    layers = paths_by_layer(found)
    assert [layer.depth for layer in layers] == list(range(1, 19))
    ratios = [layer.paths.max_over_corner for layer in layers]
    assert ratios == sorted(ratios)
    assert layers[-1].node == found.last_map
    assert (layers[-1].paths.counts == count_paths(found).counts).all()
    for layer in layers[:3]:
        assert (layer.paths.counts == count_paths(found, layer.node).counts).all()


def test_side_branches_are_left_out_and_the_number_is_capped():
    net = Residual([conv(3, 1, 1), conv(3, 1, 1), conv(3, 1, 1)], conv(5, 1, 2))
    layers = paths_by_layer(graph(net, 1, 12, 12))
    assert [(layer.depth, layer.layer) for layer in layers] == [
        (1, "body.0"),
        (2, "body.1"),
        (3, layers[-1].layer),
    ]
    deep = graph(nn.Sequential(*[nn.Conv1d(1, 1, 3, padding=1) for _ in range(40)]), 1, 9)
    assert [layer.depth for layer in paths_by_layer(deep, most=4)] == [1, 14, 27, 40]
    assert len(paths_by_layer(deep)) == 32


# --- plain forms ---------------------------------------------------------------------------------


def test_findings_are_plain():
    found = count_paths(graph_of("resnet18", 224, 224))
    entries = found.to_dict()
    assert json.loads(json.dumps(entries)) == entries
    assert entries["total"] == "21371777627496398075"
    assert entries["corners"] == [str(c) for c in found.corners]
    assert (entries["max_over_corner"], entries["convention"]) == (111.194, "spatial")
    block = found.counts[:4, 4:8].sum() / 16
    assert entries["log10_map"][0][1] == pytest.approx(math.log10(block), rel=1e-5)
    assert (len(entries["log10_map"]), len(entries["log10_map"][0])) == (56, 56)
    (first, *_) = paths_by_layer(graph_of("vgg11", 64, 96), most=2)
    layer = first.to_dict()
    assert json.loads(json.dumps(layer)) == layer
    assert (layer["depth"], layer["op"]) == (1, "conv2d")


def test_fractions_stay_exact():
    entries = some_counts([Fraction(5, 2), Fraction(7, 2), 3]).to_dict()
    assert (entries["total"], entries["corners"]) == ("9", ["5/2", "3", "5/2", "3"])
    assert entries["log10_map"] == [[0.39794, 0.544068, 0.477121]]


class Partial(nn.Module):
    """A window of three, times the share of it that lies within the map; and a way round it."""

    def __init__(self, side: int, *, shortcut: bool) -> None:
        super().__init__()
        self.window, self.shortcut = nn.Conv1d(1, 1, 3, padding=1), shortcut
        self.register_buffer("share", torch.tensor([1.5, *[1.0] * (side - 2), 1.5]))

    def forward(self, x: Tensor) -> Tensor:
        return self.window(x) * self.share + (x if self.shortcut else 0)


def test_fractions_that_are_counted_in_units_are_those_that_are_counted_one_by_one():
    parts = [Partial(9, shortcut=number % 2 > 0) for number in range(4)]
    found = graph(nn.Sequential(*parts, nn.AvgPool1d(3, 2, 1)), 1, 9)
    assert found.unit == 16
    one_by_one = backward(found, {found.last_map: COUNTS.filled((1, 1, 5), 1)}, COUNTS)[0]
    ways = count_paths(found)
    assert ways.counts.tolist() == one_by_one.ravel().tolist()
    assert any(isinstance(count, Fraction) for count in ways.counts)
    assert ways.total == sum(ways.counts) and ways.maximum == max(ways.counts)
    assert ways.asymmetry == (0.0,)
    assert graph(nn.Sequential(nn.Conv1d(1, 1, 3, padding=1)), 1, 9).unit == 1


def test_rows_of_large_attention_are_said_to_count_as_one(monkeypatch: pytest.MonkeyPatch):
    """Query and key of each token, softmax, value: (2 n + 1) n paths and more by element."""

    class Attention(nn.Module):
        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            return (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens

    whole = count_paths(capture(Attention(), (1, 6), per_channel=True))
    assert (whole.convention, whole.total) == ("per channel", 6 * 6 * (6 + 6) + 6 * 6)
    monkeypatch.setattr("placewise.ops.rules.contractions.LARGEST", 35)
    rows = count_paths(capture(Attention(), (1, 6), per_channel=True))
    assert rows.convention.startswith("per channel, but") and rows.total < whole.total
    assert count_paths(capture(Attention(), (1, 6))).convention == "spatial"
