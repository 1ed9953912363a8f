"""Places that are chosen by their numbers: gathered, scattered, searched.

Numbers that the network holds are followed. Those that depend on the image may be any: what they
choose from is read along the whole dimension, and the outcome is a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.ops.axes import gather, place
from placewise.ops.axis_map import AxisMap, related
from placewise.ops.layout import Layout
from placewise.ops.route import Route
from placewise.ops.rules.arguments import dims_of, values
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pointwise import broadcasting, together
from placewise.ops.rules.slices import sliced, taken
from placewise.ops.table import Call, Operand, Outcome, Status, alone, outcome, rule

Numbers = NDArray[Any]


@rule("slice", "gather")
def gathering(call: Call) -> Outcome:
    """Along one dimension the places of a list, which may differ from row to row."""
    index, table = call["index"], call["self"]
    dim = dims_of(call["dim"], len(call.shape))[0]
    routes: list[tuple[Operand, Route]] = []
    chosen = None if isinstance(index, Operand) else _alike(values(index), dim)
    if isinstance(table, Operand):
        route = _cropped(call.route(table), call.shape, dim)
        if chosen is None:
            route.dense(dim, call.shape[dim])
        else:
            size = table.shape[dim]
            taken(route, dim, gather(size, chosen % size, "gather"))
        routes.append((table, route))
    if isinstance(index, Operand):
        routes.append((index, call.route(index)))
    found = _spread(call, routes)
    if isinstance(table, Operand) and chosen is None:
        return found.at_best(Status.AT_MOST)
    return found


def _spread(call: Call, routes: Sequence[tuple[Operand, Route]]) -> Outcome:
    """The outcome of routes, each repeated where it has one place and the result several."""
    for _, route in routes:
        for dim, size in enumerate(call.shape):
            if route.layout.shape[dim] != size:
                route.spread(dim, size)
    return together(call, routes)


def _alike(numbers: Numbers | None, dim: int) -> Numbers | None:
    """The numbers along a dimension, if those of all rows are the same."""
    if numbers is None or not numbers.size or not numbers.ndim:
        return None
    moved = np.moveaxis(numbers, dim, -1).reshape(-1, numbers.shape[dim])
    return np.asarray(moved[0]) if (moved == moved[0]).all() else None


def _cropped(route: Route, shape: Sequence[int], dim: int) -> Route:
    """The first places of all dimensions but one, as many as an index has."""
    for other, size in enumerate(shape):
        if other != dim and route.layout.shape[other] != size:
            sliced(route, other, 0, size)
    return route


@rule(
    "slice", "index_add", "index_copy", "index_reduce", "scatter", "scatter_add", "scatter_reduce"
)
def scattering(call: Call) -> Outcome:
    """Some places of one dimension come from a second tensor, or have it added."""
    index, source = call["index"], call.get("src", "source")
    rank = len(call.shape)
    if not rank:
        return everything(call)
    dim = dims_of(call["dim"], rank)[0]
    listed = call.op.startswith("index")
    numbers = None if isinstance(index, Operand) else values(index)
    chosen = None
    if numbers is not None:
        chosen = numbers.reshape(-1) if listed else _alike(numbers, dim)
    shape = _written(call, index, source, listed)
    whole = all(shape[d] == call.shape[d] for d in range(rank) if d != dim)
    if chosen is None or not whole or not _clear(call, chosen):
        return _scattered_anywhere(call, dim, shape, listed)
    return _scattered(call, dim, chosen % call.shape[dim], shape)


def _written(call: Call, index: Any, source: Any, listed: bool) -> tuple[int, ...]:
    """Sizes of what is scattered."""
    shape = tuple(int(n) for n in (source.shape if listed else index.shape))
    return shape if len(shape) == len(call.shape) else (1,) * len(call.shape)


ADDING = ("index_add", "scatter_add")


def _adds(call: Call) -> bool:
    """Whether what was there is read too."""
    reduces = "reduce" in call.given and bool(call.given["reduce"])
    return call.op in ADDING or (reduces and call.get("include_self", default=True))


def _clear(call: Call, chosen: Numbers) -> bool:
    """Whether it is clear what comes where: each place once, or all that come to it added."""
    return call.op in ADDING or len(np.unique(chosen)) == len(chosen)


def _scattered(call: Call, dim: int, chosen: Numbers, shape: Sequence[int]) -> Outcome:
    """The outcome where the places are known."""
    size, count = call.shape[dim], len(chosen)
    routes: list[tuple[Operand, Route]] = []
    if isinstance(call["self"], Operand):
        stay = np.arange(size)
        if not _adds(call):
            stay[chosen] = -1
        base = call.route(call["self"])
        routes.append((call["self"], taken(base, dim, gather(size, stay, "scatter"))))
    source = call.get("src", "source")
    if isinstance(source, Operand):
        route = _cropped(call.route(source), shape, dim)
        if route.layout.shape[dim] != count:
            sliced(route, dim, 0, count)
        comes = related("scatter", count, size, chosen.astype(np.int64), np.arange(count))
        routes.append((source, taken(route, dim, comes)))
    return together(call, routes)


def _scattered_anywhere(call: Call, dim: int, shape: Sequence[int], listed: bool) -> Outcome:
    """The outcome where any place of the dimension may be written from any."""
    routes: list[tuple[Operand, Route]] = []
    for name in ("self", "src", "source", "index"):
        operand = call.get(name)
        if not isinstance(operand, Operand):
            continue
        route = call.route(operand)
        if name == "index" and listed:
            route.reduce(0).view((1,) * len(call.shape))
        elif name != "self":
            route = _cropped(route, shape, dim).dense(dim, call.shape[dim])
        for d, size in enumerate(call.shape):
            have = route.layout.shape[d]
            if have == 1 and size > 1 and (d == dim or shape[d] == size or listed):
                route.spread(d, size)
            elif have != size:
                route.along(d, place(have, 0, size - have))
        routes.append((operand, route))
    return together(call, routes).at_best(Status.AT_MOST)


@rule("slice", "take")
def taking(call: Call) -> Outcome:
    """The places of a list, all of a tensor's in one row."""
    index, table = call["index"], call["self"]
    if isinstance(index, Operand):
        if isinstance(table, Operand):
            return everything(call)
        return broadcasting(call, [index])
    numbers = values(index)
    if numbers is None:
        return everything(call)
    size = int(np.prod(table.shape))
    route = call.route().view((size,))
    return alone(call, taken(route, 0, gather(size, numbers.reshape(-1) % size)).view(call.shape))


