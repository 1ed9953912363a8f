"""The numbers of `metrics.json`: what each is called, means, and which direction is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from placewise.metrics.metric import Metric, Scores

MEAN_ERROR = Metric(
    "mean_error_px",
    "mean error",
    "px",
    "distance from a predicted keypoint to its labelled position, averaged over all labels",
    equal=0.1,
)


def in_unit(metrics: Sequence[Metric], scores: Scores) -> list[Metric]:
    """The same metrics where the scores are not of pixels: of samples, or of voxels.

    Args:
        metrics: those in px are given the unit of the scores.
        scores: `unit` says what px are; where it is missing they are px.

    Example:
        >>> in_unit([MEAN_ERROR], {"unit": "voxels"})[0].unit
        'voxels'
    """
    unit = str(scores.get("unit", "px"))
    return [replace(one, unit=unit) if one.unit == "px" else one for one in metrics]


KEYPOINT_METRICS = (
    MEAN_ERROR,
    Metric(
        "median_error_px", "median error", "px", "half of the keypoints have at most this error"
    ),
    Metric("p95_error_px", "95th percentile", "px", "95 of 100 keypoints have at most this error"),
    Metric(
        "rmse_px",
        "root mean square error",
        "px",
        "like the mean error, but large errors weigh more",
    ),
    Metric(
        "mean_error_mm", "mean error in mm", "mm", "the mean error by the spacing of the voxels"
    ),
    Metric("mean_error_ms", "mean error in ms", "ms", "the mean error by the rate of the samples"),
    Metric(
        "pck/0.02",
        "PCK at 0.02",
        "%",
        "keypoints with an error below 2 % of the reference length",
        "higher",
    ),
    Metric(
        "pck/0.05",
        "PCK at 0.05",
        "%",
        "keypoints with an error below 5 % of the reference length",
        "higher",
    ),
    Metric(
        "pck/0.1",
        "PCK at 0.1",
        "%",
        "keypoints with an error below 10 % of the reference length",
        "higher",
    ),
    Metric(
        "oks", "OKS", "", "COCO's object keypoint similarity: 1 is exact, 0 is far off", "higher"
    ),
    Metric(
        "presence/precision",
        "presence: precision",
        "%",
        "share of the keypoints predicted as present that are present",
        "higher",
    ),
    Metric(
        "presence/recall",
        "presence: recall",
        "%",
        "share of the present keypoints that are predicted as present",
        "higher",
    ),
    Metric(
        "presence/calibration_error",
        "presence: calibration error",
        "%",
        "difference between the scores and the true share of present keypoints; 0 is best",
    ),
    Metric(
        "presence/brier",
        "presence: Brier score",
        "",
        "mean squared error of the scores; 0 is perfect",
    ),
    Metric(
        "radius/coverage_90",
        "inside radius_90",
        "%",
        "labelled positions inside the circle of their keypoint; about 90 % is right",
        None,
    ),
    Metric("radius/mean_radius_90_px", "mean radius_90", "px", "mean radius of these circles"),
    Metric(
        "decode_floor_px",
        "decode floor",
        "px",
        "error that remains when the labels are encoded as heatmaps and decoded again: "
        "training cannot go below it",
    ),
    Metric(
        "mean_position_baseline_px",
        "mean-position baseline",
        "px",
        "error of always predicting the mean position of the training images, "
        "without looking at the image",
        None,
    ),
)
"""Metrics of keypoints, the most important first."""

ACCURACY = Metric(
    "accuracy", "accuracy", "%", "share of images with the correct class", "higher", equal=0.002
)

CLASS_METRICS = (
    ACCURACY,
    Metric(
        "balanced_accuracy",
        "balanced accuracy",
        "%",
        "share of correct images of each class, averaged over the classes: rare classes count as "
        "much as common ones",
        "higher",
    ),
    Metric(
        "macro_f1",
        "mean F₁",
        "",
        "2PR / (P + R) of precision P and recall R, averaged over the classes",
        "higher",
    ),
    Metric(
        "majority_baseline",
        "majority baseline",
        "%",
        "accuracy of always predicting the most common class, without looking at the image",
        None,
    ),
    Metric(
        "log_loss",
        "log loss",
        "",
        "mean of −log of the probability of the true class; 0 is perfect",
    ),
    Metric("brier", "Brier score", "", "mean squared error of the probabilities, 0 to 2"),
    Metric(
        "calibration_error",
        "calibration error",
        "%",
        "difference between the probability of a prediction and how often it is correct; 0 is best",
    ),
    Metric(
        "temperature",
        "temperature",
        "",
        "number that the logits are divided by, fitted on validation images; above 1 the network "
        "was too sure",
        None,
    ),
)
"""Metrics of classes, the most important first."""

F1 = Metric(
    "f1",
    "F1",
    "%",
    "harmonic mean of precision and recall, averaged over the kinds of spots",
    "higher",
    equal=0.01,
)

SPOT_METRICS = (
    F1,
    *(
        Metric(
            f"f1_at_ms/{time}",
            f"F1 within {time} ms",
            "%",
            f"the same where a found event may be {time} ms from the labelled one, of all kinds "
            "together",
            "higher",
        )
        for time in (150, 50)
    ),
    Metric(
        "precision", "precision", "%", "share of the found spots that are labelled ones", "higher"
    ),
    Metric("recall", "recall", "%", "share of the labelled spots that are found", "higher"),
    Metric(
        "ap",
        "average precision",
        "%",
        "area under precision over recall when the threshold is lowered step by step",
        "higher",
    ),
    Metric(
        "mean_error_px",
        "mean error",
        "px",
        "distance from a found spot to its labelled position, averaged over the spots found",
    ),
    Metric(
        "counting_mae",
        "counting error",
        "",
        "by how many the count of a kind on an image is wrong, averaged over images and kinds",
    ),
    Metric(
        "tolerance_px",
        "tolerance",
        "px",
        "largest distance at which a found spot counts as the labelled one",
        None,
    ),
)

KEYPOINTS_RIGHT = Metric(
    "pck",
    "keypoints right",
    "%",
    "labelled keypoints that their own animal's prediction has within 5 % of the animal's length",
    "higher",
    equal=0.01,
)

POSE_METRICS = (
    KEYPOINTS_RIGHT,
    Metric(
        "oks_map",
        "OKS-mAP",
        "",
        "average precision over ten thresholds of COCO's object keypoint similarity; 1 is perfect",
        "higher",
    ),
    Metric("ap_50", "AP at OKS 0.50", "", "average precision where OKS 0.50 is enough", "higher"),
    Metric("ap_75", "AP at OKS 0.75", "", "average precision where OKS 0.75 is needed", "higher"),
    Metric(
        "wrong_animal_rate",
        "in the wrong animal",
        "%",
        "predicted keypoints that lie at the same keypoint of another animal and not at their own",
    ),
    Metric("missed_animals", "missed animals", "", "labelled animals without a prediction"),
    Metric("extra_animals", "extra animals", "", "predictions without a labelled animal"),
    Metric(
        "inferred",
        "inferred keypoints",
        "%",
        "predicted keypoints without a peak on their map, placed by the animal's centre",
        None,
    ),
    Metric(
        "nearest_centre/pck",
        "keypoints right, nearest centre",
        "%",
        "the same if each peak were given to the nearest centre: the baseline of the grouping",
        None,
    ),
    Metric(
        "nearest_centre/wrong_animal_rate",
        "in the wrong animal, nearest centre",
        "%",
        "the same for that baseline",
        None,
    ),
    Metric("tracks/mota", "MOTA", "", "1 − (missed + extra + switches) / animals", "higher"),
    Metric("tracks/idf1", "IDF1", "", "F1 of identities over all images", "higher"),
    Metric(
        "tracks/identity_switches",
        "identity switches",
        "",
        "how often an animal got another identity than before",
    ),
)
"""Metrics of several animals or other objects, the most important first."""
