"""A network as a graph of torch.fx, and what its nodes do to the shape of a map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from placewise.geometry import from_cells, to_cells

POINTWISE_NAMES = frozenset(
    "relu relu_ relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh tanh "
    "sigmoid logsigmoid softplus softsign dropout alpha_dropout contiguous clone float".split()
)
"""Functions and methods that treat all numbers alike."""

BATCH = 2
"""Images in the run that finds shapes; not 1, which could be mistaken for a side of 1."""


class Tracer(fx.Tracer):
    """Does not look inside layers of torch and of placewise."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=(to_cells, from_cells))

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the inside of the module is not traced."""
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
    """

    channels: int
    sides: tuple[int, ...]


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of the tensor that a node makes; () if it makes none."""
    found = getattr(node.meta.get("tensor_meta"), "shape", ())
    return tuple(found)


def flattens(node: fx.Node) -> Flat | None:
    """The map that a node flattens in torch's order: all places of the first channel first."""
    inputs = [one for one in node.all_input_nodes if shape_of(one)]
    if not inputs or node.op not in ("call_module", "call_function", "call_method"):
        return None
    before, after = shape_of(inputs[0]), shape_of(node)
    if is_mean(node):
        return Flat(before[1], (1,) * len(before[2:])) if after == before[:2] else None
    if not is_view(node) or len(before) < 3:
        return None
    found = Flat(before[1], before[2:])
    return found if after == (BATCH, math.prod(before[1:])) else None


def called(node: fx.Node) -> str:
    """Name of the function or the method that a node calls."""
    return str(getattr(node.target, "__name__", node.target))


def is_view(node: fx.Node) -> bool:
    """Whether a node can be a flattening."""
    if node.op == "call_module":
        owner = node.graph.owning_module
        module = owner.get_submodule(str(node.target)) if owner is not None else None
        return isinstance(module, nn.Flatten)
    return called(node) in ("flatten", "view", "reshape", "squeeze")


def is_mean(node: fx.Node) -> bool:
    """Whether a node calls `mean`."""
    return node.op in ("call_method", "call_function") and called(node) == "mean"


def is_pointwise(node: fx.Node) -> bool:
    """Whether a node calls a function of one tensor that treats all numbers alike."""
    calls = node.op in ("call_method", "call_function") and len(node.all_input_nodes) == 1
    return calls and called(node) in POINTWISE_NAMES


def asks_for_shape(node: fx.Node) -> bool:
    """Whether a node only reads sizes, for a view that was removed."""
    return not shape_of(node) and called(node) in ("size", "getattr", "getitem")
