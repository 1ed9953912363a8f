"""All structural findings of one network: what is counted, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placewise.auditing._numbers import rounded
from placewise.auditing._walks import AllWalks
from placewise.auditing.advice import NO_ADVICE, Advice, Capture, advise
from placewise.auditing.alignment import Alignment, alignment
from placewise.auditing.arising import RATIOS, Arising, arising
from placewise.auditing.padding_only import PaddingOnly, padding_only
from placewise.auditing.paths import (
    LayerPaths,
    PaddingPaths,
    Paths,
    count_paths,
    padding_paths,
    paths_by_layer,
    paths_by_output,
)
from placewise.auditing.receptive_field import ReceptiveField, receptive_fields
from placewise.auditing.unseen import Unseen, unseen
from placewise.graph import OUTPUT, Graph


@dataclass(frozen=True, eq=False)
class Counted:
    """The structural findings of one network.

    Attributes:
        graph: on which they were found.
        paths: to the last feature map.
        output_paths: to all outputs.
        unit_paths: to the middle place of the last feature map.
        layers: paths to each layer that moves places.
        fields: receptive field of each node.
        unseen: pixels that no output reads, and activations that nothing reads.
        alignment: layers that treat both ends of an axis differently.
        padding: paths to the last feature map that begin in padding.
        outputs: paths to each output, where there are several: those of a pyramid or a detector.
        advice: which other size to use, tried on the network.
        padding_only: places of the outputs that read nothing but padding.
    """

    graph: Graph
    paths: Paths
    output_paths: Paths
    unit_paths: Paths
    layers: tuple[LayerPaths, ...]
    fields: tuple[ReceptiveField, ...]
    unseen: Unseen
    alignment: Alignment
    padding: PaddingPaths
    outputs: tuple[LayerPaths, ...] = ()
    advice: Advice = NO_ADVICE
    padding_only: tuple[PaddingOnly, ...] = ()

    @property
    def field(self) -> ReceptiveField:
        """The receptive field of the last feature map."""
        return self.fields[self.graph.last_map]

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON can hold them."""
        unit = list(self.graph.middle(self.graph.last_map))
        return {
            "receptive_field": self.field.to_dict(),
            "paths": {**self.paths.to_dict(), "corner_ratio": rounded(self.paths.corner_ratio)},
            "paths_to_output": self.output_paths.numbers(),
            "paths_to_unit": {"unit": unit, **self.unit_paths.to_dict()},
            "unseen": self.unseen.to_dict(),
            "evenness": {**self.alignment.to_dict(), **self.advice.to_dict()},
            "padding": self.padding.to_dict(),
            "padding_only": [one.to_dict() for one in self.padding_only],
            "arises": {ratio: self._of_arising(self.arises(ratio)) for ratio in RATIOS},
            "layers": [self._of_layer(layer) for layer in self.layers],
            "outputs": [self._of_layer(layer) for layer in self.outputs],
        }

    def arises(self, ratio: str) -> Arising | None:
        """The layer that adds most to one of the `RATIOS` of paths."""
        return arising(self.layers, ratio)

    def _of_arising(self, found: Arising | None) -> dict[str, Any] | None:
        return None if found is None else {**found.to_dict(), "layer": self.name(found.node)}

    def _of_layer(self, layer: LayerPaths) -> dict[str, Any]:
        sides, field = self.sides(layer.node), self.fields[layer.node]
        return {**layer.to_dict(), "map": sides, "receptive_field": field.to_dict()}

    def sides(self, number: int) -> list[int]:
        """Sides of a node's map along the axes of the image; its own shape if it is no map."""
        dims, shape = self.graph.map_dims(number), self.graph.nodes[number].layout.shape
        if dims is None:
            return list(shape[1:])
        return [1 if dim is None else shape[dim] for dim in dims]

    def name(self, number: int) -> str:
        """What a layer is called: its submodule, and its operation unless that says the same."""
        name, op = self.graph.label(number), self.graph.nodes[number].op.rstrip("_")
        return name if op in name or op.startswith("conv") else f"{name} ({op})"


def some_of(layers: Sequence[LayerPaths], most: int) -> Sequence[LayerPaths]:
    """Layers from the first to the last at equal distances, no more than `most`."""
    places = np.linspace(0, len(layers) - 1, min(most, len(layers)))
    return [layers[place] for place in places.round().astype(int)]


COUNTED = (
    "receptive_field paths paths_to_output paths_to_unit unseen evenness padding "
    "padding_only arises layers outputs"
).split()
"""Keys of `Counted.to_dict`."""


def count(walks: AllWalks, again: Capture) -> Counted:
    """Count everything that can be counted.

    Args:
        walks: through the network's graph.
        again: captures the network at other sizes, to try those that may be recommended.
    """
    graph = walks.graph
    last = graph.last_map
    paths, aligned = count_paths(graph, last), alignment(graph, walks)
    return Counted(
        graph=graph,
        paths=paths,
        output_paths=count_paths(graph, OUTPUT),
        unit_paths=count_paths(graph, last, place=graph.middle(last)),
        layers=paths_by_layer(graph, last),
        fields=receptive_fields(graph),
        unseen=unseen(graph),
        alignment=aligned,
        padding=padding_paths(graph, last),
        outputs=paths_by_output(graph),
        advice=advise(walks, aligned, paths, again),
        padding_only=padding_only(graph),
    )
