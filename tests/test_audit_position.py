"""Position leak: networks of which it is known whether they can tell where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from placewise.auditing._draws import noise_images
from placewise.auditing.borders import border_swap
from placewise.auditing.position import position_probe, ridge_weights
from placewise.errors import SettingsError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def stack(
    dims: int, layers: int, kernel: int = 3, channels: int = 4, **settings: object
) -> nn.Sequential:
    conv = CONVOLUTIONS[dims - 1]
    modules: list[nn.Module] = [conv(1, channels, kernel, **settings)]
    for _ in range(layers - 1):
        modules += [nn.ReLU(), conv(channels, channels, kernel, **settings)]
    return nn.Sequential(*modules).double()


def noise(dims: int, size: int, count: int = 3, seed: int = 0) -> torch.Tensor:
    return noise_images((1, *[size] * dims), count, seed).double()


class Coordinates(nn.Module):
    """Adds channels that say where they are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in x.shape[2:]), indexing="ij")
        return torch.cat([x, torch.stack(axes).to(x).expand(len(x), *[-1] * (x.ndim - 1))], 1)


# --- border swap ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_what_has_no_padding_owes_it_nothing(dims: int):
    for net in (stack(dims, 3, kernel=1), stack(dims, 3), stack(dims, 2, stride=2)):
        strides = {"": (4,) * dims if net[0].stride[0] == 2 else (1,) * dims}
        (found,) = border_swap(net, noise(dims, 24), size=(16,) * dims, layers=strides)
        assert len(found.relative) >= 1
        assert found.relative.max() < 1e-12
        assert found.overall < 1e-12
    (pointwise,) = border_swap(nn.Conv1d(1, 3, 1), torch.rand(2, 1, 32), size=(16,))
    assert (pointwise.relative == 0).all()


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_is_owed_for_as_far_as_it_reaches(dims: int, mode: str):
    net = stack(dims, 3, padding=1, padding_mode=mode)
    strides = dict.fromkeys(["0", "2", ""], (1,) * dims)
    found = border_swap(net, noise(dims, 22), size=(12,) * dims, layers=strides)
    for each, reach in zip(found, (1, 2, 3), strict=True):
        assert each.margin == (5,) * dims
        assert len(each.relative) == 6
        assert (each.relative[:reach] > 1e-6).all()
        assert (each.relative[reach:] < 1e-12).all()
        assert each.relative.argmax() == 0


def test_strides_are_kept_in_step():
    """The margin is a whole number of strides, so that the maps lie over each other."""
    net = stack(2, 3, padding=1, stride=2)
    found = border_swap(net, noise(2, 80), size=(40, 32), layers=["0", "2", ""])
    assert {each.margin for each in found} == {(16, 24)}
    assert [each.stride for each in found] == [(2, 2), (4, 4), (8, 8)]
    assert found[0].relative[1:].max() < 1e-12 < found[0].relative[0]
    assert found[1].relative[2:].max() < 1e-12


def test_border_swap_like_its_slow_twin():
    net, images = stack(1, 2, padding=1), noise(1, 20, count=2)
    (found,) = border_swap(net, images, size=(10,), layers=[""])
    with torch.no_grad():
        whole, padded = net(images)[..., 5:15].numpy(), net(images[..., 5:15]).numpy()
    spread = np.sqrt(np.mean([whole[:, channel].var() for channel in range(4)]))
    for distance in range(5):
        ends = [distance, 9 - distance]
        error = np.sqrt(np.mean((whole[..., ends] - padded[..., ends]) ** 2))
        assert found.relative[distance] == pytest.approx(error / spread, abs=1e-12)


