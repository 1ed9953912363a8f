"""What is read off finished runs: errors by distance from the border, and by decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from placewise.decoders import DECODERS
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.heads.heatmap import Heatmap
from placewise.labels import KeypointDataset
from placewise.metrics import by_border_distance, errors
from placewise.run import Run
from placewise.tasks.keypoints.model import KeypointModel
from studies._findings import Measured
from studies.keypoints import material
from studies.keypoints.runs import REFERENCE, Outcome

EDGES = (0.0, 0.2, 0.5, 1.0)
"""Bands of the distance to the nearest border, as shares of half the shorter side."""


def bands(outcome: Outcome, arm: str) -> list[Measured | None]:
    """Error in % of the longer side in each band from the border; None where empty."""
    truth, sizes = material.truth_of(material.part(outcome.labels, "test"))
    by_seed = [
        [band["mean_error_px"] for band in by_border_distance(off, truth, sizes, EDGES)]
        for off in outcome.errors(arm)
    ]
    return [
        None if None in values else Measured.of([value * outcome.percent for value in values])
        for values in zip(*by_seed, strict=True)
    ]


def counted(outcome: Outcome) -> list[int]:
    """Labelled points of the test in each band."""
    truth, sizes = material.truth_of(material.part(outcome.labels, "test"))
    known = np.where(np.isfinite(truth).all(-1), 0.0, np.nan)
    return [band["count"] for band in by_border_distance(known, truth, sizes, EDGES)]


def decoded(outcome: Outcome, arm: str = REFERENCE) -> dict[str, Measured]:
    """Error in % of the longer side by decoder, from an arm's trained runs.

    Args:
        outcome: that holds them.
        arm: one that gives heatmaps.
    """
    found = {}
    for decoder in DECODERS.names():
        off = [read_with(run, outcome.labels, decoder) for run in outcome.runs(arm)]
        found[decoder] = Measured.of([float(np.nanmean(o)) * outcome.percent for o in off])
    return found


def read_with(run: Path, labels: KeypointDataset, decoder: str) -> FloatArray:
    """(test images, points) errors in pixels of a run's heatmaps; NaN where nothing is located.

    Args:
        run: folder of a trained run.
        labels: whose test images are read.
        decoder: member of `DECODERS`.

    Raises:
        SettingsError: the run does not give heatmaps.
    """
    model = Run.open(run).model(lambda words: None)
    if not isinstance(model, KeypointModel) or not isinstance(model.head, Heatmap):
        raise SettingsError(f"{run} does not give heatmaps; decoders read those of 'heatmap' only")
    model.head.decoder = DECODERS[decoder]()
    samples = material.part(labels, "test")
    points = [model.predict(labels.image(sample.image)).keypoints for sample in samples]
    return errors(np.stack(points), material.truth_of(samples)[0])
