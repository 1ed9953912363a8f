"""Scores of several objects and of identities, against other libraries and plain twins."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from placewise.metrics import (
    PoseImage,
    TrackedFrame,
    assigned,
    in_wrong_object,
    keypoints_right,
    object_areas,
    object_lengths,
    oks_map,
    oks_matrix,
    right_keypoints,
    track_scores,
    wrong_animal_rate,
)


def image_of(rng, keypoints, axes=2, side=200.0):
    """Objects at random places, of which most are predicted, some twice and some not at all."""
    truth = side * rng.random((rng.integers(0, 4), keypoints, axes))
    truth[rng.random(truth.shape[:2]) < 0.2] = np.nan
    truth = truth[np.isfinite(truth).any((1, 2))]
    areas = rng.uniform(300, 9000, len(truth))
    found = np.concatenate([truth, truth[:1], side * rng.random((1, keypoints, axes))])
    found = found[rng.random(len(found)) < 0.8]
    found = np.where(np.isnan(found), side * rng.random(found.shape), found)
    found += rng.normal(0, rng.choice([0.0, 3.0, 8.0]), found.shape)
    scores = rng.integers(0, 5, len(found)) / 5
    return PoseImage(truth, areas, np.sqrt(areas), found, scores)


def coco_map(images, sigma, keypoints):
    """OKS-mAP, AP50 and AP75 as faster-coco-eval has them."""
    module = pytest.importorskip("faster_coco_eval")
    labelled, results = [], []
    for number, one in enumerate(images, 1):
        for points, area in zip(one.truth, one.areas, strict=True):
            seen = np.isfinite(points).all(1)
            cells = np.column_stack([np.nan_to_num(points), 2 * seen]).ravel().tolist()
            held = {"id": len(labelled) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            box = {"bbox": [0, 0, 9, 9], "area": float(area), "num_keypoints": int(seen.sum())}
            labelled.append({**held, **box, "keypoints": cells})
        for points, score in zip(one.found, one.scores, strict=True):
            cells = np.column_stack([points, np.ones(len(points))]).ravel().tolist()
            held = {"image_id": number, "category_id": 1, "score": float(score)}
            results.append({**held, "keypoints": cells})
    content = {
        "info": {},
        "images": [{"id": n, "width": 200, "height": 200} for n in range(1, len(images) + 1)],
        "categories": [{"id": 1, "name": "fly", "keypoints": list(map(str, range(keypoints)))}],
        "annotations": labelled,
    }
    truth = module.COCO(content)
    if not labelled:
        return None
    if not results:
        return 0.0, 0.0, 0.0
    judge = module.COCOeval_faster(
        truth, truth.loadRes(results), "keypoints", kpt_oks_sigmas=[sigma] * keypoints
    )
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return tuple(judge.stats[:3])


def test_oks_map_is_that_of_coco():
    """200 random sets, some without labels, some without predictions."""
    rng, compared = np.random.default_rng(0), 0
    for _ in range(200):
        keypoints, sigma = int(rng.integers(1, 6)), float(rng.choice([0.02, 0.05, 0.1]))
        images = [image_of(rng, keypoints) for _ in range(rng.integers(1, 5))]
        ours, theirs = oks_map(images, sigma), coco_map(images, sigma, keypoints)
        if theirs is None:
            assert ours["oks_map"] is None
            continue
        compared += 1
        assert np.allclose([ours["oks_map"], ours["ap_50"], ours["ap_75"]], theirs, 0, 1e-9)
    assert compared > 150


def plain_oks(found, truth, area, sigma):
    """OKS of two objects, keypoint by keypoint."""
    values = []
    for predicted, labelled in zip(found, truth, strict=True):
        if np.isfinite(labelled).all():
            squared = sum((a - b) ** 2 for a, b in zip(predicted, labelled, strict=True))
            near = np.exp(-squared / (2 * area * (2 * sigma) ** 2))
            values.append(0.0 if np.isnan(squared) else near)
    return float(np.mean(values)) if values else 0.0


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_oks_matrix_is_its_plain_twin(axes):
    """Also where keypoints are missing on either side."""
    rng = np.random.default_rng(axes)
    for _ in range(20):
        one = image_of(rng, 4, axes)
        found = np.where(rng.random(one.found.shape[:2])[..., None] < 0.2, np.nan, one.found)
        plain = [
            [plain_oks(f, t, a, 0.05) for t, a in zip(one.truth, one.areas, strict=True)]
            for f in found
        ]
        got = oks_matrix(found, one.truth, one.areas)
        assert np.allclose(got, np.reshape(plain, got.shape), 0, 1e-12)


def test_assigned_has_the_largest_sum():
    """Against every permutation; what is left over goes where it resembles most."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        similarity = rng.random((4, 3)) * (rng.random((4, 3)) < 0.7)
        own = assigned(similarity)
        best = max(
            sum(similarity[row, column] for column, row in enumerate(rows))
            for rows in permutations(range(4), 3)
        )
        once = [max(similarity[own == c, c], default=0.0) for c in range(3)]
        assert sum(once) >= best - 1e-12
        assert ((own >= 0) == (similarity.max(1) > 0)).all()


