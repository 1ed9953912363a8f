"""Pooling, and windows laid out as columns."""

from __future__ import annotations

from placewise.ops.axes import adaptive, unfold, window
from placewise.ops.rules.arguments import several
from placewise.ops.rules.dense import chosen
from placewise.ops.rules.pads import padded
from placewise.ops.table import Call, Outcome, alone, rule


def _space(op: str) -> int:
    """The number before the "d" of "max_pool2d"."""
    return int(op.split("pool")[1][0])


@rule(
    "window",
    *"""
    avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool1d_with_indices max_pool2d
    max_pool2d_with_indices max_pool3d max_pool3d_with_indices mkldnn_max_pool2d mkldnn_max_pool3d
    quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d
    quantized::max_pool1d quantized::max_pool2d
    """.split(),
)
def pooling(call: Call) -> Outcome:
    """Windows over what there is; an average may count the zeros around it."""
    space = _space(call.op)
    sizes = several(call["kernel_size"], space)
    strides = several(call["stride"], space) if call.get("stride") else sizes
    dilations = several(call.get("dilation", default=1), space)
    margins = several(call.get("padding", default=0), space)
    mode = "zeros" if call.get("count_include_pad", default=False) else "ignored"
    route = padded(call.route(), [(m, m) for m in margins], mode)
    first = len(call.shape) - space
    for axis in range(space):
        relation = window(
            route.layout.shape[first + axis],
            sizes[axis],
            stride=strides[axis],
            dilation=dilations[axis],
            ceil=bool(call.get("ceil_mode", default=False)),
            after=margins[axis],
        )
        route.along(first + axis, relation)
    return alone(call, route, chosen(call))


@rule(
    "window",
    *"""
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    mkldnn_adaptive_avg_pool2d
    """.split(),
)
def adaptive_pooling(call: Call) -> Outcome:
    """As many windows as wanted, not all of one size."""
    route = call.route()
    for dim in range(len(call.shape) - _space(call.op), len(call.shape)):
        route.along(dim, adaptive(route.layout.shape[dim], call.shape[dim]))
    return alone(call, route, chosen(call))


@rule("window", "im2col")
def unfolding(call: Call) -> Outcome:
    """Every window becomes a column: (channels · taps, windows)."""
    size, stride, dilation, margins = _sliding(call)
    route = padded(call.route(), [(m, m) for m in margins], "zeros")
    first = len(route.layout.dims) - 2
    counts = []
    for axis in range(2):
        read = route.layout.shape[first + axis]
        taps = unfold(read, size[axis], stride=stride[axis], dilation=dilation[axis])
        counts.append(taps.written // size[axis])
        route.along(first + axis, taps)
    outer = route.layout.shape[:first]
    route.view((*outer, size[0], counts[0], size[1], counts[1]))
    route.permute((*range(first), *(first + n for n in (0, 2, 1, 3))))
    return alone(call, route.view(call.shape))


@rule("window", "col2im")
def folding(call: Call) -> Outcome:
    """Columns are added up where their windows lie: the transpose of unfolding."""
    size, stride, dilation, margins = _sliding(call)
    first = len(call.shape) - 2
    maps = [
        unfold(
            call.shape[first + n] + 2 * margins[n], size[n], stride=stride[n], dilation=dilation[n]
        )
        for n in range(2)
    ]
    outer = call.shape[:first]
    counts = [relation.written // taps for relation, taps in zip(maps, size, strict=True)]
    route = call.route().view((*outer, *size, *counts))
    route.permute((*range(first), *(first + n for n in (0, 2, 1, 3))))
    route.view((*outer, *(relation.written for relation in maps)))
    for n, relation in enumerate(maps):
        route.along(first + n, relation.transposed("fold"))
    return alone(call, padded(route, [(-m, -m) for m in margins], "ignored"))


def _sliding(call: Call) -> list[list[int]]:
    return [several(call[name], 2) for name in ("kernel_size", "stride", "dilation", "padding")]


@rule("window", "unfold")
def sliding(call: Call) -> Outcome:
    """All windows along one dimension, their taps in a last one."""
    rank = len(call.operand.shape)
    if not rank:
        return alone(call, call.route().view(call.shape))
    dim = int(call["dimension"]) % rank
    route = call.route()
    route.along(dim, unfold(route.layout.shape[dim], call.shape[-1], stride=int(call["step"])))
    shape = route.layout.shape
    route.view((*shape[:dim], call.shape[-1], call.shape[dim], *shape[dim + 1 :]))
    return alone(call, route.permute([*(d for d in range(rank + 1) if d != dim), dim]))
