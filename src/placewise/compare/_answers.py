"""What a run answers on test pictures, item by item, and on changed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.compare._plan import Measure
from placewise.data import as_input, single
from placewise.errors import SettingsError
from placewise.formats import ClassLabels, ClassSample, Labels, LabelSet, Sample, State
from placewise.geometry import FloatArray, inside, ratio_of
from placewise.model import Classifier, Localiser

BATCH = 64
"""Pictures that are answered at a time where they are of one size."""

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """How pictures are changed before the network sees them, at its scale.

    Attributes:
        picture: (h, w, channels) to a picture of any size.
        moved: (x, y) by which what was at a place lies elsewhere afterwards, in px of the network.

    Example:
        >>> Change(lambda picture: picture[::2, ::2]).moved
        (0.0, 0.0)
    """

    picture: Callable[[Picture], Picture]
    moved: tuple[float, float] = (0.0, 0.0)


SAME = Change(lambda picture: picture)


class Answers(ABC):
    """A model that answers on labelled pictures.

    Attributes:
        measure: what an item's number is.
        items: name of each item.
    """

    measure: Measure
    items: list[str]

    @abstractmethod
    def score(self, change: Change = SAME) -> FloatArray:
        """(items,) measure of each; NaN where a change has taken it off the picture.

        Raises:
            SettingsError: the network is tied to one size, and the change makes another.
        """


class ClassAnswers(Answers):
    """1 for each picture whose class is right, else 0.

    Args:
        model: the trained model.
        labels: read the pictures.
        samples: whose; those without a class are left out.
    """

    measure = "accuracy"

    def __init__(
        self, model: Classifier, labels: ClassLabels, samples: Sequence[ClassSample]
    ) -> None:
        self.model = model
        known = [(sample.image, sample.label) for sample in samples if sample.label is not None]
        self.items = [image for image, _ in known]
        self.truth = np.array([label for _, label in known], np.int64)
        view = model.settings.input
        self.shown = [as_input(labels.picture(image), view) for image in self.items]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Answers.score`."""
        right: FloatArray = (self.logits(change).argmax(1).numpy() == self.truth).astype(np.float64)
        return right

    def logits(self, change: Change = SAME) -> torch.Tensor:
        """(items, classes) float64."""
        changed = [change.picture(picture) for picture in self.shown]
        found = []
        for start, stop in runs_of_one_size(changed, BATCH):
            found.append(self.model.logits(np.stack(changed[start:stop])).cpu())
        return torch.cat(found)


class DotAnswers(Answers):
    """Error of each located point in pixels of its picture.

    Args:
        model: the trained model.
        labels: read the pictures.
        samples: whose.
    """

    measure = "mean_error_px"

    def __init__(self, model: Localiser, labels: Labels, samples: Sequence[Sample]) -> None:
        self.model, self.samples = model, samples
        order = [labels.names.index(name) for name in model.settings.names]
        pairs = [single(sample, labels.source) for sample in samples]
        self.truth = np.stack([points[order] for points, _ in pairs])
        self.known = np.stack([states[order] >= State.HIDDEN for _, states in pairs])
        self.items = [
            f"{samples[i].image}#{model.settings.names[k]}" for i, k in np.argwhere(self.known)
        ]
        view = model.settings.input
        self.shown = [as_input(labels.picture(sample.image), view) for sample in samples]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Answers.score`."""
        off = np.full(self.known.shape, np.nan)
        for i, (shown, sample) in enumerate(zip(self.shown, self.samples, strict=True)):
            found = self.model.locate_scaled(change.picture(shown), sample.size).points
            ratio = ratio_of((shown.shape[0], shown.shape[1]), sample.size)
            moved = np.multiply(change.moved, ratio)
            there = inside(self.truth[i] + moved, sample.size)
            distance = np.linalg.norm(found - moved - self.truth[i], axis=-1)
            off[i] = np.where(there, distance, np.nan)
        errors: FloatArray = off[self.known]
        return errors


def answers_of(model: Any, labels: LabelSet[Any], samples: Sequence[Any]) -> Answers:
    """The answers of either kind of model.

    Raises:
        SettingsError: there is nothing to answer.
    """
    made: Answers
    if isinstance(model, Classifier) and isinstance(labels, ClassLabels):
        made = ClassAnswers(model, labels, samples)
    elif isinstance(model, Localiser) and isinstance(labels, Labels):
        made = DotAnswers(model, labels, samples)
    else:
        raise SettingsError(f"a {type(model).__name__} cannot be held against {labels.what}")
    if not made.items:
        raise SettingsError("no test picture is labelled, so nothing can be compared; label some")
    return made


def runs_of_one_size(pictures: Sequence[Picture], most: int) -> list[tuple[int, int]]:
    """(start, stop) of neighbours that are of one size, `most` of them at a time.

    Example:
        >>> small, large = np.zeros((2, 2, 1), np.float32), np.zeros((3, 3, 1), np.float32)
        >>> runs_of_one_size([small, small, small, large], most=2)
        [(0, 2), (2, 3), (3, 4)]
    """
    found, start = [], 0
    for stop in range(1, len(pictures) + 1):
        full = stop - start == most or stop == len(pictures)
        if full or pictures[stop].shape != pictures[start].shape:
            found.append((start, stop))
            start = stop
    return found
