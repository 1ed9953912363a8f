"""What images show: one class for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from placewise.augment import Warp
from placewise.errors import DataError
from placewise.findings import Findings
from placewise.geometry import FloatArray
from placewise.images import ImageArray
from placewise.items import Items
from placewise.labels import NOT_LABELLED, ClassDataset, ClassSample, Dataset
from placewise.metrics import ACCURACY, COLDEST, HOTTEST, log_loss, temperature
from placewise.report.marks import Overlay
from placewise.report.parts import Card, Section
from placewise.task import CARDS, Calibration, Needs, Progress, Scored, Target, Task, Validation
from placewise.tasks.classes import check, permuted, scoring
from placewise.tasks.classes.demo import DEMO
from placewise.tasks.classes.evidence import Line, answered, card
from placewise.tasks.classes.items import ClassItems
from placewise.tasks.classes.model import ClassModel
from placewise.tasks.classes.prediction import NAMED, ClassPrediction, columns
from placewise.tasks.classes.report import CLASS_WORDS, VALIDATION, class_sections, class_tiles
from placewise.wording import number, percent

WIDE = 1.5
"""Width of the drawing of a spectrogram for its height, at least about."""

PLACE_WORDS = (
    (
        "place-use index",
        "Accuracy minus the accuracy of the same arm trained behind a fixed permutation of the "
        "positions of its feature map: 0 for a head that does not use which positions are "
        "neighbours.",
    ),
    (
        "R_f, deformation sensitivity",
        "How much a smooth deformation by about a pixel changes the prediction, compared with "
        "noise of the same size; small is stable.",
    ),
)
"""What a comparison says of the sense of place."""

Data = Dataset[ClassSample]
Samples = Sequence[ClassSample]
Found = Sequence[ClassPrediction]
Held = Scored[ClassSample, ClassPrediction]


@dataclass(frozen=True)
class ClassTarget(Target):
    """The class of an image, which no warp changes.

    Attributes:
        label: its number; None where it is not known.
    """

    label: int | None

    def encode(self, warp: Warp) -> tuple[int]:
        """The number of the class."""
        return (NOT_LABELLED if self.label is None else self.label,)


class Temperature(Calibration, extra="forbid"):
    """What makes the probabilities honest.

    Attributes:
        images: how many it was found with.
        temperature: what logits are divided by.
    """

    images: int = Field(ge=1, le=10**9)
    temperature: float = Field(ge=COLDEST, le=HOTTEST)


class Classes(Task[ClassSample, ClassPrediction]):
    """What images show: chosen by the log loss, calibrated by a temperature."""

    noun = "classes"
    head = "convolutional"
    network = ClassModel
    metric = ACCURACY
    places = False
    batch_size = 32
    validated = 512
    words = CLASS_WORDS
    place_words = PLACE_WORDS
    chosen_by = VALIDATION
    calibration = Temperature
    demo = DEMO
    control = f"{permuted.__name__}:{permuted.Permuted.__name__}"

    def target(self, dataset: Data, sample: ClassSample) -> ClassTarget:
        """The class."""
        return ClassTarget(sample.label)

    def usable(self, dataset: Data) -> ClassDataset:
        """Images whose class is known.

        Raises:
            DataError: there is none.
        """
        found = _classes(dataset).labelled()
        if not found.samples:
            raise DataError("no image has a class, so there is nothing to learn; label some")
        return found

    def needs(self, dataset: Data, samples: Samples, head: str) -> Needs:
        """Whole images, at their own size where they are small."""
        return Needs(whole=True, fit=True)

    def augmentation(self, dataset: Data, samples: Samples) -> dict[str, Any]:
        """Mild changes, and no mirroring: a mirrored letter is another one, or none."""
        return {"flip": False, "rotate": 10.0, "scale": [0.85, 1.15], "shear": 5.0}

    def stamp(self, sample: ClassSample) -> bytes:
        """The class."""
        return f"{sample.label}\0".encode()

    def measures(self, dataset: Data, sample: ClassSample, one: ClassPrediction) -> FloatArray:
        """1 where the class is right, else 0."""
        right = np.nan if sample.label is None else float(one.name == dataset.names[sample.label])
        return np.array([right])

    def validate(self, dataset: Data, samples: Samples, found: Found) -> Validation:
        """Log loss, which chooses, and share of right answers."""
        probabilities, truth = np.stack([one.probabilities for one in found]), _truth(samples)
        loss = log_loss(probabilities, truth)
        right = float((probabilities.argmax(1) == truth).mean())
        log = {"val_log_loss": loss, "val_accuracy": right}
        return Validation(log, loss, f"accuracy {100 * right:.1f} %")

    def calibrate(self, dataset: Data, samples: Samples, found: Found) -> dict[str, Any]:
        """The temperature that makes the probabilities of validation images honest."""
        logits = np.stack([one.logits for one in found])
        return {"images": len(samples), "temperature": temperature(logits, _truth(samples))}

    def score(self, held: Held) -> dict[str, Any]:
        """Accuracy, confusion, precision and recall, log loss and calibration."""
        return scoring.score(held)

    def items(self, model: Any, dataset: Any, samples: Samples) -> Items:
        """1 for each image whose class is right, else 0."""
        return ClassItems(model, dataset, samples)

    def draw(
        self,
        model: Any,
        pixels: ImageArray,
        one: ClassPrediction,
        *,
        dataset: Data | None = None,
        sample: ClassSample | None = None,
        threshold: float = 0.5,
        card: bool = False,
        spacing: Sequence[float] | None = None,
    ) -> Overlay:
        """The image, the evidence for the answer on it, and the likeliest classes."""
        return drawn(model, pixels, one, spacing)

    def caption(self, dataset: Data, sample: ClassSample, one: ClassPrediction) -> str:
        """The answer with its probability, and the truth where it is another."""
        sure = percent(float(one.probabilities[one.label]))
        truth = None if sample.label is None else dataset.names[sample.label]
        other = f"; it is {truth}" if truth not in (None, one.name) else ""
        return f"{one.image}: predicted {one.name} ({sure}){other}"

    def preview(
        self, dataset: Data, sample: ClassSample, pixels: ImageArray, one: ClassPrediction
    ) -> Card:
        """The image under its answer."""
        truth = None if sample.label is None else dataset.names[sample.label]
        wrong = f" (is {truth})" if truth not in (None, one.name) else ""
        sure = percent(float(one.probabilities[one.label]))
        spacing = dataset.images.spacing(sample.image)
        return f"{one.name} · {sure}{wrong}", answered(pixels, spacing=spacing)

    def columns(self, names: Sequence[str]) -> list[str]:
        """The likeliest classes with their probabilities."""
        return columns(len(names))

    def truth_cells(self, dataset: Data, sample: ClassSample) -> tuple[list[str], list[Any]]:
        """The true class."""
        return ["truth"], ["" if sample.label is None else dataset.names[sample.label]]

    def about(self) -> dict[str, str]:
        """The columns, and the colours of the evidence."""
        return {
            "class": "the likeliest class; second and third are the next ones",
            "probability": "of the class, calibrated by a temperature on validation images",
            "evidence": "on the overlays, orange speaks for the answer and blue against it: "
            "features times the gradient of the class's logit, summed over channels",
        }

    def verdict(self, scores: Mapping[str, Any]) -> str:
        """How often the class is right, and the commonest mistake."""
        return scoring.verdict(scores)

    def tiles(self, scores: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Accuracy, and what always answering the commonest class gives."""
        return class_tiles(scores)

    def sections(
        self,
        scores: Mapping[str, Any],
        held: Held | None = None,
        best: Sequence[Card] = (),
        worst: Sequence[Card] = (),
    ) -> list[Section]:
        """Confusion, calibration, images, and each class."""
        return class_sections(scores, worst=worst, best=best)

    def ranking(self, held: Held) -> tuple[list[int], list[int]]:
        """The surest right one of each class, and wrong ones, the least probable truth first."""
        labels = [sample.label for sample in held.samples]
        known = [i for i, label in enumerate(labels) if label is not None]
        given = {i: held.found[i].probabilities[labels[i]] for i in known}
        right = {i for i in known if held.found[i].label == labels[i]}
        ranked = sorted(known, key=given.__getitem__)
        surest = {labels[i]: i for i in ranked if i in right}
        best = sorted(surest.values(), key=lambda i: -given[i])[:CARDS]
        return best, [i for i in ranked if i not in right][:CARDS]

    def check(self, dataset: Data, *, seed: int = 0, progress: Progress | None = None) -> Findings:
        """Look at class labels and their images."""
        return check.look(_classes(dataset), seed, progress)


