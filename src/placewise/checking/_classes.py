"""What can be counted about classes, what follows from it, and how it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from placewise.checking._advice import Advice, Weight, copies, damaged, leaks, listed, many, verdict
from placewise.checking._facts import read_all, splits_of
from placewise.checking._findings import Findings
from placewise.errors import ImageError
from placewise.labels import SPLITS, ClassDataset
from placewise.report.classes import class_counts
from placewise.report.drawing import sheet
from placewise.report.evidence import answered
from placewise.report.parts import Card, Figure, Report, Section, Table, Wide
from placewise.report.run import SPLIT_WORDS
from placewise.wording import share

FEW = 20
"""Training images of a class below which it is learnt by heart."""

UNEVEN = 10
"""Worth a word: the most common class has so many times the training images of the rarest."""

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
class ClassFacts:
    """What was counted.

    Attributes:
        source: the file or folder of labels.
        images: number of images.
        unlabelled: images whose class is not known.
        splits: images of each split, as training would use them.
        split_drawn: whether some of the split is drawn by the seed.
        split_fault: why no split can be made; empty where one can.
        sizes: images of each size "width×height", the most frequent first.
        by_class: images of each class.
        damaged: images that cannot be read, and why.
        copies: groups of images with the same content.
        leaks: those of the groups that stand in several splits.
        quarrels: those of the groups that stand in several classes.
    """

    source: str
    images: int
    unlabelled: int
    splits: dict[str, int]
    split_drawn: bool
    split_fault: str
    sizes: dict[str, int]
    by_class: tuple[OneClass, ...]
    damaged: dict[str, str]
    copies: tuple[tuple[str, ...], ...]
    leaks: tuple[tuple[str, ...], ...]
    quarrels: tuple[tuple[str, ...], ...]


def gather(
    labels: ClassDataset, seed: int, progress: Callable[[int, int], None] | None
) -> ClassFacts:
    """Count; every image is read once."""
    known = labels.labelled()
    splits, fault = splits_of(known, seed)
    broken, same = read_all(labels, progress)
    of = {s.image: split for s, split in zip(known.samples, splits, strict=True)}
    shows = {sample.image: sample.label for sample in known.samples}
    sizes = Counter(f"{width}×{height}" for height, width in (s.size for s in labels.samples))
    given = zip(known.samples, splits, strict=True)
    return ClassFacts(
        source=str(labels.source or labels.root),
        images=len(labels.samples),
        unlabelled=len(labels.samples) - len(known.samples),
        splits={split: splits.count(split) for split in SPLITS if split in splits},
        split_drawn=any(sample.split != split for sample, split in given),
        split_fault=fault,
        sizes=dict(sizes.most_common()),
        by_class=_by_class(known, splits),
        damaged=broken,
        copies=same,
        leaks=tuple(g for g in same if len({of[i] for i in g if i in of}) > 1),
        quarrels=tuple(g for g in same if len({shows[i] for i in g if i in shows}) > 1),
    )


def _by_class(labels: ClassDataset, splits: Sequence[str]) -> tuple[OneClass, ...]:
    counts = {
        split: labels.counts(
            [s for s, name in zip(labels.samples, splits, strict=True) if name == split]
        )
        for split in SPLITS
        if split in splits
    }
    return tuple(
        OneClass(name, sum(of[k] for of in counts.values()), {s: of[k] for s, of in counts.items()})
        for k, name in enumerate(labels.names)
    )


@dataclass(frozen=True)
class ClassFindings(Findings):
    """Findings about classes; see `Findings`."""

    facts: ClassFacts

    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""
        return {
            "verdict": self.verdict,
            "warnings": list(self.warnings),
            **asdict(self.facts),
        }

    def cards(self, labels: Any) -> list[Card]:
        """Images of all classes by turns, each under its class."""
        by_class: list[list[str]] = [[] for _ in labels.names]
        for sample in labels.samples:
            if sample.label is not None and sample.image not in self.facts.damaged:
                by_class[sample.label].append(sample.image)
        found: list[Card] = []
        for turn in range(SHOWN):
            for k, images in enumerate(by_class):
                if turn < len(images) and len(found) < SHOWN:
                    image = images[turn * len(images) // SHOWN]
                    try:
                        drawn = answered(labels.image(image), side=SIDE)
                    except ImageError:
                        continue
                    found.append((f"{labels.names[k]} · {image}", drawn))
        return sorted(found, key=lambda card: card[0])

    def legend(self, labels: Any) -> tuple[str, ...]:
        """None: each image's caption says what it shows."""
        return ()

    def report(self, labels: Any = None, shown: Sequence[Card] = ()) -> Report:
        """The findings as a report."""
        facts = self.facts
        header, rows = _header(facts), [_row(facts, one) for one in facts.by_class]
        said = "Images of each class, by split."
        figure = Figure(
            lambda theme: class_counts([(c.name, c.by_split) for c in facts.by_class], theme),
            said,
            f"{said} " + ", ".join(f"{c.name} {c.images}" for c in facts.by_class[:SHOWN]),
            Table(header, rows, range(1, len(header)), folded="Show the numbers"),
        )
        return Report(
            facts.source,
            self.verdict,
            [
                Section("The whole dataset", [Table(["", ""], _overview(facts))]),
                Section("Classes", [figure]),
                Section("Images", [_across(shown)] if shown else []),
            ],
            tiles=[
                ("images", f"{facts.images:,}"),
                ("classes", f"{len(facts.by_class):,}"),
                *[(f"{split} images", f"{count:,}") for split, count in facts.splits.items()],
            ],
            notes=self.warnings,
            words=[SPLIT_WORDS],
        )


