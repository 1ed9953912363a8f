"""How far off the keypoints are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import PIXEL_CONVENTION, FloatArray
from placewise.labels import Dataset, KeypointSample, single
from placewise.metrics import errors, mean_error, mean_position_baseline, score_table
from placewise.model import Spacing
from placewise.report.run import kind_of
from placewise.task import Scored
from placewise.tasks.keypoints.model import decode_floor
from placewise.tasks.keypoints.prediction import KeypointPrediction


def score(held: Scored[KeypointSample, KeypointPrediction]) -> dict[str, Any]:
    """Errors, PCK, OKS, presence and radii, with what no training could do better."""
    truth, visibility = truth_of(held.dataset, held.samples)
    found = held.found
    scores = score_table(
        names=held.dataset.names,
        sizes=np.array([one.size for one in found]),
        truth=truth,
        visibility=visibility,
        predicted=np.stack([one.keypoints for one in found]),
        scores=np.stack([one.scores for one in found]),
        radii=np.stack([one.radius_90 for one in found]),
        pck_pair=held.options.get("pck_pair"),
    )
    spacings = [held.dataset.images.spacing(sample.image) for sample in held.samples]
    floor = decode_floor(held.model, held.samples, truth, visibility, spacings)
    scores["decode_floor_px"] = floor
    scores |= _measured(held, truth, spacings)
    scores["mean_position_baseline_px"] = _baseline(held, truth)
    scores["pixel_convention"] = PIXEL_CONVENTION
    return scores


def truth_of(
    dataset: Dataset[KeypointSample], samples: Sequence[KeypointSample]
) -> tuple[FloatArray, NDArray[np.int8]]:
    """(N, keypoints, axes) positions and (N, keypoints) visibility."""
    pairs = [single(sample, dataset.source) for sample in samples]
    return np.stack([points for points, _ in pairs]), np.stack([known for _, known in pairs])


def _measured(
    held: Scored[KeypointSample, KeypointPrediction],
    truth: FloatArray,
    spacings: Sequence[Spacing | None],
) -> dict[str, Any]:
    """The mean error in ms of signals and in mm of volumes; nothing of images."""
    axes = truth.shape[-1]
    if axes == 2:
        return {}
    name, factor = {1: ("mean_error_ms", 1000.0), 3: ("mean_error_mm", 1.0)}[axes]
    found: dict[str, Any] = {name: None}
    known = [step for step in spacings if step is not None]
    if len(known) == len(spacings):
        steps = factor * np.array(known)[:, None, ::-1]
        predicted = np.stack([one.keypoints for one in held.found])
        found[name] = mean_error(errors(predicted * steps, truth * steps))
    return found


def _baseline(held: Scored[KeypointSample, KeypointPrediction], truth: FloatArray) -> float | None:
    """Error of always answering the training mean; None where the training set is not here."""
    if not held.training:
        return None
    points, _ = truth_of(held.dataset, held.training)
    return mean_position_baseline(
        points,
        np.array([sample.size for sample in held.training]),
        truth,
        np.array([sample.size for sample in held.samples]),
    )


def verdict(scores: Mapping[str, Any]) -> str:
    """The first sentence of a report: how large the errors are."""
    if scores["mean_error_px"] is None:
        return f"No keypoint is labelled on the {scores['images']} {scores['split']} images."
    baseline = scores["mean_position_baseline_px"]
    blind = f" (always predicting the mean position: {baseline:.1f} px)" if baseline else ""
    mean, median = scores["mean_error_px"], scores["median_error_px"]
    no_better = baseline and mean >= baseline
    return (
        f"On {scores['images']} {kind_of(scores['split'])} images the mean error is {mean:.2f} px "
        f"and the median error {median:.2f} px{blind}."
        + (" The network is no better than that: train it longer." if no_better else "")
    )
