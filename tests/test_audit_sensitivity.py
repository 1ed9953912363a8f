"""Sensitivity by position: of linear networks it is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from placewise.auditing.sensitivity import (
    Places,
    compare,
    gradient_sensitivity,
    mean_cosine,
    occlusion,
    perturbation,
)
from placewise.errors import SettingsError

SPACES = [(12,), (6, 8), (3, 4, 5)]


def linear(space: tuple[int, ...], outputs: int = 1, channels: int = 1) -> nn.Sequential:
    torch.manual_seed(2)
    inputs = channels * math.prod(space)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs)).double()


def images_of(space: tuple[int, ...], count: int = 5, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, *space, generator=generator, dtype=torch.float64)


def spread_of(net: nn.Module, images: torch.Tensor) -> float:
    with torch.no_grad():
        return float(net(images).var(0, correction=0).mean().sqrt())


def std_of(images: torch.Tensor) -> float:
    return float(np.sqrt(np.mean([c.numpy().var() for c in images.unbind(1)])))


# --- perturbation and gradient -------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("measure", [perturbation, gradient_sensitivity])
def test_of_a_linear_network_it_is_the_map_of_absolute_weights(space, measure):
    net, images = linear(space), images_of(space)
    truth = net[1].weight.detach().abs().reshape(space).numpy()
    found = measure(net, images, grid=99)
    expected = truth * std_of(images) / spread_of(net, images)
    assert np.allclose(found.map, expected, rtol=1e-8)
    assert found.places == Places.of(found.map)


@pytest.mark.parametrize("space", SPACES)
def test_the_amount_and_the_scales_do_not_matter_to_a_linear_network(space):
    net, images = linear(space), images_of(space)
    found = perturbation(net, images, grid=3)
    for amount in (1e-3, 10.0):
        assert np.allclose(perturbation(net, images, grid=3, amount=amount).map, found.map)
    loud = nn.Sequential(*net, nn.Linear(1, 1)).double()
    loud[2].weight.data.fill_(1e4)
    assert np.allclose(perturbation(loud, images, grid=3).map, found.map)
    loud[2].weight.data.fill_(1.0)
    assert np.allclose(perturbation(net, 7 * images + 3, grid=3).map, found.map)
    assert perturbation(net, images, grid=3, batch_size=2).map == pytest.approx(found.map)


@pytest.mark.parametrize("space", SPACES)
def test_gradients_are_the_limit_of_small_perturbations(space):
    """A smooth network with several outputs and channels; exact but for the draws of signs."""
    net = nn.Sequential(*linear(space, 6, 2), nn.Tanh(), nn.Linear(6, 4)).double()
    images = images_of(space, 200, 2)
    small = perturbation(net, images, grid=3, amount=1e-4, batch_size=800).map
    limit = gradient_sensitivity(net, images, grid=3, projections=20, batch_size=50).map
    assert small.shape == limit.shape == (3,) * len(space)
    assert np.allclose(small, limit, rtol=0.15)
    assert np.std(limit) > 0.02 * limit.mean(), "there is something to tell apart"


def lengths_of(jacobian: torch.Tensor) -> np.ndarray:
    """(*space) mean over all signs of the channels of |J·signs|, from (outputs, C, *space)."""
    channels = jacobian.shape[1]
    changes = [
        sum(sign * jacobian[:, c] for c, sign in enumerate(signs)).square().mean(0).sqrt()
        for signs in itertools.product((-1, 1), repeat=channels)
    ]
    return torch.stack(changes).mean(0).numpy()


def test_gradients_by_pixel_like_their_slow_twin():
    """All rows of the Jacobian instead of random sums of them, all signs instead of some."""
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 3)).double()
    images = images_of((4, 5), 3, 2)
    truth = np.zeros((4, 5))
    for image in images:
        jacobian = torch.autograd.functional.jacobian(lambda x: net(x[None]).flatten(), image)
        truth += lengths_of(jacobian) / len(images)
    expected = truth * std_of(images) / spread_of(net, images)
    errors = []
    for projections in (50, 800):
        found = gradient_sensitivity(net, images, projections=projections)
        errors.append(np.abs(found.map / expected - 1).mean())
    assert errors[1] < 0.02
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("measure", [perturbation, gradient_sensitivity])
def test_the_absolute_change_is_averaged_over_images(measure):
    """Not its square: one image in four that answers ten times as much counts as it is."""

    class Gain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0, 1:] * torch.where(x[:, 0, :1] > 0, 10.0, 1.0)

    images = torch.tensor([[[9.0, 1.0]], [[-9.0, 1.0]], [[-9.0, 2.0]], [[-9.0, 3.0]]]).double()
    found = measure(Gain(), images, grid=2)
    unit = std_of(images) / spread_of(Gain(), images)
    assert found.map == pytest.approx([0, unit * (10 + 1 + 1 + 1) / 4])


@pytest.mark.parametrize("outputs", [1, 2, 3, 10])
def test_directions_are_drawn_evenly(outputs: int):
    """The mean of |v·u| over unit vectors v is the constant that is divided by."""
    drawn = torch.randn(200_000, outputs, generator=torch.Generator().manual_seed(0)).double()
    cosines = (drawn[:, 0] / drawn.norm(dim=1)).abs()
    assert float(cosines.mean()) == pytest.approx(mean_cosine(outputs), rel=0.01)


def test_the_size_of_a_batch_changes_nothing():
    net = nn.Sequential(*linear((6, 8), 3, 2), nn.Tanh())
    images = images_of((6, 8), 5, 2)
    whole, parts = (gradient_sensitivity(net, images, batch_size=n).map for n in (8, 2))
    assert np.allclose(whole, parts)


def test_drawn_signs_find_what_brightening_a_cell_would_not():
    """A filter that finds edges does not answer to a cell that gets brighter as a whole."""
    net = nn.Sequential(nn.Conv1d(1, 1, 2, bias=False), nn.Flatten()).double()
    net[0].weight.data[:] = torch.tensor([1.0, -1.0])
    map_ = perturbation(net, images_of((64,)), grid=4).map
    assert map_.min() > 0.7 * map_.max()


# --- occlusion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
def test_occlusion_like_its_slow_twin(space):
    net, images = nn.Sequential(*linear(space, 3, 2), nn.Tanh()), images_of(space, 4, 2)
    found = occlusion(net, images, grid=2)
    spread = spread_of(net, images)
    for place in np.ndindex(*(2,) * len(space)):
        changes = []
        for image in images:
            changed = image.clone()
            for channel in range(2):
                for pixel in np.ndindex(*space):
                    if place == tuple(int(i >= n // 2) for i, n in zip(pixel, space, strict=True)):
                        changed[(channel, *pixel)] = image[channel].mean()
            with torch.no_grad():
                differences = (net(changed[None]) - net(image[None])).flatten().tolist()
            changes.append(math.sqrt(sum(one**2 for one in differences) / len(differences)))
        assert found.map[place] == pytest.approx(sum(changes) / len(changes) / spread)


def test_what_a_network_does_not_read_has_no_weight():
    class Half(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[..., 4:].flatten(1)

    for measure in (perturbation, occlusion):
        map_ = measure(Half(), images_of((8,)), grid=4).map
        assert (map_[:2] == 0).all()
        assert (map_[2:] > 0).all()


def test_default_grids_hold_256_cells_at_most():
    assert occlusion(nn.Flatten(), images_of((40,), 2)).map.shape == (16,)
    assert occlusion(nn.Flatten(), images_of((17, 40), 2)).map.shape == (16, 16)
    assert occlusion(nn.Flatten(), images_of((9, 7, 3), 2)).map.shape == (6, 6, 3)


def test_another_layer_can_be_asked():
    net = nn.Sequential(linear((8,)), nn.Linear(1, 1), nn.ReLU()).double()
    inner = perturbation(net, images_of((8,)), grid=4, layer="0")
    assert np.allclose(inner.map, perturbation(net[0], images_of((8,)), grid=4).map)


# --- comparison ----------------------------------------------------------------------------------


def test_a_stack_of_positive_weights_answers_as_its_path_counts_say():
    """With every weight 1 and outputs summed, the sensitivity is the number of paths."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 1, 3, bias=False) for _ in range(3)), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).double()
    for layer in net[:3]:
        nn.init.ones_(layer.weight)
    image = torch.ones(1, 1, 10, 10, dtype=torch.float64, requires_grad=True)
    net(image).sum().backward()
    paths = image.grad[0, 0].numpy()
    found = gradient_sensitivity(net, images_of((10, 10)), projections=1)
    held = compare(found, paths)
    assert held.spearman == pytest.approx(1)
    assert held.measured.centre_over_corner == pytest.approx(held.predicted.centre_over_corner)
    assert held.predicted.centre_over_corner == pytest.approx(paths[4, 4] / paths[0, 0]) != 1
    logs = compare(found, np.log(paths) + 5000, log=True)
    assert logs.predicted.centre_over_edge == pytest.approx(held.predicted.centre_over_edge)
    assert compare(found, -paths).spearman == pytest.approx(-1)


