"""How well masks fit: by class, together, and by the distance from the border."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from importlib.util import find_spec
from operator import add
from typing import Any

import numpy as np

from placewise.metrics import (
    BORDER_EDGES,
    THIN,
    MaskCounts,
    Metric,
    boundary_f1,
    cldice,
    counted,
    dice,
    iou,
    nsd,
    thin_recall,
)
from placewise.report.run import kind_of
from placewise.tasks.masks.prediction import MaskPrediction
from placewise.wording import number

TOLERANCE = 2.0
"""Pixels up to which an edge pixel is near the other edge."""

Score = Callable[[MaskCounts, int | None], float | None]
SCORES: Mapping[str, Score] = {
    "dice": dice,
    "iou": iou,
    "cldice": cldice,
    "boundary_f1": boundary_f1,
    "nsd": nsd,
}
"""What follows from counts, of all pixels or of those in a band of distances from the border."""

MASK_METRICS = (
    Metric("iou", "IoU", "", "pixels that both masks share, over the pixels of either", "higher"),
    Metric(
        "cldice",
        "clDice",
        "",
        "harmonic mean of the shares of each mask's middle line that lie in the other mask",
        "higher",
    ),
    Metric(
        "boundary_f1",
        "boundary F₁",
        "",
        f"harmonic mean of the shares of each outline near the other: within {TOLERANCE:g} px",
        "higher",
    ),
    Metric(
        "nsd",
        "surface Dice (NSD)",
        "",
        f"share of both outlines near the other: within {TOLERANCE:g} px",
        "higher",
    ),
    *(
        Metric(
            f"hd95_{unit}",
            "HD95",
            unit,
            "95 of 100 outline pixels are at most this far from the other outline, mean over "
            "images where both are there",
        )
        for unit in ("px", "mm")
    ),
    *(
        Metric(
            f"thin_recall/{most}",
            f"recall of thin parts, up to {most} px",
            "",
            f"share of the labelled middle line that is found where the label is up to {most} px "
            "wide",
            "higher",
        )
        for most in THIN
    ),
    Metric(
        "pieces_off",
        "difference of pieces",
        "",
        "labelled and found connected pieces, mean difference over the images (Betti-0 error)",
    ),
)
"""Beside Dice, which the task names."""

_LOG = logging.getLogger("placewise")


def score(
    names: Sequence[str],
    truths: Sequence[Any],
    found: Sequence[MaskPrediction],
    spacings: Sequence[tuple[float, ...] | None] = (),
) -> dict[str, Any]:
    """All scores of masks as plain numbers that JSON can hold.

    Args:
        names: of the classes.
        truths: (*size,) of each image: 0 background, k a class, −1 ignored.
        found: what is predicted for each.
        spacings: distance of the pixels of each image along its axes; distances are in mm where all
            are known, else in pixels. Those of recordings are times, and their distances samples.
    """
    lines = find_spec("skimage") is not None
    if not lines:
        _LOG.warning(
            "scikit-image is not installed, so clDice and the recall of thin parts are left out; "
            'run: pip install "placewise[masks]"'
        )
    known = bool(spacings) and None not in spacings and len(found[0].size) > 1
    steps = list(spacings) if known else [None] * len(found)
    fits = [
        [_fit(t, o, k + 1, step, lines=lines) for k in range(len(names))]
        for t, o, step in zip(truths, found, steps, strict=True)
    ]
    whole = [reduce(add, row) for row in zip(*fits, strict=True)]
    unit = "mm" if known else "px"
    classes = {
        name: _of(whole[k], unit) | {"per_image": _per_image([row[k] for row in fits])}
        for k, name in enumerate(names)
    }
    return {
        "images": len(found),
        **_together(list(classes.values()), unit),
        f"tolerance_{unit}": TOLERANCE,
        "threshold": found[0].threshold if len(names) == 1 and found else None,
        "by_class": classes,
        "by_border_distance": [_band(whole, band) for band in range(len(BORDER_EDGES) - 1)],
    }


def _fit(truth: Any, one: MaskPrediction, number: int, spacing: Any, *, lines: bool) -> MaskCounts:
    return counted(
        truth == number,
        one.mask == number,
        truth >= 0,
        spacing=spacing,
        tolerance=TOLERANCE,
        lines=lines,
    )


def _of(fit: MaskCounts, unit: str) -> dict[str, Any]:
    """Scores of a class over all images together."""
    return {
        **{name: of(fit, None) for name, of in SCORES.items()},
        f"hd95_{unit}": _mean(fit.hd95),
        "thin_recall": {str(most): thin_recall(fit, most) for most in THIN},
        "pieces_off": _mean(fit.pieces_off),
        "pixels": fit.of("truth"),
        "found_pixels": fit.of("found"),
        "missed_images": fit.missed,
        "invented_images": fit.invented,
        "empty_images": fit.empty,
    }


def _per_image(fits: Sequence[MaskCounts]) -> dict[str, Any]:
    """Mean and standard deviation over the images that have a value."""
    found = {}
    for name, of in SCORES.items():
        values = [value for fit in fits if (value := of(fit, None)) is not None]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        found[name] = {"mean": _mean(values), "sd": spread, "images": len(values)}
    return found


def _together(classes: Sequence[Mapping[str, Any]], unit: str) -> dict[str, Any]:
    """Means over the classes that have a value, and sums of what is counted."""
    means = (*SCORES, f"hd95_{unit}", "pieces_off")
    found: dict[str, Any] = {name: _mean([one[name] for one in classes]) for name in means}
    found["thin_recall"] = {
        str(most): _mean([one["thin_recall"][str(most)] for one in classes]) for most in THIN
    }
    for name in ("missed_images", "invented_images", "empty_images"):
        found[name] = sum(one[name] for one in classes)
    return found


def _band(whole: Sequence[MaskCounts], band: int) -> dict[str, Any]:
    """Scores in a band of distances from the border, mean over the classes."""
    return {
        "from_share": BORDER_EDGES[band],
        "to_share": BORDER_EDGES[band + 1],
        "pixels": sum(fit.of("truth", band) for fit in whole),
        **{name: _mean([of(fit, band) for fit in whole]) for name, of in SCORES.items()},
        "thin_recall": {
            str(most): _mean([thin_recall(fit, most, band) for fit in whole]) for most in THIN
        },
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def verdict(scores: Mapping[str, Any]) -> str:
    """The first sentence of a report.

    Example:
        >>> verdict({"images": 3, "split": "test", "dice": 0.81, "by_class": {"vessel": {}}})
        'On 3 test images the predicted masks of vessel have a Dice of 0.81 with the labelled ones.'
    """
    images = f"{scores['images']:,} {kind_of(scores['split'])} images"
    if scores["dice"] is None:
        return f"Nothing is labelled or found on the {images}."
    names = list(scores["by_class"])
    what = names[0] if len(names) == 1 else f"{len(names)} classes"
    mean = "" if len(names) == 1 else "mean "
    return (
        f"On {images} the predicted masks of {what} have a {mean}Dice of "
        f"{number(scores['dice'])} with the labelled ones."
    )
