"""What was found, as the page tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies._findings import Measured, significant
from studies.vessels.read import MEASURES
from studies.vessels.runs import REFERENCE, WAYS, Trained


@dataclass(frozen=True)
class Found:
    """What was found on one set.

    Attributes:
        name: of the set.
        scores: arm -> `MEASURES` for each seed.
        trained: the runs.
    """

    name: str
    scores: Mapping[str, Sequence[Mapping[str, float]]]
    trained: Trained

    def values(self, arm: str, measure: str) -> list[float]:
        """A measure in %, one for each seed."""
        return [one[measure] for one in self.scores[arm]]

    def reached(self, arm: str, measure: str) -> Measured:
        """A measure in %."""
        return Measured.of(self.values(arm, measure))

    def more(self, arm: str, measure: str, than: str = REFERENCE) -> Measured:
        """Points of a measure that an arm reaches more than another one, seed by seed."""
        return Measured.of(self.values(arm, measure), minus=self.values(than, measure))

    @property
    def others(self) -> list[str]:
        """All arms but the reference."""
        return [arm for arm in self.scores if arm != REFERENCE]


def numbers(found: Found) -> dict[str, Any]:
    """What the text says of one set."""
    return {
        "images": found.trained.results["test_items"],
        "reached": reached_table(found),
        "more": more_table(found),
        "reference": {name: found.reached(REFERENCE, name).numbers() for name in MEASURES},
        "arms": {
            arm: {name: found.more(arm, name).numbers() for name in MEASURES}
            for arm in found.others
        },
    }


def reached_table(found: Found) -> dict[str, Any]:
    """What each arm reaches."""
    rows = [
        [WAYS[arm].said, *(found.reached(arm, name).numbers()["said"] for name in MEASURES)]
        for arm in found.scores
    ]
    return {"header": ["arm", *MEASURES.values()], "rows": rows}


def more_table(found: Found) -> dict[str, Any]:
    """Points more than the reference."""
    rows = [
        [WAYS[arm].said, *(found.more(arm, name).numbers()["said"] for name in MEASURES)]
        for arm in found.others
    ]
    return {"header": ["arm", *MEASURES.values()], "rows": rows}


def costs_table(found: Found) -> dict[str, Any]:
    """Parameters, and multiply-adds of an image of the size that training shows, in millions."""
    rows = [
        [WAYS[arm].said, one["parameters"], significant(one["multiply_adds"] / 1e6)]
        for arm, one in found.trained.arms.items()
    ]
    return {"header": ["arm", "parameters", "million multiply-adds"], "rows": rows}
