"""A flattening classifier made fully convolutional: the same numbers, then a map of them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.backbones.lenet import LeNet as Backbone
from placewise.errors import SettingsError
from placewise.heads.flatten import Flatten
from placewise.layers.convolution import Convolution
from placewise.layers.pooling import Pooling
from placewise.remedies import convolutionalize


class LeNet(nn.Module):
    """Functional calls, a pooling used twice, and a view."""

    def __init__(self, axes: int = 2) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.axes = axes
        self.conv1, self.conv2 = conv(1, 3, 5), conv(3, 6, 5)
        self.pool = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[axes - 1](2)
        self.fc1, self.fc2 = nn.Linear(6 * 5**axes, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(functional.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = x.view(x.size(0), -1)
        x = functional.dropout(functional.relu(self.fc1(x)), training=self.training)
        return self.fc2(x)


class Meaned(nn.Module):
    """A global mean instead of a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 4, 3, stride=2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean([2, 3]))


class Squeezed(nn.Module):
    """Adaptive pooling within the body, which is to stay, and one at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 1)
        self.inner, self.outer = nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * torch.sigmoid(self.gate(self.inner(x)))
        return self.fc(torch.flatten(self.outer(x), 1))


def sequential(*tail: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *tail)


class Ours(nn.Module):
    """The backbone `lenet` with the head `flatten`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = Backbone(1), Flatten(6, 10, (5, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


class Functions(nn.Module):
    """Every layer after the flattening is a function, and numbers are weighed and added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.LayerNorm(12)
        self.weight, self.bias = (
            nn.Parameter(torch.randn(12, 3 * 14 * 14)),
            nn.Parameter(torch.ones(4)),
        )
        self.last, self.scale = nn.Parameter(torch.randn(4, 12)), nn.Parameter(torch.randn(12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).flatten(1)
        x = functional.linear(functional.softplus(x), self.weight)
        x = x + self.scale * functional.silu(self.norm(x)) * x
        x = functional.dropout(x.clamp(-3, 3), training=self.training)
        return functional.log_softmax(functional.linear(x, self.last, self.bias), dim=-1)


class Called(nn.Linear):
    """As in timm: a layer of a class of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class Mobile(nn.Module):
    """As timm's mobilenetv3: the map is pooled, widened and flattened; the body looks at sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool = SameConv(), nn.AdaptiveAvgPool2d(1)
        self.widen, self.act, self.flatten = nn.Conv2d(4, 6, 1), nn.Hardswish(), nn.Flatten(1)
        self.classifier = Called(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.widen(self.pool(self.body(x))))
        return self.classifier(functional.dropout(self.flatten(x), 0.2, self.training))


class SameConv(nn.Module):
    """Pads by the size, and branches on it, so that torch.fx cannot follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        more = [-side % 2 for side in (x.shape[3], x.shape[2])]
        if max(more) > 0:
            x = functional.pad(x, (0, more[0], 0, more[1]))
        return self.conv(x)


class Ends(nn.Module):
    """A global pooling, in one of the ways in which people write it."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.fc, self.end = nn.Conv2d(2, 4, 3, stride=2), nn.Linear(4, 3), end

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.end(self.conv(x)))


def headed(*tail: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), *tail)


FLAT = 4 * 14 * 14

HEADS: dict[str, Callable[[], nn.Module]] = {
    "prelu": headed(nn.Linear(FLAT, 8), nn.PReLU(8), nn.Linear(8, 3)),
    "prelu of one": headed(nn.PReLU(), nn.Linear(FLAT, 3)),
    "prelu of the map": headed(nn.PReLU(FLAT), nn.Linear(FLAT, 3)),
    "layer norm": headed(nn.Linear(FLAT, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3)),
    "layer norm of the map": headed(nn.LayerNorm(FLAT), nn.Linear(FLAT, 3)),
    "batch norm of the map": headed(nn.BatchNorm1d(FLAT), nn.Linear(FLAT, 3)),
    "gated": headed(nn.Linear(FLAT, 8), nn.GLU(), nn.Threshold(0.1, 0.2), nn.Linear(4, 3)),
    "unflattened": headed(nn.Linear(FLAT, 8), nn.Hardswish(), nn.Unflatten(1, (2, 4))),
    "functions": Functions,
    "mobile": Mobile,
    "squeezed twice": lambda: Ends(
        lambda x: functional.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)
    ),
    "indexed": lambda: Ends(lambda x: functional.adaptive_max_pool2d(x, 1)[:, :, 0, 0]),
    "mean of a row": lambda: Ends(lambda x: x.flatten(2).mean(-1)),
    "maximum": lambda: Ends(lambda x: x.amax((2, 3))),
}


@pytest.mark.parametrize("name", HEADS)
def test_each_place_of_any_head_is_the_network_on_a_crop(name: str):
    """At the training size the network's numbers; on a larger image those of crops, by stride."""
    torch.manual_seed(4)
    net = HEADS[name]().double().eval()
    for value in (*net.parameters(), *net.buffers()):
        if value.is_floating_point() and value.ndim == 1:
            nn.init.uniform_(value, 0.2, 1)
    found, step = convolutionalize(net, 16), 2 if name in LATE else 1
    x = torch.rand(2, 2, 16 + 2 * step, 16 + step, dtype=torch.float64)
    maps = found(x)
    assert maps.shape[-2:] == (3, 2)
    for row in range(3):
        for column in range(2):
            y0, x0 = row * step, column * step
            crop = net(x[:, :, y0 : y0 + 16, x0 : x0 + 16])
            torch.testing.assert_close(maps[..., row, column], crop, rtol=0, atol=1e-10)
    small = found(x[:, :, :16, :16])
    torch.testing.assert_close(small[..., 0, 0], net(x[:, :, :16, :16]), rtol=0, atol=1e-10)
    old, new = net.state_dict(), found.state_dict()
    assert all(torch.equal(old[key].flatten(), new[key].flatten()) for key in old)


LATE = ("mobile", "squeezed twice", "indexed", "mean of a row", "maximum")
"""Heads behind a layer that strides."""


class Mixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.softmax(x, 0)


CASES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "lenet 1d": (lambda: LeNet(1), 1, 32),
    "lenet 2d": (lambda: LeNet(2), 1, 32),
    "lenet 3d": (lambda: LeNet(3), 1, 32),
    "vgg-like": (
        lambda: sequential(
            nn.AdaptiveAvgPool2d(8),
            nn.Flatten(),
            nn.Linear(256, 16),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(16, 5, bias=False),
        ),
        2,
        16,
    ),
    "divided": (
        lambda: sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)),
        2,
        16,
    ),
    "global, norm": (
        lambda: sequential(
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 6),
            nn.BatchNorm1d(6),
            nn.Linear(6, 3),
        ),
        2,
        16,
    ),
    "softmax": (
        lambda: sequential(nn.Flatten(), nn.Linear(256, 3), nn.Softmax(-1)),
        2,
        16,
    ),
    "ours, lenet and flatten": (Ours, 1, 32),
    "ours": (
        lambda: nn.Sequential(
            Convolution(2, 4, 3, padding_mode="symmetric"),
            Pooling(4, 2),
            nn.Flatten(),
            nn.Linear(256, 3),
        ),
        2,
        16,
    ),
    "mean": (Meaned, 2, 17),
    "squeezed": (Squeezed, 2, 16),
}


