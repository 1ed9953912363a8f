"""What differs between answering with keypoints and with classes, behind one contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from placewise.images import ImageArray
from placewise.model import Network
from placewise.report.marks import Overlay
from placewise.run import Run

P = TypeVar("P")
N = TypeVar("N", bound=Network)


class Answers(ABC, Generic[P, N]):
    """What a run says of images, and how that is drawn and written.

    Args:
        run: the run.
        model: its best model, on the device where it is to run.
        threshold: answers of a lower score or probability are drawn as not sure.
    """

    def __init__(self, run: Run, model: N, threshold: float = 0.5) -> None:
        self.run, self.model, self.threshold = run, model, threshold

    @abstractmethod
    def answer(self, image: str, pixels: ImageArray) -> P:
        """The answer to one image."""

    @abstractmethod
    def overlay(self, image: ImageArray, one: P) -> Overlay:
        """The image with the answer drawn on it."""

    @abstractmethod
    def write(self, root: Path, found: Sequence[P], out: Path) -> None:
        """Write the answers into a folder.

        Args:
            root: folder of the images.
            found: the answers.
            out: the folder.
        """

    @abstractmethod
    def about(self) -> dict[str, str]:
        """What the columns of `predictions.csv` mean, for `about.json`."""
