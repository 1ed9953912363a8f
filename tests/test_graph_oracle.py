"""Path counts against automatic differentiation, for small networks of many families.

The twin of a network is the network itself under a mode that makes every operation count: weights
are 1, biases 0, activations, normalisations and dropout the identity, pooling and softmax sums, and
a product of two maps their sum. The gradient of its summed output is the number of ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from audit_nets import NETS
from placewise.graph import Graph, capture
from placewise.ops import COUNTS, EXISTS, Status
from plain_walks import backward

ONE_CALL = {"attention of torch"}
"""Its attention is one function of Python to torch's overrides, so that it has no twin."""

WRITTEN_OUT = {"attention written out"}
"""Rows of its matrix of attention are taken for one place in space alone."""

BOUND_IN_SPACE = {"stacked", "normalised over places"}
"""Channels that read different places are told apart again; statistics are of all places."""

EXACT_IN_FLOAT64 = 2**53


# --- the twin ------------------------------------------------------------------------------------


def along(x: Tensor, dim: int, matrix: Tensor) -> Tensor:
    """A matrix (written, read) along one dimension."""
    return torch.tensordot(x, matrix.to(x.dtype), ([dim], [1])).movedim(-1, dim)


def windows(x: Tensor, space: int, written: Sequence[int], settings: Sequence[Any]) -> Tensor:
    """Sums of those places of each window that exist."""
    size, stride, padding, dilation = (
        v if isinstance(v, tuple | list) else (v,) * space for v in settings
    )
    for axis in range(space):
        dim = x.dim() - space + axis
        matrix = torch.zeros(written[axis], x.shape[dim])
        for j in range(written[axis]):
            for t in range(size[axis]):
                i = j * stride[axis] - padding[axis] + t * dilation[axis]
                if 0 <= i < x.shape[dim]:
                    matrix[j, i] += 1
        x = along(x, dim, matrix)
    return x


def pooled(native: Callable[..., Tensor], x: Tensor, args: Any, kwargs: Any) -> Tensor:
    names = ["kernel_size", "stride", "padding"] + ["dilation"] * ("max" in native.__name__)
    given = dict(zip(names, args, strict=False)) | kwargs
    space = int(native.__name__[-2])
    written = native(x.detach(), *args, **kwargs).shape[-space:]
    size = given["kernel_size"]
    stride = given.get("stride") or size
    return windows(
        x, space, written, (size, stride, given.get("padding", 0), given.get("dilation", 1))
    )


