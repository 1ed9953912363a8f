"""Long CSV: one row for each keypoint of each image. The format that holds the most in a table.

```
image,split,keypoint,x,y,visibility
a.png,train,nose,21.5,26.25,visible
a.png,train,tail,,,absent
```
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from placewise.formats._collect import Collector
from placewise.formats._format import KeypointFormat
from placewise.formats._tables import (
    Row,
    header_of,
    number,
    read_point,
    read_score,
    read_table,
    table_losses,
    table_text,
    written,
)
from placewise.labels import KeypointDataset, Visibility
from placewise.labels.names import shown

NEEDED = ("image", "keypoint", "x", "y")

KNOWN = {
    **{column: column for column in (*NEEDED, "visibility", "split", "instance", "score")},
    "point": "keypoint",
    "state": "visibility",
}

MANY = 0.1
"""A keypoint that repeats in this share of the images that hold it is one of many of a kind."""

SLIPS = 2
"""Up to this many surplus rows of a keypoint are slips, however few images there are."""

_Placed = tuple[Visibility, float, float]


@dataclass(slots=True)
class _Entry:
    """A row whose image and keypoint are known; `placed` is None where its place is a fault."""

    row: int
    image: str
    point: str
    placed: _Placed | None
    score: float
    instance: int


class LongCsv(KeypointFormat):
    """CSV with one row for each keypoint: image, keypoint, x, y[, visibility][, split][, instance].

    The order of the columns is free and further columns are ignored. Empty x and y without a
    visibility are a keypoint that is not labelled. `instance` numbers several objects on an image;
    without it the repetitions of a keypoint are instances where the whole file is of many of a
    kind (cells), and faults otherwise. Predictions have a `score`.
    """

    first = ("points.csv", "keypoints.csv", "labels.csv")
    patterns = ("*.csv",)
    endings = (".csv",)

    def recognises(self, path: Path, head: str) -> bool:
        """At least three of the four columns in the first line."""
        return len({KNOWN.get(cell.lower()) for cell in header_of(head)} & set(NEEDED)) >= 3

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        header, rows = read_table(collector, NEEDED, KNOWN)
        found = (_read_row(collector, row) for row in rows)
        entries = [entry for entry in found if entry is not None]
        if "instance" in header:
            _check_instances(collector, entries, header["keypoint"])
        else:
            _number_instances(collector, entries, header["keypoint"])
        for entry in entries:
            if entry.placed is not None:
                mark = (entry.instance, entry.point, *entry.placed, entry.score)
                collector.mark(entry.image, mark)
        return collector.labels(tuple(dict.fromkeys(entry.point for entry in entries)))

    def losses(self, labels: KeypointDataset) -> list[str]:
        """A skeleton, and a symmetry that the names do not tell."""
        return table_losses(labels)

    def text(self, labels: KeypointDataset) -> str:
        """One row for each keypoint, also for those that are not labelled."""
        split = any(sample.split for sample in labels.samples)
        several, scored = labels.instances > 1, labels.scored
        rows: list[Sequence[str]] = [
            ["image", *["split"] * split, *["instance"] * several, *NEEDED[1:], "visibility"]
            + ["score"] * scored
        ]
        for sample in labels.samples:
            for i, (points, seen) in enumerate(zip(sample.points, sample.visibility, strict=True)):
                start = [sample.image, *[sample.split or ""] * split, *[str(i)] * several]
                for k, name in enumerate(labels.names):
                    cells = [*start, name, *written(*points[k]), Visibility(seen[k]).name.lower()]
                    score = math.nan if sample.scores is None else sample.scores[i, k]
                    rows.append([*cells, *[number(score)] * scored])
        return table_text(rows)


def _read_row(collector: Collector, row: Row) -> _Entry | None:
    image = collector.image(row["image"].text, row.number, row["image"].column, once=False)
    collector.split(image, row["split"].text, row.number, row["split"].column)
    point = collector.name(row["keypoint"].text, row.number, row["keypoint"].column)
    placed = read_point(collector, image, row.number, row["x"], row["y"], row["visibility"])
    instance = row.cells.get("instance", "0").strip()
    if not re.fullmatch("[0-9]{1,9}", instance):
        got = f"{shown(instance)} is not a whole number"
        collector.fault(row.number, "instance", got, "number the objects on an image from 0")
    elif image is not None and point is not None:
        score = read_score(row["score"].text)
        return _Entry(row.number, image, point, placed, score, int(instance))
    return None


def _check_instances(collector: Collector, entries: list[_Entry], column: str) -> None:
    """Refuse repeated keypoints of an instance, and number the instances of an image from 0."""
    seen: dict[tuple[str, int, str], int] = {}
    numbers: dict[str, set[int]] = defaultdict(set)
    for entry in entries:
        numbers[entry.image].add(entry.instance)
        before = seen.setdefault((entry.image, entry.instance, entry.point), entry.row)
        if before != entry.row:
            got = f"{shown(entry.point)} of this instance is in row {before} already"
            collector.fault(entry.row, column, got, "keep one, or give it another instance")
    ranks = {image: {n: i for i, n in enumerate(sorted(s))} for image, s in numbers.items()}
    for entry in entries:
        entry.instance = ranks[entry.image][entry.instance]


def _number_instances(collector: Collector, entries: list[_Entry], column: str) -> None:
    """Make repeated keypoints instances in the order of the file, or refuse them."""
    many = _many_of_a_kind(entries)
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    same: dict[tuple[str, str, str], int] = {}
    for entry in entries:
        before = rows[entry.image, entry.point]
        place = str(entry.placed or f"a fault in row {entry.row}")
        twin = same.setdefault((entry.image, entry.point, place), entry.row)
        if twin != entry.row:
            got = f"the row says the same as row {twin}"
            collector.fault(entry.row, column, got, "delete one of them")
        elif before and not many:
            got = f"{shown(entry.point)} of this image is in row {before[0]} already"
            todo = "keep one; several objects on an image need a column instance"
            collector.fault(entry.row, column, got, todo)
        entry.instance = len(before)
        before.append(entry.row)


def _many_of_a_kind(entries: list[_Entry]) -> bool:
    """Whether some keypoint repeats so often that repeating is what the file is about."""
    counts = Counter((entry.image, entry.point) for entry in entries)
    held = Counter(point for _, point in counts)
    repeated = Counter(point for (_, point), count in counts.items() if count > 1)
    surplus: Counter[str] = Counter()
    for (_, point), count in counts.items():
        surplus[point] += count - 1
    return any(surplus[p] > SLIPS and repeated[p] >= MANY * held[p] for p in repeated)
