"""Scores of objects that are outlined: which are found, how well, and which are merged.

A label map has a whole number for each pixel: 0 is background, −1 is not known (in a truth), and
any other number is an object. The pairs of a truth and a prediction that share pixels come from one
count over the pixels, so crowded images of any size and of 1, 2 or 3 axes cost one sort.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError, ShapeError
from placewise.geometry import FloatArray, border_distance
from placewise.metrics._distances import BORDER_EDGES

Index = NDArray[np.intp]

IOUS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""Overlaps from which an object counts as found: 0.5, 0.55, … 0.95."""

LEAST_IOU = 0.5
"""Below it an object could be found twice, and matching would have to be an assignment problem."""

HALF = 0.5
"""Share of an object above which it lies in another, or in what is not known."""


@dataclass(frozen=True)
class Overlap:
    """Which true and predicted objects of an image share pixels.

    Attributes:
        true_areas: (n,) pixels of each true object, in the order of the numbers.
        found_areas: (m,) pixels of each predicted object.
        rows: (pairs,) true object of each pair that shares pixels.
        columns: (pairs,) predicted object of each.
        shared: (pairs,) pixels that it shares.
        true_numbers: (n,) numbers of the true objects in their label map.
        found_numbers: (m,) numbers of the predicted ones.
    """

    true_areas: Index
    found_areas: Index
    rows: Index
    columns: Index
    shared: Index
    true_numbers: NDArray[np.int64]
    found_numbers: NDArray[np.int64]

    @property
    def iou(self) -> FloatArray:
        """(pairs,) intersection over union."""
        both = self.true_areas[self.rows] + self.found_areas[self.columns]
        ious: FloatArray = self.shared / (both - self.shared)
        return ious

    @property
    def counts(self) -> tuple[int, int]:
        """(true, predicted) objects."""
        return len(self.true_areas), len(self.found_areas)

    def matched(self, least: float = LEAST_IOU) -> Index:
        """Pairs that are the same object: IoU ≥ `least`, each object in one pair at most.

        From 0.5 on, two predictions can only both reach the overlap with one object if each is one
        half of it, exactly; so every largest choice of pairs has the same IoUs.

        Args:
            least: 0.5 or more.

        Returns:
            Numbers of the pairs.

        Raises:
            SettingsError: below 0.5 pairs are not unique.
        """
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_bipartite_matching

        if least < LEAST_IOU:
            raise SettingsError(f"got an IoU of {least}; objects are matched from 0.5 on")
        able = np.flatnonzero(self.iou >= least)
        rows, columns = self.rows[able], self.columns[able]
        if len(np.unique(rows)) == len(np.unique(columns)) == len(able):
            return able
        graph = csr_array((np.arange(1, len(able) + 1), (rows, columns)), shape=self.counts)
        partner = maximum_bipartite_matching(graph, perm_type="column")
        kept: Index = able[partner[rows] == columns]
        return kept


def overlap(truth: NDArray[np.integer], found: NDArray[np.integer]) -> Overlap:
    """Which objects of two label maps share pixels.

    Pixels of which the truth knows nothing (below 0) count for nobody, and a predicted object that
    lies mostly there is left out.

    Args:
        truth: (*size) label map.
        found: (*size) label map.

    Raises:
        ShapeError: the two are of different sizes.

    Example:
        >>> truth, found = np.array([0, 1, 1, 1, 2]), np.array([0, 0, 3, 3, 3])
        >>> pairs = overlap(truth, found)
        >>> pairs.iou.round(3).tolist(), pairs.counts
        ([0.5, 0.333], (2, 1))
    """
    if truth.shape != found.shape:
        raise ShapeError(
            f"got label maps of {truth.shape} and {found.shape}; they must be of one image"
        )
    known = truth >= 0
    true_pixels, found_pixels = truth[known], found[known]
    first, length = _runs(true_pixels, found_pixels)
    true_numbers, a = np.unique(true_pixels[first], return_inverse=True)
    found_numbers, b = np.unique(found_pixels[first], return_inverse=True)
    count = len(found_numbers)
    keys, run = np.unique(a * count + b, return_inverse=True)
    shared = np.bincount(run, length, len(keys)).astype(np.intp)
    rows, columns = keys // max(count, 1), keys % max(count, 1)
    true_areas = np.bincount(rows, shared, len(true_numbers)).astype(np.intp)
    found_areas = np.bincount(columns, shared, count).astype(np.intp)
    lost = _mostly_unknown(found, known, found_numbers, found_areas)
    true_there, found_there = true_numbers > 0, (found_numbers > 0) & ~lost
    pairs = true_there[rows] & found_there[columns]
    return Overlap(
        true_areas[true_there],
        found_areas[found_there],
        (np.cumsum(true_there) - 1)[rows[pairs]],
        (np.cumsum(found_there) - 1)[columns[pairs]],
        shared[pairs],
        true_numbers[true_there].astype(np.int64),
        found_numbers[found_there].astype(np.int64),
    )


