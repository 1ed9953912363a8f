"""Parts of long recordings as samples of their own."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, TypeVar

from placewise.labels.dataset import Dataset

D = TypeVar("D", bound=Dataset[Any])

LEARNT, CHOSEN = 0.6, 2 / 3
"""Up to these shares of its length one recording is learnt from, and chosen by; the rest tests."""

_LOG = logging.getLogger("placewise")


def by_time(dataset: D) -> D:
    """The same labels; a single signal without a split is cut into three parts, one for each.

    Args:
        dataset: the labels.
    """
    if len(dataset.samples) != 1 or len(dataset.samples[0].size) != 1:
        return dataset
    (sample,) = dataset.samples
    if sample.split is not None:
        return dataset
    length = sample.size[0]
    ends = [0, round(LEARNT * length), round(CHOSEN * length), length]
    spans = zip(("train", "val", "test"), ends, ends[1:], strict=False)
    parts = [replace(dataset.part(sample, a, b), split=split) for split, a, b in spans]
    _LOG.warning(
        f"{sample.image} is the only recording: it is split by time, with samples up to "
        f"{ends[1]:,} for training, up to {ends[2]:,} for validation, and the rest for the test"
    )
    return replace(dataset, samples=tuple(parts))  # type: ignore[type-var]
