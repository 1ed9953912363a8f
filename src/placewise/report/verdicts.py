"""How the difference of two arms is told: which of its intervals, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VERDICTS = {
    "better": "better",
    "worse": "worse",
    "equal": "practically equal",
    "open": "not told apart",
}
"""A verdict of a comparison in words."""


def quoted(one: Mapping[str, Any]) -> tuple[float, float]:
    """The interval to quote: for other seeds and test items, or with few seeds for seeds alone.

    Args:
        one: a difference as the results of a comparison hold it.

    Example:
        >>> quoted({"two_way_interval": None, "t_interval": [-0.1, 0.3]})
        (-0.1, 0.3)
    """
    low, high = one["two_way_interval"] or one["t_interval"]
    return low, high
