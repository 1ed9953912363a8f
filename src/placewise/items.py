"""What a comparison scores: the items of a test set, also on images that were changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.geometry import FloatArray
from placewise.images import ImageArray


@dataclass(frozen=True)
class Change:
    """How images are changed before the network sees them, at its scale.

    Attributes:
        image: (*size, channels) to an image of any size.
        moved: (x, y, …) by which what was at a place lies elsewhere afterwards, in px of the
            network; one number for all axes alike.

    Example:
        >>> Change(lambda image: image[::2, ::2]).moved
        (0.0,)
    """

    image: Callable[[ImageArray], ImageArray]
    moved: tuple[float, ...] = (0.0,)


SAME = Change(lambda image: image)


class Items(ABC):
    """Test items of a model: each has a number that is compared between models.

    Attributes:
        names: name of each item.
        shown: the images at the network's scale, (*size, channels) in 0..1 each.
    """

    names: list[str]
    shown: list[ImageArray]

    @property
    def axes(self) -> int:
        """Axes of the images: 1 for signals, 2 for images, 3 for volumes."""
        return self.shown[0].ndim - 1

    @abstractmethod
    def score(self, change: Change = SAME) -> FloatArray:
        """(items,) measure of each; NaN where a change has taken it off the image.

        Raises:
            SettingsError: the network is tied to one size, and the change makes another.
        """

    def deformation(self, seed: int) -> float | None:
        """How a smooth deformation of the images changes the answers; None where not defined.

        Args:
            seed: of the deformation.
        """
        return None


class MeasuredItems(Items):
    """Items whose numbers are a task's `measures`.

    Args:
        task: the task.
        model: the trained model.
        dataset: reads the images.
        samples: whose.
    """

    def __init__(self, task: Any, model: Any, dataset: Any, samples: Sequence[Any]) -> None:
        self.task, self.model, self.dataset, self.samples = task, model, dataset, samples
        self.shown = [model.prepared(*dataset.reading(sample.image)) for sample in samples]
        values = self._values(SAME)
        self.known = [np.isfinite(one) for one in values]
        self.names = [
            f"{sample.image}#{i}"
            for sample, known in zip(samples, self.known, strict=True)
            for i in np.flatnonzero(known)
        ]

    def score(self, change: Change = SAME) -> FloatArray:
        """See `Items.score`; a shift is not asked where it takes things."""
        values = zip(self._values(change), self.known, strict=True)
        return np.concatenate([one[known] for one, known in values])

    def _values(self, change: Change) -> list[FloatArray]:
        found = []
        for sample, shown in zip(self.samples, self.shown, strict=True):
            (one,) = self.model.predict_scaled(
                change.image(shown)[None], [sample.size], [sample.image]
            )
            found.append(self.task.measures(self.dataset, sample, one))
        return found
