"""Resizing an image of which only a part is wanted, and no more is read than that needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

STRIP = 128
"""Rows of a resized image that are made at once."""

Cut = Callable[[slice, slice], NDArray[Any]]
"""Rows and columns of an image."""


def resized_part(
    cut: Cut, source: Sequence[int], size: Sequence[int], part: Sequence[slice]
) -> NDArray[Any]:
    """A part of a resized image, with the bits of the whole; only what it needs is read.

    The filter is that of `images.resize`, which does the same with large images.
    Torch's own cannot be asked for a part: it counts places in single precision from the first.

    Args:
        cut: gives rows and columns of the image.
        source: (height, width) of the image.
        size: (height, width) of the whole result.
        part: rows and columns of the result that are wanted.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 255, (90, 70, 1), np.uint8)
        >>> cut = lambda rows, columns: image[rows, columns]
        >>> whole = resized_part(cut, (90, 70), (31, 33), (slice(0, 31), slice(0, 33)))
        >>> part = resized_part(cut, (90, 70), (31, 33), (slice(7, 30), slice(20, 33)))
        >>> bool((part == whole[7:30, 20:33]).all())
        True
    """
    rows, columns = part
    across, x_weights = _taps(source[1], size[1], columns)
    first = int(across.min())
    found = []
    for start in range(rows.start, rows.stop, STRIP):
        down, y_weights = _taps(source[0], size[0], slice(start, min(start + STRIP, rows.stop)))
        top = int(down.min())
        strip = cut(slice(top, int(down.max()) + 1), slice(first, int(across.max()) + 1))
        tall = _weighed(torch.from_numpy(np.ascontiguousarray(strip)), down - top, y_weights)
        wide = _weighed(tall.transpose(0, 1).contiguous(), across - first, x_weights)
        values = wide.transpose(0, 1).contiguous().numpy()
        found.append(values if strip.dtype == np.float32 else np.rint(values).astype(strip.dtype))
    return np.concatenate(found)


def _taps(length: int, count: int, part: slice) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """(part, taps) pixels of an axis that each resized pixel of a part reads, and their weights."""
    ratio = length / count
    reach = max(1.0, ratio)
    centre = (np.arange(part.start, part.stop) + 0.5) * ratio
    first = np.floor(centre - reach + 0.5).clip(0).astype(np.intp)
    last = np.floor(centre + reach + 0.5).clip(None, length).astype(np.intp)
    at = first[:, None] + np.arange((last - first).max())
    weights = (1 - np.abs(at + 0.5 - centre[:, None]) / reach).clip(0)
    weights[at >= last[:, None]] = 0
    weights /= weights.sum(1, keepdims=True)
    return at.clip(None, length - 1), weights.astype(np.float32)


def _weighed(
    values: torch.Tensor, at: NDArray[np.intp], weights: NDArray[np.float32]
) -> torch.Tensor:
    """(part, …) weighted sums of rows, tap by tap: each pixel has its order whatever the part."""
    total: torch.Tensor | None = None
    for places, weight in zip(at.T, weights.T, strict=True):
        term = values[torch.from_numpy(places)].float()
        term *= torch.from_numpy(weight).view(-1, *[1] * (values.ndim - 1))
        total = term if total is None else total.add_(term)
    if total is None:
        raise ValueError("no pixel is read")
    return total