def _runs(a: NDArray[np.integer], b: NDArray[np.integer]) -> tuple[Index, Index]:
    """(first, length) of the runs in which neither of two equally long arrays changes."""
    changes = np.flatnonzero((np.diff(a) != 0) | (np.diff(b) != 0)) + 1
    first = np.concatenate([np.zeros(min(1, len(a)), np.intp), changes])
    return first, np.diff(first, append=len(a))


def _mostly_unknown(
    found: NDArray[np.integer],
    known: NDArray[np.bool_],
    numbers: NDArray[np.integer],
    areas: Index,
) -> NDArray[np.bool_]:
    """(m,) whether less than half of an object's pixels are known."""
    hidden = found[~known]
    hidden = hidden[np.isin(hidden, numbers)]
    outside = np.bincount(np.searchsorted(numbers, hidden), minlength=len(numbers))
    return np.asarray(outside > HALF * (areas + outside))


def touching_pairs(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pairs of objects of which a pixel lies beside a pixel of the other, also corner to corner.

    Args:
        labels: (*size) label map.

    Returns:
        (pairs, 2) numbers, the smaller one first, in ascending order.

    Example:
        >>> touching_pairs(np.array([[1, 1, 0, 3], [0, 2, 0, 3]])).tolist()
        [[1, 2]]
    """
    found = []
    for step in product((-1, 0, 1), repeat=labels.ndim):
        if step <= (0,) * labels.ndim:
            continue
        here = labels[tuple(slice(max(0, -s), min(0, -s) or None) for s in step)]
        there = labels[tuple(slice(max(0, s), min(0, s) or None) for s in step)]
        beside = (here != there) & (here > 0) & (there > 0)
        found.append(np.stack([here[beside], there[beside]], -1))
    pairs = np.sort(np.concatenate(found).astype(np.int64), axis=1)
    return np.unique(pairs, axis=0)


def at_border(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Numbers of the objects that touch the border of the image, in ascending order.

    Example:
        >>> at_border(np.array([[0, 0, 0], [4, 7, 0], [0, 0, 0]])).tolist()
        [4]
    """
    edges = [np.take(labels, end, axis).ravel() for axis in range(labels.ndim) for end in (0, -1)]
    numbers = np.unique(np.concatenate(edges)).astype(np.int64)
    return numbers[numbers > 0]


def object_centres(labels: NDArray[np.integer], numbers: NDArray[np.integer]) -> FloatArray:
    """(n, axes) of (x, y, …): mean place of the pixels of each object.

    Args:
        labels: (*size) label map.
        numbers: (n,) of objects that are there, in ascending order.

    Example:
        >>> object_centres(np.array([[0, 5, 5]]), np.array([5])).tolist()
        [[1.5, 0.0]]
    """
    there = np.isin(labels, numbers)
    places = np.argwhere(there)[:, ::-1]
    which = np.searchsorted(numbers, labels[there])
    areas = np.bincount(which, minlength=len(numbers))
    sums = [np.bincount(which, along, len(numbers)) for along in places.T]
    centres: FloatArray = np.stack(sums, -1) / areas.clip(1)[:, None]
    return centres


def image_ap(truth: NDArray[np.integer], found: NDArray[np.integer]) -> float:
    """TP / (TP + FP + FN) of one image at an IoU of 0.5; NaN where nothing is to be found.

    Example:
        >>> image_ap(np.array([1, 1, 0, 2]), np.array([5, 5, 5, 0]))
        0.5
    """
    pairs = overlap(truth, found)
    hits, total = len(pairs.matched()), sum(pairs.counts)
    return hits / (total - hits) if total else float("nan")


def instance_table(
    pairs: Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]],
) -> dict[str, Any]:
    """All scores of objects, as plain numbers that JSON can hold.

    Counts are pooled over the images, so that an object counts alike wherever it is.

    - `ap_at_iou`: TP / (TP + FP + FN), which papers on cells call average precision.
    - `f1`, `precision`, `recall` at an IoU of 0.5.
    - `pq` = `sq` · `rq`: mean IoU of the objects found, times F₁ (Kirillov et al. 2019, arXiv
      1801.00868), here with IoU ≥ 0.5.
    - `counting_mae`, `counting_bias`: predicted less true number of objects of an image.
    - `touching`: pairs of true objects that touch: *separated* if each is found, *merged* if most
      of both lies in one predicted object.
    - `by_border_distance`, `at_border`: the same counts by where objects are; a false one counts
      where it is itself.

    Args:
        pairs: (truth, prediction) label maps of each image.

    Example:
        >>> table = instance_table([(np.array([1, 1, 0, 2]), np.array([5, 5, 5, 0]))])
        >>> table["ap_at_iou"]["0.50"], table["counting_mae"]
        (0.5, 1.0)
    """
    images = [_Counts.of(truth, found) for truth, found in pairs]
    counts = np.array([one.counts for one in images], np.int64).reshape(-1, 2)
    hits = np.array([one.hits for one in images], np.int64).reshape(-1, len(IOUS)).sum(0)
    true, found = (int(total) for total in counts.sum(0))
    off = (counts[:, 1] - counts[:, 0]).tolist()
    quality = sum(one.quality for one in images)
    first = int(hits[0])
    return {
        "images": len(images),
        "objects": true,
        "predicted": found,
        "ap_at_iou": {
            f"{iou:.2f}": _share(int(tp), true + found - int(tp))
            for iou, tp in zip(IOUS, hits, strict=True)
        },
        "mean_ap": _mean([_share(int(tp), true + found - int(tp)) for tp in hits]),
        "f1": _share(2 * first, true + found),
        "precision": _share(first, found),
        "recall": _share(first, true),
        "pq": _share(2 * quality, true + found),
        "sq": _share(quality, first),
        "rq": _share(2 * first, true + found),
        "counting_mae": _mean([abs(value) for value in off]),
        "counting_bias": _mean(off),
        "touching": _touching(images),
        **_where(images),
    }


