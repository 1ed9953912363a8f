"""Padding, rolling and flipping: places move, and some are repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence

from placewise.ops.axes import flip, pad, roll
from placewise.ops.route import Route
from placewise.ops.rules.arguments import dims_of, listed
from placewise.ops.table import Call, Outcome, alone, rule

NUMBERED = ("reflect", "replicate", "circular", "constant")
"""Modes of `_pad_enum`."""

MODES = {
    "constant": "zeros",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
    "constant_pad_nd": "zeros",
    "reflection_pad1d": "reflect",
    "reflection_pad2d": "reflect",
    "reflection_pad3d": "reflect",
    "replication_pad1d": "replicate",
    "replication_pad2d": "replicate",
    "replication_pad3d": "replicate",
    "_pad_circular": "circular",
}
"""From torch's names of modes and operations to those of `axes.pad`."""


@rule("pad", "pad", "_pad_enum", *(name for name in MODES if "pad" in name))
def padding(call: Call) -> Outcome:
    """Places before and after; those of a constant read nothing."""
    mode = call.get("mode", default=call.op)
    mode = MODES[NUMBERED[mode] if isinstance(mode, int) else mode]
    value = call.get("value")
    if mode == "zeros" and value is not None and math.isinf(value):
        mode = "ignored"
    widths = [int(width) for width in call.get("pad", "padding")]
    margins = list(zip(widths[::2], widths[1::2], strict=True))[::-1]
    return alone(call, padded(call.route(), margins, mode))


def padded(route: Route, margins: Sequence[tuple[int, int]], mode: str) -> Route:
    """Places before and after each of the last axes.

    All pads of an operation come before any of its windows, so that corners are padding once.
    """
    first = len(route.layout.dims) - len(margins)
    for dim, (before, after) in enumerate(margins, first):
        if before or after:
            route.along(dim, pad(route.layout.shape[dim], before, after, mode))
    return route


@rule("roll", "roll")
def rolling(call: Call) -> Outcome:
    """Places move on along an axis and come in again at its start."""
    route = call.route()
    shifts = [int(shift) for shift in listed(call["shifts"])]
    if not call.get("dims"):
        size = math.prod(call.shape)
        return alone(call, route.view((size,)).along(0, roll(size, shifts[0])).view(call.shape))
    for dim, shift in zip(dims_of(call["dims"], len(call.shape)), shifts, strict=True):
        route.along(dim, roll(call.shape[dim], shift))
    return alone(call, route)


@rule("flip", "flip", "fliplr", "flipud")
def flipping(call: Call) -> Outcome:
    """The last place first."""
    route = call.route()
    fixed = {"fliplr": 1, "flipud": 0}
    for dim in dims_of(call.get("dims", default=fixed.get(call.op)), len(call.shape)):
        route.along(dim, flip(call.shape[dim]))
    return alone(call, route)
