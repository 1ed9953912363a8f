"""Spots for other programs, and how many there are."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from placewise.files import write_text
from placewise.formats import write_dataset
from placewise.labels import KeypointSample, SpotDataset, Visibility
from placewise.model import ModelSettings
from placewise.tasks.spots.prediction import SpotPrediction

COUNTS = "counts.csv"


def as_sample(one: SpotPrediction) -> KeypointSample:
    """Spots as labels: an instance for each, and a kind of which none is found is absent.

    Example:
        >>> nothing = SpotPrediction(("cell",), "a.png", (4, 4), np.empty((0, 2)),
        ...                          np.empty(0, int), np.empty(0), np.zeros(1))
        >>> as_sample(nothing).visibility.tolist()
        [[1]]
    """
    points, kinds, scores = one.points, one.kinds, one.scores
    shape = max(1, len(points)), len(one.names)
    places = np.full((*shape, len(one.size)), np.nan)
    seen = np.full(shape, Visibility.UNLABELLED, np.int8)
    sure = np.full(shape, np.nan)
    each = np.arange(len(points))
    seen[0, np.setdiff1d(np.arange(len(one.names)), kinds)] = Visibility.ABSENT
    places[each, kinds], seen[each, kinds], sure[each, kinds] = points, Visibility.VISIBLE, scores
    return KeypointSample(one.image, one.size, places, seen, scores=sure)


def export(root: Path, settings: ModelSettings, found: Sequence[SpotPrediction], out: Path) -> None:
    """Write spots for other programs: points.csv, COCO of images, and the counts.

    Args:
        root: folder of the images.
        settings: of the model, for the names of the kinds.
        found: the predictions.
        out: the folder.
    """
    dataset = SpotDataset(root, settings.names, tuple(map(as_sample, found)))
    if dataset.axes == 2:
        write_dataset(dataset, out / "predictions.coco.json", overwrite=True)
    write_dataset(dataset, out / "predictions.points.csv", overwrite=True)
    counts_table(found, out)


def counts_table(
    found: Sequence[SpotPrediction],
    folder: Path,
    dataset: SpotDataset | None = None,
    samples: Sequence[KeypointSample] = (),
) -> None:
    """Write `counts.csv`: a row for each image and kind.

    Args:
        found: the predictions.
        folder: where to.
        dataset: labels, whose counts are written too.
        samples: the labels of each image.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "kind", "count", *(["labelled"] if dataset else [])])
    for number, one in enumerate(found):
        labelled = _labelled(dataset, samples[number]) if dataset else {}
        for name, count in one.counts.items():
            writer.writerow([one.image, name, count, *([labelled[name]] if dataset else [])])
    write_text(folder / COUNTS, text.getvalue())


def _labelled(dataset: SpotDataset, sample: KeypointSample) -> dict[str, int | str]:
    """Number of labelled spots of each kind; nothing for a kind that is not labelled."""
    counts, known = sample.located.sum(0).tolist(), dataset.known(sample)
    pairs = zip(dataset.names, counts, known, strict=True)
    return {name: count if sure else "" for name, count, sure in pairs}