@pytest.mark.parametrize("size", [(5,), (12,), (16,)])
def test_maps_of_any_size_are_held_against_each_other(size):
    found = occlusion(linear((12,)), images_of((12,)), grid=12)
    held = compare(found, np.arange(float(size[0])))
    assert -1 <= held.spearman <= 1
    if size == (12,):
        assert held.measured == found.places
    with pytest.raises(SettingsError, match="same number of axes"):
        compare(found, np.ones((3, 3)))


def test_places_are_where_they_are_said_to_be():
    map_ = np.zeros((5, 4))
    map_[2, 1:3] = 7
    map_[[0, 0, -1, -1], [0, -1, 0, -1]] = 2
    map_[[0, -1], 1:3] = 3
    map_[2, [0, -1]] = 5
    assert Places.of(map_) == Places(7, 4, 2, 7 / 4, 3.5)
    assert Places.of(np.array([1.0, 3.0, 5.0])) == Places(3, 3, 3, 1, 1)
    volume = np.zeros((3, 3, 3))
    volume[1, 1, 1], volume[0, 0, 0], volume[0, 1, 1] = 1, 8, 6
    assert Places.of(volume) == Places(1, 1, 1, 1, 1)
    assert Places.of(np.array([0.0, 1.0, 0.0])).centre_over_edge == math.inf
    assert math.isnan(Places.of(np.zeros(3)).centre_over_edge)


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [perturbation, occlusion, gradient_sensitivity])
def test_what_cannot_be_measured_is_refused(measure):
    net, images = linear((8,)), images_of((8,))
    with pytest.raises(SettingsError, match="give at least 2"):
        measure(net, images[:1])
    with pytest.raises(SettingsError, match="images that differ"):
        measure(net, images[:1].repeat(3, 1, 1))
    with pytest.raises(SettingsError, match="at least 1 cell"):
        measure(net, images, grid=-1)


def test_settings_that_cannot_be():
    net, images = linear((8,)), images_of((8,))
    for amount in (0.0, -1.0, math.nan):
        with pytest.raises(SettingsError, match="above 0"):
            perturbation(net, images, amount=amount)
    with pytest.raises(SettingsError, match="projections=0"):
        gradient_sensitivity(net, images, projections=0)

    class Hard(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.argmax(2).double()

    with pytest.raises(SettingsError, match="use perturbation"):
        gradient_sensitivity(Hard(), images)
    assert perturbation(Hard(), images, amount=3.0).map.max() > 0
