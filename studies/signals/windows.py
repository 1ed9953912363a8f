"""The same beat near an end of a window and in the middle of another one: cut, found, compared.

Beats keep their place within the cells of the net: all windows about a beat begin at samples that
differ by multiples of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.metrics import match
from studies.signals.net import CELL

DISTANCES = (4, 12, 24, 48, 84, 108)
"""Samples from an end of the window to a beat, each tried at both ends; multiples of a cell. The
last one lies beyond half the receptive field of six layers."""

BANDS = (0, 18, 36, 72, 108, 144)
"""Samples from the nearest end at which a band begins; the last one has no other end."""


@dataclass(frozen=True)
class Window:
    """A part of a recording that is shown to the net alone.

    Attributes:
        beat: number of the beat that it is about.
        distance: samples from that beat to the end that it is near; None: it is in the middle.
        start: first sample of the window.
    """

    beat: int
    distance: int | None
    start: int


def windows_of(
    beats: FloatArray, length: int, side: int, distances: Sequence[int] = DISTANCES
) -> list[Window]:
    """All windows about the beats for which each of them lies within the recording.

    Args:
        beats: (n,) samples.
        length: of the recording.
        side: samples of a window.
        distances: from the ends.

    Example:
        >>> [one.start for one in windows_of(np.array([50.0]), 100, 40, (4, 8))]
        [30, 46, 14, 42, 18]
    """
    found = []
    for number, beat in enumerate(np.round(beats).astype(int).tolist()):
        mine = [Window(number, None, beat - side // (2 * CELL) * CELL)]
        for distance in distances:
            mine += [Window(number, distance, beat - at) for at in (distance, side - distance)]
        if all(0 <= one.start <= length - side for one in mine):
            found += mine
    return found


@dataclass(frozen=True)
class Judged:
    """What was found in a window.

    Attributes:
        window: which.
        distance: (n,) samples from each beat in the window to the nearest end.
        error: (n,) samples between the beat and what was found; NaN where it was missed.
        own: which of them the window is about.
        false: samples from each spot that is no beat to the nearest end.
    """

    window: Window
    distance: FloatArray
    error: FloatArray
    own: int
    false: FloatArray

    @property
    def own_error(self) -> float:
        """Error of the beat that the window is about; NaN where it was missed."""
        return float(self.error[self.own])


def judge_window(
    window: Window, side: int, beats: FloatArray, found: FloatArray, tolerance: float
) -> Judged:
    """Which beats of a window were found.

    A spot within the tolerance of a beat just outside of the window is not counted as false.

    Args:
        window: which.
        side: its samples.
        beats: (n,) samples of all beats of the recording.
        found: (m,) samples of the spots, counted from the start of the window.
        tolerance: samples within which a spot is a beat.
    """
    at = beats - window.start
    inside = (at >= 0) & (at < side)
    truth = at[inside]
    pairs = match(truth[:, None], found[:, None], tolerance)
    error = np.full(len(truth), np.nan)
    error[pairs[:, 0]] = np.abs(truth[pairs[:, 0]] - found[pairs[:, 1]])
    false = np.delete(found, pairs[:, 1])
    outside = at[~inside]
    excused = (np.abs(false[:, None] - outside) <= tolerance).any(1)
    own = int(np.flatnonzero(np.flatnonzero(inside) == window.beat)[0])
    return Judged(window, _away(truth, side), error, own, _away(false[~excused], side))


def _away(places: FloatArray, side: int) -> FloatArray:
    """(n,) samples from the nearest end: 0 at the first and at the last sample."""
    return np.minimum(places, side - 1 - places).clip(0)


# --- counts, which can be added up over recordings and folds -------------------------------------


def pairs_of(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """The same beat near an end and in the middle, by the distance from the end.

    Args:
        judged: windows of one recording.

    Returns:
        distance -> number of `pairs`; of those `missed` near the end, and `inside`, in the middle;
        `lost` near the end alone; `both` found, with the sums of their errors in samples: near the
        end, `error`, and in the middle, `error_inside`.
    """
    inside = {one.window.beat: one.own_error for one in judged if one.window.distance is None}
    counts: dict[str, dict[str, float]] = {}
    for one in judged:
        if one.window.distance is None:
            continue
        near, middle = one.own_error, inside[one.window.beat]
        both = np.isfinite(near) and np.isfinite(middle)
        new = {
            "pairs": 1,
            "missed": float(np.isnan(near)),
            "inside": float(np.isnan(middle)),
            "lost": float(np.isnan(near) and np.isfinite(middle)),
            "both": float(both),
            "error": near if both else 0.0,
            "error_inside": middle if both else 0.0,
        }
        _add(counts.setdefault(str(one.window.distance), dict.fromkeys(new, 0.0)), new)
    return counts


def bands_of(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Hits, missed beats and false spots of all windows, by the distance from the nearest end."""
    counts = {str(low): {"hits": 0.0, "missed": 0.0, "false": 0.0} for low in BANDS}
    for one in judged:
        hit = np.isfinite(one.error)
        for name, places in (
            ("hits", one.distance[hit]),
            ("missed", one.distance[~hit]),
            ("false", one.false),
        ):
            for low, count in zip(BANDS, _counted(places), strict=True):
                counts[str(low)][name] += float(count)
    return counts


def _counted(places: FloatArray) -> NDArray[np.intp]:
    band = np.searchsorted(BANDS, places, side="right") - 1
    return np.bincount(band, minlength=len(BANDS))


def summed(found: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Counts added up.

    Example:
        >>> summed([{"4": {"pairs": 1}}, {"4": {"pairs": 2}}])
        {'4': {'pairs': 3}}
    """
    total: dict[str, dict[str, float]] = {}
    for one in found:
        for key, counts in one.items():
            _add(total.setdefault(key, dict.fromkeys(counts, 0)), counts)
    return total


def _add(to: dict[str, float], counts: Mapping[str, Any]) -> None:
    for name, value in counts.items():
        to[name] += value


def f1(counts: Mapping[str, float]) -> float | None:
    """2·TP / (2·TP + FP + FN); None where nothing is there or found.

    Example:
        >>> f1({"hits": 2, "missed": 1, "false": 1})
        0.6666666666666666
    """
    below = 2 * counts["hits"] + counts["missed"] + counts["false"]
    return 2 * counts["hits"] / below if below else None