def _across(shown: Sequence[Card]) -> Wide:
    """All images on one contact sheet."""
    captions, images = zip(*shown, strict=True)
    drawn = sheet(images, captions, columns=COLUMNS, tile=TILE)
    said = "Images of all classes. Is each what its caption says?"
    return Wide(drawn, said, f"Images with their classes: {', '.join(captions)}")


def look(
    labels: ClassDataset, seed: int, progress: Callable[[int, int], None] | None
) -> ClassFindings:
    """Look at class labels and their images."""
    facts = gather(labels, seed, progress)
    rules = (_damaged, _splits, _lost, _quarrels, _leaks, _few, _uneven, _unlabelled, _copies)
    found = [advice for rule in (*rules, _sizes) for advice in rule(facts)]
    found.sort(key=lambda advice: -advice[0])
    what = f"{many(facts.images, 'image')}, {many(len(facts.by_class), 'class', 'classes')}"
    return ClassFindings(
        verdict(found, what, what), tuple(sentence for _, sentence in found), facts
    )


def _damaged(facts: ClassFacts) -> Iterator[Advice]:
    yield from damaged(facts.damaged)


def _leaks(facts: ClassFacts) -> Iterator[Advice]:
    yield from leaks(facts.leaks)


def _copies(facts: ClassFacts) -> Iterator[Advice]:
    told = {*facts.leaks, *facts.quarrels}
    yield from copies([group for group in facts.copies if group not in told])


def _splits(facts: ClassFacts) -> Iterator[Advice]:
    if facts.split_fault:
        sentence = facts.split_fault[0].upper() + facts.split_fault[1:]
        yield Weight.STOPS, f"{sentence.rstrip('.')}."


def _lost(facts: ClassFacts) -> Iterator[Advice]:
    lost = [one.name for one in facts.by_class if not one.by_split.get("train", 0)]
    if lost and not facts.split_fault:
        yield (
            Weight.HARMS,
            f"No training image shows {listed(lost)}: it cannot be learnt. Add images, or take "
            "the class out.",
        )


def _quarrels(facts: ClassFacts) -> Iterator[Advice]:
    if facts.quarrels:
        yield (
            Weight.HARMS,
            f"Identical images stand in different classes ({len(facts.quarrels):,} groups), e.g. "
            f"{' = '.join(facts.quarrels[0][:3])}: two opposite truths teach neither. Keep one.",
        )


def _few(facts: ClassFacts) -> Iterator[Advice]:
    counts = {one.name: one.by_split.get("train", 0) for one in facts.by_class}
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW]
    if few:
        yield (
            Weight.HARMS,
            f"Few training images: {listed(few)}. Below {FEW} a network learns them by heart "
            "instead of what they have in common; add more.",
        )


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


def _overview(facts: ClassFacts) -> list[tuple[str, str]]:
    """(what, how much) of the whole dataset."""
    splits = ", ".join(f"{count:,} {split}" for split, count in facts.splits.items())
    drawn = "; images without a split are assigned by the seed" if facts.split_drawn else ""
    sizes = [f"{size} ({count:,})" for size, count in list(facts.sizes.items())[:5]]
    more = f" and {len(facts.sizes) - 5} more" if len(facts.sizes) > 5 else ""
    common = max((one.images for one in facts.by_class), default=0)
    return [
        ("images", f"{facts.images:,}: {splits}{drawn}"),
        ("sizes", ", ".join(sizes) + more),
        ("without a class", f"{facts.unlabelled:,}"),
        ("the most common class", share(common / max(1, facts.images - facts.unlabelled))),
        ("copies of images", f"{sum(len(group) - 1 for group in facts.copies):,}"),
    ]


def _header(facts: ClassFacts) -> list[str]:
    return ["class", "images", *facts.splits]


def _row(facts: ClassFacts, one: OneClass) -> list[str]:
    return [one.name, f"{one.images:,}", *(f"{one.by_split[s]:,}" for s in facts.splits)]
