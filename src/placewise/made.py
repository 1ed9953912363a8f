"""Made data by which a task shows itself in `placewise demo`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from placewise.labels import Dataset


class WriteImages(Protocol):
    """Writes made images and their labels into a new folder."""

    def __call__(self, folder: Path, *, images: int, seed: int) -> Path:
        """The path of the labels; images are in the folder `images`, or that of `IMAGES_OF`."""


@dataclass(frozen=True)
class Made:
    """Made images, recordings or volumes.

    Attributes:
        what: they are, after their number, e.g. "images with digits".
        count: number of them.
        minutes: length of the training.
        write: makes them, their labels, and a README.txt.
    """

    what: str
    count: int
    minutes: float
    write: WriteImages


@dataclass(frozen=True)
class Demo:
    """What a task shows in `placewise demo`: made images from which it learns in minutes.

    Attributes:
        made: what can be made, by the number of axes: 1 for recordings, 2 for images, 3 for
            volumes.
        results: what is predicted, which is the name of its folder too.
        said: from `predictions.csv` of the test images and the labels to a sentence on how good
            they are, and its numbers by name.
    """

    made: Mapping[int, Made]
    results: str
    said: Callable[[Path, Dataset[Any]], tuple[str, dict[str, float]]]
