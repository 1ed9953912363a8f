"""What the arguments of a call say, in one form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.ops.table import Operand


def listed(value: Any) -> list[Any]:
    """A list of what may be one thing or several.

    Example:
        >>> listed(3), listed((1, 2))
        ([3], [1, 2])
    """
    return list(value) if isinstance(value, list | tuple) else [value]


def several(value: Any, count: int) -> list[int]:
    """A number for each axis, from a list of them or of one for all.

    Example:
        >>> several(3, 2), several([3], 2), several([1, 2], 2)
        ([3, 3], [3, 3], [1, 2])
    """
    numbers = [int(number) for number in listed(value)]
    return numbers * count if len(numbers) == 1 else numbers


def dims_of(value: Any, rank: int) -> list[int]:
    """Dimensions counted from 0, all of them where none is named.

    Example:
        >>> dims_of(-1, 4), dims_of([2, -1], 4), dims_of(None, 2)
        ([3], [2, 3], [0, 1])
    """
    if value is None or value in ([], ()):
        return list(range(rank))
    return [int(dim) % max(1, rank) for dim in listed(value)]


def bounds(start: Any, stop: Any, size: int) -> tuple[int, int]:
    """First place and end of a slice, within an axis.

    Example:
        >>> bounds(None, -1, 5), bounds(-2, 99, 5), bounds(4, 2, 5)
        ((0, 4), (3, 5), (4, 4))
    """
    return slice(start, stop).indices(size)[0], max(slice(start, stop).indices(size)[:2])


def values(tensor: Any) -> NDArray[Any] | None:
    """The numbers of a constant tensor; None where it is an operand or holds no numbers."""
    if isinstance(tensor, Operand) or hasattr(tensor, "fake_mode") or tensor.is_meta:
        return None
    return np.asarray(tensor.detach().cpu().numpy())
