"""Run a network on crops of images and record the outputs of its layers.

Networks are run inside `placewise.undisturbed`, which leaves them unchanged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from placewise.errors import SettingsError, first_line
from placewise.graph import tensors_of
from placewise.wording import did_you_mean

T = TypeVar("T")

OUTPUT = ""
"""The layer that is the network's own output; `named_modules` uses the same name."""


class Program(nn.Module):
    """An exported program of one image and one tensor, as a module for any number of images.

    Args:
        program: what `torch.export` returned.

    Example:
        >>> program = torch.export.export(nn.Conv1d(1, 1, 3), (torch.zeros(1, 1, 8),))
        >>> Program(program)(torch.zeros(5, 1, 8)).shape
        torch.Size([5, 1, 6])
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self.module = program.module(check_guards=False)
        inputs: tuple[torch.Tensor, ...] = (program.example_inputs or ((),))[0]
        self.batch = len(inputs[0]) if inputs else 1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The program's output for batches of its own size; the last batch is filled up."""
        found = []
        for part in torch.split(images, self.batch):
            missing = self.batch - len(part)
            full = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])])
            found.append(self.module(full)[: len(part)])
        return torch.cat(found)


# --- images and crops ----------------------------------------------------------------------------


def as_input(model: nn.Module, images: Tensor, least: int = 1) -> Tensor:
    """Images (N, C, *space) on the device and in the type of a network.

    Args:
        model: any network.
        images: floating-point tensor.
        least: number of images that are needed.

    Raises:
        SettingsError: that is not a batch of at least so many signals, images or volumes.

    Example:
        >>> as_input(nn.Conv1d(1, 1, 1).double(), torch.zeros(1, 1, 5)).dtype
        torch.float64
    """
    shape = tuple(images.shape)
    if not images.is_floating_point() or images.ndim not in (3, 4, 5) or 0 in shape:
        raise SettingsError(
            f"the images are a tensor of {images.dtype} and shape {shape}; give a floating-point "
            "one of shape (images, channels, *space) with 1 to 3 axes of space"
        )
    if len(images) < least:
        raise SettingsError(f"{len(images)} images are too few; give at least {least}")
    tensors = itertools.chain(model.parameters(), model.buffers())
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), images)
    return images.detach().to(like.device, like.dtype)


def crop(offset: Sequence[int], size: Sequence[int]) -> tuple[Any, ...]:
    """Index of a crop of images (..., *space).

    Example:
        >>> crop((1,), (2,))
        (Ellipsis, slice(1, 3, None))
    """
    return (..., *(slice(low, low + n) for low, n in zip(offset, size, strict=True)))


