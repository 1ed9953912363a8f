"""The rules of the table, one file for each kind of operation; importing them fills it."""

from placewise.ops.rules import (  # noqa: F401
    attention,
    choices,
    contractions,
    dense,
    frames,
    joins,
    norms,
    pads,
    pools,
    quantised,
    recurrent,
    resizes,
    shapes,
    slices,
    windows,
)
from placewise.ops.rules.everything import everything as everything
from placewise.ops.rules.pointwise import pointwise as pointwise