def adaptive(native: Callable[..., Tensor], x: Tensor, args: Any, kwargs: Any) -> Tensor:
    space = int(native.__name__[-2])
    for axis, count in enumerate(native(x.detach(), *args, **kwargs).shape[-space:]):
        dim = x.dim() - space + axis
        length = x.shape[dim]
        matrix = torch.zeros(count, length)
        for j in range(count):
            matrix[j, j * length // count : math.ceil((j + 1) * length / count)] = 1
        x = along(x, dim, matrix)
    return x


def resized(native: Callable[..., Tensor], x: Tensor, args: Any, kwargs: Any) -> Tensor:
    """What an impulse at each place alone gives is not zero where the place is read."""
    written = native(x.detach(), *args, **kwargs).shape[2:]
    settings = {k: v for k, v in kwargs.items() if k in ("mode", "align_corners") and v is not None}
    for axis, (count, length) in enumerate(zip(written, x.shape[2:], strict=True)):
        sides = [1] * len(written)
        sides[axis] = length
        impulses = torch.eye(length, dtype=torch.float64).view(length, 1, *sides)
        sides[axis] = count
        seen = functional.interpolate(impulses, tuple(sides), **settings).view(length, count)
        x = along(x, 2 + axis, (seen.T.abs() > 1e-12).double())
    return x


def convolved(native: Callable[..., Tensor], x: Tensor, args: Any, kwargs: Any) -> Tensor:
    weight, _, *rest = *args, *([None] * (2 - len(args)))
    kwargs = {k: v for k, v in kwargs.items() if k != "bias"}
    return native(x.clone(), torch.ones_like(weight), None, *rest, **kwargs)


def multiplied(first: Tensor, second: Tensor) -> Tensor:
    """Sums over k of a[i, k] + b[k, j]; a constant factor counts 1."""
    ones = torch.ones_like
    if not second.requires_grad:
        return first @ ones(second)
    if not first.requires_grad:
        return ones(first) @ second
    return first @ ones(second) + ones(first) @ second


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as one operation: its query, and all keys and values, once each."""
    return q.sum(-1, keepdim=True) + k.sum((-2, -1), keepdim=True) + v.sum(-2, keepdim=True)


def summed(x: Tensor, args: Any, kwargs: Any) -> Tensor:
    dim = kwargs.get("dim", args[0] if args else list(range(x.dim())))
    return x.sum(dim, keepdim=kwargs.get("keepdim", False))


IDENTITY = """
relu relu_ gelu sigmoid hardswish prelu batch_norm layer_norm group_norm instance_norm dropout
softplus
""".split()


class AllOnes(TorchFunctionMode):
    """Every operation counts."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__.strip("_")
        x, rest = (args[0], args[1:]) if args else (None, ())
        other = rest[0] if rest else None
        if name in IDENTITY:
            return x
        if name in ("conv1d", "conv2d", "conv3d") or name.startswith("conv_transpose"):
            return convolved(func, x, rest, kwargs)
        if name == "linear":
            return functional.linear(x, torch.ones_like(other))
        if name.startswith(("max_pool", "avg_pool")):
            return pooled(func, x, rest, kwargs)
        if name.startswith("adaptive_"):
            return adaptive(func, x, rest, kwargs)
        if name == "interpolate":
            return resized(func, x, rest, kwargs)
        if name in ("mean", "sum", "amax"):
            return summed(x, rest, kwargs)
        if name == "softmax":
            return summed(x, rest, {"keepdim": True}).expand_as(x)
        if name in ("mul", "rmul", "truediv", "div", "sub", "maximum"):
            return x + other if isinstance(other, Tensor) else x
        if name in ("matmul", "bmm"):
            return multiplied(x, other)
        if name == "scaled_dot_product_attention":
            return attended(*args)
        if name == "einsum":
            return func(x, other, torch.ones_like(rest[1]))
        return func(*args, **kwargs)


def ones_gradient(net: nn.Module, shape: Sequence[int]) -> np.ndarray:
    """(channels, *space): ways from each value of the image to all outputs."""
    x = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
    with AllOnes():
        outputs = net.double().eval().requires_grad_(False)(x)
    sum(leaf.sum() for leaf in tree_leaves(outputs)).backward()
    ways = x.grad[0].numpy()
    assert 0 < ways.max() < EXACT_IN_FLOAT64
    return ways


# --- counts --------------------------------------------------------------------------------------


def counted(graph: Graph) -> np.ndarray:
    """(channels, *space): ways that the graph finds."""
    ways, ways_at_all = (
        backward(
            graph,
            {n: algebra.filled(graph.nodes[n].layout.grid, 1) for n in graph.outputs},
            algebra,
        )[0]
        for algebra in (COUNTS, EXISTS)
    )
    assert ways is not None
    assert ways_at_all is not None
    assert ((ways > 0) == ways_at_all).all()
    return ways[0]


def test_there_are_many_families():
    assert len(NETS) - len(ONE_CALL) >= 40


@pytest.mark.parametrize("name", sorted(NETS.keys() - ONE_CALL))
def test_channel_aware_counts_are_the_gradient_of_the_twin(name: str):
    constructor, shape = NETS[name]
    found = counted(capture(constructor(), shape, per_channel=True, how="recorded"))
    expected = ones_gradient(constructor(), shape)
    assert found.shape == expected.shape
    assert (found == expected).all()


@pytest.mark.parametrize("name", sorted(NETS.keys() - ONE_CALL - WRITTEN_OUT))
def test_counts_in_space_are_those_of_a_network_one_channel_wide(name: str):
    constructor, shape = NETS[name]
    graph = capture(constructor(), shape, how="recorded")
    found = counted(graph)
    expected = ones_gradient(constructor(1), (1, *shape[1:]))
    assert found.shape == expected.shape
    if all(node.status is Status.EXACT for node in graph.nodes):
        assert (found == expected).all()
    else:
        assert name in BOUND_IN_SPACE
        assert (found >= expected).all()


def test_attention_counts_alike_in_one_call_and_written_out():
    """In space alone, a row of the matrix of attention is one place's."""
    constructor, shape = NETS["attention written out"]
    net, fused = constructor(), constructor()
    fused.attention.fused = True
    assert (counted(capture(net, shape)) == counted(capture(fused, shape))).all()


# --- support -------------------------------------------------------------------------------------


class Alive(TorchFunctionMode):
    """What could pass nothing on, for some values, passes all on."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__.strip("_")
        if name in ("relu", "relu_", "hardswish", "prelu"):
            return functional.softplus(args[0])
        if name.startswith(("max_pool", "adaptive_max")):
            return (pooled if name[0] == "m" else adaptive)(func, args[0], args[1:], kwargs)
        if name == "conv2d":
            return func(args[0].clone(), *args[1:], **kwargs)
        if name in ("maximum", "amax"):
            return torch.logaddexp(*args) if name == "maximum" else torch.mean(*args, **kwargs)
        return func(*args, **kwargs)


def grids(graph: Graph, seeds: dict[int, np.ndarray]) -> np.ndarray:
    found = backward(graph, seeds, EXISTS)[0]
    return EXISTS.filled(graph.nodes[0].layout.grid) if found is None else found


@pytest.mark.parametrize("name", sorted(NETS))
def test_what_a_unit_depends_on_is_what_the_graph_says(name: str):
    """The gradient of single output units at random weights; a bound may say more."""
    constructor, shape = NETS[name]
    net = constructor().double().eval()
    graph = capture(net, shape, per_channel=True, how="recorded")
    x = torch.randn(1, *shape, dtype=torch.float64, requires_grad=True)
    with Alive():
        outputs = [leaf for leaf in tree_leaves(net(x)) if leaf.requires_grad]
    assert len(outputs) == len(graph.outputs) > 0
    everywhere = any(node.global_statistics for node in graph.nodes)
    exact = all(node.status is Status.EXACT for node in graph.nodes)
    for output, number in zip(outputs, graph.outputs, strict=True):
        assert graph.nodes[number].layout.grid == output.shape
        for unit in {0, output.numel() // 2, output.numel() - 1}:
            seed = EXISTS.filled(output.shape)
            seed.flat[unit] = True
            claimed = grids(graph, {number: seed}) | everywhere
            (slope,) = torch.autograd.grad(output.flatten()[unit], x, retain_graph=True)
            support = (slope != 0).numpy()
            assert support.any() or not claimed.any()
            assert (claimed | ~support).all()
            if exact:
                assert (claimed == support).all()
