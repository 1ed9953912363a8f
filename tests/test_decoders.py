"""Decoders beside slow twins, and the figures that the docs state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from contracts.test_decoders import SIZES, anywhere, blobs, rough_maps
from placewise.decoders import FAINT, FAR, Argmax, Integral, Taylor

SIZE = (20, 24)
SIGMAS = (1.0, 1.5, 2.0, 2.5)


def slow_argmax(heat: np.ndarray) -> np.ndarray:
    best, place = -np.inf, (0,) * heat.ndim
    for index in np.ndindex(heat.shape):
        if heat[index] > best:
            best, place = heat[index], index
    return np.array(place[::-1], float)


def slow_taylor(heat: np.ndarray) -> np.ndarray:
    """One map, one loop, numpy's least squares; only for maps of at least 3 pixels per axis."""
    axes = heat.ndim
    peak = slow_argmax(heat).astype(int)
    pairs = [(i, j) for i in range(axes) for j in range(i, axes)]
    rows, values = [], []
    for index in np.ndindex(heat.shape):
        away = np.array(index[::-1]) - peak
        if np.abs(away).max() > 3:
            continue
        h = max(heat[index] / heat[tuple(peak[::-1])], FAINT)
        terms = [1, *away, *(away[i] * away[j] for i, j in pairs)]
        rows.append(np.sqrt(h) * np.array(terms))
        values.append(np.sqrt(h) * np.log(h))
    fit = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    slopes, surface = fit[1 : axes + 1], np.zeros((axes, axes))
    for bend, (i, j) in zip(fit[axes + 1 :], pairs, strict=True):
        surface[i, j] += bend
        surface[j, i] += bend
    if np.all(np.linalg.eigvalsh(surface) < 0):
        offset = -np.linalg.inv(surface) @ slopes
    else:
        curves = np.diag(surface)
        offset = np.array([-b / c if c < 0 else 0.0 for b, c in zip(slopes, curves, strict=True)])
    return (peak + offset.clip(-FAR, FAR)).clip(-0.5, np.array(heat.shape[::-1]) - 0.5)


def slow_integral(heat: np.ndarray) -> np.ndarray:
    """The most likely cut Gaussian of each axis, by scipy's general minimiser."""
    point = slow_argmax(heat)
    peak = point.astype(int)
    window = heat[tuple(slice(max(at - 3, 0), at + 4) for at in peak[::-1])]
    for axis, at in enumerate(peak):
        along = heat.ndim - 1 - axis
        profile = window.sum(tuple(other for other in range(heat.ndim) if other != along))
        share = profile / profile.sum()
        steps = np.arange(max(at - 3, 0), max(at - 3, 0) + len(share)) - at

        def unlikely(beta_gamma, share=share, steps=steps):
            logits = beta_gamma[0] * steps + beta_gamma[1] * steps**2
            return np.log(np.exp(logits).sum()) - share @ logits

        slope, bend = minimize(unlikely, [0.0, -0.2], method="BFGS", tol=1e-10).x
        point[axis] += np.clip(-slope / (2 * bend), -3, 3) if bend < -1 / 72 else share @ steps
    return point.clip(-0.5, np.array(heat.shape[::-1]) - 0.5)


def off(decoder, points: torch.Tensor, maps: torch.Tensor) -> np.ndarray:
    return (decoder(maps).double() - points).norm(dim=-1).numpy()


def outermost(points: torch.Tensor) -> np.ndarray:
    """Which points lie on the outermost pixel of the map."""
    low, high = points < 0.5, points > torch.tensor([SIZE[1] - 1.5, SIZE[0] - 1.5])
    return (low | high).any(-1).numpy()


each_dimension = pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: f"{len(size)}d")


@each_dimension
def test_argmax_is_the_slow_one(size):
    maps = rough_maps(size=size)
    slow = [slow_argmax(one) for one in maps.numpy()]
    assert np.array_equal(Argmax(len(size))(maps).numpy(), slow)


@each_dimension
def test_taylor_is_the_slow_one(size):
    maps = torch.cat((rough_maps(size=size), blobs(anywhere(100, size), 1.2, size)))
    slow = np.array([slow_taylor(one) for one in maps.numpy()])
    assert np.allclose(Taylor(len(size))(maps).numpy(), slow, atol=1e-6)


