"""Even sizes: published progressions, and real runs at each size against the walk."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from audit_backbones import Residual, conv, graph, graph_of
from placewise.auditing import audit
from placewise.auditing._walks import AllWalks, same_padding
from placewise.auditing.alignment import alignment, alignment_over
from placewise.auditing.paths import count_paths
from placewise.graph import capture

REST = {
    "resnet18": 1,
    "resnet50": 1,
    "mobilenet_v1": 1,
    "mobilenet_v2": 1,
    "efficientnet_b0": 1,
    "vgg16": 0,
    "convnext_tiny": 0,
    "densenet121": 29,
    "alexnet": 31,
    "alexnet_valid": 3,
}
"""Even sizes are 32·a + this."""


@pytest.mark.parametrize("name", REST)
def test_even_sizes_of_backbones(name: str):
    found = graph_of(name, 224, 224)
    curve = alignment_over(AllWalks(found), range(192, 260))
    assert [one.size for one in curve if one.aligned] == [
        size for size in range(192, 260) if size % 32 == REST[name]
    ]
    assert all(one.possible for one in curve)
    one = alignment(found)
    assert one.step == (32, 32)
    below = max(size for size in range(190, 225) if size % 32 == REST[name])
    above = min(size for size in range(224, 260) if size % 32 == REST[name])
    assert one.nearest_aligned == ((below, above),) * 2
    assert one.aligned == (below == above)
    assert one.stopped is None


def test_resnet_at_224_is_misaligned_at_all_its_strided_layers():
    found = alignment(graph_of("resnet18", 224, 224))
    rows = [layer for layer in found.layers if layer.axis == 0]
    assert [(left.length, left.kernel, left.unused, left.real) for left in rows] == [
        (230, 7, 1, 0),
        (114, 3, 1, 0),
        (58, 3, 1, 0),
        (56, 1, 1, 1),
        (30, 3, 1, 0),
        (28, 1, 1, 1),
        (16, 3, 1, 0),
        (14, 1, 1, 1),
    ]
    assert rows[0].layer == "0"
    assert all(left.unused == 0 for left in alignment(graph_of("resnet18", 225, 225)).layers)
    assert [(left.before, left.after) for left in rows[:2]] == [(3, 2), (1, 0)]


def test_an_even_size_is_its_own_neighbour():
    found = alignment(graph_of("resnet18", 225, 224))
    assert found.nearest_aligned == ((225, 225), (193, 225))
    assert not found.aligned
    assert alignment(graph_of("resnet18", 225, 225)).aligned


def test_at_an_even_size_a_symmetric_network_has_symmetric_paths():
    for name in ("resnet18", "mobilenet_v2"):
        (below, above), _ = alignment(graph_of(name, 110, 97)).nearest_aligned
        assert (below, above) == (97, 129)
        for side, aligned in ((97, True), (110, False)):
            counts = count_paths(graph_of(name, side, 97)).counts
            assert (counts == counts[::-1]).all() == aligned


# --- the slow twin: capture, and run, at each size -----------------------------------------------


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.bottom, self.last = conv(3, 1, 1), conv(3, 1, 1), conv(3, 1, 1, before=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        deep = self.bottom(nn.functional.max_pool2d(x, 2))
        up = nn.functional.interpolate(deep, scale_factor=2.0, mode="nearest")
        return self.last(torch.cat([x, up], 1))


class Gated(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


class Crossed(nn.Module):
    """Two ways of the same length, of which one is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.padded, self.valid = conv(3, 2, 1), conv(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.padded(x)[..., 1:, 1:] + self.valid(x)[..., :, :]


class Pyramid(nn.Module):
    """The coarser map is resized to the size of the finer one."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode, self.down, self.last = mode, conv(3, 2, 1), conv(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        coarse = nn.functional.interpolate(self.down(fine), size=fine.shape[2:], mode=self.mode)
        return self.last(fine + coarse)


class Same(nn.Module):
    """Pads as TensorFlow does, then strides."""

    def forward(self, x: Tensor) -> Tensor:
        widths = [same_padding(side, 3, 2) for side in (x.shape[3], x.shape[2])]
        return nn.functional.max_pool2d(nn.functional.pad(x, widths[0] + widths[1]), 3, 2)


NETS: dict[str, Callable[[], nn.Module]] = {
    "nearest to a size": lambda: Pyramid("nearest"),
    "bilinear to a size": lambda: Pyramid("bilinear"),
    "same": lambda: nn.Sequential(Same(), Same()),
    "enlarged": lambda: nn.Sequential(conv(3, 2, 1), nn.ConvTranspose2d(1, 1, 3, 2, 1)),
    "chain": lambda: nn.Sequential(conv(5, 3, 1), conv(3, 2, 1), conv(2, 2)),
    "padding before": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 2), conv(3, 2, 1)),
    "reflected": lambda: nn.Sequential(nn.ReflectionPad2d((1, 2, 1, 2)), conv(4, 3), conv(1, 2)),
    "residual": lambda: Residual([conv(3, 2, 1), conv(3, 2, 1)], conv(1, 4)),
    "rounded up": lambda: nn.Sequential(conv(3, 2, 1), nn.MaxPool2d(3, 2, ceil_mode=True)),
    "gated": lambda: nn.Sequential(conv(3, 2, 1), Gated(), conv(3, 3, 1)),
    "softmax over rows": lambda: nn.Sequential(conv(3, 2, 1), nn.Softmax(2), conv(3, 2, 1)),
    "classifier": lambda: nn.Sequential(
        conv(3, 2, 1), nn.MaxPool2d(3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 3)
    ),
    "sliced": lambda: nn.Sequential(conv(3, 2), Crossed(), conv(3, 2)),
    "U": UNet,
}
SIZES = range(24, 44)


def runs(net: nn.Module, side: int) -> bool:
    try:
        net(torch.zeros(1, 1, side, side))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("name", NETS)
def test_the_walk_says_what_a_capture_at_each_size_says(name: str):
    net = NETS[name]().eval()
    start = next(size for size in SIZES if size > 30 and runs(net, size))
    found = graph(net, 1, start, start)
    assert alignment(found).stopped is None
    compared, aligned = 0, 0
    for one in alignment_over(AllWalks(found), SIZES, computed=name == "same"):
        assert one.possible == runs(net, one.size)
        if one.possible:
            real = alignment(graph(net, 1, one.size, one.size))
            misaligned = {left.node for left in real.misaligned}
            assert (one.aligned, one.misaligned_layers) == (real.aligned, len(misaligned)), one.size
            compared, aligned = compared + 1, aligned + one.aligned
    assert compared > 5
    assert bool(aligned) == (name != "nearest to a size")


def test_leftovers_are_those_of_the_shapes_that_layers_meet():
    net = NETS["chain"]()
    for side in SIZES:
        x, expected = torch.zeros(1, 1, side, side), []
        for layer in net:
            padded = x.shape[2] + 2 * layer.padding[0]
            expected.append((padded - layer.kernel_size[0]) % layer.stride[0])
            x = layer(x)
        layers = alignment(graph(net, 1, side, side)).layers
        assert [left.unused for left in layers if left.axis == 1] == expected


# --- where the walk ends -------------------------------------------------------------------------


def test_a_fixed_size_stops_the_walk_and_is_named():
    net = nn.Sequential(conv(3, 2, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3))
    found = alignment(graph(net, 1, 32, 32))
    assert found.stopped == "3"
    assert found.nearest_aligned == ((31, 35),) * 2
    assert found.step == (4, 4)


def test_slices_that_were_perhaps_calculated_stop_the_walk_where_maps_do_not_fit():
    class Cropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = conv(2, 2), nn.ConvTranspose2d(1, 1, 3, 2)

        def forward(self, x: Tensor) -> Tensor:
            high, wide = x.shape[2:]
            return x + self.up(self.down(x))[:, :, :high, :wide]

    found = alignment(graph(Cropped(), 1, 12, 13))
    assert found.stopped is not None
    assert [(one.axis, one.aligned) for one in found.resizes if one.op == "add"] == [(0, False)]
    assert found.nearest_aligned[1] == (12, 14)


def test_an_axis_that_is_cut_stops_the_walk():
    class Windows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(1, 1, 4, 4, 16).flatten(2, 3)

    net = nn.Sequential(conv(2, 2), Windows(), conv(3, 2))
    found = alignment(graph(net, 1, 32, 32))
    assert found.stopped == "1"
    assert not found.aligned
    assert [left.layer for left in found.layers if not left.aligned] == ["2", "2"]


def test_what_the_last_window_overhangs_leans():
    """Rounded up, it reads fewer places than the first one: the rows are not aligned."""
    found = alignment(graph(nn.MaxPool2d(3, 2, ceil_mode=True), 1, 12, 13))
    rows, columns = found.layers
    assert (rows.overhang, columns.overhang) == (1, 0)
    assert (rows.unused, rows.before, rows.after) == (0, 0, 1)
    assert [left.axis for left in found.misaligned] == [0]


def test_a_resize_to_a_given_size_follows_the_map_that_it_meets():
    class Pooled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.avg_pool2d(x, 4)
            small = nn.functional.adaptive_avg_pool2d(x, 2)
            return x + nn.functional.interpolate(small, size=x.shape[2:], mode="nearest")

    found = alignment(graph(Pooled(), 1, 24, 26))
    assert found.stopped is None
    assert found.nearest_aligned == ((24, 24), (24, 32))


def test_a_nearest_resize_leans_where_it_repeats_unequally():
    found = alignment(graph(Pyramid("nearest"), 1, 21, 19))
    assert [(one.axis, one.length, one.written, one.aligned) for one in found.resizes] == [
        (0, 6, 11, False),
        (1, 5, 10, True),
    ]


def test_an_uneven_crop_of_a_transposed_convolution_leans():
    for more, aligned in ((0, True), (1, False)):
        found = alignment(graph(nn.ConvTranspose2d(1, 1, 3, 2, 1, more), 1, 8, 8))
        assert [one.aligned for one in found.resizes] == [aligned] * 2
        assert found.aligned == aligned


def test_padding_at_one_end_alone_leans():
    found = alignment(graph(nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 2)), 1, 12, 13))
    rows, columns = found.layers
    assert (rows.before, rows.after, rows.aligned) == (0, 1, False)
    assert (columns.before, columns.after, columns.unused, columns.aligned) == (0, 0, 1, True)


def test_real_rows_and_padding_are_told_apart():
    (left,) = alignment(graph(nn.Conv1d(1, 1, 2, 4, 1), 1, 10)).layers
    assert (left.length, left.unused, left.real) == (12, 2, 1)
    net = nn.Sequential(nn.ZeroPad1d((0, 2)), nn.ReLU(), nn.Conv1d(1, 1, 2, 4))
    (left,) = alignment(graph(net, 1, 11)).layers
    assert (left.length, left.unused, left.real) == (13, 3, 1)
    net = nn.Sequential(nn.ZeroPad1d((0, 1)), nn.Conv1d(1, 1, 2, 4, 1))
    (left,) = alignment(graph(net, 1, 10)).layers
    assert (left.length, left.unused, left.real) == (13, 3, 1)


@pytest.mark.parametrize("space", [(20,), (20, 21), (20, 21, 22)])
def test_one_to_three_axes(space: tuple[int, ...]):
    kind = [nn.Conv1d, nn.Conv2d, nn.Conv3d][len(space) - 1]
    found = alignment(graph(kind(1, 1, 3, 2, 1), 1, *space))
    assert found.nearest_aligned == ((19, 21), (21, 21), (21, 23))[: len(space)]
    assert found.step == (2,) * len(space)


def test_a_network_without_strides_is_even_everywhere():
    found = alignment(graph(conv(3, 1, 1), 1, 8, 9))
    assert (found.aligned, found.layers, found.step) == (True, (), (1, 1))
    assert found.nearest_aligned == ((8, 8), (9, 9))


def test_findings_are_plain():
    found = alignment(graph_of("resnet18", 224, 224)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["aligned"], found["candidates"], found["step"]) == (
        False,
        [[193, 225], [193, 225]],
        [32, 32],
    )
    (one,) = alignment_over(AllWalks(graph_of("resnet18", 224, 224)), [224])
    assert one.to_dict() == {
        "size": 224,
        "aligned": False,
        "misaligned_layers": 8,
        "possible": True,
    }


def test_strided_layers_beyond_what_can_be_followed_are_told():
    """Places that are moved into channels end the walk; what strides behind them has no say."""
    hidden = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, 1, 3, 2, 1))
    found = alignment(capture(hidden, (1, 32, 32)))
    assert len(found.layers) == 2
    assert (found.stopped is None, found.missed) == (False, 1)
    before = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.PixelUnshuffle(2))
    assert alignment(capture(before, (1, 32, 32))).missed == 0
    assert alignment(capture(before[:1], (1, 32, 32))).missed == 0


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(3),
        lambda x: nn.functional.unfold(x, 8, stride=8).transpose(1, 2),
    ],
)
def test_patches_that_are_cut_out_are_windows_that_stride(cut):
    """Patches of 8 leave the last 4 of 36 rows unread, and nothing of 40: as a convolution does."""

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(192, 4)

        def forward(self, x):
            return self.mix(cut(x))

    found = audit(Patches(), (3, 36, 32), measure=False)
    assert "40 × 32 would be stride-aligned" in found.verdict
    left = next(one for one in found.counted.alignment.layers if not one.aligned)
    same = alignment(capture(nn.Conv2d(3, 4, 8, 8), (3, 36, 32))).layers[0]
    facts = [(one.stride, one.unused, one.real, one.before, one.after) for one in (left, same)]
    assert facts == [(8, 4, 4, 0, -4)] * 2


def test_views_that_thin_out_places_are_not_called_aligned():
    class Thinned(nn.Module):
        def forward(self, x):
            return x.view(1, 1, 16, 2)[..., 0]

    table = audit(Thinned(), (1, 32), measure=False).table()
    assert "no layer of windows strides; what views leave out is not checked" in (
        " ".join(table.split())
    )


class Sliced(nn.Module):
    """Every other row and column, from each of some first ones; joined as channels."""

    def __init__(self, *firsts: tuple[int, int], last: bool = False) -> None:
        super().__init__()
        self.conv, self.firsts, self.last = nn.Conv2d(1, 4, 3, padding=1), firsts, last
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if not self.last:
            return torch.cat([self.act(y)[:, :, a::2, b::2] for a, b in self.firsts], 1)
        y = y.permute(0, 2, 3, 1)
        return torch.cat([y[:, a::2, b::2] for a, b in self.firsts], -1).permute(0, 3, 1, 2)


ALL = ((0, 0), (1, 0), (0, 1), (1, 1))  # the focus of YOLOv5, the patch merging of Swin


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("firsts", "side", "ends"),
    [
        (((0, 0),), 32, (0, -1)),
        (((0, 0),), 33, (0, 0)),
        (((1, 1),), 32, (-1, 0)),
        (((1, 1),), 33, (-1, -1)),
        (((0, 0), (0, 0)), 32, (0, -1)),
        (ALL, 32, (0, 0)),
    ],
)
def test_what_no_slice_of_a_tensor_reads_is_a_rest(firsts, side, ends, last):
    found = audit(Sliced(*firsts, last=last), (1, side, side), measure=False)
    layers = found.counted.alignment.layers
    assert [(one.axis, one.stride, one.before, one.after) for one in layers] == [
        (axis, 2, *ends) for axis in (0, 1)
    ]
    assert found.scalars()["even"] == (ends[0] == ends[1])
    assert ("33 would be stride-aligned" in found.verdict) == (ends[0] != ends[1])


@pytest.mark.parametrize(
    ("margin", "side", "advised"),
    [("cut", 32, None), ("cut", 33, 34), ("padded", 32, None), ("padded", 33, 34)],
)
def test_what_is_cut_off_or_added_before_channels_are_made_of_places_is_a_rest(
    margin: str, side: int, advised: int | None
):
    class Unshuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            more = [-n % 2 if margin == "padded" else -(n % 2) for n in x.shape[:1:-1]]
            x = nn.functional.pad(x, (0, more[0], 0, more[1]))
            return self.conv(nn.functional.pixel_unshuffle(x, 2))

    found = audit(Unshuffled(), (1, side, side), measure=False)
    assert found.scalars()["even"] == (advised is None)
    assert (f"{advised} would be stride-aligned" in found.verdict) == (advised is not None)
