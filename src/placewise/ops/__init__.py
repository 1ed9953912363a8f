"""What each operation does to place: relations between places over any algebra, and a table."""

from placewise.ops.algebra import ALGEBRAS, COUNTS, EXISTS, FLOATS, HIGHEST, LOWEST, Algebra, Grid
from placewise.ops.axis_map import AxisMap
from placewise.ops.layout import Atom, Layout, Unplaced
from placewise.ops.packed import Packed, carried, refined, together
from placewise.ops.route import Along, Operator, Route, Step
from placewise.ops.rules import everything, pointwise
from placewise.ops.table import TABLE, Call, Edge, Entry, Operand, Outcome, Status, entry, rule

__all__ = [
    "ALGEBRAS",
    "COUNTS",
    "EXISTS",
    "FLOATS",
    "HIGHEST",
    "LOWEST",
    "TABLE",
    "Algebra",
    "Along",
    "Atom",
    "AxisMap",
    "Call",
    "Edge",
    "Entry",
    "Grid",
    "Layout",
    "Operand",
    "Operator",
    "Outcome",
    "Packed",
    "Route",
    "Status",
    "Step",
    "Unplaced",
    "carried",
    "entry",
    "everything",
    "pointwise",
    "refined",
    "rule",
    "together",
]
