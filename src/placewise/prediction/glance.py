"""Whether coarse to fine is worth it: tried on a few of the images, and off where it is not.

Of several factors the fastest is taken with which no image that was tried has another answer than
as a whole. How far about the coarse places one has to look is read off the same images.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from placewise.devices import threads
from placewise.engines import INT8
from placewise.errors import SettingsError
from placewise.geometry import Size
from placewise.model import BATCH, CoarseToFine, Network, Scaled
from placewise.parallel import from_first, rank
from placewise.prediction.choosing import Lanes
from placewise.prediction.huge import Huge
from placewise.prediction.journal import Journal
from placewise.prediction.pipeline import Answer, read
from placewise.wording import IMAGES_OF, sides_of

FACTORS = (2, 3, 4, 6, 8)
"""Pixels along each axis that are averaged for the first look."""

SAMPLE = 16
"""Images that are tried."""

FEW = 4 * SAMPLE
"""Images for which trying it would take longer than it saves."""

COVERED = 0.9
"""Share of the images that were tried whose places the slack has to reach."""

WORTH, FASTER = 0.8, 1.1
"""Share of an image that is computed from which on nothing is tried, and speed that is worth it."""

NEAR = {"float32": 1e-3, "bfloat16": 0.05, INT8: 0.2}
"""Pixels within which a place is the same, by the precision of the engine."""

ALIKE = 0.01
"""Difference of scores that are the same."""

_LOG = logging.getLogger("placewise")


@dataclass(frozen=True)
class Tried:
    """What one factor did on the images that were tried.

    Attributes:
        factor: pixels along each axis that were averaged.
        slack: pixels about the coarse places that were looked at.
        faster: how many times as fast it was as whole images.
        changed: images with another answer than as a whole.
    """

    factor: int
    slack: int
    faster: float
    changed: int


@dataclass(frozen=True)
class Glance:
    """What was found by trying.

    Attributes:
        looker: predicts from coarse to fine; None where that is not worth it.
        why: says so in words.
        tried: the factors that were tried.
    """

    looker: CoarseToFine | None
    why: str
    tried: tuple[Tried, ...] = ()

    @classmethod
    def of(
        cls, model: Network[Any], shown: Scaled, size: Size, precision: str = "float32"
    ) -> Glance:
        """Try it.

        Args:
            model: with its engine.
            shown: (n, *size, channels) images of one size at the network's scale.
            size: of the images themselves.
            precision: of the engine.

        Raises:
            SettingsError: the model's answers are not places.
        """
        whole, usual = _timed(model.predict_scaled, shown, size)
        for one in whole:
            model.whereabouts(one)
        try:
            first = CoarseToFine(model, FACTORS[0], 0)
            lookers = list(_lookers(first, shown, whole))
        except SettingsError as error:
            return cls(None, str(error))
        if not lookers:
            return cls(None, _too_large(first, tuple(shown.shape[1:-1])))
        tried = []
        for looker in lookers:
            found, seconds = _timed(looker.predict_scaled, shown, size)
            pairs = zip(found, whole, strict=True)
            changed = sum(not _alike(model, a, b, NEAR[precision]) for a, b in pairs)
            tried.append(Tried(looker.factor, looker.slack, usual / seconds, changed))
        able = [one for one in zip(tried, lookers, strict=True) if not one[0].changed]
        if not able:
            least = min(one.changed for one in tried)
            why = f"it changes the answer on {least} or more of {len(shown)} images that were tried"
            return cls(None, why, tuple(tried))
        best, looker = max(able, key=lambda one: one[0].faster)
        if best.faster < FASTER:
            why = f"it is {best.faster:.2f} times as fast as whole images, which is not worth it"
            return cls(None, why, tuple(tried))
        why = (
            f"images are looked at with 1/{best.factor} of their sides first, {best.faster:.1f} "
            f"times as fast; on {len(shown)} that were tried, no answer changed"
        )
        return cls(looker, why, tuple(tried))


def _lookers(first: CoarseToFine, shown: Scaled, whole: Sequence[Any]) -> Iterator[CoarseToFine]:
    """For each factor that may be worth it, what looks far enough on most images."""
    size = tuple(shown.shape[1:-1])
    for factor in FACTORS:
        looker = first.at(factor, 0)
        if looker.least(size) < WORTH:
            slack = float(np.quantile(looker.needed(shown, whole), COVERED, method="lower"))
            if math.isfinite(slack):
                looker = looker.at(factor, math.ceil(slack) + 1)
                if looker.least(size) < WORTH:
                    yield looker


def _too_large(looker: CoarseToFine, size: Size) -> str:
    """Why nothing was tried: too much of an image is needed."""
    return (
        f"the network looks {looker.margin(size)} pixels far, so with what has to be looked at "
        f"about keypoints, a part of an image of {sides_of(size)} is nearly the image; it pays for "
        "larger images, or with fewer levels (train with --backbone-set depth=2)"
    )


def _timed(answer: Answer, shown: Scaled, size: Size) -> tuple[list[Any], float]:
    """Predictions for images, and seconds, after a first batch that does not count."""
    parts = [shown[first : first + BATCH] for first in range(0, len(shown), BATCH)]
    answer(parts[0][:2], [size] * len(parts[0][:2]), [""] * len(parts[0][:2]))
    began, found = time.perf_counter(), []
    for part in parts:
        found += answer(part, [size] * len(part), [""] * len(part))
    return found, time.perf_counter() - began


def _alike(model: Network[Any], one: Any, other: Any, near: float) -> bool:
    """Whether two answers are the same."""
    first, second = model.whereabouts(one), model.whereabouts(other)
    away = np.linalg.norm(first.places - second.places, axis=1)
    both_none = np.isnan(first.places).any(1) & np.isnan(second.places).any(1)
    same: NDArray[np.bool_] = (away <= near) | both_none
    return bool(same.all() and (np.abs(first.scores - second.scores) <= ALIKE).all())


def answer_of(
    model: Network[Any],
    huge: Huge,
    names: Sequence[str],
    journal: Journal,
    lanes: Lanes,
    precision: str,
) -> Answer:
    """What predicts images from coarse to fine, or as a whole where that is not worth it.

    Of several processes the first one tries, so that all do the same; what the journal knows is
    not tried again.

    Args:
        model: with its engine.
        huge: reads the images.
        names: of the images.
        journal: keeps what was chosen.
        lanes: how the model will be called.
        precision: of the engine.

    Raises:
        SettingsError: the model's answers are not places, or not of images of two axes.
    """
    if journal.look is None:
        check_places(model)
        look = (0, 0)
        if rank() == 0:
            with threads(lanes.threads):
                look = _chosen(model, huge, names, precision)
        factor, slack = from_first(look, torch.device("cpu"))
        journal.note("look", int(factor), int(slack))
    factor, slack = journal.look or (0, 0)
    return CoarseToFine(model, factor, slack).predict_scaled if factor else model.predict_scaled


def check_places(model: Network[Any]) -> None:
    """Refuse a model whose answers are not places, as what it says of an empty image shows."""
    if model.input.axes != 2:
        what = IMAGES_OF[model.input.image_axes]
        raise SettingsError(
            f"coarse to fine is for images, and the model reads {what}; leave --coarse-to-fine out"
        )
    empty = np.zeros((1, *model.input_size, model.input.channels), np.float32)
    (one,) = model.predict_scaled(empty, [model.input_size])
    model.whereabouts(one)


def _chosen(
    model: Network[Any], huge: Huge, names: Sequence[str], precision: str
) -> tuple[int, int]:
    """Factor and slack; 0 and 0 where whole images are predicted."""
    count = len(names)
    some = names[:: -(-count // SAMPLE)] if count >= FEW else []
    found = [read(model, huge, name) for name in some]
    able = [one for one in found if one.image is not None and one.scaled is not None]
    alike = [one for one in able if one.scaled.shape == able[0].scaled.shape]  # type: ignore[union-attr]
    if not alike:
        least = f"it needs {FEW} images or more, and there are {count}"
        glance = Glance(None, least if count < FEW else "none of the images could be tried")
    else:
        shown = np.stack([one.scaled for one in alike if one.scaled is not None])
        size = next(one.image.shape[:-1] for one in alike if one.image is not None)
        glance = Glance.of(model, shown, size, precision)
    if glance.looker is None:
        _LOG.warning(f"--coarse-to-fine is off: {glance.why}")
        return 0, 0
    _LOG.info(glance.why)
    return glance.looker.factor, glance.looker.slack
