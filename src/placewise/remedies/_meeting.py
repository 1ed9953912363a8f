"""Bring branches whose maps grew or shrank by different amounts back to one size."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from placewise.remedies._exchange import Change
from placewise.remedies._nodes import Tracer, called

JOINS = frozenset("add iadd add_ sub isub sub_ cat concat concatenate".split())
"""Functions and methods that need maps of one size."""


class Meet(nn.Module):
    """Brings maps of different sizes to one size, with their middles in the same place.

    Tensors without sides, or with sides of 1 only (a number for each channel), are unchanged. If
    sizes differ by an odd number, the additional place is at the end.

    Args:
        grows: whether to add zeros around smaller maps; if not, larger ones are cut.

    Example:
        >>> wide, narrow = torch.ones(1, 1, 5), torch.ones(1, 1, 2)
        >>> [one.tolist() for one in Meet(True)(wide, narrow)]
        [[[[1.0, 1.0, 1.0, 1.0, 1.0]]], [[[0.0, 1.0, 1.0, 0.0, 0.0]]]]
        >>> [tuple(one.shape) for one in Meet(False)(wide, narrow)]
        [(1, 1, 2), (1, 1, 2)]
    """

    def __init__(self, grows: bool) -> None:
        super().__init__()
        self.grows = grows

    def forward(self, *maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(batch, channels, *sides) each; maps get one size."""
        sides = [tuple(one.shape[2:]) if isinstance(one, torch.Tensor) else () for one in maps]
        if len({len(one) for one in sides}) > 1 or any(set(one) <= {1} for one in sides):
            return maps
        wanted = [(max if self.grows else min)(lengths) for lengths in zip(*sides, strict=True)]
        return tuple(_centred(one, wanted) for one in maps)


def meeting(model: nn.Module, *, grows: bool) -> tuple[nn.Module, list[Change]]:
    """A network whose branches get one size before they are added or joined.

    With `full` padding a branch with more convolutions grows more, with `valid` it shrinks more.
    Zeros around the smaller map, or a cut of the larger, make them one size again, as in the
    residual networks of Kayhan and van Gemert (CVPR 2020).

    Args:
        model: a copy of a network; it is changed.
        grows: whether to add zeros around smaller maps; if not, larger ones are cut.

    Returns:
        The network as a graph, and where maps get one size; or the network itself if nothing is
        added or joined, or if it cannot be followed.
    """
    try:
        graph = Tracer().trace(model)
    except Exception:  # torch.fx can fail with any error
        return model, []
    names = [_insert(model, graph, node, grows) for node in list(graph.nodes) if _joins(node)]
    if not names:
        return model, []
    graph.lint()
    made = fx.GraphModule(model, graph, type(model).__name__)
    made.training = model.training
    after = "zeros around the smaller map" if grows else "the larger map is cut"
    return made, [Change(name, "maps of one size", after) for name in names]


def _centred(one: torch.Tensor, sides: list[int]) -> torch.Tensor:
    """A map with these sides: with zeros around it, or cut."""
    widths: list[int] = []
    for wanted, length in zip(reversed(sides), reversed(one.shape[2:]), strict=True):
        missing = wanted - length
        before = missing // 2 if missing > 0 else -(-missing // 2)
        widths += [before, missing - before]
    return functional.pad(one, widths) if any(widths) else one


def _joins(node: fx.Node) -> bool:
    calls = node.op in ("call_function", "call_method") and called(node) in JOINS
    return calls and len(_maps(node)) > 1


def _maps(node: fx.Node) -> list[fx.Node]:
    """The inputs that are added or joined, in order."""
    given: Any = node.args[0] if node.args and isinstance(node.args[0], list | tuple) else node.args
    return [one for one in given if isinstance(one, fx.Node)]


def _insert(model: nn.Module, graph: fx.Graph, node: fx.Node, grows: bool) -> str:
    """Add a module that brings a node's inputs to one size; returns the module's name."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    parent = str(stack[-1][0]) if stack else ""
    name = ".".join(filter(None, (parent, f"meet_{node.name}")))
    model.get_submodule(parent).add_module(f"meet_{node.name}", Meet(grows))
    maps = _maps(node)
    with graph.inserting_before(node):
        met = graph.call_module(name, tuple(maps))
        fresh = iter([graph.call_function(operator.getitem, (met, i)) for i in range(len(maps))])

    def exchanged(one: Any) -> Any:
        return next(fresh) if isinstance(one, fx.Node) else one

    first = node.args[0]
    if isinstance(first, list | tuple):
        node.args = (type(first)(map(exchanged, first)), *node.args[1:])
    else:
        node.args = tuple(map(exchanged, node.args))
    return name
