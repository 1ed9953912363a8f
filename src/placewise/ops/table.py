"""What each operation does to place: one table, open to rules of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from placewise.ops.layout import Dimension, Layout, dimension
from placewise.ops.route import Operator, Route


class Status(StrEnum):
    """How far a relation between places can be trusted, the most first.

    Attributes:
        EXACT: this is what is read.
        AT_LEAST: more is read besides: a normalisation reads the mean and variance of all places.
        MASKED: a mask of attention, whose numbers are not followed, lets less be read.
        AT_MOST: less may be read.
        ONE_RUN: what one run read; another image may be treated in another way.
        GUESSED: the operation is not known, and is taken to read everything.
    """

    EXACT = "exact"
    AT_LEAST = "at least"
    MASKED = "masks ignored"
    AT_MOST = "at most"
    ONE_RUN = "one run"
    GUESSED = "guessed"

    @classmethod
    def worst(cls, found: Iterable[Status]) -> Status:
        """The least certain of several; exact if there is none."""
        return max(found, key=list(cls).index, default=cls.EXACT)


@dataclass(frozen=True)
class Operand:
    """A tensor that depends on the image.

    Attributes:
        node: number of the node that makes it.
        layout: where its places are.
    """

    node: int
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the tensor."""
        return self.layout.shape


@dataclass(frozen=True)
class Edge:
    """How a node reads another.

    Attributes:
        source: number of the node that is read.
        operator: from its places to those of the reader.
    """

    source: int
    operator: Operator


@dataclass(frozen=True)
class Outcome:
    """What a rule says of a call.

    Attributes:
        layout: of the tensor that the call gives.
        edges: what it reads.
        status: whether that is all that it reads and no more.
        global_statistics: whether it also reads all places, through their mean and variance
            alone, as instance and group normalisation do. Path counts take a normalisation for the
            identity, so its edges do not say so.
    """

    layout: Layout
    edges: tuple[Edge, ...]
    status: Status = Status.EXACT
    global_statistics: bool = False

    def at_best(self, status: Status) -> Outcome:
        """The same, trusted no more than this."""
        return replace(self, status=Status.worst([self.status, status]))


@dataclass(frozen=True)
class Call:
    """One operation that the network runs.

    Attributes:
        op: its name in ATen without overload, e.g. "conv2d".
        given: arguments by their names in its schema, defaults filled in. Tensors that depend on
            the image are `Operand`s (lists of them too); other tensors are as they are.
        shape: of the tensor that it gives.
        output: which of its tensors that is, where it gives several.
        per_channel: whether channels are counted apart.
        slices: what the places are made of whose slices the operands are, one after the other:
            an axis of the image or several; empty if they are no slices.
    """

    op: str
    given: dict[str, Any]
    shape: tuple[int, ...]
    output: int
    per_channel: bool
    slices: Dimension = ()

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def get(self, *names: str, default: Any = None) -> Any:
        """The first argument of these names that there is; libraries name theirs differently."""
        return next((self.given[n] for n in names if n in self.given), default)

    @property
    def operands(self) -> list[Operand]:
        """All operands in the order of the arguments."""
        found: list[Operand] = []
        for value in self.given.values():
            several = value if isinstance(value, list | tuple) else [value]
            found += [one for one in several if isinstance(one, Operand)]
        return found

    @property
    def operand(self) -> Operand:
        """The first operand, the only one of most operations."""
        return self.operands[0]

    def route(self, operand: Operand | None = None) -> Route:
        """A route that begins at an operand, by default the first."""
        return Route((operand or self.operand).layout, per_channel=self.per_channel)

    def plain(self, size: int) -> Dimension:
        """A dimension that no operand has: channels."""
        return dimension(size, place=self.per_channel)


Rule = Callable[[Call], Outcome]

AnyRule = TypeVar("AnyRule", bound=Callable[..., Outcome])


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes:
        role: what the operation does to place, e.g. "window"; for people.
        rule: the relation.
    """

    role: str
    rule: Rule


TABLE: dict[str, Entry] = {}
"""From the name of an operation to its entry."""


def rule(role: str, *ops: str) -> Callable[[AnyRule], AnyRule]:
    """Enter a rule for operations of ATen, or of libraries as "namespace::name".

    Args:
        role: what they do to place: "window", "pointwise", "resize", "pad", "slice", "reshape",
            "reduce", "dense", …
        ops: names without overload; what works in place ("relu_") goes by the same rule.

    Example:
        >>> from placewise.ops.rules import pointwise
        >>> _ = rule("pointwise", "my_library::my_activation")(pointwise)
        >>> entry("my_library::my_activation_").role
        'pointwise'
        >>> del TABLE["my_library::my_activation"]
    """

    def enter(function: AnyRule) -> AnyRule:
        for op in ops:
            TABLE[op] = Entry(role, function)
        return function

    return enter


def entry(op: str) -> Entry | None:
    """The line of an operation, or None; in place or not is the same.

    Example:
        >>> import placewise.ops
        >>> entry("relu_").role, entry("nonsense")
        ('pointwise', None)
    """
    return TABLE.get(op) or TABLE.get(op.removesuffix("_"))


def outcome(
    routes: Sequence[tuple[Operand, Route]],
    status: Status = Status.EXACT,
) -> Outcome:
    """The outcome of routes from operands to one tensor; the first says its layout."""
    edges = tuple(Edge(operand.node, route.operator()) for operand, route in routes)
    if any(route.bound for _, route in routes):
        status = Status.worst([status, Status.AT_MOST])
    return Outcome(routes[0][1].layout, edges, status)


def alone(call: Call, route: Route, status: Status = Status.EXACT) -> Outcome:
    """The outcome of a route from the first operand, the only one that is read."""
    return outcome([(call.operand, route)], status)
