"""Multiply-adds and filters of a network, from one run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from placewise.errors import SettingsError
from placewise.graph.undisturbed import told_modules, undisturbed
from placewise.layers.local import LocallyConnected
from placewise.layers.proximity import Proximity

Placed = LocallyConnected | Proximity
"""Layers each of whose weights is used once, however they calculate."""


@dataclass(frozen=True)
class Product:
    """One sum of products in a run.

    Attributes:
        module: dotted path of the submodule that ran it.
        kind: "convolution", "locally connected", "proximity" or "product".
        filters: what is multiplied, in words; may be empty.
        multiply_adds: for one image, padding included.
    """

    module: str
    kind: str
    filters: str
    multiply_adds: int


def products(model: nn.Module, image: Tensor) -> list[Product]:
    """Every sum of products of one run, in order.

    Args:
        model: any network; it stays as found.
        image: (1, channels, *space).

    Raises:
        SettingsError: the network does not run on it.

    Example:
        >>> products(nn.Conv2d(1, 3, 5), torch.zeros(1, 1, 32, 32))[0]
        Product(module='', kind='convolution', filters='3 of 5×5×1', multiply_adds=58800)
    """
    counter = _Counter()
    with undisturbed(model) as lent, torch.no_grad(), _told(lent, counter):
        try:
            with counter:
                lent(image)
        except Exception as error:
            raise SettingsError(
                f"the network does not run on an image of shape {tuple(image.shape[1:])}: "
                f"{error}. Give it its own size and channels"
            ) from error
    return counter.found


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch multiplies, by the submodule that runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path: list[tuple[str, bool]] = [("", False)]
        self.found: list[Product] = []

    def enter(self, name: str | None, module: nn.Module) -> None:
        """A submodule begins; a name of None is none of the network's own."""
        above, inside = self.path[-1]
        placed = isinstance(module, Placed) and not inside
        self.path.append((above if name is None else name, inside or placed))
        if placed:
            self.found.append(_placed(self.path[-1][0], module))

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        count: Callable[..., Any] | None = flop_registry.get(func.overloadpacket)
        module, inside = self.path[-1]
        if count is not None and not inside:
            work = int(count(*args, **(kwargs or {}), out_val=out)) // 2
            convolves = func.overloadpacket is torch.ops.aten.convolution
            kind = "convolution" if convolves else "product"
            self.found.append(Product(module, kind, _filters(func, args), work))
        return out


def _placed(name: str, layer: nn.Module) -> Product:
    weight: Any = layer.weight
    units = (
        weight.shape[0] * weight.shape[1] if isinstance(layer, LocallyConnected) else len(weight)
    )
    if isinstance(layer, LocallyConnected):
        size = _times([*layer.windows.kernel_size, layer.in_channels // layer.groups])
        return Product(name, "locally connected", f"{units} of {size}", weight.numel())
    return Product(name, "proximity", f"{units} of {weight.shape[1]}", weight.numel())


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


@contextmanager
def _told(model: nn.Module, counter: _Counter) -> Iterator[None]:
    """Tell the counter which submodule runs."""
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, _inputs: Any) -> None:
        counter.enter(names.get(id(module)), module)

    def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        if len(counter.path) > 1:
            counter.path.pop()

    with told_modules(enter, leave):
        yield
