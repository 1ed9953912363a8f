"""What can be wrong with masks: balance, emptiness, thin things, ignored pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from placewise.errors import PlacewiseError
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
from placewise.labels import MaskDataset
from placewise.metrics import edge, pieces
from placewise.report.parts import Card, Photographs, Section, Table
from placewise.task import Progress
from placewise.tasks.masks.drawing import outlined
from placewise.wording import share

FEW = 5
"""Training images of a class below which it is learnt by heart."""

RARE = 0.002
"""Share of the pixels below which a class is rare."""

SHOWN = 12
"""Images on the sheet."""

WHOLE = 1.1
"""Connected pieces of a class on an image, below which it may be one object."""

THINNEST = 2.0
"""Pixels of the network below which a thing is lost."""


@dataclass(frozen=True)
class OneClass:
    """What was counted of a class.

    Attributes:
        name: of the class.
        images: that show it.
        training: of these, those that training learns from.
        pixels: share of the pixels that are not ignored.
        width: mean width in pixels; 0 where it is nowhere.
        pieces: connected pieces on an image that shows it, mean.
    """

    name: str
    images: int
    training: int
    pixels: float
    width: float
    pieces: float


@dataclass(frozen=True)
class MaskFacts(SetFacts):
    """What was counted; see `SetFacts`.

    Attributes:
        by_class: each class.
        empty: images whose mask marks nothing.
        ignored: share of the pixels that are ignored.
        unreadable: masks that cannot be read, and why.
        scale: pixels of the network for one pixel of an image, as training would choose it.
    """

    by_class: tuple[OneClass, ...]
    empty: tuple[str, ...]
    ignored: float
    unreadable: dict[str, str]
    scale: float


@dataclass
class _Sums:
    """Counts of a class while the masks are read."""

    images: int = 0
    training: int = 0
    pixels: int = 0
    edges: int = 0
    pieces: int = 0


def gather(dataset: MaskDataset, scale: float, seed: int, progress: Progress | None) -> MaskFacts:
    """Count; every image and every mask is read once.

    Args:
        dataset: the labels.
        scale: pixels of the network for one of an image.
        seed: of the split that training would draw.
        progress: called with (done, total).
    """
    splits, _ = splits_of(dataset, seed)
    common = set_facts(dataset, dataset, seed, progress)
    sums = [_Sums() for _ in dataset.names]
    empty: list[str] = []
    unreadable: dict[str, str] = {}
    known = whole = 0
    for sample, split in zip(dataset.samples, splits, strict=True):
        try:
            mask = dataset.mask(sample)
        except PlacewiseError as error:
            unreadable[sample.image] = str(error)
            continue
        known, whole = known + int((mask >= 0).sum()), whole + mask.size
        for number in np.unique(mask[mask > 0]).tolist():
            there, one = mask == number, sums[number - 1]
            one.images += 1
            one.training += split == "train"
            one.pixels += int(there.sum())
            one.edges += int(edge(there, mask >= 0).sum())
            one.pieces += pieces(there)
        if not (mask > 0).any():
            empty.append(sample.image)
    found = zip(dataset.names, sums, strict=True)
    return MaskFacts(
        **common,
        by_class=tuple(_one(name, one, known) for name, one in found),
        empty=tuple(empty),
        ignored=1 - known / max(1, whole),
        unreadable=unreadable,
        scale=scale,
    )


def _one(name: str, one: _Sums, known: int) -> OneClass:
    width = 2 * one.pixels / one.edges if one.edges else 0.0
    each = one.pieces / one.images if one.images else 0.0
    return OneClass(name, one.images, one.training, one.pixels / max(1, known), width, each)


@dataclass(frozen=True)
class MaskFindings(Findings):
    """Findings about masks; see `Findings`."""

    facts: MaskFacts

    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""
        facts = self.facts
        images, sizes, copies = set_overview(facts)
        return [
            images,
            sizes,
            ("masks that mark nothing", f"{len(facts.empty):,}"),
            ("ignored pixels", share(facts.ignored)),
            copies,
        ]

    def tiles(self) -> list[tuple[str, str]]:
        """The numbers on top of the page."""
        return [*super().tiles(), ("classes", f"{len(self.facts.by_class):,}")]

    def cards(self, dataset: MaskDataset) -> list[Card]:
        """Images with their outlines, from all over the set."""
        found: list[Card] = []
        for sample in dataset.samples[:: max(1, len(dataset.samples) // SHOWN)][:SHOWN]:
            try:
                pixels, spacing = dataset.reading(sample.image)
                drawn = outlined(pixels, dataset.mask(sample), spacing=spacing)
            except PlacewiseError:
                continue
            found.append((sample.image, drawn))
        return found

    def legend(self, dataset: MaskDataset) -> tuple[str, ...]:
        """The classes."""
        return dataset.names

    def sections(self, shown: Sequence[Card], names: Sequence[str]) -> list[Section]:
        """Each class, counted, and images with outlines."""
        rows = [
            [
                one.name,
                f"{one.images:,}",
                f"{one.training:,}",
                share(one.pixels),
                f"{one.width:.1f}",
                f"{one.pieces:.1f}",
            ]
            for one in self.facts.by_class
        ]
        header = ["class", "images", "for training", "of the pixels", "width (px)", "pieces"]
        caption = "Width and connected pieces are means; pieces are of images that show the class."
        table = Table(header, rows, range(1, 6), caption)
        alt = "Image with the outlines of its mask"
        images = [Photographs(shown, alt)] if shown else []
        return [Section("Classes", [table]), Section("Images", images, console=False)]


def look(dataset: MaskDataset, scale: float, seed: int, progress: Progress | None) -> MaskFindings:
    """Look at masks and their images.

    Args:
        dataset: the labels.
        scale: pixels of the network for one of an image.
        seed: of the split that training would draw.
        progress: called with (done, total).
    """
    facts = gather(dataset, scale, seed, progress)
    rules = (set_advice, _unreadable, _lost, _objects, _few, _rare, _thin, _empty, _ignored)
    found = [advice for rule in rules for advice in rule(facts)]
    what = f"{many(facts.images, 'image')}, {many(len(facts.by_class), 'class', 'classes')}"
    return MaskFindings(*concluded(found, what), facts)


def _unreadable(facts: MaskFacts) -> Iterator[Advice]:
    if facts.unreadable:
        first = next(iter(facts.unreadable.values()))
        yield (
            Weight.STOPS,
            f"{many(len(facts.unreadable), 'mask')} cannot be read. The first: {first}",
        )


def _lost(facts: MaskFacts) -> Iterator[Advice]:
    lost = [one.name for one in facts.by_class if not one.training]
    if len(lost) == len(facts.by_class) and not facts.split_fault:
        yield (
            Weight.STOPS,
            "Nothing is labelled on the training images, so there is nothing to learn. Label some "
            "of them, or change the split.",
        )
    elif lost and not facts.split_fault:
        yield (
            Weight.HARMS,
            f"No training image shows {listed(lost)}: it cannot be learnt. Add images, or take the "
            "class out.",
        )


def _objects(facts: MaskFacts) -> Iterator[Advice]:
    """Numbers without names, of which each is one piece on an image: perhaps of objects."""
    classes = facts.by_class
    nameless = all(one.name == f"class {k}" for k, one in enumerate(classes, 1))
    if len(classes) > 2 and nameless and all(0 < one.pieces < WHOLE for one in classes):
        yield (
            Weight.HARMS,
            f"Each of the {len(classes)} classes is one connected piece on an image. If the "
            "numbers tell objects apart (cell 1, cell 2, …), say --task instances here and in "
            "training; if they are classes, name them in classes.txt.",
        )


def _few(facts: MaskFacts) -> Iterator[Advice]:
    few = [f"{one.name} ({one.training})" for one in facts.by_class if 0 < one.training < FEW]
    if few:
        yield (
            Weight.HARMS,
            f"Few training images: {listed(few)}. Below {FEW} a network learns them by heart; "
            "label more.",
        )


def _rare(facts: MaskFacts) -> Iterator[Advice]:
    rare = [f"{one.name} ({share(one.pixels)})" for one in facts.by_class if 0 < one.pixels < RARE]
    if rare:
        yield (
            Weight.NOTE,
            f"Classes that cover few pixels: {listed(rare)}. Look at their own Dice, not only at "
            "the mean; more images that show them help most.",
        )


def _thin(facts: MaskFacts) -> Iterator[Advice]:
    lost = [
        f"{one.name} ({one.width:.1f} px, {one.width * facts.scale:.1f} px for the network)"
        for one in facts.by_class
        if 0 < one.width * facts.scale < THINNEST
    ]
    if lost and facts.scale < 1:
        yield (
            Weight.HARMS,
            f"Thin classes would be lost when images are scaled down: {listed(lost)}. Give a "
            "larger --input-pixels.",
        )


def _empty(facts: MaskFacts) -> Iterator[Advice]:
    if facts.empty:
        yield (
            Weight.NOTE,
            f"{many(len(facts.empty), 'mask')} of {facts.images:,} mark nothing, e.g. "
            f"{facts.empty[0]}: the network learns that nothing is there. Is that so?",
        )


def _ignored(facts: MaskFacts) -> Iterator[Advice]:
    if facts.ignored > 0:
        yield (
            Weight.NOTE,
            f"{share(facts.ignored)} of the pixels are ignored: they are part of no loss and of no "
            "score.",
        )
