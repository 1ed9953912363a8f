"""What images show, as files and drawings."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from placewise.files import write_text
from placewise.geometry import FloatArray
from placewise.images import ImageArray
from placewise.model import Classified, ClassModel
from placewise.prediction._answers import Answers
from placewise.report.evidence import Line, card
from placewise.report.marks import Overlay

NAMED = 3
"""Classes that a prediction names."""

DIGITS = 4
"""Decimals of the probabilities in files."""

PLACES = ("", "second", "third")


@dataclass(frozen=True)
class ClassPrediction:
    """What one image seems to show.

    Attributes:
        image: name of the image.
        classified: probabilities of the classes.
    """

    image: str
    classified: Classified


class ClassAnswers(Answers[ClassPrediction, ClassModel]):
    """Probabilities of classes; see `Answers`."""

    def answer(self, image: str, pixels: ImageArray) -> ClassPrediction:
        """Probabilities of the classes."""
        return ClassPrediction(image, self.model.classify(pixels))

    def overlay(self, image: ImageArray, one: ClassPrediction) -> Overlay:
        """The image, the evidence on it, and the likeliest classes."""
        return drawn(self.model, image, one)

    def write(self, root: Path, found: Sequence[ClassPrediction], out: Path) -> None:
        """predictions.csv."""
        write_text(out / "predictions.csv", class_table(self.run.facts.model.names, found))

    def about(self) -> dict[str, str]:
        """The columns, and the colours of the evidence."""
        return {
            "class": "the likeliest class; second and third are the next ones",
            "probability": "of the class, calibrated by a temperature on validation images",
            "evidence": "on the overlays, orange speaks for the answer and blue against it: "
            "features times the gradient of the class's logit, summed over channels",
        }


def drawn(model: ClassModel, image: ImageArray, one: ClassPrediction) -> Overlay:
    """The image, the evidence for the answer on it, and the likeliest classes."""
    lines = [
        Line(model.settings.names[k], float(one.classified.probabilities[k]))
        for k in one.classified.ranked(NAMED)
    ]
    return card(image, model.evidence(image, one.classified.answer), lines)


def class_table(
    names: Sequence[str],
    found: Sequence[ClassPrediction],
    truth: Sequence[str] | None = None,
) -> str:
    """Predictions as CSV: `image,class,probability,second,second_probability,...[,truth]`.

    Args:
        names: the classes' names.
        found: the predictions.
        truth: name of the true class of each, where it is known.

    Example:
        >>> import numpy as np
        >>> one = ClassPrediction("a.png", Classified(np.array([0.25, 0.75])))
        >>> print(class_table(["cat", "dog"], [one]))
        image,class,probability,second,second_probability
        a.png,dog,0.75,cat,0.25
        <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    places = PLACES[1 : min(NAMED, len(names))]
    header = [column for place in places for column in (place, f"{place}_probability")]
    writer.writerow(["image", "class", "probability", *header, *["truth"] * (truth is not None)])
    for number, one in enumerate(found):
        ranked = one.classified.ranked(1 + len(places))
        cells = [x for k in ranked for x in (names[k], _short(one.classified.probabilities, k))]
        writer.writerow([one.image, *cells, *([truth[number]] if truth is not None else [])])
    return text.getvalue()


def _short(probabilities: FloatArray, k: int) -> str:
    return f"{round(float(probabilities[k]), DIGITS):g}"
