"""Some places of a tensor, or some of its channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.ops.axes import gather, part, taps
from placewise.ops.axis_map import AxisMap
from placewise.ops.layout import size_of
from placewise.ops.route import Route
from placewise.ops.rules.arguments import bounds, dims_of, values
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pointwise import together
from placewise.ops.table import Call, Operand, Outcome, Status, alone, rule

Places = NDArray[np.int64]


def taken(route: Route, dim: int, relation: AxisMap) -> Route:
    """Some of a dimension; a bound where channels are taken that read different places."""
    atoms = route.layout.dims[dim]
    route.bound |= not any(a.place for a in atoms) and any(a.blurred for a in atoms)
    return route.along(dim, relation)


def sliced(route: Route, dim: int, first: int, end: int, step: int = 1) -> Route:
    """Part of a dimension, of its outermost factor alone where that can be."""
    atoms = route.layout.dims[dim]
    size = size_of(atoms)
    if (first, end, step) == (0, size, 1):
        return route
    inner = size_of(atoms[1:])
    if inner > 1 and step == 1 and not first % inner and not end % inner:
        shape = route.layout.shape
        route.view((*shape[:dim], size // inner, inner, *shape[dim + 1 :]))
        sliced(route, dim, first // inner, end // inner)
        return route.view((*shape[:dim], end - first, *shape[dim + 1 :]))
    return taken(route, dim, part(size, first, end, step))


def _dropped(route: Route, dim: int, index: int) -> Route:
    """One place, whose dimension goes."""
    sliced(route, dim, index, index + 1)
    shape = route.layout.shape
    return route.view((*shape[:dim], *shape[dim + 1 :]))


@rule("slice", "narrow", "narrow_copy", "slice", "slice_copy")
def slicing(call: Call) -> Outcome:
    """Every so many places from one to another."""
    dim = dims_of(call["dim"], len(call.operand.shape))[0]
    size = call.operand.shape[dim]
    if "narrow" in call.op:
        if not isinstance(call["start"], int):
            return everything(call)
        first = call["start"] % size
        return alone(call, sliced(call.route(), dim, first, first + int(call["length"])))
    first, end = bounds(call.get("start"), call.get("end"), size)
    return alone(call, sliced(call.route(), dim, first, end, int(call.get("step", default=1))))


@rule("slice", "select", "select_copy")
def selecting(call: Call) -> Outcome:
    """One place, whose dimension goes."""
    dim = dims_of(call["dim"], len(call.operand.shape))[0]
    index = int(call["index"]) % call.operand.shape[dim]
    return alone(call, _dropped(call.route(), dim, index))


@rule("slice", "unbind", "unbind_copy")
def unbinding(call: Call) -> Outcome:
    """Each result is one place, whose dimension goes."""
    dim = dims_of(call.get("dim", default=0), len(call.operand.shape))[0]
    return alone(call, _dropped(call.route(), dim, call.output))


@rule(
    "slice",
    *"""
    chunk dsplit hsplit split split_copy split_with_sizes split_with_sizes_copy tensor_split
    unsafe_chunk unsafe_split unsafe_split_with_sizes vsplit
    """.split(),
)
def splitting(call: Call) -> Outcome:
    """Each result is the part that comes after those before it."""
    rank = len(call.operand.shape)
    fixed = {"hsplit": 1 if rank > 1 else 0, "vsplit": 0, "dsplit": 2}
    dim = dims_of(call.get("dim", default=fixed.get(call.op, 0)), rank)[0]
    starts = _starts(call, call.operand.shape[dim])
    if starts is None:
        return everything(call)
    first = starts[call.output]
    return alone(call, sliced(call.route(), dim, first, first + call.shape[dim]))


def _starts(call: Call, size: int) -> list[int] | None:
    """Where each part begins."""
    cuts = call.get("indices", "sections", "tensor_indices_or_sections")
    if cuts is not None:
        if not isinstance(cuts, int | list | tuple):
            known = values(cuts)
            if known is None:
                return None
            cuts = known.tolist()
        if isinstance(cuts, list | tuple):
            return [0, *(bounds(cut, None, size)[0] for cut in cuts)]
        whole, rest = divmod(size, cuts)
        return [n * whole + min(n, rest) for n in range(cuts)]
    sizes = call.get("split_sizes", "split_size", "chunks")
    if isinstance(sizes, list | tuple):
        return [sum(int(s) for s in sizes[:n]) for n in range(len(sizes))]
    step = -(-size // int(sizes)) if "chunk" in call.op else int(sizes)
    return list(range(0, max(size, 1), max(step, 1)))


@rule("slice", "glu")
def gated(call: Call) -> Outcome:
    """The first half of a dimension, with the second as its gate."""
    dim = dims_of(call.get("dim", default=-1), len(call.operand.shape))[0]
    half = call.shape[dim]
    parts = [sliced(call.route(), dim, first, first + half) for first in (0, half)]
    return together(call, [(call.operand, route) for route in parts])


@rule("slice", "index_select")
def selection(call: Call) -> Outcome:
    """The places of a list."""
    index = values(call["index"])
    if index is None or not call.operand.shape:
        return everything(call)
    dim = dims_of(call["dim"], len(call.operand.shape))[0]
    size = call.operand.shape[dim]
    return alone(call, taken(call.route(), dim, gather(size, index.reshape(-1) % size, "index")))


@rule("slice", "embedding")
def embedding(call: Call) -> Outcome:
    """A row of channels for each place."""
    index = call["indices"]
    if not isinstance(index, Operand) or len(call.operands) > 1:
        return everything(call)
    route = call.route(index).view((*index.shape, 1))
    return alone(call, route.spread(len(index.shape), call.shape[-1]))


@rule("contraction", "embedding_bag")
def bags(call: Call) -> Outcome:
    """Sums of rows: each place of the result reads the places of its list."""
    operand = call["weight"]
    index, offsets = values(call["indices"]), values(call["offsets"])
    if index is None or offsets is None or index.ndim > 1 or len(call.operands) > 1:
        return everything(call)
    if not isinstance(operand, Operand) or call.get("mode", default=0) or call.output > 0:
        return everything(call)
    matrix = np.zeros((call.shape[0], operand.shape[0]), bool)
    status = Status.EXACT
    for bag, (first, end) in enumerate(pairwise([*offsets, len(index)][: call.shape[0] + 1])):
        rows = index[first:end][index[first:end] != call.get("padding_idx")]
        matrix[bag, rows] = True
        if len(np.unique(rows)) < len(rows):
            status = Status.AT_MOST
    return alone(call, call.route().along(0, taps(matrix, "bags")), status)


@rule("slice", "_unsafe_index", "index")
def indexing(call: Call) -> Outcome:
    """The places of lists, along one dimension or several at once."""
    found = _indices(call["indices"])
    if found is None or not isinstance(call["self"], Operand):
        return everything(call)
    dims, arrays = found
    shape = call.operand.shape
    side_by_side = dims == list(range(dims[0], dims[0] + len(dims)))
    at = dims[0] if side_by_side and not _apart(call["indices"]) else 0
    sizes = [shape[d] for d in dims]
    whole = [np.where(a < 0, a + s, a) for a, s in zip(arrays, sizes, strict=True)]
    flat = np.ravel_multi_index(tuple(np.broadcast_arrays(*whole)), tuple(sizes))
    rest = [d for d in range(len(shape)) if d not in dims]
    outer = [shape[d] for d in rest]
    route = call.route().permute([*rest[:at], *dims, *rest[at:]])
    route.view((*outer[:at], math.prod(sizes), *outer[at:]))
    taken(route, at, gather(math.prod(sizes), np.asarray(flat).reshape(-1), "index"))
    return alone(call, route.view(call.shape))


@rule("slice", "diagonal", "diagonal_copy")
def diagonals(call: Call) -> Outcome:
    """Places of the same number along two dimensions, in a last one."""
    rank = len(call.operand.shape)
    one = int(call.get("dim1", default=0)) % rank
    other = int(call.get("dim2", default=1)) % rank
    offset, count = int(call.get("offset", default=0)), call.shape[-1]
    wide = call.operand.shape[other]
    first = offset if offset >= 0 else -offset * wide
    route = call.route().permute([*(d for d in range(rank) if d not in (one, other)), one, other])
    outer, size = route.layout.shape[:-2], call.operand.shape[one] * wide
    chosen = gather(size, first + np.arange(count) * (wide + 1), "diagonal")
    taken(route.view((*outer, size)), rank - 2, chosen)
    return alone(call, route)


def _indices(given: Sequence[Any]) -> tuple[list[int], list[NDArray[Any]]] | None:
    """Dimensions that are indexed, and with what; a mask means the places where it is true."""
    dims: list[int] = []
    arrays: list[NDArray[Any]] = []
    dim = 0
    for index in given:
        array = None if index is None else values(index)
        if index is not None and array is None:
            return None
        masks = array is not None and array.dtype == bool
        several = [] if array is None else list(np.nonzero(array)) if masks else [array]
        dims += range(dim, dim + len(several))
        arrays += several
        dim += max(1, len(several))
    return (dims, arrays) if dims else None


def _apart(given: Sequence[Any]) -> bool:
    """Whether there are slices between the indices; the indexed dimensions then come first."""
    marks = "".join("." if index is None else "x" for index in given)
    return "." in marks.strip(".")


@rule("slice", "select_scatter", "slice_scatter")
def scattering(call: Call) -> Outcome:
    """Some places come from a second tensor, the others from the first."""
    dim = dims_of(call["dim"], len(call.shape))[0]
    size = call.shape[dim]
    source = call["src"]
    if call.op == "select_scatter":
        chosen = np.array([int(call["index"]) % size])
    else:
        first, end = bounds(call.get("start"), call.get("end"), size)
        chosen = np.arange(first, end, int(call.get("step", default=1)))
    if not isinstance(source, Operand):
        return scattered(call, dim, chosen, None)
    route = call.route(source)
    if call.op == "select_scatter":
        route.view((*source.shape[:dim], 1, *source.shape[dim:]))
    return scattered(call, dim, chosen, (source, route))


@rule("slice", "_unsafe_index_put", "index_put")
def putting(call: Call) -> Outcome:
    """Places of one list come from a second tensor, those that are named once at most."""
    found = _indices(call["indices"])
    if found is None or len(found[0]) > 1 or found[1][0].ndim != 1:
        return everything(call)
    dim, chosen = found[0][0], found[1][0] % call.shape[found[0][0]]
    if len(np.unique(chosen)) < len(chosen):
        return everything(call)
    source = call["values"]
    kept = bool(call.get("accumulate", default=False))
    if not isinstance(source, Operand):
        return scattered(call, dim, chosen, None, kept=kept)
    shape = (*call.shape[:dim], len(chosen), *call.shape[dim + 1 :])
    route = call.route(source).broadcast(shape)
    if route.layout.shape[dim] != len(chosen):
        route.spread(dim, len(chosen), place=True)
    return scattered(call, dim, chosen, (source, route), kept=kept)


@rule("slice", "index_fill")
def blanking(call: Call) -> Outcome:
    """Some places are set to a number."""
    chosen = values(call["index"])
    if chosen is None or len(call.operands) > 1:
        return everything(call)
    dim = dims_of(call["dim"], len(call.shape))[0]
    return scattered(call, dim, chosen.reshape(-1) % call.shape[dim], None)


def scattered(
    call: Call,
    dim: int,
    chosen: Places,
    source: tuple[Operand, Route] | None,
    *,
    kept: bool = False,
) -> Outcome:
    """A tensor with some places of a dimension replaced.

    Args:
        call: its argument "self" is the tensor.
        dim: along which places are chosen.
        chosen: which they are.
        source: what they come from instead, if it depends on the image.
        kept: whether what was there is added.
    """
    routes = []
    if isinstance(call["self"], Operand):
        stay = np.arange(call.shape[dim])
        stay[chosen] = stay[chosen] if kept else -1
        base = call.route(call["self"])
        routes.append((call["self"], base.along(dim, gather(len(stay), stay, "scatter"))))
    if source is not None:
        came = np.full(call.shape[dim], -1)
        came[chosen] = np.arange(len(chosen))
        operand, route = source
        routes.append((operand, route.along(dim, gather(len(chosen), came, "scatter"))))
    return together(call, routes)
