"""What every report of a run holds, whatever it predicts: how it was trained and made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from placewise.geometry import FloatArray
from placewise.metrics import Metric, Scores
from placewise.report.canvas import canvas, plain_ticks, png, say, whole_ticks
from placewise.report.parts import Figure, Paragraph, Section, Table, settings_table
from placewise.report.style import LIGHT, Theme

Rows = Sequence[Mapping[str, Any]]

SPLIT_WORDS = (
    "training, validation and test images",
    "The network learns from the training images. The validation images show how the training "
    "goes; they choose its best moment, or calibrate what the network says of its own certainty. "
    "The test images are used for neither, so their scores show what to expect on new images of "
    "the same kind.",
)
LOSS_WORDS = (
    "loss",
    "The number that training makes smaller. Its size says little; it should fall and then level "
    "off.",
)
"""(word, meaning) that every report of a run needs."""


def kind_of(split: str) -> str:
    """A split in words.

    Example:
        >>> kind_of("val"), kind_of("test")
        ('validation', 'test')
    """
    return {"val": "validation", "train": "training"}.get(split, split)


def metric_tiles(
    metrics: Sequence[Metric], names: Sequence[str], scores: Scores
) -> list[tuple[str, str]]:
    """The tiles of the metrics with these names, and one with the number of images.

    Example:
        >>> from placewise.metrics import MEAN_ERROR
        >>> metric_tiles([MEAN_ERROR], ["mean_error_px"], {"mean_error_px": 2.0, "images": 9})
        [('mean error', '2.0 px'), ('images', '9')]
    """
    tiles = [
        (metric.label, metric.shown(value))
        for metric in metrics
        if metric.name in names and (value := metric.of(scores)) is not None
    ]
    images = scores.get("images")
    if images is not None:
        tiles.append((f"{kind_of(scores.get('split', ''))} images".strip(), f"{images:,}"))
    return tiles


def metric_table(metrics: Sequence[Metric], scores: Scores, caption: str = "") -> Table | Paragraph:
    """Every metric that the scores have, with its meaning.

    Example:
        >>> from placewise.metrics import MEAN_ERROR
        >>> metric_table([MEAN_ERROR], {"mean_error_px": 2.0}).rows[0][:2]
        ['mean error', '2.0 px']
    """
    rows = [
        [metric.label, metric.shown(value), metric.meaning]
        for metric in metrics
        if (value := metric.of(scores)) is not None
    ]
    if not rows:
        return Paragraph("No score could be measured.")
    return Table(["score", "value", "meaning"], rows, [1], caption)


def training_section(log: Rows, metric: Metric, *, chooses: bool = True) -> Section:
    """How the training went.

    Args:
        log: lines of `log.jsonl`.
        metric: what is measured on the validation images; its name is the key in the log.
        chooses: whether the best network by it was kept; otherwise it was the last.

    Example:
        >>> training_section([], Metric("val_error_px", "validation error", "px", "")).parts
        []
    """
    kept = "best" if chooses else "last"
    said = (
        f"The loss should fall and level off. The {metric.label} is measured on images that the "
        f"network does not learn from; the {kept} network is kept."
    )
    alt = f"Curves of the training loss and the {metric.label} over {len(log)} log lines"
    draw = partial(curves, log, metric, chooses=chooses)
    return Section("Training", [Figure(draw, said, alt)] if log else [], console=False)


def making_section(
    settings: Mapping[str, Any], versions: Mapping[str, str], fingerprint: str
) -> Section:
    """How a run was made.

    Args:
        settings: of the run, may be nested.
        versions: versions of what decides numbers.
        fingerprint: fingerprint of the data.

    Example:
        >>> [part.words for part in making_section({}, {}, "").parts]
        ['Nothing was recorded.']
    """
    parts: list[Table | Paragraph] = []
    if fingerprint:
        facts = {"fingerprint of the data (SHA-256)": fingerprint}
        note = "Two runs with the same fingerprint used the same images and labels."
        parts.append(settings_table(facts, note))
    if settings:
        parts.append(settings_table(settings, title="Settings", folded="Show all settings"))
    if versions:
        parts.append(settings_table(versions, title="Versions"))
    nothing = [Paragraph("Nothing was recorded.", muted=True)]
    return Section("How it was made", parts or nothing, console=False)


def curves(log: Rows, metric: Metric, theme: Theme = LIGHT, *, chooses: bool = True) -> bytes:
    """Loss and score on the validation images over the steps.

    Args:
        log: lines of `log.jsonl`: {"step", "loss", ...}, and {"step", NAME} of the metric.
        metric: what is measured on the validation images.
        theme: colours.
        chooses: whether the best network by the metric was kept; then it is marked.

    Returns:
        Bytes of a PNG.

    Example:
        >>> error = Metric("val_error_px", "validation error", "px", "")
        >>> curves([{"step": 1, "loss": 2.0}, {"step": 2, "val_error_px": 9.5}], error)[1:4]
        b'PNG'
    """
    figure, (above, below) = canvas(4.4, theme, panels=2)
    steps, losses = _series(log, "loss")
    above.plot(steps, losses, color=theme.first, alpha=0.35, linewidth=1)
    mark = "o" if len(losses) == 1 else None
    above.plot(steps, _smooth(losses), color=theme.first, linewidth=1.8, marker=mark)
    above.set_ylabel("training loss")
    if len(losses) and losses.min() > 0 and losses.max() > 20 * losses.min():
        above.set_yscale("log")
    steps, found = _series(log, metric.name)
    found = metric.factor * found
    below.plot(steps, found, color=theme.second, linewidth=1.8, marker="o", markersize=3)
    below.set_ylabel(metric.heading)
    below.set_xlabel("step")
    if len(found) and found.min() > 0 and found.max() > 8 * found.min():
        below.set_yscale("log")
    if metric.unit == "%":
        below.set_ylim(top=min(below.get_ylim()[1], 100.5))
    if len(found) and chooses:
        least = -found if metric.better == "higher" else found
        best = np.flatnonzero(least == least.min())[-1]  # of equal ones the last is kept
        below.plot(steps[best], found[best], "o", color=theme.third, markersize=7)
        words = (
            f"best: {metric.shown(float(found[best]) / metric.factor)} at step {int(steps[best]):,}"
        )
        below.set_title(words, loc="right", color=theme.third, fontsize=9)
    below.set_xlim(left=0)
    whole_ticks(below.xaxis)
    for axes, values in ((above, losses), (below, found)):
        plain_ticks(axes)
        if not len(values):
            say(axes, "nothing was logged", theme)
    return png(figure)


def _series(log: Rows, key: str) -> tuple[FloatArray, FloatArray]:
    """(steps, values) of the lines that have a number under this key."""
    pairs = [(line["step"], line[key]) for line in log if line.get(key) is not None]
    found = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    found = found[np.isfinite(found).all(1)]
    return found[:, 0], found[:, 1]


def _smooth(values: FloatArray) -> FloatArray:
    """Mean over a twentieth of the line about each place, which shrinks at both ends."""
    half = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    reach = np.minimum(np.minimum(places, len(values) - 1 - places), half)
    return np.asarray((sums[places + reach + 1] - sums[places - reach]) / (2 * reach + 1))
