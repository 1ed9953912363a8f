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

from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn, zeros  # not torch: a member of the family has its name

from placewise.engines._int8 import write_int8
from placewise.errors import SettingsError
from placewise.family import Family
from placewise.geometry import Size
from placewise.model import Network
from placewise.onnx_files import write_onnx

__all__ = ["ENGINES", "INT8", "Engine", "Plain", "write_int8", "write_network"]

INT8 = "int8"
"""The precision that needs a file of its own, made for images; taken only when asked for."""

LONGEST_SIDE = 2**14
"""Multiples of the network's along an axis that a written network takes, at most."""


class Engine(ABC):
    """Computes the raw output of a network for padded batches, from several threads at once.

    A member is built with `(network, file, precision, threads, calls)`.

    Attributes:
        precisions: what it can compute in.
        package: what has to be installed; None: nothing.
        from_file: whether it runs a file that `write_network` wrote.
    """

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    package: ClassVar[str | None] = None
    from_file: ClassVar[bool] = True

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
            length = Dim(name, min=1 if step > 1 else 2, max=LONGEST_SIDE)
            free[axis] = step * length if step > 1 else length
    return free


def write_network(network: Network[Any], file: Path) -> None:
    """Write backbone and head for engines that run files; see `Engine`.

    Args:
        network: in eval mode, on the CPU.
        file: the file to write or replace.

    Raises:
        SettingsError: it cannot be written as ONNX.
    """
    write_onnx(
        Plain(network).eval(),
        zeros(2, network.input.channels, *example_size(network)),
        file,
        free=free_axes(network, network.multiple),
        outputs=["output"],
        metadata={},
        what=f"the network with {type(network.head).__name__}",
    )


ENGINES = Family("engine", Engine, "placewise.engines")


def __getattr__(name: str) -> type:
    """The members by their classes' names, loaded when they are asked for."""
    return ENGINES.class_named(name)
