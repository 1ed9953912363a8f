"""What one image seems to show: one type from the model to the file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from placewise.errors import SettingsError
from placewise.geometry import FloatArray, Size

NAMED = 3
"""Classes that a row names."""

DIGITS = 4
"""Decimals of the probabilities in files."""


@dataclass(frozen=True)
class ClassPrediction:
    """What one image seems to show.

    Attributes:
        names: of the classes.
        image: name of the image; empty for an array.
        size: of the image.
        logits: (classes,) as the head gave them.
        temperature: logits are divided by it; fitted on validation images (Guo et al. 2017).

    Example:
        >>> one = ClassPrediction(("cat", "dog"), "a.png", (8, 8), np.log([0.25, 0.75]))
        >>> one.name, one.rows()
        ('dog', [['a.png', 'dog', '0.75', 'cat', '0.25']])
    """

    names: tuple[str, ...]
    image: str
    size: Size
    logits: FloatArray
    temperature: float = 1.0

    @property
    def probabilities(self) -> FloatArray:
        """(classes,) that sum to 1."""
        logits = self.logits / self.temperature
        shares = np.exp(logits - logits.max())
        return np.asarray(shares / shares.sum())

    @property
    def label(self) -> int:
        """Number of the likeliest class."""
        return int(self.logits.argmax())

    @property
    def name(self) -> str:
        """Name of the likeliest class."""
        return self.names[self.label]

    def ranked(self, most: int) -> list[int]:
        """Numbers of the likeliest classes, the likeliest first."""
        return [int(k) for k in np.argsort(-self.logits, kind="stable")[:most]]

    def rows(self) -> list[list[Any]]:
        """One row of `predictions.csv`; see `columns`."""
        probabilities = self.probabilities
        cells = [
            cell
            for k in self.ranked(NAMED)
            for cell in (self.names[k], f"{round(float(probabilities[k]), DIGITS):g}")
        ]
        return [[self.image, *cells]]

    def to_frame(self) -> Any:
        """The row as a pandas data frame.

        Raises:
            SettingsError: pandas is not installed.
        """
        try:
            pandas: Any = import_module("pandas")
        except ImportError as error:
            raise SettingsError("pandas is not installed; run: pip install pandas") from error
        return pandas.DataFrame(self.rows(), columns=columns(len(self.names)))


def columns(classes: int) -> list[str]:
    """Names of the columns of `predictions.csv`.

    Example:
        >>> columns(2)
        ['image', 'class', 'probability', 'second', 'second_probability']
    """
    places = ("second", "third")[: max(0, min(NAMED, classes) - 1)]
    more = [column for place in places for column in (place, f"{place}_probability")]
    return ["image", "class", "probability", *more]
