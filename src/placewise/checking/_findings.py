"""What every look at labels ends in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from placewise.report.parts import Card, Report


@dataclass(frozen=True)
class Findings(ABC):
    """What a look at the labels found; `str` of it is what the console shows.

    Attributes:
        verdict: in a sentence, whether training on them makes sense.
        warnings: sentences, the weightiest first.
        facts: what was counted.
    """

    verdict: str
    warnings: tuple[str, ...]
    facts: Any

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""

    @abstractmethod
    def cards(self, labels: Any) -> list[Card]:
        """Images for the sheet and the page."""

    @abstractmethod
    def legend(self, labels: Any) -> tuple[str, ...]:
        """Names whose marks the sheet explains."""

    @abstractmethod
    def report(self, labels: Any = None, shown: Sequence[Card] = ()) -> Report:
        """The findings as a report; with labels and images for its page."""

    def __str__(self) -> str:
        return self.report().text()
