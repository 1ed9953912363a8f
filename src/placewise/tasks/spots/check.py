"""What a look at labels of spots finds, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.errors import ImageError
from placewise.findings import (
    Advice,
    Findings,
    SetFacts,
    Weight,
    concluded,
    listed,
    many,
    set_advice,
    set_facts,
    set_overview,
    splits_of,
)
from placewise.geometry import PIXEL_CONVENTION, border_distance, inside
from placewise.labels import SPLITS, SpotDataset, nearest_distances
from placewise.report.parts import Card, Legend, Paragraph, Photographs, Section, Table
from placewise.report.run import SPLIT_WORDS
from placewise.task import Progress
from placewise.tasks._places import (
    REPEATED_LEAST,
    Places,
    place_facts,
    repeated_advice,
    scale_advice,
)
from placewise.tasks.spots.drawing import draw_spots
from placewise.wording import number, share

SHOWN = 16
"""Images on the sheet and on the page."""

SIDE = (420, 560)
"""Least and most pixels of their longer side."""

FEW = 20
"""Spots of a kind on training images below which they are learnt by heart."""

UNEVEN = 20
"""Worth a word: the commonest kind has so many times the spots of the rarest."""

TWICE = 0.1
"""Two spots of a kind that are nearer than this share of the usual distance look like one."""

NEAR = 0.05
"""Share of an image's shorter side within which a spot is near the border."""

WORDS = (
    ("spot, kind", "A spot is one of many similar things on an image; each belongs to a kind."),
    (
        "absent, not labelled",
        "A kind that is absent is known not to be on the image. Where a kind is not labelled, "
        "nothing is known of it, and the network learns nothing of it from that image.",
    ),
    ("near the border", f"Within {share(NEAR)} of the image's shorter side."),
    SPLIT_WORDS,
)


@dataclass(frozen=True)
class KindFacts:
    """Spots of one kind.

    Attributes:
        kind: its name.
        spots: number of spots.
        by_split: spots of each split, as training would use them.
        images: images on which there is one.
        absent: images on which it is known that there is none.
        unlabelled: images on which nothing is known of it.
        least: spots on an image where it is labelled, at least.
        median: the same in the middle.
        most: the same at most.
        spacing_px: median distance to the nearest spot of the kind; None where there is no other.
        near_border: spots near the border.
    """

    kind: str
    spots: int
    by_split: dict[str, int]
    images: int
    absent: int
    unlabelled: int
    least: int
    median: float
    most: int
    spacing_px: float | None
    near_border: int


@dataclass(frozen=True)
class SpotFacts(Places, SetFacts):
    """What was counted; see `SetFacts`.

    Attributes:
        by_kind: spots of each kind.
        outside: images with spots outside of them.
        doubles: (image, kind) with two spots that look like one.
        empty: images without any spot.
        ignored: images with regions in which spots are not labelled.
        tolerance_px: within which a found spot counts as a labelled one.
    """

    by_kind: tuple[KindFacts, ...]
    outside: tuple[str, ...]
    doubles: tuple[tuple[str, str], ...]
    empty: tuple[str, ...]
    ignored: int
    tolerance_px: float

    @property
    def spots(self) -> int:
        """Spots of all kinds."""
        return sum(one.spots for one in self.by_kind)


def gather(dataset: SpotDataset, seed: int, progress: Progress | None) -> SpotFacts:
    """Count; every image is read once."""
    splits, _ = splits_of(dataset, seed)
    return SpotFacts(
        **set_facts(dataset, dataset, seed, progress),
        **place_facts(dataset, at_edge=REPEATED_LEAST),
        by_kind=tuple(_kind(dataset, kind, splits) for kind in range(len(dataset.names))),
        outside=tuple(
            s.image for s in dataset.samples if not inside(s.points[s.located], s.size).all()
        ),
        doubles=tuple(_doubles(dataset)),
        empty=tuple(s.image for s in dataset.samples if not s.located.any()),
        ignored=sum(bool(s.ignored) for s in dataset.samples),
        tolerance_px=dataset.tolerance,
    )


