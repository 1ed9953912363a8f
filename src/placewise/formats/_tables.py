"""Labels as tables: rows with their line numbers, columns by their meaning, a keypoint's cells.

Spreadsheets write tables in many ways. Commas, semicolons, tabs and bars between cells, a line
`sep=;`, decimal commas, capitals in the header, rows and columns without content, and UTF-16 are
understood where they can mean one thing only; the log says what was assumed.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from placewise.formats._collect import MAX_LINE, Collector
from placewise.labels import KeypointDataset, Visibility, guess_symmetry
from placewise.labels.names import shown
from placewise.wording import enumerated

VISIBILITIES = {state.name.lower(): state for state in reversed(Visibility)}
"""What the column `visibility` says; `not_labelled` is read too."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

MAX_ROW = MAX_LINE
"""Most characters of a row."""

MAX_ROWS = 3_000_000

MOST_NAMED = 8
"""Most columns that a message names."""

_READ = {**VISIBILITIES, "not_labelled": Visibility.UNLABELLED}
_SEPARATOR = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_LINE = re.compile(r"[^\r\n]*+(?:\r\n?+|\n)|[^\r\n]++")
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NOTHING = ("", "nan", "na", "n/a", "#n/a", "null", "none")
"""What tools write into a cell without a number, in small letters."""

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


class Cell(NamedTuple):
    """A cell: the column as the file spells it, and its text."""

    column: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: its 1-based line, and its cells by the meaning of their columns."""

    number: int
    cells: dict[str, str]
    header: Mapping[str, str]

    def __getitem__(self, column: str) -> Cell:
        """The cell of a column, empty where the table has none."""
        return Cell(self.header.get(column, column), self.cells.get(column, ""))


def header_of(head: str) -> list[str]:
    """Cells of the first line that holds something, without outer blanks."""
    return _dialect(head)[1]


def _dialect(head: str) -> tuple[str, list[str]]:
    """What stands between cells, and the cells of the first line that holds something.

    It is what `sep=` says, else what makes a cell `image` or `scorer`, else what makes the most
    cells.
    """
    tried = list(DELIMITERS)
    for line in (match[0] for match in _LINE.finditer(head)):
        if said := _SEPARATOR.fullmatch(line):
            tried = [said[1]]
        elif line.strip(',;|\t\r\n "'):
            cells = {mark: _cells(line, mark) for mark in tried}
            words = {mark: {cell.lower() for cell in cells[mark]} for mark in tried}
            known = [mark for mark in tried if {"image", "scorer"} & words[mark]]
            best = known[0] if known else max(tried, key=lambda mark: len(cells[mark]))
            return best, cells[best]
    return tried[0], []


def _cells(line: str, mark: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark), [])]
    except (csv.Error, ValueError, TypeError):  # a mark that no table can have
        return []


class _Lines:
    """The lines of a table, of which one row takes only so many characters."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.left = lines, MAX_ROW

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.left -= len(line)
        if self.left < 0:
            raise csv.Error(f"a row of more than {MAX_ROW:,} characters")
        return line


def read_rows(collector: Collector) -> Iterator[tuple[int, list[str]]]:
    """All rows that hold something, each with the line that it begins on.

    Lines that are not UTF-8 or not CSV are faults and left out.
    """
    mark, header = _dialect(collector.head())
    if mark != "," and header:
        collector.assume(f"{DELIMITERS.get(mark, mark)} between cells")
    lines = _Lines(collector.lines())
    reader = csv.reader(lines, delimiter=mark if header else ",", strict=True)
    count = 0
    while True:
        start, lines.left = reader.line_num + 1, MAX_ROW
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            todo = "look for a quotation mark that is not closed"
            collector.fault(start, "row", f"this is not CSV ({error})", todo)
            continue
        if not any(map(str.strip, cells)) or (not count and _SEPARATOR.fullmatch(mark.join(cells))):
            continue
        if collector.damaged.isdisjoint(range(start, reader.line_num + 1)):
            count += 1
            yield start, cells
        if count > MAX_ROWS:
            collector.fault(start, "row", f"there are more than {MAX_ROWS:,} rows", "split it")
            collector.stop()
    if not count and not collector.faults:
        collector.fault(1, "file", "the file is empty", "write a header and a row for each label")


