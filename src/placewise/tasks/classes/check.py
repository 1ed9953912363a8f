"""What a look at class labels finds, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from placewise.errors import ImageError
from placewise.findings import (
    Advice,
    Findings,
    SetFacts,
    Weight,
    concluded,
    few_advice,
    listed,
    many,
    set_advice,
    set_facts,
    set_overview,
    splits_of,
)
from placewise.labels import SPLITS, ClassDataset
from placewise.report.parts import Card, Figure, Section, Table, Wide
from placewise.report.run import kind_of
from placewise.report.sheets import sheet
from placewise.task import Progress
from placewise.tasks.classes.evidence import answered
from placewise.tasks.classes.report import class_counts
from placewise.wording import natural, share

UNEVEN = 10
"""Worth a word: the commonest class has so many times the training images of the rarest."""

SHOWN = 40
"""Images on the sheet, from all classes by turns."""

COLUMNS, TILE = 8, 130
"""Images in a row of the page, and the width in pixels of each."""

SIDE = (180, 360)
"""Least and most pixels of their longer side."""


@dataclass(frozen=True)
class OneClass:
    """Images of one class.

    Attributes:
        name: of the class.
        images: of it.
        by_split: of each split, as training would use them.
    """

    name: str
    images: int
    by_split: dict[str, int]


@dataclass(frozen=True)
class ClassFacts(SetFacts):
    """What was counted; see `SetFacts`.

    Attributes:
        unlabelled: images whose class is not known.
        by_class: images of each class.
        conflicts: groups of copies that are labelled with several classes.
    """

    unlabelled: int
    by_class: tuple[OneClass, ...]
    conflicts: tuple[tuple[str, ...], ...]


def gather(dataset: ClassDataset, seed: int, progress: Progress | None) -> ClassFacts:
    """Count; every image is read once."""
    known = dataset.labelled()
    splits, _ = splits_of(known, seed)
    common = set_facts(dataset, known, seed, progress)
    shows = {sample.image: sample.label for sample in known.samples}
    return ClassFacts(
        **common,
        unlabelled=len(dataset.samples) - len(known.samples),
        by_class=_by_class(known, splits),
        conflicts=tuple(
            group
            for group in common["copies"]
            if len({shows[image] for image in group if image in shows}) > 1
        ),
    )


def _by_class(dataset: ClassDataset, splits: Sequence[str]) -> tuple[OneClass, ...]:
    counts = {
        split: dataset.counts(
            [s for s, name in zip(dataset.samples, splits, strict=True) if name == split]
        )
        for split in SPLITS
        if split in splits
    }
    return tuple(
        OneClass(name, sum(of[k] for of in counts.values()), {s: of[k] for s, of in counts.items()})
        for k, name in enumerate(dataset.names)
    )


@dataclass(frozen=True)
class ClassFindings(Findings):
    """Findings about classes; see `Findings`."""

    facts: ClassFacts

    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""
        facts = self.facts
        images, sizes, copies = set_overview(facts)
        common = max((one.images for one in facts.by_class), default=0)
        return [
            images,
            sizes,
            ("without a class", f"{facts.unlabelled:,}"),
            ("the most common class", share(common / max(1, facts.images - facts.unlabelled))),
            copies,
        ]

    def cards(self, dataset: ClassDataset) -> list[Card]:
        """Images of all classes by turns, each under its class."""
        by_class: list[list[str]] = [[] for _ in dataset.names]
        for sample in dataset.samples:
            if sample.label is not None and sample.image not in self.facts.damaged:
                by_class[sample.label].append(sample.image)
        found: list[Card] = []
        turns = -(-SHOWN // len(by_class))
        for turn in range(turns):
            for k, images in enumerate(by_class):
                spread = max(len(images), turns)  # of many images some from everywhere, each once
                if turn < len(images) and len(found) < SHOWN:
                    image = images[turn * spread // turns]
                    try:
                        pixels, spacing = dataset.reading(image)
                        drawn = answered(pixels, side=SIDE, spacing=spacing)
                    except ImageError:
                        continue
                    found.append((f"{dataset.names[k]} · {image}", drawn))
        return sorted(found, key=lambda card: natural(card[0]))

    def tiles(self) -> list[tuple[str, str]]:
        """The numbers on top of the page."""
        facts = self.facts
        splits = [
            (f"{kind_of(split)} images", f"{count:,}") for split, count in facts.splits.items()
        ]
        classes = ("classes", f"{len(facts.by_class):,}")
        return [("images", f"{facts.images:,}"), classes, *splits]

    def sections(self, shown: Sequence[Card], names: Sequence[str]) -> list[Section]:
        """Images of each class, counted and shown."""
        facts, caption = self.facts, "Images of each class, by split."
        header = ["class", "images", *facts.splits]
        rows = [
            [one.name, f"{one.images:,}", *(f"{one.by_split[s]:,}" for s in facts.splits)]
            for one in facts.by_class
        ]
        figure = Figure(
            lambda theme: class_counts([(c.name, c.by_split) for c in facts.by_class], theme),
            caption,
            f"{caption} " + ", ".join(f"{c.name} {c.images}" for c in facts.by_class[:SHOWN]),
            Table(header, rows, range(1, len(header)), folded="Show the numbers"),
        )
        return [Section("Classes", [figure]), Section("Images", [_across(shown)] if shown else [])]


def _across(shown: Sequence[Card]) -> Wide:
    """All images on one contact sheet."""
    captions, images = zip(*shown, strict=True)
    drawn = sheet(images, captions, columns=COLUMNS, tile=TILE)
    caption = "Images of all classes. Is each what its caption says?"
    return Wide(drawn, caption, f"Images with their classes: {', '.join(captions)}")


def look(dataset: ClassDataset, seed: int, progress: Progress | None) -> ClassFindings:
    """Look at class labels and their images."""
    facts = gather(dataset, seed, progress)
    rules = (set_advice, _lost, _nothing, _conflicts, _few, _uneven, _unlabelled, _sizes)
    found = [advice for rule in rules for advice in rule(facts)]
    what = f"{many(facts.images, 'image')}, {many(len(facts.by_class), 'class', 'classes')}"
    return ClassFindings(*concluded(found, what), facts)


def _nothing(facts: ClassFacts) -> Iterator[Advice]:
    if facts.unlabelled == facts.images:
        yield Weight.STOPS, "No image has a class: there is nothing to learn."


def _lost(facts: ClassFacts) -> Iterator[Advice]:
    lost = [one.name for one in facts.by_class if not one.by_split.get("train", 0)]
    if lost and not facts.split_fault:
        yield (
            Weight.HARMS,
            f"No training image shows {listed(lost)}: it cannot be learnt. Add images, or take "
            "the class out.",
        )


def _conflicts(facts: ClassFacts) -> Iterator[Advice]:
    if facts.conflicts:
        yield (
            Weight.HARMS,
            f"Identical images have different classes ({len(facts.conflicts):,} groups), e.g. "
            f"{' = '.join(facts.conflicts[0][:3])}: the network cannot learn both. Keep one of "
            "them.",
        )


def _few(facts: ClassFacts) -> Iterator[Advice]:
    counts = {one.name: one.by_split.get("train", 0) for one in facts.by_class}
    return few_advice(counts, "training images", "what they have in common; add more")


def _uneven(facts: ClassFacts) -> Iterator[Advice]:
    counts = {one.name: one.by_split.get("train", 0) for one in facts.by_class}
    known = {name: count for name, count in counts.items() if count}
    if known and max(known.values()) >= UNEVEN * min(known.values()):
        rare, common = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
        yield (
            Weight.NOTE,
            f"'{common}' has {known[common] / known[rare]:.0f} times as many training images as "
            f"'{rare}': look at the recall of each class, not only at the accuracy.",
        )


def _unlabelled(facts: ClassFacts) -> Iterator[Advice]:
    if facts.unlabelled:
        yield (
            Weight.NOTE,
            f"Of {many(facts.unlabelled, 'image')} the class is not known; training and scores "
            "leave them out.",
        )


def _sizes(facts: ClassFacts) -> Iterator[Advice]:
    if len(facts.sizes) > 1:
        yield (
            Weight.NOTE,
            f"Images have {len(facts.sizes):,} sizes: the network sees each shrunk until it fits "
            "into one frame, and small ones as they are.",
        )
