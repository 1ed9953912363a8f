"""From the graph of a network to its layers, one in a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from placewise.auditing.paths import Paths, count_paths
from placewise.auditing.receptive_field import ReceptiveField, receptive_fields
from placewise.display._count import Product
from placewise.graph import Graph
from placewise.ops import COUNTS

SILENT = {"contiguous", "dropout", "identity", "clone", "detach", "alias"}
"""Operations that change nothing in a network that is not being trained."""

PRODUCTS = {"contraction", "attention"}


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        layer: dotted path of the submodule; of its own operations, the submodule that holds them.
        what: class of the submodule or name of the operation, and what follows at each place.
        kind: "convolution", "pooling", "locally connected", "proximity", "fully connected",
            "product" or "other".
        shape: of what it gives, without the batch.
        filters: number and volume of the filters, e.g. "6 of 5×5×3"; the window of a pooling.
        parameters: numbers that are trained.
        multiply_adds: for one image.
        field: of its places in the image.
        paths: ways from each pixel to all its places; None where they were not counted.
    """

    layer: str
    what: str
    kind: str
    shape: tuple[int, ...]
    filters: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    field: ReceptiveField | None = None
    paths: Paths | None = None


@dataclass
class _Group:
    """Nodes of the graph that make one row: so many of its own, and what follows at each place."""

    module: str
    nodes: list[int]
    leaf: bool
    own: int = 1


def rows_of(
    graph: Graph, model: nn.Module, found: Sequence[Product], *, paths: bool
) -> tuple[Row, ...]:
    """The layers of a network, in the order in which they run.

    Args:
        graph: of the network.
        model: the network.
        found: what it multiplies, in order.
        paths: whether to count ways, which takes as long again for each layer.
    """
    modules = dict(model.named_modules())
    groups = _folded(graph, _groups(graph), modules)
    by_module: dict[str, list[Product]] = defaultdict(list)
    for product in found:
        by_module[product.module].append(product)
    fields = receptive_fields(graph)
    rows = [
        _row(graph, group, modules, by_module, fields, count_paths(graph, group.nodes[-1]))
        if paths
        else _row(graph, group, modules, by_module, fields, None)
        for group in groups
    ]
    places = [group.module for group in groups]
    for module, left in by_module.items():
        _add(rows, places, module, multiply_adds=sum(one.multiply_adds for one in left))
    for name, parameter in model.named_parameters():
        _add(rows, places, name.rpartition(".")[0], parameters=parameter.numel())
    return tuple(rows)


def _groups(graph: Graph) -> list[_Group]:
    """Neighbouring nodes of one submodule that holds no other and multiplies at most once."""
    names = {node.module for node in graph.nodes[1:]}
    above = {name[:end] for name in names for end in _keypoints(name)} | (
        {""} if names - {""} else set()
    )
    groups: list[_Group] = []
    for number, node in enumerate(graph.nodes[1:], 1):
        leaf = node.module not in above
        last = groups[-1] if groups else None
        if last is not None and leaf and last.leaf and last.module == node.module:
            if not _twice(graph, [*last.nodes, number]):
                last.nodes.append(number)
                last.own += 1
                continue
            last.leaf = leaf = False  # it is more than one layer
        groups.append(_Group(node.module, [number], leaf))
    return groups


def _keypoints(name: str) -> list[int]:
    return [end for end, letter in enumerate(name) if letter == "."]


def _twice(graph: Graph, nodes: Sequence[int]) -> bool:
    roles = [graph.nodes[number].role for number in nodes]
    return sum(role in PRODUCTS or role == "window" for role in roles) > 1


def _folded(
    graph: Graph, groups: Sequence[_Group], modules: Mapping[str, nn.Module]
) -> list[_Group]:
    """What only changes values, place by place, stands in the row of what it changes."""
    kept: list[_Group] = []
    for group in groups:
        if kept and _only_changes_values(graph, group, kept[-1], modules):
            kept[-1].nodes += group.nodes
        else:
            kept.append(group)
    return kept


def _only_changes_values(
    graph: Graph, group: _Group, before: _Group, modules: Mapping[str, nn.Module]
) -> bool:
    if group.leaf and any(True for _ in modules[group.module].parameters()):
        return False
    nodes = [graph.nodes[number] for number in group.nodes]
    reads = {edge.source for node in nodes for edge in node.edges} - {*group.nodes}
    shape = graph.nodes[before.nodes[-1]].layout.shape
    return (
        reads == {before.nodes[-1]}
        and all(node.role == "pointwise" for node in nodes)
        and nodes[-1].layout.shape == shape
    )


def _row(
    graph: Graph,
    group: _Group,
    modules: Mapping[str, nn.Module],
    products: Mapping[str, list[Product]],
    fields: Sequence[ReceptiveField],
    paths: Paths | None,
) -> Row:
    """The row of a group; what it multiplies is taken out of `products`."""
    nodes = [graph.nodes[number] for number in group.nodes]
    taken = [
        products[node.module].pop(0)
        for node in nodes
        if (node.role in PRODUCTS or "conv" in node.op) and products[node.module]
    ]
    shape = tuple(nodes[-1].layout.shape[1:])
    kind, filters = "other", ""
    if taken:
        kind, filters = taken[0].kind, taken[0].filters
        kind = "fully connected" if kind == "product" and len(shape) == 1 else kind
    elif any("pool" in node.op for node in nodes):
        kind = "pooling"
        filters = _window(graph, group.nodes[0])
    return Row(
        layer=group.module,
        what=_what(graph, group, modules),
        kind=kind,
        shape=shape,
        filters=filters,
        multiply_adds=sum(product.multiply_adds for product in taken),
        field=fields[group.nodes[-1]],
        paths=paths,
    )


def _what(graph: Graph, group: _Group, modules: Mapping[str, nn.Module]) -> str:
    """The class of a submodule that is one layer, else its operation; then what follows."""
    ops = [graph.nodes[number].op.rstrip("_") for number in group.nodes]
    module = modules.get(group.module) if group.leaf else None
    first = ops[0] if module is None else type(module).__name__
    after = ops[1:] if module is None else ops[group.own :]
    return ", ".join([first, *(op for op in after if op not in SILENT)])


def _window(graph: Graph, number: int) -> str:
    """Window of a pooling: the places that its middle place reads, along each axis."""
    node = graph.nodes[number]
    unit = COUNTS.filled(node.layout.grid)
    unit[tuple(side // 2 for side in unit.shape)] = 1
    reads = node.edges[0].operator.adjoint(unit, COUNTS).nonzero()[2:]
    return "×".join(str(len(np.unique(places))) for places in reads)


def _add(rows: list[Row], places: Sequence[str], module: str, **counts: int) -> None:
    """Add counts to the first row of a submodule, or of the nearest that holds it.

    Where there is none, to the first of what it holds, else to the last of all.
    """
    name = module
    while name not in places and name:
        name = name.rpartition(".")[0]
    below = [n for n, place in enumerate(places) if f"{place}.".startswith(f"{module}.")]
    number = places.index(name) if name in places else (below or [len(rows) - 1])[0]
    row: Any = rows[number]
    rows[number] = replace(row, **{key: getattr(row, key) + n for key, n in counts.items()})
