"""Wide CSV: one row for each image, as spreadsheets have it.

```
image,split,nose_x,nose_y,nose_visibility,tail_x,tail_y,tail_visibility
a.png,train,21.5,26.25,visible,,,absent
```
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointText
from placewise.formats._tables import (
    Row,
    header_of,
    leave_out,
    read_point,
    read_table,
    single_losses,
    table_losses,
    table_text,
    written,
)
from placewise.labels import KeypointDataset, Visibility

KNOWN = {"image": "image", "split": "split"}

_COLUMN = re.compile(r"(.+)[_.](x|y|state|visibility)", re.IGNORECASE | re.DOTALL)
_LONG = {"keypoint", "point", "x", "y"}

_Columns = dict[str, dict[str, str]]
"""For each keypoint the columns of its x, y and, perhaps, visibility."""


class WideCsv(KeypointText):
    """CSV with one row for each image: image[, split], NAME_x, NAME_y[, NAME_visibility].

    The order of the columns is free, `NAME.x` is as good, and columns that name no coordinate
    are ignored. Empty x and y without a visibility are a keypoint that is not labelled.
    """

    first = ("points.csv", "keypoints.csv", "labels.csv")
    patterns = ("*.[ct]sv",)

    def recognises(self, path: Path, head: str) -> bool:
        """A column `image`, and one that ends in `_x` or `_y`."""
        header = header_of(head)
        small = {column.lower() for column in header}
        points = [column for column in header if _COLUMN.fullmatch(column)]
        return "image" in small and bool(points) and len(_LONG & small) < 2

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        header, rows = read_table(collector, ["image"], KNOWN)
        columns = _columns(collector, header, 1)
        used = [column for ends in columns.values() for column in ends.values()]
        leave_out(collector, header, {*KNOWN, *used})
        for row in rows:
            _read_row(collector, row, columns)
        return collector.labels(tuple(columns))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Several instances, scores, a skeleton, and a symmetry that the names do not tell."""
        scores = ["scores"] if labels.scored else []
        return single_losses(labels) + scores + table_losses(labels)

    def text(self, labels: KeypointDataset) -> str:
        """One row for each image; visibility where x and y do not tell it."""
        split = any(sample.split for sample in labels.samples)
        told = (Visibility.UNLABELLED, Visibility.VISIBLE)
        state = any(s not in told for sample in labels.samples for s in sample.visibility[0])
        ends = ["x", "y", *["visibility"] * state]
        columns = [f"{name}_{end}" for name in labels.names for end in ends]
        rows: list[Sequence[str]] = [["image", *["split"] * split, *columns]]
        for sample in labels.samples:
            cells = [sample.image, *[sample.split or ""] * split]
            for point, s in zip(sample.points[0], sample.visibility[0], strict=True):
                cells += [*written(*point), *[Visibility(s).name.lower()] * state]
            rows.append(cells)
        return table_text(rows)


def _columns(collector: Collector, header: Mapping[str, str], row: int) -> _Columns:
    """The columns of each keypoint, in the order of the header."""
    columns: _Columns = {}
    for column in header:
        match = _COLUMN.fullmatch(column)
        name = collector.name(match[1], row, column) if match else None
        if match and name is not None:
            end = match[2].lower().replace("state", "visibility")
            if columns.setdefault(name, {}).setdefault(end, column) != column:
                got = f"this is the second {end} of '{name}'"
                collector.fault(row, column, got, "keep one of them")
    for name, ends in list(columns.items()):
        for end in ("x", "y"):
            if end not in ends:
                got = f"there is no column '{name}_{end}' to go with '{next(iter(ends.values()))}'"
                todo = "add it, or rename the other if it is not a coordinate"
                collector.fault(row, f"{name}_{end}", got, todo)
                columns.pop(name, None)
    return columns


def _read_row(collector: Collector, row: Row, columns: _Columns) -> None:
    image = collector.image(row["image"].text, row.number, row["image"].column)
    collector.split(image, row["split"].text, row.number, row["split"].column)
    for name, ends in columns.items():
        x, y, visibility = (row[ends.get(end, "")] for end in ("x", "y", "visibility"))
        placed = read_point(collector, image, row.number, x, y, visibility)
        if placed:
            collector.mark(image, (0, name, *placed, math.nan))