def built(name: str) -> tuple[nn.Module, int, int]:
    make, channels, side = CASES[name]
    torch.manual_seed(3)
    return make().double().eval(), channels, side


def axes_of(net: nn.Module) -> int:
    return next(m.weight.ndim - 2 for m in net.modules() if hasattr(m, "weight"))


def images(net: nn.Module, channels: int, *sides: int) -> Tensor:
    return torch.rand(2, channels, *sides, dtype=torch.float64)


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_at_the_training_size_are_the_same(name: str):
    net, channels, side = built(name)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.running_mean)
    x = images(net, channels, *[side] * axes_of(net))
    found = convolutionalize(net, side)(x)
    assert found.shape == (*net(x).shape, *[1] * axes_of(net))
    torch.testing.assert_close(found.flatten(1), net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"squeezed", "vgg-like", "ours"}))
def test_each_place_of_the_map_is_the_network_on_a_window(name: str):
    """Without padding the map at another size is the network on every crop of its own size."""
    net, channels, side = built(name)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
    if name != "mean" and "lenet" not in name:
        side += 2
    axes, step = axes_of(net), {"mean": 2, "divided": 4}.get(name, 4 if "lenet" in name else 2)
    x = images(net, channels, side + step, *[side] * (axes - 1))
    found = convolutionalize(net, side)(x)
    assert found.shape[2:] == (2, *[1] * (axes - 1))
    crops = [net(x[:, :, :side]), net(x[:, :, step : step + side])]
    torch.testing.assert_close(found.flatten(2), torch.stack(crops, 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_network_stays_as_found(name: str):
    net, _, side = built(name)
    net.train()
    before, state = copy.deepcopy(net), torch.random.get_rng_state()
    found = convolutionalize(net, side)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert str(net) == str(before)
    assert all(map(torch.equal, net.state_dict().values(), before.state_dict().values()))
    assert found.training and all(module.training for module in net.modules())
    with torch.no_grad():
        for value in found.parameters():
            value.add_(1)
    assert all(map(torch.equal, net.state_dict().values(), before.state_dict().values()))


@pytest.mark.parametrize("name", CASES)
def test_weights_keep_their_names_and_numbers(name: str):
    net, _, side = built(name)
    old, new = net.state_dict(), convolutionalize(net, side).state_dict()
    assert old.keys() == new.keys()
    assert all(torch.equal(old[key].flatten(), new[key].flatten()) for key in old)


def test_adaptive_pooling_in_the_body_stays():
    found = convolutionalize(Squeezed(), 16)
    pools = [type(module).__name__ for module in found.modules() if "Pool" in type(module).__name__]
    assert sorted(pools) == ["AdaptiveAvgPool2d", "AvgPool2d"]


@pytest.mark.parametrize(
    "net, size, says",
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3)), 8, "flattens no map"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2, "no convolution"),
        (sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 2)), 16, r"3 \(Adaptive"),
        (sequential(nn.Flatten(), nn.Linear(256, 2), Mixed()), 16, "mixes the images of a batch"),
        (sequential(nn.Flatten()), 16, "flattened map itself is an output"),
        (sequential(nn.Flatten(), nn.Linear(256, 2)), 20, "cannot be followed"),
        (sequential(nn.Flatten(), nn.Linear(256, 2)), (16, 16, 16), "2 axes"),
    ],
)
def test_what_cannot_be_turned_is_named(net: nn.Module, size: int, says: str):
    with pytest.raises(SettingsError, match=says):
        convolutionalize(net, size)


