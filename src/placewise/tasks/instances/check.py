"""What can be wrong with labelled objects: fragments, tiny ones, holes, few, crowded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
from placewise.labels import InstanceDataset
from placewise.metrics import at_border, touching_pairs
from placewise.report.objects import outlined
from placewise.report.parts import Card, Photographs, Section, Table
from placewise.task import Progress
from placewise.tasks.instances.target import diameters
from placewise.wording import number as plain
from placewise.wording import share

FEW = 50
"""Training objects below which a network learns them by heart."""

TINY = 0.05
"""Share of the median area below which an object is probably a slip."""

SMALLEST = 8.0
"""Pixels of the network across an object below which it can hardly be outlined."""

SHOWN = 12
"""Images on the sheet."""


@dataclass(frozen=True)
class InstanceFacts(SetFacts):
    """What was counted; see `SetFacts`.

    Attributes:
        kinds: objects of each kind, by name.
        training: objects on training images.
        counts: objects of each image.
        across: (5, 25, 50, 75 and 95 percent) of the objects' diameters in pixels; empty without.
        cut: objects that touch the border of their image.
        touching: pairs of objects that touch.
        fragments: "image: object" of those that are in several parts.
        holes: the same of those with a hole.
        tiny: the same of those that are far smaller than others.
        empty: images without an object.
        unreadable: labels that cannot be read, and why.
        scale: pixels of the network for one pixel of an image, as training would choose it.
    """

    kinds: dict[str, int]
    training: int
    counts: tuple[int, ...]
    across: tuple[float, ...]
    cut: int
    touching: int
    fragments: tuple[str, ...]
    holes: tuple[str, ...]
    tiny: tuple[str, ...]
    empty: tuple[str, ...]
    unreadable: dict[str, str]
    scale: float

    @property
    def objects(self) -> int:
        """All objects."""
        return sum(self.counts)


@dataclass
class _Tally:
    """What is counted while the labels are read."""

    counts: list[int] = field(default_factory=list)
    areas: list[tuple[str, int, int]] = field(default_factory=list)
    training: int = 0
    cut: int = 0
    touching: int = 0
    fragments: list[str] = field(default_factory=list)
    holes: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def add(self, image: str, labels: NDArray[np.int32], *, training: bool) -> None:
        """Count an image's objects."""
        from scipy import ndimage

        shown = labels.clip(0)
        touching = np.ones((3,) * labels.ndim, bool)
        for number, box in enumerate(ndimage.find_objects(shown), 1):
            if box is None:
                continue
            own = shown[box] == number
            self.areas.append((image, number, int(own.sum())))
            if ndimage.label(own, touching)[1] > 1:
                self.fragments.append(f"{image}: {number}")
            if (ndimage.binary_fill_holes(own) != own).any():
                self.holes.append(f"{image}: {number}")
        count = len(np.unique(shown)) - 1
        self.counts.append(count)
        self.training += count * training
        self.cut += len(at_border(shown))
        self.touching += len(touching_pairs(shown))
        if not count:
            self.empty.append(image)


def gather(
    dataset: InstanceDataset, scale: float, seed: int, progress: Progress | None
) -> InstanceFacts:
    """Count; every image and its labels are read once.

    Args:
        dataset: the labels.
        scale: pixels of the network for one of an image.
        seed: of the split that training would draw.
        progress: called with (done, total).
    """
    splits, _ = splits_of(dataset, seed)
    common = set_facts(dataset, dataset, seed, progress)
    tally, unreadable = _Tally(), {}
    kinds = dict.fromkeys(dataset.names, 0)
    axes = 2
    for sample, split in zip(dataset.samples, splits, strict=True):
        try:
            labels, told = dataset.instances(sample)
        except PlacewiseError as error:
            unreadable[sample.image] = str(error)
            continue
        axes = labels.ndim
        tally.add(sample.image, labels, training=split == "train")
        for kind in told.tolist():
            kinds[dataset.names[kind]] += 1
    areas = np.array([area for _, _, area in tally.areas])
    usual = float(np.median(areas)) if len(areas) else 0.0
    found = diameters(areas, axes)
    ends = np.percentile(found, (5, 25, 50, 75, 95)).tolist() if len(found) else []
    return InstanceFacts(
        **common,
        kinds=kinds,
        training=tally.training,
        counts=tuple(tally.counts),
        across=tuple(ends),
        cut=tally.cut,
        touching=tally.touching,
        fragments=tuple(tally.fragments),
        holes=tuple(tally.holes),
        tiny=tuple(f"{i}: {n}" for i, n, area in tally.areas if area < TINY * usual),
        empty=tuple(tally.empty),
        unreadable=unreadable,
        scale=scale,
    )


