"""Receptive fields: published figures, the recursion's laws, and the support of gradients."""

from __future__ import annotations

import json
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from audit_backbones import SLIM, TORCH, Residual, graph, graph_of
from placewise.auditing.receptive_field import (
    ReceptiveField,
    pixels_read,
    receptive_fields,
    recurrence,
)
from placewise.errors import SettingsError
from placewise.graph import capture
from placewise.layers.local import LocallyConnected
from placewise.ops import axes

TORCHVISION = {
    "alexnet": (195, 32, 66),
    "vgg11": (150, 32, 59),
    "vgg16": (212, 32, 90),
    "vgg19": (268, 32, 118),
    "resnet18": (435, 32, 217),
    "resnet34": (899, 32, 449),
    "resnet50": (427, 32, 213),
    "resnet101": (971, 32, 485),
    "resnet152": (1451, 32, 725),
    "mobilenet_v2": (491, 32, 245),
    "densenet121": (2071, 32, 1021),
    "efficientnet_b0": (851, 32, 425),
    "convnext_tiny": (1688, 32, 828),
}

ARAUJO = {
    "alexnet_v2": (195, 32, 64),
    "vgg_16": (212, 32, 90),
    "mobilenet_v1": (315, 32, 126),
    "inception_v2": (699, 32, 318),
    "resnet_v1_50": (483, 32, 239),
    "resnet_v1_101": (1027, 32, 511),
    "resnet_v1_152": (1507, 32, 751),
    "resnet_v1_200": (1763, 32, 879),
}


def at_last_map(found) -> ReceptiveField:
    return receptive_fields(found)[found.last_map]


def three(field: ReceptiveField) -> tuple:
    """(size, stride, padding), which have to be alike along all axes."""
    assert len(set(field.size)) == len(set(field.stride)) == len(set(field.padding)) == 1
    return field.size[0], field.stride[0], field.padding[0]


# --- published figures ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", TORCHVISION)
def test_backbones_as_torchvision_defines_them(name: str):
    assert name in TORCH
    field = at_last_map(graph_of(name, 224, 224))
    assert three(field) == TORCHVISION[name]
    assert (field.status, field.concentric, field.clipped) == ("exact", True, False)


@pytest.mark.parametrize("name", ARAUJO)
def test_the_table_of_araujo_for_the_nets_as_he_has_them(name: str):
    assert set(ARAUJO) == set(SLIM)
    field = at_last_map(graph_of(f"slim {name}", 224, 224))
    assert three(field) == ARAUJO[name]
    assert (field.status, field.concentric) == ("exact", True)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("slim vgg_16", [6, 16, 44, 100, 212]), ("slim resnet_v1_50", [35, 99, 291, 483])],
)
def test_sizes_at_the_end_of_each_block(name: str, sizes: list[int]):
    found = {field.size[0] for field in receptive_fields(graph_of(name, 224, 224))}
    assert set(sizes) <= found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TORCHVISION, "inception_v3"])
def test_torchvision_itself(name: str):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    settings = {"init_weights": False} if name == "inception_v3" else {}
    found = graph(getattr(models, name)(weights=None, **settings), 3, 224, 224)
    field = at_last_map(found)
    assert three(field) == {**TORCHVISION, "inception_v3": (1311, 32, 618)}[name]
    assert field.status == ("global" if name == "efficientnet_b0" else "exact")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "figures"),
    [("inception_v4", (2071, 32, 998)), ("inception_resnet_v2", (3039, 32, 1482))],
)
def test_what_timm_took_over_from_slim(name: str, figures: tuple[int, int, int]):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    assert three(at_last_map(graph(timm.create_model(name), 3, 299, 299))) == figures


# --- the slow twin: where random weights have a gradient -----------------------------------------


def random_net(rng: random.Random, dims: int, layers: int) -> nn.Sequential:
    """Windows of all kinds with positive weights, in a chain with residual links."""
    conv = [nn.Conv1d, nn.Conv2d, nn.Conv3d][dims - 1]
    pool = [nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d][dims - 1]

    def convolution(stride: int) -> nn.Module:
        size, dilation = rng.randint(1, 4), rng.randint(1, 2)
        padding = rng.randint(0, dilation * (size - 1))
        return conv(1, 1, size, stride, padding, dilation, bias=False)

    made: list[nn.Module] = []
    for _ in range(layers):
        kind = rng.choice(["conv", "strided", "pool", "link"])
        if kind == "link":
            pad = rng.randint(0, 2)
            made.append(Residual([conv(1, 1, 2 * pad + 1, 1, pad, bias=False)]))
        elif kind == "pool":
            made.append(pool(rng.randint(2, 3), rng.randint(1, 2), 1))
        else:
            made.append(convolution(1 if kind == "conv" else rng.randint(2, 3)))
    net = nn.Sequential(*made)
    for weight in net.parameters():
        nn.init.uniform_(weight, 0.5, 1.0)
    return net.double()


