"""Relations between the places of two axes: windows, pads, slices, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.ops.axis_map import Affine, AxisMap, Indices, related


@lru_cache(maxsize=4096)
def window(
    read: int,
    size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    ceil: bool = False,
    after: int = 0,
) -> AxisMap:
    """Windows over an axis: place j reads j·stride + t·dilation for t < size.

    Args:
        read: length of the axis, padding included.
        size: taps of a window.
        stride: from one window to the next.
        dilation: from one tap to the next.
        ceil: whether a last window may hang over the end, where it reads what there is. As in
            torch, it begins before the padding at the end.
        after: how many of the axis's last places are padding; used with `ceil` alone.

    Raises:
        SettingsError: the axis is shorter than a window.

    Example:
        >>> window(5, 2, stride=2, ceil=True).pairs()
        [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4)]
    """
    reach = dilation * (size - 1) + 1
    over = read - reach
    count = (-(-over // stride) if ceil else over // stride) + 1
    if ceil and (count - 1) * stride >= read - after:
        count -= 1
    if count < 1:
        raise SettingsError(
            f"a window reaches over {reach} places, but the axis has {read}, its padding "
            "included; use a larger image"
        )
    outs = np.repeat(np.arange(count), size)
    ins = outs * stride + np.tile(np.arange(size) * dilation, count)
    inside = ins < read
    return related(
        "window",
        read,
        count,
        outs[inside],
        ins[inside],
        affine=Affine(reach, stride, 0),
        resized=lambda n: window(n, size, stride=stride, dilation=dilation, ceil=ceil, after=after),
        unused=max(0, over - (count - 1) * stride),
    )


@lru_cache(maxsize=4096)
def spread(read: int, size: int, *, stride: int = 1, dilation: int = 1) -> AxisMap:
    """Windows written instead of read, as a transposed convolution does.

    Place j of the axis that is read goes to j·stride + t·dilation for t < size.

    Example:
        >>> spread(2, 3, stride=2).pairs()
        [(0, 0), (1, 0), (2, 0), (2, 1), (3, 1), (4, 1)]
    """
    written = (read - 1) * stride + dilation * (size - 1) + 1
    back = window(written, size, stride=stride, dilation=dilation)
    return related(
        "spread",
        read,
        written,
        back.ins,
        back.outs,
        resized=lambda n: spread(n, size, stride=stride, dilation=dilation),
    )


@lru_cache(maxsize=4096)
def unfold(read: int, size: int, *, stride: int = 1, dilation: int = 1) -> AxisMap:
    """All taps of all windows, tap by tap: place t·windows + j reads j·stride + t·dilation.

    Example:
        >>> [i for _, i in unfold(4, 2, stride=2).pairs()]
        [0, 2, 1, 3]
    """
    extent = dilation * (size - 1) + 1
    count = (read - extent) // stride + 1
    ins = (np.arange(size)[:, None] * dilation + np.arange(count) * stride).ravel()
    return replace(
        gather(read, ins, "unfold"),
        resized=lambda n: unfold(n, size, stride=stride, dilation=dilation),
        unused=read - (count - 1) * stride - extent,
        sliding=Affine(extent, stride, 0),
    )


@lru_cache(maxsize=4096)
def adaptive(read: int, written: int) -> AxisMap:
    """Windows that share an axis: place j reads from ⌊j·read/written⌋ to ⌈(j+1)·read/written⌉.

    Example:
        >>> adaptive(5, 2).pairs()
        [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (1, 4)]
    """
    if written == 1:
        return total(read)
    ranges = [range(j * read // written, -(-(j + 1) * read // written)) for j in range(written)]
    outs = np.array([j for j, taps in enumerate(ranges) for _ in taps], np.int64)
    ins = np.array([place for taps in ranges for place in taps], np.int64)
    size, rest = divmod(read, written)
    return related(
        "adaptive window",
        read,
        written,
        outs,
        ins,
        affine=None if rest else Affine(size, size, 0),
        resized=lambda n: adaptive(n, written),
    )


@lru_cache(maxsize=4096)
def pad(read: int, before: int, after: int, mode: str = "zeros") -> AxisMap:
    """An axis with places added before and after it, or taken away where negative.

    Args:
        read: length of the axis.
        before: places added before the first.
        after: places added after the last.
        mode: what they read. "zeros" and "ignored" nothing, where zeros are numbers that the
            network reads and others are not; "reflect", "symmetric", "replicate" (numpy's "edge")
            and "circular" (numpy's "wrap") as in `numpy.pad`.

    Raises:
        SettingsError: no padding has that name.

    Example:
        >>> pad(3, 1, 1, "reflect").pairs()
        [(0, 1), (1, 0), (2, 1), (3, 2), (4, 1)]
    """
    coordinates = np.arange(-before, read + after)
    ins = _beyond(coordinates, read, mode)
    known = ins >= 0
    return related(
        "crop" if before <= 0 and after <= 0 else f"pad {mode}",
        read,
        len(coordinates),
        np.flatnonzero(known),
        ins[known],
        affine=Affine(1, 1, -before),
        resized=lambda n: pad(n, before, after, mode),
        fills=mode == "zeros",
    )


def _beyond(coordinates: Indices, read: int, mode: str) -> Indices:
    """The place at each coordinate; −1 for none."""
    if mode in ("zeros", "ignored"):
        return np.where((coordinates >= 0) & (coordinates < read), coordinates, -1)
    if mode == "replicate":
        return coordinates.clip(0, read - 1)
    if mode == "circular":
        return coordinates % read
    if mode == "symmetric":
        folded = coordinates % (2 * read)
        return np.minimum(folded, 2 * read - 1 - folded)
    if mode == "reflect":
        period = max(1, 2 * (read - 1))
        folded = coordinates % period
        return np.minimum(folded, period - folded)
    raise SettingsError(
        f"no padding of an axis is named '{mode}'; use zeros, ignored, reflect, symmetric, "
        "replicate or circular"
    )


def place(read: int, before: int, after: int, *, alone: bool = False) -> AxisMap:
    """An axis as part of a longer one, next to other tensors.

    Args:
        read: length of the axis.
        before: places before it.
        after: places after it.
        alone: whether all others are constants, so that all places that read anything read alike.

    Example:
        >>> place(2, 1, 2).pairs(), place(2, 1, 2).written
        ([(1, 0), (2, 1)], 5)
    """
    places = np.arange(read)
    affine = Affine(1, 1, -before) if alone else None
    return related("place", read, before + read + after, before + places, places, affine=affine)


def gather(read: int, ins: Sequence[int] | Indices, name: str = "gather") -> AxisMap:
    """Place j reads place ins[j] alone; −1 reads nothing.

    Example:
        >>> gather(3, [2, -1, 0]).pairs()
        [(0, 2), (2, 0)]
    """
    found = np.asarray(ins, np.int64)
    known = np.flatnonzero(found >= 0)
    return related(name, read, len(found), known, found[known])


@lru_cache(maxsize=4096)
def flip(read: int) -> AxisMap:
    """The last place first."""
    return related("flip", read, read, np.arange(read), np.arange(read)[::-1], resized=flip)


@lru_cache(maxsize=4096)
def roll(read: int, shift: int) -> AxisMap:
    """All places moved on by `shift`; what leaves at the end comes in at the start.

    Example:
        >>> [i for _, i in roll(4, 1).pairs()]
        [3, 0, 1, 2]
    """
    places = np.arange(read)
    ins = (places - shift) % read
    return related("roll", read, read, places, ins, resized=lambda n: roll(n, shift))


@lru_cache(maxsize=4096)
def part(read: int, start: int, stop: int, step: int = 1) -> AxisMap:
    """Every `step`-th place from `start` to before `stop`, as a slice takes them.

    Example:
        >>> part(6, 1, 6, 2).pairs()
        [(0, 1), (1, 3), (2, 5)]
    """
    ins = np.arange(read)[start:stop:step]
    tail = read - stop
    return related(
        "slice",
        read,
        len(ins),
        np.arange(len(ins)),
        ins,
        affine=Affine(1, step, start),
        resized=lambda n: part(n, start, n - tail, step),
    )


@lru_cache(maxsize=4096)
def total(read: int) -> AxisMap:
    """One place that reads all."""
    outs = np.zeros(read, np.int64)
    return AxisMap("all", read, 1, outs, np.arange(read), None, True, total)


@lru_cache(maxsize=4096)
def repeat(written: int) -> AxisMap:
    """Many places that read the one there is."""
    return AxisMap("repeat", 1, written, np.arange(written), np.zeros(written, np.int64))


@lru_cache(maxsize=64)
def prefix(read: int) -> AxisMap:
    """Place j reads all places up to itself: cumulative sums, causal attention.

    Example:
        >>> prefix(3).pairs()
        [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    """
    outs, ins = np.nonzero(np.tri(read))
    return related("prefix", read, read, outs, ins, resized=prefix)


def taps(matrix: NDArray[Any], name: str) -> AxisMap:
    """The relation of a matrix (written, read): a place reads another where it is not zero.

    Example:
        >>> taps(np.array([[0.5, 0.5, 0.0]]), "mean of two").pairs()
        [(0, 0), (0, 1)]
    """
    written, read = matrix.shape
    outs, ins = np.nonzero(matrix)
    return related(name, read, written, outs, ins)
