"""Weighted sums of a fixed number of inputs: y_m = b_m + Σ_k w_mk · x_(index_mk), forth and back.

In memory the batch comes last: each unit is one contiguous row, and `embedding_bag` adds up rows.
The gradient with respect to x is the same sum over the transposed table of connections; that with
respect to w is one dot product of two rows for each connection.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

CHUNK = 1 << 22
"""Numbers that the plain form of the gradient gathers at a time."""


class Wiring(NamedTuple):
    """A table of connections and its transpose, all int64.

    Attributes:
        inputs: (outputs, fan_in) which input each connection comes from.
        firsts: (outputs,) where the connections of each output begin in the flat `inputs`.
        bags: (connections,) which output each goes to, in the order of `inputs`.
        outputs: (connections,) which output each goes to, sorted by input.
        slots: (connections,) number of each in the flat `inputs`, sorted by input.
        starts: (inputs,) where the connections of each input begin in these two.
    """

    inputs: Tensor
    firsts: Tensor
    bags: Tensor
    outputs: Tensor
    slots: Tensor
    starts: Tensor


def wiring(index: Tensor, inputs: int) -> Wiring:
    """A table of connections with its transpose: one stable sort.

    Args:
        index: (outputs, fan_in) int64.
        inputs: number of inputs.
    """
    fan_in = index.shape[1]
    flat = index.flatten()
    slots = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=inputs)
    bags = torch.arange(len(index), device=index.device)
    firsts, bags = bags * fan_in, bags.repeat_interleave(fan_in)
    return Wiring(index, firsts, bags, bags[slots], slots, counts.cumsum(0) - counts)


def connect(x: Tensor, weight: Tensor, bias: Tensor | None, table: Wiring) -> Tensor:
    """Sum over the connections of each output.

    Args:
        x: (batch, inputs).
        weight: (outputs, fan_in), of the same type.
        bias: (outputs,) or None.
        table: the connections.

    Returns:
        (batch, outputs), a transposed view: in memory the batch comes last.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return _sums(x.t().contiguous(), weight, bias, table)
    sums: Tensor = _Connect.apply(x, weight, bias, *table)  # type: ignore[no-untyped-call]
    return sums


class _Connect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *table: Tensor) -> Tensor:
        rows = x.detach().t().contiguous()
        ctx.save_for_backward(x, rows, weight, *table)
        return _sums(rows, weight.detach(), bias, Wiring(*table))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, rows, weight, *parts = ctx.saved_tensors
        table, gradient = Wiring(*parts), gradients[0].t().contiguous()
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:
            weights = weight.flatten().index_select(0, table.slots)
            for_x = _bags(gradient, weights, table.outputs, table.starts).t()
        if ctx.needs_input_grad[1]:
            if torch.is_grad_enabled():  # the gradient itself is to be differentiated
                for_weight = plain_row_products(gradient, x.t(), table.inputs)
            else:
                for_weight = row_products(gradient, rows, table)
        if ctx.needs_input_grad[2]:
            for_bias = gradient.sum(1)
        return for_x, for_weight, for_bias, *[None] * len(table)


def _sums(rows: Tensor, weight: Tensor, bias: Tensor | None, table: Wiring) -> Tensor:
    sums = _bags(rows, weight.flatten(), table.inputs.flatten(), table.firsts)
    return (sums if bias is None else sums.add_(bias[:, None])).t()


def _bags(rows: Tensor, weights: Tensor, index: Tensor, starts: Tensor) -> Tensor:
    """Σ of weighted rows for each bag; mode 0 is the sum."""
    return torch.embedding_bag(rows, index, starts, False, 0, False, weights)[0]


def row_products(gradient: Tensor, x: Tensor, table: Wiring) -> Tensor:
    """(outputs, fan_in): the dot product of both ends of each connection over the batch.

    Args:
        gradient: (outputs, batch).
        x: (inputs, batch).
        table: the connections.
    """
    if fast_row_products_work(x.device.type, x.dtype):
        return _fast_row_products(gradient, x, table.inputs, table.bags)
    return plain_row_products(gradient, x, table.inputs)


def plain_row_products(gradient: Tensor, x: Tensor, index: Tensor) -> Tensor:
    """`row_products` by gathering, a few outputs at a time: differentiable, on every device."""
    rows = max(1, CHUNK // max(1, index.shape[1] * x.shape[1]))
    parts = [
        (x[some] * ends[:, None]).sum(-1)
        for some, ends in zip(torch.split(index, rows), torch.split(gradient, rows), strict=True)
    ]
    return torch.cat(parts)


def _fast_row_products(gradient: Tensor, x: Tensor, index: Tensor, bags: Tensor) -> Tensor:
    """`row_products` by the operator that torch uses for itself; its name is private."""
    flat: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        gradient, x, index.flatten(), bags[:0], bags, 0, -1
    )
    return flat.view(index.shape)


@cache
def fast_row_products_work(device: str, dtype: torch.dtype) -> bool:
    """Whether torch has the private operator on this kind of device and it calculates right.

    Args:
        device: e.g. "cpu".
        dtype: type of the activations.
    """
    numbers = torch.arange(1, 7, device=device, dtype=dtype).view(3, 2)
    index = torch.tensor([[2, 0], [1, 2], [0, 1], [2, 1]], device=device)
    gradient = torch.tensor([[1, 2], [3, -1], [0, 1], [-2, 1]], device=device, dtype=dtype)
    bags = torch.arange(4, device=device).repeat_interleave(2)
    try:
        found = _fast_row_products(gradient, numbers, index, bags)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.equal(found, plain_row_products(gradient, numbers, index))
