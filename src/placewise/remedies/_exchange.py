"""The layer that replaces another one when a network is mended, and a description of the change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from placewise.layers.blur import BlurPool
from placewise.layers.convolution import Convolution
from placewise.layers.pooling import Pooling
from placewise.paddings import PADDINGS, Widths
from placewise.remedies._layers import (
    AVERAGES,
    CONVOLUTIONS,
    MAXIMA,
    BlurredConvolution,
    MendedPooling,
    Pad,
    TorchConvolution,
    blur_sizes,
)

PADS: dict[type[nn.Module], str] = {
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d), "zeros"),
    **dict.fromkeys((nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d), "reflect"),
    **dict.fromkeys((nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d), "replicate"),
    **dict.fromkeys((nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d), "circular"),
}
HOOKS = "_forward_hooks _forward_pre_hooks _backward_hooks _backward_pre_hooks".split()


@dataclass(frozen=True)
class Remedy:
    """What to do to a network.

    Attributes:
        padding: member of `PADDINGS` for all padded layers; None keeps their own rules.
        blur: whether to blur before each stride.
        align: whether to use the nearest stride-aligned size; no layer is changed for that.

    Example:
        >>> str(Remedy("circular", True)), str(Remedy(align=True)), str(Remedy())
        ('padding circular, blur', 'aligned size', 'nothing')
    """

    padding: str | None = None
    blur: bool = False
    align: bool = False

    def __str__(self) -> str:
        parts = [f"padding {self.padding}"] * bool(self.padding)
        parts += ["blur"] * self.blur + ["aligned size"] * self.align
        return ", ".join(parts) or "nothing"


@dataclass(frozen=True)
class Change:
    """One layer that was changed, or the size of the image.

    Attributes:
        name: dotted path of the layer; "image" for the size.
        before: what it was.
        after: what it is now.
    """

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Unchanged:
    """One layer that the remedy applies to but that could not be changed.

    Attributes:
        name: dotted path of the layer.
        why: the reason.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Exchange:
    """The replacement of a layer.

    Attributes:
        module: the new layer; the old one if only its padding was changed.
        before: what it was.
        after: what it is now.
    """

    module: nn.Module
    before: str
    after: str


def exchanged(module: nn.Module, remedy: Remedy) -> Exchange | str | None:
    """Find the replacement of a layer.

    Args:
        module: of a copy of the network; the replacement gets its parameters, not copies of them.
        remedy: what to do.

    Returns:
        Its replacement; or the reason, in words, why there is none; or None if it needs no change.
    """
    made = _made(module, remedy)
    if not isinstance(made, Exchange):
        return made
    if any(getattr(module, hooks) for hooks in HOOKS):
        return "it has hooks, which its replacement would lose"
    made.module.training = module.training
    return made


def _made(module: nn.Module, remedy: Remedy) -> Exchange | str | None:
    if isinstance(module, CONVOLUTIONS):
        return _convolution(module, remedy)
    if isinstance(module, Convolution | Pooling | BlurPool):
        return _own(module, remedy)
    if isinstance(module, MAXIMA):
        return _maximum(module, remedy)
    if isinstance(module, AVERAGES):
        return _average(module, remedy)
    if type(module) in PADS:
        return _pad(module, remedy)
    return None


def _convolution(module: TorchConvolution, remedy: Remedy) -> Exchange | str | None:
    """A convolution of torch."""
    axes = module.weight.ndim - 2
    kind = CONVOLUTIONS[axes - 1]
    margins = _margins(module)
    padded, strides = any(map(any, margins)), max(module.stride) > 1
    blurs = remedy.blur and strides
    padding = remedy.padding if remedy.padding and (padded or blurs) else module.padding_mode
    if not blurs and padding == module.padding_mode:
        return None
    if parametrize.is_parametrized(module):
        return "its weight is computed before each run (parametrized)"
    if type(module).forward is not kind.forward:
        return f"{type(module).__name__} has its own forward"
    sizes = blur_sizes(module.kernel_size, module.stride) if blurs else None
    with torch.random.fork_rng(devices=[]):
        if sizes:
            made: Convolution = BlurredConvolution.blurred(module, padding, sizes)
        else:
            made = Convolution.of(module, padding)
    if made.windows.rule.keeps_size or not padded:
        made.windows.widths = list(margins)
    for name, parameter in module.named_parameters():
        setattr(made, name, parameter)
    before = _said(module.kernel_size, module.stride, module.padding_mode, margins)
    after = _said(module.kernel_size, module.stride, padding, made.windows.widths, sizes)
    return Exchange(made, before, after)


