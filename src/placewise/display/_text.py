"""How layers are written: as cells of a table, and as JSON can hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from placewise.auditing.receptive_field import ReceptiveField
from placewise.display._rows import Row
from placewise.wording import number

HEADER = ["layer", "what", "maps", "filters", "parameters", "multiply-adds", "field px", "stride"]
PATHS = ["centre/edge", "centre/corner"]


def maps_of(shape: Sequence[int]) -> str:
    """Channels and size as people write them.

    Example:
        >>> maps_of((6, 5, 5)), maps_of((100,))
        ('6@5×5', '100')
    """
    channels, *sides = shape
    return f"{channels}@{_times(sides)}" if sides else str(channels)


def _times(sides: Sequence[object]) -> str:
    return "×".join(map(str, sides))


def cells(row: Row, with_paths: bool) -> list[str]:
    """A line of the table: see `HEADER` and `PATHS`."""
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


def _field(field: ReceptiveField | None) -> str:
    """Its sides; one that is known only to be no larger has "≤"."""
    if field is None or field.status == "global":
        return "–" if field is None else "all"
    return ("≤ " if field.status == "bound" else "") + _alike(field.size)


def _alike(values: Sequence[object]) -> str:
    """One number where all axes have the same."""
    return str(values[0]) if len(set(values)) == 1 else _times(values)


def _ratios(row: Row) -> tuple[str, str]:
    """How many times the ways of the middle pixel those of an edge and of a corner are."""
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
    """A layer as JSON can hold it; counts of ways, which may be large, as text."""
    paths = row.paths
    found: dict[str, Any] = {
        "layer": row.layer,
        "what": row.what,
        "kind": row.kind,
        "shape": list(row.shape),
        "filters": row.filters,
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
        "receptive_field": None if row.field is None else row.field.to_dict(),
        "paths": None,
    }
    if paths is not None:
        found["paths"] = {
            "centre": str(paths.centre),
            "edges": [[str(count) for count in pair] for pair in paths.edges],
            "corners": [str(count) for count in paths.corners],
        }
    return found
