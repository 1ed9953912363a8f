"""What the edges of a graph do to each axis of the image, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from placewise.ops import Along, Atom, AxisMap, Edge, Layout, Step, Unplaced
from placewise.ops.route import Scale, Shape, through


class Effect(Enum):
    """What a step does to an axis."""

    ALONG = "each place reads some places of the axis, by a map"
    DENSE = "each place reads all places of the axis"
    MAYBE = "each place reads all remaining places of axes that were merged before"
    TORN = "the axis is split, merged with another or read in parts"


@dataclass(frozen=True)
class Touch:
    """What one step does to one axis of the image.

    Attributes:
        effect: see `Effect`.
        map: the relation; None if several axes, or only a part of one, are read.
        pieces: places of each of the pieces that a view cuts the axis into; else 0.
    """

    effect: Effect
    map: AxisMap | None = None
    pieces: int = 0


TORN = Touch(Effect.TORN)

Chains = tuple[tuple[Touch, ...], ...]
"""The touches of an edge for each axis of the image."""


def touches(layout: Layout, edge: Edge, axes: int) -> Chains:
    """The steps of an edge that matter to each axis of the image.

    Args:
        layout: of the tensor that is read.
        edge: the edge that reads it.
        axes: number of axes of the image.
    """
    tracker = _Tracker(layout, axes)
    for step in edge.operator.steps:
        tracker.step(step)
    return tuple(tuple(found) for found in tracker.found)


class _Tracker:
    """Follows the places of a tensor through steps."""

    def __init__(self, layout: Layout, axes: int) -> None:
        self.found: list[list[Touch]] = [[] for _ in range(axes)]
        places = tuple(tuple(atom for atom in dim if atom.place) for dim in layout.dims)
        self.layout = Layout(places)
        self._lost = False
        self._tear_split()

    def step(self, step: Step) -> None:
        """Follow one step."""
        if self._lost:
            return
        if isinstance(step, Along):
            self._along(step)
        elif isinstance(step, Shape):
            self._shape(step)
        elif not isinstance(step, Scale):
            self._lose()

    def _along(self, step: Along) -> None:
        atoms = self.layout.dims[step.dim]
        after = through(atoms, step.map) if atoms else ()
        if len(after) > 1 or any(atom.runs for atom in after):  # a class token comes or goes
            self.layout = self.layout.with_dim(step.dim, after)
            return
        axis = atoms[0].axis if len(atoms) == 1 else step.axis
        if axis is not None and self._of(axis) == list(atoms):
            effect = Effect.DENSE if step.map.dense else Effect.ALONG
            self.found[axis].append(Touch(effect, step.map))
        elif atoms or step.map.name != "repeat":
            self._mixed(atoms, step.map)
        written = Atom(step.map.written, True, axis)
        self.layout = self.layout.with_dim(step.dim, (written,) if written.size > 1 else ())

    def _of(self, axis: int) -> list[Atom]:
        return [atom for atom in self.layout.places if atom.axis == axis]

    def _mixed(self, atoms: tuple[Atom, ...], relation: AxisMap) -> None:
        """A relation along places of several axes, of a part of one, or of unknown axes."""
        runs = tuple(atom for one in atoms for _, run in one.runs for atom in run)
        for axis in range(len(self.found)):
            here = [atom for atom in (*atoms, *runs) if atom.axis == axis]
            if here:
                whole = relation.dense and (here == self._of(axis) or not self._of(axis))
                self.found[axis].append(Touch(Effect.DENSE) if whole else TORN)
            elif not self._of(axis) and all(atom.axis is None for atom in atoms):
                self.found[axis].append(Touch(Effect.MAYBE) if relation.dense else TORN)

    def _shape(self, step: Shape) -> None:
        try:
            before = [len(self._of(axis)) for axis in range(len(self.found))]
            split = self.layout.viewed(step.split).permuted(step.order)
            self.layout = split.viewed(step.after)
            self._tear_split(before)
        except Unplaced:
            self._lose()

    def _lose(self) -> None:
        """Give up: layouts cannot describe how these places move."""
        self._lost = True
        self._tear(range(len(self.found)))

    def _tear_split(self, before: Sequence[int] = ()) -> None:
        for axis in range(len(self.found)):
            atoms = self._of(axis)
            if len(atoms) > 1:
                cut = bool(before) and before[axis] == 1 and len(atoms) == 2
                pieces = min(atom.size for atom in atoms) if cut else 0
                self.found[axis].append(replace(TORN, pieces=pieces))

    def _tear(self, axes: Iterable[int]) -> None:
        for axis in axes:
            self.found[axis].append(TORN)
