"""Concatenations of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

from placewise.ops.axes import place
from placewise.ops.layout import Dimension, dimension, joined
from placewise.ops.rules.pointwise import together
from placewise.ops.table import Call, Operand, Outcome, rule


@rule("concatenate", "cat", "concat", "concatenate", "stack")
def concatenation(call: Call) -> Outcome:
    """A sum along channels that count as one; along places, each tensor has its own part.

    Slices of the image that were treated one by one become places of their axis again.

    Example:
        >>> from placewise.ops.layout import Layout
        >>> left, right = Layout.image((1, 3, 8, 4)), Layout.image((1, 3, 8, 2))
        >>> given = {"tensors": [Operand(0, left), Operand(1, right)], "dim": 3}
        >>> found = concatenation(Call("cat", given, (1, 3, 8, 6), 0, False))
        >>> found.layout.grid, found.edges[1].operator.steps[0].map.pairs()
        ((1, 1, 8, 6), [(4, 0), (5, 1)])
    """
    dim = int(call["dim"]) % len(call.shape)
    tensors = [t for t in call["tensors"] if 0 not in t.shape]
    sizes = [1 if call.op == "stack" else int(t.shape[dim]) for t in tensors]
    routes = []
    for number, tensor in enumerate(tensors):
        if isinstance(tensor, Operand):
            route = call.route(tensor)
            if call.op == "stack":
                route.view((*tensor.shape[:dim], 1, *tensor.shape[dim:]))
            routes.append((tensor, route, sum(sizes[:number])))
    apart = any(route.layout.grid[dim] > 1 for _, route, _ in routes)
    if call.per_channel or call.slices or apart:
        alone = len(routes) == 1
        for _, route, first in routes:
            have = route.layout.shape[dim]
            after = call.shape[dim] - first - have
            route.along(dim, place(have, first, after, alone=alone), call.slices)
    else:
        segments = _segments([r.layout.dims[dim] for _, r, _ in routes], sizes)
        for _, route, _ in routes:
            route.layout = route.layout.with_dim(dim, segments)
    return together(call, [(operand, route) for operand, route, _ in routes])


def _segments(dims: Sequence[Dimension], sizes: Sequence[int]) -> Dimension:
    """Channels of several tensors: which tensor they come from is blurred, the rest is as it was.

    So a shuffle of channels after a concatenation mixes them, and the halves of the result are as
    clear as the whole.
    """
    if len(sizes) == 1:
        return dims[0]
    total = sum(sizes)
    if len(set(sizes)) == 1 and len(dims) == len(sizes):
        return (*dimension(len(sizes), blurred=True), *reduce(joined, dims))
    if any(atom.blurred for atoms in dims for atom in atoms):
        return dimension(total, blurred=True)
    common = math.gcd(*sizes)
    return (*dimension(total // common, blurred=True), *dimension(common))
