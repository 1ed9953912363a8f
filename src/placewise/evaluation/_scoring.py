"""What differs between scoring keypoints and scoring classes, behind one contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from placewise.labels import Dataset, S
from placewise.model import Network
from placewise.run import Run

P = TypeVar("P")
N = TypeVar("N", bound=Network)

CARDS = 6
"""Best and worst images on the report, of each."""


class Scoring(ABC, Generic[S, N]):
    """A run held against labels.

    Args:
        run: the run.
        labels: the labels.
        samples: those to score.

    Raises:
        SettingsError: the labels do not name what the run knows.
    """

    def __init__(self, run: Run, labels: Dataset[S], samples: Sequence[S]) -> None:
        self.run, self.labels, self.samples = run, labels, samples

    @abstractmethod
    def score(self, model: N, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
        """Answer the images and score the answers.

        Args:
            model: the best model.
            progress: told (done, total) images.

        Returns:
            Scores as plain numbers that JSON can hold.
        """

    @abstractmethod
    def table(self) -> str:
        """The answers as CSV."""

    @abstractmethod
    def page(self, scores: dict[str, Any]) -> str:
        """The report, one HTML page."""


def kind_of(split: str) -> str:
    """A split in words.

    Example:
        >>> kind_of("val"), kind_of("test")
        ('validation', 'test')
    """
    return {"val": "validation", "train": "training"}.get(split, split)
