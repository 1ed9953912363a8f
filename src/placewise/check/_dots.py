"""Findings about points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from placewise.check._advice import advise
from placewise.check._facts import Facts, gather
from placewise.check._findings import Card, Findings
from placewise.check._show import as_text, cards, page
from placewise.data import of_split, single, split_images
from placewise.errors import PlacewiseError
from placewise.formats import Labels
from placewise.geometry import PIXEL_CONVENTION
from placewise.model import Localiser, choose_model, decode_floor


@dataclass(frozen=True)
class DotFindings(Findings):
    """Findings about points; see `Findings`."""

    facts: Facts

    def __str__(self) -> str:
        return as_text(self.facts, self.verdict, self.warnings)

    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""
        facts = asdict(self.facts)
        facts["instances"] = {str(count): n for count, n in self.facts.instances.items()}
        head = {"verdict": self.verdict, "warnings": list(self.warnings)}
        return {**head, "pixel_convention": PIXEL_CONVENTION, **facts}

    def cards(self, labels: Labels) -> list[Card]:
        """What looks swapped first, then pictures from all over."""
        return cards(self.facts, labels)

    def legend(self, labels: Labels) -> tuple[str, ...]:
        """The points."""
        return labels.names

    def page(self, labels: Labels, shown: Sequence[Card]) -> str:
        """Findings as one self-contained HTML page."""
        return page(self.facts, self.verdict, self.warnings, labels, shown)


def look(
    labels: Labels, floor: float | None, seed: int, progress: Callable[[int, int], None] | None
) -> DotFindings:
    """Look at labels of points and their pictures."""
    facts = gather(labels, floor, seed, progress)
    return DotFindings(*advise(facts), facts)


def floor_of(labels: Labels, seed: int) -> float | None:
    """Decode floor in px with the model that training would choose; None where it cannot train."""
    try:
        samples = of_split(labels, split_images(labels, seed), "train")
        truth = [single(sample, labels.source) for sample in samples]
        model = Localiser(choose_model(labels, samples, seed=seed))
        points, states = (np.stack(arrays) for arrays in zip(*truth, strict=True))
        return decode_floor(model, samples, points, states)
    except PlacewiseError:
        return None
