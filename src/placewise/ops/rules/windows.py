"""Convolutions: each place reads a window, or is written by windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from placewise.ops.axes import spread, window
from placewise.ops.route import Route
from placewise.ops.rules.arguments import several
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pads import padded
from placewise.ops.table import Call, Edge, Operand, Outcome, Status, alone, rule


@dataclass(frozen=True)
class Kernel:
    """Settings of a convolution, with a number for each axis.

    Attributes:
        sizes: of the kernel.
        stride: from one window to the next.
        dilation: from one tap to the next.
        groups: of channels.
        channel: dimension of the channels.
    """

    sizes: tuple[int, ...]
    stride: list[int]
    dilation: list[int]
    groups: int
    channel: int

    @classmethod
    def of(cls, call: Call, sizes: Sequence[int]) -> Kernel:
        """Read off a call."""
        space = len(sizes)
        return cls(
            tuple(int(size) for size in sizes),
            several(call.get("stride", default=1), space),
            several(call.get("dilation", default=1), space),
            int(call.get("groups", default=1)),
            len(call.shape) - space - 1,
        )


@rule(
    "window",
    *"""
    _conv_depthwise2d _convolution _nnpack_spatial_convolution _slow_conv2d_forward conv1d conv2d
    conv3d conv_depthwise3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    convolution_overrideable cudnn_convolution cudnn_convolution_add_relu cudnn_convolution_relu
    cudnn_convolution_transpose miopen_convolution miopen_convolution_transpose
    miopen_depthwise_convolution mkldnn_convolution slow_conv3d slow_conv3d_forward
    slow_conv_dilated2d slow_conv_dilated3d slow_conv_transpose2d slow_conv_transpose3d thnn_conv2d
    """.split(),
)
def convolution(call: Call) -> Outcome:
    """Zero padding, then windows; all channels of a group are read.

    A kernel that depends on the image is read by every place.
    """
    operand, weight = call.get("input", "self"), call["weight"]
    if not isinstance(operand, Operand):
        return everything(call)
    kernel = Kernel.of(call, weight.shape[2:])
    turned = bool("transpose" in call.op or call.get("transposed", default=False))
    found = alone(call, convolved(call, kernel, turned=turned))
    others = [o for o in call.operands if o is not operand]
    if not others:
        return found
    edges = [Edge(o.node, call.route(o).everywhere(found.layout).operator()) for o in others]
    placed = any(o.layout.places for o in others)
    return Outcome(found.layout, (*found.edges, *edges), Status.AT_MOST if placed else found.status)


def convolved(call: Call, kernel: Kernel, *, turned: bool) -> Route:
    """The route from the first operand of a convolution to its result.

    Args:
        call: gives the padding, of one that is turned around also its output padding.
        kernel: sizes and steps.
        turned: whether windows are written instead of read.
    """
    route = (_spread if turned else _windows)(call, kernel)
    return channels_written(route, kernel.channel, call.shape[kernel.channel], kernel.groups)


def _windows(call: Call, kernel: Kernel) -> Route:
    """Padding, channels, windows."""
    route = padded(call.route(), margins(call["padding"], kernel), "zeros")
    channels_read(route, kernel.channel, kernel.groups)
    first = len(route.layout.dims) - len(kernel.sizes)
    for axis, size in enumerate(kernel.sizes):
        stride, dilation = kernel.stride[axis], kernel.dilation[axis]
        if size > 1 or stride > 1:
            read = route.layout.shape[first + axis]
            route.along(first + axis, window(read, size, stride=stride, dilation=dilation))
    return route


def _spread(call: Call, kernel: Kernel) -> Route:
    """Channels, windows that are written, and what padding takes away of them."""
    route = channels_read(call.route(), kernel.channel, kernel.groups)
    space = len(kernel.sizes)
    first = len(route.layout.dims) - space
    for axis, size in enumerate(kernel.sizes):
        stride, dilation = kernel.stride[axis], kernel.dilation[axis]
        read = route.layout.shape[first + axis]
        route.along(first + axis, spread(read, size, stride=stride, dilation=dilation))
    more = several(call.get("output_padding", default=0), space)
    cut = several(call.get("padding", default=0), space)
    return padded(route, [(-c, m - c) for c, m in zip(cut, more, strict=True)], "ignored")


def margins(padding: Any, kernel: Kernel) -> list[tuple[int, int]]:
    """Padding before and after each axis; "same" puts the odd place behind."""
    if padding == "same":
        both = [d * (size - 1) for size, d in zip(kernel.sizes, kernel.dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in both]
    if padding == "valid":
        return [(0, 0)] * len(kernel.sizes)
    return [(side, side) for side in several(padding, len(kernel.sizes))]


def channels_read(route: Route, dim: int, groups: int) -> Route:
    """All channels of a group become one; several groups get a dimension of their own."""
    if groups == 1:
        return route.reduce(dim)
    shape = route.layout.shape
    route.view((*shape[:dim], groups, shape[dim] // groups, *shape[dim + 1 :]))
    return route.reduce(dim + 1)


def channels_written(route: Route, dim: int, size: int, groups: int) -> Route:
    """The channels of a result, each of which reads its group."""
    if groups == 1:
        return route.spread(dim, size)
    route.spread(dim + 1, size // groups)
    shape = route.layout.shape
    return route.view((*shape[:dim], size, *shape[dim + 2 :]))