@dataclass(frozen=True)
class InstanceFindings(Findings):
    """Findings about objects; see `Findings`."""

    facts: InstanceFacts

    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""
        facts = self.facts
        images, sizes, copies = set_overview(facts)
        return [
            images,
            sizes,
            ("objects", f"{facts.objects:,}"),
            ("objects that touch the border", share(facts.cut / max(1, facts.objects))),
            ("pairs that touch", f"{facts.touching:,}"),
            copies,
        ]

    def tiles(self) -> list[tuple[str, str]]:
        """The numbers on top of the page."""
        return [*super().tiles(), ("objects", f"{sum(self.facts.counts):,}")]

    def cards(self, dataset: InstanceDataset) -> list[Card]:
        """Images with outlines, from all over the set."""
        found: list[Card] = []
        for sample in dataset.samples[:: max(1, len(dataset.samples) // SHOWN)][:SHOWN]:
            try:
                labels = dataset.instances(sample)[0].clip(0)
                pixels, spacing = dataset.reading(sample.image)
                drawn = outlined(pixels, [(labels, None)], spacing=spacing)
            except PlacewiseError:
                continue
            found.append((f"{sample.image}: {int(labels.max(initial=0))} objects", drawn))
        return found

    def sections(self, shown: Sequence[Card], names: Sequence[str]) -> list[Section]:
        """Sizes, counts and kinds, and images with outlines."""
        facts = self.facts
        rows = []
        if facts.across:
            low, _, median, _, high = map(plain, facts.across)
            rows.append(["size across (px)", low, median, high])
        if facts.counts:
            ends = np.percentile(facts.counts, (5, 50, 95))
            rows.append(["objects on an image", *(plain(float(one)) for one in ends)])
        table = Table(["", "5 % are below", "median", "5 % are above"], rows, [1, 2, 3])
        kinds = [[name, f"{count:,}"] for name, count in facts.kinds.items()]
        parts = [table, *([Table(["kind", "objects"], kinds, [1])] if len(kinds) > 1 else [])]
        images = [Photographs(shown, "Image with the outlines of its objects")] if shown else []
        return [Section("Objects", parts), Section("Images", images, console=False)]


def look(
    dataset: InstanceDataset, scale: float, seed: int, progress: Progress | None
) -> InstanceFindings:
    """Look at objects and their images.

    Args:
        dataset: the labels.
        scale: pixels of the network for one of an image.
        seed: of the split that training would draw.
        progress: called with (done, total).
    """
    facts = gather(dataset, scale, seed, progress)
    rules = (set_advice, _unreadable, _few, _small, _fragments, _tiny, _holes, _empty)
    found = [advice for rule in rules for advice in rule(facts)]
    what = f"{many(facts.images, 'image')}, {many(facts.objects, 'object')}"
    return InstanceFindings(*concluded(found, what), facts)


def _unreadable(facts: InstanceFacts) -> Iterator[Advice]:
    if facts.unreadable:
        first = next(iter(facts.unreadable.values()))
        yield (
            Weight.STOPS,
            f"{many(len(facts.unreadable), 'label map')} cannot be read. The first: {first}",
        )


def _few(facts: InstanceFacts) -> Iterator[Advice]:
    if facts.training < FEW and not facts.split_fault:
        yield (
            Weight.HARMS,
            f"{many(facts.training, 'object')} on the training images. Below {FEW} a network "
            "learns them by heart; label more.",
        )


def _small(facts: InstanceFacts) -> Iterator[Advice]:
    if facts.across and facts.across[2] * facts.scale < SMALLEST:
        yield (
            Weight.HARMS,
            f"Half of the objects are less than {facts.across[2]:.1f} px across, "
            f"{facts.across[2] * facts.scale:.1f} px for the network: they can be counted, but "
            "hardly outlined. Take images of a higher resolution.",
        )


def _fragments(facts: InstanceFacts) -> Iterator[Advice]:
    if facts.fragments:
        yield (
            Weight.HARMS,
            f"{many(len(facts.fragments), 'object')} in several parts (image: number): "
            f"{listed(facts.fragments)}. Give each part a number of its own if they are different "
            "objects, and remove stray pixels.",
        )


def _tiny(facts: InstanceFacts) -> Iterator[Advice]:
    if facts.tiny:
        yield (
            Weight.NOTE,
            f"{many(len(facts.tiny), 'object')} with less than {share(TINY)} of the median area "
            f"(image: number): {listed(facts.tiny)}. Remove those that are slips of the pen.",
        )


def _holes(facts: InstanceFacts) -> Iterator[Advice]:
    if facts.holes:
        yield (
            Weight.NOTE,
            f"{many(len(facts.holes), 'object')} with a hole (image: number): "
            f"{listed(facts.holes)}. Fill the holes that are no part of the shape.",
        )


def _empty(facts: InstanceFacts) -> Iterator[Advice]:
    if facts.empty:
        yield (
            Weight.NOTE,
            f"{many(len(facts.empty), 'image')} without an object: {listed(facts.empty)}. They are "
            "learnt from as background: take those out that were only not labelled.",
        )