@rule("slice", "masked_select")
def selecting(call: Call) -> Outcome:
    """The places where a mask of the network's own is true."""
    mask = None if isinstance(call["mask"], Operand) else values(call["mask"])
    if mask is None:
        return everything(call)
    shape = np.broadcast_shapes(tuple(call.operand.shape), mask.shape)
    route = call.route().broadcast(shape)
    for dim, size in enumerate(shape):
        if route.layout.shape[dim] != size:
            route.spread(dim, size)
    chosen = np.flatnonzero(np.broadcast_to(mask, shape))
    size = int(np.prod(shape))
    return alone(call, taken(route.view((size,)), 0, gather(size, chosen)))


@rule("slice", "combinations")
def combining(call: Call) -> Outcome:
    """All choices of a few entries of a list."""
    count, several = call.operand.shape[0], int(call.get("r", default=2))
    again = call.get("with_replacement", default=False)
    chosen = (combinations_with_replacement if again else combinations)(range(count), several)
    numbers = np.array(list(chosen), np.int64).reshape(-1)
    return alone(call, taken(call.route(), 0, gather(count, numbers)).view(call.shape))


@rule("pointwise", "bucketize", "searchsorted")
def searching(call: Call) -> Outcome:
    """Where each number lies in a sorted row; of the row, any number may decide it."""
    row, number = call.get("boundaries", "sorted_sequence"), call.get("self")
    routes: list[tuple[Operand, Route]] = []
    if isinstance(number, Operand):
        routes.append((number, call.route(number).broadcast(call.shape)))
    for operand in call.operands:
        if operand is not number:
            target = routes[0][1].layout if routes else Layout(tuple(map(call.plain, call.shape)))
            routes.append((operand, call.route(operand).everywhere(target)))
    return outcome(routes, Status.AT_MOST if isinstance(row, Operand) else Status.EXACT)


@rule("slice", "as_strided", "as_strided_copy")
def striding(call: Call) -> Outcome:
    """Places at equal distances in the memory of a tensor, which must lie there in one piece.

    The recorder sees to that; of one that does not it gives −1 as the offset.
    """
    size = int(np.prod(call.operand.shape))
    first = int(call.get("storage_offset", default=0) or 0)
    flat = np.array(first, np.int64)
    for count, step in zip(call.shape, call["stride"], strict=True):
        flat = flat[..., None] + np.arange(count) * int(step)
    if flat.size and (flat.max() >= size or flat.min() < 0):
        return everything(call)
    route = call.route().view((size,))
    return alone(call, taken(route, 0, gather(size, flat.reshape(-1))).view(call.shape))


