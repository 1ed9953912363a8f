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
    inside,
    ratio_of,
    rescale,
    to_image,
    to_map,
)

COORDINATES = st.floats(-1e4, 1e4)
POINTS = arrays.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(2)), elements=COORDINATES)
STRIDES = st.integers(1, 64)
RATIOS = st.floats(1 / 64, 64)
SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200))


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


@given(points=POINTS, x=RATIOS, y=RATIOS)
def test_the_axes_are_scaled_apart_x_first(points: np.ndarray, x: float, y: float):
    both = rescale(points, (x, y))
    near(both[:, 0], rescale(points, x)[:, 0])
    near(both[:, 1], rescale(points, y)[:, 1])


@given(points=POINTS)
def test_scale_one_moves_nothing(points: np.ndarray):
    near(rescale(points, 1.0), points, 1e4)
    near(to_map(points, 1), points, 1e4)


@given(source=SIZES, target=SIZES)
def test_the_corners_of_an_image_go_to_the_corners(source, target):
    def corners(size):
        return np.array([[-0.5, -0.5], [size[1] - 0.5, size[0] - 0.5]])

    near(rescale(corners(source), ratio_of(source, target)), corners(target))


@given(points=POINTS, source=SIZES, target=SIZES)
def test_there_and_back_between_any_two_sizes(points: np.ndarray, source, target):
    there = rescale(points, ratio_of(source, target))
    near(rescale(there, ratio_of(target, source)), points, 1e7)


@given(points=POINTS, stride=STRIDES, x=RATIOS, y=RATIOS)
def test_tensors_and_arrays_agree(points: np.ndarray, stride: int, x: float, y: float):
    tensor = torch.from_numpy(points)
    near(to_map(tensor, stride).numpy(), to_map(points, stride))
    near(to_image(tensor, stride).numpy(), to_image(points, stride))
    near(rescale(tensor, (x, y)).numpy(), rescale(points, (x, y)))


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


@given(points=POINTS, size=SIZES)
def test_inside_is_a_distance_of_at_least_nothing(points: np.ndarray, size):
    assert (inside(points, size) == (border_distance(points, size) >= 0)).all()


@given(size=SIZES, shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_point_between_the_edges_is_inside(size, shares):
    point = np.array([shares]) * [size[1], size[0]] - 0.5
    assert inside(point, size).all()
    near(border_distance(point, size), [slow_distance(point[0], size)])


def slow_distance(point: np.ndarray, size: tuple[int, int]) -> float:
    """Least of the four distances to the edges −½ and W−½, −½ and H−½."""
    left, right = point[0] - -0.5, size[1] - 0.5 - point[0]
    above, below = point[1] - -0.5, size[0] - 0.5 - point[1]
    return min(left, right, above, below)


@given(points=POINTS, size=SIZES)
def test_mirrors_keep_the_distance_to_the_border(points: np.ndarray, size):
    mirrored = np.array([size[1] - 1, size[0] - 1]) - points
    near(border_distance(mirrored, size), border_distance(points, size), 1e4)


def test_the_edges_belong_to_the_image_and_what_is_not_known_does_not():
    points = np.array([[-0.5, -0.5], [4.5, 2.5], [4.6, 0], [0, 2.6], [-0.6, 0], [np.nan, 0]])
    assert inside(points, (3, 5)).tolist() == [True, True, False, False, False, False]
    assert inside(np.zeros((2, 7, 2)), (3, 5)).shape == (2, 7)
    assert border_distance(np.zeros((2, 7, 2)), (3, 5)).shape == (2, 7)


def test_the_convention_has_a_name():
    assert PIXEL_CONVENTION == "x right, y down, 0-based, integer = pixel centre"
