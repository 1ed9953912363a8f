"""Losses of masks: each against its formula written as plainly as possible, in 1, 2 and 3 axes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from placewise.heads.masks import Masks
from placewise.labels import IGNORED
from placewise.mask_losses import MASK_LOSSES, soft_skeleton

SIZES = {1: (9,), 2: (6, 5), 3: (4, 5, 3)}
CASES = list(itertools.product(MASK_LOSSES.names(), SIZES, (1, 3)))


def drawn(
    axes: int, classes: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, truth with ignored pixels, and a part of the truth as its thickened skeleton."""
    rng = np.random.default_rng([axes, classes, seed])
    channels = classes + (classes > 1)
    logits = rng.normal(size=(2, channels, *SIZES[axes])) * 2
    truth = rng.integers(IGNORED, classes + 1, (2, *SIZES[axes]))
    line = np.where(rng.random(truth.shape) < 0.5, truth.clip(0), 0)
    return torch.tensor(logits), torch.tensor(truth), torch.tensor(line)


def chances_of(logits: np.ndarray) -> np.ndarray:
    """(channels, *size) to probabilities of the classes."""
    if len(logits) == 1:
        return 1 / (1 + np.exp(-logits))
    powers = np.exp(logits)
    return (powers / powers.sum(0))[1:]


def pixels(logits: np.ndarray, truth: np.ndarray, weight: float = 0.0) -> float:
    """Mean of −(1 − p)^weight · log p of the true class over the known pixels."""
    found = []
    chances = chances_of(logits)
    for place in np.ndindex(truth.shape):
        if truth[place] == IGNORED:
            continue
        k = truth[place]
        p = 1 - chances[(slice(None), *place)].sum() if k == 0 else chances[(k - 1, *place)]
        found.append(-((1 - p) ** weight) * math.log(p))
    return float(np.mean(found))


def dice(logits: np.ndarray, truth: np.ndarray) -> float:
    found = []
    for k, chance in enumerate(chances_of(logits), 1):
        seen, target = chance[truth != IGNORED], (truth == k)[truth != IGNORED]
        found.append((2 * (seen * target).sum() + 1) / (seen.sum() + target.sum() + 1))
    return 1 - float(np.mean(found))


def near(places: list[tuple[int, ...]], at: tuple[int, ...], cross: bool) -> list[tuple[int, ...]]:
    found = []
    for other in places:
        away = [abs(a - b) for a, b in zip(at, other, strict=True)]
        if max(away) <= 1 and (not cross or sum(away) <= 1):
            found.append(other)
    return found


def skeleton(maps: np.ndarray, rounds: int) -> np.ndarray:
    places = list(np.ndindex(maps.shape))

    def eroded(m: np.ndarray) -> np.ndarray:
        return np.array([min(m[o] for o in near(places, p, True)) for p in places]).reshape(m.shape)

    def dilated(m: np.ndarray) -> np.ndarray:
        return np.array([max(m[o] for o in near(places, p, False)) for p in places]).reshape(
            m.shape
        )

    found = np.maximum(maps - dilated(eroded(maps)), 0)
    for _ in range(rounds):
        maps = eroded(maps)
        found = found + (1 - found) * np.maximum(maps - dilated(eroded(maps)), 0)
    return found


def cldice(logits: np.ndarray, truth: np.ndarray, rounds: int) -> float:
    found = []
    for k, chance in enumerate(chances_of(logits), 1):
        seen, target = chance * (truth != IGNORED), (truth == k).astype(float)
        own, true = skeleton(seen, rounds), skeleton(target, rounds)
        precision = ((own * target).sum() + 1) / (own.sum() + 1)
        recall = ((true * seen).sum() + 1) / (true.sum() + 1)
        found.append(2 * precision * recall / (precision + recall))
    return 1 - float(np.mean(found))


def recall(logits: np.ndarray, line: np.ndarray) -> float:
    shares = [
        ((chance * (line == k)).sum() + 1) / ((line == k).sum() + 1)
        for k, chance in enumerate(chances_of(logits), 1)
    ]
    return 1 - float(np.mean(shares))