@rule("reshape", "diag_embed")
def embedding(call: Call) -> Outcome:
    """A last dimension becomes the diagonal of a matrix."""
    rank, offset = len(call.shape), int(call.get("offset", default=0))
    one, other = (int(call.get(n, default=d)) % rank for n, d in (("dim1", -2), ("dim2", -1)))
    outer, count, wide = call.operand.shape[:-1], call.operand.shape[-1], call.shape[one]
    first = offset if offset >= 0 else -offset * wide
    outs = first + np.arange(count) * (wide + 1)
    relation: AxisMap = related("diagonal", count, wide * wide, outs, np.arange(count))
    route = taken(call.route(), rank - 2, relation).view((*outer, wide, wide))
    order = list(range(rank - 2))
    for dim, at in sorted([(one, rank - 2), (other, rank - 1)]):
        order.insert(dim, at)
    return alone(call, route.permute(order))


@rule("concatenate", "block_diag")
def blocks(call: Call) -> Outcome:
    """Matrices along the diagonal of one."""
    routes, row, column = [], 0, 0
    for tensor in call["tensors"]:
        shape = (1,) * (2 - len(tensor.shape)) + tuple(tensor.shape)
        if isinstance(tensor, Operand):
            route = call.route(tensor).broadcast(shape)
            for dim, first in ((0, row), (1, column)):
                relation = place(shape[dim], first, call.shape[dim] - first - shape[dim])
                route.places(dim).along(dim, relation)
            routes.append((tensor, route))
        row, column = row + shape[0], column + shape[1]
    return together(call, routes)


@rule("pointwise", "linalg_cross")
def crossing(call: Call) -> Outcome:
    """Each of three components reads the two others."""
    dim = dims_of(call.get("dim", default=-1), len(call.shape))[0]
    others = related("cross", 3, 3, np.repeat(np.arange(3), 2), np.array([1, 2, 0, 2, 0, 1]))
    routes = [(o, call.route(o).broadcast(call.shape)) for o in call.operands]
    for _, route in routes:
        if route.layout.grid[dim] > 1:
            route.along(dim, others)
    return together(call, routes)


@rule("contraction", "_pdist_forward")
def pairs(call: Call) -> Outcome:
    """Of each pair of rows, the first with those after it."""
    count = call.operand.shape[0]
    first, second = np.triu_indices(count, 1)
    outs = np.tile(np.arange(len(first)), 2)
    relation = related("pairs", count, len(first), outs, np.concatenate([first, second]))
    route = call.route().reduce(1)
    return alone(call, route.along(0, relation).view(call.shape))


@rule("reduce", "cosine_similarity", "pairwise_distance")
def comparing(call: Call) -> Outcome:
    """Two tensors place by place, over one dimension."""
    rank = max(len(o.shape) for o in (call["x1"], call["x2"]))
    dim = dims_of(call.get("dim", default=-1), rank)[0]
    routes = []
    for operand in call.operands:
        route = call.route(operand)
        route.view((1,) * (rank - len(operand.shape)) + operand.shape).reduce(dim)
        if len(call.shape) < rank:
            shape = route.layout.shape
            route.view((*shape[:dim], *shape[dim + 1 :]))
        routes.append((operand, route))
    return together(call, routes)


@rule("reduce", "dist")
def distance(call: Call) -> Outcome:
    """One number of two tensors."""
    routes = [(o, call.route(o).everywhere(Layout(()))) for o in call.operands]
    return outcome(routes)


@rule("reduce", "trace")
def tracing(call: Call) -> Outcome:
    """The sum of a diagonal."""
    high, wide = call.operand.shape
    chosen = np.arange(min(high, wide)) * (wide + 1)
    route = taken(call.route().view((high * wide,)), 0, gather(high * wide, chosen))
    return alone(call, route.reduce(0).view(()))


@rule("sample", "affine_grid_generator")
def affine(call: Call) -> Outcome:
    """Where each place of a result is sampled: by a matrix of its image, and where it lies."""
    theta = call["theta"]
    if not isinstance(theta, Operand):
        return everything(call)
    route = call.route(theta).reduce(1).reduce(2)
    space = call.shape[1:-1]
    route.view((theta.shape[0], *[1] * (len(space) + 1)))
    target = Layout.image((theta.shape[0], 1, *space)).permuted((0, *range(2, len(space) + 2), 1))
    target = target.with_dim(0, route.layout.dims[0])
    route.like(target)
    return alone(call, route.spread(len(space) + 1, call.shape[-1]), Status.AT_MOST)
