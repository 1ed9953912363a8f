"""What is drawn: a pure function of its key, which keeps states and counterparts right."""

import dataclasses

import numpy as np
import pytest
import torch

from placewise.augment import (
    Augmentation,
    Chain,
    flip,
    generator,
    move_points,
    rotate,
    translate,
)
from placewise.errors import SettingsError
from placewise.labels import Visibility
from test_augment import SIZE, STRONG, centroid, render


def test_states_stay_apart_and_points_that_leave_are_absent():
    nan = np.nan
    points = np.array([[[2.0, 2.0], [7.0, 2.0], [7.4, 3.0], [nan, nan], [nan, nan]]])
    visibility = np.array(
        [
            [
                Visibility.VISIBLE,
                Visibility.HIDDEN,
                Visibility.VISIBLE,
                Visibility.ABSENT,
                Visibility.UNLABELLED,
            ]
        ]
    )
    moved, known = move_points(points, visibility.astype(np.int8), translate((8, 8), 0.25, 0))
    assert known.dtype == np.int8 and known.tolist() == [
        [
            Visibility.VISIBLE,
            Visibility.HIDDEN,
            Visibility.ABSENT,
            Visibility.ABSENT,
            Visibility.UNLABELLED,
        ]
    ]
    assert moved[0, :2].tolist() == [[2.25, 2.0], [7.25, 2.0]]
    assert np.isnan(moved[0, 2:]).all()
    assert (
        visibility[0, 2] == Visibility.VISIBLE and points[0, 2, 0] == 7.4
    )  # what came in is untouched


def test_counterparts_change_places_where_the_warp_mirrors():
    points = np.array([[1.0, 1.0], [6.0, 1.0], [3.0, 5.0]])
    visibility = np.array([Visibility.VISIBLE, Visibility.HIDDEN, Visibility.VISIBLE], np.int8)
    swap = np.array([1, 0, 2])
    size = (8, 8)
    moved, known = move_points(points, visibility, flip(size), swap)
    assert moved.tolist() == [[1.0, 1.0], [6.0, 1.0], [4.0, 5.0]]
    assert known.tolist() == [Visibility.HIDDEN, Visibility.VISIBLE, Visibility.VISIBLE]
    for upright in (rotate(size, 170), Chain(flip(size), rotate(size, 5), flip(size))):
        assert not upright.mirrors
        there, known = move_points(points, visibility, upright, swap)
        assert np.allclose(there, upright.forward(points)) and known.tolist() == visibility.tolist()
    with pytest.raises(SettingsError, match="change places"):
        move_points(points, visibility, flip(size), np.array([1, 1, 2]))


def test_mirrored_images_carry_swapped_names():
    """An image with a bright left and a dark right keypoint: after any draw `left` is on one side.

    The twin is the image mirrored by hand, labelled by eye.
    """
    image = np.zeros((*SIZE, 1), np.float32) + 0.5
    image[40, 30], image[40, 90] = 1.0, 0.0
    points = np.array([[30.0, 40.0], [90.0, 40.0]])
    visibility, swap = np.full(2, Visibility.VISIBLE, np.int8), np.array([1, 0])
    only_flip = dataclasses.replace(Augmentation.none(), flip=True)
    seen = set()
    for number in range(20):
        shown, moved, _ = only_flip.apply(
            image, points, visibility, generator(0, 0, str(number)), SIZE, swap
        )
        mirrored = shown[40, 97, 0] > 0.9
        expected = [[37, 40], [97, 40]] if mirrored else points.tolist()
        assert np.allclose(moved, expected)
        seen.add(bool(mirrored))
    assert seen == {True, False}


# --- draws ---


def apply(augmentation, rng, channels=1):
    image = np.random.default_rng(5).integers(0, 256, (*SIZE, channels)).astype(np.uint8)
    points = np.random.default_rng(6).uniform(10, 80, (2, 7, 2))
    visibility = np.full((2, 7), Visibility.VISIBLE, np.int8)
    return augmentation.apply(image, points, visibility, rng, (80, 90), np.arange(7)[::-1])


