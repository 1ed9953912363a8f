"""The same elements in another shape or order, or repeated."""

from __future__ import annotations

import math

from placewise.ops.axes import gather
from placewise.ops.rules.arguments import dims_of
from placewise.ops.rules.everything import everything
from placewise.ops.table import Call, Outcome, alone, rule


@rule(
    "reshape",
    *"""
    _reshape_alias _reshape_copy _unsafe_view flatten ravel reshape reshape_as squeeze squeeze_copy
    unflatten unsqueeze unsqueeze_copy view view_as view_copy
    """.split(),
)
def viewing(call: Call) -> Outcome:
    """Another shape with the same elements in the same order."""
    return alone(call, call.route().view(call.shape))


@rule("reshape", "view_as_complex", "view_as_real")
def pairing(call: Call) -> Outcome:
    """Complex numbers are pairs of channels, and pairs of channels complex numbers."""
    route = call.route()
    rank = len(call.operand.shape)
    if len(call.shape) > rank:
        return alone(call, route.view((*call.operand.shape, 1)).spread(rank, 2))
    return alone(call, route.reduce(rank - 1).view(call.shape))


@rule(
    "reshape",
    *"""
    adjoint mT moveaxis movedim numpy_T permute permute_copy swapaxes swapdims t t_copy transpose
    transpose_copy
    """.split(),
)
def permuting(call: Call) -> Outcome:
    """Dimensions in another order."""
    return alone(call, call.route().permute(_order(call, len(call.operand.shape))))


def _order(call: Call, rank: int) -> list[int]:
    order = list(range(rank))
    if call.get("dims") is not None:
        return dims_of(call["dims"], rank)
    if call.op == "numpy_T":
        return order[::-1]
    if call.get("source") is not None:
        source, target = dims_of(call["source"], rank), dims_of(call["destination"], rank)
        rest = iter(d for d in order if d not in source)
        where = dict(zip(target, source, strict=True))
        return [where[d] if d in where else next(rest) for d in order]
    if rank > 1:
        one = int(call.get("dim0", "axis0", default=-2)) % rank
        other = int(call.get("dim1", "axis1", default=-1)) % rank
        order[one], order[other] = other, one
    return order


@rule("reshape", "broadcast_to", "expand", "expand_as", "expand_copy")
def expanding(call: Call) -> Outcome:
    """Copies along dimensions of size 1; they are channels until they meet places."""
    route = call.route().broadcast(call.shape)
    for dim, size in enumerate(call.shape):
        if route.layout.shape[dim] != size:
            route.spread(dim, size)
    return alone(call, route)


@rule("reshape", "repeat", "repeat_interleave", "tile")
def repeating(call: Call) -> Outcome:
    """Copies along dimensions, one after the other or place by place."""
    route = call.route()
    by_place = call.op == "repeat_interleave"
    if by_place and not isinstance(call.get("repeats"), int):
        return everything(call)
    if by_place and call.get("dim") is None:
        route.view((math.prod(call.operand.shape),))
    route.broadcast(call.shape)
    for dim, size in enumerate(call.shape):
        have = route.layout.shape[dim]
        if have == 1:
            route.spread(dim, size)
        elif have != size:
            ins = [n // (size // have) if by_place else n % have for n in range(size)]
            route.along(dim, gather(have, ins, "copies"))
    return alone(call, route)


@rule("reshape", "pixel_shuffle")
def shuffling(call: Call) -> Outcome:
    """Channels become places: (C·r·r, H, W) → (C, H·r, W·r)."""
    *batch, depth, high, wide = call.operand.shape
    r, b = int(call["upscale_factor"]), len(batch)
    route = call.route().view((*batch, depth // (r * r), r, r, high, wide))
    route.permute((*range(b), *(b + n for n in (0, 3, 1, 4, 2))))
    return alone(call, route.view(call.shape))


@rule("reshape", "pixel_unshuffle")
def unshuffling(call: Call) -> Outcome:
    """Places move among the channels and stay places: (C, H·r, W·r) → (C·r·r, H, W)."""
    *batch, depth, high, wide = call.operand.shape
    r, b = int(call["downscale_factor"]), len(batch)
    route = call.route().view((*batch, depth, high // r, r, wide // r, r))
    route.permute((*range(b), *(b + n for n in (0, 2, 4, 1, 3))))
    return alone(call, route.view(call.shape))


@rule("reshape", "channel_shuffle", "native_channel_shuffle")
def dealing(call: Call) -> Outcome:
    """Channels of several groups in turn."""
    batch, depth, *space = call.operand.shape
    groups = int(call["groups"])
    route = call.route().view((batch, groups, depth // groups, *space))
    route.permute((0, 2, 1, *range(3, 3 + len(space))))
    return alone(call, route.view(call.shape))
