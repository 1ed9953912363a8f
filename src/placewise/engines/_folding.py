"""Fold batch norms into the convolutions before them.

In eval mode a batch norm multiplies each channel by a number and adds one, so that
γ · (w∗x + b − μ) / √(σ² + ε) + β is a convolution with other weights. Which norm follows which
convolution, and that nothing else reads between them, is seen by running the network once and
noting every operation.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)

ASKING = ("__get__", "dim", "size")
"""Functions that ask for the shape of a tensor and read none of its values."""


class _Noted(TorchFunctionMode):
    """Notes which convolution feeds which norm, and how often each tensor is read.

    Tensors are kept, so that none takes the place of another in memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[int] = Counter()
        self.made: dict[int, int] = {}
        self.pairs: list[tuple[int, int, int]] = []
        self._kept: list[Any] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if getattr(func, "__name__", "") in ASKING:
            return result
        flat = [
            one
            for arg in (*args, *given.values())
            for one in (arg if isinstance(arg, list | tuple) else [arg])
        ]
        self.reads.update({id(one) for one in flat if isinstance(one, Tensor)})
        self._kept += [result, *flat]
        if func in CONVOLUTIONS:
            self.made[id(result)] = id(args[1] if len(args) > 1 else given["weight"])
        elif func is functional.batch_norm:
            read = args[0] if args else given["input"]
            self.pairs.append((id(read), self.made.get(id(read), 0), id(given.get("weight"))))
        return result


@torch.no_grad()
def fold(network: nn.Module, example: Tensor) -> int:
    """Fold batch norms of a network in eval mode, in place; how many were folded.

    A norm stays where something else reads what it reads, where its convolution or itself is used
    twice, and where either has no weights.

    Args:
        network: any module.
        example: what it takes.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)).eval()
        >>> fold(net, torch.zeros(1, 1, 8)), net[1]
        (1, Identity())
    """
    noted = _Noted()
    with noted:
        network(example)
    convolutions = {
        id(one.weight): one
        for one in network.modules()
        if isinstance(getattr(one, "weight", None), Tensor) and not isinstance(one, NORMS)
    }
    norms = {id(one.weight): (name, one) for name, one in _norms(network)}
    folded = 0
    for read, weight, scale in noted.pairs:
        once = noted.reads[read] == noted.reads[weight] == noted.reads[scale] == 1
        if once and weight in convolutions and scale in norms:
            name, norm = norms[scale]
            _fold_one(convolutions[weight], norm)
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, nn.Identity())
            folded += 1
    return folded


def _norms(network: nn.Module) -> list[tuple[str, Any]]:
    """Batch norms that remember what they have seen, by name."""
    return [
        (name, one)
        for name, one in network.named_modules()
        if isinstance(one, NORMS) and one.weight is not None and one.running_var is not None
    ]


def _fold_one(convolution: Any, norm: Any) -> None:
    """Give a convolution the weights that it has with the norm behind it."""
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = norm.weight.double() / torch.sqrt(variance + norm.eps)
    weight = convolution.weight
    bias = 0.0 if convolution.bias is None else convolution.bias.double()
    shift = norm.bias.double() + (bias - mean) * scale
    weight.mul_(scale.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1)))
    convolution.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)