def _kind(dataset: SpotDataset, kind: int, splits: Sequence[str]) -> KindFacts:
    """Facts of one kind."""
    known = [bool(dataset.known(sample)[kind]) for sample in dataset.samples]
    counts = np.array([int(sample.located[:, kind].sum()) for sample in dataset.samples])
    labelled = counts[known] if any(known) else np.zeros(1, int)
    places = [sample.points[sample.located[:, kind], kind] for sample in dataset.samples]
    apart = np.concatenate([np.empty(0), *map(nearest_distances, places)])
    near = [
        (border_distance(points, sample.size) <= NEAR * min(sample.size)).sum()
        for points, sample in zip(places, dataset.samples, strict=True)
        if len(points)
    ]
    return KindFacts(
        kind=dataset.names[kind],
        spots=int(counts.sum()),
        by_split={
            split: int(counts[[one == split for one in splits]].sum())
            for split in SPLITS
            if split in splits
        },
        images=int((counts > 0).sum()),
        absent=int((labelled == 0).sum()) if any(known) else 0,
        unlabelled=len(known) - sum(known),
        least=int(labelled.min()),
        median=float(np.median(labelled)),
        most=int(labelled.max()),
        spacing_px=float(np.median(apart)) if len(apart) else None,
        near_border=int(sum(near)),
    )


def _doubles(dataset: SpotDataset) -> Iterator[tuple[str, str]]:
    """(image, kind) with two spots of a kind at nearly the same place."""
    limit = TWICE * dataset.near if dataset.near else 0.0
    for sample in dataset.samples:
        for kind, name in enumerate(dataset.names):
            apart = nearest_distances(sample.points[sample.located[:, kind], kind])
            if len(apart) and apart.min() < max(limit, 1e-6):
                yield sample.image, name


def advise(facts: SpotFacts) -> tuple[str, tuple[str, ...]]:
    """The verdict in a sentence, and the warnings, the weightiest first."""
    rules = (set_advice, _nothing, _scale, repeated_advice, _rare, _mistakes, _gaps)
    found = [advice for rule in rules for advice in rule(facts)]
    what = f"{many(facts.images, 'image')}, {many(len(facts.by_kind), 'kind')}"
    return concluded(found, what, f", {many(facts.spots, 'spot')}")


def _nothing(facts: SpotFacts) -> Iterator[Advice]:
    for split, use in (("train", "learn from"), ("val", "choose the weights by")):
        if split in facts.splits and not any(k.by_split.get(split) for k in facts.by_kind):
            yield (
                Weight.STOPS,
                f"No spot is labelled on any image of the split '{split}': there is nothing to "
                f"{use}. Label some of its images, or change the split.",
            )


def _scale(facts: SpotFacts) -> Iterator[Advice]:
    """Of images and volumes; in a recording spots may well lie at its start alone."""
    several = facts.reach is not None and len(facts.reach) > 1
    return scale_advice(facts, facts.images, facts.spots) if several else iter(())


def _rare(facts: SpotFacts) -> Iterator[Advice]:
    counts = {one.kind: one.by_split.get("train", 0) for one in facts.by_kind}
    lost = [f"'{name}'" for name, count in counts.items() if not count]
    if lost and facts.spots:
        yield (
            Weight.HARMS,
            f"On no training image: {listed(lost)}. Such a kind cannot be learnt: label it there, "
            "or take it out of the labels.",
        )
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW]
    if few:
        yield (
            Weight.HARMS,
            f"Few spots on training images: {listed(few)}. Below {FEW} a network learns them by "
            "heart; label more.",
        )
    known = [count for count in counts.values() if count]
    if known and max(known) > UNEVEN * min(known):
        rarest = min((c for c in counts if counts[c]), key=lambda name: counts[name])
        yield (
            Weight.NOTE,
            f"'{rarest}' is rare: the commonest kind has {max(known) / min(known):.0f} times its "
            "spots. Look at the scores of each kind, not at those of all spots together.",
        )


def _mistakes(facts: SpotFacts) -> Iterator[Advice]:
    if facts.outside:
        yield (
            Weight.HARMS,
            f"Spots lie outside of {many(len(facts.outside), 'image')}: "
            f"{listed(list(facts.outside))}. Correct their places; they count as not there.",
        )
    if facts.doubles:
        said = [f"{kind} on {image}" for image, kind in facts.doubles]
        yield (
            Weight.HARMS,
            f"Two spots of a kind lie at nearly the same place ({many(len(said), 'image')}): "
            f"{listed(said)}. If they are one, delete one label: it would always count as missed.",
        )