@dataclass(frozen=True)
class _Counts:
    """What is counted on one image.

    Attributes:
        counts: (true, predicted) objects.
        hits: true positives at each of `IOUS`.
        quality: sum of the IoUs of those at 0.5.
        touching: pairs of true objects that touch: (all, separated, merged).
        places: rows of (kind, share of the way from border to middle, touches the border) of the
            true positives (0), false ones (1) and missed ones (2).
    """

    counts: tuple[int, int]
    hits: list[int]
    quality: float
    touching: tuple[int, int, int]
    places: FloatArray

    @classmethod
    def of(cls, truth: NDArray[np.integer], found: NDArray[np.integer]) -> _Counts:
        pairs = overlap(truth, found)
        first = pairs.matched()
        hits = [len(pairs.matched(iou)) for iou in IOUS]
        quality = float(pairs.iou[first].sum())
        touching = _separated(pairs, first, truth)
        return cls(pairs.counts, hits, quality, touching, _places(pairs, first, truth, found))


def _separated(pairs: Overlap, first: Index, truth: NDArray[np.integer]) -> tuple[int, int, int]:
    """Pairs of true objects that touch: all, separated, merged."""
    touching = np.searchsorted(pairs.true_numbers, touching_pairs(truth))
    hit = np.zeros(len(pairs.true_areas), bool)
    hit[pairs.rows[first]] = True
    home = np.full(len(pairs.true_areas), -1)
    most = pairs.shared > HALF * pairs.true_areas[pairs.rows]
    home[pairs.rows[most]] = pairs.columns[most]
    a, b = touching.T
    merged = (home[a] == home[b]) & (home[a] >= 0)
    return len(touching), int((hit[a] & hit[b]).sum()), int(merged.sum())


def _places(
    pairs: Overlap, first: Index, truth: NDArray[np.integer], found: NDArray[np.integer]
) -> FloatArray:
    """Where the objects are; see `_Counts.places`."""
    missed = np.delete(pairs.true_numbers, pairs.rows[first])
    false = np.delete(pairs.found_numbers, pairs.columns[first])
    rows = []
    for kind, (labels, numbers) in enumerate(
        ((truth, np.sort(pairs.true_numbers[pairs.rows[first]])), (found, false), (truth, missed))
    ):
        far = border_distance(object_centres(labels, numbers), labels.shape)
        share = (2 * far / min(labels.shape)).clip(0, 1)
        cut = np.isin(numbers, at_border(labels))
        rows.append(np.stack([np.full(len(numbers), float(kind)), share, cut], -1))
    return np.concatenate(rows)


def _where(images: Sequence[_Counts]) -> dict[str, Any]:
    """Scores by where objects are."""
    places = np.concatenate([np.empty((0, 3)), *(one.places for one in images)])
    band = np.digitize(places[:, 1], BORDER_EDGES[1:-1])
    bands = [
        {"from_share": low, "to_share": high, **_scored(places[band == number, 0])}
        for number, (low, high) in enumerate(pairwise(BORDER_EDGES))
    ]
    cut = places[:, 2] == 1
    return {
        "by_border_distance": bands,
        "at_border": _scored(places[cut, 0]),
        "inside": _scored(places[~cut, 0]),
    }


def _scored(kinds: FloatArray) -> dict[str, Any]:
    """Scores of some objects at an IoU of 0.5: found (0), false (1) and missed (2)."""
    hit, false, missed = (int((kinds == kind).sum()) for kind in range(3))
    return {
        "count": hit + missed,
        "ap": _share(hit, hit + false + missed),
        "precision": _share(hit, hit + false),
        "recall": _share(hit, hit + missed),
    }


def _touching(images: Sequence[_Counts]) -> dict[str, Any]:
    pairs, separated, merged = np.array([one.touching for one in images] or [(0, 0, 0)]).sum(0)
    return {
        "pairs": int(pairs),
        "separated": _share(int(separated), int(pairs)),
        "merged": _share(int(merged), int(pairs)),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
