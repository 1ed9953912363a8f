"""From an example of what a network takes to a network that takes one image.

Everything that follows, runs or measures a network gives it images (N, channels, *space), and
nothing else. `feed` makes such a network of any other: of one with several inputs, without an axis
of channels, with channels last, or of whole numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import TreeSpec, keystr, tree_flatten, tree_flatten_with_path

from placewise.errors import SettingsError
from placewise.graph.capture import image_shape
from placewise.graph.noise import noise
from placewise.undisturbed import uncompiled, undisturbed

Channels = Literal["first", "last", "none"]
"""Where the channels are in a batch: (N, C, *space), (N, *space, C) or (N, *space)."""

ORDERS: dict[Channels, str] = {
    "first": "channels first",
    "last": "channels last",
    "none": "without channels",
}

FEW = 4
"""Channels that are taken for such if they come last: grey, with transparency, colour, both."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a network takes: an image, and constants.

    Attributes:
        leaves: all inputs in order; the image among them is replaced by what is audited.
        spec: how they are nested in (args, kwargs).
        image: number of the leaf that is the image.
        channels: where its channels are.
        shape: (channels, *space) of the image.
        names: of the leaves, for messages.

    Example:
        >>> found = Inputs.of((torch.zeros(2, 32, 24, 3), torch.zeros(2)))
        >>> found.shape, found.said
        ((3, 32, 24), 'The image is input 0 of 2 (2 × 32 × 24 × 3, channels last); the others are constants.')
    """  # noqa: E501

    leaves: tuple[Any, ...]
    spec: TreeSpec
    image: int
    channels: Channels
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        example: object,
        *,
        axes: int | None = None,
        size: Sequence[int] = (),
        in_channels: int | None = None,
    ) -> Inputs:
        """Read an example of what a network takes.

        The image is the first floating-point tensor that can be read as a batch of signals, images
        or volumes; if there is none, the first of whole numbers. Channels are first, unless the
        last dimension alone is one of at most 4; a batch of one more dimension has none.

        Args:
            example: a tensor; a tuple or list of inputs; or a dictionary of inputs by name.
            axes: of space that the image has.
            size: its sides; one number holds for all axes.
            in_channels: its channels.

        Raises:
            SettingsError: no tensor can be read as such an image.

        Example:
            >>> Inputs.of(torch.zeros(1, 16000)).shape, Inputs.of(torch.zeros(1, 50, 80)).shape
            ((1, 16000), (50, 80))
            >>> Inputs.of(torch.zeros(1, 50, 80), in_channels=80).shape
            (80, 50)
        """
        if isinstance(example, Mapping):
            given: tuple[Any, Any] = ((), dict(example))
        else:
            given = (tuple(example) if isinstance(example, tuple | list) else (example,), {})
        leaves, spec = tree_flatten(given)
        paths = [path for path, _ in tree_flatten_with_path(given)[0]]
        for number in _in_order(leaves):
            for channels, shape in readings(leaves[number]):
                if _fits(shape, axes, tuple(size), in_channels):
                    names = tuple(keystr(path[1:])[1:-1] for path in paths)
                    return cls(tuple(leaves), spec, number, channels, shape, names)
        raise SettingsError(
            f"the example has {_tensors_said(leaves)}, and none of them is a batch "
            f"{_asked_said(axes, tuple(size), in_channels)}; give the inputs of the network as one "
            "tensor, a tuple or a dictionary, the image as (batch, channels, *space), (batch, "
            "*space, channels) or (batch, *space)"
        )

    @classmethod
    def alone(cls, shape: Sequence[int], channels: Channels) -> Inputs:
        """An image (channels, *space) and nothing else, with its channels in this place."""
        leaves, spec = tree_flatten(((None,), {}))
        return cls(tuple(leaves), spec, 0, channels, tuple(shape))

    @property
    def whole_numbers(self) -> bool:
        """Whether the image consists of whole numbers: classes or tokens."""
        own = self.leaves[self.image]
        return isinstance(own, Tensor) and not own.is_floating_point()

    @property
    def read(self) -> bool:
        """Whether they were read off an example; else the image is all that is known of."""
        return isinstance(self.leaves[self.image], Tensor)

    @property
    def said(self) -> str:
        """What was taken for the image, in a sentence; empty if that is all and as always."""
        own, order = self.leaves[self.image], ORDERS[self.channels]
        if len(self.leaves) == 1:
            return "" if self.channels == "first" else f"The network takes images {order}."
        sides = " × ".join(map(str, own.shape))
        name = self.names[self.image]
        what = f"input {name} of {len(self.leaves)}" if name.isdecimal() else f"the input {name}"
        return f"The image is {what} ({sides}, {order}); the others are constants."

    @property
    def canonical(self) -> Tensor:
        """The first image of the example as (1, channels, *space), in floating point."""
        own: Tensor = self.leaves[self.image][:1].detach()
        if self.channels == "last":
            own = own.movedim(-1, 1)
        found = own.unsqueeze(1) if self.channels == "none" else own
        return found if found.is_floating_point() else found.to(torch.float32)

    def given(self, images: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments for a batch of images (N, channels, *space)."""
        own = self.leaves[self.image]
        batch = len(own) if isinstance(own, Tensor) else 1
        held = [_constant(leaf, len(images), batch, images.device) for leaf in self.leaves]
        shown = images
        if self.channels != "first":
            shown = images.squeeze(1) if self.channels == "none" else images.movedim(1, -1)
        held[self.image] = shown.round().to(own.dtype) if self.whole_numbers else shown
        args, kwargs = torch.utils._pytree.tree_unflatten(held, self.spec)
        return args, kwargs