def plain_counts(one, share):
    """Right, labelled, wrong and predicted keypoints, one by one."""
    own = assigned(oks_matrix(one.found, one.truth, one.areas))
    counts = np.zeros(4, int)

    def near(f, t, k):
        apart = np.linalg.norm(one.found[f, k] - one.truth[t, k])
        return apart <= share * one.lengths[t]

    for t in range(len(one.truth)):
        for k in np.flatnonzero(np.isfinite(one.truth[t]).all(-1)):
            first = next((f for f in range(len(one.found)) if own[f] == t), None)
            counts[:2] += (first is not None and near(first, t, k), 1)
    for f in range(len(one.found)):
        for k in np.flatnonzero(np.isfinite(one.found[f]).all(-1)):
            others = any(near(f, t, k) for t in range(len(one.truth)) if t != own[f])
            at_home = own[f] >= 0 and near(f, own[f], k)
            counts[2:] += (others and not at_home, 1)
    return counts


def test_shares_are_those_of_a_plain_count():
    """PCK and wrong-animal rate over images, also where predictions miss keypoints."""
    rng = np.random.default_rng(5)
    images = [image_of(rng, 3, side=40.0) for _ in range(60)]
    right, labelled, wrong, predicted = sum(plain_counts(one, 0.3) for one in images)
    assert keypoints_right(images, 0.3) == pytest.approx(right / labelled, abs=1e-12)
    assert wrong_animal_rate(images, 0.3) == pytest.approx(wrong / predicted, abs=1e-12)
    assert 0.02 < wrong / predicted < 0.5
    nothing = [PoseImage(*np.zeros((1, 0, 3, 2)), *np.zeros((2, 0)), *np.zeros((1, 0, 3, 2)), [])]
    assert keypoints_right(nothing, 0.1) is None and wrong_animal_rate(nothing, 0.1) is None


def test_a_missing_keypoint_is_neither_right_nor_wrong():
    """It counts among the labelled ones only."""
    truth = np.array([[[0.0, 0.0], [9.0, 0.0]], [[0.0, 20.0], [9.0, 20.0]]])
    found = np.array([[[0.0, 0.0], [np.nan, np.nan]]])
    own, tolerances = np.array([0]), np.array([1.0, 1.0])
    assert right_keypoints(found, truth, own, tolerances).tolist() == [[1, 0], [0, 0]]
    assert np.isnan(in_wrong_object(found, truth, own, tolerances)[0, 1])


def test_areas_and_lengths():
    """Those of the labels come first; a thin object and one keypoint alone."""
    truth = np.array([[[0, 0], [10, 0]], [[0, 0], [4, 5]], [[1, 1], [np.nan, np.nan]]], float)
    assert np.array_equal(object_areas(truth), [30, 20, np.nan], equal_nan=True)
    assert object_areas(truth, np.array([7, np.nan, 5.0])).tolist() == [7, 20, 5]
    assert np.isnan(object_lengths(truth)).tolist() == [False, False, True]
    assert object_lengths(truth, (0, 1))[0] == 10
    cube = np.array([[[0, 0, 0], [8, 8, 8]]], float)
    assert object_areas(cube) == pytest.approx(64)


def test_track_scores_are_those_of_motmetrics():
    """MOTA, IDF1 and switches of random sequences with births, deaths and false alarms."""
    motmetrics = pytest.importorskip("motmetrics")
    rng = np.random.default_rng(0)
    names = ["mota", "idf1", "num_switches", "num_misses", "num_false_positives"]
    switches = 0
    for _ in range(30):
        judge, frames = motmetrics.MOTAccumulator(auto_id=True), []
        for _ in range(rng.integers(1, 25)):
            truth = np.sort(rng.choice(4, rng.integers(0, 5), replace=False))
            found = np.sort(rng.choice(5, rng.integers(0, 5), replace=False)) + 10
            apart = rng.random((len(truth), len(found)))
            apart[apart > 0.6] = np.nan
            judge.update(truth.tolist(), found.tolist(), apart.copy())
            frames.append(TrackedFrame(truth, found, apart))
        ours = track_scores(frames)
        table = motmetrics.metrics.create().compute(judge, metrics=names, name="all")
        theirs = table.loc["all"].to_numpy(float)
        got = [ours[k] for k in ("mota", "idf1", "identity_switches", "missed", "extra")]
        switches += ours["identity_switches"]
        if ours["objects"]:
            assert np.allclose(got, theirs, 0, 1e-9)
        else:
            assert got[:2] == [None, None] and got[2:] == theirs[2:].tolist()
    assert switches > 100
