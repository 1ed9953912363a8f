"""From facts to sentences: what stops the training, what harms it, and what to know."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from placewise.findings import (
    Advice,
    Weight,
    concluded,
    few_advice,
    listed,
    many,
    set_advice,
    times,
)
from placewise.tasks._places import repeated_advice, scale_advice
from placewise.tasks.keypoints.facts import NEAR, Facts
from placewise.wording import number, share

HIGH_FLOOR = 0.5
"""Decode floor in px from which it is worth a word."""


def advise(facts: Facts) -> tuple[str, tuple[str, ...]]:
    """The verdict in a sentence, and the warnings, the weightiest first.

    Args:
        facts: what was counted.
    """
    first = (set_advice, _instances, _labels, _scale, repeated_advice)
    more = (_lost, _swaps, _few, _floor, _border, _absent, _unpaired, _empty, _sizes)
    found = [advice for rule in (*first, *more) for advice in rule(facts)]
    what = f"{many(facts.images, 'image')}, {many(len(facts.by_keypoint), 'keypoint')}"
    return concluded(found, what, f", {many(facts.labels, 'label')}")


def _instances(facts: Facts) -> Iterator[Advice]:
    several = sum(count for instances, count in facts.instances.items() if instances > 1)
    if several:
        yield (
            Weight.STOPS,
            f"Several instances are on {several} of {many(facts.images, 'image')} (up to "
            f"{max(facts.instances)}). A run places each keypoint once on an image: crop the "
            "images to one instance each, or give the instances names of their own.",
        )


def _labels(facts: Facts) -> Iterator[Advice]:
    if not facts.labels:
        yield Weight.STOPS, "No keypoint is located on any image: there is nothing to learn."
        return
    for split, use in (("train", "learn from"), ("val", "calibrate radii with")):
        if split in facts.splits and not any(p.by_split.get(split) for p in facts.by_keypoint):
            yield (
                Weight.STOPS,
                f"No keypoint is located on any image of the split '{split}': there is nothing to "
                f"{use}. Label some of its images, or change the split.",
            )


def _scale(facts: Facts) -> Iterator[Advice]:
    return scale_advice(facts, facts.images, facts.labels)


def _unpaired(facts: Facts) -> Iterator[Advice]:
    if facts.unpaired:
        yield (
            Weight.NOTE,
            f"Images are not mirrored in training: {_names(facts.unpaired)} "
            f"{'has a side and no partner' if len(facts.unpaired) == 1 else 'have a side and no '}"
            f"{'' if len(facts.unpaired) == 1 else 'partner'} among the keypoints.",
        )


def _lost(facts: Facts) -> Iterator[Advice]:
    lost = [p.keypoint for p in facts.by_keypoint if not p.by_split.get("train", 0)]
    if lost and facts.labels:
        yield (
            Weight.HARMS,
            f"{_names(lost)} {_is(lost)} located on no training image and cannot be learnt: "
            "label it there, or take it out of the labels.",
        )


def _swaps(facts: Facts) -> Iterator[Advice]:
    if facts.swaps:
        where = listed([f"{s.left} and {s.right} on {s.image}" for s in facts.swaps])
        yield (
            Weight.HARMS,
            f"Left and right look swapped {times(len(facts.swaps))}: {where}. The other keypoints "
            "there suggest the opposite; look at these images and correct what is wrong.",
        )


def _few(facts: Facts) -> Iterator[Advice]:
    counts = {p.keypoint: p.by_split.get("train", 0) for p in facts.by_keypoint}
    return few_advice(counts, "labels on training images", "the look of the keypoint; label more")


def _floor(facts: Facts) -> Iterator[Advice]:
    if facts.decode_floor_px is not None and facts.decode_floor_px >= HIGH_FLOOR:
        yield (
            Weight.HARMS,
            f"The decode floor is {number(facts.decode_floor_px)} px: no training can come closer "
            "than that with the scale that is chosen for these images.",
        )


def _border(facts: Facts) -> Iterator[Advice]:
    where = f"near the border (within {share(NEAR)} of the shorter side)"
    never = [p.keypoint for p in facts.by_keypoint if p.located and not p.near_border]
    if facts.labels and not facts.near_border:
        yield (
            Weight.NOTE,
            f"No label lies {where}: the model cannot learn to place keypoints there, and no score "
            "will show it. If your images will have keypoints there, label some that do.",
        )
    elif never:
        yield (
            Weight.NOTE,
            f"{_names(never)} never {'lies' if len(never) == 1 else 'lie'} {where}: the model "
            "cannot learn to place such keypoints there.",
        )


def _absent(facts: Facts) -> Iterator[Advice]:
    missing = {p.keypoint: p.unlabelled for p in facts.by_keypoint if p.unlabelled and p.located}
    if missing and max(facts.instances) == 1:
        most = sorted(missing, key=lambda name: -missing[name])
        yield (
            Weight.NOTE,
            f"Not labelled everywhere: {listed([f'{n} ({times(missing[n])})' for n in most])}. "
            "Nothing is learnt from a missing label; where the keypoint is not on the image, label "
            "it as absent.",
        )
    if facts.labels and not any(p.absent for p in facts.by_keypoint):
        yield (
            Weight.NOTE,
            "No keypoint is labelled as absent, so a score cannot learn to say that a keypoint is "
            "not there.",
        )


def _empty(facts: Facts) -> Iterator[Advice]:
    if facts.empty and facts.labels:
        yield (
            Weight.NOTE,
            f"{many(len(facts.empty), 'image')} without any located keypoint: "
            f"{listed(list(facts.empty))}.",
        )


def _sizes(facts: Facts) -> Iterator[Advice]:
    areas = {size: _area(size) for size in facts.sizes if "×" in size}  # signals differ in length
    if areas and max(areas.values()) > 16 * min(areas.values()):
        small, large = min(areas, key=areas.__getitem__), max(areas, key=areas.__getitem__)
        yield (
            Weight.NOTE,
            f"Images reach from {small} to {large} px, and the network sees all of them at one "
            "scale: if objects differ as much in size, bring the images to a common scale.",
        )


def _area(size: str) -> int:
    return math.prod(map(int, size.split("×")))


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _names(names: Sequence[str]) -> str:
    return listed([f"'{name}'" for name in names])
