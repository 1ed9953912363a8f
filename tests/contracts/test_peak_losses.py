"""What every loss for any number of points promises, each beside a slow twin of its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from placewise.peak_losses import PEAK_LOSSES, PeakLoss, peak_maps
from placewise.peaks import find_peaks

SIZES = {1: (33,), 2: (17, 20), 3: (9, 10, 11)}
each_size = pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: f"{len(size)}d")


@pytest.fixture(params=PEAK_LOSSES.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def loss(name: str) -> PeakLoss:
    return PEAK_LOSSES[name]()


def spread(
    size: tuple[int, ...], count: int = 9, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points anywhere on 4 maps, of which the last has none."""
    seeded = torch.Generator().manual_seed(seed)
    unit = torch.rand(count, len(size), generator=seeded, dtype=torch.float64)
    return unit * torch.tensor(size[::-1]) - 0.5, torch.arange(count) % 3


def slow_maps(points, of, count, size, sigma, summed) -> np.ndarray:
    """Loops over maps, points and pixels."""
    maps = np.zeros((count, *size))
    for at, owner in zip(points.tolist(), of.tolist(), strict=True):
        one = np.zeros(size)
        for pixel in np.ndindex(size):
            away = [(p - a) / s for p, a, s in zip(pixel[::-1], at, sigma, strict=True)]
            one[pixel] = math.exp(-0.5 * sum(a**2 for a in away))
        if summed:
            maps[owner] += one / one.sum()
        else:
            maps[owner] = np.maximum(maps[owner], one)
    return maps


def slow_poisson(z: float, y: float) -> float:
    return math.exp(z) - y * z


def slow_focal(z: float, g: float) -> float:
    s = 1 / (1 + math.exp(-z))
    return -(g**4 * (1 - s) ** 2 * math.log(s) + (1 - g) ** 4 * s**2 * math.log(1 - s))


SLOW = {"poisson": slow_poisson, "focal": slow_focal}


def test_every_member_has_a_twin() -> None:
    assert set(SLOW) == set(PEAK_LOSSES.names())


@each_size
@pytest.mark.parametrize("summed", [False, True])
def test_the_maps_are_those_of_a_loop(size, summed: bool) -> None:
    """Also at the border, where the mass of a Gaussian that is cut off stays 1."""
    points, of = spread(size)
    points[0] = -0.5
    sigma = (1.1, 0.8, 1.4)[: len(size)]
    found = peak_maps(points, of, 4, size, sigma, summed=summed)
    wanted = slow_maps(points, of, 4, size, sigma, summed)
    assert np.abs(found.numpy() - wanted).max() < 1e-5
    assert not found[3].any()
    if summed:
        assert found.flatten(1).sum(1).tolist() == pytest.approx([3, 3, 3, 0])


@each_size
def test_the_loss_is_that_of_a_loop_without_ignored_pixels(name: str, loss: PeakLoss, size) -> None:
    seeded = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 2, *size, generator=seeded, dtype=torch.float64)
    target = loss.target(*spread(size), 4, size, 1.2).view(2, 2, *size)
    known = torch.rand(2, 2, *size, generator=seeded) < 0.7
    known[1, 1] = False
    found = loss(logits, target, known)
    assert found.shape == (2, 2) and found[1, 1] == 0
    for at in np.ndindex(2, 2):
        pairs = zip(logits[at][known[at]].tolist(), target[at][known[at]].tolist(), strict=True)
        assert found[at].item() == pytest.approx(sum(SLOW[name](z, y) for z, y in pairs))


@each_size
def test_the_ideal_is_where_the_loss_is_least_and_is_read_exactly(loss: PeakLoss, size) -> None:
    """No gradient at the ideal; its points come back, at the border too, and no others."""
    points, of = spread(size, 4, seed=5)
    points[0], of = -0.5, torch.arange(4)
    target = loss.target(points, of, 5, size, 1.2).view(1, 5, *size)
    ideal = loss.ideal(target).requires_grad_()
    (slope,) = torch.autograd.grad(loss(ideal, target, torch.ones(1)).sum(), ideal)
    assert slope.abs().max() < 1e-5
    scores, shapes = loss.read(ideal.detach(), 1.2)
    assert scores.min() >= 0 and scores.max() <= 1
    found = find_peaks(scores[0], 3, least=0.3, shape=shapes[0])
    assert [len(one.points) for one in found] == [1, 1, 1, 1, 0]
    for one, point in zip(found, points, strict=False):
        assert np.allclose(one.points[0], point, atol=1e-3)
    assert scores[0, 4].max() < 0.01


def test_logits_far_out_give_finite_losses_and_scores(loss: PeakLoss) -> None:
    logits = torch.tensor([[[-80.0, 0.0, 80.0]]])
    target = loss.target(torch.tensor([[1.2]]), torch.tensor([0]), 1, (3,), 1.0)[None]
    assert loss(logits, target, torch.ones(1)).isfinite().all()
    scores, shapes = loss.read(logits, 1.0)
    assert scores.isfinite().all() and shapes.isfinite().all()


def test_a_network_that_learns_nothing_else_finds_rare_points(loss: PeakLoss) -> None:
    """300 free logits, one point: a few steps of Adam make its pixel the hottest by far."""
    target = loss.target(torch.tensor([[150.3]]), torch.tensor([0]), 1, (300,), 1.5)[None]
    logits = torch.full((1, 1, 300), loss.first_logit(300.0), requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(logits, target, torch.ones(1)).sum().backward()
        optimiser.step()
    scores, shapes = loss.read(logits.detach(), 1.5)
    (found,) = find_peaks(scores[0], 5, shape=shapes[0])
    assert abs(found.points[0, 0] - 150.3) < 0.3
    assert len(found.heat) == 1 or found.heat[0] > 3 * found.heat[1]
