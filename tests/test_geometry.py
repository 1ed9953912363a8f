"""The one coordinate convention, as laws and against a slow twin that counts pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from placewise.geometry import (
    PIXEL_CONVENTION,
    border_distance,
    from_cells,
    inside,
    ratio_of,
    rescale,
    to_cells,
    to_image,
    to_map,
)

COORDINATES = st.floats(-1e4, 1e4)
STRIDES = st.integers(1, 64)
RATIOS = st.floats(1 / 64, 64)


def of_points(axes: int) -> st.SearchStrategy[np.ndarray]:
    shape = st.tuples(st.integers(0, 4), st.just(axes))
    return arrays.arrays(np.float64, shape, elements=COORDINATES)


def of_sizes(axes: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(1, 200)] * axes)


AXES = st.integers(1, 3)
POINTS = AXES.flatmap(of_points)
PLANE = of_points(2)
SIZES = of_sizes(2)
ON_A_GRID = AXES.flatmap(lambda axes: st.tuples(of_points(axes), of_sizes(axes)))
ON_TWO_GRIDS = AXES.flatmap(lambda n: st.tuples(of_points(n), of_sizes(n), of_sizes(n)))


def near(found, expected, scale: float = 1.0) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9 * scale)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_a_map_pixel_lies_in_the_middle_of_the_pixels_under_it(stride: int):
    """Slow twin: pixel i of the map lies over the pixels i·s … i·s + s − 1."""
    for index in range(5):
        under = [index * stride + step for step in range(stride)]
        point = np.array([index, index], float)
        near(to_image(point, stride), [np.mean(under)] * 2)
        near(to_map(np.full(2, np.mean(under)), stride), point)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_the_centroid_of_an_enlarged_blob_moves_with_its_point(stride: int):
    """Slow twin: a map whose pixels become blocks of s × s pixels."""
    blob = np.random.default_rng(stride).random((6, 9))
    near(centroid(np.kron(blob, np.ones((stride, stride)))), to_image(centroid(blob), stride))


def centroid(image: np.ndarray) -> np.ndarray:
    y, x = np.indices(image.shape)
    return np.array([(x * image).sum(), (y * image).sum()]) / image.sum()


@given(points=POINTS, stride=STRIDES)
def test_map_and_image_are_inverse(points: np.ndarray, stride: int):
    near(to_image(to_map(points, stride), stride), points, 1e4)
    near(to_map(to_image(points, stride), stride), points, 1e4)


@given(points=POINTS, first=RATIOS, second=RATIOS)
def test_one_scale_after_another_is_one_scale(points: np.ndarray, first: float, second: float):
    near(rescale(rescale(points, first), second), rescale(points, first * second), 1e8)


@given(points=PLANE, x=RATIOS, y=RATIOS)
def test_the_axes_are_scaled_apart_x_first(points: np.ndarray, x: float, y: float):
    both = rescale(points, (x, y))
    near(both[:, 0], rescale(points, x)[:, 0])
    near(both[:, 1], rescale(points, y)[:, 1])


@given(points=POINTS)
def test_scale_one_moves_nothing(points: np.ndarray):
    near(rescale(points, 1.0), points, 1e4)
    near(to_map(points, 1), points, 1e4)


@given(grids=ON_TWO_GRIDS)
def test_the_corners_of_an_image_go_to_the_corners(grids):
    _, source, target = grids

    def corners(size):
        return np.array([[-0.5] * len(size), [side - 0.5 for side in reversed(size)]])

    near(rescale(corners(source), ratio_of(source, target)), corners(target))


@given(grids=ON_TWO_GRIDS)
def test_there_and_back_between_any_two_sizes(grids):
    points, source, target = grids
    there = rescale(points, ratio_of(source, target))
    near(rescale(there, ratio_of(target, source)), points, 1e7)


@given(points=PLANE, stride=STRIDES, x=RATIOS, y=RATIOS)
def test_tensors_and_arrays_agree(points: np.ndarray, stride: int, x: float, y: float):
    tensor = torch.from_numpy(points)
    near(to_map(tensor, stride).numpy(), to_map(points, stride))
    near(to_image(tensor, stride).numpy(), to_image(points, stride))
    near(rescale(tensor, (x, y)).numpy(), rescale(points, (x, y)))
    near(to_map(tensor, (stride, 3)).numpy(), to_map(points, (stride, 3)))
    near(to_image(points, (stride, 3))[:, 1], to_image(points, 3)[:, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_keep_type_and_gradient(dtype: torch.dtype):
    points = torch.zeros(3, 4, 2, dtype=dtype, requires_grad=True)
    moved = rescale(points, (2.0, 3.0))
    assert moved.dtype == dtype
    moved.sum().backward()
    assert points.grad is not None
    assert torch.equal(points.grad, torch.tensor([2.0, 3.0], dtype=dtype).expand(3, 4, 2))


def test_nan_stays_nan():
    points = np.array([[np.nan, 1.0]])
    assert np.isnan(to_map(points, 4)[0, 0])
    assert np.isnan(border_distance(points, (3, 3))).all()


@given(grid=ON_A_GRID)
def test_inside_is_a_distance_of_at_least_nothing(grid):
    points, size = grid
    assert (inside(points, size) == (border_distance(points, size) >= 0)).all()


@given(size=SIZES, shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_point_between_the_edges_is_inside(size, shares):
    point = np.array([shares]) * [size[1], size[0]] - 0.5
    assert inside(point, size).all()
    near(border_distance(point, size), [slow_distance(point[0], size)])


@given(grid=ON_A_GRID)
def test_the_border_distance_is_that_to_the_nearest_face(grid):
    points, size = grid
    near(border_distance(points, size), [slow_distance(point, size) for point in points], 1e4)


def slow_distance(point: np.ndarray, size: tuple[int, ...]) -> float:
    """Least of the distances to the faces −½ and n−½ of each axis, x the last of the size."""
    axes = len(size)
    low = [point[axis] - -0.5 for axis in range(axes)]
    high = [size[axes - 1 - axis] - 0.5 - point[axis] for axis in range(axes)]
    return min(low + high)


@given(grid=ON_A_GRID)
def test_mirrors_keep_the_distance_to_the_border(grid):
    points, size = grid
    mirrored = np.array([side - 1 for side in reversed(size)]) - points
    near(border_distance(mirrored, size), border_distance(points, size), 1e4)


def test_the_edges_belong_to_the_image_and_what_is_not_known_does_not():
    points = np.array([[-0.5, -0.5], [4.5, 2.5], [4.6, 0], [0, 2.6], [-0.6, 0], [np.nan, 0]])
    assert inside(points, (3, 5)).tolist() == [True, True, False, False, False, False]
    assert inside(np.zeros((2, 7, 2)), (3, 5)).shape == (2, 7)
    assert border_distance(np.zeros((2, 7, 2)), (3, 5)).shape == (2, 7)


def test_the_convention_has_a_name():
    assert PIXEL_CONVENTION == "x right, y down, 0-based, integer = pixel centre"


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize("size", [(6,), (6, 12), (6, 12, 18)])
def test_cells_are_those_of_a_loop(size: tuple[int, ...], side: int):
    """Channel c · side^axes + (place in the cell) at cell i holds pixel i · side + place."""
    axes = len(size)
    maps = torch.arange(2 * 3 * np.prod(size), dtype=torch.float32).view(2, 3, *size)
    cells = to_cells(maps, side)
    assert cells.shape == (2, 3 * side**axes, *(n // side for n in size))
    for channel in range(3):
        for number, place in enumerate(np.ndindex(*[side] * axes)):
            for cell in np.ndindex(cells.shape[2:]):
                pixel = [i * side + p for i, p in zip(cell, place, strict=True)]
                found = cells[(slice(None), channel * side**axes + number, *cell)]
                assert torch.equal(found, maps[(slice(None), channel, *pixel)])
    assert torch.equal(from_cells(cells, side), maps)


def test_cells_of_images_are_torchs():
    maps = torch.rand(2, 3, 6, 12)
    assert torch.equal(to_cells(maps, 3), torch.nn.functional.pixel_unshuffle(maps, 3))
    finer = torch.rand(2, 12, 3, 4)
    assert torch.equal(from_cells(finer, 2), torch.nn.functional.pixel_shuffle(finer, 2))
