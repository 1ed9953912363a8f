"""Scores of masks against slow twins and against other libraries, the empty ones too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from placewise.metrics import (
    BORDER_EDGES,
    THIN,
    MaskCounts,
    best_threshold,
    boundary_f1,
    cldice,
    counted,
    dice,
    edge,
    hd95,
    iou,
    nsd,
    pieces,
    skeleton,
    surface_distances,
    thin_recall,
)

CASES = 200
SIZES = {1: (23,), 2: (14, 17), 3: (7, 9, 8)}


def pairs(axes: int, cases: int = CASES) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random masks of smooth blobs; every fifth pair has one that is empty."""
    from scipy import ndimage

    rng = np.random.default_rng(axes)
    for case in range(cases):
        noise = [ndimage.gaussian_filter(rng.normal(size=SIZES[axes]), 1.2) for _ in range(2)]
        truth = noise[0] > np.quantile(noise[0], rng.uniform(0.5, 0.95))
        found = (noise[0] + 0.7 * noise[1]) > np.quantile(noise[0], rng.uniform(0.5, 0.95))
        if case % 5 == 0:
            truth &= case % 15 != 0
            found &= case % 10 != 0
        yield truth, found


def same(one: float | None, other: float | None) -> bool:
    if one is None or other is None or math.isnan(other):
        return one is None and (other is None or math.isnan(other))
    return bool(abs(one - other) < 1e-9)


# --- slow twins -----------------------------------------------------------------------------------


def slow_edge(mask: np.ndarray) -> set[tuple[int, ...]]:
    found = set()
    for place in zip(*np.nonzero(mask), strict=True):
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            other = list(map(int, place))
            other[axis] += step
            if not 0 <= other[axis] < mask.shape[axis] or not mask[tuple(other)]:
                found.add(tuple(map(int, place)))
    return found


def slow_distances(one: set, two: set, spacing: tuple[float, ...]) -> list[float]:
    return [
        min(math.dist(np.multiply(a, spacing), np.multiply(b, spacing)) for b in two)
        for a in sorted(one)
    ]


MANY = [15, pytest.param(CASES, marks=pytest.mark.slow)]
"""Cases of what takes long: some always, all in the long form."""


@pytest.mark.parametrize("cases", MANY)
@pytest.mark.parametrize("axes", SIZES)
def test_surfaces_are_those_of_the_slow_twin(axes: int, cases: int) -> None:
    spacing = (1.0, 0.7, 2.5)[:axes]
    for truth, found in pairs(axes, cases):
        one, two = slow_edge(truth), slow_edge(found)
        assert set(zip(*(a.tolist() for a in np.nonzero(edge(truth))), strict=True)) == one
        if not (one and two):
            assert hd95(truth, found, spacing) is None
            continue
        there, back = slow_distances(one, two, spacing), slow_distances(two, one, spacing)
        got = surface_distances(truth, found, spacing)
        np.testing.assert_allclose(got[0], there, atol=1e-9)
        np.testing.assert_allclose(got[1], back, atol=1e-9)
        far = max(np.percentile(there, 95), np.percentile(back, 95))
        assert same(hd95(truth, found, spacing), far)
        near = [sum(d <= 1.5 for d in part) for part in (there, back)]
        fit = counted(truth, found, spacing=spacing, tolerance=1.5, lines=False)
        assert same(nsd(fit), sum(near) / (len(there) + len(back)))
        recall, precision = near[0] / len(there), near[1] / len(back)
        both = 2 * precision * recall / (precision + recall) if precision and recall else 0.0
        assert same(boundary_f1(fit), both)


