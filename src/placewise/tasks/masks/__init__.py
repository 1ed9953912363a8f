"""What the pixels of images are: one class or several, or background."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from placewise.errors import DataError
from placewise.family import complete_settings
from placewise.findings import Findings
from placewise.geometry import FloatArray
from placewise.heads import HEADS
from placewise.images import ImageArray
from placewise.items import Items
from placewise.labels import Dataset, MaskDataset, MaskSample
from placewise.mask_losses import MASK_LOSSES
from placewise.metrics import Metric, best_threshold, edge
from placewise.model import ModelSettings
from placewise.model.inputs import BUDGET, DETAIL
from placewise.report.marks import Overlay
from placewise.report.parts import Card, Section
from placewise.report.run import metric_tiles
from placewise.task import Calibration, Needs, Progress, Scored, Task, Validation
from placewise.tasks.masks import check, report, scoring
from placewise.tasks.masks.demo import DEMO
from placewise.tasks.masks.drawing import compared, outlined
from placewise.tasks.masks.huge import HugeMask
from placewise.tasks.masks.items import MaskItems
from placewise.tasks.masks.model import MaskModel
from placewise.tasks.masks.overlap import dices, pooled_dice
from placewise.tasks.masks.prediction import COLUMNS, MaskPrediction
from placewise.tasks.masks.report import MASK_WORDS
from placewise.tasks.masks.target import MaskTarget, Store

Data = Dataset[MaskSample]
Samples = Sequence[MaskSample]
Found = Sequence[MaskPrediction]
Held = Scored[MaskSample, MaskPrediction]

DICE = Metric(
    "dice",
    "Dice",
    "",
    "twice the pixels that both masks share, over the pixels of both; 1 is perfect",
    "higher",
    equal=0.01,
)

THINNEST = 6.0
"""Mean width in pixels after scaling below which images are not scaled."""

FINE = 2
"""Stem of the U-Net for things that are thin."""

PEEK = 16
"""Training masks whose width is measured."""


class Threshold(Calibration, extra="forbid"):
    """What was chosen on validation images.

    Attributes:
        images: how many it was found with.
        threshold: probability above which a pixel is of the one class.
    """

    images: int = Field(ge=1, le=10**9)
    threshold: float = Field(ge=0, le=1)


class Masks(Task[MaskSample, MaskPrediction]):
    """What pixels are: chosen by Dice; the threshold of a single class by validation images."""

    noun = "classes of pixels"
    head = "masks"
    network = MaskModel
    metric = DICE
    batch_size = 4
    validated = 24
    calibration = Threshold
    words = MASK_WORDS
    demo = DEMO

    def __init__(self) -> None:
        self._store = Store()

    def for_model(self, settings: ModelSettings) -> Self:
        """With skeletons, where the loss needs them; see `Task.for_model`."""
        given = complete_settings(HEADS[settings.head], "head", settings.head_settings)
        loss = given.get("loss")
        needed = isinstance(loss, str) and MASK_LOSSES[loss].skeletons
        made = type(self)()
        made._store = Store(skeletons=needed)
        return made

    def target(self, dataset: Data, sample: MaskSample) -> MaskTarget:
        """The class of each pixel."""
        known = _masks(dataset)
        return MaskTarget(lambda: self._store.truth(known, sample), sample.size)

    def check_splits(self, dataset: Data, splits: Mapping[str, Samples]) -> None:
        """Refuse training or validation images on which nothing is labelled."""
        for split, use in (("train", "learn from"), ("val", "choose the weights by")):
            truths = (self._truth(dataset, sample) for sample in splits.get(split, ()))
            if not any((truth > 0).any() for truth in truths):
                raise DataError(
                    f"nothing is labelled on any image of the split '{split}', so there is nothing "
                    f"to {use}; label some of its images, or change the split"
                )

    def needs(self, dataset: Data, samples: Samples, head: str) -> Needs:
        """Full scale and a finer network where what is labelled is thin."""
        width = mean_width(_masks(dataset), samples)
        thin = width is not None and width * usual_scale(samples) < THINNEST
        return Needs(full=thin, stem=FINE if thin else None)

    def augmentation(self, dataset: Data, samples: Samples) -> dict[str, Any]:
        """Mirrored and turned every way: a mask has no left or right. A signal has a direction."""
        axes = len(samples[0].size) if samples else 2
        return {"flip": axes > 1, "turns": axes == 2}

    def stamp(self, sample: MaskSample) -> bytes:
        """The labels of its pixels."""
        return sample.truth.digest()

    def _truth(self, dataset: Data, sample: MaskSample) -> Any:
        return self._store.truth(_masks(dataset), sample).mask

    def measures(self, dataset: Data, sample: MaskSample, one: MaskPrediction) -> FloatArray:
        """Dice of each class; NaN where it is neither labelled nor found."""
        truth = self._truth(dataset, sample)
        return dices(truth, one.mask, len(dataset.names))

    def validate(self, dataset: Data, samples: Samples, found: Found) -> Validation:
        """Dice over all pixels together, mean over the classes, with the best threshold."""
        truths = [self._truth(dataset, sample) for sample in samples]
        threshold: float | None = None
        if len(dataset.names) == 1:
            threshold, value = best_threshold([one.chances for one in found], truths)
        else:
            value = pooled_dice(truths, [one.mask for one in found], len(dataset.names))
        summary = "" if value is None else f"{DICE.label} {DICE.shown(value)}"
        score = None if value is None else -value
        return Validation({"val_dice": value, "val_threshold": threshold}, score, summary)

    def calibrate(self, dataset: Data, samples: Samples, found: Found) -> dict[str, Any]:
        """The threshold of a single class with the greatest Dice on validation images."""
        if len(dataset.names) > 1:
            return {}
        truths = [self._truth(dataset, sample) for sample in samples]
        threshold, _ = best_threshold([one.chances for one in found], truths)
        return {"images": len(samples), "threshold": threshold}

    def items(self, model: Any, dataset: Any, samples: Samples) -> Items:
        """Dice of each class on each image that shows it."""
        return MaskItems(model, dataset, samples)

    def draw(
        self,
        model: Any,
        pixels: ImageArray,
        one: MaskPrediction,
        *,
        dataset: Data | None = None,
        sample: MaskSample | None = None,
        threshold: float = 0.5,
        card: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> Overlay:
        """Outlines of the classes; with labels on a card what is right, missed and invented."""
        truth = None if dataset is None or sample is None else self._truth(dataset, sample)
        if card and truth is not None:
            return compared(pixels, one.mask, truth, spacing)
        return outlined(pixels, one.mask, truth, spacing)

    def caption(self, dataset: Data, sample: MaskSample, one: MaskPrediction) -> str:
        """The image with the Dice of its classes."""
        values = self.measures(dataset, sample, one)
        known = values[np.isfinite(values)]
        said = DICE.shown(float(known.mean())) if len(known) else "nothing labelled or found"
        return f"{one.image}: {DICE.label} {said}" if len(known) else f"{one.image}: {said}"

    def legend(self, names: Sequence[str]) -> tuple[str, ...]:
        """The classes."""
        return tuple(names)

    def score(self, held: Held) -> dict[str, Any]:
        """Overlap, middle lines, outlines and pieces, by class and together."""
        truths = [self._truth(held.dataset, sample) for sample in held.samples]
        spacings = [held.dataset.images.spacing(sample.image) for sample in held.samples]
        return scoring.score(held.dataset.names, truths, held.found, spacings)

    def check(self, dataset: Data, *, seed: int = 0, progress: Progress | None = None) -> Findings:
        """Look at masks and their images."""
        known = _masks(dataset)
        full = self.needs(known, known.samples, self.head).full if known.samples else True
        return check.look(known, 1.0 if full else usual_scale(known.samples), seed, progress)

    def columns(self, names: Sequence[str]) -> list[str]:
        """A row for each class of an image."""
        return list(COLUMNS)

    def about(self) -> dict[str, str]:
        """The columns, and the files of masks."""
        return {
            "class": "a row for each class of an image",
            "area": "pixels of the class",
            "share": "of the image's pixels",
            "components": "connected pieces; pixels that touch at a corner are connected",
            "masks": "masks/NAME.png holds the number of the class of each pixel, 0 background",
        }

    def verdict(self, scores: Mapping[str, Any]) -> str:
        """The Dice of the masks."""
        return scoring.verdict(scores)

    def tiles(self, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Dice, clDice and the outlines."""
        shown = ["dice", "cldice", "boundary_f1"]
        return metric_tiles([DICE, *scoring.MASK_METRICS], shown, scores)

    def sections(
        self,
        scores: Mapping[str, Any],
        held: Held | None = None,
        best: Sequence[Card] = (),
        worst: Sequence[Card] = (),
    ) -> list[Section]:
        """Scores, each class, the border, and the worst and best images."""
        return report.sections(scores, DICE, best, worst)

    def save(
        self, one: MaskPrediction | HugeMask, folder: Path, source: Path | None = None
    ) -> None:
        """The mask itself; see `MaskPrediction.save`."""
        one.save(folder, source)


def _masks(dataset: Data) -> MaskDataset:
    if not isinstance(dataset, MaskDataset):
        raise DataError(f"got labels of {dataset.what}; needed are masks of classes")
    return dataset


def mean_width(dataset: MaskDataset, samples: Samples) -> float | None:
    """Mean width in pixels of what is labelled, each piece of its length alike; None without any.

    A strip of width w and length l has w·l pixels, 2·l of which are on its edge.
    """
    area, edges = 0, 0
    for sample in samples[:: math.ceil(len(samples) / PEEK)]:
        mask = dataset.mask(sample)
        for number in np.unique(mask[mask > 0]):
            there = mask == number
            area += int(there.sum())
            edges += int(edge(there, mask >= 0).sum())
    return 2 * area / edges if edges else None


def usual_scale(samples: Samples) -> float:
    """About how much images are scaled down where nothing asks for more."""
    axes = len(samples[0].size)
    pixels = float(np.median([math.prod(sample.size) for sample in samples]))
    return min(1.0, float((DETAIL * BUDGET[axes] / pixels) ** (1 / axes)))
