"""What can be wrong with any labels, and the findings that a look at them ends in."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any, ClassVar

from placewise.errors import ImageError, SettingsError
from placewise.labels import SPLITS, Dataset, split_images
from placewise.report.parts import Card, Photographs, Report, Section, Table
from placewise.report.run import SPLIT_WORDS
from placewise.report.spoken import spoken
from placewise.wording import PIXELS_OF, begun

LISTED = 4
"""Names that a sentence lists."""

FEW = 20
"""Training examples of a name below which it is learnt by heart."""


class Weight(IntEnum):
    """How much a finding matters."""

    NOTE = 0
    HARMS = 1
    STOPS = 2


Advice = tuple[Weight, str]


@dataclass(frozen=True)
class Findings(ABC):
    """What a look at labels found; `str` of it is what the console shows.

    Attributes:
        verdict: in a sentence, whether training on them makes sense.
        warnings: sentences, the weightiest first.
        facts: what was counted.
    """

    verdict: str
    warnings: tuple[str, ...]
    facts: Any

    words: ClassVar[Sequence[tuple[str, str]]] = (SPLIT_WORDS,)
    """What the words on the page mean."""

    @abstractmethod
    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""

    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""
        head = {"verdict": self.verdict, "warnings": list(self.warnings)}
        return {**head, **asdict(self.facts)}

    def cards(self, dataset: Any) -> list[Card]:
        """Images for the sheet and the page."""
        return []

    def legend(self, dataset: Any) -> tuple[str, ...]:
        """Names whose marks the sheet explains."""
        return ()

    by_shape: ClassVar[bool] = False
    """Whether the shape of a mark says which name it is, and its colour whose."""

    def tiles(self) -> list[tuple[str, str]]:
        """(label, value) of the numbers on top of the page."""
        return [("images", f"{self.facts.images:,}")]

    def sections(self, shown: Sequence[Card], names: Sequence[str]) -> list[Section]:
        """What is special to these labels: images, counts.

        Args:
            shown: what `cards` gave.
            names: of the dataset.
        """
        images = [Photographs(shown, "Image with its label")] if shown else []
        return [Section("Images", images, console=False)]

    def report(self, dataset: Any = None, shown: Sequence[Card] = ()) -> Report:
        """The findings as a report; with labels and images for its page.

        Args:
            dataset: what was looked at; None for the console.
            shown: what `cards` gave.
        """
        whole = Section("The whole dataset", [Table(["", ""], self.overview())])
        names = dataset.names if dataset is not None else self.facts.names
        report = Report(
            self.facts.source,
            self.verdict,
            [whole, *self.sections(shown, names)],
            tiles=self.tiles(),
            notes=self.warnings,
            words=self.words,
        )
        sizes = [size.count("×") + 1 for size in self.facts.sizes]
        return spoken(report, PIXELS_OF.get(max(sizes, default=2), "px"), names)

    def __str__(self) -> str:
        return self.report().text()


@dataclass(frozen=True)
class SetFacts:
    """What can be counted of any labelled images.

    Attributes:
        source: the file or folder of labels.
        names: of the dataset.
        images: number of images.
        splits: images of each split, as training would use them.
        split_drawn: whether some of the split is drawn by the seed.
        split_fault: why no split can be made; empty where one can.
        sizes: images of each size "width×height", the most frequent first; of signals "length".
        damaged: images that cannot be read, and why.
        blank: images of one value everywhere.
        copies: groups of images with the same content.
        leaks: those of the groups that are in several splits.
        alike: groups of names that differ in capitals, blanks or a `.0` alone.
    """

    source: str
    names: tuple[str, ...]
    images: int
    splits: dict[str, int]
    split_drawn: bool
    split_fault: str
    sizes: dict[str, int]
    damaged: dict[str, str]
    blank: tuple[str, ...]
    copies: tuple[tuple[str, ...], ...]
    leaks: tuple[tuple[str, ...], ...]
    alike: tuple[tuple[str, ...], ...]


class SetFindings(Findings):
    """Findings that every dataset can have."""

    facts: SetFacts

    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""
        return set_overview(self.facts)


def look_at_set(
    dataset: Dataset[Any],
    advice: Sequence[Advice],
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> SetFindings:
    """Look at labels of any task.

    Args:
        dataset: the labels.
        advice: what the task itself has found.
        seed: of the split that training would draw.
        progress: called with (done, total) images.
    """
    facts = SetFacts(**set_facts(dataset, dataset, seed, progress))
    return SetFindings(
        *concluded([*advice, *set_advice(facts)], many(facts.images, "image")), facts
    )


def set_facts(
    dataset: Dataset[Any],
    known: Dataset[Any],
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """The fields of `SetFacts`; every image is read once.

    Args:
        dataset: the labels.
        known: those of them that training would use.
        seed: of the split that training would draw.
        progress: called with (done, total) images.
    """
    splits, fault = splits_of(known, seed)
    damaged, blank, copies = read_all(dataset, progress)
    of = {sample.image: split for sample, split in zip(known.samples, splits, strict=True)}
    given = zip(known.samples, splits, strict=True)
    sizes = Counter("×".join(map(str, sample.size[::-1])) for sample in dataset.samples)
    return {
        "source": str(dataset.source or dataset.root),
        "names": tuple(dataset.names),
        "alike": names_alike(dataset.names),
        "images": len(dataset.samples),
        "splits": {split: splits.count(split) for split in SPLITS if split in splits},
        "split_drawn": any(sample.split != split for sample, split in given),
        "split_fault": fault,
        "sizes": dict(sizes.most_common()),
        "damaged": damaged,
        "blank": blank,
        "copies": copies,
        "leaks": tuple(g for g in copies if len({of[i] for i in g if i in of}) > 1),
    }


def set_overview(facts: SetFacts) -> list[tuple[str, str]]:
    """(what, how much) of any set."""
    splits = ", ".join(f"{count:,} {split}" for split, count in facts.splits.items())
    drawn = "; images without a split are assigned by the seed" if facts.split_drawn else ""
    sizes = [f"{size} ({count:,})" for size, count in list(facts.sizes.items())[:5]]
    more = f" and {len(facts.sizes) - 5} more" if len(facts.sizes) > 5 else ""
    return [
        ("images", f"{facts.images:,}: {splits}{drawn}"),
        ("sizes", ", ".join(sizes) + more),
        ("copies of images", f"{sum(len(group) - 1 for group in facts.copies):,}"),
    ]


def set_advice(facts: SetFacts) -> Iterator[Advice]:
    """What is wrong with any set."""
    yield from damaged(facts.damaged)
    yield from blank(facts.blank)
    if facts.split_fault:
        yield Weight.STOPS, f"{begun(facts.split_fault).rstrip('.')}."
    if facts.alike:
        groups = listed([" and ".join(f"'{name}'" for name in group) for group in facts.alike])
        yield (
            Weight.HARMS,
            f"Names that are nearly the same: {groups}. Where they mean one thing, the network "
            "learns to tell it apart from itself: write one name for it everywhere.",
        )
    yield from leaks(facts.leaks)
    yield from copies([group for group in facts.copies if group not in facts.leaks])


def few_advice(counts: Mapping[str, int], what: str, instead: str) -> Iterator[Advice]:
    """Names with so few training examples that the network learns these by heart.

    Args:
        counts: training examples of each name; one without any is not meant here.
        what: what is counted.
        instead: what should be learnt, and what to do.

    Example:
        >>> counts = {"cat": 3, "dog": 40, "fly": 0}
        >>> [text for _, text in few_advice(counts, "images", "the kind; add more")]
        ['Few images: cat (3). Below 20 a network learns them by heart instead of the ...
    """
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW]
    if few:
        yield (
            Weight.HARMS,
            f"Few {what}: {listed(few)}. Below {FEW} a network learns them by heart instead of "
            f"{instead}.",
        )


def names_alike(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of names that differ in capitals, blanks, lines or a `.0` alone.

    Single letters are told apart: `A` and `a` are two classes of handwriting.

    Example:
        >>> names_alike(["left ear", "Left_Ear", "1", "1.0", "a", "A"])
        (('left ear', 'Left_Ear'), ('1', '1.0'))
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        plain = re.sub(r"[\s_-]+", " ", name.removesuffix(".0")).strip().casefold()
        groups[name if len(name) == 1 and name.isalpha() else plain].append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def splits_of(dataset: Dataset[Any], seed: int) -> tuple[list[str], str]:
    """Split of each sample, and why training could not be split."""
    try:
        return split_images(dataset, seed), ""
    except SettingsError as error:
        return [sample.split or "train" for sample in dataset.samples], str(error)


def read_all(
    dataset: Dataset[Any], progress: Callable[[int, int], None] | None
) -> tuple[dict[str, str], tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Images that cannot be read with the reason, blank ones, and groups of the same content."""
    broken: dict[str, str] = {}
    empty: list[str] = []
    same: dict[bytes, list[str]] = defaultdict(list)
    for number, sample in enumerate(dataset.samples):
        try:
            same[dataset.images.digest(sample.image)].append(sample.image)
            image = dataset.image(sample.image)
            if image.size and (image == image.flat[0]).all():
                empty.append(sample.image)
        except ImageError as error:
            broken[sample.image] = str(error)
        if progress:
            progress(number + 1, len(dataset.samples))
    copied = tuple(tuple(images) for images in same.values() if len(images) > 1)
    return broken, tuple(empty), copied


def concluded(found: Sequence[Advice], what: str, more: str = "") -> tuple[str, tuple[str, ...]]:
    """Whether training makes sense, in a sentence; and what to know, the weightiest first.

    Args:
        found: all advice.
        what: what was looked at.
        more: what is said of it too where all is well.
    """
    said = tuple(sentence for _, sentence in sorted(found, key=lambda one: -one[0]))
    stops = sum(weight == Weight.STOPS for weight, _ in found)
    harms = sum(weight == Weight.HARMS for weight, _ in found)
    if stops:
        return f"Not ready to train: {many(stops, 'thing')} must be mended first ({what}).", said
    if harms:
        return f"Ready to train, but look at {many(harms, 'thing')} first ({what}).", said
    return f"Ready to train: {what}{more}.", said


def damaged(reasons: Mapping[str, str]) -> Iterator[Advice]:
    """Images that cannot be read, and why."""
    if reasons:
        first = next(iter(reasons.values()))
        yield (
            Weight.STOPS,
            f"{many(len(reasons), 'image')} cannot be read. The first: {first}. Replace "
            "such images or take them out of the labels.",
        )


def blank(images: Sequence[str]) -> Iterator[Advice]:
    """Images of one value everywhere.

    Example:
        >>> [text for _, text in blank(["a.png"])]
        ['1 image shows nothing: a.png. Every pixel has the same value; are they saved ...
    """
    if images:
        yield (
            Weight.HARMS,
            f"{many(len(images), 'image')} {'shows' if len(images) == 1 else 'show'} nothing: "
            f"{listed(images)}. Every pixel has the same value; are they saved whole, and is their "
            "alpha channel no mask? Replace such images or take them out of the labels.",
        )


def leaks(groups: Sequence[Sequence[str]]) -> Iterator[Advice]:
    """Groups of the same image in several splits."""
    if groups:
        yield (
            Weight.HARMS,
            f"Identical images are in different splits ({times(len(groups))}), e.g. "
            f"{' = '.join(groups[0][:3])}: scores will flatter. Keep all copies in one split.",
        )


def copies(groups: Sequence[Sequence[str]]) -> Iterator[Advice]:
    """Groups of the same image that do no harm."""
    if groups:
        yield (
            Weight.NOTE,
            f"Identical images are in one split ({times(len(groups))}), e.g. "
            f"{' = '.join(groups[0][:3])}.",
        )


def many(count: int, what: str, several: str = "") -> str:
    """A count with its noun.

    Example:
        >>> many(1, "image"), many(2, "image"), many(2, "class", "classes")
        ('1 image', '2 images', '2 classes')
    """
    return f"{count:,} {what if count == 1 else several or f'{what}s'}"


def times(count: int) -> str:
    """How often, in words.

    Example:
        >>> times(1), times(3)
        ('once', '3 times')
    """
    return "once" if count == 1 else f"{count:,} times"


def listed(words: Sequence[str]) -> str:
    """The first few, and how many more there are.

    Example:
        >>> listed(["a", "b", "c", "d", "e"])
        'a, b, c, d and 1 more'
    """
    more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return ", ".join(words[:LISTED]) + more