def test_draws_are_a_pure_function_of_seed_epoch_and_sample():
    first = apply(STRONG, generator(3, 2, "a/b.png"))
    again = apply(STRONG, generator(3, 2, "a/b.png"))
    for one, other in zip(first, again, strict=True):
        assert one.tobytes() == other.tobytes()
    for key in ((4, 2, "a/b.png"), (3, 3, "a/b.png"), (3, 2, "a/c.png")):
        assert not np.array_equal(apply(STRONG, generator(*key))[0], first[0])
    assert generator(1, 11, "x").random() != generator(11, 1, "x").random()


def test_one_range_does_not_change_what_the_others_draw():
    for without in ({"shear": 0.0}, {"elastic": 0.0}, {"flip": False}, {"scale": (1.0, 1.0)}):
        rngs = [generator(0, 0, "a"), generator(0, 0, "a")]
        STRONG.draw(rngs[0], SIZE, SIZE)
        dataclasses.replace(STRONG, **without).draw(rngs[1], SIZE, SIZE)
        assert rngs[0].random() == rngs[1].random()


def test_the_widest_ranges_draw_warps_for_every_size():
    widest = Augmentation(
        flip=True, rotate=180, scale=(0.1, 10), shear=60, translate=1, perspective=0.3, elastic=0.1,
        brightness=0.95, contrast=0.95, gamma=3, noise=1, blur=10, drift=3,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(300):
        size, out = (tuple(rng.integers(1, 70, 2).tolist()) for _ in range(2))
        points = rng.uniform(-0.5, np.array(size[::-1]) - 0.5, (5, 2))
        visibility = np.full(5, Visibility.VISIBLE, np.int8)
        image = rng.random((*size, 1)).astype(np.float32)
        shown, moved, known = widest.apply(
            image, points, visibility, generator(0, number, ""), out, fill="reflect"
        )
        assert shown.shape == (*out, 1) and np.isfinite(shown).all()
        assert np.array_equal(np.isnan(moved).any(-1), known == Visibility.ABSENT)


def test_nothing_drawn_leaves_all_as_it_is():
    shown, points, visibility = apply(Augmentation.none(), generator(0, 0, "a"))
    image = np.random.default_rng(5).integers(0, 256, (*SIZE, 1)) / 255
    located = visibility == Visibility.VISIBLE
    before = np.random.default_rng(6).uniform(10, 80, (2, 7, 2))
    shift = (before - points)[located][0].round().astype(int)
    left, top = shift.tolist()
    assert 0 <= left <= SIZE[1] - 90 and 0 <= top <= SIZE[0] - 80
    assert np.abs(shown - image[top : top + 80, left : left + 90]).max() < 1e-4
    assert np.allclose(points[located], (before - shift)[located]) and located.sum() > 3


@pytest.mark.parametrize("channels", [1, 3])
def test_bits_do_not_depend_on_the_number_of_threads(channels):
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append([apply(STRONG, generator(0, e, "a"), channels) for e in range(5)])
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*results, strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def test_photometric_changes_move_nothing_and_stay_in_range():
    blob = render(np.array([60.0, 45.0]))
    quiet = dataclasses.replace(STRONG, noise=0, gamma=0, contrast=0)
    for epoch in range(20):
        shown = STRONG.photometric(blob, generator(0, epoch, "a"))
        assert shown.dtype == np.float32 and shown.shape == blob.shape
        assert shown.min() >= 0 and shown.max() <= 1
        dimmed = quiet.photometric(0.5 * blob, generator(0, epoch, "a"))
        assert np.abs(centroid(dimmed) - [60, 45]).max() < 1e-3
    assert blob.tobytes() == render(np.array([60.0, 45.0])).tobytes()


def test_brightness_contrast_and_gamma_do_what_they_say():
    image = np.random.default_rng(0).uniform(0.3, 0.6, (20, 20, 1)).astype(np.float32)
    none = Augmentation.none()
    for epoch in range(10):
        brightness, contrast, gamma = generator(0, epoch, "").uniform(-1, 1, 3)

        def shown(epoch=epoch, **ranges):
            return dataclasses.replace(none, **ranges).photometric(image, generator(0, epoch, ""))

        mean = image.mean(dtype=float)
        assert np.allclose(shown(brightness=0.3), image * (1 + 0.3 * brightness), atol=1e-6)
        wider = mean + (image - mean) * (1 + 0.3 * contrast)
        assert np.allclose(shown(contrast=0.3), wider, atol=1e-6)
        assert np.allclose(shown(gamma=0.3), image ** (1.3**gamma), atol=1e-6)


@pytest.mark.parametrize("size", [(4096,), (48, 64), (12, 16, 20)])
def test_drift_adds_slow_waves_as_high_as_it_says(size):
    image = np.random.default_rng(1).normal(0.5, 0.02, (*size, 2)).clip(0.4, 0.6)
    image = image.astype(np.float32)
    plain = Augmentation(brightness=0, contrast=0, gamma=0, noise=0)
    spread, heights, slow = image.std(dtype=float), [], 0
    for epoch in range(100):
        still = plain.photometric(image, generator(0, epoch, ""))
        drifting = dataclasses.replace(plain, drift=0.8)
        added = (drifting.photometric(image, generator(0, epoch, "")) - still) / spread
        assert np.allclose(added[..., 0], added[..., 1], atol=1e-4), "the same for all channels"
        heights.append(np.abs(added).max())
        steps = [np.abs(np.diff(added[..., 0], axis=axis)).max() for axis in range(len(size))]
        slow += max(steps) <= 3 * 0.8 * 2 * np.pi * 32 / max(size) + 1e-4
    assert slow == 100 and 1.2 < max(heights) <= 2.4 + 1e-4 and min(heights) < 0.8


def test_every_second_image_is_its_negative_and_the_others_are_as_without():
    image = np.random.default_rng(1).uniform(0.1, 0.9, (50, 1)).astype(np.float32)
    plain = Augmentation(brightness=0, contrast=0)
    turned = 0
    for epoch in range(200):
        shown = plain.photometric(image, generator(0, epoch, ""))
        inverted = dataclasses.replace(plain, invert=True).photometric(
            image, generator(0, epoch, "")
        )
        is_negative = np.array_equal(inverted, 1 - shown)
        assert is_negative or np.array_equal(inverted, shown)
        turned += is_negative
    assert 70 < turned < 130


def test_blur_is_a_gaussian_of_the_width_it_says():
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    blurred, judged = dataclasses.replace(Augmentation.none(), blur=4.0), 0
    for epoch in range(5):
        rng = generator(0, epoch, "")
        rng.uniform(-1, 1, 3)
        sigma = 4.0 * rng.random(2)[0]
        shown = blurred.photometric(point, generator(0, epoch, ""))[..., 0].astype(float)
        spread = (shown.sum(0) * (np.arange(41) - 20) ** 2).sum() / shown.sum()
        assert abs(shown.sum() - 1) < 1e-5
        if sigma > 0.7:  # a narrower one is too narrow for the pixels to hold
            assert abs(np.sqrt(spread) - sigma) < 0.03 * sigma
            judged += 1
    assert judged >= 3


def test_windows_on_large_images_show_the_keypoints():
    """Nine windows in ten show the focus, somewhere in them; none shows what lies beyond a border.

    In such a window a point stands on the pixel that it was put on.
    """
    image = np.full((200, 300, 1), 0.25, np.float32)
    point = np.array([[40.0, 190.0]])
    image[190, 40] = 1.0
    visibility = np.array([Visibility.VISIBLE], np.int8)
    seen, places = 0, set()
    for epoch in range(300):
        rng = generator(5, epoch, "a.png")
        shown, moved, known = Augmentation.none().apply(image, point, visibility, rng, (48, 64))
        assert shown.shape == (48, 64, 1)
        if known[0] == Visibility.VISIBLE:
            x, y = moved[0].astype(int)
            assert shown[y, x, 0] > 0.999
            places.add((x, y))
            seen += 1
    assert 0.87 * 300 < seen < 300
    xs, ys = zip(*places, strict=True)
    assert min(xs) <= 2 and max(xs) <= 40, "the left border is 40 px away"
    assert min(ys) >= 48 - 10 and max(ys) >= 46, "the lower border is 10 px away"


def test_windows_look_anywhere_where_nothing_is_labelled():
    image = np.zeros((90, 400, 1), np.float32)
    image[..., 0] = np.linspace(0, 1, 400)
    nothing, visibility = np.full((1, 2), np.nan), np.array([Visibility.UNLABELLED], np.int8)
    starts = [
        Augmentation.none().apply(image, nothing, visibility, generator(1, epoch, "a"), (90, 40))[
            0
        ][0, 0, 0]
        for epoch in range(200)
    ]
    assert min(starts) < 0.02 and max(starts) > 0.88
    assert 0.35 < np.mean(starts) < 0.55
