"""Findings about points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from placewise.checking._advice import advise
from placewise.checking._facts import Facts, gather
from placewise.checking._findings import Findings
from placewise.checking._show import cards, report_of
from placewise.data import of_split, single, split_images
from placewise.errors import PlacewiseError
from placewise.geometry import PIXEL_CONVENTION
from placewise.labels import KeypointDataset
from placewise.model import KeypointModel, choose_model, decode_floor
from placewise.report.parts import Card, Report


@dataclass(frozen=True)
class KeypointFindings(Findings):
    """Findings about points; see `Findings`."""

    facts: Facts

    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""
        facts = asdict(self.facts)
        facts["instances"] = {str(count): n for count, n in self.facts.instances.items()}
        head = {"verdict": self.verdict, "warnings": list(self.warnings)}
        return {**head, "pixel_convention": PIXEL_CONVENTION, **facts}

    def cards(self, labels: KeypointDataset) -> list[Card]:
        """What looks swapped first, then images from all over."""
        return cards(self.facts, labels)

    def legend(self, labels: KeypointDataset) -> tuple[str, ...]:
        """The points."""
        return labels.names

    def report(self, labels: KeypointDataset | None = None, shown: Sequence[Card] = ()) -> Report:
        """The findings as a report."""
        names = () if labels is None else labels.names
        return report_of(self.facts, self.verdict, self.warnings, names, shown)


def look(
    labels: KeypointDataset,
    floor: float | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> KeypointFindings:
    """Look at labels of points and their images."""
    facts = gather(labels, floor, seed, progress)
    return KeypointFindings(*advise(facts), facts)


def floor_of(labels: KeypointDataset, seed: int) -> float | None:
    """Decode floor in px with the model that training would choose; None where it cannot train."""
    try:
        samples = of_split(labels, split_images(labels, seed), "train")
        truth = [single(sample, labels.source) for sample in samples]
        model = KeypointModel(choose_model(labels, samples, seed=seed))
        points, visibility = (np.stack(arrays) for arrays in zip(*truth, strict=True))
        return decode_floor(model, samples, points, visibility)
    except PlacewiseError:
        return None
