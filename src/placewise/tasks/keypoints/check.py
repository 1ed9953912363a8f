"""What a look at keypoint labels finds, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.errors import ImageError, PlacewiseError
from placewise.findings import Findings, set_overview
from placewise.geometry import PIXEL_CONVENTION
from placewise.labels import SPLITS, KeypointDataset, KeypointSample, of_split, single, split_images
from placewise.report.drawing import keypoints
from placewise.report.marks import Overlay
from placewise.report.parts import Card, Legend, Paragraph, Photographs, Section, Table
from placewise.report.run import SPLIT_WORDS
from placewise.task import Progress
from placewise.tasks import choose_model
from placewise.tasks.keypoints.advice import advise
from placewise.tasks.keypoints.facts import NEAR, Facts, KeypointFacts, gather
from placewise.tasks.keypoints.model import KeypointModel, decode_floor
from placewise.tasks.keypoints.report import PX_WORDS
from placewise.wording import number, share

SHOWN = 20
"""Images on the sheet and on the page."""

SIDE = (360, 480)
"""Least and most pixels of their longer side."""


WORDS = (
    (
        "visible, hidden, absent, not labelled",
        "Visible and hidden keypoints have a position. An absent keypoint is known not to be on "
        "the image. Nothing is known of a keypoint that is not labelled, and the network learns "
        "nothing from it.",
    ),
    (
        "near the border",
        f"Labels whose distance from the border is at most {share(NEAR)} of the image's shorter "
        "side.",
    ),
    (
        "decode floor",
        "Error that remains when the labels are encoded as the network's maps and decoded again, "
        "without any network: training cannot go below it.",
    ),
)


@dataclass(frozen=True)
class KeypointFindings(Findings):
    """Findings about keypoints; see `Findings`."""

    facts: Facts

    words = (*WORDS, PX_WORDS, SPLIT_WORDS)

    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""
        instances = {str(count): n for count, n in self.facts.instances.items()}
        more = {"pixel_convention": PIXEL_CONVENTION, "instances": instances}
        return {**super().as_json(), **more}

    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""
        facts = self.facts
        part = share(facts.near_border / facts.labels) if facts.labels else "–"
        images, sizes, copies = set_overview(facts)
        return [
            images,
            sizes,
            ("instances on an image", "–".join(dict.fromkeys(map(str, _ends(facts.instances))))),
            ("labelled positions", f"{facts.labels:,}"),
            ("of these near the border", f"{facts.near_border:,} ({part})"),
            ("images without a label", f"{len(facts.empty):,}"),
            copies,
            ("left and right swapped", f"{len(facts.swaps):,}"),
            ("decode floor", _floor(facts.decode_floor_px)),
        ]

    def cards(self, dataset: KeypointDataset) -> list[Card]:
        """What looks swapped first, then images from all over."""
        return cards(self.facts, dataset)

    def legend(self, dataset: KeypointDataset) -> tuple[str, ...]:
        """The keypoints."""
        return dataset.names

    def sections(self, shown: Sequence[Card], names: Sequence[str]) -> list[Section]:
        """Images with their labels, and labels of each keypoint."""
        header = _header(self.facts)
        rows = [_row(self.facts, one) for one in self.facts.by_keypoint]
        caption = "Number of labels of each keypoint."
        counted = Table(header, rows, range(1, len(header)), caption)
        words = (
            "The surroundings of the labels on images from the whole dataset. Is each mark where "
            "its name says?"
        )
        images = [Paragraph(words), Legend(names), Photographs(shown, "Image with its labels")]
        none = [Paragraph("No image with a label could be read.")]
        return [
            Section("Keypoints", [counted]),
            Section("Images", images if shown else none, console=False),
        ]

    def tiles(self) -> list[tuple[str, str]]:
        """The numbers on top of the page."""
        facts = self.facts
        return [
            ("images", f"{facts.images:,}"),
            ("keypoints", f"{len(facts.by_keypoint):,}"),
            ("labelled positions", f"{facts.labels:,}"),
            ("near the border", share(facts.near_border / max(1, facts.labels))),
            ("decode floor", _floor(facts.decode_floor_px)),
        ]


def look(dataset: KeypointDataset, seed: int, progress: Progress | None) -> KeypointFindings:
    """Look at keypoint labels and their images."""
    facts = gather(dataset, floor_of(dataset, seed), seed, progress)
    return KeypointFindings(*advise(facts), facts)


def floor_of(dataset: KeypointDataset, seed: int) -> float | None:
    """Decode floor in px with the model that training would choose; None where it cannot train."""
    try:
        samples = of_split(dataset, split_images(dataset, seed), "train")
        truth = [single(sample, dataset.source) for sample in samples]
        model = KeypointModel.build(choose_model(dataset, samples, seed=seed))
        points, visibility = (np.stack(arrays) for arrays in zip(*truth, strict=True))
        return decode_floor(model, samples, points, visibility)
    except PlacewiseError:
        return None


def cards(facts: Facts, dataset: KeypointDataset) -> list[Card]:
    """(caption, image with keypoints): what looks swapped first, then images from all over."""
    by_image = {sample.image: sample for sample in dataset.samples if sample.located.any()}
    suspects = list(dict.fromkeys(swap.image for swap in facts.swaps))[: SHOWN // 2]
    rest = [image for image in by_image if image not in suspects and image not in facts.damaged]
    count = min(SHOWN - len(suspects), len(rest))
    spread = [rest[i] for i in np.linspace(0, len(rest) - 1, count).round().astype(int)]
    found = []
    for image in suspects + spread:
        caption = f"{image} (left and right?)" if image in suspects else image
        try:
            found.append((caption, _drawn(dataset, by_image[image])))
        except ImageError:
            continue
    return found


def _drawn(dataset: KeypointDataset, sample: KeypointSample) -> Overlay:
    image, spacing = dataset.reading(sample.image)
    return keypoints(
        image,
        sample.points,
        dataset.names,
        skeleton=dataset.skeleton,
        crop=True,
        side=SIDE,
        spacing=spacing,
    )


def _header(facts: Facts) -> list[str]:
    splits = [split for split in SPLITS if split in facts.splits]
    return ["keypoint", "visible", "hidden", "absent", "not labelled", *splits, "near border"]


def _row(facts: Facts, one: KeypointFacts) -> list[str]:
    splits = [one.by_split[split] for split in SPLITS if split in facts.splits]
    counts = [one.visible, one.hidden, one.absent, one.unlabelled, *splits]
    return [one.keypoint, *(f"{count:,}" for count in [*counts, one.near_border])]


def _floor(floor: float | None) -> str:
    return "not measured" if floor is None else f"{number(floor)} px"


def _ends(counts: dict[int, int]) -> tuple[int, int]:
    return (min(counts), max(counts)) if counts else (0, 0)
