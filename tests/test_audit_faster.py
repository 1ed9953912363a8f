"""Faster ways to run a network: used only where outputs and maps are the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from audit_nets import Net
from placewise.auditing import _measured
from placewise.auditing._faster import fastest, folded, following
from placewise.auditing._measured import measure
from placewise.auditing._run import OUTPUT, channels_last, forward, run
from placewise.errors import SettingsError
from placewise.graph import undisturbed

IMAGES = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def norm(channels: int) -> nn.BatchNorm2d:
    """With a scale, a shift and statistics that matter."""
    made = nn.BatchNorm2d(channels)
    for tensor in (*made.parameters(), made.running_mean, made.running_var):
        assert tensor is not None
        nn.init.uniform_(tensor, 0.5, 2)
    return made


def parts() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return {"conv": nn.Conv2d(3, 4, 3, 1, 1), "norm": norm(4), "last": nn.Conv2d(4, 2, 3, 2, 1)}


def usual(net: Any, x: Tensor) -> Tensor:
    return net.last(functional.relu(net.norm(net.conv(x)), inplace=True))


def views(net: Any, x: Tensor) -> Tensor:
    """It takes for granted how maps lie in memory."""
    maps = net.norm(net.conv(x))
    return net.last(maps.view(len(x), -1).reshape(maps.shape))


def reads_memory(net: Any, x: Tensor) -> Tensor:
    """It gives another output if maps lie otherwise, and no error."""
    maps = net.norm(net.conv(x))
    return net.last(torch.as_strided(maps, maps.shape, (576, 144, 12, 1)))


def read_twice(net: Any, x: Tensor) -> Tensor:
    """A skip around the norm reads the convolution, too."""
    maps = net.conv(x)
    return net.last(net.norm(maps) + maps)


def run_twice(net: Any, x: Tensor) -> Tensor:
    return net.last(net.norm(net.conv(x)) + net.norm(net.conv(x.flip(2))))


def asks_the_norm(net: Any, x: Tensor) -> Tensor:
    return net.last(net.norm(net.conv(x)) * net.norm.weight.mean())


def is_not_copied(net: Any, x: Tensor) -> Tensor:
    net.kept = (number for number in ())  # which refuses to be copied
    return usual(net, x)


WAYS: dict[str, tuple[Any, bool, bool]] = {
    "usual": (usual, True, True),
    "views": (views, True, False),
    "reads memory": (reads_memory, True, False),
    "read twice": (read_twice, False, True),
    "run twice": (run_twice, False, True),
    "asks the norm": (asks_the_norm, False, True),
    "is not copied": (is_not_copied, False, True),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_is_used_where_it_gives_the_same(name: str):
    function, folds, last = WAYS[name]
    net = Net(function, **parts())
    with undisturbed(net), torch.no_grad():
        with following(net) as found:
            expected = run(net, IMAGES, ("last", OUTPUT))
        made, channels = fastest(net, IMAGES, expected, found.foldable(expected))
        assert (made is not net, channels) == (folds, last)
        with channels_last(use=channels):
            again = run(made, IMAGES, ("last", OUTPUT))
    for layer, maps in expected.items():
        assert torch.allclose(again[layer], maps, 0, 1e-5 * float(maps.abs().max()))


def test_a_convolution_of_which_the_map_is_measured_keeps_its_norm():
    net = Net(usual, **parts()).eval()
    with torch.no_grad(), following(net) as found:
        net(IMAGES)
    assert found.foldable({}) == {"norm": "conv"} and not found.foldable({"conv": 0})
    copied = folded(net, found.foldable({}))
    assert copied is not None and isinstance(copied.norm, nn.Identity)
    assert isinstance(net.norm, nn.BatchNorm2d) and not net.norm._forward_pre_hooks


def test_measurements_are_the_same(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), norm(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3, 1, 1)
    )
    used = []

    def seen(*given: Any) -> Any:
        used.append(fastest(*given))
        return used[-1]

    monkeypatch.setattr(_measured, "fastest", seen)
    fast = measure(net, (3, 16, 16)).to_dict()
    assert used[0][0] is not net and used[0][1]
    monkeypatch.setattr(_measured, "fastest", lambda model, *_: (model, False))
    assert _alike(measure(net, (3, 16, 16)).to_dict(), fast)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-3, abs=1e-5, nan_ok=True)
    return bool(one == other)


def test_a_view_that_fails_on_larger_maps_alone_is_run_as_usual():
    net = Net(lambda net, x: net.conv(x).view(len(x), -1), conv=nn.Conv2d(3, 4, 12))
    with undisturbed(net), torch.no_grad():
        assert run(net, IMAGES)[OUTPUT].shape == (2, 4)
        larger = torch.rand(2, 3, 14, 14)
        with channels_last():
            assert torch.equal(forward(net, larger), net(larger))
        with channels_last(strictly=True), pytest.raises(SettingsError, match="view"):
            forward(net, larger)
