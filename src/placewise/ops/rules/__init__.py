"""The table's lines, a file for each kind of operation."""

from placewise.ops.rules import (
    attention,
    contractions,
    dense,
    joins,
    norms,
    pads,
    pools,
    resizes,
    shapes,
    slices,
    windows,
)
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pointwise import pointwise

__all__ = [
    "attention",
    "contractions",
    "dense",
    "everything",
    "joins",
    "norms",
    "pads",
    "pointwise",
    "pools",
    "resizes",
    "shapes",
    "slices",
    "windows",
]
