"""Advice on sizes: candidates are tried on the network itself before one is recommended.

A candidate is captured once, and the network runs on one image of that size, because it may check
sizes only where it really runs. The size is recommended if the network accepts it, if all layers
are aligned in the new graph, and if the corners then have no less equal shares of the paths than
before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from placewise.auditing._numbers import plain, rounded
from placewise.auditing._run import forward
from placewise.auditing._walks import AllWalks
from placewise.auditing.alignment import (
    Alignment,
    SizeAlignment,
    alignment_over,
    candidates,
)
from placewise.auditing.memory import LIMIT, bytes_to_run
from placewise.auditing.paths import Paths, count_paths
from placewise.errors import PlacewiseError
from placewise.graph import Graph, undisturbed
from placewise.graph.noise import noise
from placewise.undisturbed import lacks_values

TRIED = 3
"""Sizes that are captured at most."""

Capture = Callable[[tuple[int, ...]], Graph]
"""From the sides of an image to the network's graph for it."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What one size is like on the network itself.

    Attributes:
        size: sides of the image.
        refused: why the network does not accept it; empty if it does.
        misaligned: number of layers that treat both ends of an axis differently.
        paths: to the last feature map; None if the size is refused.
        worse: whether the corners have less equal shares of the paths than at the audited size.

    Example:
        >>> Trial((33, 33), refused="a and b must have same reduction dim").good
        False
    """

    size: tuple[int, ...]
    refused: str = ""
    misaligned: int = 0
    paths: Paths | None = None
    worse: bool = False

    @property
    def good(self) -> bool:
        """Whether the size can be recommended."""
        return self.paths is not None and not self.misaligned and not self.worse

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        paths = self.paths
        return {
            "size": list(self.size),
            "refused": self.refused,
            "misaligned_layers": self.misaligned,
            "corner_ratio": None if paths is None else rounded(paths.corner_ratio),
            "max_over_corner": None if paths is None else rounded(paths.max_over_corner),
            "worse": self.worse,
        }


@dataclass(frozen=True, eq=False)
class Advice:
    """Which other size to use, tried on the network.

    Attributes:
        trials: sizes that were tried, in this order, up to the first that is good.

    Example:
        >>> Advice((Trial((33, 33), refused="…"),)).size is None
        True
    """

    trials: tuple[Trial, ...] = ()

    @property
    def best(self) -> Trial | None:
        """The size that is recommended; None if none is good."""
        return self.trials[-1] if self.trials and self.trials[-1].good else None

    @property
    def size(self) -> tuple[int, ...] | None:
        """Its sides."""
        return None if self.best is None else self.best.size

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON can hold it."""
        return {
            "advised": plain(self.size),
            "tried": [trial.to_dict() for trial in self.trials],
        }


NO_ADVICE = Advice()


def advise(walks: AllWalks, found: Alignment, paths: Paths, capture: Capture) -> Advice:
    """Try sizes near this one, the nearest first, until one can be recommended.

    Args:
        walks: through the network's graph.
        found: alignment of its size.
        paths: to its last feature map.
        capture: makes the graph for another size; a `PlacewiseError` means that the network does
            not accept it. See `check_runs`.

    Returns:
        No trials if the size is aligned already, or if no size near it can be.

    Example:
        >>> from placewise.auditing.alignment import alignment
        >>> from placewise.graph import capture
        >>> net = nn.Conv2d(1, 1, 3, stride=2, padding=1)
        >>> graph = capture(net, (1, 32, 32))
        >>> again = lambda sides: capture(net, (1, *sides))
        >>> advise(AllWalks(graph), alignment(graph), count_paths(graph), again).size
        (33, 33)
    """
    if found.aligned:
        return NO_ADVICE
    trials: list[Trial] = []
    for size in candidates(walks, TRIED):
        trials.append(_tried(size, paths, capture))
        if trials[-1].good:
            break
    return Advice(tuple(trials))


def _tried(size: tuple[int, ...], before: Paths, capture: Capture) -> Trial:
    try:
        graph = capture(size)
        paths = count_paths(graph, graph.last_map)
    except PlacewiseError as error:
        return Trial(size, refused=str(error))
    own = (walk.at(walk.side) for walk in AllWalks(graph).every())
    misaligned = {layer.node for walk in own for layer in walk.misaligned}
    return Trial(size, "", len(misaligned), paths, less_equal(paths, before))


def check_runs(model: nn.Module, graph: Graph, shape: tuple[int, ...]) -> None:
    """Run a network on one image, where a graph alone does not show whether it accepts the size.

    A network that is exported can skip its own checks. One whose weights have no values cannot run,
    and one that would take more than `LIMIT` of memory does not.

    Args:
        model: any network.
        graph: of the network at this size.
        shape: (channels, *space) of the image.

    Raises:
        SettingsError: the network fails.

    Example:
        >>> from placewise.graph import capture
        >>> net = nn.Conv1d(1, 1, 3)
        >>> check_runs(net, capture(net, (1, 8)), (1, 8))
    """
    known = graph.capture == "run" or lacks_values(model)
    if known or bytes_to_run(graph) > LIMIT:
        return
    with undisturbed(model), torch.no_grad():
        forward(model, noise(model, shape))


def less_equal(paths: Paths, before: Paths) -> bool:
    """Whether the corners have less equal numbers of paths than before.

    Example:
        >>> import numpy as np
        >>> from placewise.ops.packed import Packed
        >>> counts = (Packed.of(np.array(n, dtype=object)) for n in ([2, 2], [2, 3]))
        >>> even, uneven = (Paths("", "", one) for one in counts)
        >>> less_equal(uneven, even), less_equal(even, even)
        (True, False)
    """
    now, then = (1.0 if math.isnan(p.corner_ratio) else p.corner_ratio for p in (paths, before))
    return now > then * (1 + 1e-9)


def sizes_near(walks: AllWalks, sizes: Iterable[int], advice: Advice) -> tuple[SizeAlignment, ...]:
    """Walk many sizes, by the rule of padding that agrees with the sizes that were tried.

    Args:
        walks: through the network's graph.
        sizes: of images that are as long along each axis.
        advice: with the sizes that were tried.
    """
    accepted = [trial for trial in advice.trials if trial.paths is not None]
    wrong = {
        computed: sum(_disagrees(walks, trial, computed=computed) for trial in accepted)
        for computed in (False, True)
    }
    return alignment_over(walks, sizes, computed=wrong[True] < wrong[False])


def _disagrees(walks: AllWalks, trial: Trial, *, computed: bool) -> bool:
    """Whether a walk finds another number of misaligned layers than the capture at that size."""
    each = walks.every(computed=computed)
    found = [walk.at(side) for walk, side in zip(each, trial.size, strict=True)]
    return len({one.node for walk in found for one in walk.misaligned}) != trial.misaligned