def test_what_looks_at_the_whole_image_differs_everywhere():
    class Global(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x.mean(-1, keepdim=True)

    (found,) = border_swap(Global(), noise(1, 32), size=(16,))
    assert (found.relative > 0.05).all()


def test_images_without_a_margin_are_refused():
    net = stack(1, 2, padding=1, stride=2)
    assert border_swap(net, noise(1, 24), size=(16,))[0].margin == (4,)
    with pytest.raises(SettingsError, match=r"need at least \(24,\)"):
        border_swap(net, noise(1, 23), size=(16,))


# --- probe ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_coordinates_are_read_off_where_there_are_some(dims: int):
    net = nn.Sequential(Coordinates(), CONVOLUTIONS[dims - 1](1 + dims, 5, 1)).double()
    size = 8 if dims == 3 else 16
    (found,) = position_probe(net, noise(dims, size, count=8), layers=[""])
    assert found.size == (size,) * dims
    assert len(found.r2) == len(found.spearman) == len(found.raw_r2) == dims
    assert min(found.r2) > 0.999
    assert min(found.spearman) > 0.99
    assert max(np.abs(found.shuffled_r2)) < 0.1
    assert max(np.abs(found.raw_r2)) < 0.1
    assert found.places == 2 * min(256, size**dims)


def test_each_axis_is_asked_for_itself():
    class Rows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, torch.linspace(0, 9, x.shape[2]).to(x)[:, None].expand_as(x)], 1)

    (found,) = position_probe(Rows(), noise(2, 16, count=16))
    assert found.r2[0] > 0.999
    assert abs(found.r2[1]) < 0.1
    assert abs(found.spearman[1]) < 0.2


def test_pointwise_networks_leak_nothing_and_padded_ones_more_by_depth():
    images = noise(2, 24, count=40)
    (pointwise,) = position_probe(stack(2, 4, kernel=1), images, layers=[""])
    assert max(np.abs(pointwise.r2)) < 0.05
    deep = stack(2, 8, channels=16, padding=1)
    first, last = position_probe(deep, images, layers=["0", ""])
    gap = np.subtract(last.r2, first.r2)
    assert (gap > 0.1).all()
    assert max(first.raw_r2) < 0.05
    assert max(last.shuffled_r2) < 0.05


def test_what_the_image_gives_away_is_told_apart():
    """Brighter to the right: the image says as much as the features do."""
    images = noise(2, 16, count=12) * 0.1 + torch.linspace(-1, 1, 16).double()
    (found,) = position_probe(nn.MaxPool2d(2), images)
    assert found.size == (8, 8)
    assert found.r2[1] > 0.9
    assert found.raw_r2[1] > 0.9
    assert abs(found.raw_r2[0]) < 0.2


def test_more_channels_than_places_flatter_nobody():
    """Half of the images could be learnt by heart; the scored ones were never seen."""

    class Noise(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.randn(len(x), 300, *x.shape[2:], dtype=x.dtype)

    (found,) = position_probe(Noise(), noise(1, 16, count=16))
    assert found.r2[0] < 0.1


def test_the_probe_is_seeded_and_does_not_depend_on_batches():
    net, images = stack(2, 3, padding=1), noise(2, 20, count=8)
    found = position_probe(net, images, layers=["0", ""], places=50)
    assert [each.layer for each in found] == ["0", ""]
    again = position_probe(net, images, layers=["0", ""], places=50, batch_size=3)
    assert np.allclose([each.r2 for each in again], [each.r2 for each in found])
    other = position_probe(net, images, layers=["0", ""], places=50, seed=1)
    assert not np.allclose([each.r2 for each in other], [each.r2 for each in found])
    assert found[0].places == 2 * 50
    with pytest.raises(SettingsError, match="at least 4"):
        position_probe(net, images[:3])


@pytest.mark.parametrize("shape", [(30, 4), (4, 30), (7, 7)])
def test_ridge_like_its_slow_twin(shape):
    """As an ordinary least-squares problem with a row √(nλ)·e for each weight."""
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    for strength in (1e-4, 1.0, 100.0):
        extra = np.sqrt(shape[0] * strength) * np.eye(shape[1])
        rows = np.concatenate([features, extra])
        answers = np.concatenate([targets, np.zeros((shape[1], 2))])
        truth = np.linalg.lstsq(rows, answers, rcond=None)[0]
        assert np.allclose(ridge_weights(features, targets, [strength])[0], truth)
