"""What can be wrong with labels of several objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    times,
)
from placewise.geometry import FloatArray
from placewise.labels import KeypointSample, PoseDataset, Visibility
from placewise.metrics import left_right_swaps, object_lengths
from placewise.report.drawing import keypoints as draw_keypoints
from placewise.report.parts import Card, Legend, Paragraph, Part, Photographs, Section, Table
from placewise.task import Progress
from placewise.tasks._places import Places, place_facts, repeated_advice, scale_advice
from placewise.wording import number, share

ENDS: tuple[tuple[Any, float], ...] = ((np.min, np.inf), (np.max, -np.inf))
"""What gives the lowest and the highest corner of a box, and what it begins with."""

SHOWN = 12
"""Images on the sheet."""

SIDE = (360, 720)
"""Least and most pixels of their longer side; a sheet makes them smaller, marks must be seen."""


@dataclass(frozen=True)
class PoseFacts(Places, SetFacts):
    """What was counted of labels of several objects.

    Attributes:
        animals: labelled objects.
        by_count: images with each number of objects.
        labels: located keypoints.
        by_keypoint: for each keypoint, objects on which it is located, absent and not labelled.
        single: images with an object of which one keypoint alone is located.
        twins: images on which two objects have all keypoints at the same places.
        overlapping: images on which the boxes about the keypoints of two animals overlap.
        swaps: (image, left, right) that would fit much better swapped.
        length: median length of an object in px; None where nothing says it.
        tracked: images on which objects have identities.
    """

    animals: int
    by_count: dict[int, int]
    labels: int
    by_keypoint: dict[str, dict[str, int]]
    single: tuple[str, ...]
    twins: tuple[str, ...]
    overlapping: tuple[str, ...]
    swaps: tuple[tuple[str, str, str], ...]
    length: float | None
    tracked: int


class PoseFindings(Findings):
    """Findings about labels of several objects."""

    by_shape = True
    facts: PoseFacts

    def legend(self, dataset: Any) -> tuple[str, ...]:
        """The keypoints."""
        return tuple(dataset.names)

    def overview(self) -> list[tuple[str, str]]:
        """(what, how much) of the whole set."""
        counts = ", ".join(f"{n} on {times(c)}" for n, c in sorted(self.facts.by_count.items()))
        length = number(self.facts.length)
        return [
            *set_overview(self.facts),
            ("animals", f"{self.facts.animals:,}"),
            ("images by number of animals", _by_number(self.facts.by_count) or counts),
            ("labelled keypoints", f"{self.facts.labels:,}"),
            ("median length of an animal", f"{length} px" if self.facts.length else "–"),
            ("images with overlapping animals", f"{len(self.facts.overlapping):,}"),
            ("images with identities", f"{self.facts.tracked:,}"),
        ]

    def tiles(self) -> list[tuple[str, str]]:
        """The numbers on top of the page."""
        facts = self.facts
        return [
            *super().tiles(),
            ("animals", f"{facts.animals:,}"),
            ("labelled keypoints", f"{facts.labels:,}"),
        ]

    def cards(self, dataset: Any) -> list[Card]:
        """Images for the sheet and the page: overlapping animals first."""
        return _cards(dataset, self.facts)

    def sections(self, shown: Sequence[Card], names: Sequence[str]) -> list[Section]:
        """Images, and what is labelled of each keypoint."""
        words = (
            "Each animal has its colour; the shape of a mark says which keypoint it is, of more "
            "than six keypoints in turn."
        )
        alt = "Image with its labelled animals"
        images: list[Part] = [
            Paragraph(words),
            Legend(names, by_shape=True),
            Photographs(shown, alt),
        ]
        images = images if shown else []
        rows = [
            [name, *(f"{row[key]:,}" for key in ("located", "absent", "unlabelled"))]
            for name, row in self.facts.by_keypoint.items()
        ]
        header = ["keypoint", "located", "absent", "not labelled"]
        return [
            Section("Images", images, console=False),
            Section("Keypoints", [Table(header, rows, range(1, 4))]),
        ]


def _by_number(counts: dict[int, int]) -> str:
    return ", ".join(f"{many(n, 'animal')}: {count:,}" for n, count in sorted(counts.items()))


def look(dataset: PoseDataset, seed: int, progress: Progress | None) -> PoseFindings:
    """Look at labels of several objects and their images.

    Args:
        dataset: the labels.
        seed: of the split that training would draw.
        progress: called with (done, total) images.
    """
    counted = {**set_facts(dataset, dataset, seed, progress), **place_facts(dataset)}
    facts = PoseFacts(**counted, **_counted(dataset))
    first = (set_advice, _instances, _scale, repeated_advice, _few, _single)
    rules = (*first, _twins, _swapped, _crowded, _unlabelled)
    found = [advice for rule in rules for advice in rule(facts)]
    what = f"{many(facts.images, 'image')}, {many(facts.animals, 'animal')}"
    more = f", {many(facts.labels, 'labelled keypoint')}"
    return PoseFindings(*concluded(found, what, more), facts)


def _counted(dataset: PoseDataset) -> dict[str, Any]:
    located = [sample.located for sample in dataset.samples]
    states = np.concatenate([sample.visibility for sample in dataset.samples])
    objects = states[(states >= Visibility.HIDDEN).any(1)]
    points = np.concatenate([sample.points for sample in dataset.samples])
    lengths = object_lengths(points)
    known = lengths[np.isfinite(lengths)]
    length = float(np.median(known)) if len(known) else None
    return {
        "animals": len(objects),
        "by_count": dict(sorted(Counter(int(one.any(1).sum()) for one in located).items())),
        "labels": int((objects >= Visibility.HIDDEN).sum()),
        "by_keypoint": {
            name: {
                "located": int((column >= Visibility.HIDDEN).sum()),
                "absent": int((column == Visibility.ABSENT).sum()),
                "unlabelled": int((column == Visibility.UNLABELLED).sum()),
            }
            for name, column in zip(dataset.names, objects.T, strict=True)
        },
        "single": tuple(
            sample.image
            for sample, there in zip(dataset.samples, located, strict=True)
            if (there.sum(1) == 1).any() and len(dataset.names) > 1
        ),
        "twins": tuple(sample.image for sample in dataset.samples if _has_twins(sample)),
        "overlapping": _overlapping(dataset),
        "swaps": _swaps(dataset),
        "length": length,
        "tracked": sum(one.tracks is not None for one in dataset.samples),
    }


def _has_twins(sample: KeypointSample) -> bool:
    """Whether two objects of an image have the same keypoints at the same places."""
    objects = sample.points[sample.located.any(1)].reshape(-1, sample.points[0].size)
    return len(np.unique(np.nan_to_num(objects, nan=np.inf), axis=0)) < len(objects)


def _overlapping(dataset: PoseDataset) -> tuple[str, ...]:
    """Images on which the boxes about the keypoints of two animals overlap or touch."""
    found = []
    for sample in dataset.samples:
        objects = sample.points[sample.located.any(1)]
        low, high = (end(objects, axis=1, initial=i, where=np.isfinite(objects)) for end, i in ENDS)
        shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
        both = (shared >= 0).all(-1) & ~np.eye(len(objects), dtype=bool)
        if both.any():
            found.append(sample.image)
    return tuple(found)


def _swaps(dataset: PoseDataset) -> tuple[tuple[str, str, str], ...]:
    pairs = [tuple(dataset.names.index(name) for name in pair) for pair in dataset.symmetry]
    owners = [s.image for s in dataset.samples for _ in range(int(s.located.any(1).sum()))]
    objects: FloatArray = np.concatenate(
        [
            np.empty((0, len(dataset.names), 2)),
            *(s.points[s.located.any(1)] for s in dataset.samples),
        ]
    )
    if not pairs or not len(objects):
        return ()
    found = left_right_swaps(objects, [(a, b) for a, b in pairs])
    return tuple((owners[i], *dataset.symmetry[pair]) for i, pair, _ in found)


def _instances(facts: PoseFacts) -> Iterator[Advice]:
    if not facts.labels:
        yield Weight.STOPS, "No keypoint is located on any image: there is nothing to learn."
    elif max(facts.by_count) < 2:
        yield (
            Weight.NOTE,
            "No image shows more than one animal. To place each keypoint once, leave the task out.",
        )


def _scale(facts: PoseFacts) -> Iterator[Advice]:
    return scale_advice(facts, facts.images, facts.labels)


def _few(facts: PoseFacts) -> Iterator[Advice]:
    counts = {name: row["located"] for name, row in facts.by_keypoint.items()}
    lost = [name for name, count in counts.items() if not count]
    if lost and facts.labels:
        yield (
            Weight.HARMS,
            f"{listed(lost)} located on no animal and cannot be learnt: label it, or take it out "
            "of the labels.",
        )
    yield from few_advice(counts, "labels", "the look of the keypoint; label more")


def _single(facts: PoseFacts) -> Iterator[Advice]:
    if facts.single:
        yield (
            Weight.HARMS,
            f"Animals with one located keypoint alone are on {many(len(facts.single), 'image')}: "
            f"{listed(list(facts.single))}. Was a keypoint given the wrong number of its animal? "
            "Correct the column 'instance', or label the animal's other keypoints.",
        )


def _twins(facts: PoseFacts) -> Iterator[Advice]:
    if facts.twins:
        yield (
            Weight.HARMS,
            f"Two animals have all keypoints at the same places on "
            f"{many(len(facts.twins), 'image')}: {listed(list(facts.twins))}. One of them is a "
            "copy, and will count as missed: delete it.",
        )


def _swapped(facts: PoseFacts) -> Iterator[Advice]:
    if facts.swaps:
        where = listed([f"{left} and {right} on {image}" for image, left, right in facts.swaps])
        yield (
            Weight.HARMS,
            f"Left and right look swapped {times(len(facts.swaps))}: {where}. The animal's other "
            "keypoints suggest the opposite; look at these images and correct what is wrong.",
        )


def _crowded(facts: PoseFacts) -> Iterator[Advice]:
    if facts.overlapping and facts.images:
        where = many(len(facts.overlapping), "image")
        part = share(len(facts.overlapping) / facts.images)
        yield (
            Weight.NOTE,
            f"The boxes about the keypoints of two animals overlap on {where} ({part}): "
            f"{listed(list(facts.overlapping))}. Look there first for keypoints in the wrong "
            "animal.",
        )


def _unlabelled(facts: PoseFacts) -> Iterator[Advice]:
    missing = {n: r["unlabelled"] for n, r in facts.by_keypoint.items() if r["unlabelled"]}
    if missing:
        most = sorted(missing, key=lambda name: -missing[name])
        names = listed([f"{name} ({times(missing[name])})" for name in most])
        yield (
            Weight.NOTE,
            f"Not labelled on every animal: {names}. Nothing is learnt about such a keypoint near "
            "its animal; where it is hidden or not on the image, label it as absent, and the "
            "network learns to leave it out.",
        )


def _cards(dataset: PoseDataset, facts: PoseFacts) -> list[Card]:
    first = [s for s in dataset.samples if s.image in facts.overlapping][: SHOWN // 2]
    others = [s for s in dataset.samples if s not in first and s.located.any()]
    step = max(1, len(others) // max(1, SHOWN - len(first)))
    cards = []
    for sample in [*first, *others[::step]][:SHOWN]:
        if sample.image in facts.damaged:
            continue
        objects = sample.points[sample.located.any(1)]
        pixels, spacing = dataset.reading(sample.image)
        drawn = draw_keypoints(
            pixels,
            objects,
            dataset.names,
            skeleton=dataset.skeleton,
            identities=range(len(objects)),
            side=SIDE,
            spacing=spacing,
        )
        cards.append((sample.image, drawn))
    return cards
