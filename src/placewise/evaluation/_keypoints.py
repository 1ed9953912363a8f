"""How far off the keypoints are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.data import single
from placewise.errors import SettingsError
from placewise.evaluation._scoring import CARDS, Scoring, kind_of
from placewise.geometry import FloatArray
from placewise.labels import KeypointDataset, KeypointSample
from placewise.metrics import errors, mean_position_baseline, score_table
from placewise.model import KeypointModel, decode_floor
from placewise.prediction import Prediction, prediction, table
from placewise.report.drawing import keypoints
from placewise.report.keypoints import (
    KEYPOINT_WORDS,
    VALIDATION,
    keypoint_sections,
    keypoint_tiles,
)
from placewise.report.parts import Report
from placewise.report.run import making_section, training_section
from placewise.run import Run

CARD_SIDE = (360, 480)
"""Least and most pixels along the longer side of an image on the report."""


class KeypointScoring(Scoring[KeypointSample, KeypointModel]):
    """Keypoints against labelled points; see `Scoring`.

    Args:
        run: the run.
        labels: the labels.
        samples: those to score.
        pck_pair: two points whose distance is the unit of PCK; None: the image's diagonal.
    """

    labels: KeypointDataset
    found: list[Prediction]

    def __init__(
        self,
        run: Run,
        labels: KeypointDataset,
        samples: Sequence[KeypointSample],
        pck_pair: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(run, labels, samples)
        self.order, self.pck_pair = _order(run.facts.model.names, labels), pck_pair
        self.truth, self.visibility = _truth(samples, labels, self.order)

    def score(
        self, model: KeypointModel, progress: Callable[[int, int], None] | None
    ) -> dict[str, Any]:
        """Errors, PCK, OKS, presence and radii, beside what no training could do better."""
        factor = self.run.radius_factor()
        self.found = []
        for number, sample in enumerate(self.samples):
            located = model.locate(self.labels.image(sample.image))
            self.found.append(prediction(sample.image, sample.size, located, factor))
            if progress:
                progress(number + 1, len(self.samples))
        scores = score_table(
            names=self.run.facts.model.names,
            sizes=np.array([one.size for one in self.found]),
            truth=self.truth,
            visibility=self.visibility,
            predicted=np.stack([one.points for one in self.found]),
            scores=np.stack([one.scores for one in self.found]),
            radii=np.stack([one.radii for one in self.found]),
            pck_pair=self.pck_pair,
        )
        scores["decode_floor_px"] = decode_floor(model, self.samples, self.truth, self.visibility)
        scores["mean_position_baseline_px"] = self._baseline()
        scores["pixel_convention"] = self.run.facts.pixel_convention
        return scores

    def _baseline(self) -> float | None:
        """Error of always answering the training mean; None where the training set is not here."""
        images = set(self.run.facts.split["train"])
        trained = [sample for sample in self.labels.samples if sample.image in images]
        if not trained:
            return None
        points, _ = _truth(trained, self.labels, self.order)
        return mean_position_baseline(
            points,
            np.array([sample.size for sample in trained]),
            self.truth,
            np.array([sample.size for sample in self.samples]),
        )

    def table(self) -> str:
        """`image,point,x,y,score,r90`."""
        return table(self.run.facts.model.names, self.found)

    def page(self, scores: dict[str, Any]) -> str:
        """The report on keypoints."""
        off = errors(np.stack([one.points for one in self.found]), self.truth)
        mean = np.array([np.nanmean(row) if np.isfinite(row).any() else np.nan for row in off])
        ranked = [int(i) for i in np.argsort(mean) if np.isfinite(mean[i])]
        best = ranked[:CARDS]
        worst = [i for i in ranked[::-1][:CARDS] if i not in best]
        facts = self.run.facts
        settings = {"model": facts.model.model_dump(mode="json"), "training": facts.training}
        report = Report(
            title=self.run.path.resolve().name,
            verdict=verdict(scores),
            tiles=keypoint_tiles(scores),
            sections=[
                *keypoint_sections(
                    scores,
                    errors=off,
                    worst=[self._card(i, mean[i]) for i in worst],
                    best=[self._card(i, mean[i]) for i in best],
                ),
                training_section(self.run.log(), VALIDATION),
                making_section(settings, facts.versions, facts.fingerprint),
            ],
            words=KEYPOINT_WORDS,
        )
        return report.html()

    def _card(self, index: int, mean: float) -> tuple[str, NDArray[np.uint8]]:
        one = self.found[index]
        drawn = keypoints(
            self.labels.image(one.image),
            one.points,
            self.run.facts.model.names,
            truth=self.truth[index],
            radii=one.radii,
            scores=one.scores,
            skeleton=self.run.facts.model.skeleton,
            crop=True,
            side=CARD_SIDE,
        )
        return f"{one.image}: mean error {mean:.2f} px", drawn


def _order(names: Sequence[str], labels: KeypointDataset) -> list[int]:
    """Where each point of the run stands in the labels."""
    missing = [name for name in names if name not in labels.names]
    if missing:
        raise SettingsError(
            f"the labels lack the points {', '.join(missing)} of the run; they have "
            f"{', '.join(labels.names)}: rename them"
        )
    return [labels.names.index(name) for name in names]


def _truth(
    samples: Sequence[KeypointSample], labels: KeypointDataset, order: list[int]
) -> tuple[FloatArray, NDArray[np.int8]]:
    """(N, K, 2) points and (N, K) states in the order of the run's points."""
    pairs = [single(sample, labels.source) for sample in samples]
    points = np.stack([points for points, _ in pairs])[:, order]
    return points, np.stack([visibility for _, visibility in pairs])[:, order]


def verdict(scores: dict[str, Any]) -> str:
    """The first sentence of a report: how far off the keypoints are, in words."""
    if scores["mean_error_px"] is None:
        return f"No located point on the {scores['images']} {scores['split']} images."
    baseline = scores["mean_position_baseline_px"]
    beside = f" (always answering the mean place: {baseline:.1f} px)" if baseline else ""
    mean, median = scores["mean_error_px"], scores["median_error_px"]
    return (
        f"On {scores['images']} {kind_of(scores['split'])} images the keypoints are {mean:.2f} px "
        f"off on average, half of them less than {median:.2f} px{beside}."
    )
