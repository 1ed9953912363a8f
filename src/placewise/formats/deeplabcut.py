"""DeepLabCut CSV: three header rows, one row for each image; the form most pose tools exchange.

```
scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/mouse/a.png,21.5,26.25,,
```

Facts: DeepLabCut writes `x, y` for labels and `x, y, likelihood` for predictions, a file
`CollectedData_SCORER.csv` in each folder of `labeled-data`; newer versions split the path over
three index columns, pandas adds a row that names them, and Lightning Pose adds a last column `set`
for the split.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointFormat
from placewise.formats._tables import (
    Cell,
    fitted,
    header_of,
    number,
    read_point,
    read_rows,
    read_score,
    single_losses,
    table_losses,
    table_text,
    written,
)
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown

HEADER = ("scorer", "bodyparts", "coords")

UP = 3
"""Levels above the file's folder that are tried as the folder of the images."""

_Rows = list[tuple[int, list[str]]]

_Columns = dict[str, dict[str, int]]
"""For each keypoint the index of its x, y and, perhaps, likelihood."""


class Deeplabcut(KeypointFormat):
    """CSV of DeepLabCut: three header rows scorer, bodyparts, coords; the first column is the path.

    Empty x and y are a keypoint that is not labelled. A column `likelihood` is its score.
    """

    patterns = ("*.csv", "labeled-data/*/CollectedData*.csv", "*/CollectedData*.csv")

    def recognises(self, path: Path, head: str) -> bool:
        """The first cell is `scorer`."""
        return header_of(head)[:1] == ["scorer"]

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`.

        Without a root it is the folder that holds the most images: the file's or one of three
        above it.
        """
        collector = Collector(path, root)
        rows = list(read_rows(collector))
        header = _header(collector, rows)
        width = 3 if len(header) > 3 and not any(coord for *_, coord in header[1:3]) else 1
        columns, split = _columns(collector, header, (rows[1][0], rows[2][0]), width)
        body = rows[3:]
        if body and not any(map(str.strip, body[0][1][width:])) and "." not in body[0][1][0]:
            del body[0]  # names of the index
        if root is None:
            names = ["/".join(cells[:width]) for _, cells in body]
            above = islice(Path(os.path.normpath(path.absolute())).parents, 1, 1 + UP)
            found = collector.holding(names, [path.parent, *above])
            collector.root = found[0] if found else path.parent
        filled = ["".join(cells) for cells in header]
        for line, cells in body:
            fit = fitted(collector, line, cells, filled)
            if fit is not None:
                image = collector.image("/".join(fit[:width]), line, "image")
                if split is not None:
                    collector.split(image, fit[split], line, "set")
                _read_row(collector, image, line, fit, columns)
        return collector.labels(tuple(columns))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Hidden and absent, several instances, a skeleton, a symmetry that names do not tell."""
        losses = single_losses(labels) + table_losses(labels)
        for state in (Visibility.HIDDEN, Visibility.ABSENT):
            count = sum(int((sample.visibility == state).sum()) for sample in labels.samples)
            if count:
                losses.append(f"that keypoints are {state.name.lower()} ({count})")
        return losses

    def text(self, labels: KeypointDataset) -> str:
        """Three header rows and one row for each image."""
        coords = ["x", "y", *["likelihood"] * labels.scored]
        split = any(sample.split for sample in labels.samples)
        parts = [name for name in labels.names for _ in coords]
        rows: list[Sequence[str]] = [
            ["scorer", *["placewise"] * len(parts), *["set"] * split],
            ["bodyparts", *parts, *[""] * split],
            ["coords", *coords * len(labels.names), *[""] * split],
        ]
        for sample in labels.samples:
            cells = [sample.image]
            for k, point in enumerate(sample.points[0]):
                cells += written(*point)
                if labels.scored:
                    cells.append("" if sample.scores is None else number(sample.scores[0, k]))
            rows.append([*cells, *[sample.split or ""] * split])
        return table_text(rows)


def _read_row(
    collector: Collector, image: str | None, line: int, cells: list[str], columns: _Columns
) -> None:
    for name, at in columns.items():
        x, y = (Cell(f"{name} {axis}", cells[at[axis]]) for axis in ("x", "y"))
        placed = read_point(collector, image, line, x, y, Cell())
        if placed:
            score = read_score(cells[at["likelihood"]] if "likelihood" in at else "")
            collector.mark(image, (0, name, *placed, score))


def _header(collector: Collector, rows: _Rows) -> list[tuple[str, str, str]]:
    """(scorer, bodypart, coord) of each column; stops where the three rows are not such."""
    for (line, cells), word in zip(rows, HEADER, strict=False):
        if cells[0].strip() == "individuals":
            todo = "export one animal, or convert the file to COCO"
            collector.fault(line, "header", "a file of several animals is not read", todo)
            collector.stop()
        if cells[0].strip() != word:
            got = f"{shown(cells[0])} begins the row, '{word}' should"
            collector.fault(line, "header", got, f"write the rows {', '.join(HEADER)} first")
    if rows and len(rows) < 3:
        got = f"{len(rows)} header rows instead of 3"
        collector.fault(rows[-1][0], "header", got, f"write the rows {', '.join(HEADER)} first")
    if not rows or any(fault.row <= rows[min(2, len(rows) - 1)][0] for fault in collector.faults):
        collector.stop()
    width = max(len(cells) for _, cells in rows[:3])
    padded = ([*map(str.strip, cells), *[""] * (width - len(cells))] for _, cells in rows[:3])
    header = list(zip(*padded, strict=True))
    while not any(header[-1]):
        del header[-1]
    return header


def _columns(
    collector: Collector, header: list[tuple[str, str, str]], lines: tuple[int, int], width: int
) -> tuple[_Columns, int | None]:
    """The columns of each keypoint, and the column of the split."""
    columns: _Columns = {}
    split = None
    for i, (scorer, part, coord) in enumerate(header[width:], width):
        if sorted((scorer, part, coord)) == ["", "", "set"]:
            split = i
        elif coord not in ("x", "y", "likelihood") or coord in columns.get(part, {}):
            got = f"{shown(coord)} of {shown(part)} is unknown or is there twice"
            collector.fault(lines[1], f"column {i + 1}", got, "keep x, y and likelihood once")
        elif collector.name(part, lines[0], f"column {i + 1}") is not None:
            columns.setdefault(part, {})[coord] = i
    for part, at in list(columns.items()):
        if not {"x", "y"} <= set(at):
            got = f"{shown(part)} has {', '.join(at)} only"
            collector.fault(lines[1], part, got, "add its columns x and y")
            del columns[part]
    return columns, split
