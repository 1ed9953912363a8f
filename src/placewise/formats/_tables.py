"""Tables as CSV: rows with their line numbers, and the cells of a point."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from placewise.formats._collect import Collector
from placewise.labels import KeypointDataset, Visibility, guess_symmetry
from placewise.labels.names import shown

STATES = {state.name.lower(): state for state in Visibility}

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One row of a table: its 1-based line and its cells by column."""

    number: int
    cells: dict[str, str]


def header_of(head: str) -> list[str]:
    """Cells of the first line that is not empty, without outer blanks."""
    try:
        rows = csv.reader(io.StringIO(head.strip().partition("\n")[0], newline=""))
        return [cell.strip() for cell in next(rows, [])]
    except csv.Error:
        return []


def read_rows(collector: Collector) -> list[tuple[int, list[str]]]:
    """All rows that are not empty, each with the line that it begins on.

    Lines that are not UTF-8 or not CSV are faults and left out.
    """
    reader = csv.reader(io.StringIO(collector.text(), newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            todo = "look for a quotation mark that is not closed"
            collector.fault(start, "row", f"this is not CSV ({error})", todo)
            continue
        if cells and collector.damaged.isdisjoint(range(start, reader.line_num + 1)):
            rows.append((start, cells))
    if not rows and not collector.faults:
        collector.fault(1, "file", "the file is empty", "write a header and a row for each label")
    return rows


def same_length(collector: Collector, row: int, cells: Sequence[str], length: int) -> bool:
    """Whether a row has as many cells as the header; a fault if not."""
    if len(cells) == length:
        return True
    todo = "write as many cells as the header has (a name with a comma needs quotation marks)"
    collector.fault(row, "row", f"{len(cells)} cells instead of {length}", todo)
    return False


def read_table(collector: Collector, needed: Sequence[str]) -> tuple[list[str], list[Row]]:
    """Header and rows of a table with one header row.

    Args:
        collector: takes the faults.
        needed: columns that must be there.

    Raises:
        LabelError: the header is wrong, so that the rows cannot be understood.
    """
    rows = read_rows(collector)
    if not rows or any(fault.row < rows[0][0] for fault in collector.faults):
        collector.stop()
    number, cells = rows[0]
    header = [cell.strip() for cell in cells]
    for column in needed:
        if column not in header:
            got = f"there is no column '{column}'; the header is {shown(','.join(header))}"
            collector.fault(number, column, got, "add it or rename the column that holds it")
    for column, count in Counter(header).items():
        if column and count > 1:
            got = f"{count} columns have this name"
            collector.fault(number, column, got, "keep one of them")
    if any(fault.row == number for fault in collector.faults):
        collector.stop()
    table = [
        Row(line, dict(zip(header, row, strict=True)))
        for line, row in rows[1:]
        if same_length(collector, line, row, len(header))
    ]
    return header, table


Cell = tuple[str, str]
"""(column, text)."""


def read_point(
    collector: Collector, image: str | None, row: int, x: Cell, y: Cell, state: Cell = ("", "")
) -> tuple[Visibility, float, float] | None:
    """State and place of a point from its cells, None where they are a fault.

    Without a state, two numbers are a visible point and two empty cells one that is not labelled.

    Args:
        collector: takes the faults.
        image: the image, None where its name is a fault.
        row: the line.
        x: column and text of x.
        y: column and text of y.
        state: column and text of the state.
    """
    places = [_number(collector, row, *cell) for cell in (x, y)]
    said = state[1].strip().lower()
    if said and said not in STATES:
        todo = f"write {', '.join(reversed(STATES))} or nothing"
        collector.fault(row, state[0], f"{shown(state[1])} is not a state", todo)
        return None
    if any(place is not None and math.isnan(place) for place in places):
        return None
    if (places[0] is None) != (places[1] is None):
        empty = x[0] if places[0] is None else y[0]
        todo = "write both coordinates, or neither for a point that is not labelled"
        collector.fault(row, empty, "it is empty while the other coordinate is not", todo)
        return None
    return _with_state(collector, image, row, (places[0], places[1]), (x[0], y[0], state[0], said))


def _with_state(
    collector: Collector,
    image: str | None,
    row: int,
    place: tuple[float | None, float | None],
    cells: tuple[str, str, str, str],
) -> tuple[Visibility, float, float] | None:
    x, y = place
    x_column, y_column, state_column, said = cells
    state = STATES.get(said, Visibility.UNLABELLED if x is None else Visibility.VISIBLE)
    if x is None or y is None:
        if state < Visibility.HIDDEN:
            return state, math.nan, math.nan
        todo = "write its x and y, or the state absent or unlabelled"
        collector.fault(row, state_column, f"a point that is {said} has no place", todo)
        return None
    if state < Visibility.HIDDEN:
        todo = "empty its x and y, or write the state visible or hidden"
        collector.fault(row, state_column, f"a point that is {said} has a place", todo)
        return None
    collector.near(image, x, y, row, f"{x_column},{y_column}")
    return state, x, y


def _number(collector: Collector, row: int, column: str, text: str) -> float | None:
    """The number, None if the cell is empty, NaN if it is a fault."""
    text = text.strip()
    if not text:
        return None
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isfinite(value):
        return value
    todo = "write a finite number with a point, or nothing for a point that is not labelled"
    collector.fault(row, column, f"{shown(text)} is not a finite number", todo)
    return math.nan


def written(x: float, y: float) -> tuple[str, str]:
    """Two cells of a place, exact; empty where it is NaN."""
    return ("", "") if math.isnan(x) else (repr(float(x)), repr(float(y)))


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def table_losses(labels: KeypointDataset) -> list[str]:
    """What no table holds: a skeleton, and a symmetry that the names do not tell."""
    losses = []
    if labels.skeleton:
        losses.append(f"the skeleton of {len(labels.skeleton)} joints")
    told = {frozenset(pair) for pair in guess_symmetry(labels.names)}
    if {frozenset(pair) for pair in labels.symmetry} != told:
        losses.append(f"the {len(labels.symmetry)} symmetry pairs (the names tell {len(told)})")
    return losses


def single_losses(labels: KeypointDataset) -> list[str]:
    """What a table with one row for each image cannot hold."""
    several = sum(len(sample.points) > 1 for sample in labels.samples)
    return [f"several instances ({several} images)"] if several else []
