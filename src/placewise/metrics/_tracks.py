"""Scores of identities over frames: MOTA, IDF1 and identity switches.

Bernardin & Stiefelhagen 2008 (CLEAR MOT) and Ristani et al. 2016 (IDF1), as the library
`motmetrics` computes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.geometry import FloatArray

NEVER = 1e9
"""Cost of a pair that may not be: more than all that may be together."""


@dataclass(frozen=True)
class TrackedFrame:
    """One frame: who is labelled, who is predicted, and how far they are from each other.

    Attributes:
        truth: (T,) identities of the labelled objects.
        found: (F,) identities of the predicted objects.
        distances: (T, F), e.g. 1 − OKS; NaN for two that are too far apart to be the same.
    """

    truth: NDArray[np.int64]
    found: NDArray[np.int64]
    distances: FloatArray


def track_scores(frames: Sequence[TrackedFrame]) -> dict[str, Any]:
    """MOTA, IDF1, and what they count.

    Frame by frame, an object keeps the identity that it had last if that is near enough; the others
    are matched with the least distance in all. An object that is matched with another identity than
    before is a switch. MOTA = 1 − (missed + extra + switches) / objects. IDF1 = 2 · right /
    (objects + predictions), where each object is given one identity for all frames, so that as many
    as possible are right.

    Args:
        frames: in order.

    Returns:
        `mota`, `idf1` (None where nothing is labelled), `identity_switches`, `missed`, `extra`,
        `objects`, `frames`.

    Example:
        >>> def frame(*found):
        ...     return TrackedFrame(np.array([1, 2]), np.array(found), 1.0 - np.eye(2))
        >>> scores = track_scores([frame(5, 6), frame(5, 6), frame(5, 7)])
        >>> scores["identity_switches"], round(scores["idf1"], 3)
        (1, 0.833)
    """
    last: dict[int, int] = {}
    switches = missed = extra = 0
    together: Counter[tuple[int, int]] = Counter()
    for frame in frames:
        pairs = _continued(frame, last)
        for row, column in _nearest(frame, pairs):
            one, identity = int(frame.truth[row]), int(frame.found[column])
            switches += last.get(one, identity) != identity
            last[one] = identity
            pairs.append((row, column))
        missed += len(frame.truth) - len(pairs)
        extra += len(frame.found) - len(pairs)
        near = np.argwhere(np.isfinite(frame.distances)).tolist()
        together.update((int(frame.truth[i]), int(frame.found[j])) for i, j in near)
    objects = sum(len(frame.truth) for frame in frames)
    right = _identified(together)
    predictions = sum(len(frame.found) for frame in frames)
    return {
        "mota": 1 - (missed + extra + switches) / objects if objects else None,
        "idf1": 2 * right / (objects + predictions) if objects else None,
        "identity_switches": switches,
        "missed": missed,
        "extra": extra,
        "objects": objects,
        "frames": len(frames),
    }


def _continued(frame: TrackedFrame, last: dict[int, int]) -> list[tuple[int, int]]:
    """Objects that keep their identity: (row, column) of each."""
    column_of = {int(identity): column for column, identity in enumerate(frame.found)}
    pairs = []
    for row, one in enumerate(frame.truth.tolist()):
        column = column_of.get(last[one]) if one in last else None
        if column is not None and np.isfinite(frame.distances[row, column]):
            pairs.append((row, column))
            del column_of[last[one]]
    return pairs


def _nearest(frame: TrackedFrame, taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The other objects and predictions, as many as may be and as near as possible in all."""
    from scipy.optimize import linear_sum_assignment

    rows = [i for i in range(len(frame.truth)) if i not in {row for row, _ in taken}]
    columns = [j for j in range(len(frame.found)) if j not in {column for _, column in taken}]
    cost = frame.distances[np.ix_(rows, columns)]
    found = linear_sum_assignment(np.where(np.isfinite(cost), cost, NEVER))
    return [(rows[i], columns[j]) for i, j in zip(*found, strict=True) if np.isfinite(cost[i, j])]


def _identified(together: Counter[tuple[int, int]]) -> int:
    """Most predictions that are right if each object has one identity, and each identity one."""
    from scipy.optimize import linear_sum_assignment

    ones = sorted({one for one, _ in together})
    identities = sorted({identity for _, identity in together})
    counts = np.array([[together[one, other] for other in identities] for one in ones])
    if not counts.size:
        return 0
    return int(counts[linear_sum_assignment(counts, maximize=True)].sum())
