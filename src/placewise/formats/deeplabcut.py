"""DeepLabCut CSV: header rows, one row for each image; the form most pose tools exchange.

```
scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/mouse/a.png,21.5,26.25,,
```

Facts: DeepLabCut writes `x, y` for labels and `x, y, likelihood` for predictions, a file
`CollectedData_SCORER.csv` in each folder of `labeled-data`; newer versions split the path over
three index columns, pandas adds a row that names them, and Lightning Pose adds a last column `set`
for the split. Files of several animals have a second header row `individuals`; an individual
without a place on an image is none there. Individuals are numbered image by image, and so are no
identities over images.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointText
from placewise.formats._tables import (
    Cell,
    fitted,
    header_of,
    number,
    read_point,
    read_rows,
    read_score,
    table_losses,
    table_text,
    written,
)
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.labels.names import shown

HEADER = ("scorer", "bodyparts", "coords")
SEVERAL = ("scorer", "individuals", "bodyparts", "coords")

UP = 3
"""Levels above the file's folder that are tried as the folder of the images."""

_Rows = list[tuple[int, list[str]]]

_Columns = dict[str, dict[str, dict[str, int]]]
"""For each individual and keypoint the index of its x, y and, perhaps, likelihood."""


class Deeplabcut(KeypointText):
    """CSV of DeepLabCut: header rows scorer, bodyparts, coords; the first column is the path.

    Empty x and y are a keypoint that is not labelled. A column `likelihood` is its score. Several
    animals have a second header row, individuals.
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
        words = SEVERAL if len(rows) > 1 and rows[1][1][0].strip() == SEVERAL[1] else HEADER
        header = _header(collector, rows, words)
        named = len(header) > 3 and not any(coord for *_, coord in header[1:3])
        columns, split = _columns(collector, header, rows, 3 if named else 1)
        width = 3 if named else 1
        body = rows[len(words) :]
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
        parts = dict.fromkeys(part for parts in columns.values() for part in parts)
        return collector.labels(tuple(parts))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Hidden and absent, identities, a skeleton, a symmetry that names do not tell."""
        losses = table_losses(labels)
        several = [sample.located.any(1) for sample in labels.samples if len(sample.points) > 1]
        if empty := sum(int((~there).sum()) for there in several):
            losses.append(f"objects without a located keypoint ({empty})")
        if any(sample.tracks is not None for sample in labels.samples):
            losses.append("identities over images")
        for state in (Visibility.HIDDEN, Visibility.ABSENT):
            count = sum(int((sample.visibility == state).sum()) for sample in labels.samples)
            if count:
                losses.append(f"that keypoints are {state.name.lower()} ({count})")
        return losses

    def text(self, labels: KeypointDataset) -> str:
        """The header rows and one row for each image."""
        coords = ["x", "y", *["likelihood"] * labels.scored]
        split = any(sample.split for sample in labels.samples)
        count = max(1, labels.instances)
        parts = [name for name in labels.names for _ in coords]
        animals = [f"individual{i + 1}" for i in range(count) for _ in parts]
        rows: list[Sequence[str]] = [
            ["scorer", *["placewise"] * len(animals), *["set"] * split],
            *([["individuals", *animals, *[""] * split]] if count > 1 else []),
            ["bodyparts", *parts * count, *[""] * split],
            ["coords", *coords * (len(labels.names) * count), *[""] * split],
        ]
        for sample in labels.samples:
            cells = [sample.image]
            for i in range(count):
                cells += _cells(sample, i, len(labels.names), labels.scored)
            rows.append([*cells, *[sample.split or ""] * split])
        return table_text(rows)


def _cells(sample: KeypointSample, instance: int, count: int, scored: bool) -> list[str]:
    """Cells of an individual, which are empty where the image has no such instance."""
    if instance >= len(sample.points):
        return [""] * count * (3 if scored else 2)
    cells: list[str] = []
    for k, point in enumerate(sample.points[instance]):
        cells += written(*point)
        if scored:
            cells.append("" if sample.scores is None else number(sample.scores[instance, k]))
    return cells


def _read_row(
    collector: Collector, image: str | None, line: int, cells: list[str], columns: _Columns
) -> None:
    instance = 0
    for individual, parts in columns.items():
        marks = []
        for name, at in parts.items():
            of = f"{name} of {individual}" if individual else name
            x, y = (Cell(f"{of} {axis}", cells[at[axis]]) for axis in ("x", "y"))
            placed = read_point(collector, image, line, x, y, Cell())
            if placed:
                score = read_score(cells[at["likelihood"]] if "likelihood" in at else "")
                marks.append((instance, name, *placed, score))
        if len(columns) == 1 or any(mark[2] >= Visibility.HIDDEN for mark in marks):
            for mark in marks:
                collector.mark(image, mark)
            instance += 1


def _header(collector: Collector, rows: _Rows, words: Sequence[str]) -> list[tuple[str, ...]]:
    """A tuple of the header's cells for each column; stops where the first rows are no header."""
    todo, many = f"write the rows {', '.join(words)} first", len(words)
    for (line, cells), word in zip(rows, words, strict=False):
        if cells[0].strip() != word:
            got = f"{shown(cells[0])} begins the row, '{word}' should"
            collector.fault(line, "header", got, todo)
    if rows and len(rows) < many:
        got = f"{len(rows)} header rows instead of {many}"
        collector.fault(rows[-1][0], "header", got, todo)
    last = rows[min(many, len(rows)) - 1][0] if rows else 0
    if not rows or any(fault.row <= last for fault in collector.faults):
        collector.stop()
    width = max(len(cells) for _, cells in rows[:many])
    padded = ([*map(str.strip, cells), *[""] * (width - len(cells))] for _, cells in rows[:many])
    header = list(zip(*padded, strict=True))
    while not any(header[-1]):
        del header[-1]
    return header


def _columns(
    collector: Collector, header: list[tuple[str, ...]], rows: _Rows, width: int
) -> tuple[_Columns, int | None]:
    """The columns of each individual and keypoint, and the column of the split."""
    columns: _Columns = {}
    split = None
    part_row, coord_row = (rows[len(header[0]) - back][0] for back in (2, 1))
    for i, (scorer, *more, part, coord) in enumerate(header[width:], width):
        individual = more[0] if more else ""
        if sorted((scorer, *more, part, coord)) == [*[""] * (2 + len(more)), "set"]:
            split = i
        elif coord not in ("x", "y", "likelihood") or coord in columns.get(individual, {}).get(
            part, {}
        ):
            got = f"{shown(coord)} of {shown(part)} is unknown or is there twice"
            collector.fault(coord_row, f"column {i + 1}", got, "keep x, y and likelihood once")
        elif collector.name(part, part_row, f"column {i + 1}") is not None:
            columns.setdefault(individual, {}).setdefault(part, {})[coord] = i
    for parts in columns.values():
        for part, at in list(parts.items()):
            if not {"x", "y"} <= set(at):
                got = f"{shown(part)} has {', '.join(at)} only"
                collector.fault(coord_row, part, got, "add its columns x and y")
                del parts[part]
    return columns, split
