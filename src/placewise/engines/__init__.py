"""Engines: what computes backbone and head when images are predicted. Each file is a member.

An engine takes what the modules of a network take, padded batches in 0..1, and gives what the head
gives, as float32. So everything else about a prediction stays the same, whatever the task.

| engine | what it is | precision |
|---|---|---|
| `torch` | the modules, with their batch norms folded into the convolutions | float32, bfloat16 |
| `onnxruntime` | the network as a file, run by ONNX Runtime | float32 |
| `openvino` | the same file, run by OpenVINO | float32, bfloat16, int8 |
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

# not torch: a member of the family has its name
from torch import Tensor, cat, inference_mode, nn, zeros

from placewise.backbones import BACKBONES
from placewise.engines._int8 import write_int8
from placewise.errors import SettingsError
from placewise.family import Family
from placewise.geometry import Size
from placewise.heads import HEADS
from placewise.model import Network
from placewise.onnx_files import UnwritableError, Written, as_onnx, metadata_in

__all__ = ["ENGINES", "INT8", "Engine", "FileEngine", "Plain", "write_int8", "write_network"]

INT8 = "int8"
"""The precision that needs a file of its own, made for images; taken only when asked for."""

LONGEST_SIDE = 2**14
"""Multiples of the network's along an axis that a written network takes, at most."""

SMALLEST = "smallest"
"""What the metadata of a file call the sides of the smallest images that it takes."""


class Engine(ABC):
    """Computes the raw output of a network for padded batches, from several threads at once.

    A member is built with `(network, file, precision, threads, calls)`.

    Attributes:
        precisions: what it can compute in.
        package: what has to be installed; None: nothing.
        from_file: whether it runs a file that `write_network` wrote; see `FileEngine`.
    """

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    package: ClassVar[str | None] = None
    from_file: ClassVar[bool] = False

    @abstractmethod
    def __init__(
        self, network: Network[Any], file: Path | None, precision: str, threads: int, calls: int
    ) -> None:
        """Make it ready.

        Args:
            network: whose backbone and head it computes; it is not changed.
            file: what `write_network` wrote; None for an engine that needs none.
            precision: one of `precisions`.
            threads: for each call.
            calls: that come at once, from different threads.
        """

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Raw output of the head as float32.

        Args:
            images: (batch, channels, *size) float32 in 0..1, sides multiples of the network's.
        """

    @classmethod
    def there(cls) -> bool:
        """Whether its package is installed."""
        return cls.package is None or find_spec(cls.package) is not None

    @classmethod
    def check(cls, name: str) -> None:
        """Refuse it where its package is missing."""
        if not cls.there():
            raise SettingsError(
                f"the engine '{name}' needs the package {cls.package}; run: pip install "
                '"placewise[fast]"; or use --engine torch'
            )


class Plain(nn.Module):
    """Backbone and head of a network with the normalisation, and nothing else.

    Args:
        network: the network, whose modules are used and not copied.
    """

    def __init__(self, network: Network[Any]) -> None:
        super().__init__()
        self.backbone, self.head = network.backbone, network.head
        self.register_buffer("mean", network.mean)
        self.register_buffer("std", network.std)
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """Raw output for (batch, channels, *size) in 0..1."""
        output: Tensor = self.head(self.backbone((images - self.mean) / self.std))
        return output.float()


def example_size(network: Network[Any]) -> Size:
    """A size that the network takes, not of one multiple along any axis, which torch would fix."""
    if not network.head.any_size:
        return network.input_size
    return tuple(
        side + (1 + axis) * network.multiple for axis, side in enumerate(network.input_size)
    )


def free_axes(network: Network[Any], step: int) -> dict[int, Any]:
    """Axes of a batch that may have any length in a file: sides in steps, unless the head is tied.

    Args:
        network: the network.
        step: sides are multiples of this.
    """
    from torch.export import Dim  # takes seconds to load, and most predictions need no file

    free: dict[int, Any] = {0: Dim("batch", min=1, max=2**16)}
    if network.head.any_size:
        for axis, name in enumerate(("depth", "height", "width")[-network.input.axes :], 2):
            if step > 1:
                free[axis] = step * Dim(name, min=1, max=LONGEST_SIDE)
            else:  # torch finds the shortest by itself: a window or a padding rule may need more
                free[axis] = Dim.DYNAMIC(min=1, max=LONGEST_SIDE)
    return free


def _as_onnx(network: Network[Any], part: nn.Module) -> Written:
    """A part of a network that reads padded batches, as a program of ONNX."""
    images = zeros(2, network.input.channels, *example_size(network))
    free = free_axes(network, network.multiple)
    return as_onnx(part, images, free=free, outputs=["output"])


def unwritable(network: Network[Any], reason: UnwritableError) -> SettingsError:
    """What is said of a network that cannot be written, with the part of it that is to blame.

    Args:
        network: in eval mode, on the CPU.
        reason: why torch cannot write it.
    """
    kind: Any = type(network.backbone)
    backbone, head = BACKBONES.name_of(kind), HEADS.name_of(type(network.head))
    parts = {
        f"the backbone '{backbone}'": network.backbone,
        f"the head '{head}'": Plain(network).eval(),
    }
    found = f"what is read off the output of the head '{head}'"
    for name, part in parts.items():
        try:
            _as_onnx(network, part)
        except UnwritableError as error:
            found, reason = name, error
            break
    return SettingsError(
        f"{found} cannot be written as ONNX ({reason}); use another one, or `placewise predict` "
        "with --engine torch, which needs no such file"
    )


def write_network(network: Network[Any], file: Path) -> None:
    """Write backbone and head for engines that run files; see `Engine`.

    Args:
        network: in eval mode, on the CPU.
        file: the file to write or replace.

    Raises:
        SettingsError: it cannot be written as ONNX.
    """
    try:
        written = _as_onnx(network, Plain(network).eval())
    except UnwritableError as error:
        raise unwritable(network, error) from error
    written.save(file, {SMALLEST: json.dumps(written.smallest)})


class FileEngine(Engine):
    """An engine that runs a file, and leaves images that are too small for it to the modules.

    A file holds for the sides that it was followed for, from the smallest on. With shorter ones
    what runs it may fail in words of its own, say something else, or end the process; the modules
    answer, or say what is wrong with the image.
    """

    from_file = True

    @abstractmethod
    def __init__(
        self, network: Network[Any], file: Path, precision: str, threads: int, calls: int
    ) -> None:
        """Make it ready; see `Engine`. Members call it.

        A file that does not say what it takes is taken to hold from the size of the training images
        on.
        """
        self._plain = Plain(network).eval()
        least = metadata_in(file).get(SMALLEST)
        self._least: Size = tuple(json.loads(least)) if least else network.input_size

    @abstractmethod
    def run(self, images: Tensor) -> Tensor:
        """Raw output of the head for images that the file takes; see `Engine.__call__`."""

    def __call__(self, images: Tensor) -> Tensor:
        """Raw output of the head; see `Engine`.

        Raises:
            ShapeError: images are too small for the network itself.
        """
        if all(side >= least for side, least in zip(images.shape[2:], self._least, strict=True)):
            return self.run(images)
        with inference_mode():
            return cat([self._plain(one[None]) for one in images.float()])


ENGINES = Family("engine", Engine, "placewise.engines")


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return ENGINES.class_named(name)