@pytest.mark.parametrize("axes", SIZES)
def test_overlap_and_lines_are_those_of_their_formulas(axes: int) -> None:
    for truth, found in pairs(axes):
        fit = counted(truth, found)
        both, one, two = int((truth & found).sum()), int(truth.sum()), int(found.sum())
        assert same(dice(fit), 2 * both / (one + two) if one + two else None)
        assert same(iou(fit), both / (one + two - both) if one + two else None)
        line, other = skeleton(truth), skeleton(found)
        if not (one or two):
            assert cldice(fit) is None
        elif not (one and two):
            assert cldice(fit) == 0.0
        else:
            precision, recall = (
                (other & truth).sum() / other.sum(),
                (line & found).sum() / line.sum(),
            )
            total = precision + recall
            assert same(cldice(fit), 2 * precision * recall / total if total else 0.0)


def test_thin_parts_are_found_by_the_distance_to_what_is_outside() -> None:
    for truth, found in pairs(2, 40):
        fit = counted(truth, found)
        outside = [tuple(p) for p in np.argwhere(~np.pad(truth, 1)).tolist()]
        line = np.argwhere(skeleton(truth)).tolist()
        widths = [2 * min(math.dist((y + 1, x + 1), o) for o in outside) - 1 for y, x in line]
        for most in THIN:
            thin = [found[y, x] for (y, x), w in zip(line, widths, strict=True) if w <= most]
            assert same(thin_recall(fit, most), np.mean(thin).item() if thin else None)


def test_pieces_are_those_of_a_walk() -> None:
    for truth, _ in pairs(3, 40):
        left, count = {tuple(p) for p in np.argwhere(truth).tolist()}, 0
        while left:
            waiting, count = [left.pop()], count + 1
            while waiting:
                at = waiting.pop()
                near = {p for p in left if max(abs(a - b) for a, b in zip(at, p, strict=True)) < 2}
                left -= near
                waiting += near
        assert pieces(truth) == count


def test_the_best_threshold_is_that_of_trying_all() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        chances = rng.integers(0, 21, (2, 60)) / 20
        truths = rng.integers(-1, 2, (2, 60))
        known = truths >= 0
        tried = {}
        for k in range(20):
            seen = chances[known] > k / 20
            true = truths[known] > 0
            tried[k] = 2 * (seen & true).sum() / (seen.sum() + true.sum())
        threshold, score = best_threshold(list(chances), list(truths), steps=20)
        good = [k for k, value in tried.items() if value == max(tried.values())]
        assert score is not None
        assert abs(score - max(tried.values())) < 1e-12
        assert threshold == pytest.approx((good[0] + good[-1]) / 2 / 20)
    assert best_threshold([np.ones(3)], [np.array([0, 0, -1])]) == (0.5, None)


# --- laws -----------------------------------------------------------------------------------------


def test_what_is_ignored_is_in_no_number_and_gives_no_edge() -> None:
    rng = np.random.default_rng(9)
    for truth, found in pairs(2, 40):
        known = rng.random(truth.shape) < 0.8
        fit = counted(truth, found, known)
        other = counted(truth ^ ~known, found | ~known, known)
        np.testing.assert_array_equal(fit.counts, other.counts)
        assert fit.hd95 == other.hd95
    whole = np.ones((6, 8), bool)
    known = np.ones_like(whole)
    known[:, 4:] = False
    assert not edge(whole & known, known)[1:-1, 3].any()


def test_bands_add_up_and_images_pool() -> None:
    total: MaskCounts | None = None
    for truth, found in pairs(2, 20):
        fit = counted(truth, found)
        assert sum(fit.of("both", band) for band in range(fit.counts.shape[1])) == fit.of("both")
        total = fit if total is None else total + fit
    both = sum(int((t & f).sum()) for t, f in pairs(2, 20))
    sizes = sum(int(t.sum() + f.sum()) for t, f in pairs(2, 20))
    assert total is not None
    assert same(dice(total), 2 * both / sizes)
    assert total.missed + total.invented + total.empty + len(total.hd95) == 20


@pytest.mark.parametrize("axes", SIZES)
def test_scores_turn_with_the_masks(axes: int) -> None:
    for truth, found in pairs(axes, 10):
        for axis in range(axes):
            one, two = counted(truth, found), counted(np.flip(truth, axis), np.flip(found, axis))
            for score in (dice, iou, nsd, boundary_f1):
                assert same(score(one), score(two))
            assert len(one.hd95) == len(two.hd95)
            np.testing.assert_allclose(one.hd95, two.hd95, atol=1e-9)
            swapped = counted(found, truth)
            assert same(dice(one), dice(swapped))
            assert same(nsd(one), nsd(swapped))


