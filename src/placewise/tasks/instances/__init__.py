"""Objects on images with their outlines: cells, nuclei, beads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from placewise.errors import DataError
from placewise.findings import Findings
from placewise.geometry import PIXEL_CONVENTION, FloatArray, Size
from placewise.images import ImageArray
from placewise.items import Items
from placewise.labels import Dataset, InstanceDataset, InstanceSample
from placewise.metrics import image_ap
from placewise.model import ModelSettings, Settings, choose_input
from placewise.report.drawing import SIDE
from placewise.report.marks import Overlay
from placewise.report.objects import outlined
from placewise.report.parts import Card, Section
from placewise.task import Calibration, Needs, Progress, Scored, Task, Validation
from placewise.tasks.instances import check, scoring
from placewise.tasks.instances.choosing import best_limits, usual_limits
from placewise.tasks.instances.demo import DEMO
from placewise.tasks.instances.items import InstanceItems
from placewise.tasks.instances.model import InstanceModel
from placewise.tasks.instances.prediction import InstancePrediction, columns, write_counts
from placewise.tasks.instances.report import (
    AP_50,
    INSTANCE_WORDS,
    VALIDATION,
    instance_sections,
    instance_tiles,
    verdict,
)
from placewise.tasks.instances.target import InstanceTarget, Store, diameters

Data = Dataset[InstanceSample]
Samples = Sequence[InstanceSample]
Found = Sequence[InstancePrediction]
Held = Scored[InstanceSample, InstancePrediction]

PEEK = 48
"""Training images whose objects are measured."""

CARD_SIDE = (360, 480)
"""Least and most pixels along the longer side of an image on a report."""

SIGMA = 0.1
"""Standard deviation about a centre for a pixel of the objects' size."""

UNIT = 0.25
"""Pixels for an offset of 1, for a pixel of the objects' size."""


class Limits(Calibration, extra="forbid"):
    """Thresholds that were chosen on validation images.

    Attributes:
        images: how many they were chosen on.
        foreground: probability above which a pixel is foreground.
        centre: score from which on a centre counts.
        agreement: how much a centre loses where the pixels that point at it do not agree; 0 in
            runs from before there was such a thing.
    """

    images: int = Field(ge=1, le=10**9)
    foreground: float = Field(ge=0, le=1)
    centre: float = Field(ge=0, le=1)
    agreement: float = Field(ge=0, le=100, default=0.0)