def fitted(
    collector: Collector, row: int, cells: list[str], header: Sequence[str]
) -> list[str] | None:
    """As many cells as the header has, None and a fault where they are others.

    Empty cells behind the header's, and missing ones under nameless columns, mean nothing.
    """
    extra = len(cells) - len(header)
    if not any(map(str.strip, cells[len(header) :] if extra > 0 else header[len(cells) :])):
        return cells[: len(header)] + [""] * -extra
    todo = "write as many cells as the header has (a name with a comma needs quotation marks)"
    collector.fault(row, "row", f"{len(cells)} cells instead of {len(header)}", todo)
    return None


def read_table(
    collector: Collector, needed: Sequence[str], known: Mapping[str, str]
) -> tuple[dict[str, str], Iterator[Row]]:
    """Header and rows of a table with one header row.

    Args:
        collector: takes the faults.
        needed: columns that must be there.
        known: for each name that a column may have, in small letters, the column that it means;
            all others are taken as they are.

    Returns:
        The columns with the names they have in the file, and the rows.

    Raises:
        LabelError: the header is wrong, so that the rows cannot be understood.
    """
    rows = read_rows(collector)
    number, cells = next(rows, (0, []))
    if not number or any(fault.row < number for fault in collector.faults):
        collector.stop()
    names = [cell.strip() for cell in cells]
    header = [_meaning(name, names, known) for name in names]
    for column in needed:
        if column not in header:
            got = f"there is no column '{column}'; the header is {shown(','.join(names))}"
            collector.fault(number, column, got, "add it or rename the column that holds it")
    for column, count in Counter(header).items():
        if column and count > 1:
            twice = [name for name, meant in zip(names, header, strict=True) if meant == column]
            got = f"{count} columns have this name"
            if len(set(twice)) > 1:
                got = f"the columns {' and '.join(twice)} mean the same"
            collector.fault(number, column, got, "keep one of them")
    if any(fault.row == number for fault in collector.faults):
        collector.stop()
    spelt = dict(zip(header, names, strict=True))
    changed = [name for column, name in spelt.items() if name != column and name != name.lower()]
    if changed:
        collector.assume(f"{', '.join(changed)} in small letters")
    return spelt, _table(collector, rows, header, spelt)


def leave_out(collector: Collector, header: Mapping[str, str], known: Iterable[str]) -> None:
    """Say which columns of a table are not used; those without a name say nothing.

    Args:
        collector: takes what is said.
        header: the columns, as `read_table` returns them.
        known: columns that are used, or say nothing about labels.
    """
    if names := [name for column, name in header.items() if column and column not in known]:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        collector.assume(f"columns {', '.join(map(shown, names[:MOST_NAMED]))}{more} left out")


def _table(
    collector: Collector,
    rows: Iterable[tuple[int, list[str]]],
    header: list[str],
    spelt: Mapping[str, str],
) -> Iterator[Row]:
    for number, cells in rows:
        fit = fitted(collector, number, cells, header)
        if fit is not None:
            yield Row(number, dict(zip(header, fit, strict=True)), spelt)


def _meaning(name: str, names: Sequence[str], known: Mapping[str, str]) -> str:
    """The column that a name means; of `X` beside `x` only the latter is known."""
    small = name.lower()
    if name in known or (small in known and small not in names):
        return known[small]
    return name


