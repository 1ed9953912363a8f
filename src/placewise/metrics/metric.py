"""What is known of a number that says how good predictions are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from placewise.wording import number, share

Scores = Mapping[str, Any]
"""What `metrics.json` holds."""


@dataclass(frozen=True)
class Metric:
    """One number of `metrics.json`: its unit, which direction is better, and how it is written.

    Attributes:
        name: its key in `metrics.json`; a slash leads into a nested table: "radius/coverage_90".
        label: its name in tables and on pages.
        unit: "px", "" for a plain number, or "%" for a number that is stored as a share of 1.
        meaning: what it says, as a sentence without a full stop.
        better: which values are better; None where neither direction is.
        equal: half the width of the region of practical equality, in the stored unit; None where
            no such region is defined.

    Example:
        >>> accuracy = Metric("accuracy", "accuracy", "%", "share of correct images", "higher")
        >>> accuracy.shown(0.975), accuracy.heading, accuracy.gain(0.75, 0.5)
        ('97.5 %', 'accuracy (%)', 0.25)
    """

    name: str
    label: str
    unit: str
    meaning: str
    better: Literal["lower", "higher"] | None = "lower"
    equal: float | None = None

    def of(self, scores: Scores) -> float | None:
        """The number in the scores; None where they do not have it.

        Example:
            >>> Metric("pck/0.1", "PCK", "%", "").of({"pck": {"0.1": 0.9}})
            0.9
        """
        found: Any = scores
        for key in self.name.split("/"):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, int | float) else None

    def shown(self, value: float | None) -> str:
        """The number with its unit, to three digits; a dash where there is none.

        Example:
            >>> error = Metric("mean_error_px", "mean error", "px", "")
            >>> error.shown(1.934), error.shown(None)
            ('1.93 px', '–')
        """
        if self.unit == "%":
            return share(value)
        return number(value) if value is None else f"{number(value)} {self.unit}".strip()

    @property
    def heading(self) -> str:
        """The label with the unit, as the heading of a column."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def factor(self) -> int:
        """What a stored number is multiplied by to be written in the unit."""
        return 100 if self.unit == "%" else 1

    def precise(self, value: float) -> str:
        """The number without its unit, with enough digits to compare: under `heading`.

        Example:
            >>> Metric("accuracy", "accuracy", "%", "").precise(0.97512)
            '97.51'
        """
        return f"{self.factor * value:.{self._decimals}f}"

    @property
    def difference_unit(self) -> str:
        """The unit of the difference of two values: percentages differ by points."""
        return "points" if self.unit == "%" else self.unit

    def difference(self, value: float, *, signed: bool = True) -> str:
        """The difference of two values without its unit.

        Example:
            >>> Metric("accuracy", "", "%", "").difference(-0.0134)
            '−1.34'
        """
        sign = "+" if signed else ""
        return f"{self.factor * value:{sign}.{self._decimals}f}".replace("-", "−")

    @property
    def _decimals(self) -> int:
        return 2 if self.unit == "%" else 3

    def gain(self, new: Any, old: Any) -> Any:
        """By how much `new` is better than `old`; numbers or arrays.

        Raises:
            ValueError: no direction of this metric is better.

        Example:
            >>> Metric("mean_error_px", "mean error", "px", "").gain(2.0, 3.0)
            1.0
        """
        if self.better is None:
            raise ValueError(f"no direction of '{self.name}' is better; compare another metric")
        return new - old if self.better == "higher" else old - new
