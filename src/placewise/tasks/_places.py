"""Labels whose places look like something else: codes, fractions, pixels of a smaller copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.findings import Advice, Weight, listed, many
from placewise.geometry import border_distance
from placewise.labels import KeypointDataset, KeypointSample
from placewise.wording import enumerated, share

REPEATED_SHARE, REPEATED_LEAST = 0.1, 5
"""A place inside the image is suspect that so many of a keypoint's labels have to the bit."""

EDGE = 1.0
"""Pixels from the border, or beyond, up to which two equal places are suspect already."""

LEAST_LABELS, HALF = 10, 0.5
"""Labels, and the share of the images' sides, below which labels look like no pixels of them."""

LEAST_CORNER = 5
"""Different places in the top-left pixel from which they look like fractions."""


@dataclass(frozen=True)
class Repeated:
    """A place that several labels of a keypoint have to the bit.

    Attributes:
        keypoint: its name.
        place: (x, y, …) in pixels.
        count: labels there.
        labels: labels of the keypoint with a place.
    """

    keypoint: str
    place: tuple[float, ...]
    count: int
    labels: int


@dataclass(frozen=True)
class Places:
    """What was counted of the places of all labels.

    Attributes:
        repeated: places that look like a code for "missing".
        reach: largest x, y, … of all labels, as shares of the image's sides; None without labels.
        largest: largest x, y, … of all labels in pixels; None without labels.
        corner: different places in the top-left pixel, and labels there.
        collapsed: images with an instance whose keypoints all lie within a pixel.
    """

    repeated: tuple[Repeated, ...]
    reach: tuple[float, ...] | None
    largest: tuple[float, ...] | None
    corner: tuple[int, int]
    collapsed: tuple[str, ...]


def place_facts(dataset: KeypointDataset, *, at_edge: int = 2) -> dict[str, Any]:
    """The fields of `Places`.

    Args:
        dataset: the labels.
        at_edge: equal places at the border or beyond that are suspect.
    """
    points = np.concatenate([s.points[s.located] for s in dataset.samples] or [np.zeros((0, 2))])
    shares = [
        ((s.points[s.located] + 0.5) / s.size[::-1]).max(0)
        for s in dataset.samples
        if s.located.any()
    ]
    corner = points[((points >= 0) & (points <= 1)).all(-1)]
    return {
        "repeated": tuple(_repeated(dataset, at_edge)),
        "reach": tuple(np.max(shares, axis=0).tolist()) if shares else None,
        "largest": tuple(points.max(0).tolist()) if len(points) else None,
        "corner": (len(np.unique(corner, axis=0)), len(corner)),
        "collapsed": tuple(s.image for s in dataset.samples if _is_collapsed(s)),
    }


def _repeated(dataset: KeypointDataset, at_edge: int) -> Iterator[Repeated]:
    """Places that several labels of one keypoint share to the bit, the commonest of each.

    A place at the border or beyond is suspect from the second label on; one inside only where a
    good part of the labels, but not all, have it: something may stand still before a fixed camera.
    """
    for k, name in enumerate(dataset.names):
        held = [(s.points[s.located[:, k], k], s.size) for s in dataset.samples]
        points = np.concatenate([points for points, _ in held] or [np.zeros((0, 2))])
        if not len(points):
            continue
        distances = np.concatenate([border_distance(points, size) for points, size in held])
        places, of, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
        near = np.zeros(len(places), bool)
        np.logical_or.at(near, of.ravel(), distances < EDGE)
        best = np.lexsort((near, counts))[-1]
        count, total = int(counts[best]), len(points)
        inside = REPEATED_LEAST <= count < total and count >= REPEATED_SHARE * total
        if inside or (near[best] and count >= at_edge):
            yield Repeated(name, tuple(places[best].tolist()), count, total)


def _is_collapsed(sample: KeypointSample) -> bool:
    """Whether all keypoints of an instance, two at least, lie within a pixel."""
    return any(
        known.sum() > 1 and bool((np.ptp(points[known], axis=0) < 1).all())
        for points, known in zip(sample.points, sample.located, strict=True)
    )


def scale_advice(facts: Places, images: int, labels: int) -> Iterator[Advice]:
    """Labels that are no pixels: fractions, percent, or pixels of a smaller copy.

    Args:
        facts: what was counted.
        images: number of images.
        labels: number of located keypoints.
    """
    if facts.reach is None or facts.largest is None or labels < LEAST_LABELS:
        return
    if max(facts.largest) <= 1:
        yield (
            Weight.STOPS,
            f"All {labels:,} labels lie in the top-left pixel: are they fractions of width "
            "and height? Multiply x by the width and y by the height of each image.",
        )
        return
    for axis, (largest, reach) in enumerate(zip(facts.largest, facts.reach, strict=True)):
        if largest <= 1 and reach < HALF:
            yield (
                Weight.HARMS,
                f"The {'xyz'[axis]} of all {labels:,} labels is at most {largest:g}: is it a "
                "fraction of that side of the image? Multiply it by the side's pixels.",
            )
    places, count = facts.corner
    if places >= LEAST_CORNER:
        yield (
            Weight.HARMS,
            f"{count:,} of {labels:,} labels lie in the top-left pixel: are these fractions "
            "of width and height, and the others pixels? Give pixels everywhere.",
        )
    if facts.collapsed:
        yield (
            Weight.HARMS,
            f"All keypoints lie within one pixel on {many(len(facts.collapsed), 'image')}: "
            f"{listed(list(facts.collapsed))}. Correct the places, or leave them empty where they "
            "are not known.",
        )
    if max(facts.reach) < HALF and len(facts.collapsed) < images and len(facts.reach) == 2:
        wide, high = facts.reach
        percent = " or percent of width and height" if max(facts.largest) <= 100 else ""
        yield (
            Weight.HARMS,
            f"All labels lie in the left {share(wide)} and the upper {share(high)} of their "
            f"images: are they pixels of a smaller copy{percent}? Give pixels of these images.",
        )


def repeated_advice(facts: Places) -> Iterator[Advice]:
    """Places that look like a code for a keypoint that is missing."""
    for one in facts.repeated:
        place = ", ".join(f"{x:g}" for x in one.place)
        axes = enumerated("xyz"[: len(one.place)])
        yield (
            Weight.HARMS,
            f"{one.count:,} of {one.labels:,} labels of '{one.keypoint}' are exactly at {place}: "
            f"is that a code for a missing keypoint? Leave {axes} empty there, or label it as "
            "absent.",
        )
