"""What every loss on heatmaps promises, each beside a slow twin of its formula."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from placewise.labels import Visibility
from placewise.losses import FAR, LOSSES, Loss, gaussians, log_gaussians, normalised

SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 6)}
each_size = pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: f"{len(size)}d")
STATES = (Visibility.VISIBLE, Visibility.HIDDEN, Visibility.ABSENT, Visibility.UNLABELLED)


@pytest.fixture(params=LOSSES.names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def loss(name: str) -> Loss:
    return LOSSES[name]()


def material(size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, log-Gaussians and visibility of 3 images with 4 keypoints, one of each state."""
    seeded = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, *size, generator=seeded, dtype=torch.float64)
    sides = torch.tensor(size[::-1], dtype=torch.float64)
    keypoints = torch.rand(3, 4, len(size), generator=seeded, dtype=torch.float64) * sides - 0.5
    visibility = torch.tensor([list(STATES)] * 3, dtype=torch.int8)
    keypoints[visibility < Visibility.HIDDEN] = torch.nan
    return logits, log_gaussians(keypoints, visibility, size, 1, 1.5), visibility


# --- slow twins: loops over pixels, after the formulas of the docstrings --------------------------


def slow_cross_entropy(z: list[float], g: list[float], state: Visibility) -> float:
    shares = [1 / (1 + math.exp(-value)) for value in z]
    return -sum(h * math.log(s) + (1 - h) * math.log(1 - s) for h, s in zip(g, shares, strict=True))


def slow_mse(z: list[float], g: list[float], state: Visibility) -> float:
    return sum((value - h) ** 2 for value, h in zip(z, g, strict=True))


def slow_softmax(z: list[float], g: list[float], state: Visibility) -> float:
    if state == Visibility.ABSENT:
        return 0.0
    total = sum(math.exp(value) for value in z)
    return -sum(h / sum(g) * math.log(math.exp(v) / total) for v, h in zip(z, g, strict=True))


def slow_joint(z: list[float], g: list[float], state: Visibility) -> float:
    total = 1 + sum(math.exp(value) for value in z)
    if state == Visibility.ABSENT:
        return -math.log(1 / total)
    return -sum(h / sum(g) * math.log(math.exp(v) / total) for v, h in zip(z, g, strict=True))


SLOW = {
    "cross_entropy": slow_cross_entropy,
    "mse": slow_mse,
    "softmax": slow_softmax,
    "joint": slow_joint,
}


def slow_reading(name: str, z: np.ndarray) -> tuple[np.ndarray, float]:
    """Heat and score of one map."""
    if name == "cross_entropy":
        heat = 1 / (1 + np.exp(-z))
        return heat, heat.max()
    if name == "mse":
        heat = np.maximum(z, 1e-6)
        return heat, min(heat.max(), 1.0)
    total = np.exp(z).sum()
    return np.exp(z) / total, 1.0 if name == "softmax" else total / (1 + total)


def test_every_member_has_a_twin() -> None:
    assert set(SLOW) == set(LOSSES.names())


@each_size
def test_log_gaussians_are_those_of_a_loop(size) -> None:
    """A stride of its own for each axis; exactly the formula at each pixel's centre."""
    seeded, stride, sigma = torch.Generator().manual_seed(1), (4, 2, 3)[: len(size)], 1.3
    image = torch.tensor([side * step for side, step in zip(size[::-1], stride, strict=True)])
    keypoints = torch.rand(2, 4, len(size), generator=seeded, dtype=torch.float64) * image - 0.5
    visibility = torch.tensor([list(STATES)] * 2, dtype=torch.int8)
    found = log_gaussians(keypoints, visibility, size, stride, sigma)
    assert found.shape == (2, 4, *size)
    for image_, point in product(range(2), range(4)):
        for index in np.ndindex(size):
            centres = [(i + 0.5) * s - 0.5 for i, s in zip(index[::-1], stride, strict=True)]
            place = keypoints[image_, point].tolist()
            away = [(c - p) / s for c, p, s in zip(centres, place, stride, strict=True)]
            wanted = max(-sum(a**2 for a in away) / (2 * sigma**2), FAR)
            if visibility[image_, point] < Visibility.HIDDEN:
                wanted = FAR
            assert found[(image_, point, *index)].item() == pytest.approx(wanted, abs=1e-9)


@each_size
def test_the_loss_is_that_of_a_loop(name: str, loss: Loss, size) -> None:
    logits, logs, visibility = material(size)
    found, targets = loss(logits, logs, visibility), gaussians(logs)
    assert found.shape == (3, 4)
    for image, point in product(range(3), range(4)):
        state = Visibility(int(visibility[image, point]))
        z, g = logits[image, point].flatten().tolist(), targets[image, point].flatten().tolist()
        wanted = 0.0 if state == Visibility.UNLABELLED else SLOW[name](z, g, state)
        assert found[image, point].item() == pytest.approx(wanted)
    assert (found[:, 3] == 0).all()


