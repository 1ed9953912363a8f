"""How well objects and their keypoints are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.geometry import PIXEL_CONVENTION, FloatArray
from placewise.labels import KeypointSample, Visibility
from placewise.metrics import (
    OKS_SIGMA,
    PoseImage,
    TrackedFrame,
    by_border_distance,
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
from placewise.report.run import kind_of
from placewise.task import Scored
from placewise.tasks.poses.prediction import PosePrediction
from placewise.wording import natural, share

TOLERANCE = 0.05
"""Share of an object's length within which a keypoint is right."""

SAME = 0.1
"""OKS from which on a predicted object may be a labelled one, for identities."""

LEAST_OKS = 0.5
"""OKS from which on a predicted object counts for a labelled one in OKS-mAP."""

STEPS = np.linspace(0.05, 0.95, 19)
"""Thresholds of scores that validation images choose from."""

Found = Sequence[PosePrediction]


@dataclass(frozen=True)
class Judged:
    """Labels and predictions of images on which something is labelled.

    Attributes:
        samples: the labels.
        found: all candidates of each.
        truth: (T, K, axes) labelled objects of each.
        states: (T, K) of `Visibility` of each.
        areas: (T,) of each.
        lengths: (T,) of each.
        tracks: (T,) identities of each; −1 where not known.
    """

    samples: Sequence[KeypointSample]
    found: Found
    truth: Sequence[FloatArray]
    states: Sequence[NDArray[np.int8]]
    areas: Sequence[FloatArray]
    lengths: Sequence[FloatArray]
    tracks: Sequence[NDArray[np.int64]]

    def images(self, found: Sequence[tuple[FloatArray, FloatArray]]) -> list[PoseImage]:
        """Labels beside predicted keypoints and the scores of their objects."""
        parts = zip(self.truth, self.areas, self.lengths, found, strict=True)
        return [PoseImage(truth, areas, lengths, *one) for truth, areas, lengths, one in parts]

    @property
    def kept(self) -> list[PoseImage]:
        """With the objects that are there."""
        kept = [one.kept for one in self.found]
        return self.images([(one.keypoints, one.instance_scores) for one in kept])

    @property
    def candidates(self) -> list[PoseImage]:
        """With all candidates and a place for each of their keypoints, as COCO has it."""
        return self.images([(one.places, one.instance_scores) for one in self.found])

    @property
    def nearest(self) -> list[PoseImage]:
        """With all candidates, their peaks given to the nearest centre."""
        return self.images(
            [
                (one.nearest if one.nearest is not None else one.keypoints, one.instance_scores)
                for one in self.found
            ]
        )


def judged(
    samples: Sequence[KeypointSample], found: Found, pair: tuple[int, int] | None = None
) -> Judged:
    """Labels beside predictions; images without any label are left out.

    Args:
        samples: the labels.
        found: a prediction for each.
        pair: numbers of two keypoints whose distance is the length of an object.
    """
    known = [i for i, sample in enumerate(samples) if sample.visibility.any()]
    parts = [(samples[i], np.asarray(samples[i].located.any(1))) for i in known]
    truth = [one.points[there] for one, there in parts]
    areas = [
        object_areas(points, None if one.areas is None else one.areas[there])
        for points, (one, there) in zip(truth, parts, strict=True)
    ]
    lengths = [object_lengths(points, pair) for points in truth]
    areas = _filled(areas)
    own = zip([one for one, _ in parts], (found[i] for i in known), truth, areas, strict=True)
    return Judged(
        [one for one, _ in parts],
        [_beyond_crowds(*one) for one in own],
        truth,
        [one.visibility[there] for one, there in parts],
        areas,
        _filled(lengths),
        [
            (np.full(len(there), -1) if one.tracks is None else one.tracks)[there]
            for one, there in parts
        ],
    )


def _beyond_crowds(
    sample: KeypointSample, one: PosePrediction, truth: FloatArray, areas: FloatArray
) -> PosePrediction:
    """Predictions without those in a crowd that are not a labelled object.

    Nobody has labelled the objects of a crowd one by one, so these are neither right nor wrong.
    """
    if not sample.ignored or not len(one.places):
        return one
    middles = one.places.mean(1)
    crowded = np.zeros(len(middles), bool)
    for box in sample.ignored:
        crowded |= ((middles >= box.low) & (middles <= box.high)).all(1)
    alike = oks_matrix(one.places, truth, areas).max(1, initial=0.0)
    return one.only(~crowded | (alike >= LEAST_OKS))


def _filled(values: Sequence[FloatArray]) -> list[FloatArray]:
    """The values, and for an object whose keypoints do not say it the median of all."""
    every = np.concatenate([np.empty(0), *values])
    every = every[np.isfinite(every)]
    usual = float(np.median(every)) if len(every) else np.nan
    return [np.where(np.isfinite(one), one, usual) for one in values]


