"""Multiply-adds and filters of a network, counted in one run of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from placewise.errors import SettingsError
from placewise.graph import running_modules, undisturbed
from placewise.layers.local import LocallyConnected
from placewise.layers.proximity import Proximity

OnceEach = LocallyConnected | Proximity
"""Layers that use each of their weights once for an image. They cost their weights, even if they
are computed as one matrix that is mostly zeros."""


@dataclass(frozen=True)
class Product:
    """One sum of products in a run.

    Attributes:
        module: dotted path of the submodule that ran it.
        type: "convolution", "locally connected", "proximity" or "product".
        filters: what is multiplied, in words; may be empty.
        multiply_adds: for one image, padding included.
    """

    module: str
    type: str
    filters: str
    multiply_adds: int


def products(model: nn.Module, image: Tensor) -> list[Product]:
    """Count every sum of products of one run, in order.

    These are matrix products and convolutions. As usual, what is done once for each number (bias,
    activation, normalisation, pooling) is not counted.

    Args:
        model: any network; it is left unchanged.
        image: (1, channels, *space).

    Raises:
        SettingsError: the network does not run on it.

    Example:
        >>> products(nn.Conv2d(1, 3, 5), torch.zeros(1, 1, 32, 32))[0]
        Product(module='', type='convolution', filters='3 of 5×5×1', multiply_adds=58800)
    """
    counter = _Counter()
    with (
        undisturbed(model),
        torch.no_grad(),
        running_modules(model, counter.path, counter.entered),
    ):
        try:
            with counter:
                model(image)
        except Exception as error:
            raise SettingsError(
                f"the network does not run on an image of shape {tuple(image.shape[1:])}: "
                f"{error}; give the size and channels that it takes"
            ) from error
    return counter.found


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch multiplies, by the submodule that runs.

    Attributes:
        path: names of the submodules that run, innermost last.
        found: products so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = [""]
        self.found: list[Product] = []
        self._depth = math.inf
        """Length of the path at the last layer whose weights are used once each."""

    def entered(self, module: nn.Module) -> None:
        """A submodule begins."""
        if len(self.path) > self._depth:
            return
        self._depth = math.inf
        if isinstance(module, OnceEach):
            self._depth = len(self.path)
            self.found.append(_once_each(self.path[-1], module))

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        count: Any = flop_registry.get(func.overloadpacket)
        if count is not None and len(self.path) < self._depth:
            work = int(count(*args, **(kwargs or {}), out_val=out)) // 2
            convolves = func.overloadpacket is torch.ops.aten.convolution
            kind = "convolution" if convolves else "product"
            self.found.append(Product(self.path[-1], kind, _filters(func, args), work))
        return out


def _once_each(name: str, layer: nn.Module) -> Product:
    weight: Any = layer.weight
    if isinstance(layer, LocallyConnected):
        units = weight.shape[0] * weight.shape[1]
        size = _times([*layer.windows.kernel_size, layer.in_channels // layer.groups])
        return Product(name, "locally connected", f"{units} of {size}", weight.numel())
    return Product(name, "proximity", f"{len(weight)} of {weight.shape[1]}", weight.numel())


def _filters(func: Any, args: tuple[Any, ...]) -> str:
    """Number and volume of the filters: "6 of 5×5×3"."""
    if func.overloadpacket is torch.ops.aten.convolution:
        outer, inner, *size = args[1].shape
        if args[6]:  # transposed: the channels that are read come first
            outer, inner = inner * args[8], outer // args[8]
        return f"{outer} of {_times([*size, inner])}"
    if func.overloadpacket is torch.ops.aten.addmm:
        return f"{args[2].shape[1]} of {args[2].shape[0]}"
    return ""


def _times(sides: Sequence[int]) -> str:
    return "×".join(map(str, sides))