def support(net: nn.Module, shape: tuple[int, ...], place: tuple[int, ...]) -> Tensor:
    """(*image) whether one place of the first output has a gradient by a pixel."""
    image = torch.ones(1, *shape, dtype=torch.float64, requires_grad=True)
    out = net(image)
    (gradient,) = torch.autograd.grad(out[(0, 0, *place)], image)
    return gradient[0, 0] != 0


@pytest.mark.parametrize("seed", range(25))
def test_fields_are_where_gradients_are(seed: int):
    rng = random.Random(seed)
    dims = 1 + seed % 3
    sides = [(97,), (57, 66), (41, 38, 43)][dims - 1]
    net = random_net(rng, dims, 4)
    found = graph(net, 1, *sides)
    field = receptive_fields(found)[found.outputs[0]]
    grid = found.nodes[found.outputs[0]].layout.grid[2:]
    assert field.status == "exact"
    compared = 0
    for place in [tuple(side // 2 for side in grid), tuple(rng.randrange(side) for side in grid)]:
        read = support(net, (1, *sides), place)
        got = pixels_read(found, place=place)
        assert (torch.from_numpy(got.mask) == read).all()
        for axis, side in enumerate(sides):
            first = int(place[axis] * field.stride[axis] - field.padding[axis])
            last = first + field.size[axis] - 1
            read_along = read.movedim(axis, 0).reshape(side, -1).any(1).nonzero().ravel().tolist()
            assert set(read_along) <= set(range(first, last + 1))
            if first >= 0 and last < side:
                assert {first, last} <= set(read_along)
                compared += 1
    assert compared


# --- laws ----------------------------------------------------------------------------------------


def test_a_field_does_not_depend_on_the_images_size():
    for name in ("resnet18", "vgg16", "densenet121"):
        large, small = (at_last_map(graph_of(name, n, n)) for n in (224, 96))
        assert three(large) == three(small)


def test_axes_have_fields_of_their_own():
    net = nn.Sequential(nn.Conv2d(1, 1, (3, 5), (1, 2), (1, 0)), nn.Conv2d(1, 1, (1, 3)))
    field = at_last_map(graph(net, 1, 20, 30))
    assert (field.size, field.stride, field.padding) == ((3, 9), (1, 2), (1, 0))
    assert field.centre == (0, 4)


@pytest.mark.parametrize("space", [(40,), (30, 40), (12, 14, 16)])
def test_one_to_three_axes(space: tuple[int, ...]):
    conv = [nn.Conv1d, nn.Conv2d, nn.Conv3d][len(space) - 1]
    net = nn.Sequential(conv(1, 1, 3, 2, 1), conv(1, 1, 3))
    field = at_last_map(graph(net, 1, *space))
    assert (field.size, field.padding) == ((7,) * len(space), (1,) * len(space))


def test_ways_that_do_not_agree_are_not_concentric_and_join_to_their_union():
    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., :-4] + x[..., 4:]

    field = at_last_map(graph(nn.Sequential(nn.Conv1d(1, 1, 3, 2, 1), Shifted()), 1, 40))
    assert not field.concentric
    assert (field.size, field.stride, field.padding) == ((11,), (2,), (1,))
    assert field.holes == 5


def test_a_gate_is_global_beside_the_field_of_the_windows():
    class Gated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.mean((2, 3), keepdim=True)

    field = at_last_map(graph(nn.Sequential(nn.Conv2d(1, 1, 5, 2, 2), Gated()), 1, 32, 32))
    assert (field.size, field.stride, field.padding) == ((5, 5), (2, 2), (2, 2))
    assert field.status == "global"


@pytest.mark.parametrize("norm", [nn.GroupNorm(1, 2), nn.InstanceNorm2d(2)])
def test_a_norm_over_the_image_is_global(norm: nn.Module):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), norm)
    field = at_last_map(graph(net, 1, 9, 9))
    assert (field.size, field.status) == ((3, 3), "global")


def test_global_pooling_reads_the_whole_image():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    found = graph(net, 1, 11, 13)
    field = receptive_fields(found)[found.outputs[0]]
    assert (field.size, field.stride, field.status) == ((11, 13), (None, None), "global")
    assert field.padding == field.centre == (None, None)


# --- where places are not alike ------------------------------------------------------------------


def up(factor: int) -> nn.Module:
    return nn.Upsample(scale_factor=factor, mode="nearest")


