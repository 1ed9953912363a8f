"""Sums of products: linear layers, matrix products, Einstein's sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from placewise.ops.layout import Dimension, Layout
from placewise.ops.route import LARGEST, Route
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pointwise import common
from placewise.ops.table import Call, Operand, Outcome, outcome, rule


@dataclass(frozen=True)
class Factor:
    """A tensor of a product.

    Attributes:
        tensor: an operand, or a constant of which the shape alone matters.
        labels: a name for each of its dimensions, as in `torch.einsum`.
    """

    tensor: Any
    labels: Sequence[str]


def contraction(
    call: Call, factors: Sequence[Factor], labels: Sequence[str], added: Any = None
) -> Outcome:
    """A product of tensors, summed over the labels that the result lacks.

    Each place of the result reads, of each factor, the places that share its labels, and all
    places along labels that are summed over. Two factors may both bring places that the other
    lacks (queries and keys): then those of the second become channels, blurred, so that a matrix
    of attention costs no more than its rows and counts one path from a token to each other.

    Args:
        call: of any operation that is such a product.
        factors: the tensors.
        labels: of the result's dimensions.
        added: what is added to the product, if anything.

    Example:
        >>> tokens = Operand(0, Layout.image((1, 16, 8, 8)).viewed((1, 16, 64)))
        >>> both = [Factor(tokens, "bdi"), Factor(tokens, "bdj")]
        >>> call = Call("einsum", {"tensors": [tokens, tokens]}, (1, 64, 64), 0, False)
        >>> contraction(call, both, "bij").layout.grid
        (1, 64, 1)
    """
    ours = [factor for factor in factors if isinstance(factor.tensor, Operand)]
    if any(len(set(factor.labels)) < len(factor.labels) for factor in ours):
        return everything(call)
    routes = [(factor.tensor, _arranged(call, factor, labels)) for factor in ours]
    blurred = _blurred_dims(call, ours, [route for _, route in routes], labels)
    if isinstance(added, Operand):
        routes.append((added, call.route(added).broadcast(call.shape)))
    target = common([route for _, route in routes], call)
    for dim in blurred:
        target = target.with_dim(dim, _blurred(target.dims[dim]))
    target = _sharp(target)
    for _, route in routes:
        for dim, atoms in enumerate(target.dims):
            if any(atom.blurred for atom in atoms) and route.layout.grid[dim] > 1:
                route.reduce(dim)
        route.like(target)
    return outcome(routes)


def _arranged(call: Call, factor: Factor, labels: Sequence[str]) -> Route:
    """The factor's dimensions in the result's order, summed over those that it lacks."""
    route = call.route(factor.tensor)
    gone = [dim for dim, label in enumerate(factor.labels) if label not in labels]
    for dim in gone:
        route.reduce(dim)
    kept = [list(factor.labels).index(label) for label in labels if label in factor.labels]
    route.permute([*gone, *kept])
    sizes = iter(route.layout.shape[len(gone) :])
    return route.view([next(sizes) if label in factor.labels else 1 for label in labels])


def _blurred_dims(
    call: Call, factors: Sequence[Factor], routes: Sequence[Route], labels: Sequence[str]
) -> list[int]:
    """Dimensions of places that the second factor alone brings, where the first brings others."""
    grids = [route.layout.grid for route in routes]
    joint = math.prod(max(sizes) for sizes in zip(*grids, strict=True))
    if call.per_channel and joint <= LARGEST:
        return []
    own = []
    for factor, grid in zip(factors, grids, strict=True):
        others = {label for other in factors if other is not factor for label in other.labels}
        pairs = enumerate(zip(labels, grid, strict=True))
        own.append([d for d, (label, size) in pairs if size > 1 and label not in others])
    first = next((n for n, dims in enumerate(own) if dims), 0)
    return [dim for dims in own[first + 1 :] for dim in dims]


def _blurred(atoms: Dimension) -> Dimension:
    return tuple(replace(a, place=False, blurred=True) if a.place else a for a in atoms)


def _sharp(layout: Layout) -> Layout:
    """Blurred dimensions become places if there are no other places, so that a map stays a map."""
    if layout.places:
        return layout
    return Layout(
        tuple(
            tuple(replace(a, place=True, blurred=False) if a.blurred else a for a in atoms)
            for atoms in layout.dims
        )
    )


@rule("contraction", "linear", "mkldnn_linear")
def linear(call: Call) -> Outcome:
    """All of the last dimension is read."""
    tensor, weight = call.get("input", "self"), call["weight"]
    lead = batch(len(tensor.shape) - 1)
    inner = ("o", "i")[2 - len(weight.shape) :]
    factors = [Factor(tensor, (*lead, "i")), Factor(weight, inner)]
    return contraction(call, factors, (*lead, *inner[:-1]), call.get("bias"))


def batch(rank: int) -> tuple[str, ...]:
    """Labels of leading dimensions, counted from the last of them, as they are broadcast."""
    return tuple(f"b{n}" for n in range(rank - 1, -1, -1))


MATRICES = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "matmul": ("self", "other"),
    "addmm": ("mat1", "mat2"),
    "_addmm_activation": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
    "addbmm": ("batch1", "batch2"),
}
"""The two arguments that are multiplied; where "self" is neither, it is added."""


@rule("contraction", *MATRICES)
def product(call: Call) -> Outcome:
    """A matrix product, of many matrices at once where there are more dimensions."""
    one, other = (call[name] for name in MATRICES[call.op])
    ranks = len(one.shape), len(other.shape)
    first = (*batch(ranks[0] - 2), "i", "k") if ranks[0] > 1 else ("k",)
    second = (*batch(ranks[1] - 2), "k", "j") if ranks[1] > 1 else ("k",)
    ends = [label for label in ("i", "j") if label in first + second]
    lead = batch(len(call.shape) - len(ends))
    added = None if "self" in MATRICES[call.op] else call["self"]
    return contraction(call, [Factor(one, first), Factor(other, second)], (*lead, *ends), added)


@rule("contraction", "inner", "tensordot")
def tensordot(call: Call) -> Outcome:
    """Summed over the dimensions that are named of each, or the last ones."""
    one, other = call["self"], call["other"]
    summed = [int(d) % len(one.shape) for d in call.get("dims_self", default=[-1])]
    matched = [int(d) % len(other.shape) for d in call.get("dims_other", default=[-1])]
    names = dict(zip(matched, summed, strict=True))
    first = [f"s{d}" if d in summed else f"a{d}" for d in range(len(one.shape))]
    second = [f"s{names[d]}" if d in names else f"c{d}" for d in range(len(other.shape))]
    result = [label for label in (*first, *second) if label[0] != "s"]
    return contraction(call, [Factor(one, first), Factor(other, second)], result)


@rule("contraction", "_cdist_forward", "cdist")
def distances(call: Call) -> Outcome:
    """Of each row of one matrix from each of another."""
    one, other = call["x1"], call["x2"]
    first = Factor(one, (*batch(len(one.shape) - 2), "i", "k"))
    second = Factor(other, (*batch(len(other.shape) - 2), "j", "k"))
    return contraction(call, [first, second], (*batch(len(call.shape) - 2), "i", "j"))


@rule("contraction", "bilinear")
def bilinear(call: Call) -> Outcome:
    """All pairs of two last dimensions are read."""
    lead = batch(len(call.shape) - 1)
    factors = [Factor(call["input1"], (*lead, "i")), Factor(call["input2"], (*lead, "j"))]
    return contraction(call, factors, (*lead, "o"))


@rule("contraction", "einsum")
def einstein(call: Call) -> Outcome:
    """As the equation says."""
    equation = call["equation"].replace(" ", "")
    given, arrow, result = equation.partition("->")
    if not arrow:
        once = sorted(c for c in set(given) - set(",.") if given.count(c) == 1)
        result = "..." * ("..." in given) + "".join(once)
    pairs = zip(given.split(","), call["tensors"], strict=True)
    factors = [Factor(tensor, _labels(term, len(tensor.shape))) for term, tensor in pairs]
    return contraction(call, factors, _labels(result, len(call.shape)))


def _labels(term: str, rank: int) -> tuple[str, ...]:
    """A label for each dimension; an ellipsis means any number of leading ones."""
    before, ellipsis, after = term.partition("...")
    return (*before, *(batch(rank - len(before + after)) if ellipsis else ()), *after)
