"""Scores of outlined objects against plain twins and an oracle, empty ones too."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from placewise.errors import SettingsError, ShapeError
from placewise.metrics import image_ap, instance_table
from placewise.metrics._instances import (
    IOUS,
    at_border,
    object_centres,
    overlap,
    touching_pairs,
)

CASES = 200
IMAGE = (24, 30)


def blobs(rng, size=IMAGE):
    """A label map of rectangles over each other, with gaps in the numbers; often crowded."""
    labels = np.zeros(size, np.int32)
    for number in rng.permutation(40)[: rng.integers(0, 12)] + 1:
        at = [rng.integers(0, side) for side in size]
        labels[tuple(slice(a, a + rng.integers(2, 9)) for a in at)] = number
    return labels


def pair(seed, size=IMAGE):
    """A truth and a prediction that resembles it: moved, split, merged, lost, or new."""
    rng = np.random.default_rng(seed)
    truth = blobs(rng, size)
    if seed % 10 == 0:
        return truth, np.zeros_like(truth)
    if seed % 10 == 1:
        return np.zeros_like(truth), blobs(rng, size)
    if seed % 50 == 2:
        return np.zeros_like(truth), np.zeros_like(truth)
    found = np.roll(truth, rng.integers(-1, 2, len(size)), range(len(size)))
    for number in np.unique(found)[1:]:
        where = found == number
        if rng.random() < 0.2:
            found[where & (np.arange(size[0])[:, None] % 2 == 0)] = 100 + number
        if rng.random() < 0.2:
            found[where] = rng.integers(0, 40)
    return truth, found


def dense_iou(truth, found):
    """(n, m) IoU of every pair, mask by mask."""
    a = [truth == number for number in np.unique(truth[truth > 0])]
    b = [found == number for number in np.unique(found[found > 0])]
    ious = [[(x & y).sum() / (x | y).sum() for y in b] for x in a]
    return np.array(ious).reshape(len(a), len(b))


def stardist_matching(iou, least):
    """As `stardist.matching` defines it: as many pairs as possible, then the largest sum of IoU."""
    if not iou.size:
        return 0, 0.0
    cost = -(iou >= least).astype(float) - iou / (2 * min(iou.shape))
    rows, columns = linear_sum_assignment(cost)
    kept = iou[rows, columns] >= least
    return int(kept.sum()), float(iou[rows, columns][kept].sum())


def test_pairs_and_matches_are_those_of_the_plain_twins():
    for seed in range(CASES):
        truth, found = pair(seed)
        pairs, dense = overlap(truth, found), dense_iou(truth, found)
        assert pairs.counts == dense.shape
        spread = np.zeros_like(dense)
        spread[pairs.rows, pairs.columns] = pairs.iou
        np.testing.assert_allclose(spread, dense, rtol=1e-9)
        for least in IOUS:
            hits, quality = stardist_matching(dense, least)
            chosen = pairs.matched(least)
            assert len(chosen) == hits
            assert len(set(pairs.rows[chosen])) == len(set(pairs.columns[chosen])) == hits
            np.testing.assert_allclose(pairs.iou[chosen].sum(), quality, rtol=1e-9)


def plain_table(cases):
    """The numbers of the table from dense matrices, image by image."""
    hits, quality, sides = dict.fromkeys(IOUS, 0), 0.0, []
    touching = np.zeros(3, int)
    for truth, found in cases:
        dense = dense_iou(truth, found)
        sides.append(dense.shape)
        for least in IOUS:
            hits[least] += stardist_matching(dense, least)[0]
        quality += stardist_matching(dense, 0.5)[1]
        touching += plain_touching(truth, found, dense)
    true, predicted = np.array(sides).sum(0)
    off = np.diff(sides)[:, 0]
    return {
        "ap_at_iou": {f"{t:.2f}": hits[t] / (true + predicted - hits[t]) for t in IOUS},
        "f1": hits[0.5] / (hits[0.5] + (predicted - hits[0.5]) / 2 + (true - hits[0.5]) / 2),
        "precision": hits[0.5] / predicted,
        "recall": hits[0.5] / true,
        "pq": quality / (hits[0.5] + (predicted - hits[0.5]) / 2 + (true - hits[0.5]) / 2),
        "sq": quality / hits[0.5],
        "counting_mae": np.abs(off).mean(),
        "counting_bias": off.mean(),
        "touching": {
            "pairs": touching[0],
            "separated": touching[1] / touching[0],
            "merged": touching[2] / touching[0],
        },
    }


def plain_touching(truth, found, dense):
    """Pairs that touch, by growing each object by a pixel."""
    numbers = [number for number in np.unique(truth) if number > 0]
    grown = {
        number: ndimage.binary_dilation(truth == number, np.ones((3, 3))) for number in numbers
    }
    counts = np.zeros(3, int)
    for i, j in combinations(range(len(numbers)), 2):
        if not (grown[numbers[i]] & (truth == numbers[j])).any():
            continue
        homes = [
            [
                f
                for f in np.unique(found)
                if f > 0 and 2 * ((truth == n) & (found == f)).sum() > size
            ]
            for n in (numbers[i], numbers[j])
            if (size := (truth == n).sum())
        ]
        best = dense[[i, j]].max(1, initial=0)
        counts += 1, int((best >= 0.5).all()), int(bool(homes[0]) and homes[0] == homes[1])
    return counts


def test_the_table_is_that_of_the_plain_twin():
    cases = [pair(seed) for seed in range(CASES)]
    table, plain = instance_table(cases), plain_table(cases)
    for name, value in plain.items():
        assert table[name] == pytest.approx(value, rel=1e-9), name
    assert table["rq"] == table["f1"]
    assert table["pq"] == pytest.approx(table["sq"] * table["rq"])
    for parts in (table["by_border_distance"], [table["at_border"], table["inside"]]):
        assert sum(part["count"] for part in parts) == table["objects"]


def test_coco_finds_the_same_objects():
    """Recall at each IoU by COCO's own matching, where every object has the same score."""
    coco = pytest.importorskip("faster_coco_eval", reason="oracle; pip install faster-coco-eval")
    cases = [pair(seed) for seed in range(60)]
    truth, found = (
        [
            {
                "id": 1 + 1000 * image + int(number),
                "image_id": image,
                "category_id": 1,
                "segmentation": coco.core.mask.encode(np.asfortranarray(one == number, np.uint8)),
                "area": int((one == number).sum()),
                "bbox": [0, 0, 1, 1],
                "iscrowd": 0,
                "score": 1.0,
            }
            for image, maps in enumerate(cases)
            for one in (maps[side],)
            for number in np.unique(one[one > 0])
        ]
        for side in (0, 1)
    )
    images = [{"id": k, "height": IMAGE[0], "width": IMAGE[1]} for k in range(len(cases))]
    labels = coco.COCO({"images": images, "annotations": truth, "categories": [{"id": 1}]})
    scored = coco.COCOeval_faster(labels, labels.loadRes(found), "segm")
    scored.params.maxDets = [1000]
    scored.evaluate()
    scored.accumulate()
    recall = scored.eval["recall"][:, 0, 0, 0]
    hits = [sum(len(overlap(*case).matched(least)) for case in cases) for least in IOUS]
    np.testing.assert_allclose(recall, np.array(hits) / len(truth), rtol=1e-9)


