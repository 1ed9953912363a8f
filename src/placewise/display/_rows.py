"""From the graph of a network to its layers, one per row, and how a row is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from placewise.auditing.paths import Paths, count_paths
from placewise.auditing.receptive_field import ReceptiveField, receptive_fields
from placewise.display.costs import Product
from placewise.graph import Graph
from placewise.ops import COUNTS
from placewise.wording import number

SILENT = {"contiguous", "dropout", "identity", "clone", "detach", "alias"}
"""Operations that change nothing in eval mode."""

PRODUCTS = {"contraction", "attention"}

HEADER = ["layer", "what", "maps", "filters", "parameters", "multiply-adds"]
FIELDS = {1: "field samples", 2: "field px", 3: "field voxels"}
PATHS = {
    1: ["middle/end"],
    2: ["centre/edge", "centre/corner"],
    3: ["centre/face", "centre/corner"],
}
"""Columns of the table, some by the number of axes of the image."""


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        layer: dotted path of the submodule; for an operation, the submodule that contains it.
        what: class of the submodule or name of the operation, and what follows at each place.
        type: "convolution", "pooling", "locally connected", "proximity", "fully connected",
            "product" or "other".
        shape: of its output, without the batch.
        filters: number and volume of the filters, e.g. "6 of 5×5×3"; the window of a pooling.
        parameters: number of trained values.
        multiply_adds: for one image.
        field: receptive field of its places.
        paths: paths from each pixel to all its places; None if they were not counted.
    """

    layer: str
    what: str
    type: str
    shape: tuple[int, ...]
    filters: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    field: ReceptiveField | None = None
    paths: Paths | None = None


@dataclass
class _Group:
    """Nodes of the graph that make one row: `own` nodes, and what follows at each place."""

    module: str
    nodes: list[int]
    leaf: bool
    own: int = 1


def rows_of(
    graph: Graph, model: nn.Module, found: Sequence[Product], *, paths: bool
) -> tuple[Row, ...]:
    """List the layers of a network, in the order in which they run.

    Args:
        graph: of the network.
        model: the network.
        found: its products, in order.
        paths: whether to count paths, which takes most of the time.
    """
    modules = dict(model.named_modules())
    groups = _folded(graph, _groups(graph), modules)
    by_module: dict[str, list[Product]] = defaultdict(list)
    for product in found:
        by_module[product.module].append(product)
    fields = receptive_fields(graph)
    rows = []
    for group in groups:
        counted = count_paths(graph, group.nodes[-1]) if paths else None
        rows.append(_row(graph, group, modules, by_module, fields, counted))
    places = [group.module for group in groups]
    for module, rest in by_module.items():
        _add(rows, places, module, multiply_adds=sum(one.multiply_adds for one in rest))
    for name, parameter in model.named_parameters():
        _add(rows, places, name.rpartition(".")[0], parameters=parameter.numel())
    return tuple(rows)


def _groups(graph: Graph) -> list[_Group]:
    """Neighbouring nodes of one submodule that holds no other and multiplies at most once."""
    names = {node.module for node in graph.nodes[1:]}
    above = {name[:end] for name in names for end in _dots(name)} | (
        {""} if names - {""} else set()
    )
    groups: list[_Group] = []
    for index, node in enumerate(graph.nodes[1:], 1):
        leaf = node.module not in above
        last = groups[-1] if groups else None
        if last is not None and leaf and last.leaf and last.module == node.module:
            if not _twice(graph, [*last.nodes, index]):
                last.nodes.append(index)
                last.own += 1
                continue
            last.leaf = leaf = False  # it is more than one layer
        groups.append(_Group(node.module, [index], leaf))
    return groups


def _dots(name: str) -> list[int]:
    return [end for end, letter in enumerate(name) if letter == "."]


def _twice(graph: Graph, nodes: Sequence[int]) -> bool:
    roles = [graph.nodes[number].role for number in nodes]
    return sum(role in PRODUCTS or role == "window" for role in roles) > 1


def _folded(
    graph: Graph, groups: Sequence[_Group], modules: Mapping[str, nn.Module]
) -> list[_Group]:
    """Add what only changes values, place by place, to the row before it."""
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
    module = modules.get(group.module) if group.leaf else None
    if module is not None and any(True for _ in module.parameters()):
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
    """The row of a group; its products are removed from `products`."""
    nodes = [graph.nodes[number] for number in group.nodes]
    taken = [
        products[node.module].pop(0)
        for node in nodes
        if (node.role in PRODUCTS or "conv" in node.op) and products[node.module]
    ]
    shape = tuple(nodes[-1].layout.shape[1:])
    type_, filters = "other", ""
    if taken:
        type_, filters = taken[0].type, taken[0].filters
        type_ = "fully connected" if type_ == "product" and len(shape) == 1 else type_
    elif any("pool" in node.op for node in nodes):
        type_, filters = "pooling", _window(graph, group.nodes[0])
    return Row(
        layer=group.module,
        what=_what(graph, group, modules),
        type=type_,
        shape=shape,
        filters=filters,
        multiply_adds=sum(product.multiply_adds for product in taken),
        field=fields[group.nodes[-1]],
        paths=paths,
    )