def thresholds(held: Judged) -> tuple[float, float] | None:
    """Scores of a keypoint and of an object from which on they are there.

    Of all pairs of `STEPS` the one with the highest F₁ of keypoints: right where within tolerance
    of its own object's labelled keypoint, wrong elsewhere; nothing is known of a keypoint whose own
    is not labelled. Of equal ones the lowest in the middle of its range is taken.

    Args:
        held: validation images with all candidates.

    Returns:
        (keypoint, instance); None where nothing is labelled.
    """
    total = sum(int(np.isfinite(truth).all(-1).sum()) for truth in held.truth)
    if not total:
        return None
    table = np.zeros((len(STEPS), len(STEPS), 2))
    for at, least in enumerate(STEPS):
        table[at] = sum(_counts(held, i, least) for i in range(len(held.found)))
    right, wrong = table[..., 0], table[..., 1]
    score = (2 * right / (right + wrong + total)).round(6)
    best = np.argwhere(score == score.max())
    instance, keypoint = best[len(best) // 2]
    return float(STEPS[keypoint].round(2)), float(STEPS[instance].round(2))


def _counts(held: Judged, i: int, least: float) -> FloatArray:
    """(thresholds of keypoints, 2) right and wrong keypoints of objects above a score."""
    one = held.found[i]
    one = one.only(one.instance_scores >= least)
    image = PoseImage(held.truth[i], held.areas[i], held.lengths[i], one.places, one.scores)
    own, states = image.own(), held.states[i]
    mine = np.maximum(own, 0)
    if not len(one.places):
        return np.zeros((len(STEPS), 2))
    if len(image.truth):
        apart = np.linalg.norm(one.places - image.truth[mine], axis=-1)
        right = (apart <= TOLERANCE * image.lengths[mine, None]) & (own >= 0)[:, None]
        first = np.array([own.tolist().index(o) == n for n, o in enumerate(own.tolist())])
        right &= first[:, None]
        open_ = (states[mine] == Visibility.UNLABELLED) & (own >= 0)[:, None]
    else:
        right = open_ = np.zeros(one.scores.shape, bool)
    there = one.scores >= STEPS[:, None, None]
    counts = [(there & right).sum((1, 2)), (there & ~right & ~open_).sum((1, 2))]
    return np.stack(counts, -1).astype(float)


def score(held: Scored[KeypointSample, PosePrediction]) -> dict[str, Any]:
    """OKS-mAP, right keypoints, keypoints in the wrong object, identities, and the baseline."""
    names, pair = held.dataset.names, held.options.get("pck_pair")
    found = judged(held.samples, held.found, _numbers(names, pair))
    kept = found.kept
    scores = {
        "images": len(held.samples),
        "animals": sum(len(one.truth) for one in kept),
        "predicted_animals": sum(len(one.found) for one in kept),
        **oks_map(found.candidates),
        "oks_sigma": OKS_SIGMA,
        "oks_area": "of the labels" if _areas_told(found) else "box of the labelled keypoints",
        "pck": keypoints_right(kept, TOLERANCE),
        "pck_share": TOLERANCE,
        "pck_length": " to ".join(pair) if pair else "diagonal of the box about the keypoints",
        "wrong_animal_rate": wrong_animal_rate(kept, TOLERANCE),
        **_counted(kept),
        "inferred": _inferred(found),
        "by_keypoint": _by_keypoint(names, kept),
        "by_border_distance": _by_border(found, kept),
        "nearest_centre": _baseline(found),
        "pixel_convention": PIXEL_CONVENTION,
    }
    return scores | ({"tracks": tracked(found)} if _followed(found) else {})


def _numbers(names: Sequence[str], pair: tuple[str, str] | None) -> tuple[int, int] | None:
    if pair is None:
        return None
    if pair[0] == pair[1] or not {*pair} <= {*names}:
        raise SettingsError(
            f"the pair {pair[0]}, {pair[1]} cannot be the length of an object; name two different "
            f"keypoints of: {', '.join(names)}"
        )
    return list(names).index(pair[0]), list(names).index(pair[1])


def _areas_told(found: Judged) -> bool:
    return any(one.areas is not None and np.isfinite(one.areas).any() for one in found.samples)


def _counted(kept: Sequence[PoseImage]) -> dict[str, int]:
    """Labelled objects without a prediction, and predictions without an object of their own."""
    missed = extra = 0
    for one in kept:
        own = one.own()
        taken = len({o for o in own.tolist() if o >= 0})
        missed, extra = missed + len(one.truth) - taken, extra + len(own) - taken
    return {"missed_animals": missed, "extra_animals": extra}


def _inferred(found: Judged) -> float | None:
    """Share of the predicted keypoints whose map has no peak there."""
    kept = [one.kept for one in found.found]
    there = [np.asarray(np.isfinite(one.keypoints).all(-1)) for one in kept]
    total = sum(int(one.sum()) for one in there)
    peaks = sum(int(one.peaks[at].sum()) for one, at in zip(kept, there, strict=True))
    return 1 - peaks / total if total else None


def _by_keypoint(names: Sequence[str], kept: Sequence[PoseImage]) -> dict[str, dict[str, Any]]:
    """Labels, right ones, the usual error and those in the wrong object, for each keypoint."""
    right, wrong, off = ([np.empty((0, len(names)))] for _ in range(3))
    for one in kept:
        own, reach = one.own(), TOLERANCE * one.lengths
        right.append(right_keypoints(one.found, one.truth, own, reach))
        wrong.append(in_wrong_object(one.found, one.truth, own, reach))
        off.append(own_errors(one))
    rows = zip(*(np.concatenate(part).T for part in (right, wrong, off)), strict=True)
    return {
        name: {
            "labelled": int(np.isfinite(hits).sum()),
            "pck": _mean(hits),
            "median_error_px": _median(apart),
            "wrong_animal_rate": _mean(others),
        }
        for name, (hits, others, apart) in zip(names, rows, strict=True)
    }


def own_errors(one: PoseImage) -> FloatArray:
    """(T, K) px from each labelled keypoint to its object's own prediction; NaN without one."""
    own = one.own().tolist()
    off = np.full(one.truth.shape[:2], np.nan)
    for t in range(len(one.truth)):
        if t in own:
            off[t] = np.linalg.norm(one.found[own.index(t)] - one.truth[t], axis=-1)
    return off


def _by_border(found: Judged, kept: Sequence[PoseImage]) -> list[dict[str, Any]]:
    """Share of right keypoints in bands from the border of the image to its middle."""
    wrong, places, sizes = [], [], []
    for one, sample in zip(kept, found.samples, strict=True):
        wrong.append(1 - right_keypoints(one.found, one.truth, one.own(), TOLERANCE * one.lengths))
        places.append(one.truth)
        sizes += [sample.size] * len(one.truth)
    if not sizes:
        return []
    bands = by_border_distance(np.concatenate(wrong), np.concatenate(places), np.array(sizes))
    return [
        {
            "from_share": band["from_share"],
            "to_share": band["to_share"],
            "count": band["count"],
            "pck": None if band["mean_error_px"] is None else 1 - band["mean_error_px"],
        }
        for band in bands
    ]


def _baseline(found: Judged) -> dict[str, float | None]:
    """The same peaks and centres, each peak given to the nearest centre."""
    images = found.nearest
    sure = [one.instance_scores >= one.least_instance for one in found.found]
    kept = [
        PoseImage(one.truth, one.areas, one.lengths, one.found[there], one.scores[there])
        for one, there in zip(images, sure, strict=True)
    ]
    return {
        "oks_map": oks_map(images)["oks_map"],
        "pck": keypoints_right(kept, TOLERANCE),
        "wrong_animal_rate": wrong_animal_rate(kept, TOLERANCE),
    }


def _followed(found: Judged) -> bool:
    """Whether labels say who is who on several images."""
    return sum(bool((one >= 0).any()) for one in found.tracks) > 1


def tracked(found: Judged) -> dict[str, Any]:
    """Identities that following the objects gives, held against those of the labels.

    Args:
        found: labels and predictions; the images are taken in the natural order of their names.
    """
    from placewise.tasks.poses.following import PoseFollower

    follower, frames = PoseFollower(), []
    for i in sorted(range(len(found.samples)), key=lambda i: natural(found.samples[i].image)):
        one = follower.follow(found.found[i])
        known = found.tracks[i] >= 0
        alike = oks_matrix(one.keypoints, found.truth[i][known], found.areas[i][known], 2 * SAME)
        apart = np.where(alike >= SAME, 1 - alike, np.nan).T
        found_tracks = one.tracks if one.tracks is not None else np.empty(0, np.int64)
        frames.append(TrackedFrame(found.tracks[i][known], found_tracks, apart))
    return track_scores(frames)


def verdict(scores: Mapping[str, Any]) -> str:
    """The first sentence of a report."""
    if scores["oks_map"] is None:
        return f"Nothing is labelled on the {scores['images']} {scores['split']} images."
    right, wrong = share(scores["pck"]), share(scores["wrong_animal_rate"] or 0.0)
    return (
        f"On {scores['images']} {kind_of(scores['split'])} images {right} of the labelled "
        f"keypoints are found within {share(scores['pck_share'])} of their animal's length; "
        f"{wrong} of the predicted ones lie in the wrong animal."
    )


def _mean(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _median(values: FloatArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