def read_point(
    collector: Collector, image: str | None, row: int, *cells: Cell
) -> tuple[Any, ...] | None:
    """Visibility and place of a keypoint from its cells, None where they are a fault.

    Where nothing is said, numbers are visible and empty cells not labelled.

    Args:
        collector: takes the faults.
        image: the image, None where its name is a fault.
        row: the line.
        cells: those of x, y, … and of the visibility.

    Returns:
        (visibility, x, y, …).
    """
    *axes, visibility = cells
    places = [_number(collector, row, cell) for cell in axes]
    said = visibility.text.strip().lower().replace(" ", "_")
    if said and said not in _READ:
        todo = f"write {', '.join(VISIBILITIES)} or nothing"
        got = f"{shown(visibility.text)} is not a state"
        collector.fault(row, visibility.column, got, todo)
        return None
    if any(place is not None and math.isnan(place) for place in places):
        return None
    known = [place for place in places if place is not None]
    if known and len(known) < len(places):
        empty = next(cell.column for cell, p in zip(axes, places, strict=True) if p is None)
        all_of, none = ("both", "neither") if len(axes) == 2 else ("all", "none")
        todo = f"write {all_of} coordinates, or {none} for a keypoint that is not labelled"
        other = "the other coordinate is" if len(axes) == 2 else "others are"
        collector.fault(row, empty, f"it is empty while {other} not", todo)
        return None
    seen = _READ.get(said, Visibility.VISIBLE if known else Visibility.UNLABELLED)
    words = enumerated("xyz"[: len(axes)])
    if not known:
        if seen < Visibility.HIDDEN:
            return seen, *[math.nan] * len(axes)
        todo = f"write its {words}, or the state absent or unlabelled"
        collector.fault(row, visibility.column, f"a keypoint that is {said} has no place", todo)
        return None
    if seen < Visibility.HIDDEN:
        todo = f"empty its {words}, or write the state visible or hidden"
        collector.fault(row, visibility.column, f"a keypoint that is {said} has a place", todo)
        return None
    collector.within(image, known, row, ",".join(cell.column for cell in axes))
    return seen, *known


def _number(collector: Collector, row: int, cell: Cell) -> float | None:
    """The number, None if the cell is empty, NaN if it is a fault."""
    text = cell.text.strip()
    if text.lower() in _NOTHING:
        return None
    good = bool(_NUMBER.fullmatch(text))
    mark = "," if "," in text else "." if "." in text else "whole"
    if good and mark == "," and "." in collector.decimals:
        got = f"{shown(text)} has a decimal comma, numbers above have decimal points"
        collector.fault(row, cell.column, got, "write decimal points everywhere")
        return math.nan
    if good and mark == "." and {",", "thousands"} & collector.decimals:
        got = f"{shown(text)} has a decimal point, numbers above have decimal commas"
        collector.fault(row, cell.column, got, "write decimal points everywhere")
        return math.nan
    if good and mark == ",":
        collector.assume("decimal commas")
        mark = "thousands" if _THOUSANDS.fullmatch(text) else ","
        text = text.replace(",", ".")
    value = float(text) if good else math.nan
    if math.isfinite(value):
        if mark != "whole" or abs(value) >= 100:
            collector.decimals.add(mark)
        return value
    todo = "write a finite number with a point, or nothing for a keypoint that is not labelled"
    collector.fault(row, cell.column, f"{shown(text)} is not a finite number", todo)
    return math.nan


def read_score(text: str) -> float:
    """A score from 0 to 1; NaN for anything else."""
    value = float(text) if _NUMBER.fullmatch(text.strip()) and "," not in text else math.nan
    return value if 0 <= value <= 1 else math.nan


def written(*place: float) -> tuple[str, ...]:
    """The cells of a place, exact; empty where it is NaN."""
    return tuple(number(x) for x in place)


def number(value: float) -> str:
    """A number, exact; nothing where it is NaN."""
    return "" if math.isnan(value) else repr(float(value))


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def table_losses(labels: KeypointDataset) -> list[str]:
    """What no table holds: a skeleton, regions, and a symmetry that the names do not tell."""
    losses = []
    if regions := sum(len(sample.ignored) for sample in labels.samples):
        losses.append(f"{regions} regions that are ignored")
    if labels.skeleton:
        losses.append("the skeleton")
    told = {frozenset(pair) for pair in guess_symmetry(labels.names)}
    if {frozenset(pair) for pair in labels.symmetry} != told:
        losses.append(f"the {len(labels.symmetry)} symmetry pairs (the names tell {len(told)})")
    return losses


def single_losses(labels: KeypointDataset) -> list[str]:
    """What a table with one row for each image cannot hold."""
    several = sum(len(sample.points) > 1 for sample in labels.samples)
    return [f"several instances ({several} images)"] if several else []
