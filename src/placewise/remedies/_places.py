"""What comes after a flattening, done for each place of a larger map: as rows of a batch.

A network that flattens a map of some sides sees one vector. On a larger map there is such a vector
for each window of these sides. Windows become rows of the batch, the network's own operations run
on them, and rows become places again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from placewise.graph.noise import like_weights

ROWS = 3
"""Rows in the runs that show what an operation does."""

TOLERANCE = 1e-4
"""Largest difference, relative to the largest number, that rounding may make."""


def windows(maps: Tensor, sides: tuple[int, ...]) -> Tensor:
    """All windows of a map, each flattened into the channels.

    Args:
        maps: (batch, channels, *map).
        sides: of a window.

    Returns:
        (batch, channels · places of a window, *places): in the order of `torch.flatten`.

    Example:
        >>> windows(torch.arange(8.0).view(1, 2, 4), (3,))[0, :, 1].tolist()
        [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]
    """
    axes = len(sides)
    found = maps
    for dim, side in enumerate(sides, 2):
        found = found.unfold(dim, side, 1)
    places, taps = range(2, 2 + axes), range(2 + axes, 2 + 2 * axes)
    return found.permute(0, 1, *taps, *places).flatten(1, 1 + axes)


class Arranged(nn.Module):
    """All windows of a map, each flattened in another order than torch's, e.g. channels last.

    Args:
        sides: of a window.
        order: for each number of the vector, which it is of the window flattened by torch.

    Example:
        >>> arranged = Arranged((2,), torch.tensor([0, 2, 1, 3]))  # channels last
        >>> arranged(torch.arange(8.0).view(1, 2, 4))[0, :, 1].tolist()
        [1.0, 5.0, 2.0, 6.0]
    """

    order: Tensor

    def __init__(self, sides: tuple[int, ...], order: Tensor) -> None:
        super().__init__()
        self.sides = sides
        self.register_buffer("order", order, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, *map) to (batch, channels · places of a window, *places)."""
        return windows(maps, self.sides).index_select(1, self.order)


def to_rows(maps: Tensor, axes: int) -> Tensor:
    """(batch, *vector, *places) to (batch · places, *vector).

    Args:
        maps: with a vector at each place.
        axes: number of axes of the places, which come last.

    Example:
        >>> to_rows(torch.zeros(2, 7, 3, 4), 2).shape
        torch.Size([24, 7])
    """
    rank = maps.ndim - axes
    order = (0, *range(rank, maps.ndim), *range(1, rank))
    return maps.permute(order).flatten(0, axes)


def to_places(rows: Tensor, maps: Tensor, axes: int) -> Tensor:
    """(batch · places, *vector) to (batch, *vector, *places).

    Args:
        rows: one for each place.
        maps: from which `to_rows` made rows: it has the batch and the places.
        axes: number of axes of the places.

    Example:
        >>> maps = torch.rand(2, 7, 3, 4)
        >>> bool((to_places(to_rows(maps, 2), maps, 2) == maps).all())
        True
    """
    places = maps.shape[maps.ndim - axes :]
    found = rows.reshape(maps.shape[0], *places, *rows.shape[1:])
    rank = rows.ndim - 1
    order = (0, *range(1 + axes, 1 + axes + rank), *range(1, 1 + axes))
    return found.permute(order)


