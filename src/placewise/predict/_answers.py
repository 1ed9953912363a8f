"""What differs between answering with dots and with classes, behind one contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from placewise.model import Network
from placewise.pictures import Picture
from placewise.report.marks import Overlay
from placewise.run import Run

P = TypeVar("P")
N = TypeVar("N", bound=Network)


class Answers(ABC, Generic[P, N]):
    """What a run says of pictures, and how that is drawn and written.

    Args:
        run: the run.
        model: its best model, on the device where it is to run.
        threshold: answers of a lower score or probability are drawn as not sure.
    """

    def __init__(self, run: Run, model: N, threshold: float = 0.5) -> None:
        self.run, self.model, self.threshold = run, model, threshold

    @abstractmethod
    def answer(self, image: str, picture: Picture) -> P:
        """The answer to one picture."""

    @abstractmethod
    def overlay(self, picture: Picture, one: P) -> Overlay:
        """The picture with the answer drawn on it."""

    @abstractmethod
    def write(self, root: Path, found: Sequence[P], out: Path) -> None:
        """Write the answers into a folder.

        Args:
            root: folder of the pictures.
            found: the answers.
            out: the folder.
        """

    @abstractmethod
    def about(self) -> dict[str, str]:
        """What the columns of `predictions.csv` mean, for `about.json`."""
