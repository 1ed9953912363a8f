"""Any number of spots of several kinds on an image: cells, beads, platelets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from placewise.augment import Warp
from placewise.errors import DataError
from placewise.findings import Findings
from placewise.geometry import PIXEL_CONVENTION, FloatArray, Size, inside, rescale
from placewise.heads.spots import NO_KIND
from placewise.images import ImageArray
from placewise.labels import Dataset, Ignored, KeypointSample, SpotDataset
from placewise.metrics import F1, detection_scores
from placewise.model import PIXELS, ModelSettings, Scaled, Settings
from placewise.report.marks import Overlay
from placewise.report.parts import Card, Report, Section
from placewise.task import (
    Calibration,
    Needs,
    Progress,
    RunInfo,
    Scored,
    Suggestion,
    Target,
    Task,
    Validation,
)
from placewise.tasks.spots import check, scoring
from placewise.tasks.spots.demo import DEMO
from placewise.tasks.spots.drawing import draw_spots
from placewise.tasks.spots.export import counts_table, export
from placewise.tasks.spots.model import SpotModel
from placewise.tasks.spots.prediction import SpotPrediction, columns, read_rows
from placewise.tasks.spots.report import SPOT_WORDS, spot_sections, spot_tiles
from placewise.tasks.spots.suggesting import suggestion_of
from placewise.wording import PIXELS_OF, number, share

APART = 32.0
"""Pixels of the network between neighbours of a kind, from which whole images are shown to it."""

LEAST_RADIUS = 2.0
"""Pixels of the map within which there is one spot of a kind at most, whatever their distance."""

FEW, APART_IN_TIME = 1.0, 2 / 3
"""Percent of the events of recordings that may be nearer to the next than all others are, and share
of that time within which there is one event at most. How dense spots lie differs from one image to
the next; the least time between two heartbeats hardly differs."""

CARD_SIDE = (420, 640)
"""Least and most pixels along the longer side of an image on a report."""

Data = Dataset[KeypointSample]
Samples = Sequence[KeypointSample]
Found = Sequence[SpotPrediction]
Held = Scored[KeypointSample, SpotPrediction]


@dataclass(frozen=True)
class SpotTarget(Target):
    """Spots, which move with the image; those that leave it are gone.

    Attributes:
        points: (n, axes) of (x, y, …) in pixels.
        kinds: (n,) number of the kind of each.
        known: (kinds,) whether spots of a kind are labelled, if there are any.
        ignored: (kind, lowest corner, highest corner) of boxes in which they are not.
        boxes: whether any image of the labels has such boxes, so that masks are needed.
    """

    points: FloatArray
    kinds: NDArray[np.intp]
    known: NDArray[np.bool_]
    ignored: tuple[tuple[int, FloatArray, FloatArray], ...] = ()
    boxes: bool = False

    def scaled(self, ratio: tuple[float, ...]) -> SpotTarget:
        """The same on the scaled image."""
        ignored = tuple(
            (k, rescale(low, ratio), rescale(high, ratio)) for k, low, high in self.ignored
        )
        return replace(self, points=rescale(self.points, ratio), ignored=ignored)

    def encode(self, warp: Warp) -> tuple[Tensor, Tensor, Tensor]:
        """(n, axes) places, (n,) kinds, and what is known of the kinds; see `Spots.loss`."""
        moved = warp.forward(self.points)
        stays = inside(moved, warp.size)
        sides = warp.size if self.boxes else (1,) * len(warp.size)
        known = np.broadcast_to(
            self.known.reshape(-1, *[1] * len(sides)), (len(self.known), *sides)
        ).copy()
        for kind, low, high in self.ignored:
            known[kind] &= ~warp.shows(low, high)
        places = torch.from_numpy(moved[stays].astype(np.float32))
        return places, torch.from_numpy(self.kinds[stays].astype(np.int64)), torch.from_numpy(known)


class Thresholds(Calibration, extra="forbid"):
    """From which score on a candidate counts as a spot.

    Attributes:
        tolerance_px: pixels within which a found spot was taken for a labelled one.
        thresholds: score for each kind.
    """

    tolerance_px: float = Field(gt=0, le=1e9)
    thresholds: dict[str, float]


class Spots(Task[KeypointSample, SpotPrediction]):
    """Where spots are and how many: chosen by F1, with thresholds from validation images."""

    noun = "kinds of spots"
    head = "spots"
    network = SpotModel
    metric = F1
    options = frozenset({"tolerance"})
    words = SPOT_WORDS
    calibration = Thresholds
    demo = DEMO

    def target(self, dataset: Data, sample: KeypointSample) -> SpotTarget:
        """All spots of an image."""
        labels = spots_of(dataset)
        points, kinds = labels.kinds(sample)
        boxes = tuple(_box(labels, box) for box in sample.ignored)
        return SpotTarget(points, kinds, labels.known(sample), boxes, labels.has_ignored)

    def usable(self, dataset: Data) -> Data:
        """The images on which some kind is labelled, also as absent."""
        labels = spots_of(dataset)
        known = tuple(s for s in labels.samples if labels.known(s).any())
        if not any(sample.located.any() for sample in known):
            raise DataError("no spot is labelled on any image, so there is nothing to learn")
        return labels if len(known) == len(labels.samples) else replace(labels, samples=known)

    def check_splits(self, dataset: Data, splits: Mapping[str, Samples]) -> None:
        """Refuse training or validation images without a labelled spot."""
        for split, use in (("train", "learn from"), ("val", "choose the weights by")):
            if not any(sample.located.any() for sample in splits.get(split, ())):
                raise DataError(
                    f"no spot is labelled on any image of the split '{split}', so there is nothing "
                    f"to {use}; label some of its images, or change the split"
                )

    def notes(self, dataset: Data) -> list[str]:
        """The tolerance, and where it comes from."""
        labels = spots_of(dataset)
        near, unit = labels.near, PIXELS_OF[labels.axes]
        apart = f", and half of {number(near)} {unit} between neighbours" if near else ""
        usual = "150 ms" if labels.seconds else "2.5 % of the image's diagonal"
        return [
            f"a found spot counts as a labelled one within {number(labels.tolerance)} {unit}: the "
            f"smaller of {usual}{apart} (evaluate takes --tolerance)"
        ]

    def needs(self, dataset: Data, samples: Samples, head: str) -> Needs:
        """Whole images where neighbours stay `APART` pixels apart; else crops that keep them so.

        Of signals and volumes there are always crops.
        """
        labels = spots_of(dataset)
        near = labels.near
        side = np.sqrt(np.median([math.prod(sample.size) for sample in samples]) / PIXELS)
        apart = near is not None and near >= APART * float(side)
        return Needs(near, _kept_apart(labels, samples), whole=apart and labels.axes == 2)

    def head_defaults(self, defaults: Settings, needs: Needs) -> Settings:
        """A radius of a quarter of the distance between neighbours, on maps of stride 2.

        Of events of a recording it is more, where they keep apart: see `APART_IN_TIME`.
        """
        if not needs.extent:
            return {}
        radius = max(needs.extent / 4, (needs.apart or 0.0) * APART_IN_TIME)
        return {"radius": max(LEAST_RADIUS, round(radius / 2, 1))}

    def augmentation(self, dataset: Data, samples: Samples) -> dict[str, Any]:
        """Images are mirrored and turned by any angle: spots have no direction, but time has."""
        return {"flip": False} if spots_of(dataset).axes == 1 else {"flip": True, "rotate": 180.0}

    def stamp(self, sample: KeypointSample) -> bytes:
        """Coordinates, visibility and ignored boxes."""
        boxes = repr(sample.ignored).encode() if sample.ignored else b""
        return sample.points.round(6).tobytes() + sample.visibility.tobytes() + boxes

    def collate(self, items: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        """Items as one batch, filled up to the image with the most spots."""
        images, points, kinds, known, index = zip(*items, strict=True)
        most = max(len(one) for one in points)
        places = torch.zeros(len(items), most, points[0].shape[1])
        of = torch.full((len(items), most), NO_KIND)
        for row, (one, kind) in enumerate(zip(points, kinds, strict=True)):
            places[row, : len(one)], of[row, : len(one)] = one, kind
        return torch.stack(images), places, of, torch.stack(known), torch.tensor(index)

    def measures(self, dataset: Data, sample: KeypointSample, one: SpotPrediction) -> FloatArray:
        """(1,) F1 of all spots on an image; NaN where none is labelled or found."""
        f1 = self._on_image(dataset, sample, one)["f1"]
        return np.array([np.nan if f1 is None else f1])

    def _on_image(
        self, dataset: Data, sample: KeypointSample, one: SpotPrediction
    ) -> dict[str, Any]:
        labels = spots_of(dataset)
        sets = [
            spots.above(one.thresholds[one.names.index(name)])
            for kind, name in enumerate(labels.names)
            if (spots := scoring.spot_set(labels, sample, one, kind)) is not None
        ]
        return detection_scores(sets, one.tolerance or labels.tolerance)

    def validate(self, dataset: Data, samples: Samples, found: Found) -> Validation:
        """F1 with the thresholds that suit these images best, averaged over the kinds."""
        labels = spots_of(dataset)
        kinds = scoring.f1_on_validation(labels, samples, found, labels.tolerance)
        known = {name: f1 for name, f1 in kinds.items() if f1 is not None}
        if not known:
            return Validation({"val_f1": None}, None, "")
        mean = float(np.mean(list(known.values())))
        each = ", ".join(f"{name} {share(f1)}" for name, f1 in list(known.items())[:4])
        return Validation({"val_f1": mean}, -mean, f"F1 {share(mean)} ({each})")

    def calibrate(self, dataset: Data, samples: Samples, found: Found) -> dict[str, Any]:
        """The threshold of each kind with the largest F1, and the tolerance."""
        labels = spots_of(dataset)
        thresholds = scoring.choose_thresholds(labels, samples, found, labels.tolerance)
        return {"tolerance_px": labels.tolerance, "thresholds": thresholds}

    def score(self, held: Held) -> dict[str, Any]:
        """Precision, recall, F1, AP, localisation and counting errors of each kind."""
        return scoring.score(held, spots_of(held.dataset))

    def draw(
        self,
        model: Any,
        pixels: ImageArray,
        one: SpotPrediction,
        *,
        dataset: Data | None = None,
        sample: KeypointSample | None = None,
        threshold: float = 0.5,
        card: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> Overlay:
        """The image with its spots, and the labels where there are some."""
        more: dict[str, Any] = {"side": CARD_SIDE} if card else {"legend": True}
        more["spacing"] = spacing
        if dataset is not None and sample is not None:
            labels = spots_of(dataset)
            truth, kinds = labels.kinds(sample)
            order = np.array([one.names.index(name) for name in labels.names])
            tolerance = one.tolerance or labels.tolerance
            more |= {"truth": truth, "truth_kinds": order[kinds], "tolerance": tolerance}
        return draw_spots(pixels, one.points, one.kinds, one.names, **more)

    def caption(self, dataset: Data, sample: KeypointSample, one: SpotPrediction) -> str:
        """The image, its F1, and how many spots are there and found."""
        scores = self._on_image(dataset, sample, one)
        counts = f"{scores['found']} found, {scores['labelled']} labelled"
        said = "" if scores["f1"] is None else f"F1 {share(scores['f1'])}, "
        return f"{one.image}: {said}{counts}"

    def legend(self, names: Sequence[str]) -> tuple[str, ...]:
        """The kinds."""
        return tuple(names)

    def columns(self, names: Sequence[str]) -> list[str]:
        """A row for each spot."""
        return columns()

    def suggest(self, model: SpotModel, shown: Scaled, size: Size) -> Suggestion:
        """The spots that count, and as maxima those that do not; see `Task.suggest`."""
        (one,) = model.predict_scaled(shown[None], [size])
        return suggestion_of(one)

    def header(self, model: Any) -> list[str]:
        """With as many coordinates as the model's images have axes."""
        return columns(model.input.axes)

    def about(self) -> dict[str, str]:
        """The columns, and the convention of the coordinates."""
        return {
            "pixel_convention": PIXEL_CONVENTION,
            "keypoint": "kind of the spot",
            "score": "how sure the network is; spots below the threshold of their kind, which was "
            "chosen on validation images, are left out",
            "counts.csv": "number of spots of each kind on each image",
        }

    def export(
        self,
        root: Path,
        settings: ModelSettings,
        rows: Iterable[tuple[str, Size, list[list[str]]]],
        out: Path,
        threshold: float,
    ) -> None:
        """COCO, points.csv and the counts."""
        found = [read_rows(settings.names, image, size, cells) for image, size, cells in rows]
        export(root, settings, found, out)

    def save_all(self, held: Held, folder: Path) -> None:
        """The counts, found and labelled."""
        counts_table(held.found, folder, spots_of(held.dataset), held.samples)

    def verdict(self, scores: Mapping[str, Any]) -> str:
        """How many of each kind are found, in words."""
        return scoring.verdict(scores)

    def tiles(self, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
        """F1, counting error and tolerance."""
        return spot_tiles(scores)

    def sections(
        self,
        scores: Mapping[str, Any],
        held: Held | None = None,
        best: Sequence[Card] = (),
        worst: Sequence[Card] = (),
    ) -> list[Section]:
        """Kinds, distances, border, counts and images."""
        return spot_sections(scores, held, best, worst)

    def report(
        self, scores: Mapping[str, Any], held: Held | None = None, info: RunInfo | None = None
    ) -> Report:
        """Scores as a report, whose images are judged by the tolerance of the scores."""
        if held is not None:
            tolerance = float(scores["tolerance_px"])
            held = replace(held, found=[replace(one, tolerance=tolerance) for one in held.found])
        return super().report(scores, held, info)

    def check(self, dataset: Data, *, seed: int = 0, progress: Progress | None = None) -> Findings:
        """Look at labels of spots and their images."""
        return check.look(spots_of(dataset), seed, progress)


def spots_of(dataset: Data) -> SpotDataset:
    """The labels, if they are of spots.

    Raises:
        DataError: they are of something else.
    """
    if not isinstance(dataset, SpotDataset):
        raise DataError(f"got labels of {dataset.what}; needed are labels of spots")
    return dataset


def _kept_apart(labels: SpotDataset, samples: Samples) -> float | None:
    """Samples that all but `FEW` percent of the events of recordings keep to the next one."""
    if labels.axes != 1:
        return None
    distances = replace(labels, samples=tuple(samples)).distances
    return float(np.percentile(distances, FEW)) if len(distances) else None


def _box(dataset: SpotDataset, box: Ignored) -> tuple[int, FloatArray, FloatArray]:
    return dataset.names.index(box.name), np.array(box.low), np.array(box.high)
