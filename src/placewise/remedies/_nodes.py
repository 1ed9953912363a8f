"""A network as a graph of torch.fx, and what its nodes do to the shape of a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from placewise.geometry import from_cells, to_cells

BATCH = 2
"""Images in the run that finds shapes; not 1, which could be mistaken for a side of 1."""


REARRANGING = "permute transpose swapaxes swapdims movedim moveaxis contiguous unflatten unsqueeze"
"""Functions and methods that keep all numbers, besides those that can be a flattening."""


class Tracer(fx.Tracer):
    """Does not look inside layers of torch and of placewise.

    Args:
        whole: other modules that are not looked into.
    """

    def __init__(self, whole: Iterable[nn.Module] = ()) -> None:
        super().__init__(autowrap_functions=(to_cells, from_cells))
        self._whole = set(whole)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the inside of the module is not traced."""
        if m in self._whole:
            return True
        if isinstance(m, nn.Sequential):
            return False
        return m.__module__.startswith(("torch.nn", "placewise.layers", "placewise.remedies"))

    def trace(
        self, root: Callable[..., Any] | nn.Module, concrete_args: dict[str, Any] | None = None
    ) -> fx.Graph:
        """The graph; layers of placewise skip checks of shapes, which a trace does not know."""
        modules = root.modules() if isinstance(root, nn.Module) else ()
        ours = [one for one in modules if one.__module__.startswith("placewise.")]
        checked = [one for one in ours if hasattr(one, "check")]
        for one in checked:
            vars(one)["check"] = _nothing
        try:
            return super().trace(root, concrete_args)
        finally:
            for one in checked:
                del vars(one)["check"]


def _nothing(*_: object) -> None:
    """Replaces a check."""


@dataclass(frozen=True)
class Flat:
    """The map of which a vector is the flattened form.

    Attributes:
        channels: of the map.
        sides: of the map, at the training size.
        vector: number of axes of what each image is; 1 for a vector.
    """

    channels: int
    sides: tuple[int, ...]
    vector: int = 1


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of the tensor that a node makes; () if it makes none."""
    found = getattr(node.meta.get("tensor_meta"), "shape", ())
    return tuple(found)


def flattens(node: fx.Node) -> Flat | None:
    """The map that a node flattens in torch's order: all places of the first channel first."""
    inputs = [one for one in node.all_input_nodes if shape_of(one)]
    if not inputs or node.op not in ("call_module", "call_function", "call_method"):
        return None
    before, after = shape_of(flattened(node)), shape_of(node)
    if reduces(node):
        return Flat(before[1], (1,) * len(before[2:])) if after == before[:2] else None
    if not is_view(node) or len(before) < 3:
        return None
    found = Flat(before[1], before[2:])
    return found if after == (BATCH, math.prod(before[1:])) else None


def flattened(node: fx.Node) -> fx.Node:
    """The map that a flattening reads, before any views on the way, e.g. a first squeeze."""
    found = node.all_input_nodes[0]
    while is_view(found) and found.all_input_nodes:
        before = found.all_input_nodes[0]
        if math.prod(shape_of(before)) != math.prod(shape_of(found)):
            break
        if reduces(node) and shape_of(before)[:2] != shape_of(found)[:2]:
            break
        found = before
    return found


def called(node: fx.Node) -> str:
    """Name of the function or the method that a node calls."""
    return str(getattr(node.target, "__name__", node.target))


def is_view(node: fx.Node) -> bool:
    """Whether a node can be a flattening."""
    if node.op == "call_module":
        owner = node.graph.owning_module
        module = owner.get_submodule(str(node.target)) if owner is not None else None
        return isinstance(module, nn.Flatten)
    names = ("flatten", "view", "reshape", "squeeze", "getitem")
    return node.op in ("call_method", "call_function") and called(node) in names


def rearranges(node: fx.Node) -> bool:
    """Whether a node gives the same numbers in another shape or order."""
    inputs = [one for one in node.all_input_nodes if shape_of(one)]
    if len(inputs) != 1 or math.prod(shape_of(inputs[0])) != math.prod(shape_of(node)):
        return False
    return is_view(node) or (
        node.op in ("call_method", "call_function") and called(node) in REARRANGING.split()
    )


def reduces(node: fx.Node) -> str | None:
    """The kind of pooling that a call of `mean` or `amax` is; None for another node."""
    if node.op not in ("call_method", "call_function"):
        return None
    return {"mean": "average", "amax": "maximum"}.get(called(node))


def asks_for_shape(node: fx.Node) -> bool:
    """Whether a node only reads sizes, for a view that was removed."""
    return not shape_of(node) and called(node) in ("size", "getattr", "getitem")
