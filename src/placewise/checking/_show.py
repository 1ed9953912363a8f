"""Findings as a report, and the images that it shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from placewise.checking._facts import NEAR, Facts, PointFacts
from placewise.errors import ImageError
from placewise.labels import SPLITS, KeypointDataset, KeypointSample
from placewise.report.drawing import keypoints
from placewise.report.keypoints import PX_WORDS
from placewise.report.marks import Overlay
from placewise.report.parts import Card, Legend, Paragraph, Photographs, Report, Section, Table
from placewise.report.run import SPLIT_WORDS
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


def overview(facts: Facts) -> list[tuple[str, str]]:
    """(what, how much) of the whole dataset."""
    splits = ", ".join(f"{count:,} {split}" for split, count in facts.splits.items())
    drawn = "; images without a split are assigned by the seed" if facts.split_drawn else ""
    sizes = [f"{size} ({count:,})" for size, count in list(facts.sizes.items())[:5]]
    more = f" and {len(facts.sizes) - 5} more" if len(facts.sizes) > 5 else ""
    part = share(facts.near_border / facts.labels) if facts.labels else "–"
    return [
        ("images", f"{facts.images:,}: {splits}{drawn}"),
        ("sizes", ", ".join(sizes) + more),
        ("instances on an image", "–".join(dict.fromkeys(map(str, _ends(facts.instances))))),
        ("labelled positions", f"{facts.labels:,}"),
        ("of these near the border", f"{facts.near_border:,} ({part})"),
        ("images without a label", f"{len(facts.empty):,}"),
        ("copies of images", f"{sum(len(group) - 1 for group in facts.copies):,}"),
        ("left and right swapped", f"{len(facts.swaps):,}"),
        ("decode floor", _floor(facts.decode_floor_px)),
    ]


def cards(facts: Facts, labels: KeypointDataset) -> list[Card]:
    """(caption, image with keypoints): what looks swapped first, then images from all over."""
    by_image = {sample.image: sample for sample in labels.samples if sample.located.any()}
    suspects = list(dict.fromkeys(swap.image for swap in facts.swaps))[: SHOWN // 2]
    rest = [image for image in by_image if image not in suspects and image not in facts.damaged]
    count = min(SHOWN - len(suspects), len(rest))
    spread = [rest[i] for i in np.linspace(0, len(rest) - 1, count).round().astype(int)]
    found = []
    for image in suspects + spread:
        caption = f"{image} (left and right?)" if image in suspects else image
        try:
            found.append((caption, _drawn(labels, by_image[image])))
        except ImageError:
            continue
    return found


def report_of(
    facts: Facts,
    verdict: str,
    warnings: Sequence[str],
    names: Sequence[str] = (),
    shown: Sequence[Card] = (),
) -> Report:
    """Findings as a report.

    Args:
        facts: what was counted.
        verdict: the finding in a sentence.
        warnings: what the reader has to know.
        names: names of the keypoints, for the legend of the images.
        shown: (caption, image) of each image to show.
    """
    header = _header(facts)
    rows = [_row(facts, point) for point in facts.by_point]
    tiles = [
        ("images", f"{facts.images:,}"),
        ("keypoints", f"{len(facts.by_point):,}"),
        ("labelled positions", f"{facts.labels:,}"),
        ("near the border", share(facts.near_border / max(1, facts.labels))),
        ("decode floor", _floor(facts.decode_floor_px)),
    ]
    said = (
        "The surroundings of the labels on images from the whole dataset. Is each mark where its "
        "name says?"
    )
    images = [Paragraph(said), Legend(names), Photographs(shown, "Image with its labels")]
    none = [Paragraph("No image with a label could be read.")]
    return Report(
        facts.source,
        verdict,
        [
            Section("Images", images if shown else none, console=False),
            Section("The whole dataset", [Table(["", ""], overview(facts))]),
            Section(
                "Keypoints",
                [Table(header, rows, range(1, len(header)), "Number of labels of each keypoint.")],
            ),
        ],
        tiles=tiles,
        notes=warnings,
        words=[*WORDS, PX_WORDS, SPLIT_WORDS],
    )


def _drawn(labels: KeypointDataset, sample: KeypointSample) -> Overlay:
    image = labels.image(sample.image)
    return keypoints(
        image, sample.points, labels.names, skeleton=labels.skeleton, crop=True, side=SIDE
    )


def _header(facts: Facts) -> list[str]:
    splits = [split for split in SPLITS if split in facts.splits]
    return ["point", "visible", "hidden", "absent", "not labelled", *splits, "near border"]


def _row(facts: Facts, point: PointFacts) -> list[str]:
    splits = [point.by_split[split] for split in SPLITS if split in facts.splits]
    counts = [point.visible, point.hidden, point.absent, point.unlabelled, *splits]
    return [point.point, *(f"{count:,}" for count in [*counts, point.near_border])]


def _floor(floor: float | None) -> str:
    return "not measured" if floor is None else f"{number(floor)} px"


def _ends(counts: dict[int, int]) -> tuple[int, int]:
    return (min(counts), max(counts)) if counts else (0, 0)
