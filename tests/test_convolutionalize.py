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
        (sequential(nn.Flatten(), nn.LayerNorm(256), nn.Linear(256, 2)), 16, r"4 \(LayerNorm"),
        (sequential(nn.Flatten(), nn.BatchNorm1d(256), nn.Linear(256, 2)), 16, r"4 \(BatchNorm1d"),
        (sequential(nn.Flatten()), 16, "flattened map itself is an output"),
        (sequential(nn.Flatten(), nn.Linear(256, 2)), 20, "cannot be followed"),
        (sequential(nn.Flatten(), nn.Linear(256, 2)), (16, 16, 16), "2 axes"),
    ],
)
def test_what_cannot_be_turned_is_named(net: nn.Module, size: int, says: str):
    with pytest.raises(SettingsError, match=says):
        convolutionalize(net, size)