def room(
    images: Tensor, size: Sequence[int], least: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Greatest offset per axis of a crop of images (N, C, *space).

    Raises:
        SettingsError: along some axis it is below `least`, which is 0 by default.

    Example:
        >>> room(torch.zeros(1, 1, 10), (8,), (1,))
        (2,)
    """
    space = tuple(images.shape[2:])
    least = (0,) * len(size) if least is None else least
    if len(size) != len(space) or len(least) != len(space) or min(size) < 1:
        raise SettingsError(
            f"crops of {tuple(size)} that move by {tuple(least)} in images of {space}: give one "
            "whole number of pixels above 0 per axis"
        )
    needed = tuple(map(sum, zip(size, least, strict=True)))
    if any(n < need for n, need in zip(space, needed, strict=True)):
        raise SettingsError(
            f"the images have {space} pixels; crops of {tuple(size)} that move by {tuple(least)} "
            f"need at least {needed}: give larger images or a smaller size"
        )
    return tuple(n - side for n, side in zip(space, size, strict=True))


# --- outputs of layers ---------------------------------------------------------------------------


def _first_tensor(output: object) -> Tensor | None:
    """The first dense floating-point tensor of an output, in the order of its entries."""
    return next((one for one in tensors_of(output) if _is_dense(one)), None)


def _is_dense(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_nested


def first_tensor(output: object) -> Tensor:
    """The first floating-point tensor of a network's output, in the order of its entries.

    Looks into tuples, lists, dictionaries and dataclasses (and so into outputs of Transformers).

    Raises:
        SettingsError: there is none.

    Example:
        >>> first_tensor({"out": (None, torch.ones(2))})
        tensor([1., 1.])
    """
    found = _first_tensor(output)
    if found is None:
        raise SettingsError(
            f"the network's output is of type {type(output).__name__} and contains no "
            "floating-point tensor; wrap the network so that it returns the tensor to measure"
        )
    return found


@contextmanager
def tapped(
    model: nn.Module, names: Sequence[str], take: Callable[[Tensor], T]
) -> Iterator[dict[str, T]]:
    """Record the outputs of submodules with hooks, which are removed afterwards in any case.

    Args:
        model: any network.
        names: of submodules, as `named_modules` gives them.
        take: what to keep of a layer's output. Clone it, or else a ReLU that works in place may
            change it.

    Yields:
        A dictionary that each run fills: name → what was taken of the layer's first tensor, in
        the order in which layers finish. For a layer that runs twice, the last run counts.

    Raises:
        SettingsError: there is no such submodule.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.ReLU())
        >>> with tapped(net, ["0"], Tensor.clone) as seen:
        ...     _ = net(torch.ones(1, 1, 2))
        >>> seen
        {'0': tensor([[1., 1.]])}
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if name not in modules:
            raise SettingsError(
                f"the network has no layer '{name}'; choose a name from its named_modules(), or '' "
                f"for its output.{did_you_mean(name, modules, 3)}"
            )
        if isinstance(modules[name], torch.jit.ScriptModule):
            raise SettingsError(
                f"layer '{name}' is compiled by TorchScript, which does not show the outputs of "
                "layers; give the network as it was before torch.jit.script"
            )
    seen: dict[str, T] = {}
    handles = []
    try:
        for name in names:
            handles.append(modules[name].register_forward_hook(_listener(seen, name, take)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _listener(
    seen: dict[str, T], name: str, take: Callable[[Tensor], T]
) -> Callable[[nn.Module, Any, Any], None]:
    def listen(_module: nn.Module, _inputs: object, output: object) -> None:
        tensor = _first_tensor(output)
        if tensor is not None:
            seen.pop(name, None)
            seen[name] = take(tensor)

    return listen


def run(model: nn.Module, images: Tensor, names: Sequence[str] = (OUTPUT,)) -> dict[str, Tensor]:
    """Run a network once and return copies of the outputs of layers.

    Args:
        model: a network inside `undisturbed`.
        images: (N, C, *space); the network works on a copy.
        names: of submodules; '' is the network's own output.

    Raises:
        SettingsError: the network fails on these images, or the output of a layer is nothing that
            can be measured.

    Example:
        >>> run(nn.ReLU(), torch.tensor([[-1.0, 2.0]]))[""]
        tensor([[0., 2.]])
    """
    with tapped(model, [name for name in names if name != OUTPUT], Tensor.clone) as seen:
        output = forward(model, images)
    if OUTPUT in names:
        seen[OUTPUT] = measurable(output, len(images))
    for name in names:
        if name not in seen:
            raise SettingsError(
                f"layer '{name}' returned no tensor when the network ran; choose another layer"
            )
        if name != OUTPUT:
            _check(seen[name], len(images), f"layer '{name}'")
    return seen


def measurable(output: object, count: int) -> Tensor:
    """The tensor of a network's raw output that is measured.

    Raises:
        SettingsError: there is none, or it has no entry for each of so many images, or is empty or
            not finite.

    Example:
        >>> measurable({"out": torch.zeros(2, 1)}, 2).shape
        torch.Size([2, 1])
    """
    found = first_tensor(output)
    _check(found, count, "the network's output")
    return found


def _check(output: Tensor, count: int, what: str) -> None:
    """Refuse an output without an entry for each image, or without finite numbers."""
    if not output.ndim or len(output) != count:
        raise SettingsError(
            f"{what} has the shape {tuple(output.shape)} for {count} image{'s'[: count - 1]}; only "
            "tensors whose first axis is that of the images are measured: wrap the network so "
            "that it returns one"
        )
    if not output.numel():
        raise SettingsError(f"{what} is empty: its shape is {tuple(output.shape)}")
    if output.is_meta:
        raise SettingsError(f"{what} has no values: it is on the meta device")
    low, high = output.detach().aminmax()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SettingsError(f"{what} contains NaN or infinite numbers")


_ran: ContextVar[Callable[[Tensor], None] | None] = ContextVar("_ran", default=None)


@contextmanager
def reporting(ran: Callable[[Tensor], None]) -> Iterator[None]:
    """Call a function with the images after each run of a network.

    Example:
        >>> counts = []
        >>> with reporting(lambda images: counts.append(len(images))):
        ...     _ = run(nn.ReLU(), torch.zeros(3, 1, 2))
        >>> counts
        [3]
    """
    token = _ran.set(ran)
    try:
        yield
    finally:
        _ran.reset(token)


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Orders of numbers in memory in which a processor convolves faster, by the axes of a batch."""

_last: ContextVar[tuple[bool, bool]] = ContextVar("_last", default=(False, True))


@contextmanager
def channels_last(*, use: bool = True, strictly: bool = False) -> Iterator[None]:
    """Give networks their images with the channels of a pixel side by side in memory.

    The numbers are the same, and outputs differ by rounding only; but a network that calls `view`
    on a map fails, and one that reads memory itself gives others: see `_faster.fastest`.

    Args:
        use: whether to.
        strictly: whether a network that fails so is not run once more on images as usual.

    Example:
        >>> with channels_last():
        ...     forward(nn.Identity(), torch.ones(1, 2, 3, 3)).stride()
        (18, 1, 6, 2)
    """
    token = _last.set((use, strictly))
    try:
        yield
    finally:
        _last.reset(token)


def forward(model: nn.Module, images: Tensor) -> object:
    """A network's raw output on a copy of images.

    This and `gradient` are the only places where the user's code runs. They turn whatever it
    raises into an error of ours, so that any other exception is a mistake of our own.

    Raises:
        SettingsError: the network fails on these images.

    Example:
        >>> forward(nn.Identity(), torch.ones(1))
        tensor([1.])
    """
    kept, (last, strictly) = torch.preserve_format, _last.get()
    layout = CHANNELS_LAST.get(images.ndim, kept) if last else kept
    try:
        output: object = model(images.clone(memory_format=layout))
    except SettingsError:
        raise
    except Exception as error:
        if (
            layout is not kept and not strictly
        ):  # e.g. a view of a map that had one place in the size tried before
            with channels_last(use=False):
                return forward(model, images)
        raise SettingsError(
            f"the network fails on images of shape {tuple(images.shape)}: {first_line(error)}; "
            "give images of a size and with channels that it takes"
        ) from error
    if (ran := _ran.get()) is not None:
        ran(images)
    return output


def gradient(total: Tensor, leaf: Tensor, *, again: bool) -> Tensor:
    """The gradient of a sum of outputs by the images.

    Args:
        total: a single number.
        leaf: the images from which it was computed.
        again: whether other gradients of the same run are to follow.

    Raises:
        SettingsError: the network cannot be differentiated by the images.

    Example:
        >>> leaf = torch.ones(2, requires_grad=True)
        >>> gradient((3 * leaf).sum(), leaf, again=False)
        tensor([3., 3.])
    """
    why = "nothing connects the output with the image"
    try:
        (found,) = torch.autograd.grad(total, leaf, retain_graph=again, allow_unused=True)
    except Exception as error:
        found, why = None, first_line(error)
    if found is None:
        raise SettingsError(
            f"the network cannot be differentiated by the image: {why}; choose a layer before a "
            "detach or an argmax"
        )
    _check(found, len(leaf), "the gradient by the image")
    return found


def batches(
    model: nn.Module, images: Tensor, names: Sequence[str] = (OUTPUT,), batch_size: int = 8
) -> Iterator[dict[str, Tensor]]:
    """Outputs of layers, batch by batch, without gradients.

    Example:
        >>> [seen[""].shape[0] for seen in batches(nn.ReLU(), torch.ones(5, 1, 3), batch_size=2)]
        [2, 2, 1]
    """
    for start in range(0, len(images), batch_size):
        with torch.no_grad():
            seen = run(model, images[start : start + batch_size], names)
        yield {name: output.detach() for name, output in seen.items()}


def outputs(model: nn.Module, images: Tensor, layer: str = OUTPUT, batch_size: int = 8) -> Tensor:
    """(N, ...) outputs of one layer in float64 on the CPU, without gradients.

    Example:
        >>> outputs(nn.ReLU(), torch.tensor([[-1.0], [2.0]])).tolist()
        [[0.0], [2.0]]
    """
    parts = [seen[layer].double().cpu() for seen in batches(model, images, (layer,), batch_size)]
    if len({part.shape[1:] for part in parts}) > 1:
        raise SettingsError(
            "the shape of the output depends on what the images show, so that outputs cannot be "
            "compared; wrap the network so that it returns a tensor of one shape"
        )
    return torch.cat(parts)


# --- layers that give maps -----------------------------------------------------------------------

Strides = tuple[Fraction, ...]
"""Pixels of the image per cell of a map, for each axis; below 1 if the map is the finer one."""

MapOf = tuple[str, tuple[int, ...]]
"""A map: the name of the submodule that returns it, and its sides."""

Layers = Sequence[str] | Mapping[str, Sequence[int | Fraction]] | None
"""Names of submodules, or names with the stride of each per axis, or None to find them."""


def find_layers(
    model: nn.Module,
    shape: Sequence[int],
    layers: Layers = None,
    known: Mapping[MapOf, Strides] = MappingProxyType({}),
) -> dict[str, Strides]:
    """Layers that give a map, with their strides.

    The network runs on an empty image of this size and on a larger one. What does not grow is no
    map: a vector, a grid of fixed size, channels in the last dimension. A map that grows by m cells
    for n pixels has the stride that was counted, or else n / m, to the nearest whole number or to
    one over a whole number. If the network refuses the larger image, only maps whose stride was
    counted are taken. If nothing was counted, the stride is then size / cells, and only what has
    the same stride along all axes is a map.

    n is at least 64 (32 for a volume) and at least the size or, where all strides were counted, the
    largest of them.

    Args:
        model: a network inside `undisturbed`.
        shape: (C, *space) of one image.
        layers: names to measure; a mapping gives the strides and nothing is measured; None
            chooses the last layer before each change of the map's size, in the order in which
            layers finish, and of each size the first and the last of these.
        known: strides that were counted.

    Returns:
        Name → stride per axis.

    Raises:
        SettingsError: no layer, or not a layer that is named, gives a map.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.MaxPool1d(2), nn.Conv1d(1, 1, 1))
        >>> {name: int(stride) for name, (stride,) in find_layers(net, (1, 32)).items()}
        {'0': 1, '': 2}
    """
    if isinstance(layers, Mapping):
        return {name: tuple(map(Fraction, strides)) for name, strides in layers.items()}
    names = _observable(model) if layers is None else layers
    sizes = map_sizes(model, tuple(shape), names)
    counted = {name: known[name, sizes[name]] for name in sizes if (name, sizes[name]) in known}
    strides = _strides(model, tuple(shape), sizes, counted if known else None)
    missing = [name for name in layers or () if name not in strides]
    if missing or not strides:
        raise SettingsError(
            f"{f'layer {missing[0]!r}' if missing else 'no layer'} gives a map that grows with "
            f"the image; choose layers whose output is (N, C, {len(shape) - 1} axes of space)"
        )
    if layers is not None:
        return {name: strides[name] for name in layers}
    return {name: strides[name] for name in _stages({name: sizes[name] for name in strides})}


def _observable(model: nn.Module) -> tuple[str, ...]:
    """Names of the submodules whose outputs can be seen, and of the output."""
    modules = dict(model.named_modules(remove_duplicate=False))
    seen = [name for name, one in modules.items() if not isinstance(one, torch.jit.ScriptModule)]
    return tuple(dict.fromkeys([OUTPUT, *seen]))


def map_sizes(
    model: nn.Module, shape: tuple[int, ...], names: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Sizes of outputs (1, C, *size), in the order in which layers finish."""
    image = as_input(model, torch.zeros(1, *shape))
    inner = [name for name in names if name != OUTPUT]
    with torch.no_grad(), tapped(model, inner, lambda tensor: tuple(tensor.shape)) as seen:
        output = _first_tensor(forward(model, image))
    if OUTPUT in names and output is not None:
        seen[OUTPUT] = tuple(output.shape)
    maps = {name: found for name, found in seen.items() if len(found) == len(shape) + 1}
    return {name: found[2:] for name, found in maps.items() if found[0] == 1}


def _strides(
    model: nn.Module,
    shape: tuple[int, ...],
    sizes: dict[str, tuple[int, ...]],
    counted: Mapping[str, Strides] | None,
) -> dict[str, Strides]:
    """Strides of the layers whose output is a map."""
    large = {name: size for name, size in sizes.items() if max(size) > 1}
    if not large:
        return {}
    least = 64 if len(shape) < 4 else 32
    steps = [(counted or {}).get(name, shape[1:]) for name in large]
    pixels = [math.ceil(max(least, *axis) / 32) * 32 for axis in zip(*steps, strict=True)]
    try:
        larger = (shape[0], *map(sum, zip(shape[1:], pixels, strict=True)))
        grown = map_sizes(model, larger, tuple(large))
    except SettingsError:
        if counted is not None:
            return {name: counted[name] for name in large if name in counted}
        whole = {name: tuple(map(_stride, shape[1:], size)) for name, size in large.items()}
        return {name: stride for name, stride in whole.items() if len(set(stride)) == 1}
    cells = {name: np.subtract(grown[name], size) for name, size in large.items() if name in grown}
    found = {
        name: tuple(map(_stride, pixels, map(int, more)))
        for name, more in cells.items()
        if (more > 0).all()
    }
    return found | {name: counted[name] for name in found if counted and name in counted}


def _stride(pixels: int, cells: int) -> Fraction:
    return (
        Fraction(round(pixels / cells)) if pixels >= cells else 1 / Fraction(round(cells / pixels))
    )


def _stages(sizes: dict[str, tuple[int, ...]]) -> list[str]:
    """The last name of each run of equal sizes; of each size the first and the last of these."""
    runs = [list(run)[-1] for _, run in itertools.groupby(sizes, key=lambda name: sizes[name])]
    ends: dict[tuple[int, ...], list[str]] = {}
    for name in runs:
        ends.setdefault(sizes[name], []).append(name)
    return [name for name in runs if name in (ends[sizes[name]][0], ends[sizes[name]][-1])]


def common_shift(layers: Mapping[str, Strides]) -> tuple[int, ...]:
    """Pixels per axis of the smallest shift that is a whole number of cells in each layer.

    Example:
        >>> common_shift({"a": (Fraction(4),), "b": (Fraction(6),), "up": (Fraction(1, 2),)})
        (12,)
    """
    axes = zip(*layers.values(), strict=True)
    return tuple(math.lcm(*(stride.numerator for stride in axis)) for axis in axes)
