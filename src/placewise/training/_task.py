"""What differs between learning keypoints and learning classes, behind one contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from placewise.data import ScaledImages, TrainingSet
from placewise.labels import Dataset, S
from placewise.model import Network

N = TypeVar("N", bound=Network)

SHOWN = 12
"""Images on the preview."""


@dataclass(frozen=True)
class Validation:
    """What a look at validation images found.

    Attributes:
        log: numbers for the log, by name.
        score: what the best weights are chosen by, lower is better; None where nothing is known.
        said: the same in words, for the user.
        preview: drawing of some of the images, as a PNG.
    """

    log: Mapping[str, float | None]
    score: float | None
    said: str
    preview: bytes


class Task(ABC, Generic[S, N]):
    """What a run learns.

    Args:
        labels: the labels.

    Attributes:
        batch: images in a step where nobody says otherwise.
        validated: validation images that a validation during training looks at, at most.
        learning: the augmented training images with their targets.
    """

    batch: ClassVar[int]
    validated: ClassVar[int]
    learning: type[TrainingSet[S]]

    def __init__(self, labels: Dataset[S]) -> None:
        self.labels = labels

    def usable(self) -> Dataset[S]:
        """The labels that a run is made with: all of them, or those from which it can learn."""
        return self.labels

    @abstractmethod
    def augmentation(self, samples: Sequence[S]) -> dict[str, Any]:
        """Ranges of the augmentation for these training samples, where they are not the usual."""

    @abstractmethod
    def stamp(self, sample: S) -> bytes:
        """What the labels say of a sample, for the fingerprint of the data."""

    @abstractmethod
    def validate(self, model: N, images: ScaledImages, samples: Sequence[S]) -> Validation:
        """Look at validation images.

        Args:
            model: the averaged weights.
            images: the images at the network's scale.
            samples: their samples.
        """

    @abstractmethod
    def calibrate(self, model: N, samples: Sequence[S]) -> dict[str, Any] | None:
        """What turns the model's own confidence into one that holds; None where nothing can.

        Args:
            model: the best weights.
            samples: all validation samples.
        """