def largest_inside(net: nn.Module, side: int, places: range) -> int:
    """The largest gradient support of places that do not reach the border."""
    sizes = []
    for place in places:
        read = support(net, (1, side), (place,)).nonzero().ravel()
        if read.min() > 0 and read.max() < side - 1:
            sizes.append(int(read.max() - read.min()) + 1)
    assert sizes
    return max(sizes)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv1d(1, 1, 3, 2, 1), up(2), nn.Conv1d(1, 1, 3, 1, 1)],
        [nn.Conv1d(1, 1, 3, 2, 1), nn.Conv1d(1, 1, 3, 2, 1), up(4), nn.Conv1d(1, 1, 2)],
        [nn.AvgPool1d(2), nn.ConvTranspose1d(1, 1, 4, 2, 1), nn.Conv1d(1, 1, 3, 1, 1)],
        [nn.AvgPool1d(3), nn.Upsample(scale_factor=3, mode="linear"), nn.Conv1d(1, 1, 3, 1, 1)],
        [nn.AvgPool1d(3), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv1d(1, 1, 3, 1, 1)],
    ],
)
def test_the_largest_field_after_a_resize(layers: list[nn.Module]):
    net = nn.Sequential(*layers).double()
    for weight in net.parameters():
        nn.init.uniform_(weight, 0.5, 1.0)
    found = graph(net, 1, 72)
    field = receptive_fields(found)[found.outputs[0]]
    places = range(found.nodes[found.outputs[0]].layout.grid[2])
    assert field.size == (largest_inside(net, 72, places),)
    assert (field.status, field.clipped, field.concentric) == ("exact", False, False)
    steps = [Fraction(len(places), 72), field.stride[0] ** -1]
    assert abs(steps[0] - steps[1]) < Fraction(1, 20)


def test_a_field_that_the_border_cuts_is_a_bound():
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv1d(1, 1, 21, 2, 10), up(2), nn.Conv1d(1, 1, 21, 1, 10))

    def field(side: int) -> ReceptiveField:
        return at_last_map(graph(net(), 1, side))

    assert (field(128).status, field(128).clipped) == ("exact", False)
    assert (field(24).status, field(24).clipped) == ("at most", True)
    assert field(24).size[0] <= 24 < field(128).size[0] == field(256).size[0]


