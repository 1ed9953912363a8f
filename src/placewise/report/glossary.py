"""What the scores mean: one place for the names and the sentences of tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Scores = Mapping[str, Any]
"""What `metrics.json` holds."""


@dataclass(frozen=True)
class Score:
    """One number of `metrics.json`.

    Attributes:
        path: where it stands, e.g. ("radius", "coverage_90").
        name: what it is called.
        unit: "px", "%" (the number is a share of 1) or "".
        meaning: what it says, in one sentence.
    """

    path: tuple[str, ...]
    name: str
    unit: str
    meaning: str

    def value(self, scores: Scores) -> float | None:
        """The number, None where the scores lack it."""
        found: Any = scores
        for key in self.path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, int | float) else None

    def shown(self, scores: Scores) -> str:
        """The number with its unit, a dash where the scores lack it.

        Example:
            >>> SCORES[0].shown({"mean_error_px": 1.934})
            '1.93 px'
        """
        value = self.value(scores)
        if self.unit == "%":
            return share(value)
        return number(value) if value is None else f"{number(value)} {self.unit}".strip()


SCORES = (
    Score(
        ("mean_error_px",),
        "mean error",
        "px",
        "distance from a keypoint to the labelled place, averaged over all labelled points",
    ),
    Score(("median_error_px",), "median error", "px", "half of the keypoints are closer than this"),
    Score(("p95_error_px",), "95th percentile", "px", "95 of 100 keypoints are closer than this"),
    Score(
        ("rmse_px",),
        "root mean square",
        "px",
        "like the mean error, but keypoints that are far off weigh more",
    ),
    Score(("pck", "0.02"), "PCK at 0.02", "%", "keypoints within 2 % of the reference length"),
    Score(("pck", "0.05"), "PCK at 0.05", "%", "keypoints within 5 % of the reference length"),
    Score(("pck", "0.1"), "PCK at 0.1", "%", "keypoints within 10 % of the reference length"),
    Score(
        ("oks",),
        "OKS",
        "",
        "COCO's likeness of the predicted to the labelled points: 1 is exact, 0 is far off",
    ),
    Score(
        ("presence", "precision"),
        "presence: precision",
        "%",
        "of the points that were said to be there, as many are there",
    ),
    Score(
        ("presence", "recall"),
        "presence: recall",
        "%",
        "of the points that are there, as many were said to be there",
    ),
    Score(
        ("presence", "calibration_error"),
        "presence: calibration",
        "%",
        "how far scores stray from the true share of present points; 0 is honest",
    ),
    Score(
        ("presence", "brier"),
        "presence: Brier score",
        "",
        "mean squared error of the scores; 0 is perfect",
    ),
    Score(
        ("radius", "coverage_90"),
        "radius r90 holds",
        "%",
        "labelled places inside the circle of their keypoint; calibrated to be 90 %",
    ),
    Score(("radius", "mean_r90_px"), "mean radius r90", "px", "mean size of these circles"),
    Score(
        ("decode_floor_px",),
        "decode floor",
        "px",
        "error that writing the labels as heatmaps and reading them off again leaves: "
        "no training can go below it",
    ),
    Score(
        ("mean_position_baseline_px",),
        "blind baseline",
        "px",
        "error of always answering the mean place in the training images, without looking",
    ),
)

CLASS_SCORES = (
    Score(("accuracy",), "accuracy", "%", "share of images that are named rightly"),
    Score(
        ("balanced_accuracy",),
        "balanced accuracy",
        "%",
        "mean over the classes of the share that is named rightly: rare classes weigh as much",
    ),
    Score(("macro_f1",), "mean F₁", "", "mean over the classes of F₁ = 2PR / (P + R)"),
    Score(
        ("majority_baseline",),
        "blind baseline",
        "%",
        "accuracy of always answering the commonest class, without looking",
    ),
    Score(
        ("log_loss",),
        "log loss",
        "",
        "mean of −log of the probability that the true class was given; 0 is perfect",
    ),
    Score(("brier",), "Brier score", "", "mean squared error of the probabilities, 0 to 2"),
    Score(
        ("calibration_error",),
        "calibration error",
        "%",
        "how far the probability of an answer strays from how often it is right; 0 is honest",
    ),
    Score(
        ("temperature",),
        "temperature",
        "",
        "what logits are divided by, fitted on validation images; above 1 the network was too sure",
    ),
)

CLASS_WORDS = (
    (
        "training, validation and test images",
        "The network learns from training images. Validation images choose the best moment of "
        "the training and calibrate the probabilities. Test images take part in neither, so "
        "their scores are what to expect on new images of the same kind.",
    ),
    (
        "precision and recall",
        "Of a class: precision P is the share of right answers among those that name it, recall R "
        "the share of its images that are named rightly.",
    ),
    (
        "evidence",
        "Where on the image the answer comes from: features times the gradient of the class’s "
        "logit, summed over channels. Where the head is linear, the places add up to the logit.",
    ),
    (
        "loss",
        "What the training makes small. Its size says little; that it falls and then settles "
        "is what matters.",
    ),
)
"""(word, explanation) for the reader of a run that answers with classes."""

WORDS = (
    (
        "keypoint and point",
        "A point is a place with a name, such as the tip of a nose. A keypoint is where the "
        "network "
        "puts it.",
    ),
    (
        "px",
        "Pixels of the image as it is in its file. x points right, y points down, counting "
        "starts at 0, and an integer is the centre of a pixel.",
    ),
    (
        "training, validation and test images",
        "The network learns from training images. Validation images choose the best moment of "
        "the training and calibrate the radii. Test images take part in neither, so their "
        "scores are what to expect on new images of the same kind.",
    ),
    (
        "score of a keypoint",
        "How sure the network is that the point is on the image, from 0 to 1. Keypoints with a low "
        "score are drawn hollow.",
    ),
    (
        "r90",
        "A radius about a keypoint that should hold the true place 9 times in 10. It is "
        "calibrated on "
        "validation images by split conformal prediction.",
    ),
    (
        "PCK",
        "Percentage of correct keypoints: the share of keypoints that are closer to the truth "
        "than a "
        "part of a reference length, which is the diagonal of the image unless two points were "
        "named for it.",
    ),
    (
        "distance from the border",
        "Networks often see worse near the border of an image. Distance is given as a share of "
        "half the shorter side: 0 % is the border, 100 % as far from it as a place can be.",
    ),
    (
        "loss",
        "What the training makes small. Its size says little; that it falls and then settles "
        "is what matters.",
    ),
)
"""(word, explanation) for a reader who has never seen the project."""


AUDIT_WORDS = (
    (
        "path",
        "A way from a pixel through the layers to the output: in each layer through one place of "
        "one window. A pixel with few paths weighs little before anything is learnt; training can "
        "make up for some of that.",
    ),
    (
        "spatial, channel-aware",
        "Two ways to count: with all channels of a layer as one, or each told apart.",
    ),
    (
        "padding",
        "What stands beyond the border of an image or a map so that windows fit there, mostly "
        "zeros.",
    ),
    (
        "even size",
        "A size at which no layer drops a padded row or column. At other sizes padding is used at "
        "one side only, and the network leans to that side.",
    ),
    (
        "receptive field",
        "The pixels that a place of a layer can read at all. It is aligned if all ways agree on "
        "where it lies.",
    ),
    (
        "effective receptive field",
        "The pixels that it does listen to, by how much a change of them changes it (Luo et al. "
        "2016); as a rule far fewer.",
    ),
    ("stride", "Pixels of the image from one place of a map to the next."),
    (
        "exact, bound, unknown",
        "Exact: counted, whatever the weights. Bound: no more than that, perhaps less. Unknown: an "
        "operation that the audit does not know is on the way, and is taken to read everything.",
    ),
    (
        "noise",
        "Made images of smooth noise that look alike everywhere: what differs from place to "
        "place is the network’s doing, not that of what images show.",
    ),
    (
        "sensitivity",
        "How much the answer changes when one place of the image is changed a little, or is "
        "painted over.",
    ),
    (
        "phase",
        "Where the image lies on the grid that a strided network samples at. Moving it by a "
        "whole stride brings the phase back.",
    ),
    (
        "equivariance",
        "If the image moves, the features move with it. Padding breaks that near the border.",
    ),
    (
        "place that can be read",
        "A linear probe is asked for the place of features that it sees alone. What it knows "
        "beyond the image’s own hints, the network has put there.",
    ),
)
"""(word, explanation) for the reader of an audit."""


def number(value: float | None, digits: int = 3) -> str:
    """A number with a few digits, whole from 100 on; a dash for none.

    Example:
        >>> number(1.9384), number(143.52), number(12345.6), number(0.0), number(None)
        ('1.94', '144', '12,346', '0', '–')
        >>> number(0.000012)
        '< 0.001'
    """
    if value is None or value != value:
        return "–"
    if value == 0 or abs(value) == float("inf"):
        return f"{value:.0f}"
    if abs(value) < 1e-3:
        return "< 0.001"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{digits}g}')}"


def share(value: float | None) -> str:
    """A share of 1 as percent.

    Example:
        >>> share(0.9871), share(1.0), share(None)
        ('98.7 %', '100 %', '–')
    """
    if value is None or value != value:
        return "–"
    return f"{100 * value:.3g} %"


def meaning_of_pck(scores: Scores) -> str:
    """Sentence on the reference length of PCK.

    Example:
        >>> meaning_of_pck({"pck": {"norm": "diagonal"}})
        'The reference length of PCK is: diagonal.'
    """
    norm = (scores.get("pck") or {}).get("norm")
    return f"The reference length of PCK is: {norm}." if norm else ""
