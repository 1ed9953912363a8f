"""Even sizes: whether some layer drops rows or columns at the end of an axis.

A window that reaches over k places and moves by s, on an axis of n places, padding included,
leaves the last (n − k) mod s places unread, unless sizes are rounded up. Where it does, padding is
used at one side more than at the other, and all that follows is shifted. A size at which no layer
does so is even.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from placewise.auditing._sizes import Leftover, Sizes
from placewise.auditing._structure import image_sides
from placewise.graph import Graph

__all__ = ["Evenness", "Leftover", "SizeEvenness", "evenness", "evenness_over"]


@dataclass(frozen=True)
class Evenness:
    """Whether the image's size is even, and which sizes near it are.

    Attributes:
        size: of the image, for each axis.
        layers: every strided layer of windows, axis by axis, with what it leaves.
        nearest_even: for each axis the nearest even sizes, not above and not below; None where
            there is none within a period.
        step: for each axis from one even size to the next; None where there is no next.
        stopped: the layer beyond which some other sizes cannot be followed, because something
            there is of a fixed size or cuts an axis; None where all can. For those, what lies
            beyond has no say in `nearest_even`.
        missed: strided layers that lie beyond it.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> found = evenness(capture(nn.Conv1d(1, 1, 7, stride=2, padding=3), (1, 224)))
        >>> found.even, found.nearest_even, found.step, found.layers[0].unused
        (False, ((223, 225),), (2,), 1)
    """

    size: tuple[int, ...]
    layers: tuple[Leftover, ...]
    nearest_even: tuple[tuple[int | None, int | None], ...]
    step: tuple[int | None, ...]
    stopped: str | None
    missed: int = 0

    @property
    def even(self) -> bool:
        """Whether all layers are even."""
        return all(layer.even for layer in self.layers)

    @property
    def complete(self) -> bool:
        """Whether other sizes can be followed to the outputs."""
        return self.stopped is None

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "size": list(self.size),
            "even": self.even,
            "layers": [layer.to_dict() for layer in self.layers],
            "nearest_even": [list(pair) for pair in self.nearest_even],
            "step": list(self.step),
            "complete": self.complete,
            "stopped": self.stopped,
            "missed": self.missed,
        }


@dataclass(frozen=True)
class SizeEvenness:
    """Whether images of one size along each axis are even.

    Attributes:
        size: of the image.
        even: whether the network takes it and all layers are even.
        uneven_layers: how many are not.
        possible: whether the network takes it, as far as can be said.

    Example:
        >>> SizeEvenness(224, even=False, uneven_layers=1, possible=True).to_dict()["even"]
        False
    """

    size: int
    even: bool
    uneven_layers: int
    possible: bool

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "size": self.size,
            "even": self.even,
            "uneven_layers": self.uneven_layers,
            "possible": self.possible,
        }


def evenness(graph: Graph) -> Evenness:
    """Find which layers drop rows or columns, and the nearest sizes at which none does.

    Other sizes are walked through the graph of this one. Amounts of padding are those of the graph:
    a network that calculates them from the size (TensorFlow's "same") has others at other sizes.

    Args:
        graph: of the network.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1))
        >>> evenness(capture(net, (1, 32, 37))).nearest_even
        ((29, 33), (37, 37))
    """
    sides = image_sides(graph)
    walks = [Sizes(graph, axis) for axis in range(len(sides))]
    layers = [left for walk, side in zip(walks, sides, strict=True) for left in walk.at(side).left]
    nearest, steps, stopped = [], [], None
    for walk, side in zip(walks, sides, strict=True):
        below = next(_even(walk, range(side, max(0, side - walk.period) - 1, -1)), None)
        above = next(_even(walk, range(side, side + walk.period + 1)), None)
        nearest.append((below, above))
        steps.append(_step(walk, below, above))
        stopped = stopped or walk.stopped
    ordered = tuple(sorted(layers, key=lambda left: (left.node, left.axis)))
    missed = {node for walk in walks for node in walk.missed}
    return Evenness(sides, ordered, tuple(nearest), tuple(steps), stopped, len(missed))


def _even(walk: Sizes, sizes: Iterable[int]) -> Iterator[int]:
    return (size for size in sizes if walk.at(size).even)


def _step(walk: Sizes, below: int | None, above: int | None) -> int | None:
    """From one even size to the next."""
    if above is None:
        return None
    if below is not None and below < above:
        return above - below
    after = next(_even(walk, range(above + 1, above + walk.period + 1)), None)
    return None if after is None else after - above


def evenness_over(graph: Graph, sizes: Iterable[int]) -> tuple[SizeEvenness, ...]:
    """Find for many sizes how many layers drop rows or columns.

    Args:
        graph: of the network.
        sizes: of images as long along each axis.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> graph = capture(nn.Conv2d(1, 1, 4, stride=4), (1, 32, 32))
        >>> [one.size for one in evenness_over(graph, range(30, 42)) if one.even]
        [32, 36, 40]
    """
    walks = [Sizes(graph, axis) for axis in range(len(image_sides(graph)))]
    found = []
    for size in sizes:
        walked = [walk.at(size) for walk in walks]
        uneven = {left.node for one in walked for left in one.left if not left.even}
        even = all(one.even for one in walked)
        possible = all(one.possible for one in walked)
        found.append(SizeEvenness(size, even, len(uneven), possible))
    return tuple(found)