def _what(graph: Graph, group: _Group, modules: Mapping[str, nn.Module]) -> str:
    """The class of a submodule that is one layer, or else its operation; then what follows."""
    ops = [graph.nodes[number].op.rstrip("_") for number in group.nodes]
    module = modules.get(group.module) if group.leaf else None
    first = ops[0] if module is None else type(module).__name__
    after = ops[1:] if module is None else ops[group.own :]
    return ", ".join([first, *(op for op in after if op not in SILENT)])


def _window(graph: Graph, number: int) -> str:
    """Window of a pooling: the places that its middle place reads, along each axis."""
    node = graph.nodes[number]
    middle = [side // 2 for side in node.layout.grid]
    unit = graph.ones(number, COUNTS, middle).whole()
    reads = node.edges[0].operator.adjoint(unit, COUNTS).nonzero()[2:]
    return "×".join(str(len(np.unique(places))) for places in reads)


def _add(rows: list[Row], places: Sequence[str], module: str, **counts: int) -> None:
    """Add counts to the first row of a submodule, or of the nearest that contains it.

    If there is none, add them to the first row that it contains, or else to the last row.
    """
    name = module
    while name not in places and name:
        name = name.rpartition(".")[0]
    below = [n for n, place in enumerate(places) if f"{place}.".startswith(f"{module}.")]
    number = places.index(name) if name in places else (below or [len(rows) - 1])[0]
    row: Any = rows[number]
    rows[number] = replace(row, **{key: getattr(row, key) + n for key, n in counts.items()})


# --- as text -------------------------------------------------------------------------------------


def maps_of(shape: Sequence[int]) -> str:
    """Channels and size as people write them.

    Example:
        >>> maps_of((6, 5, 5)), maps_of((100,)), maps_of(())
        ('6@5×5', '100', '1')
    """
    channels, *sides = shape or (1,)
    return f"{channels}@{_times(sides)}" if sides else str(channels)


def _times(sides: Sequence[object]) -> str:
    return "×".join(map(str, sides))


def cells(row: Row, with_paths: bool) -> list[str]:
    """A line of the table: see `header`."""
    field = row.field
    made = [
        row.layer or "–",
        row.what,
        maps_of(row.shape),
        row.filters,
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
        _field(field),
        "–" if field is None else _alike(["–" if s is None else s for s in field.stride]),
    ]
    return made + (list(_ratios(row)) if with_paths else [])


def header(axes: int, with_paths: bool) -> list[str]:
    """Columns of the table.

    Args:
        axes: of the image.
        with_paths: whether paths were counted.

    Example:
        >>> header(1, True)[-3:]
        ['field samples', 'stride', 'middle/end']
    """
    return [*HEADER, FIELDS.get(axes, "field"), "stride", *(PATHS.get(axes, []) * with_paths)]


def _field(field: ReceptiveField | None) -> str:
    """Its sides, with "≤" if it may be smaller."""
    if field is None or field.status == "global":
        return "–" if field is None else "all"
    return ("≤ " if field.status == "bound" else "") + _alike(field.size)


def _alike(values: Sequence[object]) -> str:
    """One number if all axes have the same."""
    return str(values[0]) if len(set(values)) == 1 else _times(values)


def _ratios(row: Row) -> tuple[str, str]:
    """Paths of the middle pixel over those of an edge and of a corner."""
    if row.paths is None:
        return "–", "–"
    edge = min(min(pair) for pair in row.paths.edges)
    corner = min(row.paths.corners)
    return _ratio(row.paths.centre, edge), _ratio(row.paths.centre, corner)


def _ratio(first: Any, second: Any) -> str:
    if not second:
        return "∞" if first else "–"
    return f"{first // second:,}" if first % second == 0 else number(float(first / second))


def plain(row: Row) -> dict[str, Any]:
    """A layer as JSON can hold it; path counts, which may be large, are text."""
    paths = row.paths
    found = {**vars(row), "shape": list(row.shape), "paths": None}
    field = found.pop("field")
    found["receptive_field"] = None if field is None else field.to_dict()
    if paths is not None:
        found["paths"] = {
            "centre": str(paths.centre),
            "edges": [[str(count) for count in pair] for pair in paths.edges],
            "corners": [str(count) for count in paths.corners],
        }
    return found