# --- other libraries ------------------------------------------------------------------------------


def monai_case(metric: Callable, truth: np.ndarray, found: np.ndarray, **more: object) -> float:
    import torch

    one, two = (torch.from_numpy(m.astype(np.float32))[None, None] for m in (found, truth))
    return float(metric(one, two, include_background=True, **more).item())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("cases", MANY)
@pytest.mark.parametrize("axes", [2, 3])
def test_surfaces_are_those_of_monai(axes: int, cases: int) -> None:
    monai = pytest.importorskip("monai.metrics", reason="monai is not installed")
    spacing = [1.0, 0.7, 2.5][:axes]
    for truth, found in pairs(axes, cases):
        if not (truth.any() and found.any()):
            continue
        fit = counted(truth, found, spacing=spacing, tolerance=1.5, lines=False)
        far = monai_case(
            monai.compute_hausdorff_distance, truth, found, percentile=95, spacing=spacing
        )
        assert abs(fit.hd95[0] - far) < 1e-5  # monai answers in float32
        share = monai_case(
            monai.compute_surface_dice, truth, found, class_thresholds=[1.5], spacing=spacing
        )
        assert abs((nsd(fit) or 0.0) - share) < 1e-6
        overlap = monai_case(monai.compute_dice, truth, found)
        assert abs((dice(fit) or 0.0) - overlap) < 1e-6


def test_iou_is_that_of_the_coco_tools() -> None:
    tools = pytest.importorskip(
        "faster_coco_eval.core.mask", reason="faster-coco-eval is not installed"
    )
    for truth, found in pairs(2):
        if not (truth.any() or found.any()):
            continue
        codes = [tools.encode(np.asfortranarray(m.astype(np.uint8))) for m in (found, truth)]
        expected = float(tools.iou([codes[0]], [codes[1]], [0])[0, 0])
        assert same(iou(counted(truth, found, lines=False)), expected)


def test_a_mask_of_one_bit_makes_a_skeleton() -> None:
    """Pillow gives bool arrays whose bytes are 255, on which scikit-image fails."""
    raw = np.zeros((9, 9), np.uint8)
    raw[3:6, 1:8] = 255
    odd = raw.view(np.bool_)
    np.testing.assert_array_equal(skeleton(odd), skeleton(raw > 0))
    assert 0 < skeleton(odd).sum() < 21


def test_what_thinning_wears_away_altogether_keeps_its_middle() -> None:
    """A cube has no skeleton; a perfect mask of it has a clDice all the same, and a missed one."""
    mask = np.zeros((12, 12, 12), bool)
    mask[3:9, 3:9, 3:9] = True
    assert not skeleton(mask).any(), "the library keeps something: the case is no longer one"
    assert cldice(counted(mask, mask)) == 1.0
    assert cldice(counted(mask, np.zeros_like(mask))) == 0.0


def test_a_band_without_the_skeleton_of_a_mask_says_nothing_of_it() -> None:
    """The object is cut by the border: what is compared lies farther in, and nothing is wrong."""
    pytest.importorskip("skimage")
    truth, found = np.zeros((80, 80), bool), np.zeros((80, 80), bool)
    truth[30:50, :24] = True
    found[30:50, :23] = True
    found[38:42, :3] = False  # so that the skeletons end elsewhere
    fit = counted(truth, found)
    bands = range(len(BORDER_EDGES) - 1)
    unknown = [b for b in bands if fit.of("truth", b) and not fit.of("line_truth", b)]
    assert unknown, "a band that the object crosses and its skeleton does not"
    assert [cldice(fit, band) for band in unknown] == [None] * len(unknown)
    assert cldice(fit) is not None and dice(fit, unknown[0]) is not None