@each_dimension
def test_integral_is_the_slow_one(size):
    maps = torch.cat((rough_maps(80, size), blobs(anywhere(40, size), 1.2, size)))
    slow = np.array([slow_integral(one) for one in maps.numpy()])
    assert np.allclose(Integral(len(size))(maps).numpy(), slow, atol=1e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("member", [Taylor, Integral])
@pytest.mark.parametrize("size", [SIZES[1], SIZES[3]], ids=["1d", "3d"])
def test_perfect_maps_in_one_and_three_dimensions(size, member, sigma):
    points = anywhere(600, size)
    found = member(len(size))(blobs(points, sigma, size).float()).double()
    assert (found - points).norm(dim=-1).max() <= 1e-3


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("decoder", [Taylor(), Integral()], ids=["taylor", "integral"])
def test_perfect_maps(decoder, sigma, count=600):
    """The issue's figures: 0.01 px inside, 0.05 px on the outermost pixel; ours are exact."""
    points = anywhere(count, SIZE)
    error = off(decoder, points, blobs(points, sigma, SIZE).float())
    border = outermost(points)
    assert border.sum() > 50 and (~border).sum() > 50
    assert error[~border].max() <= 1e-3
    assert error[border].max() <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("decoder", [Taylor(), Integral()], ids=["taylor", "integral"])
def test_perfect_maps_many(decoder, sigma):
    test_perfect_maps(decoder, sigma, 50_000)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("decoder", [Taylor(), Integral()], ids=["taylor", "integral"])
def test_bfloat16_maps(decoder, sigma):
    points = anywhere(600, SIZE)
    error = off(decoder, points, blobs(points, sigma, SIZE).bfloat16())
    border = outermost(points)
    assert error[~border].mean() <= 0.01
    assert error[border].mean() <= 0.05
    assert error.max() <= 0.1


@pytest.mark.parametrize("sigma, inside, border", [(1.0, 0.1, 0.45), (1.5, 0.04, 0.15)])
@pytest.mark.parametrize("decoder", [Taylor(), Integral()], ids=["taylor", "integral"])
def test_noisy_maps(decoder, sigma, inside, border):
    points = anywhere(600, SIZE)
    noise = 0.02 * torch.randn(600, *SIZE, generator=torch.Generator().manual_seed(2))
    error = off(decoder, points, (blobs(points, sigma, SIZE) + noise).clamp_min(0))
    on_border = outermost(points)
    assert error[~on_border].mean() <= inside
    assert error[on_border].mean() <= border
    assert error.max() <= 2


def test_argmax_is_off_by_what_the_docs_say():
    points = anywhere(20_000, SIZE)
    error = off(Argmax(), points, blobs(points, 1.5, SIZE))
    assert error.mean() == pytest.approx(0.383, abs=0.005)  # (√2 + ln(1 + √2)) / 6


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.2])
def test_taylor_is_exact_for_long_turned_gaussians(turn):
    """Any Gaussian is a quadratic in its log, also one that no axis is aligned with."""
    points = anywhere(300, SIZE)
    rows, columns = torch.meshgrid(
        *(torch.arange(side, dtype=torch.float64) for side in SIZE), indexing="ij"
    )
    right = columns - points[:, 0, None, None]
    down = rows - points[:, 1, None, None]
    cos, sin = np.cos(turn), np.sin(turn)
    along, across = right * cos + down * sin, down * cos - right * sin
    maps = torch.exp(-(along**2) / (2 * 2.5**2) - across**2 / (2 * 1.2**2))
    near = Argmax()(maps) - points
    reached = (near.abs() <= 1).all(-1).numpy()  # a long blob's hottest pixel may be far off
    assert reached.mean() > 0.9
    assert off(Taylor(), points, maps)[reached].max() < 1e-4


def test_integral_mends_what_a_mean_loses():
    """A keypoint on the edge: half a Gaussian is seen, whose mean lies 0.8 σ inside."""
    points = torch.tensor([[-0.5, 9.0]], dtype=torch.float64)
    heat = blobs(points, 1.5, SIZE)
    profile = heat.sum(1)[0, :4]
    mean = float((profile * torch.arange(4)).sum() / profile.sum())
    assert mean > 0.4
    assert Integral()(heat)[0, 0] == pytest.approx(-0.5, abs=1e-4)


@pytest.mark.parametrize("decoder", [Taylor(), Integral()], ids=["taylor", "integral"])
def test_what_lies_beyond_the_border_weighs_nothing(decoder):
    """In float64 the fit at the border is exact to rounding; any made-up pixel would show."""
    points = anywhere(600, SIZE)
    assert off(decoder, points, blobs(points, 1.5, SIZE)).max() < 1e-10


def test_axis_of_two_pixels():
    """Two values cannot tell centre and σ: the hottest pixel, or the plain mean."""
    heat = torch.tensor([[3.0, 1.0], [6.0, 2.0], [3.0, 1.0]])
    assert torch.allclose(Taylor()(heat), torch.tensor([0.0, 1.0]))
    assert torch.allclose(Integral()(heat), torch.tensor([0.25, 1.0]))


def test_peak_between_pixels_with_nothing_beside():
    """Overconfident maps: two pixels hot, the others dead; the keypoint is between the two."""
    heat = torch.full((7, 7), 1e-12)
    heat[3, 3], heat[3, 4] = 0.6, 0.4
    for decoder in (Taylor(), Integral()):
        x, y = decoder(heat).tolist()
        assert 3.3 < x < 3.7 and y == pytest.approx(3, abs=1e-3)