def readings(leaf: object) -> Iterator[tuple[Channels, tuple[int, ...]]]:
    """How a batch can be read, with the (channels, *space) of each way, the likeliest first.

    Example:
        >>> list(readings(torch.zeros(1, 32, 24)))
        [('first', (32, 24)), ('last', (24, 32)), ('none', (1, 32, 24))]
        >>> next(readings(torch.zeros(1, 32, 24, dtype=torch.long)))
        ('none', (1, 32, 24))
    """
    if not isinstance(leaf, Tensor) or not 2 <= leaf.ndim <= 5 or 0 in leaf.shape:
        return
    shape = tuple(leaf.shape[1:])
    found: list[tuple[Channels, tuple[int, ...]]] = []
    if len(shape) > 1:
        found = [("first", shape), ("last", (shape[-1], *shape[:-1]))]
        if shape[-1] <= FEW < shape[0]:
            found.reverse()
    if len(shape) < 4:
        classes = len(shape) == 2 and not leaf.is_floating_point()
        found.insert(0 if classes else len(found), ("none", (1, *shape)))
    yield from found


def _in_order(leaves: Sequence[Any]) -> list[int]:
    """Numbers of the tensors that could be an image, floating-point ones first."""
    kinds = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    tensors = [(n, leaf) for n, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    whole = [n for n, leaf in tensors if leaf.dtype in kinds]
    return [n for n, leaf in tensors if leaf.is_floating_point()] + whole


def _fits(
    shape: tuple[int, ...], axes: int | None, size: tuple[int, ...], in_channels: int | None
) -> bool:
    """Whether (channels, *space) is what was asked for."""
    own, *space = shape
    sides = size * len(space) if len(size) == 1 else size
    return (
        axes in (None, len(space))
        and in_channels in (None, own)
        and (not sides or sides == tuple(space))
    )


def _tensors_said(leaves: Sequence[Any]) -> str:
    shapes = [f"{tuple(t.shape)} {str(t.dtype)[6:]}" for t in leaves if isinstance(t, Tensor)]
    return f"the tensors {', '.join(shapes)}" if shapes else "no tensor"


def _asked_said(axes: int | None, size: tuple[int, ...], in_channels: int | None) -> str:
    what = {None: "of signals, images or volumes", 1: "of signals", 2: "of images"}
    found = what.get(axes, "of volumes")
    if size:
        found += f" of size {' × '.join(map(str, size))}"
    return f"{found} with {in_channels} channels" if in_channels else found


def _constant(leaf: Any, batch: int, own: int, device: torch.device) -> Any:
    """An input that is no image; what the example has for each image, for so many images."""
    if not isinstance(leaf, Tensor):
        return leaf
    leaf = leaf.detach().to(device)
    if not leaf.ndim or len(leaf) != own or batch == own or (own == 1 and leaf.ndim == 1):
        return leaf
    return leaf[:1].expand(batch, *leaf.shape[1:])


class _Feed:
    """The forward of a network that takes one image."""

    def __init__(self, forward: Any, inputs: Inputs) -> None:
        self.forward, self.inputs = forward, inputs

    def run(self, image: Tensor) -> Any:
        """The network's output for images (N, channels, *space)."""
        args, kwargs = self.inputs.given(image)
        return self.forward(*args, **kwargs)


class _Whole(nn.Module):
    """A network that cannot be copied, as a submodule."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


def feed(model: nn.Module, inputs: Inputs | None) -> nn.Module:
    """A network that takes one image, and gives it to another with constants for the rest.

    It has the submodules, parameters and names of the other, and shares them with it.

    Args:
        model: any network; it is left unchanged.
        inputs: what it takes; None if that is one image.

    Example:
        >>> class Shifted(nn.Module):
        ...     def forward(self, image, by):
        ...         return image + by
        >>> one = feed(Shifted(), Inputs.of((torch.zeros(1, 1, 2), torch.tensor(3.0))))
        >>> one(torch.zeros(1, 1, 2)).tolist()
        [[[3.0, 3.0]]]
    """
    if inputs is None:
        return model
    model = uncompiled(model)
    if isinstance(model, torch.jit.ScriptModule):
        made: nn.Module = _Whole(model)
        forward: Any = model
    else:
        made = copy.copy(model)
        own = vars(model).get("forward")
        forward = type(model).forward.__get__(made) if own is None else own
    vars(made)["forward"] = _Feed(forward, inputs).run
    return made


def taken(model: nn.Module, shape: Sequence[int]) -> Inputs | None:
    """How a network takes an image that it does not take as (N, channels, *space).

    It is run once on noise, and then in other orders until it runs.

    Args:
        model: any network; it is left unchanged.
        shape: (channels, *space) of an image.

    Returns:
        The first order in which it runs; None if that is the usual one, or if there is none.

    Example:
        >>> waves = nn.Sequential(nn.Unflatten(1, (1, -1)), nn.Conv1d(1, 1, 3))  # of (N, samples)
        >>> taken(waves, (1, 8)).channels, taken(nn.Conv1d(1, 1, 3), (1, 8))
        ('none', None)
    """
    orders: list[Channels] = ["first", "none", "last"] if shape[0] == 1 else ["first", "last"]
    image = noise(model, shape)
    for channels in orders:
        inputs = Inputs.alone(shape, channels)
        try:
            with undisturbed(model), torch.no_grad():
                feed(model, inputs)(image)
        except Exception:  # any error means that it does not take this
            continue
        return None if channels == "first" else inputs
    return None


def fed(
    model: nn.Module | ExportedProgram,
    shape: Sequence[int] | None,
    in_channels: int | None = None,
    example: object = None,
) -> tuple[nn.Module | ExportedProgram, tuple[int, ...], Inputs | None]:
    """The network as one that takes one image, the shape of that, and how its inputs are made.

    Args:
        model: any network, or an exported program.
        shape: (channels, *space) of the image, or (*space) with `in_channels`; None: that of the
            example.
        in_channels: channels of the image.
        example: of what the network takes, see `Inputs`; None: one batch (N, channels, *space).

    Raises:
        SettingsError: the shape or the example cannot be.

    Example:
        >>> fed(nn.Bilinear(8, 8, 2), None, example=(torch.zeros(1, 8), torch.zeros(1, 8)))[1]
        (1, 8)
    """
    if example is None:
        return model, image_shape(shape, in_channels), None
    if not isinstance(model, nn.Module):
        raise SettingsError(
            "an exported program takes one tensor, which it knows; leave the example out"
        )
    if shape is None:
        inputs = Inputs.of(example, in_channels=in_channels)
    else:
        depth, *space = image_shape(shape, in_channels)
        inputs = Inputs.of(example, axes=len(space), size=space, in_channels=depth)
    return feed(model, inputs), inputs.shape, inputs
