"""Multiply-adds and filters of a network, counted in one run of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from placewise.errors import SettingsError, own_line
from placewise.graph import running_modules, undisturbed, whole_attention
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
        type: "convolution", "locally connected", "proximity", "product", or "not counted" for an
            operation that multiplies in a way that is not known here.
        filters: what is multiplied, in words; may be empty; the name of what is not counted.
        multiply_adds: for one image, padding included.
    """

    module: str
    type: str
    filters: str
    multiply_adds: int


def products(model: nn.Module, image: Tensor) -> list[Product]:
    """Count every sum of products of one run, in order.

    These are matrix products and convolutions, those of recurrent layers, of attention, of
    deformable convolutions and of quantised layers, too. As usual, what is done once for each
    number (bias, activation, normalisation, pooling) is not counted. Fourier transforms, distances
    and operations of foreign libraries are named as not counted.

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
        whole_attention(),
        running_modules(model, counter.path, counter.entered),
    ):
        try:
            with counter:
                model(image)
        except Exception as error:
            where = own_line(error)
            raise SettingsError(
                f"the network does not run on shape {tuple(image.shape[1:])}: {error}"
                f"{f' (at {where})' if where else ''}; give the size and channels that it takes"
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
        if len(self.path) < self._depth:
            self._count(func, args, kwargs or {}, out)
        return out

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        packet, name = func.overloadpacket, func._schema.name.removeprefix("aten::")
        formula: Any = FORMULAS.get(name)
        if (count := flop_registry.get(packet)) is not None:
            work = int(count(*args, **kwargs, out_val=out)) // 2
        elif formula is not None:
            work = int(formula(args, out))
        elif name.startswith(UNKNOWN) or ("::" in name and not name.startswith(KNOWN)):
            self.found.append(Product(self.path[-1], "not counted", name, 0))
            return
        else:
            return
        convolves = packet is torch.ops.aten.convolution
        kind = "convolution" if convolves else "product"
        self.found.append(Product(self.path[-1], kind, _filters(func, args), work))


UNKNOWN = ("_fft_", "_cdist_forward")
"""Operations of torch that multiply and have no formula here, by how their names begin."""

KNOWN = ("prim", "quantized::", "profiler::", "torchvision::", "_quantized::", "onednn::")
"""Libraries whose operations without a formula multiply nothing, or once for each number."""

Formula = Callable[[tuple[Any, ...], Any], int]
"""Multiply-adds of a call from its arguments and its result."""


def _recurrent(input: Tensor, weights: Iterable[Tensor]) -> int:
    """Each step of each image uses each matrix once."""
    steps = input.numel() // input.shape[-1]
    return steps * sum(weight.numel() for weight in weights if weight.ndim == 2)


def _attention(args: tuple[Any, ...], _out: Any) -> int:
    """Queries times keys, and shares times values."""
    query, key, value = args[:3]
    return int(query.numel() * key.shape[-2] + query[..., 0].numel() * value[0, 0].numel())


def _each(weight: Tensor, out: Tensor) -> int:
    """Each number of the result is a sum over one row of the weights."""
    return out.numel() * weight[0].numel()


def _packed(args: tuple[Any, ...], out: Any) -> int:
    """A quantised layer, whose weights are the first thing that its second argument holds."""
    weights = next((one for one in args[1:] if hasattr(one, "unpack")), None)
    return 0 if weights is None else _each(weights.unpack()[0], out)


FORMULAS: dict[str, Formula] = {
    "mkldnn_rnn_layer": lambda args, out: _recurrent(args[0], args[1:5]),
    "_cudnn_rnn": lambda args, out: _recurrent(args[0], args[1]),
    "miopen_rnn": lambda args, out: _recurrent(args[0], args[1]),
    "lstm": lambda args, out: _recurrent(args[0], args[2]),
    "gru": lambda args, out: _recurrent(args[0], args[2]),
    "rnn_tanh": lambda args, out: _recurrent(args[0], args[2]),
    "rnn_relu": lambda args, out: _recurrent(args[0], args[2]),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_attention_math": _attention,
    "_trilinear": lambda args, out: len(args[0]) * args[1].numel(),
    "torchvision::deform_conv2d": lambda args, out: _each(args[1], out),
    "quantized::linear": _packed,
    "quantized::linear_relu": _packed,
    "quantized::linear_dynamic": _packed,
    "quantized::linear_relu_dynamic": _packed,
    "quantized::linear_dynamic_fp16": _packed,
    **{
        f"quantized::conv{axes}d{after}": _packed
        for axes in (1, 2, 3)
        for after in ("", "_relu", "_dynamic")
    },
}
"""Multiply-adds of operations for which torch's own counter has no formula."""


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
