"""Any number of points on a map, beside a twin that loops over pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from placewise.errors import ShapeError
from placewise.peaks import find_peaks

SIZES = {1: (40,), 2: (21, 26), 3: (11, 9, 12)}
each_size = pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: f"{len(size)}d")


def slow_hills(heat: np.ndarray, radius: float, least: float = 0.0, most: int = 1000) -> list:
    """Pixels of the hills, the hottest first: floods each plateau, then keeps the hottest apart."""
    if heat.min() == heat.max():
        return []

    def about(pixel):
        for step in itertools.product((-1, 0, 1), repeat=heat.ndim):
            other = tuple(np.add(pixel, step))
            if any(step) and all(0 <= i < n for i, n in zip(other, heat.shape, strict=True)):
                yield other

    hills, seen = [], set()
    for pixel in np.ndindex(heat.shape):
        if pixel in seen or heat[pixel] <= least:
            continue
        plateau, todo, top = [], [pixel], True
        seen.add(pixel)
        while todo:
            one = todo.pop()
            plateau.append(one)
            for other in about(one):
                top &= heat[other] <= heat[one]
                if heat[other] == heat[one] and other not in seen:
                    seen.add(other)
                    todo.append(other)
        if top:
            middle = np.mean(plateau, axis=0)
            away = [(round(float(((p - middle) ** 2).sum()), 9), p) for p in plateau]
            hills.append((-heat[pixel], min(away)[1]))
    kept: list = []
    for _, pixel in sorted(hills):
        if all(np.linalg.norm(np.subtract(pixel, one)) > radius for one in kept):
            kept.append(pixel)
    return kept[:most]


def bumps(points: np.ndarray, sigma: float, size: tuple[int, ...]) -> torch.Tensor:
    """The highest of the Gaussians about (n, axes) points at each pixel."""
    grid = np.stack(np.indices(size)[::-1], -1).astype(float)
    squares = ((grid[None] - points.reshape(-1, *[1] * len(size), len(size))) ** 2).sum(-1)
    return torch.from_numpy(np.exp(-squares / (2 * sigma**2)).max(0))


@each_size
@pytest.mark.parametrize("levels", [3, 8, 0])
def test_the_hills_are_those_of_a_loop(size, levels: int) -> None:
    """Few levels make plateaus at every place, also at the border and beside slopes."""
    rng = np.random.default_rng(levels)
    for radius, least, most in ((0.0, 0.0, 1000), (2.0, 0.4, 1000), (3.5, 0.0, 4)):
        heat = rng.random(size)
        heat = np.round(heat * levels) / levels if levels else heat
        found = find_peaks(torch.from_numpy(heat)[None], radius, least=least, most=most)[0]
        wanted = slow_hills(heat, radius, least, most)
        assert len(wanted) > 1
        assert np.allclose(found.heat, [heat[pixel] for pixel in wanted])
        assert np.abs(found.points - np.array(wanted)[:, ::-1]).max() <= 1.5


@each_size
def test_points_between_pixels_are_found_exactly_also_at_the_border(size) -> None:
    """Each fit sees its own basin: a neighbour four pixels away moves nothing."""
    rng, axes = np.random.default_rng(1), len(size)
    for _ in range(20):
        points = rng.uniform(-0.5, np.array(size[::-1]) - 0.5, (6, axes))
        points[0, 0] = -0.5
        apart = np.linalg.norm(points[:, None] - points, axis=-1) >= 4 + np.sqrt(axes)
        points = points[[i for i in range(6) if apart[i, :i].all()]]
        (found,) = find_peaks(bumps(points, 1.2, size)[None], 2)
        assert len(found.points) == len(points)
        nearest = np.linalg.norm(found.points[:, None] - points, axis=-1).min(1)
        assert nearest.max(initial=0) < 1e-6


@each_size
def test_mirrored_and_transposed_maps_give_mirrored_and_transposed_points(size) -> None:
    heat = torch.rand(3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for axis in range(len(size)):
        mirrored = find_peaks(heat.flip(-1 - axis), 2)
        for found, other in zip(find_peaks(heat, 2), mirrored, strict=True):
            expected = found.points.copy()
            expected[:, axis] = size[::-1][axis] - 1 - expected[:, axis]
            assert np.allclose(other.points, expected, atol=1e-8)
    turned = find_peaks(heat.permute(0, *range(len(size), 0, -1)), 2)
    for found, other in zip(find_peaks(heat, 2), turned, strict=True):
        assert np.allclose(found.points, other.points[:, ::-1], atol=1e-8)


def test_places_are_read_off_the_shape_where_one_is_given() -> None:
    shape = bumps(np.array([[7.3, 4.8]]), 1.5, (12, 16))[None]
    heat = torch.zeros(1, 12, 16).double()
    heat[0, 5, 8] = 0.7
    (found,) = find_peaks(heat, 2, shape=shape)
    assert np.allclose(found.points, [[7.3, 4.8]]) and found.heat.tolist() == [0.7]


def test_maps_without_points() -> None:
    nothing = torch.stack(
        [torch.zeros(5, 6), torch.full((5, 6), 0.4), torch.full((5, 6), torch.nan)]
    )
    assert [len(one.points) for one in find_peaks(nothing, 2)] == [0, 0, 0]
    assert find_peaks(nothing, 2)[0].points.shape == (0, 2)
    assert find_peaks(torch.zeros(0, 5, 6), 2) == []


def test_axes_of_a_single_pixel() -> None:
    heat = torch.tensor([[[0.1, 0.9, 0.1, 0.5]]])
    assert find_peaks(heat, 1)[0].points[:, 1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(4,), (1, 0, 3), (1, 2, 2, 2, 2)])
def test_what_is_no_stack_of_maps_is_refused(shape) -> None:
    with pytest.raises(ShapeError, match="1 to 3 axes"):
        find_peaks(torch.zeros(shape), 2)


def test_a_long_map_may_have_more_points() -> None:
    """A limit holds for every 65,536 pixels: a long recording has thousands of beats."""
    heat = torch.zeros(1, 3 * 65536)
    heat[0, 10::64] = 1.0
    (found,) = find_peaks(heat, 8.0, most=400)
    assert len(found.points) == 1200
    (short,) = find_peaks(heat[:, : 65536 // 2], 8.0, most=400)
    assert len(short.points) == 400