FORMULAS = {
    "bce": lambda z, y, t: pixels(z, y),
    "bce_dice": lambda z, y, t: pixels(z, y) + dice(z, y),
    "focal": lambda z, y, t: pixels(z, y, 2.0),
    "skeleton_recall": lambda z, y, t: pixels(z, y) + dice(z, y) + recall(z, t),
    "cldice": lambda z, y, t: pixels(z, y) + dice(z, y) + 0.5 * cldice(z, y, 5),
}


def test_every_loss_has_its_formula() -> None:
    assert set(FORMULAS) == set(MASK_LOSSES.names())


@pytest.mark.parametrize(("name", "axes", "classes"), CASES)
def test_a_loss_is_its_formula(name: str, axes: int, classes: int) -> None:
    logits, truth, line = drawn(axes, classes)
    found = MASK_LOSSES[name]()(logits, truth, line)
    slow = [
        FORMULAS[name](z.numpy(), y.numpy(), t.numpy())
        for z, y, t in zip(logits, truth, line, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), slow, rtol=1e-9)


@pytest.mark.parametrize(("name", "axes", "classes"), CASES)
def test_ignored_pixels_get_no_gradient(name: str, axes: int, classes: int) -> None:
    logits, truth, line = drawn(axes, classes)
    logits.requires_grad_()
    MASK_LOSSES[name]()(logits, truth, line).sum().backward()
    assert logits.grad is not None
    at = (truth == IGNORED)[:, None].expand_as(logits)
    assert (logits.grad[at] == 0).all()
    assert (logits.grad[~at] != 0).any()


@pytest.mark.parametrize(("name", "axes", "classes"), CASES)
def test_the_truth_itself_costs_nothing(name: str, axes: int, classes: int) -> None:
    _, truth, line = drawn(axes, classes)
    numbers = torch.arange(classes + (classes > 1)) + (classes == 1)
    logits = torch.stack([40.0 * (truth == k).double() - 20 for k in numbers.tolist()], 1)
    found = MASK_LOSSES[name]()(logits, truth, line)
    assert (found.abs() < 1e-6).all()


@pytest.mark.parametrize(("name", "axes"), list(itertools.product(MASK_LOSSES.names(), (2, 3))))
def test_a_loss_turns_with_the_image(name: str, axes: int) -> None:
    logits, truth, line = drawn(axes, 3)
    whole = MASK_LOSSES[name]()(logits, truth, line)
    for axis in range(1, axes + 1):
        parts = [logits.flip(axis + 1), truth.flip(axis), line.flip(axis)]
        torch.testing.assert_close(MASK_LOSSES[name]()(*parts), whole)


def test_everything_ignored_gives_a_finite_loss() -> None:
    logits, truth, line = drawn(2, 1)
    for name in MASK_LOSSES.names():
        found = MASK_LOSSES[name]()(logits, torch.full_like(truth, IGNORED), line * 0)
        assert torch.isfinite(found).all()


def test_the_soft_skeleton_of_a_line_is_its_middle() -> None:
    maps = torch.zeros(1, 1, 9, 12)
    maps[..., 2:5, 1:11] = 1
    line = soft_skeleton(maps, 3)[0, 0]
    assert (line[3, 2:10] == 1).all()
    assert line[2].sum() + line[4].sum() == 0


@pytest.mark.parametrize(("axes", "map_stride"), list(itertools.product(SIZES, (1, 2, 4))))
def test_a_head_gives_maps_of_its_stride_and_learns(axes: int, map_stride: int) -> None:
    head = Masks(6, 2, stride=4, spatial_dims=axes, map_stride=map_stride)
    size = (3, 2, 4)[:axes]
    features = torch.randn(2, 6, *size)
    output = head(features)
    assert output.shape == (2, 3, *(4 * side // map_stride for side in size))
    truth = torch.randint(0, 3, (2, *(4 * side for side in size))).to(torch.int16)
    loss = head.loss(output, truth, torch.zeros(2, dtype=torch.int16))
    assert loss.shape == (2,)
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_a_coarser_map_keeps_a_line_of_one_pixel() -> None:
    head = Masks(6, 1, stride=4, map_stride=2)
    truth = torch.zeros(1, 8, 8, dtype=torch.int16)
    truth[0, 3] = 1
    coarse = head._coarser(truth)
    assert coarse[0].tolist() == [[0] * 4, [1] * 4, [0] * 4, [0] * 4]