# --- flattened in another order ------------------------------------------------------------------


class Rearranged(nn.Module):
    """One convolution, whose map `order` makes a vector of, and one fully connected layer."""

    def __init__(self, axes: int, order: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.c = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](1, 4, 3)
        self.norm, self.order = nn.LayerNorm(4), order
        self.head = nn.Linear(4 * 6**axes, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.order(self, self.c(x)))


@pytest.mark.parametrize(
    ("axes", "order"),
    [
        (2, lambda net, y: y.permute(0, 2, 3, 1).flatten(1)),
        (2, lambda net, y: y.permute(0, 2, 3, 1).contiguous().view(y.size(0), -1).relu()),
        (2, lambda net, y: y.permute(0, 2, 3, 1).relu().reshape(-1, 144)),
        (2, lambda net, y: y.movedim(1, -1).flatten(1)),
        (2, lambda net, y: y.flatten(2).transpose(1, 2).flatten(1)),
        (2, lambda net, y: y.transpose(2, 3).flatten(1)),
        (2, lambda net, y: y.view(-1, 2, 2, 6, 6).permute(0, 2, 1, 3, 4).flatten(1)),
        (2, lambda net, y: net.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).flatten(1)),
        (1, lambda net, y: y.transpose(1, 2).flatten(1)),
        (3, lambda net, y: y.permute(0, 2, 3, 4, 1).flatten(1)),
    ],
)
def test_a_map_that_is_flattened_in_another_order_is_read_in_that_order(axes, order):
    net = Rearranged(axes, order).eval()
    mapped = convolutionalize(net, 8)
    images = torch.rand(2, 1, *[8] * axes)
    torch.testing.assert_close(mapped(images).flatten(1), net(images))
    larger = torch.rand(2, 1, *[11] * axes)
    places = mapped(larger)
    assert places.shape == (2, 3, *[4] * axes)
    part = larger[(..., *[slice(2, 10)] * axes)]
    torch.testing.assert_close(places[(..., *[2] * axes)], net(part))


def test_a_map_whose_channels_do_not_come_first_is_refused():
    net = Rearranged(2, lambda net, y: net.norm(y.permute(0, 2, 3, 1)).flatten(1))
    with pytest.raises(SettingsError, match=r"flatten cannot be made.*channels of the map"):
        convolutionalize(net, 8)