@pytest.mark.parametrize("size", [(40,), IMAGE, (7, 8, 9)])
def test_any_number_of_axes_and_any_numbers(size):
    rng = np.random.default_rng(1)
    truth, found = blobs(rng, size), blobs(rng, size)
    plain, moved = instance_table([(truth, found)]), truth.copy()
    assert plain["predicted"] > 0
    moved[truth > 0] = 1000 - truth[truth > 0]
    for other in ((moved, found), (np.flip(truth), np.flip(found))):
        table = instance_table([other])
        for name in ("ap_at_iou", "touching", "at_border", "inside", "counting_mae"):
            assert table[name] == plain[name], name
        assert table["pq"] == pytest.approx(plain["pq"])


def test_nothing_there_and_nothing_found_is_no_number():
    empty, one = np.zeros(IMAGE, int), np.ones(IMAGE, int)
    assert np.isnan(image_ap(empty, empty))
    assert image_ap(empty, one) == image_ap(one, empty) == 0 and image_ap(one, one) == 1
    table = instance_table([(empty, empty)])
    assert table["ap_at_iou"]["0.50"] is table["pq"] is table["f1"] is None
    assert table["counting_mae"] == 0 and table["touching"]["separated"] is None
    assert instance_table([(empty, empty), (one, one)])["ap_at_iou"]["0.95"] == 1
    assert instance_table([])["images"] == 0


def test_what_is_not_known_counts_for_nobody():
    truth = np.array([1, 1, 1, 1, -1, -1, -1, -1, 0, 0])
    found = np.array([5, 5, 5, 5, 5, 0, 7, 7, 0, 0])
    table = instance_table([(truth, found)])
    assert (table["predicted"], table["ap_at_iou"]["0.95"]) == (1, 1.0)
    half = np.array([0, 0, 0, 0, 0, 0, 0, 7, 7, 0])
    assert instance_table([(truth, half)])["predicted"] == 1, "as much of it is known as is not"


def test_where_objects_are():
    labels = np.zeros((9, 9), int)
    labels[0:3, 2:5], labels[4:7, 4:7] = 8, 3
    assert at_border(labels).tolist() == [8]
    assert object_centres(labels, np.array([3, 8])).tolist() == [[5, 5], [3, 1]]
    assert touching_pairs(labels).tolist() == []
    labels[3, 5] = 8
    assert touching_pairs(labels).tolist() == [[3, 8]]
    table = instance_table([(labels, np.where(labels == 3, 1, 0))])
    assert table["at_border"]["recall"] == 0 and table["inside"]["ap"] == 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ShapeError, match="one image"):
        overlap(np.zeros((3, 4), int), np.zeros((4, 3), int))
    with pytest.raises(SettingsError, match=r"0\.5 on"):
        overlap(np.ones(3, int), np.ones(3, int)).matched(0.4)
