"""Effective receptive fields beside theory and slow twins."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from placewise.auditing.effective import SHARES, effective_field
from placewise.errors import SettingsError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def uniform_stack(layers: int, dims: int) -> nn.Sequential:
    """Convolutions whose every weight is 1, without padding."""
    net = nn.Sequential(*(CONVOLUTIONS[dims - 1](1, 1, 3, bias=False) for _ in range(layers)))
    for layer in net.double():
        nn.init.constant_(layer.weight, 1 / 3**dims)
    return net


def trinomial(layers: int) -> list[float]:
    """Coefficients of ((1 + x + x²) / 3)^layers, in whole numbers until the end."""
    row = [1]
    for _ in range(layers):
        row = [sum(row[max(i - 2, 0) : i + 1]) for i in range(len(row) + 2)]
    return [value / 3**layers for value in row]


def random_net(dims: int) -> nn.Module:
    conv = CONVOLUTIONS[dims - 1]
    return nn.Sequential(
        conv(2, 3, 3, padding=1), nn.Tanh(), conv(3, 5, 3, stride=2, padding=1)
    ).double()


def images_of(dims: int, count: int = 3, size: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, *[size] * dims, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("layers", "size", "sigma"),
    [(5, 8.31, 1.826), (10, 11.70, 2.582), (20, 16.16, 3.651), (40, 22.74, 5.164)],
)
def test_uniform_stacks_have_the_published_fields(layers: int, size: float, sigma: float):
    side = 2 * layers + 1
    found = effective_field(
        uniform_stack(layers, 2), torch.zeros(1, 1, side, side), theoretical=side
    )
    assert found.size == pytest.approx(size, abs=0.005)
    assert found.sigma == pytest.approx((sigma, sigma), abs=0.0005)
    assert found.sigma == pytest.approx([math.sqrt(2 * layers / 3)] * 2)
    assert found.centre == pytest.approx((layers, layers))
    assert found.ratio == pytest.approx(size / side, abs=0.0005)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_field_of_a_uniform_stack_is_a_product_of_trinomials(dims: int):
    layers = 4
    row = np.array(trinomial(layers))
    found = effective_field(uniform_stack(layers, dims), torch.zeros(1, 1, *[9] * dims))
    truth = row
    for _ in range(dims - 1):
        truth = np.multiply.outer(truth, row)
    assert np.allclose(found.energy, truth, rtol=1e-12)
    count = sum(value > (1 - 0.9545) * truth.max() for value in truth.ravel())
    assert found.size == pytest.approx(count ** (1 / dims))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_energy_like_its_slow_twin(dims: int):
    """One derivative at a time, of the middle unit, over all channels and images."""
    net, images = random_net(dims), images_of(dims)
    found = effective_field(net, images, channels=5)
    assert found.unit == (2,) * dims
    truth = np.zeros(images.shape[2:])
    for image, channel in product(images, range(5)):

        def unit(x: torch.Tensor, channel: int = channel) -> torch.Tensor:
            return net(x[None])[(0, channel, *found.unit)]

        truth += torch.autograd.functional.jacobian(unit, image).abs().sum(0).numpy()
    assert np.allclose(found.energy, truth / 15, rtol=1e-10)
    assert found.energy.sum() > 0


def test_drawn_channels_estimate_all_and_batches_change_nothing():
    net, images = random_net(2), images_of(2, count=40)
    whole = effective_field(net, images, channels=9)
    assert whole.channels == 5
    drawn = effective_field(net, images, channels=2)
    assert drawn.channels == 2
    assert not np.allclose(drawn.energy, whole.energy)
    assert np.linalg.norm(drawn.energy - whole.energy) < 0.2 * np.linalg.norm(whole.energy)
    for batch in (1, 3, 100):
        again = effective_field(net, images, channels=2, batch_size=batch)
        assert np.allclose(again.energy, drawn.energy)
    assert not np.allclose(effective_field(net, images, channels=2, seed=1).energy, drawn.energy)
    each = [effective_field(net, images, channels=[c]).energy for c in range(5)]
    assert np.allclose(np.mean(each, 0), whole.energy)


def test_the_field_moves_with_the_unit():
    """Far from the border, a unit further on looks a stride further on."""
    net = nn.Sequential(nn.Conv1d(1, 2, 3, stride=2), nn.Conv1d(2, 2, 3, stride=2)).double()
    images = torch.zeros(1, 1, 41, dtype=torch.float64)
    fields = [effective_field(net, images, unit=(u,), channels=2) for u in (2, 3)]
    assert np.allclose(np.roll(fields[0].energy, 4), fields[1].energy)
    assert fields[1].centre[0] == pytest.approx(fields[0].centre[0] + 4)
    assert fields[1].sigma == pytest.approx(fields[0].sigma)
    assert fields[1].size == fields[0].size


def test_a_layer_inside_and_a_class_of_a_classifier():
    body = random_net(2)
    net = nn.Sequential(body, nn.Flatten(), nn.LazyLinear(4).double())
    net(images_of(2))
    inside = effective_field(net, images_of(2), layer="0", channels=5)
    assert np.allclose(inside.energy, effective_field(body, images_of(2), channels=5).energy)
    head = effective_field(net, images_of(2), channels=[2])
    assert head.unit == ()
    leaf = images_of(2).requires_grad_()
    net(leaf)[:, 2].sum().backward()
    assert np.allclose(head.energy, leaf.grad.abs().sum(1).mean(0).numpy())


def slow_side(energy: np.ndarray, centre: tuple[float, ...], share: float) -> float:
    """Grow a square by half a pixel at a time."""
    middle = [round(2 * value) / 2 for value in centre]
    for doubled in range(4 * max(energy.shape)):
        radius = doubled / 2
        held = sum(
            energy[place]
            for place in np.ndindex(*energy.shape)
            if all(abs(i - c) <= radius for i, c in zip(place, middle, strict=True))
        )
        if held >= share * energy.sum() * (1 - 1e-9):
            return 2 * radius + 1
    raise AssertionError("the square never held so much")


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_squares_of_mass_like_their_slow_twin(dims: int):
    net = random_net(dims)
    for unit in ((0,) * dims, (2,) * dims, (3,) + (1,) * (dims - 1)):
        found = effective_field(net, images_of(dims), unit=unit, channels=5)
        assert sorted(found.sides) == sorted(SHARES)
        for share, side in found.sides.items():
            assert side == slow_side(found.energy, found.centre, share)
        assert list(found.sides.values()) == sorted(found.sides.values())


def test_a_centre_between_pixels_has_squares_of_even_sides():
    net = nn.Conv2d(1, 1, 2, bias=False)
    nn.init.ones_(net.weight)
    found = effective_field(net, torch.zeros(1, 1, 2, 2))
    assert found.centre == (0.5, 0.5)
    assert set(found.sides.values()) == {2.0}


def test_figures_do_not_depend_on_the_scale_of_the_weights():
    """They would if the logarithm were taken before mass is measured."""
    net, images = uniform_stack(6, 2), torch.zeros(1, 1, 15, 15)
    before = effective_field(net, images)
    for factor in (1e-6, 1e6):
        scaled = nn.Sequential(uniform_stack(6, 2))
        scaled[0][0].weight.data *= factor
        after = effective_field(scaled, images)
        assert after.energy.max() == pytest.approx(factor * before.energy.max())
        assert (after.size, after.sides) == (before.size, before.sides)
        assert after.sigma == pytest.approx(before.sigma)


def test_a_network_that_listens_to_nothing():
    class Deaf(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0 * x

    found = effective_field(Deaf(), torch.ones(1, 1, 5))
    assert found.size == 0
    assert math.isnan(found.sigma[0]) and math.isnan(found.centre[0])
    assert found.to_dict()["sigma"] == [None]

    class Apart(Deaf):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ones_like(x, requires_grad=True)

    with pytest.raises(SettingsError, match="nothing connects the output with the image"):
        effective_field(Apart(), torch.ones(1, 1, 5))


def test_the_ratio_to_a_field_of_unequal_sides():
    net = nn.Conv2d(1, 1, (3, 12), bias=False)
    nn.init.ones_(net.weight)
    found = effective_field(net, torch.zeros(1, 1, 3, 12), theoretical=(3, 12))
    assert (found.size, found.theoretical, found.ratio) == pytest.approx((6, 6, 1))
    assert effective_field(net, torch.zeros(1, 1, 3, 12)).ratio is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"unit": (4, 0)}, "not on the layer's map"),
        ({"unit": (0,)}, "one index per axis"),
        ({"unit": (-1, 0)}, "not on the layer's map"),
        ({"channels": 0}, "at least 1"),
        ({"channels": [5]}, "from 0 to 4"),
        ({"channels": []}, "from 0 to 4"),
        ({"layer": "7"}, "no layer '7'"),
    ],
)
def test_settings_that_cannot_be(settings: dict, says: str):
    with pytest.raises(SettingsError, match=says):
        effective_field(random_net(2), images_of(2), **settings)


def test_what_cannot_be_differentiated_is_refused():
    class Hard(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.argmax(2).float()

    with pytest.raises(SettingsError, match="before a detach or an argmax"):
        effective_field(Hard(), torch.rand(1, 1, 5))