def drawn(
    model: ClassModel,
    pixels: ImageArray,
    one: ClassPrediction,
    spacing: Sequence[float] | None = None,
) -> Overlay:
    """The image, the evidence for the answer on it, and the likeliest classes."""
    probabilities = one.probabilities
    lines = [Line(one.names[k], float(probabilities[k])) for k in one.ranked(NAMED)]
    shown, evidence = model.pictured(pixels), model.evidence(pixels, one.label)
    wide = round(WIDE * shown.shape[0] / shown.shape[1]) if model.input.spectrogram else 1
    if wide > 1:  # short sounds have maps that are too narrow to see
        shown, evidence = shown.repeat(wide, 1), evidence.repeat(wide, 1)
    axes = _axes_said(len(pixels), spacing) if model.input.spectrogram else ""
    return card(shown, evidence, lines, spacing=spacing, axes=axes)


def _axes_said(samples: int, spacing: Sequence[float] | None) -> str:
    """What the axes of a spectrogram are.

    Example:
        >>> _axes_said(4000, (1 / 8000,)), _axes_said(4000, None)
        ('up: frequency, to 4,000 Hz; right: time, 0.5 s', 'up: frequency; right: 4,000 samples')
    """
    if spacing is None:
        return f"up: frequency; right: {samples:,} samples"
    top, long = 0.5 / spacing[0], samples * spacing[0]
    return f"up: frequency, to {top:,.0f} Hz; right: time, {number(long, 2)} s"


def _classes(dataset: Data) -> ClassDataset:
    if not isinstance(dataset, ClassDataset):
        raise DataError(f"got labels of {dataset.what}; needed are labels of classes")
    return dataset


def _truth(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([sample.label for sample in samples], dtype=np.int64)
