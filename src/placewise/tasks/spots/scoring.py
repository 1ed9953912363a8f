"""How well spots are found and counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from placewise.errors import SettingsError
from placewise.geometry import PIXEL_CONVENTION, FloatArray
from placewise.labels import KeypointSample, SpotDataset
from placewise.metrics import (
    SpotSet,
    average_precision,
    best_score,
    detection_scores,
    detections_by_border,
    detections_near_ends,
)
from placewise.report.run import kind_of
from placewise.task import Scored
from placewise.tasks.spots.prediction import THRESHOLD, SpotPrediction
from placewise.wording import PIXELS_OF, number, share

TIMES = (50, 150)
"""Milliseconds within which events of signals are scored, beside the tolerance."""

ENDS = 0.3
"""Seconds from either end of a recording within which events are scored by themselves."""

STEPS = 20
"""Distances of a curve, evenly from 0 to twice the tolerance."""

Samples = Sequence[KeypointSample]
Found = Sequence[SpotPrediction]


def spot_set(
    dataset: SpotDataset, sample: KeypointSample, one: SpotPrediction, kind: int
) -> SpotSet | None:
    """Labelled spots and candidates of a kind on an image; None where they are not labelled."""
    if not dataset.known(sample)[kind]:
        return None
    points, kinds = dataset.kinds(sample)
    mine = one.candidate_kinds == one.names.index(dataset.names[kind])
    boxes = [(box.low, box.high) for box in sample.ignored if box.name == dataset.names[kind]]
    return SpotSet(
        sample.size,
        points[kinds == kind],
        one.candidates[mine],
        one.candidate_scores[mine],
        np.array(boxes, dtype=float).reshape(-1, 2, len(sample.size)),
    )


def spot_sets(dataset: SpotDataset, samples: Samples, found: Found) -> list[list[SpotSet]]:
    """For each kind, the images on which it is labelled."""
    return [
        [
            held
            for sample, one in zip(samples, found, strict=True)
            if (held := spot_set(dataset, sample, one, kind)) is not None
        ]
        for kind in range(len(dataset.names))
    ]


def choose_thresholds(
    dataset: SpotDataset, samples: Samples, found: Found, tolerance: float
) -> dict[str, float]:
    """For each kind the score with the largest F1; where nothing is labelled, that of the others.

    Args:
        dataset: the labels.
        samples: validation images.
        found: what is predicted on them.
        tolerance: in pixels.
    """
    chosen = [best_score(sets, tolerance) for sets in spot_sets(dataset, samples, found)]
    known = [one for one in chosen if one is not None]
    other = float(np.median(known)) if known else THRESHOLD
    return {
        name: round(other if one is None else one, 6)
        for name, one in zip(dataset.names, chosen, strict=True)
    }


def f1_on_validation(
    dataset: SpotDataset, samples: Samples, found: Found, tolerance: float
) -> dict[str, float | None]:
    """F1 of each kind with the threshold that suits these images best."""
    thresholds = choose_thresholds(dataset, samples, found, tolerance)
    return {
        name: detection_scores([one.above(thresholds[name]) for one in sets], tolerance)["f1"]
        for name, sets in zip(dataset.names, spot_sets(dataset, samples, found), strict=True)
    }


def score(held: Scored[KeypointSample, SpotPrediction], dataset: SpotDataset) -> dict[str, Any]:
    """What `metrics.json` holds of spots."""
    asked = held.options.get("tolerance")
    if asked is not None and not 0 < float(asked) < math.inf:
        raise SettingsError(
            f"got a tolerance of {asked:g}; needed are {PIXELS_OF[dataset.axes]}, more than 0"
        )
    tolerance = float(asked or held.model.calibration.get("tolerance_px") or dataset.tolerance)
    candidates = spot_sets(dataset, held.samples, held.found)
    limits = dict(zip(held.model.names, held.found[0].thresholds.tolist(), strict=True))
    kinds, all_sure = {}, []
    for name, sets in zip(dataset.names, candidates, strict=True):
        sure = [one.above(limits[name]) for one in sets]
        all_sure += sure
        kinds[name] = _of_kind(sets, sure, tolerance) | {"threshold": limits[name]}
    together = detection_scores(all_sure, tolerance)
    return {
        "images": len(held.samples),
        "tolerance_px": tolerance,
        **_of_signals(dataset, all_sure, tolerance, together["mean_error_px"]),
        **{name: _mean(kinds, name) for name in ("f1", "precision", "recall", "ap")},
        "mean_error_px": together["mean_error_px"],
        "counting_mae": _mean(kinds, "counting_mae"),
        "labelled": together["labelled"],
        "found": together["found"],
        "f1_of_all_spots": together["f1"],
        "by_keypoint": kinds,
        "by_border_distance": detections_by_border(all_sure, tolerance),
        "pixel_convention": PIXEL_CONVENTION,
    }


def _of_signals(
    dataset: SpotDataset, sure: Sequence[SpotSet], tolerance: float, off: float | None
) -> dict[str, Any]:
    """F1 within the usual times, the mean error in ms, and what is near the ends; else nothing."""
    unit = {} if dataset.axes == 2 else {"unit": PIXELS_OF[dataset.axes]}
    if not dataset.seconds:
        return unit
    within = {str(time): time / 1000 / dataset.seconds for time in TIMES}
    f1 = {time: detection_scores(sure, far)["f1"] for time, far in within.items()}
    error = None if off is None else 1000 * dataset.seconds * off
    near = detections_near_ends(sure, tolerance, ENDS / dataset.seconds)
    ends = {"seconds": ENDS, **near}
    return unit | {"f1_at_ms": f1, "mean_error_ms": error, "near_ends": ends}


def _of_kind(
    candidates: Sequence[SpotSet], sure: Sequence[SpotSet], tolerance: float
) -> dict[str, Any]:
    """Scores of one kind."""
    distances = np.linspace(0, 2 * tolerance, STEPS + 1)
    curve = [detection_scores(sure, float(one))["f1"] for one in distances]
    within: FloatArray = np.array([one or 0.0 for one in curve[: STEPS // 2 + 1]])
    parts = [float(tolerance) * share for share in (0.25, 0.5, 0.75, 1.0)]
    aps = [average_precision(candidates, one) for one in parts]
    known = [one for one in aps if one is not None]
    return {
        "images": len(sure),
        **detection_scores(sure, tolerance),
        "ap": aps[-1],
        "ap_over_distances": float(np.mean(known)) if known else None,
        "f1_area": float((within[1:] + within[:-1]).mean() / 2) if known else None,
        "curve": {"distance_px": distances.tolist(), "f1": curve},
        "by_border_distance": detections_by_border(sure, tolerance),
    }


def _mean(kinds: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """Mean over the kinds that have this number."""
    known = [one[name] for one in kinds.values() if one[name] is not None]
    return float(np.mean(known)) if known else None


def verdict(scores: Mapping[str, Any]) -> str:
    """The first sentence of a report."""
    kinds = scores["by_keypoint"]
    if scores["f1"] is None:
        return f"No spot is labelled on the {scores['images']} {scores['split']} images."
    said = [
        f"{name}: F1 {share(one['f1'])}, {share(one['recall'])} of {one['labelled']:,} found"
        for name, one in kinds.items()
        if one["labelled"]
    ]
    more = f"; and {len(said) - 4} more kinds" if len(said) > 4 else ""
    return (
        f"On {scores['images']} {kind_of(scores['split'])} images, with a tolerance of "
        f"{number(scores['tolerance_px'])} {scores.get('unit', 'px')}: {'; '.join(said[:4])}{more}."
    )
