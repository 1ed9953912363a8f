"""Stride-aligned sizes: whether some layer treats the two ends of an axis differently.

A window that reaches over k places and moves by s, on an axis of n places, padding included, leaves
the last (n − k) mod s places unread, unless sizes are rounded up. If it does, padding is used more
at one side than at the other, and all that follows is shifted. A resize leans, too, if it repeats
some places more often than their mirror images. A size at which all strided windows reach equally
far beyond both ends, and all resizes treat both ends alike, is stride-aligned; aligned for short.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from placewise.auditing._numbers import Finding, plain
from placewise.auditing._walks import AllWalks, Leftover, Resized, Walks
from placewise.graph import Graph

__all__ = [
    "Alignment",
    "Leftover",
    "Resized",
    "SizeAlignment",
    "alignment",
    "alignment_over",
    "candidates",
]


@dataclass(frozen=True)
class Alignment:
    """Whether the image's size is stride-aligned, and which sizes near it may be.

    What is said of the image's own size is exact. Other sizes are walked through the graph of this
    one and are candidates: `placewise.auditing.advice` checks them on the network.

    Attributes:
        size: of the image, for each axis.
        layers: every strided layer of windows, axis by axis, with what it leaves.
        nearest_aligned: for each axis the nearest candidates, not above and not below; None
            if there is none within a period.
        step: for each axis, from one candidate to the next; None if there is no next.
        stopped: the first layer beyond which some other sizes cannot be followed, because
            something there has a fixed size or cuts an axis; None if all can. For such sizes,
            the layers beyond it are not considered in `nearest_aligned`.
        missed: number of strided layers beyond it.
        resizes: every resize that changes a length, axis by axis.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> found = alignment(capture(nn.Conv1d(1, 1, 7, stride=2, padding=3), (1, 224)))
        >>> found.aligned, found.nearest_aligned, found.step, found.layers[0].unused
        (False, ((223, 225),), (2,), 1)
    """

    size: tuple[int, ...]
    layers: tuple[Leftover, ...]
    nearest_aligned: tuple[tuple[int | None, int | None], ...]
    step: tuple[int | None, ...]
    stopped: str | None
    missed: int = 0
    resizes: tuple[Resized, ...] = ()

    @property
    def aligned(self) -> bool:
        """Whether all layers are aligned."""
        return not self.misaligned

    @property
    def strides(self) -> bool:
        """Whether there is any layer that can be misaligned."""
        return bool(self.layers or self.resizes)

    @property
    def misaligned(self) -> list[Leftover | Resized]:
        """The layers that treat the two ends of an axis differently, axis by axis."""
        layers: tuple[Leftover | Resized, ...] = (*self.layers, *self.resizes)
        return [layer for layer in layers if not layer.aligned]

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "size": list(self.size),
            "aligned": self.aligned,
            "layers": plain(self.layers),
            "resizes": plain(self.resizes),
            "candidates": plain(self.nearest_aligned),
            "step": list(self.step),
            "complete": self.stopped is None,
            "stopped": self.stopped,
            "missed": self.missed,
        }


@dataclass(frozen=True)
class SizeAlignment(Finding):
    """Whether an image of one size along each axis is stride-aligned.

    Attributes:
        size: of the image.
        aligned: whether the network takes it and all layers are aligned.
        misaligned_layers: number of layers that are not.
        possible: whether the network takes it, as far as can be known.

    Example:
        >>> SizeAlignment(224, aligned=False, misaligned_layers=1, possible=True).aligned
        False
    """

    size: int
    aligned: bool
    misaligned_layers: int
    possible: bool


def alignment(graph: Graph, walks: AllWalks | None = None) -> Alignment:
    """Find which layers treat both ends differently, and the nearest sizes at which none may.

    Other sizes are walked through the graph of this size, with its amounts of padding. A network
    that computes them from the size (TensorFlow's "same") has other amounts at other sizes.

    Args:
        graph: of the network.
        walks: through this graph, if some were made already.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1))
        >>> alignment(capture(net, (1, 32, 37))).nearest_aligned
        ((29, 33), (37, 37))
    """
    each = (walks or AllWalks(graph)).every()
    own = [walk.at(walk.side) for walk in each]
    nearest, steps = [], []
    for walk in each:
        below = next(
            _aligned(walk, range(walk.side, max(0, walk.side - walk.period) - 1, -1)), None
        )
        above = next(_aligned(walk, range(walk.side, walk.side + walk.period + 1)), None)
        nearest.append((below, above))
        steps.append(_step(walk, below, above))
    missed = {node for walk in each for node in walk.missed}
    return Alignment(
        size=graph.sides,
        layers=tuple(sorted((one for walk in own for one in walk.left), key=_order)),
        nearest_aligned=tuple(nearest),
        step=tuple(steps),
        stopped=next((walk.stopped for walk in each if walk.stopped), None),
        missed=len(missed),
        resizes=tuple(sorted((one for walk in own for one in walk.resized), key=_order)),
    )


def _order(one: Leftover | Resized) -> tuple[int, int]:
    return one.node, one.axis


def candidates(walks: AllWalks, most: int) -> list[tuple[int, ...]]:
    """Sizes that may be stride-aligned, the nearest first; of two equally near, the larger.

    An axis that is aligned keeps its length. The others are walked, with the paddings of the graph
    and, where some may be computed from the size, with those of TensorFlow's rule "same". If that
    finds none, and the image itself is padded, e.g. to a multiple, that length is the candidate.

    Args:
        walks: through the network's graph.
        most: number of sizes.

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> candidates(AllWalks(capture(nn.Conv2d(1, 1, 3, 2, 1), (1, 32, 33))), 3)
        [(33, 33), (31, 33), (35, 33)]
    """
    found = []
    for axis, side in enumerate(walks.graph.sides):
        walk = walks.of(axis)
        both = [walk, *([walks.of(axis, computed=True)] if walk.computes else [])]
        if walk.at(side).aligned:
            found.append([side] * most)
        else:
            near = {size for one in both for size in _around(one, most)} or walk.padded
            found.append(sorted(near, key=lambda n: (abs(n - side), -n))[:most])
    return [tuple(sizes) for sizes in zip(*found, strict=False)]


def _around(walk: Walks, most: int) -> list[int]:
    """The aligned sizes below and above, as many on each side, from half as long to twice."""
    reach, side = most * walk.period, walk.side
    below = _aligned(walk, range(side - 1, max(side // 2, side - reach - 1), -1))
    above = _aligned(walk, range(side + 1, min(2 * side, side + reach) + 1))
    return [*itertools.islice(below, most), *itertools.islice(above, most)]


def _aligned(walk: Walks, sizes: Iterable[int]) -> Iterator[int]:
    return (size for size in sizes if walk.at(size).aligned)


def _step(walk: Walks, below: int | None, above: int | None) -> int | None:
    """From one aligned size to the next."""
    if above is None:
        return None
    if below is not None and below < above:
        return above - below
    after = next(_aligned(walk, range(above + 1, above + walk.period + 1)), None)
    return None if after is None else after - above


def alignment_over(
    walks: AllWalks, sizes: Iterable[int], *, computed: bool = False
) -> tuple[SizeAlignment, ...]:
    """Walk many sizes: how many layers treat both ends of an axis differently.

    Args:
        walks: through the network's graph.
        sizes: of images that are as long along each axis.
        computed: whether pads before strided windows follow TensorFlow's rule "same".

    Example:
        >>> from torch import nn
        >>> from placewise.graph import capture
        >>> walks = AllWalks(capture(nn.Conv2d(1, 1, 4, stride=4), (1, 32, 32)))
        >>> [one.size for one in alignment_over(walks, range(30, 42)) if one.aligned]
        [32, 36, 40]
    """
    found = []
    for size in sizes:
        walked = [walk.at(size) for walk in walks.every(computed=computed)]
        misaligned = {one.node for walk in walked for one in walk.misaligned}
        aligned = all(one.aligned for one in walked)
        possible = all(one.possible for one in walked)
        found.append(SizeAlignment(size, aligned, len(misaligned), possible))
    return tuple(found)