def _gaps(facts: SpotFacts) -> Iterator[Advice]:
    gaps = {one.kind: one.unlabelled for one in facts.by_kind if one.unlabelled}
    if gaps:
        said = listed([f"{name} ({many(count, 'image')})" for name, count in gaps.items()])
        yield (
            Weight.NOTE,
            f"Not labelled on some images: {said}. Nothing is learnt of a kind from such an image; "
            "where there is none of it, label it as absent.",
        )
    if facts.ignored:
        yield (
            Weight.NOTE,
            f"{many(facts.ignored, 'image')} with regions in which spots are not labelled one by "
            "one: they take no part in training and scores.",
        )
    never = [f"'{one.kind}'" for one in facts.by_kind if one.spots and not one.near_border]
    if never:
        yield (
            Weight.NOTE,
            f"Never within {share(NEAR)} of the border: {listed(never)}. The model cannot learn to "
            "find such spots there, and no score will show it.",
        )


@dataclass(frozen=True)
class SpotFindings(Findings):
    """Findings about spots; see `Findings`."""

    facts: SpotFacts

    words = WORDS

    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""
        return {**super().as_json(), "pixel_convention": PIXEL_CONVENTION}

    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""
        facts = self.facts
        images, sizes, copies = set_overview(facts)
        return [
            images,
            sizes,
            ("spots", f"{facts.spots:,}"),
            ("images without a spot", f"{len(facts.empty):,}"),
            copies,
            ("tolerance", f"{number(facts.tolerance_px)} px"),
        ]

    def cards(self, dataset: Any) -> list[Card]:
        """What looks wrong first, then images from all over."""
        return cards(self.facts, dataset)

    def legend(self, dataset: Any) -> tuple[str, ...]:
        """The kinds."""
        return tuple(dataset.names)

    def sections(self, shown: Sequence[Card], names: Sequence[str]) -> list[Section]:
        """Spots of each kind, and images with them."""
        splits = [split for split in SPLITS if split in self.facts.splits]
        header = ["kind", "spots", *splits, "images", "absent", "not labelled"]
        header += ["on an image", "apart px", "near border"]
        rows = [_row(one, splits) for one in self.facts.by_kind]
        caption = (
            "'on an image' is the least, the median and the largest number of spots; 'apart' is "
            "the median distance to the nearest spot of the same kind."
        )
        counted = Table(header, rows, range(1, len(header)), caption)
        words = "Images from the whole dataset with their labels. Is each spot marked, once?"
        images = [Paragraph(words), Legend(names), Photographs(shown, "Image with its labels")]
        none = [Paragraph("No image with a label could be read.")]
        return [
            Section("Kinds of spots", [counted]),
            Section("Images", images if shown else none, console=False),
        ]

    def tiles(self) -> list[tuple[str, str]]:
        """The numbers on top of the page."""
        facts = self.facts
        return [
            ("images", f"{facts.images:,}"),
            ("kinds", f"{len(facts.by_kind):,}"),
            ("spots", f"{facts.spots:,}"),
            ("tolerance", f"{number(facts.tolerance_px)} px"),
        ]


def _row(one: KindFacts, splits: Sequence[str]) -> list[str]:
    counts = [one.spots, *(one.by_split[split] for split in splits)]
    counts += [one.images, one.absent, one.unlabelled]
    spread = f"{one.least} – {one.median:g} – {one.most}"
    return [
        one.kind,
        *(f"{n:,}" for n in counts),
        spread,
        number(one.spacing_px),
        str(one.near_border),
    ]


def look(dataset: SpotDataset, seed: int, progress: Progress | None) -> SpotFindings:
    """Look at labels of spots and their images."""
    facts = gather(dataset, seed, progress)
    return SpotFindings(*advise(facts), facts)


def cards(facts: SpotFacts, dataset: SpotDataset) -> list[Card]:
    """(caption, image with its spots): what looks wrong first, then images from all over."""
    by_image = {s.image: s for s in dataset.samples if s.located.any()}
    notes = {image: "two spots in one place?" for image, _ in facts.doubles}
    notes |= dict.fromkeys(facts.outside, "spots outside")
    suspects = [image for image in notes if image in by_image][: SHOWN // 2]
    rest = [image for image in by_image if image not in suspects and image not in facts.damaged]
    count = min(SHOWN - len(suspects), len(rest))
    spread = [rest[i] for i in np.linspace(0, len(rest) - 1, count).round().astype(int)]
    found = []
    for image in suspects + spread:
        sample = by_image[image]
        points, kinds = dataset.kinds(sample)
        try:
            pixels, spacing = dataset.reading(image)
            drawn = draw_spots(pixels, points, kinds, dataset.names, side=SIDE, spacing=spacing)
        except ImageError:
            continue
        found.append((f"{image} ({notes[image]})" if image in notes else image, drawn))
    return found