class Instances(Task[InstanceSample, InstancePrediction]):
    """Objects with their outlines: chosen by AP at an IoU of 0.5 on validation images."""

    noun = "objects"
    head = "instances"
    network = InstanceModel
    metric = AP_50
    chosen_by = VALIDATION
    words = INSTANCE_WORDS
    validated = 24
    calibration = Limits
    demo = DEMO

    def __init__(self) -> None:
        self._store = Store()

    def target(self, dataset: Data, sample: InstanceSample) -> InstanceTarget:
        """The object of each pixel."""
        known = _instances(dataset)
        several = len(known.names) > 1
        return InstanceTarget(
            lambda: self._store.truth(known, sample), sample.size, several=several
        )

    def check_splits(self, dataset: Data, splits: Mapping[str, Samples]) -> None:
        """Refuse training or validation images without any object."""
        for split, use in (("train", "learn from"), ("val", "choose the thresholds by")):
            if not any(self._truth(dataset, sample).max() > 0 for sample in splits.get(split, ())):
                raise DataError(
                    f"no object is labelled on any image of the split '{split}', so there is "
                    f"nothing to {use}; label some of its images, or change the split"
                )

    def needs(self, dataset: Data, samples: Samples, head: str) -> Needs:
        """The median size of the objects, which keep enough pixels."""
        sizes = object_sizes(_instances(dataset), samples)
        return Needs(float(np.median(sizes)) if len(sizes) else None)

    def head_defaults(self, defaults: Settings, needs: Needs) -> Settings:
        """Width of a centre and unit of offsets: shares of the objects' size."""
        if not needs.extent:
            return {}
        told = {"sigma": float(np.clip(round(SIGMA * needs.extent, 1), 1.0, 8.0))}
        told["unit"] = float(np.clip(round(UNIT * needs.extent, 1), 1.0, 1000.0))
        return {name: value for name, value in told.items() if name in defaults}

    def augmentation(self, dataset: Data, samples: Samples) -> dict[str, Any]:
        """Mirrored and turned every way: an object has no left or right. Time has a direction."""
        axes = len(samples[0].size) if samples else 2
        return {"flip": axes > 1, "turns": axes == 2}

    def stamp(self, sample: InstanceSample) -> bytes:
        """The objects of its pixels."""
        return sample.truth.digest()

    def _truth(self, dataset: Data, sample: InstanceSample) -> Any:
        """(*size,) label map."""
        return self._store.truth(_instances(dataset), sample)[0]

    def measures(
        self, dataset: Data, sample: InstanceSample, one: InstancePrediction
    ) -> FloatArray:
        """AP at an IoU of 0.5 of the image; NaN where nothing is labelled or found."""
        return np.array([image_ap(self._truth(dataset, sample), one.labels)])

    def validate(self, dataset: Data, samples: Samples, found: Found) -> Validation:
        """AP at an IoU of 0.5 over all objects, with the better of a few thresholds."""
        truths = [self._truth(dataset, sample) for sample in samples]
        limits, value = usual_limits(found, truths)
        summary = "" if value is None else f"{AP_50.label} {AP_50.shown(value)}"
        log = {VALIDATION.name: value, "val_centre": limits.centre}
        return Validation(log, None if value is None else -value, summary)

    def calibrate(self, dataset: Data, samples: Samples, found: Found) -> dict[str, Any]:
        """The thresholds with the best AP on validation images."""
        truths = [self._truth(dataset, sample) for sample in samples]
        limits, _ = best_limits(found, truths)
        return {"images": len(samples), **limits._asdict()}

    def score(self, held: Held) -> dict[str, Any]:
        """AP over IoU, PQ, counts, touching pairs, by kind and by place."""
        truths = [self._store.truth(_instances(held.dataset), sample) for sample in held.samples]
        return scoring.score(held, truths)

    def draw(
        self,
        model: Any,
        pixels: ImageArray,
        one: InstancePrediction,
        *,
        dataset: Data | None = None,
        sample: InstanceSample | None = None,
        threshold: float = 0.5,
        card: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> Overlay:
        """The image with outlines; on a report in colours of right, false and missed."""
        side = CARD_SIDE if card else SIDE
        if dataset is None or sample is None:
            return outlined(pixels, [(one.labels, None)], side=side, spacing=spacing)
        truth = self._truth(dataset, sample)
        return scoring.drawn(pixels, one.labels, truth, side=side, spacing=spacing)

    def caption(self, dataset: Data, sample: InstanceSample, one: InstancePrediction) -> str:
        """The image, its AP and its counts."""
        truth = self._truth(dataset, sample)
        value = AP_50.shown(float(image_ap(truth, one.labels)))
        labelled = int(truth.max(initial=0))
        return f"{one.image}: AP {value}; {len(one)} found, {labelled} labelled"

    def columns(self, names: Sequence[str]) -> list[str]:
        """A row for each object of an image."""
        return columns()

    def header(self, model: Any) -> list[str]:
        """The same, with as many coordinates as images have axes."""
        return columns(model.head.spatial_dims)

    def truth_cells(self, dataset: Data, sample: InstanceSample) -> tuple[list[str], list[Any]]:
        """How many objects are labelled on the image."""
        return ["labelled_objects"], [int(self._truth(dataset, sample).max(initial=0))]

    def about(self) -> dict[str, str]:
        """The columns, and the convention of the coordinates."""
        return {
            "pixel_convention": PIXEL_CONVENTION,
            "instance": "the object's number in instances/IMAGE; 0 is background there",
            "x, y": "mean place of the object's pixels",
            "area": "pixels of the object",
            "score": "score of the centre times the mean probability of the object's pixels",
            "touches_border": "the border of the image cuts the object",
        }

    def save(self, one: InstancePrediction, folder: Path, source: Path | None = None) -> None:
        """The label map; see `InstancePrediction.save`."""
        one.save(folder, source)

    def export(
        self,
        root: Path,
        settings: ModelSettings,
        rows: Iterable[tuple[str, Size, list[list[str]]]],
        out: Path,
        threshold: float,
    ) -> None:
        """How many objects of each kind are on each image: counts.csv."""
        write_counts(settings.names, rows, out / "counts.csv")

    def items(self, model: Any, dataset: Data, samples: Samples) -> Items:
        """AP of each image that shows an object."""
        return InstanceItems(model, _instances(dataset), samples)

    def check(self, dataset: Data, *, seed: int = 0, progress: Progress | None = None) -> Findings:
        """Look at labelled objects and their images."""
        known = _instances(dataset)
        sizes = object_sizes(known, dataset.samples)
        extent = float(np.median(sizes)) if len(sizes) else None
        scale = choose_input(dataset, dataset.samples, extent, seed).scale
        return check.look(known, scale, seed, progress)

    def verdict(self, scores: Mapping[str, Any]) -> str:
        """How many objects are found, in words."""
        return verdict(scores)

    def tiles(self, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
        """AP at two overlaps, PQ and the counting error."""
        return instance_tiles(scores)

    def sections(
        self,
        scores: Mapping[str, Any],
        held: Held | None = None,
        best: Sequence[Card] = (),
        worst: Sequence[Card] = (),
    ) -> list[Section]:
        """Images, AP over IoU, counts, touching objects, kinds, and where objects are."""
        return instance_sections(scores, worst=worst, best=best)


def object_sizes(dataset: InstanceDataset, samples: Samples) -> FloatArray:
    """Diameters in pixels of discs (or balls, or intervals) as large as the objects of some images.

    Args:
        dataset: the labels.
        samples: of which up to `PEEK` are looked at, evenly spread.
    """
    found = [np.empty(0)]
    for sample in samples[:: -(-len(samples) // PEEK) or 1]:
        labels, _ = dataset.instances(sample)
        found.append(diameters(np.bincount(labels[labels > 0])[1:], labels.ndim))
    return np.concatenate(found)


def _instances(dataset: Data) -> InstanceDataset:
    if not isinstance(dataset, InstanceDataset):
        raise DataError(f"got labels of {dataset.what}; needed are objects")
    return dataset