def _margins(module: TorchConvolution) -> list[tuple[int, int]]:
    """(before, after) of each axis."""
    if module.padding == "valid":
        return [(0, 0)] * len(module.kernel_size)
    if module.padding == "same":
        sums = [d * (k - 1) for k, d in zip(module.kernel_size, module.dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in sums]
    return [(int(side), int(side)) for side in module.padding]


def _own(module: Convolution | Pooling | BlurPool, remedy: Remedy) -> Exchange | str | None:
    """A layer of placewise, which takes any rule; only its rule is changed."""
    windows = module.windows
    blurred = isinstance(module, BlurPool | BlurredConvolution)
    average = isinstance(module, Pooling) and module.kind == "average"
    if remedy.blur and max(windows.stride) > 1 and not (blurred or average):
        return "only layers of torch.nn get a blur; use placewise.layers.blur here"
    if (
        remedy.padding is None
        or remedy.padding == windows.padding_mode
        or not any(map(any, windows.widths))
    ):
        return None
    before, rule = windows.padding_mode, PADDINGS[remedy.padding](module.in_channels)
    if not (rule.keeps_size and windows.rule.keeps_size):
        windows.widths = [rule.margins(extent) for extent in windows.extents]
    windows.padding_mode, windows.rule = remedy.padding, rule
    return Exchange(module, f"padding {before}", f"padding {remedy.padding}")


def _maximum(module: Any, remedy: Remedy) -> Exchange | str | None:
    """A maximum of torch, which ignores what is beyond the border unless a rule is asked for."""
    size, stride, margins = _pooling(module)
    padded, strides = any(map(any, margins)), max(stride) > 1
    blurs = remedy.blur and strides
    asked = remedy.padding not in (None, "zeros", "partial") and (padded or blurs)
    if not asked and not blurs:
        return None
    if module.ceil_mode or module.return_indices or max(_each(module.dilation, len(size))) > 1:
        return "its sizes are rounded up, it returns indices, or its windows are dilated"
    padding = str(remedy.padding) if asked else "partial"
    widths = _margins_by(padding, size, margins)
    sizes = blur_sizes(size, stride) if blurs else None
    made = MendedPooling("maximum", size, stride, widths, padding, sizes)
    before = _said(size, stride, "ignored", margins)
    return Exchange(made, before, _said(size, stride, _ignored(padding), widths, sizes))


def _average(module: Any, remedy: Remedy) -> Exchange | str | None:
    """An average of torch, which is a blur already, so that only its padding is changed."""
    size, stride, margins = _pooling(module)
    own = "zeros" if module.count_include_pad else "partial"
    if remedy.padding in (None, own) or not any(map(any, margins)):
        return None
    if module.ceil_mode or getattr(module, "divisor_override", None):
        return "its sizes are rounded up, or it divides by its own number"
    padding = str(remedy.padding)
    widths = _margins_by(padding, size, margins)
    made = MendedPooling("average", size, stride, widths, padding)
    before = _said(size, stride, _ignored(own), margins)
    return Exchange(made, before, _said(size, stride, _ignored(padding), widths))


def _pooling(module: Any) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Size, stride and margins of a pooling of torch, for each axis."""
    axes = next(n for n in (1, 2, 3) if isinstance(module, (MAXIMA[n - 1], AVERAGES[n - 1])))
    size = _each(module.kernel_size, axes)
    margins = [(side, side) for side in _each(module.padding, axes)]
    return size, _each(module.stride, axes), margins


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,) * axes
    return tuple(value) * (axes if len(value) == 1 else 1)


def _margins_by(padding: str, size: Sequence[int], margins: Widths) -> Widths:
    """The margins of a layer by another rule; its own if that rule keeps sizes."""
    rule = PADDINGS[padding]()
    if rule.keeps_size or not any(map(any, margins)):
        return margins
    return [rule.margins(side) for side in size]


def _pad(module: Any, remedy: Remedy) -> Exchange | str | None:
    """A padding layer of torch."""
    before = PADS[type(module)]
    if remedy.padding in (None, before):
        return None
    rule = PADDINGS[str(remedy.padding)]()
    if rule.renormalises or not rule.keeps_size:
        return f"'{remedy.padding}' depends on the windows that follow, and this layer only pads"
    sides = tuple(int(side) for side in module.padding)
    pairs = list(zip(sides[::2], sides[1::2], strict=True))[::-1]
    after = str(remedy.padding)
    made = Pad(after, pairs)
    return Exchange(made, _margin_said(before, pairs), _margin_said(after, pairs))


def _ignored(padding: str) -> str:
    return "ignored" if padding == "partial" else padding


def _said(
    size: Sequence[int],
    stride: Sequence[int],
    padding: str,
    margins: Widths,
    blur: Sequence[int] | None = None,
) -> str:
    """A layer in words: window, padding, blur, stride."""
    parts = [f"window {_times(size)}", _margin_said(padding, margins)]
    if blur:
        parts.append(f"blur {_times(blur)}")
    if max(stride) > 1:
        parts.append(f"stride {_times(stride)}")
    return ", ".join(part for part in parts if part)


def _margin_said(padding: str, margins: Widths) -> str:
    if not any(map(any, margins)):
        return ""
    sides = [str(a) if a == b else f"{a}+{b}" for a, b in margins]
    return f"{padding} {_times(sides)}"


def _times(sides: Sequence[object]) -> str:
    return str(sides[0]) if len(set(sides)) == 1 else "×".join(map(str, sides))
