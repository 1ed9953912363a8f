"""Augmentation: pixels and points go the same way, and draws are a pure function of the key."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placewise.augment import (
    Augmentation,
    Chain,
    Elastic,
    Homography,
    Warp,
    crop,
    elastic,
    flip,
    frame,
    move_points,
    perspective,
    rotate,
    scale,
    shear,
    translate,
    warp_image,
)
from placewise.augment.warps import steepness
from placewise.errors import SettingsError
from placewise.labels import Visibility

SIZE = (96, 128)
STRONG = Augmentation(
    flip=True, rotate=45, scale=(0.7, 1.4), shear=15, translate=0.1, perspective=0.2, elastic=0.03,
    brightness=0.4, contrast=0.4, gamma=0.5, noise=0.05, blur=1.5,
)  # fmt: skip


def within(rng, *limits):
    return [float(rng.uniform(-limit, limit)) for limit in limits]


def chained(rng):
    """A homography on each side of a field, which no short cut helps."""
    parts = [elastic(SIZE, rng, 3.0), rotate(SIZE, *within(rng, 30)), flip(SIZE)]
    return Chain(translate(SIZE, *within(rng, 9, 9)), *rng.permutation(np.array(parts, object)))


# name -> (how one is drawn, greatest error of the blob test in pixels)
DRAWS = {
    "flip": (lambda rng: flip(SIZE), 0.05),
    "rotate": (lambda rng: rotate(SIZE, *within(rng, 180)), 0.05),
    "scale": (lambda rng: scale(SIZE, tuple(np.exp(within(rng, 0.4, 0.4)).tolist())), 0.05),
    "shear": (lambda rng: shear(SIZE, *within(rng, 30, 20)), 0.05),
    "translate": (lambda rng: translate(SIZE, *within(rng, 20, 20)), 0.05),
    "perspective": (lambda rng: perspective(SIZE, *within(rng, 0.3, 0.3)), 0.05),
    "crop": (lambda rng: crop(SIZE, *within(rng, 20, 20), (80, 100)), 0.05),
    "frame": (lambda rng: frame(SIZE, tuple(rng.integers(80, 140, 2).tolist())), 0.05),
    "elastic": (lambda rng: elastic(SIZE, rng, 5.0), 0.1),
    "affine and perspective": (
        lambda rng: dataclasses.replace(STRONG, elastic=0).draw(rng, SIZE, (110, 120)),
        0.05,
    ),
    "all at once": (lambda rng: STRONG.draw(rng, SIZE, (110, 120)), 0.1),
    "chain in any order": (chained, 0.1),
}


def draw(name, seed=0):
    return DRAWS[name][0](np.random.default_rng(seed))


# --- the blob test: the centroid of a moved blob against the moved keypoint ---

SIGMA = 2.0


def render(centre):
    """A Gaussian blob on the source."""
    down, across = (np.exp(-((np.arange(length) - at) ** 2) / 2 / SIGMA**2)
                    for length, at in zip(SIZE, centre[::-1], strict=True))  # fmt: skip
    return np.outer(down, across).astype(np.float32)[..., None]


def centroid(heat):
    heat = heat[..., 0].astype(np.float64)
    x = (heat.sum(0) * np.arange(heat.shape[1])).sum()
    y = (heat.sum(1) * np.arange(heat.shape[0])).sum()
    return np.array([x, y]) / heat.sum()


def expected_centroid(warp, centre):
    """Where the centroid of the whole blob g must come to lie, by points alone.

    A bent image of a finite blob is not symmetric about its moved keypoint: its centroid is
    ∫ F(p) g(p) |det F'(p)| dp / ∫ g(p) |det F'(p)| dp with F = `forward`. It differs from
    F(centre) by the curvature of F times σ², which is nothing for affine warps.
    """
    step = np.arange(-4 * SIGMA, 4 * SIGMA + 0.5)
    offsets = np.stack(np.meshgrid(step, step), -1)
    moved = warp.forward(centre + offsets)
    down, across = np.gradient(moved, axis=(0, 1))
    area = np.abs(np.linalg.det(np.stack([across, down], -1)))
    mass = np.exp(-(offsets**2).sum(-1) / 2 / SIGMA**2) * area
    return (moved * mass[..., None]).sum((0, 1)) / mass.sum()


def blob_errors(name, draws, seed):
    """Distance of the found from the expected centroid, and of that from the moved keypoint."""
    rng, errors, bends = np.random.default_rng(seed), [], []
    while len(errors) < draws:
        warp, keypoint = DRAWS[name][0](rng), rng.uniform(12, np.array(SIZE[::-1]) - 13)
        moved = warp.forward(keypoint)
        if (moved < 16).any() or (moved > np.array(warp.size[::-1]) - 17).any():
            continue  # cut by the frame, so the centroid is not that of the blob
        found = centroid(warp_image(render(keypoint), warp, "zeros"))
        expected = expected_centroid(warp, keypoint)
        errors.append(np.linalg.norm(found - expected))
        bends.append(np.linalg.norm(expected - moved))
    return np.array(errors), np.array(bends)


BENT = ("perspective", "affine and perspective", "elastic", "all at once", "chain in any order")
SLOWER = ("elastic", "all at once", "chain in any order")


@pytest.mark.parametrize("name", DRAWS)
def test_a_blob_goes_where_its_keypoint_goes(name):
    errors, bends = blob_errors(name, 100 if name in SLOWER else 500, seed=1)
    assert errors.max() <= DRAWS[name][1], (errors.mean(), errors.max())
    assert name in BENT or bends.max() < 1e-6  # so there it is the moved keypoint itself


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOWER)
def test_500_blobs_go_where_their_keypoints_go(name):
    errors, _ = blob_errors(name, 500, seed=2)
    assert errors.max() <= DRAWS[name][1], (errors.mean(), errors.max())


# --- laws ---


@pytest.mark.parametrize("name", DRAWS)
def test_forward_and_backward_undo_each_other(name):
    for seed in range(20):
        warp = draw(name, seed)
        shown = np.random.default_rng(seed).uniform(-20, 150, (5, 40, 2))
        assert np.abs(warp.forward(warp.backward(shown)) - shown).max() <= 1e-6
        points = warp.backward(np.random.default_rng(seed).uniform(0, 90, (40, 2)))
        assert np.abs(warp.backward(warp.forward(points)) - points).max() <= 1e-6


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_chain_is_its_warps_one_after_the_other(seed):
    rng = np.random.default_rng(seed)
    names = rng.choice(sorted(DRAWS), 3)
    parts = [DRAWS[name][0](rng) for name in names]
    chain, points = Chain(*parts), rng.uniform(30, 60, (30, 2))
    one_by_one = points
    for part in parts:
        one_by_one = part.forward(one_by_one)
    assert np.allclose(chain.forward(points), one_by_one, atol=1e-6, equal_nan=True)
    back = points
    for part in reversed(parts):
        back = part.backward(back)
    assert np.allclose(chain.backward(points), back, atol=1e-6)
    assert chain.size == parts[-1].size
    assert chain.mirrors == (sum(part.mirrors for part in parts) % 2 == 1)
    kinds = [isinstance(warp, Homography) for warp in chain.warps]
    assert (True, True) not in list(itertools.pairwise(kinds))


def test_homographies_side_by_side_are_one_matrix():
    parts = [rotate(SIZE, 20), scale(SIZE, 1.2), shear(SIZE, 5), flip(SIZE)]
    chain = Chain(Chain(*parts[:2]), Chain(*parts[2:]))
    (one,) = chain.warps
    product = parts[3].matrix @ parts[2].matrix @ parts[1].matrix @ parts[0].matrix
    assert np.allclose(one.matrix / one.matrix[2, 2], product / product[2, 2])


def test_a_smooth_image_warped_twice_is_warped_once_by_the_chain():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    image = (0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)).astype(np.float32)[..., None]
    first, second = rotate(SIZE, 12), elastic(SIZE, np.random.default_rng(0), 4.0)
    twice = warp_image(warp_image(image, first), second)
    once = warp_image(image, Chain(first, second))
    assert np.abs(twice - once)[25:-25, 25:-25].max() < 5e-3


def test_named_warps_are_exact_where_pixels_meet_pixels():
    image = np.random.default_rng(0).random((6, 8, 3)).astype(np.float32)
    same = {
        flip((6, 8)): image[:, ::-1],
        rotate((6, 8), 180): image[::-1, ::-1],
        crop((6, 8), 1, 2, (3, 4)): image[1:4, 2:6],
        frame((6, 8), (10, 11)): np.pad(image, ((2, 2), (1, 2), (0, 0)), mode="edge"),
        frame((6, 8), (4, 5)): image[1:5, 1:6] if (5 - 8) // 2 == -1 else image[1:5, 2:7],
        translate((6, 8), 2, 0): np.pad(image, ((0, 0), (2, 0), (0, 0)), mode="edge")[:, :8],
    }
    for warp, expected in same.items():
        assert np.abs(warp_image(image, warp) - expected).max() < 1e-5
    square = image[:6, :6]
    assert np.abs(warp_image(square, rotate((6, 6), 90)) - np.rot90(square)).max() < 1e-5


def test_an_elastic_field_is_as_strong_as_told_and_never_folds():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        warp = elastic(SIZE, rng, strength_px=3.0, cells=5)
        y, x = np.mgrid[-30:120, -30:150].astype(float)
        pulled = np.stack(warp.pull(x, y), -1)
        push = pulled - np.stack([x, y], -1)
        assert 0.3 < np.abs(push).max() <= 3.0
        down, across = np.gradient(pulled, axis=(0, 1))
        assert np.linalg.det(np.stack([across, down], -1)).min() > 0
        slopes = np.abs(np.gradient(push, axis=(0, 1))).sum(0).max()
        assert slopes <= steepness(warp.control, SIZE) + 1e-9 <= Elastic.limit + 1e-6
    assert steepness(elastic(SIZE, rng, 500.0, 9).control, SIZE) <= Elastic.limit + 1e-9


def test_an_elastic_field_is_the_sum_of_its_splines():
    """A slow twin: the cardinal cubic B-spline by its recursion, summed over all control points."""

    def spline(x, degree=3):
        if degree == 0:
            return float(0 <= x < 1)
        left, right = spline(x, degree - 1), spline(x - 1, degree - 1)
        return (x * left + (degree + 1 - x) * right) / degree

    warp = elastic((30, 40), np.random.default_rng(0), 2.0, 4)
    _, rows, columns = warp.control.shape
    for x, y in np.random.default_rng(1).uniform(0, 29, (10, 2)):
        u, v = (x + 0.5) * (columns - 3) / 40, (y + 0.5) * (rows - 3) / 30
        push = sum(
            warp.control[:, row, column] * spline(v - row + 3) * spline(u - column + 3)
            for row in range(rows)
            for column in range(columns)
        )
        assert np.allclose(warp.backward(np.array([x, y])), np.array([x, y]) + push)


# --- the slow twin of sampling ---


def look_up(image, column, row, fill):
    height, width, _ = image.shape
    if fill == "replicate":
        column, row = min(max(column, 0), width - 1), min(max(row, 0), height - 1)
    elif fill == "reflect":
        column, row = (
            min(at % (2 * n), 2 * n - 1 - at % (2 * n))
            for at, n in ((column, width), (row, height))
        )
    elif not (0 <= column < width and 0 <= row < height):
        return np.full(image.shape[2], 0.0 if fill == "zeros" else fill)
    return image[row, column]


def sample_slowly(image, warp, fill):
    height, width = warp.size
    result = np.empty((height, width, image.shape[2]))
    for row in range(height):
        for column in range(width):
            x, y = warp.backward(np.array([column, row], dtype=float))
            left, top = int(np.floor(x)), int(np.floor(y))
            a, b = x - left, y - top
            result[row, column] = (
                (1 - a) * (1 - b) * look_up(image, left, top, fill)
                + a * (1 - b) * look_up(image, left + 1, top, fill)
                + (1 - a) * b * look_up(image, left, top + 1, fill)
                + a * b * look_up(image, left + 1, top + 1, fill)
            )
    return result


@pytest.mark.parametrize("fill", ["replicate", "zeros", "reflect", 0.7])
@pytest.mark.parametrize("name", ["rotate", "perspective", "elastic", "all at once", "crop"])
def test_sampling_is_what_a_loop_over_the_pixels_does(name, fill):
    small = (11, 13)
    image = np.random.default_rng(0).random((*small, 3)).astype(np.float32)
    rng = np.random.default_rng(3)
    warp = {
        "rotate": lambda: rotate(small, 33),
        "perspective": lambda: perspective(small, 0.3, -0.2),
        "elastic": lambda: elastic(small, rng, 1.5, 3),
        "all at once": lambda: STRONG.draw(rng, small, (17, 9)),
        "crop": lambda: crop(small, -5.5, 3.25, (20, 9)),
    }[name]()
    assert np.abs(warp_image(image, warp, fill) - sample_slowly(image, warp, fill)).max() < 1e-4


def test_whole_numbers_are_sampled_as_shares_of_white():
    for dtype in (np.uint8, np.uint16):
        white = np.full((4, 5, 1), np.iinfo(dtype).max, dtype)
        shown = warp_image(white, rotate((4, 5), 10))
        assert shown.dtype == np.float32 and np.abs(shown - 1).max() < 1e-6


# --- what cannot be moved is refused ---


class Drifting(Warp):
    """Moves pixels, and leaves points behind."""

    size = SIZE

    def forward(self, points):
        return points

    def pull(self, x, y):
        return x + 1, y


class Losing(Drifting):
    def forward(self, points):
        return points[:0]


@pytest.mark.parametrize("thing", ["blur", None, lambda points: points, np.eye(3)])
def test_what_is_no_warp_is_refused_everywhere(thing):
    points, visibility = np.zeros((1, 2)), np.full(1, Visibility.VISIBLE, np.int8)
    for act in (
        lambda: Chain(flip(SIZE), thing),
        lambda: warp_image(np.zeros((*SIZE, 1), np.uint8), thing),
        lambda: move_points(points, visibility, thing),
    ):
        with pytest.raises(SettingsError, match="not a warp"):
            act()


@pytest.mark.parametrize(("warp", "message"), [(Drifting(), "otherwise"), (Losing(), "as many")])
def test_a_warp_that_leaves_points_behind_is_refused(warp, message):
    visibility = np.full(3, Visibility.VISIBLE, np.int8)
    for inside in (warp, Chain(flip(SIZE), warp)):
        with pytest.raises(SettingsError, match=message):
            move_points(np.full((3, 2), 9.0), visibility, inside)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Homography(np.eye(2), SIZE),
        lambda: Homography(np.full((3, 3), np.nan), SIZE),
        lambda: Homography(np.diag([1.0, 0.0, 1.0]), SIZE),
        lambda: perspective(SIZE, 0.8, 0.8),
        lambda: scale(SIZE, 0.0),
        lambda: crop(SIZE, 200, 0, SIZE),
        lambda: Elastic(np.zeros((2, 3, 3)), SIZE),
        lambda: Elastic(np.random.default_rng(0).uniform(-90, 90, (2, 7, 7)), SIZE),
        lambda: elastic(SIZE, np.random.default_rng(0), -1.0),
        lambda: Chain(),
        lambda: warp_image(np.zeros((*SIZE, 1), np.uint8), flip(SIZE), "mirror"),
        lambda: Augmentation(rotate=-1),
        lambda: Augmentation(noise=float("nan")),
        lambda: Augmentation(scale=(1.2, 0.9)),
        lambda: Augmentation.of(rotation=3),
        lambda: Augmentation.of(rotate="much"),
        lambda: Augmentation.of(scale=2),
        lambda: Augmentation.of(flip=1),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(SettingsError, match=r"needed|there are"):
        make()


def test_a_point_behind_the_viewer_has_no_place():
    warp = perspective((100, 100), 0.5, 0)
    assert np.isnan(warp.forward(np.array([-200.0, 50.0]))).all()
    visibility = np.full(1, Visibility.VISIBLE, np.int8)
    bent = Chain(warp, elastic((100, 100), np.random.default_rng(0), 2.0))
    points, known = move_points(np.array([[-200.0, 50.0]]), visibility, bent)
    assert np.isnan(points).all() and known.tolist() == [Visibility.ABSENT]


# --- signals and volumes --------------------------------------------------------------------------

SPACES = [(40,), (24, 28, 26)]
each_space = pytest.mark.parametrize("size", SPACES, ids=lambda size: f"{len(size)}d")


def strong(size: tuple[int, ...], rng: np.random.Generator) -> Chain:
    """A chain of all that is not of images alone, and an affine matrix that joins the axes."""
    axes = len(size)
    mixed = np.eye(axes + 1)
    mixed[:axes, :axes] += rng.uniform(-0.15, 0.15, (axes, axes))
    factors = tuple(np.exp(rng.uniform(-0.2, 0.2, axes)).tolist())
    return Chain(
        frame(size, size),
        flip(size),
        scale(size, factors),
        translate(size, *rng.uniform(-2, 2, axes)),
        Homography(mixed, size),
    )


def slow_sample(image: np.ndarray, place: np.ndarray) -> np.ndarray:
    """One pixel, linear along each axis, the outermost value beyond the border."""
    size = image.shape[:-1]
    at = place[::-1].clip(0, np.array(size) - 1)
    low = np.floor(at).astype(int)
    total = np.zeros(image.shape[-1])
    for corner in itertools.product((0, 1), repeat=len(size)):
        near = np.minimum(low + corner, np.array(size) - 1)
        weight = np.prod([w if up else 1 - w for up, w in zip(corner, at - low, strict=True)])
        total += weight * image[tuple(near)]
    return total


@each_space
def test_pixels_of_signals_and_volumes_are_those_of_a_loop(size: tuple[int, ...]):
    rng = np.random.default_rng(0)
    image = rng.random((*size, 2)).astype(np.float32)
    warp = strong(size, rng)
    shown = warp_image(image, warp)
    assert shown.shape == (*size, 2)
    for index in rng.integers(0, size, (200, len(size))):
        place = warp.backward(index[::-1].astype(float))
        assert np.allclose(shown[tuple(index)], slow_sample(image, place), atol=1e-4)


@each_space
def test_points_of_signals_and_volumes_go_with_their_pixels(size: tuple[int, ...]):
    """The centroid of a blob lies where its point went."""
    rng = np.random.default_rng(1)
    sigma, middle = 1.5, (np.array(size[::-1]) - 1) / 2
    for _ in range(10):
        warp, point = strong(size, rng), middle + rng.uniform(-2, 2, len(size))
        grids = np.indices(size)[::-1]
        away = sum((grid - at) ** 2 for grid, at in zip(grids, point, strict=True))
        shown = warp_image(np.exp(-away / (2 * sigma**2))[..., None].astype(np.float32), warp)
        heat = shown[..., 0]
        centroid = [(grid * heat).sum() / heat.sum() for grid in grids]
        moved, seen = move_points(point[None], np.array([Visibility.VISIBLE], np.int8), warp)
        assert seen[0] == Visibility.VISIBLE
        assert np.abs(moved[0] - centroid).max() < 0.1


@each_space
def test_forward_and_backward_are_inverse_in_any_dimension(size: tuple[int, ...]):
    rng = np.random.default_rng(2)
    warp = strong(size, rng)
    points = rng.uniform(-5, 25, (100, len(size)))
    assert np.allclose(warp.backward(warp.forward(points)), points, atol=1e-9)
    assert warp.mirrors
    assert not Chain(flip(size), flip(size)).mirrors


@each_space
def test_a_window_shows_its_focus_in_any_dimension(size: tuple[int, ...]):
    small = tuple(side // 2 for side in size)
    focus = [side * 0.6 for side in reversed(size)]
    seen = frame(size, small, focus).forward(np.array(focus))
    assert (np.abs(seen - np.array(small[::-1]) / 2) <= 0.5).all()
    assert frame(small, small).matrix.tolist() == np.eye(len(size) + 1).tolist()


@pytest.mark.parametrize("size", [(5,), (5, 6, 7)], ids=lambda size: f"{len(size)}d")
@pytest.mark.parametrize(
    "make",
    [
        lambda size: shear(size, [0.0] * (len(size) * (len(size) - 1) // 2), 10.0),
        lambda size: perspective(size, 0.1, 0.1),
        lambda size: crop(size, 1, 1, (3, 3)),
        lambda size: elastic(size, np.random.default_rng(0), 1.0),
    ],
    ids=["vertical shear", "perspective", "crop", "elastic"],
)
def test_what_is_of_images_alone_is_refused_elsewhere(make, size: tuple[int, ...]):
    with pytest.raises(SettingsError, match=r"images of two axes"):
        make(size)


@pytest.mark.parametrize("turn", [rotate, shear], ids=["rotate", "shear"])
@pytest.mark.parametrize(("size", "angles"), [((5,), 10.0), ((5, 6, 7), 10.0), ((5, 6), [1.0] * 3)])
def test_there_is_an_angle_for_each_plane(turn, size: tuple[int, ...], angles) -> None:
    with pytest.raises(SettingsError, match=r"it needs [013] angles"):
        turn(size, angles)
