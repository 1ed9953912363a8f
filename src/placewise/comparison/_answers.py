"""What a run answers on test images, item by item, and on changed ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.comparison._plan import Measure
from placewise.data import as_input, single
from placewise.errors import SettingsError
from placewise.geometry import FloatArray, inside, ratio_of
from placewise.labels import (
    ClassDataset,
    ClassSample,
    Dataset,
    KeypointDataset,
    KeypointSample,
    Visibility,
)
from placewise.model import ClassModel, KeypointModel

BATCH = 64
"""Images that are answered at a time where they are of one size."""

ImageArray = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """How images are changed before the network sees them, at its scale.

    Attributes:
        image: (h, w, channels) to an image of any size.
        moved: (x, y) by which what was at a place lies elsewhere afterwards, in px of the network.

    Example:
        >>> Change(lambda image: image[::2, ::2]).moved
        (0.0, 0.0)
    """

    image: Callable[[ImageArray], ImageArray]
    moved: tuple[float, float] = (0.0, 0.0)


SAME = Change(lambda image: image)


class Answers(ABC):
    """A model that answers on labelled images.

    Attributes:
        measure: what an item's number is.
        items: name of each item.
    """

    measure: Measure
    items: list[str]

    @abstractmethod
    def score(self, change: Change = SAME) -> FloatArray:
        """(items,) measure of each; NaN where a change has taken it off the image.

        Raises:
            SettingsError: the network is tied to one size, and the change makes another.
        """


class ClassAnswers(Answers):
    """1 for each image whose class is right, else 0.

    Args:
        model: the trained model.
        labels: read the images.
        samples: whose; those without a class are left out.
    """

    measure = "accuracy"

    def __init__(
        self, model: ClassModel, labels: ClassDataset, samples: Sequence[ClassSample]
    ) -> None:
        self.model = model
        known = [(sample.image, sample.label) for sample in samples if sample.label is not None]
        self.items = [image for image, _ in known]
        self.truth = np.array([label for _, label in known], np.int64)
        view = model.settings.input
        self.shown = [as_input(labels.image(image), view) for image in self.items]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Answers.score`."""
        right: FloatArray = (self.logits(change).argmax(1).numpy() == self.truth).astype(np.float64)
        return right

    def logits(self, change: Change = SAME) -> torch.Tensor:
        """(items, classes) float64."""
        changed = [change.image(image) for image in self.shown]
        found = []
        for start, stop in runs_of_one_size(changed, BATCH):
            found.append(self.model.logits(np.stack(changed[start:stop])).cpu())
        return torch.cat(found)


class KeypointAnswers(Answers):
    """Error of each located point in pixels of its image.

    Args:
        model: the trained model.
        labels: read the images.
        samples: whose.
    """

    measure = "mean_error_px"

    def __init__(
        self, model: KeypointModel, labels: KeypointDataset, samples: Sequence[KeypointSample]
    ) -> None:
        self.model, self.samples = model, samples
        order = [labels.names.index(name) for name in model.settings.names]
        pairs = [single(sample, labels.source) for sample in samples]
        self.truth = np.stack([points[order] for points, _ in pairs])
        self.known = np.stack([visibility[order] >= Visibility.HIDDEN for _, visibility in pairs])
        self.items = [
            f"{samples[i].image}#{model.settings.names[k]}" for i, k in np.argwhere(self.known)
        ]
        view = model.settings.input
        self.shown = [as_input(labels.image(sample.image), view) for sample in samples]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Answers.score`."""
        off = np.full(self.known.shape, np.nan)
        for i, (shown, sample) in enumerate(zip(self.shown, self.samples, strict=True)):
            found = self.model.locate_scaled(change.image(shown), sample.size).points
            ratio = ratio_of((shown.shape[0], shown.shape[1]), sample.size)
            moved = np.multiply(change.moved, ratio)
            there = inside(self.truth[i] + moved, sample.size)
            distance = np.linalg.norm(found - moved - self.truth[i], axis=-1)
            off[i] = np.where(there, distance, np.nan)
        errors: FloatArray = off[self.known]
        return errors


def answers_of(model: Any, labels: Dataset[Any], samples: Sequence[Any]) -> Answers:
    """The answers of either kind of model.

    Raises:
        SettingsError: there is nothing to answer.
    """
    made: Answers
    if isinstance(model, ClassModel) and isinstance(labels, ClassDataset):
        made = ClassAnswers(model, labels, samples)
    elif isinstance(model, KeypointModel) and isinstance(labels, KeypointDataset):
        made = KeypointAnswers(model, labels, samples)
    else:
        raise SettingsError(f"a {type(model).__name__} cannot be held against {labels.what}")
    if not made.items:
        raise SettingsError("no test image is labelled, so nothing can be compared; label some")
    return made


def runs_of_one_size(images: Sequence[ImageArray], most: int) -> list[tuple[int, int]]:
    """(start, stop) of neighbours that are of one size, `most` of them at a time.

    Example:
        >>> small, large = np.zeros((2, 2, 1), np.float32), np.zeros((3, 3, 1), np.float32)
        >>> runs_of_one_size([small, small, small, large], most=2)
        [(0, 2), (2, 3), (3, 4)]
    """
    found, start = [], 0
    for stop in range(1, len(images) + 1):
        full = stop - start == most or stop == len(images)
        if full or images[stop].shape != images[start].shape:
            found.append((start, stop))
            start = stop
    return found