@each_size
def test_the_reading_is_that_of_a_loop(name: str, loss: Loss, size) -> None:
    logits, _, _ = material(size)
    heat, score = loss.read(logits)
    assert heat.shape == logits.shape and score.shape == (3, 4)
    assert (heat >= 0).all() and (score >= 0).all() and (score <= 1).all()
    for image, point in product(range(3), range(4)):
        wanted, certainty = slow_reading(name, logits[image, point].numpy())
        assert np.allclose(heat[image, point].numpy(), wanted)
        assert score[image, point].item() == pytest.approx(certainty)


@each_size
def test_the_ideal_is_where_the_loss_is_least(loss: Loss, size) -> None:
    """The gradient vanishes at what `encode` gives, and the heat there is the Gaussian."""
    _, logs, visibility = material(size)
    ideal = loss.encode(logs, visibility).requires_grad_()
    (slope,) = torch.autograd.grad(loss(ideal, logs, visibility).sum(), ideal)
    assert slope.abs().max() < 1e-3
    heat, score = loss.read(ideal.detach())
    target = normalised(gaussians(logs))
    located = visibility >= Visibility.HIDDEN
    assert (normalised(heat) - target)[located].abs().max() < 1e-3
    assert (score[located] > 0.8).all()


@each_size
def test_absent_is_said_by_those_that_can(loss: Loss, size) -> None:
    _, logs, visibility = material(size)
    score = loss.read(loss.encode(logs, visibility))[1]
    assert ((score[:, 2] < 0.1) == loss.can_say_absent).all()
    found = loss(torch.full_like(logs, 0.5), logs, visibility)
    assert ((found[:, 2] > 0) == loss.can_say_absent).all()


def test_no_heat_is_lost_far_from_everything(loss: Loss) -> None:
    """Maps of a great size: nothing overflows, and no gradient is NaN."""
    visibility = torch.tensor([[Visibility.VISIBLE, Visibility.ABSENT]])
    keypoints = torch.tensor([[[3.0], [torch.nan]]])
    logs = log_gaussians(keypoints, visibility, (5000,), 1, 1.0)
    logits = (60 * torch.randn(1, 2, 5000)).requires_grad_()
    found = loss(logits, logs, visibility)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert found.isfinite().all() and slope.isfinite().all()


def test_the_first_answer_of_a_joint_softmax_is_even() -> None:
    joint = LOSSES["joint"]()
    maps = torch.full((1, 1, 6, 7), joint.first_logit(42))
    assert joint.read(maps)[1].item() == pytest.approx(0.5)


def test_the_first_pixels_of_a_sigmoid_are_cold() -> None:
    loss = LOSSES["cross_entropy"]()
    assert loss.read(torch.full((1, 1, 9), loss.first_logit(9)))[1].item() < 0.02


@each_size
def test_what_is_missing_of_presence_is_asked_for_where_the_keypoint_is(
    size: tuple[int, ...],
) -> None:
    logits, logs, visibility = material(size)
    logits.requires_grad_()
    LOSSES["joint"]()(logits, logs, visibility).sum().backward()
    shares, targets = normalised(logits.detach().exp()), normalised(gaussians(logs))
    present = torch.sigmoid(torch.logsumexp(logits.detach().flatten(2), -1))
    spread = present.view(3, 4, *[1] * len(size))
    located, absent = visibility >= Visibility.HIDDEN, visibility == Visibility.ABSENT
    assert logits.grad is not None
    assert torch.allclose(logits.grad[located], (shares - (2 - spread) * targets)[located])
    assert torch.allclose(logits.grad[absent], (spread * shares)[absent])
    assert not logits.grad[visibility == Visibility.UNLABELLED].any()


def test_a_joint_softmax_is_at_rest_where_it_says_how_often_and_where() -> None:
    """Present in 7 of 10 images, with one target: the mean gradient vanishes at the true answer."""
    targets = torch.softmax(torch.linspace(-2, 1, 12, dtype=torch.float64), 0)
    logits = (targets.log() + math.log(0.7 / 0.3)).expand(10, 1, 12).clone().requires_grad_()
    states = [Visibility.VISIBLE] * 7 + [Visibility.ABSENT] * 3
    visibility = torch.tensor(states, dtype=torch.int8)[:, None]
    logs = torch.where(visibility[..., None] >= Visibility.HIDDEN, targets.log(), FAR)
    LOSSES["joint"]()(logits, logs, visibility).sum().backward()
    assert logits.grad is not None and logits.grad.abs().max() > 0.01
    assert logits.grad.sum(0).abs().max() < 1e-12