class Probe:
    """Runs one node of a traced network on vectors of its own, to find out what it does.

    Args:
        net: the traced network, in eval mode.
        node: reads only vectors and weights.
        shapes: of the vectors that it reads, without the batch.
    """

    def __init__(
        self, net: fx.GraphModule, node: fx.Node, shapes: dict[fx.Node, tuple[int, ...]]
    ) -> None:
        self._net, self._node = net, node
        generator = torch.Generator().manual_seed(0)
        self.given = {
            read: like_weights(net, 4 * torch.rand((ROWS, *shape), generator=generator) - 2)
            for read, shape in shapes.items()
        }

    @property
    def weighs(self) -> bool:
        """Whether it has weights of its own: several numbers that may differ by channel."""
        module = self._module()
        own = [] if module is None else [*module.parameters(), *module.buffers()]
        used = [self._weight(n) for n in self._node.all_input_nodes if n.op == "get_attr"]
        return any(isinstance(one, Tensor) and one.numel() > 1 for one in (*own, *used))

    def pointwise(self) -> bool:
        """Whether each number of the result comes from the numbers at its own place, by one rule.

        Two runs tell: with all places in another order, and with some places changed.
        """
        if self.weighs or len({value.shape for value in self.given.values()}) > 1:
            return False
        before = next(iter(self.given.values()))
        order = torch.randperm(before[0].numel(), generator=torch.Generator().manual_seed(1))
        some = order[: len(order) // 2]
        usual = self._flat(lambda value: value)
        if usual is None or usual.shape != before.flatten(1).shape:
            return False
        moved = self._flat(lambda value: value.flatten(1)[:, order].view_as(value))
        changed = self._flat(lambda value: _changed(value, some))
        kept = torch.ones(len(order), dtype=torch.bool)
        kept[some] = False
        return _alike(moved, usual[:, order]) and _alike(
            None if changed is None else changed[:, kept], usual[:, kept]
        )

    def by_row(self) -> bool:
        """Whether each row of the result comes from its own row alone."""
        whole = self._flat(lambda value: value)
        rows = [self._flat(_one_row(row)) for row in range(ROWS)]
        if whole is None or len(whole) != ROWS or any(row is None for row in rows):
            return False
        return _alike(torch.cat([row for row in rows if row is not None]), whole)

    def _flat(self, change: Callable[[Tensor], Tensor]) -> Tensor | None:
        """The result (rows, numbers) on changed vectors; None if it is no such tensor."""
        values = {read: change(value.clone()) for read, value in self.given.items()}

        def value(node: fx.Node) -> Any:
            return values[node] if node in values else self._weight(node)

        args, kwargs = fx.map_arg((self._node.args, self._node.kwargs), value)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = self._call(args, kwargs)
        except Exception:  # an operation can refuse these numbers with any error
            return None
        return found.flatten(1) if isinstance(found, Tensor) and found.ndim > 1 else None

    def _call(self, args: Any, kwargs: Any) -> Any:
        node = self._node
        if (module := self._module()) is not None:
            return module(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        function: Any = node.target
        return function(*args, **kwargs)

    def _module(self) -> nn.Module | None:
        calls = self._node.op == "call_module"
        return self._net.get_submodule(str(self._node.target)) if calls else None

    def _weight(self, node: fx.Node) -> Any:
        found: Any = self._net
        for name in str(node.target).split("."):
            found = getattr(found, name)
        return found


def _one_row(row: int) -> Callable[[Tensor], Tensor]:
    return lambda value: value[row : row + 1]


def _changed(value: Tensor, places: Tensor) -> Tensor:
    flat = value.flatten(1).clone()
    flat[:, places] = flat[:, places].flip(0) + 0.5
    return flat.view_as(value)


def _alike(first: Tensor | None, second: Tensor) -> bool:
    if first is None or first.shape != second.shape:
        return False
    most = float(second.abs().max()) if second.numel() else 0.0
    return torch.allclose(first, second, 0, TOLERANCE * max(1.0, most), equal_nan=True)


def makers_of_maps(model: nn.Module, images: Tensor) -> Iterable[nn.Module]:
    """Modules that made a map of several places out of a map, when the network ran.

    Args:
        model: in eval mode.
        images: (batch, channels, *sides).
    """
    found: dict[nn.Module, bool] = {}

    def after(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        maps = [one for one in (*given, result) if isinstance(one, Tensor)]
        whole = len(maps) == len(given) + 1 == 2 and all(one.ndim == images.ndim for one in maps)
        several = whole and max(maps[-1].shape[2:]) > 1
        found[module] = found.get(module, True) and several

    handles = [module.register_forward_hook(after) for module in model.modules()]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return [module for module, whole in found.items() if whole and module is not model]
