"""Which way the events of recordings point: up, down, or either way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray
from placewise.labels import KeypointSample, SpotDataset

PEEK, FEW = 24, 500
"""Recordings that are looked at, and events of each."""

RARER = 0.05
"""Share of the events of a kind that point the rarer way, from which on they point either way."""


def point_either_way(dataset: SpotDataset, samples: Sequence[KeypointSample]) -> bool:
    """Whether events of every kind point up in some places and down in others.

    So it is where electrodes may be joined either way. Where all events of a kind point up, a
    recording upside down would have them where there are none: breaths out in place of breaths in.

    Args:
        dataset: labels of recordings.
        samples: of which up to `PEEK` are read, evenly spread.
    """
    near = dataset.near
    if near is None:
        return False
    counts = np.zeros((len(dataset.names), 2))
    for sample in samples[:: -(-len(samples) // PEEK) or 1]:
        places, kinds = dataset.kinds(sample)
        some = slice(None, None, -(-len(places) // FEW) or 1)
        up = point_up(dataset.image(sample.image), places[some, 0], near / 2)
        np.add.at(counts, (kinds[some], up.astype(int)), 1)
    total = counts.sum(1)
    seen = total > 0
    return bool(seen.any() and (counts.min(1)[seen] >= RARER * total[seen]).all())


def point_up(signal: NDArray[np.generic], at: FloatArray, reach: float) -> NDArray[np.bool_]:
    """Whether a signal is higher at events than the median about each of them.

    Of several channels the one counts in which the events stand out most.

    Args:
        signal: (length, channels).
        at: (n,) samples of the events.
        reach: samples on either side.

    Example:
        >>> signal = np.zeros((40, 1))
        >>> signal[[10, 30], 0] = 1, -1
        >>> point_up(signal, np.array([10.0, 30.0]), 5).tolist()
        [True, False]
    """
    if not len(at):
        return np.zeros(0, bool)
    last, wide = len(signal) - 1, max(1, round(reach))
    middle = np.rint(at).astype(np.intp)
    about = (middle[:, None] + np.arange(-wide, wide + 1)).clip(0, last)
    values = signal.astype(np.float64)
    apart = values[middle.clip(0, last)] - np.median(values[about], axis=1)
    clear = np.median(np.abs(apart), axis=0) / values.std(axis=0).clip(1e-12)
    found: NDArray[np.bool_] = apart[:, int(clear.argmax())] > 0
    return found
