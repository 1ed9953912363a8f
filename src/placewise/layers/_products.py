"""Products of many small matrices with rows that are gathered, and their derivative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK = 2**19
"""Bytes of gathered rows at a time for each thread of a CPU, so that they stay in its cache."""

ELSEWHERE = 2**26
"""The same on accelerators, where a call costs more than the memory."""


def products(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """y_u = W_u · (rows of u, one below the other), for each unit u.

    Where there are many, rows are gathered for some units at a time and not kept: the backward
    pass gathers them again. So memory is that of what is given and returned, and a little.

    Args:
        rows: (places, channels, batch); the batch is last, so that a row is one piece of memory.
        index: (units, taps) int64, the places that each unit reads.
        weight: (units, outputs, taps · channels).

    Returns:
        (units, outputs, batch).

    Example:
        >>> rows = torch.tensor([[[1.0]], [[2.0]], [[4.0]]])
        >>> products(rows, torch.tensor([[0, 1], [1, 2]]), torch.ones(2, 1, 2)).flatten()
        tensor([3., 6.])
    """
    if torch.compiler.is_exporting() or _at_once(rows, index) >= len(index):
        return plain_products(rows, index, weight)
    result: Tensor = _Products.apply(rows, index, weight)  # type: ignore[no-untyped-call]
    return result


def plain_products(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """The same in two operations that torch can differentiate."""
    taken = rows.index_select(0, index.flatten())
    return torch.bmm(weight, taken.view(len(index), -1, rows.shape[2]))


def _at_once(rows: Tensor, index: Tensor) -> int:
    """Units whose rows are gathered at a time."""
    chunk = CHUNK * torch.get_num_threads() if rows.device.type == "cpu" else ELSEWHERE
    bytes_of_one = index.shape[1] * rows.shape[1] * rows.shape[2] * rows.element_size()
    return max(1, chunk // max(1, bytes_of_one))


def _parts(rows: Tensor, index: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Some units at a time, their places, and memory for their rows, the same again and again."""
    units, taps = index.shape
    step = _at_once(rows, index)
    memory = rows.new_empty((min(step, units) * taps, *rows.shape[1:]))
    for start in range(0, units, step):
        part = slice(start, min(start + step, units))
        places = index[part].flatten()
        yield part, places, memory[: len(places)]


class _Products(torch.autograd.Function):
    """`plain_products` in parts."""

    @staticmethod
    def forward(rows: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        result = rows.new_empty((*weight.shape[:2], rows.shape[2]))
        for part, places, memory in _parts(rows, index):
            torch.index_select(rows, 0, places, out=memory)
            below = memory.view(-1, weight.shape[2], rows.shape[2])
            torch.bmm(weight[part], below, out=result[part])
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        rows, index, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            result = plain_products(rows, index, weight)
            both = torch.autograd.grad(result, (rows, weight), gradient, create_graph=True)
            return both[0], None, both[1]
        gradient = gradient.contiguous()
        of_rows, of_weight = torch.zeros_like(rows), torch.empty_like(weight)
        for part, places, memory in _parts(rows, index):
            torch.index_select(rows, 0, places, out=memory)
            below = memory.view(-1, weight.shape[2], rows.shape[2])
            torch.bmm(gradient[part], below.transpose(1, 2), out=of_weight[part])
            torch.bmm(weight[part].transpose(1, 2), gradient[part], out=below)
            of_rows.index_add_(0, places, memory)
        return of_rows, None, of_weight
