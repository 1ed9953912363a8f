"""Findings as text, as a contact sheet and as a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from placewise.checking._facts import NEAR, Facts, PointFacts
from placewise.checking._findings import Card
from placewise.errors import ImageError
from placewise.labels import SPLITS, KeypointDataset, KeypointSample
from placewise.report import blocks
from placewise.report.drawing import keypoints
from placewise.report.glossary import WORDS
from placewise.report.marks import Overlay
from placewise.report.text import table
from placewise.wording import number, printable, share

SHOWN = 20
"""Images on the sheet and on the page."""

SIDE = (360, 480)
"""Least and most pixels of their longer side."""


def as_text(facts: Facts, verdict: str, warnings: Sequence[str]) -> str:
    """Findings for the console: the verdict, the warnings, then the counts."""
    numbered = [f"{i}. {printable(warning)}" for i, warning in enumerate(warnings, 1)]
    header = _header(facts)
    counts = table(["", ""], overview(facts))
    points = table(header, [_row(facts, p) for p in facts.by_point], range(1, len(header)))
    return "\n\n".join([verdict, *numbered, counts, points])


def overview(facts: Facts) -> list[tuple[str, str]]:
    """(what, how much) of the whole set."""
    splits = ", ".join(f"{count:,} {split}" for split, count in facts.splits.items())
    drawn = "; what the labels leave open is drawn by the seed" if facts.split_drawn else ""
    sizes = [f"{size} ({count:,})" for size, count in list(facts.sizes.items())[:5]]
    more = f" and {len(facts.sizes) - 5} more" if len(facts.sizes) > 5 else ""
    part = share(facts.near_border / facts.labels) if facts.labels else "–"
    return [
        ("images", f"{facts.images:,}: {splits}{drawn}"),
        ("sizes", ", ".join(sizes) + more),
        ("instances on an image", "–".join(dict.fromkeys(map(str, _ends(facts.instances))))),
        ("labels with a place", f"{facts.labels:,}"),
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


def page(
    facts: Facts,
    verdict: str,
    warnings: Sequence[str],
    labels: KeypointDataset,
    shown: Sequence[Card],
) -> str:
    """Findings as one self-contained HTML page."""
    tiles = blocks.tiles(
        [
            ("images", f"{facts.images:,}"),
            ("points", f"{len(facts.by_point):,}"),
            ("labels with a place", f"{facts.labels:,}"),
            ("near the border", share(facts.near_border / max(1, facts.labels))),
            ("decode floor", _floor(facts.decode_floor_px)),
        ]
    )
    header = _header(facts)
    rows = [_row(facts, point) for point in facts.by_point]
    caption = "Number of labels of each point."
    words = [entry for entry in WORDS if entry[0] in {"px", "training, validation and test images"}]
    parts = [
        tiles,
        blocks.section("What to know", blocks.listed(warnings)) if warnings else blocks.Html(),
        blocks.section("ScaledImages", *_images(labels, shown)),
        blocks.section("Points", blocks.table(header, rows, range(1, len(header)), caption)),
        blocks.section("The whole set", blocks.table(["", ""], overview(facts))),
        blocks.section("Words", blocks.words([*_words(), *words])),
    ]
    return blocks.page(facts.source, verdict, parts)


def _images(labels: KeypointDataset, shown: Sequence[Card]) -> list[blocks.Html]:
    if not shown:
        return [blocks.element("p", "No image with a label could be read.")]

    said = "The surroundings of the labels on images from all over the set. Does each mark stand "
    said += "where its name says?"
    return [
        blocks.element("p", said),
        blocks.legend(labels.names),
        *blocks.photographs([shown], "Image with its labels"),
    ]


def _drawn(labels: KeypointDataset, sample: KeypointSample) -> Overlay:
    image = labels.image(sample.image)
    return keypoints(
        image, sample.points, labels.names, skeleton=labels.skeleton, crop=True, side=SIDE
    )


def _words() -> list[tuple[str, str]]:
    return [
        (
            "visible, hidden, absent, not labelled",
            "Visible and hidden points have a place. An absent point is known not to be on the "
            "image. Of a point that is not labelled nothing is known, and nothing is learnt.",
        ),
        (
            "near the border",
            f"Labels whose distance from the border is at most {share(NEAR)} of the image's "
            "shorter side.",
        ),
        (
            "decode floor",
            "Error that is left when the labels are written down as the network's maps and read "
            "off again, without any network: no training can go below it.",
        ),
    ]


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
