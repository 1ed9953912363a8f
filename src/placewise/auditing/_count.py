"""All structural findings of one network together: what is counted, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from placewise.auditing._structure import label, middle, ratio, rounded
from placewise.auditing.evenness import Evenness, Leftover, evenness
from placewise.auditing.paths import LayerPaths, Paths, count_paths, last_map, paths_by_layer
from placewise.auditing.provenance import Provenance, provenance
from placewise.auditing.receptive_field import ReceptiveField, receptive_fields
from placewise.auditing.unseen import Unseen, unseen
from placewise.geometry import FloatArray
from placewise.graph import Graph
from placewise.ops import Grid, Status


@dataclass(frozen=True, eq=False)
class Counted:
    """The structural findings of one network.

    Attributes:
        graph: what they were found on.
        paths: to the last feature map.
        output_paths: to all outputs.
        unit_paths: to the middle place of the last feature map.
        layers: paths to each layer that changes place.
        fields: receptive field of each node.
        unseen: pixels that no output reads, and activations that nothing reads.
        evenness: layers that drop padded rows or columns.
        padding: how much of what the last feature map reads is padding.
    """

    graph: Graph
    paths: Paths
    output_paths: Paths
    unit_paths: Paths
    layers: tuple[LayerPaths, ...]
    fields: tuple[ReceptiveField, ...]
    unseen: Unseen
    evenness: Evenness
    padding: Provenance

    @property
    def status(self) -> str:
        """That of the least certain node: "exact", "bound" or "unknown"."""
        found = {node.status for node in self.graph.nodes}
        order = (Status.UNKNOWN, Status.BOUND)
        return str(next((status for status in order if status in found), Status.EXACT))

    @cached_property
    def field(self) -> ReceptiveField:
        """That of the last feature map."""
        return self.fields[last_map(self.graph)]

    @property
    def uneven(self) -> list[Leftover]:
        """What layers leave of each axis, where they leave something."""
        return [left for left in self.evenness.layers if left.unused]

    @property
    def corner_ratio(self) -> float:
        """Ways of the best-served corner over those of the worst-served."""
        return ratio(max(self.paths.corners), min(self.paths.corners))

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON can hold them."""
        return {
            "receptive_field": self.field.to_dict(),
            "paths": {**self.paths.to_dict(), "corner_ratio": rounded(self.corner_ratio)},
            "paths_to_output": self.output_paths.numbers(),
            "paths_to_unit": {
                "unit": list(middle(self.graph, last_map(self.graph))),
                **self.unit_paths.to_dict(),
            },
            "unseen": self.unseen.to_dict(),
            "evenness": self.evenness.to_dict(),
            "padding": self.padding.to_dict(),
            "layers": [
                {
                    **layer.to_dict(),
                    "map": self.sides(layer.node),
                    "receptive_field": self.fields[layer.node].to_dict(),
                }
                for layer in self.layers
            ],
        }

    def sides(self, number: int) -> list[int]:
        """Places of a node's map along each axis."""
        grid = self.graph.nodes[number].layout.grid
        return [int(side) for side in grid[2:]]


def count(graph: Graph) -> Counted:
    """Count all that can be counted.

    Args:
        graph: of the network.
    """
    last = last_map(graph)
    return Counted(
        graph=graph,
        paths=count_paths(graph, last),
        output_paths=count_paths(graph, "output"),
        unit_paths=count_paths(graph, last, place=middle(graph, last)),
        layers=paths_by_layer(graph, last),
        fields=receptive_fields(graph),
        unseen=unseen(graph),
        evenness=evenness(graph),
        padding=provenance(graph, last),
    )


def shares(counts: Grid) -> FloatArray:
    """Exact counts as shares of the largest; 0 everywhere where there is none."""
    most = counts.max()
    if not most:
        return np.zeros(counts.shape)
    return np.array([float(count / most) for count in counts.flat]).reshape(counts.shape)


def some(layers: Sequence[LayerPaths], most: int) -> list[LayerPaths]:
    """Layers from the first to the last, at equal distances."""
    places = np.linspace(0, len(layers) - 1, min(most, len(layers)))
    return [layers[place] for place in places.round().astype(int)]


def layer_name(graph: Graph, number: int) -> str:
    """What a layer is called: its submodule, and its operation unless that says as much."""
    name, op = label(graph, number), graph.nodes[number].op.rstrip("_")
    return name if op in name or op.startswith("conv") else f"{name} ({op})"
