"""From facts to sentences: what stops the training, what harms it, and what to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

from placewise.checking._facts import NEAR, Facts
from placewise.wording import number, share

FEW = 20
"""Labels of a point on training images below which it is learnt by heart."""

LISTED = 4
"""Names that a sentence lists."""

HIGH_FLOOR = 0.5
"""Decode floor in px from which it is worth a word."""


class Weight(IntEnum):
    """How much a finding matters."""

    NOTE = 0
    HARMS = 1
    STOPS = 2


Advice = tuple[Weight, str]


def advise(facts: Facts) -> tuple[str, tuple[str, ...]]:
    """The verdict in a sentence, and the warnings, the weightiest first.

    Args:
        facts: what was counted.
    """
    rules = (_damaged, _instances, _splits, _lost, _leaks, _swaps, _few, _floor, _border, _absent)
    found = [advice for rule in (*rules, _empty, _copies, _sizes) for advice in rule(facts)]
    found.sort(key=lambda advice: -advice[0])
    what = f"{many(facts.images, 'image')}, {many(len(facts.by_point), 'point')}"
    said = verdict(found, what, f"{what}, {many(facts.labels, 'label')}")
    return said, tuple(sentence for _, sentence in found)


def verdict(found: Sequence[Advice], what: str, ready: str) -> str:
    """Whether training makes sense, in a sentence.

    Args:
        found: all advice.
        what: what was looked at.
        ready: the same where all is well.
    """
    stops = sum(weight == Weight.STOPS for weight, _ in found)
    harms = sum(weight == Weight.HARMS for weight, _ in found)
    if stops:
        return f"Not ready to train: {many(stops, 'thing')} must be mended first ({what})."
    if harms:
        return f"Ready to train, but look at {many(harms, 'thing')} first ({what})."
    return f"Ready to train: {ready}."


def _damaged(facts: Facts) -> Iterator[Advice]:
    yield from damaged(facts.damaged)


def damaged(reasons: Mapping[str, str]) -> Iterator[Advice]:
    """Images that cannot be read, and why."""
    if reasons:
        first = next(iter(reasons.values()))
        yield (
            Weight.STOPS,
            f"{many(len(reasons), 'image')} cannot be read. The first: {first}. Replace "
            "such images or take them out of the labels.",
        )


def _instances(facts: Facts) -> Iterator[Advice]:
    several = sum(count for instances, count in facts.instances.items() if instances > 1)
    if several:
        yield (
            Weight.STOPS,
            f"Several instances stand on {several} of {many(facts.images, 'image')} (up to "
            f"{max(facts.instances)}). A run places each point once on an image: crop the "
            "images to one instance each, or give the instances names of their own.",
        )


def _splits(facts: Facts) -> Iterator[Advice]:
    if facts.split_fault:
        sentence = facts.split_fault[0].upper() + facts.split_fault[1:]
        yield Weight.STOPS, f"{sentence.rstrip('.')}."
    if not facts.labels:
        yield Weight.STOPS, "No point is located on any image: there is nothing to learn."


def _lost(facts: Facts) -> Iterator[Advice]:
    lost = [p.point for p in facts.by_point if not p.by_split.get("train", 0)]
    if lost and facts.labels:
        yield (
            Weight.HARMS,
            f"{_names(lost)} {_is(lost)} located on no training image and cannot be learnt: "
            "label it there, or take it out of the labels.",
        )


def _leaks(facts: Facts) -> Iterator[Advice]:
    yield from leaks(facts.leaks)


def leaks(groups: Sequence[Sequence[str]]) -> Iterator[Advice]:
    """Groups of the same image in several splits."""
    if groups:
        yield (
            Weight.HARMS,
            f"Identical images stand in different splits ({_times(len(groups))}), e.g. "
            f"{' = '.join(groups[0][:3])}: scores will flatter. Keep all copies in one split.",
        )


def _swaps(facts: Facts) -> Iterator[Advice]:
    if facts.swaps:
        where = listed([f"{s.left} and {s.right} on {s.image}" for s in facts.swaps])
        yield (
            Weight.HARMS,
            f"Left and right look swapped {_times(len(facts.swaps))}: {where}. The other points "
            "there speak for the opposite; look at these images and correct what is wrong.",
        )


def _few(facts: Facts) -> Iterator[Advice]:
    counts = {p.point: p.by_split.get("train", 0) for p in facts.by_point}
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW]
    if few:
        yield (
            Weight.HARMS,
            f"Few labels on training images: {listed(few)}. Below {FEW} a network learns them "
            "by heart instead of the look of the point; label more.",
        )


def _floor(facts: Facts) -> Iterator[Advice]:
    if facts.decode_floor_px is not None and facts.decode_floor_px >= HIGH_FLOOR:
        yield (
            Weight.HARMS,
            f"The decode floor is {number(facts.decode_floor_px)} px: no training can come closer "
            "than that with the scale that is chosen for these images.",
        )


def _border(facts: Facts) -> Iterator[Advice]:
    where = f"near the border (within {share(NEAR)} of the shorter side)"
    never = [p.point for p in facts.by_point if p.located and not p.near_border]
    if facts.labels and not facts.near_border:
        yield (
            Weight.NOTE,
            f"No label lies {where}: the model cannot learn to place keypoints there, and no "
            f"score will "
            "show it. If your images will have points there, label some that do.",
        )
    elif never:
        yield (
            Weight.NOTE,
            f"{_names(never)} never {'lies' if len(never) == 1 else 'lie'} {where}: the model "
            "cannot learn to place such keypoints there.",
        )


def _absent(facts: Facts) -> Iterator[Advice]:
    missing = {p.point: p.unlabelled for p in facts.by_point if p.unlabelled and p.located}
    if missing and max(facts.instances) == 1:
        most = sorted(missing, key=lambda name: -missing[name])
        yield (
            Weight.NOTE,
            f"Not labelled everywhere: {listed([f'{n} ({_times(missing[n])})' for n in most])}. "
            "Nothing is learnt from a missing label; where the point is not on the image, label "
            "it as absent.",
        )
    if facts.labels and not any(p.absent for p in facts.by_point):
        yield (
            Weight.NOTE,
            "No point is labelled as absent, so a score cannot learn to say that a point is not "
            "there.",
        )


def _empty(facts: Facts) -> Iterator[Advice]:
    if facts.empty and facts.labels:
        yield (
            Weight.NOTE,
            f"{many(len(facts.empty), 'image')} without any located point: "
            f"{listed(list(facts.empty))}.",
        )


def _copies(facts: Facts) -> Iterator[Advice]:
    yield from copies([group for group in facts.copies if group not in facts.leaks])


def copies(groups: Sequence[Sequence[str]]) -> Iterator[Advice]:
    """Groups of the same image that do no harm."""
    if groups:
        yield (
            Weight.NOTE,
            f"Identical images stand in one split ({_times(len(groups))}), e.g. "
            f"{' = '.join(groups[0][:3])}.",
        )


def _sizes(facts: Facts) -> Iterator[Advice]:
    areas = {size: _area(size) for size in facts.sizes}
    if areas and max(areas.values()) > 16 * min(areas.values()):
        small, large = min(areas, key=areas.__getitem__), max(areas, key=areas.__getitem__)
        yield (
            Weight.NOTE,
            f"Images reach from {small} to {large} px, and the network sees all of them at one "
            "scale: if objects differ as much in size, bring the images to a common scale.",
        )


def _area(size: str) -> int:
    width, _, height = size.partition("×")
    return int(width) * int(height)


def many(count: int, what: str, several: str = "") -> str:
    """A count with its noun.

    Example:
        >>> many(1, "image"), many(2, "image"), many(2, "class", "classes")
        ('1 image', '2 images', '2 classes')
    """
    return f"{count:,} {what if count == 1 else several or f'{what}s'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _names(names: Sequence[str]) -> str:
    return listed([f"'{name}'" for name in names])


def listed(words: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return ", ".join(words[:LISTED]) + more