def test_a_relation_repeats_itself_or_not():
    assert recurrence(axes.spread(9, 3, stride=2)) == (2, 1)
    assert recurrence(axes.gather(12, [place // 3 for place in range(36)])) == (3, 1)
    assert recurrence(axes.gather(12, [place * 3 // 2 for place in range(8)])) == (2, 3)
    assert recurrence(axes.flip(7)) == (1, -1)
    assert recurrence(axes.gather(5, [3, 1, 4, 0, 2])) is None
    shuffled = random.Random(0).sample(range(20), 20)
    assert recurrence(axes.gather(20, shuffled)) is None


def test_a_split_axis_is_never_called_exact():
    class Turned(nn.Module):
        """Space to depth by views, of which the places come back in another order."""

        def forward(self, x: Tensor) -> Tensor:
            return x.view(1, 1, 8, 2).transpose(2, 3).reshape(1, 1, 16)

    net = nn.Sequential(Turned(), nn.Conv1d(1, 1, 3, 1, 1))
    assert at_last_map(graph(net, 1, 16)).status == "at most"


def test_own_weights_at_every_place_read_no_more_than_their_windows():
    layer = LocallyConnected(2, 3, (10, 10), 3, stride=2)
    found = capture(nn.Sequential(nn.Conv2d(1, 2, 3), layer), (1, 12, 12))
    number = found.outputs[0]
    grid = found.nodes[number].layout.grid
    boxes = [pixels_read(found, number, (0, 0, *at)).box for at in np.ndindex(*grid[2:])]
    assert len(boxes) == 25
    field = receptive_fields(found)[number]
    assert field.size == tuple(max(b - a for a, b in axis) + 1 for axis in zip(*boxes, strict=True))
    assert (field.size, field.status) == ((5, 5), "at most")


def test_places_that_were_merged_and_then_all_read_are_global():
    class Token(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Parameter(torch.zeros(1, 2, 1))

        def forward(self, x: Tensor) -> Tensor:
            tokens = torch.cat([self.own, x.flatten(2)], 2)
            return tokens + tokens.mean(2, keepdim=True)

    found = graph(nn.Sequential(nn.Conv2d(1, 2, 3), Token()), 1, 8, 9)
    field = receptive_fields(found)[found.outputs[0]]
    assert (field.size, field.stride, field.status) == ((3, 3), (1, 1), "global")


class Mirrored(nn.Module):
    """A signal with its first and last places again, in reverse: symmetric padding."""

    def __init__(self, margin: int) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: Tensor) -> Tensor:
        first, last = x[..., : self.margin], x[..., -self.margin :]
        return torch.cat([first.flip(-1), x, last.flip(-1)], -1)


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_mirrored_borders_do_not_turn_the_stride_round(halvings: int):
    halved = [Mirrored(6), nn.Conv1d(1, 1, 13, 2)]
    field = at_last_map(graph(nn.Sequential(*halved * halvings), 1, 64))
    assert field.stride == (2**halvings,)


def test_a_map_keeps_its_stride_where_every_place_reads_the_whole_image():
    layers = [Mirrored(2), nn.Conv1d(1, 1, 5, 2), Mirrored(2), nn.Conv1d(1, 1, 5)]
    field = at_last_map(graph(nn.Sequential(*layers, *layers[2:] * 3), 1, 8))
    assert (field.size, field.stride, field.status) == ((8,), (2,), "at most")


# --- sets of pixels ------------------------------------------------------------------------------


def test_holes():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2))
    read = pixels_read(graph(net, 1, 15, 15))
    assert (read.pixels, read.holes, read.box) == (9, 16, ((5, 9), (5, 9)))
    assert at_last_map(graph(net, 1, 15, 15)).holes == 16
    assert pixels_read(graph(nn.Conv2d(1, 1, 3), 1, 15, 15)).holes == 0


def test_a_place_that_reads_padding_alone_reads_no_pixel():
    read = pixels_read(graph(nn.Conv1d(1, 1, 1, padding=2), 1, 4), place=(0,))
    assert (read.pixels, read.holes, read.box) == (0, 0, ())


@pytest.mark.parametrize("place", [(99,), (0, 0), (0, 0, 0, 0)])
def test_a_place_that_is_not_there(place: tuple[int, ...]):
    with pytest.raises(SettingsError, match="has no place"):
        pixels_read(graph(nn.Conv1d(1, 1, 3), 1, 9), place=place)


def test_a_node_that_is_not_there():
    found = graph(nn.Sequential(nn.Conv1d(1, 1, 3)), 1, 9)
    with pytest.raises(SettingsError, match="nodes 0 to 1"):
        pixels_read(found, 7)
    with pytest.raises(SettingsError, match="Did you mean 'conv1d'"):
        pixels_read(found, "conv2d")


def test_findings_are_plain():
    found = graph_of("resnet18", 224, 224)
    plain = at_last_map(found).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["size"], plain["stride"], plain["padding"]) == ([435] * 2, [32] * 2, [217] * 2)
    read = pixels_read(found).to_dict()
    assert json.loads(json.dumps(read)) == read
    assert (len(read["mask"]), len(read["mask"][0])) == (56, 56)


def test_the_stride_of_patches_that_are_cut_out_is_that_of_the_patches():
    """Windows of 6 that move by 3, then by 2 of these: 6 pixels, whatever is left at the end."""

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 3, 2)

        def forward(self, x):
            return self.conv(x.unfold(2, 6, 3).mean(3))

    graph = capture(Patches(), (1, 50))
    found = receptive_fields(graph)[graph.last_map]
    assert (found.size, found.stride) == ((12,), (6,))


# --- cut up and put together again ---------------------------------------------------------------


def _windows(net: nn.Module, x: Tensor) -> Tensor:
    """Partition into windows of 4 × 4, channels last, and back."""
    y = net.a(x).permute(0, 2, 3, 1)
    b, h, w, c = y.shape
    cut = y.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4, c)
    back = cut.relu().view(b, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5)
    return net.b(back.reshape(b, h, w, c).permute(0, 3, 1, 2))


def _batches(net: nn.Module, x: Tensor) -> Tensor:
    """Every second row and column in a batch of its own: a dilation of 2."""
    y = net.a(x)
    b, c, h, w = y.shape
    cut = y.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
    cut = net.b(cut.reshape(4 * b, c, h // 2, w // 2))
    cut = cut.view(b, 2, 2, c, h // 2, w // 2).permute(0, 3, 4, 1, 5, 2)
    return cut.reshape(b, c, h, w)


def _taps(net: nn.Module, x: Tensor) -> Tensor:
    y = net.a(x)
    return net.b(functional.unfold(y, 3, padding=1).view(len(y), 2, 9, *y.shape[2:]).sum(2))


@pytest.mark.parametrize(("cut", "size"), [(_windows, 5), (_batches, 7), (_taps, 7)])
@pytest.mark.parametrize("sides", [(16, 16), (24, 16)])
def test_fields_of_a_map_that_was_cut_up_and_put_together_are_exact(cut, size, sides) -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return cut(self, x)

    found = receptive_fields(capture(Cut(), (1, *sides)))[-1]
    assert found.size == (size, size) and found.padding == (size // 2,) * 2
    assert found.stride == (1, 1) and found.centre == (0, 0)
    assert found.concentric and not found.clipped and found.status == "exact"


def test_windows_that_are_padded_apart_have_fields_that_are_not_alike() -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.view(-1, 1, 8)).view(1, 1, -1)

    found = receptive_fields(capture(Apart(), (1, 32)))[-1]
    assert not found.concentric and found.status == "at most"
